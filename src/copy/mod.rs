//! Source → hash → target, whole or part by part.
//!
//! Parts are read, hashed and written at the same time, a few of them at once. Each byte is hashed once and in
//! order, off the async threads. A part counts only when it is hashed *and* durable in the target *and* every
//! earlier part counts: that is a checkpoint. The object appears under its final name only when its digest was
//! compared with every one that is known.

mod budget;
mod existing;
mod feed;
mod hash;
mod part;
mod parts;
mod proof;
mod resume;
mod segments;
mod streamed;
mod whole;

use std::future::Future;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::id::{Key, Sha256Digest};
use crate::store::{
    KnownDigests, Layout, Lineage, Metadata, Pin, Segment, Shape, Source, StoreError, StoreErrorKind, StoredPart,
    Target, Upload,
};

pub use budget::Budget;
pub use existing::{SHARED, digest, expires};
pub use hash::{BadState, StreamHash};
pub use resume::Resume;
pub use segments::WrongSegment;

/// Parts of one copy between permit and row. Two hide the latency of the other store, a third the one of the disk.
pub const PARTS_IN_FLIGHT: usize = 3;

/// A digest that the copy must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The digest.
    pub sha256: Sha256Digest,
    /// Who says so, for the error: `the plan`, `the source's record`.
    pub from: &'static str,
}

/// One object to copy.
#[derive(Debug, Clone)]
pub struct Job {
    /// The source object.
    pub source_key: Key,
    /// Its version; another one fails.
    pub pin: Pin,
    /// The final name in the target.
    pub target_key: Key,
    /// Its parts in the target.
    pub layout: Layout,
    /// Bytes of one read of what is streamed, and of each part that is not; fits the budget. What is no larger and has
    /// no segments is copied whole.
    pub part_size: u64,
    /// The source object's segments, if it has any: the MD5 of each is checked.
    pub segments: Option<Arc<[Segment]>>,
    /// Ours, unique to the attempt; it is in the database before the copy begins.
    pub token: String,
    /// Every digest that is known in advance.
    pub expected: Vec<Expected>,
    /// What the source's record says of the object, where its store keeps no metadata.
    pub metadata: Metadata,
    /// What the object must not contradict; none where nobody knows, or where objects name no parents.
    pub lineage: Option<Lineage>,
    /// Whether the whole object is read back, besides each part.
    pub read_back: bool,
    /// Whether the target's object is the source's own, because both regions are one account: it is only read.
    pub is_source: bool,
    /// What an earlier attempt with the same token has finished.
    pub resume: Option<Resume>,
    /// What the store called that attempt's upload, where it gave a name.
    pub upload_id: Option<String>,
}

impl Job {
    const fn shape<'a>(&'a self, metadata: &'a Metadata) -> Shape<'a> {
        Shape { layout: &self.layout, metadata }
    }

    /// Finished parts, and their hash: none of them, and the hash that compares with `known`, if nothing is finished.
    fn begun(&self, known: &KnownDigests) -> (Vec<StoredPart>, StreamHash) {
        match &self.resume {
            None => (Vec::new(), self.to_compare(known)),
            Some(Resume { parts, hash }) => (parts.clone(), self.with_segments(hash.clone(), known)),
        }
    }

    /// Whether the object names the parent that it is said to have.
    fn agrees_with(&self, metadata: &Metadata) -> Result<(), Failure> {
        self.lineage.as_ref().map_or(Ok(()), |lineage| lineage.agrees(&self.source_key, metadata))
    }

    /// The hash that finds what differs from the source: the whole, or a segment of it.
    fn to_compare(&self, known: &KnownDigests) -> StreamHash {
        self.with_segments(StreamHash::to_compare(known), known)
    }

    fn with_segments(&self, hash: StreamHash, known: &KnownDigests) -> StreamHash {
        // A digest of the whole says as much, and an MD5 that the target is told of is compared there.
        let needless = known.sha256.is_some() || self.keeps_segments();
        hash.checking(self.segments.as_ref().filter(|_| !needless))
    }

    /// Whether the target gets the very segments of the source.
    fn keeps_segments(&self) -> bool {
        match (&self.layout, &self.segments) {
            (Layout::Segments(sizes), Some(segments)) => {
                segments.iter().map(|segment| segment.size).eq(sizes.iter().copied())
            }
            _ => false,
        }
    }

    /// The MD5 that a part must have, where it is a segment of the source.
    fn md5_of(&self, number: u32) -> Option<[u8; 16]> {
        let segments = self.segments.as_ref().filter(|_| self.keeps_segments())?;
        segments.get(number as usize).map(|segment| segment.md5)
    }

    /// What may lie staged in the target, as far as is known before it was begun.
    fn upload(&self) -> Upload {
        Upload {
            key: self.target_key.clone(),
            token: self.token.clone(),
            upload_id: self.upload_id.clone(),
            parts: self.layout.parts(),
        }
    }
}

/// One finished part, to be stored.
#[derive(Debug, Clone)]
pub struct Part {
    /// Counts from 0.
    pub number: u32,
    /// As the store has it.
    pub stored: StoredPart,
    /// [`StreamHash::to_state`] after it.
    pub state: Vec<u8>,
}

/// Where a copy keeps its facts. The engine implements it over the database.
pub trait Checkpoint: Sync {
    /// Why a fact could not be stored.
    type Error: Send;

    /// Stores what the store calls an upload that was just begun, so that it can be found again. When it returns, the
    /// fact is durable; `false` means that the row is no longer ours and nothing more may be written anywhere.
    ///
    /// # Errors
    /// Those of the database.
    fn begun(&self, upload: &Upload) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Stores that a part is finished. Answers as [`Checkpoint::begun`].
    ///
    /// # Errors
    /// Those of the database.
    fn part_done(&self, part: &Part, upload: &Upload) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Shows how many bytes are stored in the target, when a copy begins or is found in its place.
    fn stored(&self, bytes: u64);

    /// Shows that bytes were read from the source, each time they are.
    fn read(&self, bytes: u64);
}

/// What a copy that succeeded knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Size of the object.
    pub bytes: u64,
    /// Digest of the whole stream.
    pub sha256: Sha256Digest,
    /// The target's own version of it.
    pub etag: String,
    /// How it was made sure that the target holds these bytes.
    pub verified: &'static str,
    /// Whether the same bytes lay there already.
    pub adopted: bool,
    /// What travelled with the object.
    pub metadata: Metadata,
}

/// Why a copy has no receipt.
#[derive(Debug)]
pub enum CopyError<E> {
    /// A store, or a digest, said no.
    Failed(Failure),
    /// The upload cannot go on from its checkpoint: it must start again from its first byte, with a new token.
    StartAgain(Failure),
    /// Drained; what is checkpointed stays.
    Stopped,
    /// The row is not ours any more (none), or the checkpoint could not be stored.
    Lost(Option<E>),
}

impl<E> From<Failure> for CopyError<E> {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What one copy works with.
struct Route<'a, S, T, C> {
    source: &'a S,
    target: &'a T,
    job: &'a Job,
    budget: &'a Budget,
    checkpoint: &'a C,
    stop: &'a CancellationToken,
}

/// Copies one object. Safe to repeat: with the same job it goes on from what is checkpointed, and an object that it
/// has published before is recognised by its bytes.
///
/// Memory stays within the budget whatever the object's size. `stop` makes it end at its next checkpoint.
///
/// # Errors
/// [`CopyError`], by case. Nothing lies under the final name unless the digest was compared and the copy is whole.
pub async fn copy<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    budget: &Budget,
    checkpoint: &C,
    stop: &CancellationToken,
) -> Result<Receipt, CopyError<C::Error>> {
    if job.is_source {
        return existing::is_there(source, target, job, budget, checkpoint).await;
    }
    match job.layout {
        Layout::Segments(_) => parts::copy(source, target, job, budget, checkpoint, stop).await,
        _ if job.pin.size <= job.part_size => whole::copy(source, target, job, budget, checkpoint, stop).await,
        Layout::Equal { .. } => parts::copy(source, target, job, budget, checkpoint, stop).await,
        Layout::Plain { .. } => streamed::plain(&Route { source, target, job, budget, checkpoint, stop }).await,
    }
}

/// A lost upload starts again; anything else fails the attempt.
fn target_error<E>(error: StoreError) -> CopyError<E> {
    if error.kind == StoreErrorKind::Lost {
        CopyError::StartAgain(error.of_target())
    } else {
        CopyError::Failed(error.of_target())
    }
}
