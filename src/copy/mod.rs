//! Source → hash → target, part by part.
//!
//! Parts are read, hashed and written at the same time, a few of them at once. Each byte is hashed once and in
//! order, off the async threads. A part counts only when it is hashed *and* durable in the target *and* every
//! earlier part counts: that is a checkpoint. The object appears under its final name only when its digest was
//! compared with every one that is known.

mod budget;
mod existing;
mod hash;
mod part;

use std::future::Future;

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio_util::sync::CancellationToken;

use crate::failure::{Cause, Failure};
use crate::id::{Key, Sha256Digest};
use crate::store::{Pin, Source, StoreError, StoreErrorKind, Target, Upload};

pub use budget::Budget;
pub use existing::digest;
pub use hash::{BadState, StreamHash};

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
    /// Bytes of each part but the last; fits the budget.
    pub part_size: u64,
    /// Ours, unique to the attempt; it is in the database before the copy begins.
    pub token: String,
    /// Every digest that is known in advance.
    pub expected: Vec<Expected>,
    /// Whether the whole object is read back before it is published, besides each part.
    pub read_back: bool,
    /// What an earlier attempt with the same token has finished.
    pub resume: Option<Resume>,
    /// What the store called that attempt's upload, where it gave a name.
    pub upload_id: Option<String>,
}

/// Finished parts of an earlier attempt: all from the first up to some part.
#[derive(Clone)]
pub struct Resume {
    /// How many.
    pub parts: u32,
    /// The hash of exactly these parts.
    pub hash: StreamHash,
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resume({} parts, {} bytes)", self.parts, self.hash.bytes())
    }
}

/// One finished part, to be stored.
#[derive(Debug, Clone)]
pub struct Part {
    /// Counts from 0.
    pub number: u32,
    /// In bytes.
    pub size: u64,
    /// [`StreamHash::to_state`] after it.
    pub state: Vec<u8>,
}

/// Where a copy keeps its facts. The engine implements it over the database.
pub trait Checkpoint: Sync {
    /// Why a fact could not be stored.
    type Error: Send;

    /// Stores that a part is finished. When it returns, the fact is durable; `false` means that the row is no longer
    /// ours and nothing more may be written anywhere.
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
    let finished = job.resume.as_ref().filter(|resume| resume.hash.bytes() == job.pin.size);
    if finished.is_none()
        && let Some(facts) = existing::facts(target, &job.target_key).await?
    {
        let _room = budget.take_one_buffer(existing::READ_BYTES).await;
        return existing::adopt(source, target, job, &facts, checkpoint).await;
    }
    let parts = part::count(job.pin.size, job.part_size);
    let upload = match target.begin(&job.target_key, &job.token, parts, job.resume.is_some()).await {
        Ok(upload) => upload,
        // All parts were stored and the staged object is gone: published before a crash, most likely.
        Err(error)
            if error.kind == StoreErrorKind::Lost
                && let Some(resume) = finished =>
        {
            let sha256 = resume.hash.digest();
            compare(job, sha256, "received")?;
            let _room = budget.take_one_buffer(existing::READ_BYTES).await;
            return match existing::facts(target, &job.target_key).await? {
                Some(facts) => existing::adopt_known(target, job, &facts, sha256).await,
                None => Err(CopyError::StartAgain(error.of_target())),
            };
        }
        Err(error) => return Err(target_error(error)),
    };
    check_staged(target, job, &upload, budget).await?;
    let hash = stream(source, target, job, &upload, budget, checkpoint, stop).await?;
    let sha256 = hash.digest();
    if let Err(failure) = compare(job, sha256, "received") {
        give_up(target, &upload).await;
        return Err(failure.into());
    }
    if job.read_back {
        let _room = budget.take_one_buffer(existing::READ_BYTES).await;
        read_back(target, job, &upload, job.pin.size, sha256).await?;
    }
    crate::fault::point("before-publish");
    match target.publish(&upload, job.pin.size).await {
        Ok(facts) => Ok(Receipt {
            bytes: job.pin.size,
            sha256,
            etag: facts.etag,
            verified: if job.read_back { "read back whole, sha256" } else { "read back part by part" },
            adopted: false,
        }),
        Err(error) if error.kind == StoreErrorKind::Exists => {
            let _room = budget.take_one_buffer(existing::READ_BYTES).await;
            let facts = existing::facts(target, &job.target_key).await?.ok_or_else(|| error.clone().of_target())?;
            existing::adopt_known(target, job, &facts, sha256).await
        }
        Err(error) => Err(target_error(error)),
    }
}

/// Makes sure that what earlier attempts have stored still lies there, by reading it back: a store that was put back to
/// an older state, or a disk that lied about syncing, must not give a copy with a hole in it. The source is not asked.
async fn check_staged<T: Target + Sync, E>(
    target: &T,
    job: &Job,
    upload: &Upload,
    budget: &Budget,
) -> Result<(), CopyError<E>> {
    let Some(resume) = &job.resume else { return Ok(()) };
    if job.upload_id.is_some() && job.upload_id != upload.upload_id {
        let message = format!("another upload has come in the place of that of `{}`", job.target_key);
        return Err(CopyError::StartAgain(Failure::new(Cause::TargetError, message)));
    }
    let _room = budget.take_one_buffer(existing::READ_BYTES).await;
    read_back(target, job, upload, resume.hash.bytes(), resume.hash.digest()).await
}

/// Streams the parts that are not finished and gives the hash of the whole object.
async fn stream<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    upload: &Upload,
    budget: &Budget,
    checkpoint: &C,
    stop: &CancellationToken,
) -> Result<StreamHash, CopyError<C::Error>> {
    let (mut next, hash) =
        job.resume.as_ref().map_or_else(|| (0, StreamHash::default()), |resume| (resume.parts, resume.hash.clone()));
    checkpoint.stored(hash.bytes());
    let parts = part::count(job.pin.size, job.part_size);
    // A single part needs no row of its own: it is checkpointed by the row of the whole copy.
    let single = parts == 1;
    let mut baton = part::Baton::new(hash);
    let mut flying = FuturesOrdered::new();
    loop {
        while next < parts && flying.len() < PARTS_IN_FLIGHT && !stop.is_cancelled() {
            let range = part::range(next, job.pin.size, job.part_size);
            // Permits are taken in part order, so an earlier part never waits for a later one. Parts under way give
            // theirs back only while they are polled, so with any of them this must not wait.
            let size = range.end - range.start;
            let permit = if flying.is_empty() {
                tokio::select! {
                    permit = budget.take(size) => permit,
                    () = stop.cancelled() => break,
                }
            } else if let Some(permit) = budget.try_take(size) {
                permit
            } else {
                break;
            };
            let (turn, then) = baton.pass();
            flying.push_back(part::transfer(source, target, job, upload, checkpoint, next, range, turn, then, permit));
            next += 1;
        }
        let Some(done) = flying.next().await else { break };
        let done: part::Done = done?;
        if !single {
            crate::fault::point("before-part-row");
            match checkpoint.part_done(&done.part, upload).await {
                Ok(true) => {}
                Ok(false) => return Err(CopyError::Lost(None)),
                Err(error) => return Err(CopyError::Lost(Some(error))),
            }
            crate::fault::point("after-part-row");
        }
    }
    if next < parts {
        return Err(CopyError::Stopped);
    }
    baton.last().await
}

/// Compares a digest with every one that is known.
fn compare(job: &Job, sha256: Sha256Digest, what: &str) -> Result<(), Failure> {
    match job.expected.iter().find(|expected| expected.sha256 != sha256) {
        None => Ok(()),
        Some(expected) => Err(Failure::new(
            Cause::Integrity,
            format!(
                "the bytes of `{}` are not the expected ones: expected sha256 {} ({}), {what} sha256 {sha256} ({} bytes); \
                 nothing appeared in the target, the source was not touched",
                job.source_key, expected.sha256, expected.from, job.pin.size
            ),
        )
        .hint("if the source was rewritten on purpose, correct the digest where it comes from and run with --retry-failed")),
    }
}

/// Reads the first bytes of the staged object back, or all of them, and compares their digest.
async fn read_back<T: Target + Sync, E>(
    target: &T,
    job: &Job,
    upload: &Upload,
    size: u64,
    sha256: Sha256Digest,
) -> Result<(), CopyError<E>> {
    let mut hash = StreamHash::default();
    while hash.bytes() < size {
        let end = size.min(hash.bytes() + existing::READ_BYTES);
        let bytes = target.staged(upload, hash.bytes()..end).await.map_err(target_error)?;
        hash = hash.updated(bytes).await;
    }
    if hash.digest() == sha256 {
        return Ok(());
    }
    give_up(target, upload).await;
    Err(CopyError::StartAgain(Failure::new(
        Cause::Integrity,
        format!(
            "the target holds other bytes of `{}` than were sent: sent sha256 {sha256}, read back sha256 {}",
            job.target_key,
            hash.digest()
        ),
    )))
}

/// A lost upload starts again; anything else fails the attempt.
fn target_error<E>(error: StoreError) -> CopyError<E> {
    if error.kind == StoreErrorKind::Lost {
        CopyError::StartAgain(error.of_target())
    } else {
        CopyError::Failed(error.of_target())
    }
}

/// Takes away what was staged. If that fails too, the row still names it and `gc` settles it.
async fn give_up<T: Target + Sync>(target: &T, upload: &Upload) {
    let _ = target.abandon(upload).await;
}
