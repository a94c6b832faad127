//! Where bytes lie. The seam between copying and every kind of store: a [`Source`] is read, a [`Target`] written.
//!
//! No library has the right seam: a copy that goes on after a crash needs its own part numbers, an upload that a
//! new process can pick up, reads pinned to one version of the object, and publishing that never overwrites.

mod attempt;
mod bucket;
mod buffers;
mod error;
pub mod file;
mod layout;
mod link;
mod object;
mod probe;
mod swift;
mod takes;

use std::collections::HashMap;
use std::future::{Future, ready};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use crate::id::Key;

pub use bucket::{AzureKey, AzureOptions, BucketOptions, BucketStore, GcsOptions, S3Options};
pub use error::{StoreError, StoreErrorKind};
pub use file::FileStore;
pub use layout::{Feed, Layout, Segment};
pub use link::{Lineage, PARENT_CHECKSUM, PARENT_LOCATION, SaidBy, object_of};
pub use object::{KnownDigests, Listed, Metadata, ObjectFacts, Pin, Proof, Read, Shape, StoredPart, Upload};
pub use swift::{Account, AccountFacts, ContainerFacts, SwiftOptions, SwiftStore, TenantAccess};
pub use takes::Takes;

/// Questions to a store under way at a time.
const QUESTIONS: usize = 32;

/// From so many objects on, a listing is asked first.
const MANY: usize = 16;

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
    ) -> impl Future<Output = Result<Read, StoreError>> + Send;

    /// All keys that start with `prefix`, in byte order. Never used to decide that an object is *not* there.
    ///
    /// # Errors
    /// As [`Source::head`]; a prefix without objects is no error.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;

    /// The segments that the pinned object is made of, with what the store says of each. None for an object of one
    /// piece, and where a store shows no such thing.
    ///
    /// # Errors
    /// As [`Source::read`].
    fn segments(
        &self,
        _key: &Key,
        _pin: &Pin,
    ) -> impl Future<Output = Result<Option<Arc<[Segment]>>, StoreError>> + Send {
        ready(Ok(None))
    }
}

/// A store that copies are written to. Everything is create-only: nothing that exists is ever replaced.
pub trait Target: Source {
    /// Makes an object of one part: stored, proved, and under its final name with all its bytes or not at all.
    ///
    /// Safe to repeat with the same `token`: an object that this very call has made before is success where the
    /// store can tell, else `Exists`.
    ///
    /// # Errors
    /// [`StoreError`]: `Exists` when another object has the name, `Differs` when what was stored is not what was sent
    /// (nothing is left under the name then), `Refused`, `NoSpace` or `Io`.
    fn put(
        &self,
        key: &Key,
        token: &str,
        bytes: Bytes,
        metadata: &Metadata,
    ) -> impl Future<Output = Result<(ObjectFacts, Proof), StoreError>> + Send;

    /// Makes room for an object of several parts.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Refused`, `NoSpace` or `Io`.
    fn begin(
        &self,
        key: &Key,
        token: &str,
        shape: Shape<'_>,
    ) -> impl Future<Output = Result<Upload, StoreError>> + Send;

    /// Takes up an upload of which `parts` were stored before, by this process or another. Makes sure that the store
    /// still has them, as far as it shows unpublished parts.
    ///
    /// # Errors
    /// [`StoreError`]: `Lost` when the upload or one of its parts is gone, else as [`Target::begin`].
    fn resume(&self, upload: Upload, parts: &[StoredPart]) -> impl Future<Output = Result<Upload, StoreError>> + Send;

    /// Stores `bytes` as part `number` (from 0), which begins at `offset`; durable when it returns. Parts may come in
    /// any order and several at a time; the same part may be sent again. Its proof says whether what the store holds
    /// was compared with `bytes`.
    ///
    /// # Errors
    /// [`StoreError`]: `Differs` when what was stored is not what was sent, `Lost` when the upload is gone (it
    /// starts again from nothing), else as [`Target::begin`].
    fn part(
        &self,
        upload: &Upload,
        number: u32,
        offset: u64,
        bytes: Bytes,
    ) -> impl Future<Output = Result<StoredPart, StoreError>> + Send;

    /// Whether objects are laid out as [`Layout::Plain`] or [`Layout::Segments`], whose parts are streamed, one at a time
    /// per object; else as [`Layout::Equal`].
    fn streams(&self) -> bool {
        false
    }

    /// As [`Target::put`], of bytes that come as they are read. Where an MD5 is expected that the store compared, the
    /// proof says so; else `ObjectFacts::etag` is for the caller to compare.
    ///
    /// # Errors
    /// As [`Target::put`]; `Differs` also when the bytes did not have the expected MD5. A feed that ended early is an
    /// error of any kind.
    fn put_streamed(
        &self,
        key: &Key,
        _token: &str,
        _feed: Feed,
        _metadata: &Metadata,
    ) -> impl Future<Output = Result<(ObjectFacts, Proof), StoreError>> + Send {
        ready(Err(no_streams(key)))
    }

    /// As [`Target::part`], of bytes that come as they are read; parts come in order. The `reference` is the `ETag`,
    /// without quotes. Where an MD5 is expected that the store compared, the proof says so; else the reference is for
    /// the caller to compare.
    ///
    /// # Errors
    /// As [`Target::part`]; `Differs` also when the bytes did not have the expected MD5. A feed that ended early is an
    /// error of any kind, and nothing is stored.
    fn part_streamed(
        &self,
        upload: &Upload,
        _number: u32,
        _feed: Feed,
    ) -> impl Future<Output = Result<StoredPart, StoreError>> + Send {
        ready(Err(no_streams(&upload.key)))
    }

    /// Reads back a range of what is stored of an upload that is not published yet: from where it lies, not from a
    /// cache of ours. None where the store shows no bytes before they are published.
    ///
    /// # Errors
    /// [`StoreError`]: `Lost` when the upload is gone or shorter than the range, else as [`Target::begin`].
    fn staged(
        &self,
        upload: &Upload,
        range: Range<u64>,
    ) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;

    /// Makes the upload visible under its final name, complete and durable. `parts` are all of it, in order; `size`
    /// is the whole object's, in bytes.
    ///
    /// Safe to repeat after a crash: an object that this very upload has published before is success.
    ///
    /// # Errors
    /// [`StoreError`]: `Exists` when another object has the name, `Lost` when the upload is gone and no object has
    /// the name, `Differs` when the store put together something else than was sent (nothing is left under the name
    /// then), else as [`Target::begin`].
    fn publish(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        size: u64,
    ) -> impl Future<Output = Result<ObjectFacts, StoreError>> + Send;

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

    /// Takes back an object that this process has just published and that turned out bad, if it still is that very
    /// version. The only deletion there is of an object under its final name.
    ///
    /// # Errors
    /// As [`Target::begin`].
    fn take_back(&self, key: &Key, etag: &str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

fn no_streams(key: &Key) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, format!("cannot write `{key}`: its store takes parts from memory only"))
}

/// One store of a plan, opened. Cheap to clone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Store {
    /// A folder of this machine.
    File(FileStore),
    /// A bucket of S3, GCS or Azure.
    Bucket(BucketStore),
    /// A Swift of `OpenStack`, or one account of it.
    Swift(SwiftStore),
}

/// Passes a call on to the store inside; each kind has the same methods.
macro_rules! each_kind {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Store::File($store) => $call,
            Store::Bucket($store) => $call,
            Store::Swift($store) => $call,
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
        match (self, other) {
            (Self::File(one), Self::File(other)) => one.overlaps(other),
            (Self::Bucket(one), Self::Bucket(other)) => one.overlaps(other),
            (Self::Swift(one), Self::Swift(other)) => one.overlaps(other),
            _ => false,
        }
    }

    /// What the store says of many objects, in their order. A listing may answer for them, which shows neither digests
    /// nor metadata; what is not in it is asked for by name.
    pub async fn heads(&self, keys: &[Key]) -> Vec<Result<ObjectFacts, StoreError>> {
        let known = match self {
            Self::Bucket(store) if keys.len() >= MANY => store.glance(keys).await.unwrap_or_default(),
            _ => HashMap::new(),
        };
        let known = &known;
        stream::iter(keys)
            .map(|key| async move {
                match known.get(key) {
                    Some(facts) => Ok(facts.clone()),
                    None => self.head(key).await,
                }
            })
            .buffered(QUESTIONS)
            .collect()
            .await
    }

    /// Bytes that can still be written, if the store can tell.
    ///
    /// # Errors
    /// As [`Source::head`].
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        each_kind!(self, store => store.free_bytes().await)
    }

    /// What lies in the store and is no object, with why: for those who must not leave anything out unseen.
    ///
    /// # Errors
    /// As [`Source::list`].
    pub async fn left_out(&self) -> Result<Vec<(String, String)>, StoreError> {
        each_kind!(self, store => store.left_out().await)
    }
}

impl Source for Store {
    async fn head(&self, key: &Key) -> Result<ObjectFacts, StoreError> {
        each_kind!(self, store => store.head(key).await)
    }

    async fn read(&self, key: &Key, range: Range<u64>, pin: &Pin, seen: Seen<'_>) -> Result<Read, StoreError> {
        each_kind!(self, store => store.read(key, range, pin, seen).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        each_kind!(self, store => store.list(prefix).await)
    }

    async fn segments(&self, key: &Key, pin: &Pin) -> Result<Option<Arc<[Segment]>>, StoreError> {
        each_kind!(self, store => store.segments(key, pin).await)
    }
}

impl Target for Store {
    async fn put(
        &self,
        key: &Key,
        token: &str,
        bytes: Bytes,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        each_kind!(self, store => store.put(key, token, bytes, metadata).await)
    }

    async fn begin(&self, key: &Key, token: &str, shape: Shape<'_>) -> Result<Upload, StoreError> {
        each_kind!(self, store => store.begin(key, token, shape).await)
    }

    async fn resume(&self, upload: Upload, parts: &[StoredPart]) -> Result<Upload, StoreError> {
        each_kind!(self, store => store.resume(upload, parts).await)
    }

    async fn part(&self, upload: &Upload, number: u32, offset: u64, bytes: Bytes) -> Result<StoredPart, StoreError> {
        each_kind!(self, store => store.part(upload, number, offset, bytes).await)
    }

    fn streams(&self) -> bool {
        each_kind!(self, store => store.streams())
    }

    async fn put_streamed(
        &self,
        key: &Key,
        token: &str,
        feed: Feed,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        each_kind!(self, store => store.put_streamed(key, token, feed, metadata).await)
    }

    async fn part_streamed(&self, upload: &Upload, number: u32, feed: Feed) -> Result<StoredPart, StoreError> {
        each_kind!(self, store => store.part_streamed(upload, number, feed).await)
    }

    async fn staged(&self, upload: &Upload, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        each_kind!(self, store => store.staged(upload, range).await)
    }

    async fn publish(&self, upload: &Upload, parts: &[StoredPart], size: u64) -> Result<ObjectFacts, StoreError> {
        each_kind!(self, store => store.publish(upload, parts, size).await)
    }

    async fn settle(&self, key: &Key) -> Result<(), StoreError> {
        each_kind!(self, store => store.settle(key).await)
    }

    async fn abandon(&self, upload: &Upload) -> Result<(), StoreError> {
        each_kind!(self, store => store.abandon(upload).await)
    }

    async fn take_back(&self, key: &Key, etag: &str) -> Result<(), StoreError> {
        each_kind!(self, store => store.take_back(key, etag).await)
    }
}
