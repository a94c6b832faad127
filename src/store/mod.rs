//! Where bytes lie. The seam between copying and every kind of store: a [`Source`] is read, a [`Target`] written.
//!
//! No library has the right seam: a copy that goes on after a crash needs its own part numbers, an upload that a
//! new process can pick up, reads pinned to one version of the object, and publishing that never overwrites.

pub mod file;
mod throttle;

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;

use bytes::Bytes;

use crate::failure::{Cause, Failure};
use crate::id::{Key, Sha256Digest};

pub use file::FileStore;
pub use throttle::{Counters, Rate, RequestBucket, Throttle, TokenBucket};

/// What a store says about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// In bytes.
    pub size: u64,
    /// Changes whenever the bytes do; reads are pinned to it. For files: inode, modification time and size.
    pub etag: String,
    /// Milliseconds since the epoch, if the store says.
    pub modified_ms: Option<i64>,
    /// A SHA-256 of the whole object that the *store* keeps. Files have none.
    pub sha256: Option<Sha256Digest>,
    /// The object's own metadata; empty where the store keeps none.
    pub metadata: BTreeMap<String, String>,
}

/// The version of an object that a copy was planned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// As in [`ObjectFacts::etag`].
    pub etag: String,
    /// As in [`ObjectFacts::size`].
    pub size: u64,
}

/// An upload that was begun and is not yet published; all of it can be stored and picked up by another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The final name.
    pub key: Key,
    /// Ours, unique to the attempt (32 hex digits). Temporary names are made of it.
    pub token: String,
    /// The store's own id for it, where it gives one.
    pub upload_id: Option<String>,
}

/// Is told how many more bytes have come.
pub type Seen<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// A read-only view of a store. The source region is never written through it.
pub trait Source {
    /// Asks for the facts of one object.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Missing`, `Refused` or `Io`.
    fn head(&self, key: &Key) -> impl Future<Output = Result<ObjectFacts, StoreError>> + Send;

    /// Reads exactly `range`, if the object still is the pinned one before *and* after reading.
    ///
    /// Waits for the store's rate limits. An empty range gives an empty buffer. `seen` is told of the bytes as they
    /// come, also of those of a read that fails in the end.
    ///
    /// # Errors
    /// [`StoreError`]: `Changed` when the pin does not hold, `Short` when the object ends inside the range, else as
    /// [`Source::head`].
    fn read(
        &self,
        key: &Key,
        range: Range<u64>,
        pin: &Pin,
        seen: Seen<'_>,
    ) -> impl Future<Output = Result<Bytes, StoreError>> + Send;

    /// All keys that start with `prefix`, in byte order. Never used to decide that an object is *not* there.
    ///
    /// # Errors
    /// As [`Source::head`]; a prefix without objects is no error.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's name.
    pub key: Key,
    /// In bytes.
    pub size: u64,
    /// Milliseconds since the epoch.
    pub modified_ms: Option<i64>,
}

/// A store that copies are written to. Everything is create-only: nothing that exists is ever replaced.
pub trait Target: Source {
    /// Makes room for an object of so many `parts`; one that has a single part is not resumed and may be kept simpler.
    /// With `resume`, parts were stored under the same `token` before, by this process or another: they stay, and
    /// [`Target::part`] goes on.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Refused`, `NoSpace` or `Io`; with `resume`, `Lost` when the upload is gone.
    fn begin(
        &self,
        key: &Key,
        token: &str,
        parts: u32,
        resume: bool,
    ) -> impl Future<Output = Result<Upload, StoreError>> + Send;

    /// Stores `bytes` at `offset`, durably, and proves it: what the store holds was compared with `bytes` after it
    /// was made durable. Parts may come in any order and several at a time; the same part may be sent again.
    ///
    /// # Errors
    /// [`StoreError`]: `Differs` when what was stored is not what was sent, `Lost` when the upload is gone (it
    /// starts again from nothing), else as [`Target::begin`].
    fn part(&self, upload: &Upload, offset: u64, bytes: Bytes) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads back a range of what is stored of an upload that is not published yet: from where it lies, not from a
    /// cache of ours.
    ///
    /// # Errors
    /// [`StoreError`]: `Lost` when the upload is gone or shorter than the range, else as [`Target::begin`].
    fn staged(&self, upload: &Upload, range: Range<u64>) -> impl Future<Output = Result<Bytes, StoreError>> + Send;

    /// Makes the upload visible under its final name, complete and durable. `size` is the whole object's, in bytes.
    ///
    /// Safe to repeat after a crash: an object that this very upload has published before is success.
    ///
    /// # Errors
    /// [`StoreError`]: `Exists` when another object has the name, `Lost` when the upload is gone and no object has
    /// the name, else as [`Target::begin`].
    fn publish(&self, upload: &Upload, size: u64) -> impl Future<Output = Result<ObjectFacts, StoreError>> + Send;

    /// Makes sure that an object which others may have put there is durable, and that reading it asks the store's
    /// own medium and no cache. Changes nothing of the object.
    ///
    /// # Errors
    /// As [`Source::head`].
    fn settle(&self, key: &Key) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes all that lies in the store for an upload that will not be published. Safe to repeat, and for an
    /// upload of which nothing is there. A published object is never touched.
    ///
    /// # Errors
    /// As [`Target::begin`].
    fn abandon(&self, upload: &Upload) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What kind of trouble a store had; decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No object under the key.
    Missing,
    /// The object is not the pinned one any more.
    Changed,
    /// The object ended before the range did.
    Short,
    /// Another object has the final name.
    Exists,
    /// The upload is not there any more.
    Lost,
    /// What was stored is not what was sent.
    Differs,
    /// Permission, a symlink or special file in the way, a name the store cannot hold. Another try will not help.
    Refused,
    /// The store is full or a quota is reached.
    NoSpace,
    /// Anything the device or the network may do; another try may help.
    Io,
}

/// What a store could not do: which operation, where, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// Decides what happens next.
    pub kind: StoreErrorKind,
    /// One line: what, where, why; lower case, no final period; the system's own error text at its end.
    pub message: String,
    /// The next command or edit.
    pub hint: Option<String>,
}

impl StoreError {
    /// An error without a hint.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with the next command or edit.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of a step whose source store said this.
    #[must_use]
    pub fn of_source(self) -> Failure {
        let cause = match self.kind {
            StoreErrorKind::Missing => Cause::SourceMissing,
            StoreErrorKind::Changed | StoreErrorKind::Short => Cause::SourceChanged,
            StoreErrorKind::Refused => Cause::SourceUnreadable,
            _ => Cause::SourceError,
        };
        Failure { cause, message: self.message, hint: self.hint }
    }

    /// The failure of a step whose target store said this.
    #[must_use]
    pub fn of_target(self) -> Failure {
        let cause = match self.kind {
            StoreErrorKind::Exists => Cause::TargetDiffers,
            StoreErrorKind::Differs => Cause::Integrity,
            StoreErrorKind::NoSpace => Cause::NoSpace,
            StoreErrorKind::Refused => Cause::TargetUnwritable,
            StoreErrorKind::Missing => Cause::CopyMissing,
            _ => Cause::TargetError,
        };
        Failure { cause, message: self.message, hint: self.hint }
    }
}

/// One store of a plan, opened. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Store {
    /// A folder of this machine.
    File(FileStore),
}

/// Passes a call on to the store inside; each kind has the same methods.
macro_rules! each_kind {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::File($store) => $call,
        }
    };
}

impl Store {
    /// What the store *is*, whatever a plan calls it: two regions with one identity are one place.
    #[must_use]
    pub fn identity(&self) -> &str {
        each_kind!(self, store => store.identity())
    }

    /// Whether what is written to one of two stores would lie in the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (Self::File(one), Self::File(other)) = (self, other);
        one.overlaps(other)
    }

    /// Bytes that can still be written, if the store can tell.
    ///
    /// # Errors
    /// As [`Source::head`].
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        each_kind!(self, store => store.free_bytes().await)
    }
}

impl Source for Store {
    async fn head(&self, key: &Key) -> Result<ObjectFacts, StoreError> {
        each_kind!(self, store => store.head(key).await)
    }

    async fn read(&self, key: &Key, range: Range<u64>, pin: &Pin, seen: Seen<'_>) -> Result<Bytes, StoreError> {
        each_kind!(self, store => store.read(key, range, pin, seen).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        each_kind!(self, store => store.list(prefix).await)
    }
}

impl Target for Store {
    async fn begin(&self, key: &Key, token: &str, parts: u32, resume: bool) -> Result<Upload, StoreError> {
        each_kind!(self, store => store.begin(key, token, parts, resume).await)
    }

    async fn staged(&self, upload: &Upload, range: Range<u64>) -> Result<Bytes, StoreError> {
        each_kind!(self, store => store.staged(upload, range).await)
    }

    async fn part(&self, upload: &Upload, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        each_kind!(self, store => store.part(upload, offset, bytes).await)
    }

    async fn publish(&self, upload: &Upload, size: u64) -> Result<ObjectFacts, StoreError> {
        each_kind!(self, store => store.publish(upload, size).await)
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        each_kind!(self, store => store.settle(key).await)
    }

    async fn abandon(&self, upload: &Upload) -> Result<(), StoreError> {
        each_kind!(self, store => store.abandon(upload).await)
    }
}
