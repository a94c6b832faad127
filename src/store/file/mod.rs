//! The store `file`: a folder of this machine.
//!
//! `object_store`'s local store reads 8 KiB a hop, cannot go on with an upload after a crash, and its temporary names
//! survive a kill without an owner; so this one is our own. An object is a regular file, its key the path below the
//! folder. Nothing outside the folder is ever touched, see `root.rs`.

mod error;
mod list;
mod probe;
mod publish;
mod read;
mod root;
mod stretch;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use self::publish::Synced;
use self::read::Wanted;
use self::root::Root;
use self::stretch::Stretch;
use super::{
    Listed, Metadata, ObjectFacts, Pin, Proof, Read, Seen, Shape, Source, StoreError, StoreErrorKind, StoredPart,
    Target, Upload,
};
use crate::fault;
use crate::id::Key;
use crate::throttle::Throttle;

/// A folder of this machine. Clones share the open folder and the throttle.
///
/// Where the folder does not exist, the store can be asked ([`FileStore::absent`]): it has no objects.
#[derive(Clone)]
pub struct FileStore {
    root: Arc<Root>,
    identity: Arc<str>,
    throttle: Throttle,
}

impl FileStore {
    /// Opens a folder that exists. `identity` replaces the canonical path in
    /// `file:<canonical path>`.
    ///
    /// # Errors
    /// [`StoreError`]: `Missing` when there is no such folder; `Refused` when it is no folder, may not be entered,
    /// or has a path that is not UTF-8; else `Io`.
    pub fn open(path: &Path, identity: Option<&str>, throttle: Throttle) -> Result<Self, StoreError> {
        Ok(Self::of(Root::open(path)?, identity, throttle))
    }

    /// As [`FileStore::open`], but makes the folder and those above it (0700) where they are missing.
    ///
    /// # Errors
    /// As [`FileStore::open`], and `NoSpace`.
    pub fn create(path: &Path, identity: Option<&str>, throttle: Throttle) -> Result<Self, StoreError> {
        Ok(Self::of(Root::create(path)?, identity, throttle))
    }

    /// As [`FileStore::open`], but a folder that is missing is none of the errors and is not made: `head` finds
    /// nothing, `list` is empty, `free_bytes` speaks of the nearest folder above, and writing is refused. The
    /// identity is the one that the folder will have once it is made.
    ///
    /// # Errors
    /// As [`FileStore::open`], except `Missing`.
    pub fn absent(path: &Path, identity: Option<&str>, throttle: Throttle) -> Result<Self, StoreError> {
        Ok(Self::of(Root::open_or_absent(path)?, identity, throttle))
    }

    fn of(root: Root, identity: Option<&str>, throttle: Throttle) -> Self {
        let own = |identity: &str| identity.strip_prefix("file:").unwrap_or(identity).to_owned();
        let identity = format!("file:{}", identity.map_or_else(|| root.to_string(), own)).into();
        Self { root: Arc::new(root), identity, throttle }
    }

    /// As [`Store::identity`](super::Store::identity).
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What lies in the folder and is no object, with why: for those who must not leave anything out unseen. Backhaul's
    /// own folder and temporary files are no objects and are not told of.
    ///
    /// # Errors
    /// As [`Source::list`].
    pub async fn left_out(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.blocking(|root| list::list(root, "")).await?.1)
    }

    /// Whether this folder and another one are one folder, or one lies inside the other, by whatever path: through
    /// symlinks and bind mounts too. Folders that do not exist yet are compared by their paths.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.root.overlaps(&other.root)
    }

    /// As [`Store::free_bytes`](super::Store::free_bytes); what a process without privileges may still write.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Refused` or `Io`.
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        self.blocking(Root::free_bytes).await.map(Some)
    }

    /// Runs what may block on the disk where it holds up no other task.
    async fn blocking<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Root) -> Result<T, StoreError> + Send + 'static,
    {
        let root = Arc::clone(&self.root);
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(result) => result,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(StoreError::new(StoreErrorKind::Io, "the process is ending")),
            },
        }
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileStore({})", self.root)
    }
}

impl Source for FileStore {
    /// Also proves that the file may be read.
    async fn head(&self, key: &Key) -> Result<ObjectFacts, StoreError> {
        self.throttle.request().await;
        let key = key.clone();
        self.blocking(move |root| read::head(root, &key)).await
    }

    async fn read(&self, key: &Key, range: Range<u64>, pin: &Pin, seen: Seen<'_>) -> Result<Read, StoreError> {
        self.throttle.request().await;
        let wanted = Wanted::new(&self.root, key, range, pin)?;
        let stretch = wanted.stretch;
        if !self.throttle.limits_reads() {
            self.throttle.read(stretch.len as u64).await;
            let bytes = self.blocking(move |root| wanted.read(root)).await?;
            seen(bytes.len() as u64);
            return Ok(Read { bytes, facts: None });
        }
        let wanted = Arc::new(wanted);
        let (opening, failing) = (Arc::clone(&wanted), Arc::clone(&wanted));
        let file = self.blocking(move |root| opening.open(root)).await?;
        let bytes = self.read_in_slices(file, stretch, seen, move |root, error| failing.failed(root, error)).await?;
        self.blocking(move |root| wanted.check_after(root)).await?;
        Ok(Read { bytes, facts: None })
    }

    /// Hidden files too. Symlinks, special files, other file systems, names that are no [`Key`] (also those that are
    /// not UTF-8), and Backhaul's own temporary files are left out; its own folder, unless `prefix` starts with
    /// `.backhaul/`. A folder that may not be read is an error.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.throttle.request().await;
        let prefix = prefix.to_owned();
        Ok(self.blocking(move |root| list::list(root, &prefix)).await?.0)
    }
}

impl Target for FileStore {
    /// All at once where nothing limits it: a small file is one visit to the disk's thread.
    async fn put(
        &self,
        key: &Key,
        token: &str,
        bytes: Bytes,
        _metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        self.throttle.request().await;
        let size = bytes.len() as u64;
        let (key, token) = (key.clone(), token.to_owned());
        if self.throttle.limits_writes() || self.throttle.limits_reads() {
            let upload = self.blocking(move |root| write::begin(root, &key, &token, 1)).await?;
            self.part_in_slices(&upload, 0, bytes).await?;
            let facts = self.blocking(move |root| publish::only(root, &upload, size, Synced::No)).await?;
            return Ok((facts, Proof::ReadBack));
        }
        self.throttle.write(size).await;
        self.throttle.read(size).await;
        let facts = self.blocking(move |root| {
            let upload = write::begin(root, &key, &token, 1)?;
            write::only_part(root, &upload, &bytes)?;
            fault::point("before-publish");
            publish::only(root, &upload, size, Synced::Yes)
        });
        Ok((facts.await?, Proof::ReadBack))
    }

    /// Room is not reserved: what others write at the same time may fill the disk first.
    ///
    /// `upload_id` names the temporary file itself: everything that takes it answers `Lost` when another file has
    /// come under the temporary's name. A temporary that is there already is used all the same: an earlier process
    /// made it and was killed before its first part was stored.
    async fn begin(&self, key: &Key, token: &str, shape: Shape<'_>) -> Result<Upload, StoreError> {
        self.throttle.request().await;
        let (key, token, parts) = (key.clone(), token.to_owned(), shape.layout.parts());
        self.blocking(move |root| write::begin(root, &key, &token, parts)).await
    }

    /// The bytes themselves are compared by whoever reads [`Target::staged`].
    async fn resume(&self, upload: Upload, _parts: &[StoredPart]) -> Result<Upload, StoreError> {
        self.throttle.request().await;
        self.blocking(move |root| write::resume(root, upload)).await
    }

    /// When the system could not make written bytes durable, nobody knows which ones are lost, and asking again
    /// would answer "all is well" (the pages count as clean). So the temporary is removed and the answer is `Lost`, now
    /// and to whoever would go on with it.
    async fn part(&self, upload: &Upload, _number: u32, offset: u64, bytes: Bytes) -> Result<StoredPart, StoreError> {
        self.throttle.request().await;
        let size = bytes.len() as u64;
        let stored = StoredPart { size, reference: None, crc64: None, proof: Proof::ReadBack };
        if self.throttle.limits_writes() || self.throttle.limits_reads() {
            self.part_in_slices(upload, offset, bytes).await?;
            return Ok(stored);
        }
        self.throttle.write(size).await;
        self.throttle.read(size).await;
        let upload = upload.clone();
        self.blocking(move |root| write::part(root, &upload, offset, &bytes)).await?;
        Ok(stored)
    }

    async fn staged(&self, upload: &Upload, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        self.throttle.request().await;
        let stretch = Stretch::of(range);
        if self.throttle.limits_reads() {
            let upload = Arc::new(upload.clone());
            let (opening, failing) = (Arc::clone(&upload), upload);
            let file = self.blocking(move |root| write::open_staged(root, &opening, stretch)).await?;
            let failed = move |root: &Root, error| write::staged_failed(root, &failing, error);
            return self.read_in_slices(file, stretch, &|_| (), failed).await.map(Some);
        }
        self.throttle.read(stretch.len as u64).await;
        let upload = upload.clone();
        let bytes = self.blocking(move |root| {
            let file = write::open_staged(root, &upload, stretch)?;
            stretch.read(&file).map_err(|error| write::staged_failed(root, &upload, error))
        });
        bytes.await.map(Some)
    }

    /// `Exists` also when this upload was published before and its temporary is gone, if `upload` has no `upload_id`
    /// to tell by. Compare the digests then.
    async fn publish(&self, upload: &Upload, _parts: &[StoredPart], size: u64) -> Result<ObjectFacts, StoreError> {
        self.throttle.request().await;
        let upload = upload.clone();
        self.blocking(move |root| publish::publish(root, &upload, size, Synced::No)).await
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        self.throttle.request().await;
        let key = key.clone();
        self.blocking(move |root| publish::settle(root, &key)).await
    }

    /// Folders that `begin` made stay: another upload may be about to use them.
    async fn abandon(&self, upload: &Upload) -> Result<(), StoreError> {
        self.throttle.request().await;
        let upload = upload.clone();
        self.blocking(move |root| write::abandon(root, &upload)).await
    }

    /// A file is read back before it is published, so there is never a bad one to take back.
    async fn take_back(&self, key: &Key, _etag: &str) -> Result<(), StoreError> {
        Err(StoreError::new(StoreErrorKind::Refused, format!("`{key}` in {} is not taken back", self.root)))
    }
}
