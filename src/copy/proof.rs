//! Digests compared: those of the stream with every one that is known, and those of what the target holds.

use super::existing::READ_BYTES;
use super::hash::hex;
use super::{Budget, CopyError, Job, StreamHash, WrongSegment, target_error};
use crate::failure::{Cause, Failure};
use crate::id::Sha256Digest;
use crate::store::{KnownDigests, ObjectFacts, Pin, StoreError, StoreErrorKind, Target, Upload};

/// Compares what was received with every digest that is known.
pub(super) fn compare(job: &Job, hash: &StreamHash, known: &KnownDigests) -> Result<(), Failure> {
    compare_sha256(job, hash.digest(), "received")?;
    compare_segments(job, hash)?;
    let Some((name, theirs, ours)) = hash.differs_from(known) else { return Ok(()) };
    let what = format!("the bytes of `{}`", job.source_key);
    Err(received_others(&what, name, &theirs, &ours, job.pin.size))
}

/// Compares the segments that are over with what the source's manifest says of them.
pub(super) fn compare_segments(job: &Job, hash: &StreamHash) -> Result<(), Failure> {
    hash.wrong_segment().map_or(Ok(()), |wrong| Err(wrong_segment(job, wrong)))
}

/// The failure of a copy that received other bytes of a segment than the source's manifest says.
pub(super) fn wrong_segment(job: &Job, WrongSegment { number, theirs, ours }: WrongSegment) -> Failure {
    let size = job.segments.as_ref().and_then(|segments| segments.get(number)).map_or(0, |segment| segment.size);
    let what = format!("the bytes of segment {} of `{}`", number + 1, job.source_key);
    received_others(&what, "md5", &hex(&theirs), &hex(&ours), size)
}

/// The failure of a copy that received other bytes than the source store has an MD5 of.
pub(super) fn wrong_md5(job: &Job, theirs: &[u8], ours: &[u8]) -> Failure {
    let what = format!("the bytes of `{}`", job.source_key);
    received_others(&what, "md5", &hex(theirs), &hex(ours), job.pin.size)
}

fn received_others(what: &str, name: &str, theirs: &str, ours: &str, size: u64) -> Failure {
    let message = format!(
        "{what} are not those that its store has a digest of: {name} {theirs} there, {name} {ours} received ({size} \
         bytes); nothing appeared in the target, the source was not touched"
    );
    Failure::new(Cause::Integrity, message)
        .hint("they were damaged on their way or in the store; run with --retry-failed to read them again")
}

/// Compares a digest with every one that was known in advance.
pub(super) fn compare_sha256(job: &Job, sha256: Sha256Digest, what: &str) -> Result<(), Failure> {
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

/// Reads the first `size` bytes of a staged object back and compares their digest. False where its store shows nothing
/// before it is published.
pub(super) async fn staged<T: Target + Sync, E>(
    target: &T,
    job: &Job,
    upload: &Upload,
    size: u64,
    sha256: Sha256Digest,
    budget: &Budget,
) -> Result<bool, CopyError<E>> {
    let _room = budget.take_one_buffer(READ_BYTES).await;
    let mut hash = StreamHash::default();
    while hash.bytes() < size {
        let end = size.min(hash.bytes() + READ_BYTES);
        let Some(bytes) = target.staged(upload, hash.bytes()..end).await.map_err(target_error)? else {
            return Ok(false);
        };
        hash = hash.updated(bytes).await;
    }
    if hash.digest() == sha256 {
        return Ok(true);
    }
    give_up(target, upload).await;
    Err(CopyError::StartAgain(differs(job, sha256, hash.digest())))
}

/// Reads back what was just published, and takes it back if it is not what was sent.
pub(super) async fn published<T: Target + Sync, E>(
    target: &T,
    job: &Job,
    facts: &ObjectFacts,
    sha256: Sha256Digest,
    budget: &Budget,
) -> Result<&'static str, CopyError<E>> {
    let _room = budget.take_one_buffer(READ_BYTES).await;
    let pin = Pin { etag: facts.etag.clone(), size: facts.size };
    let there = match super::digest(target, &job.target_key, &pin, &|_| ()).await {
        Ok(there) => there,
        Err(error) if error.kind == StoreErrorKind::Changed => return Err(error.of_target().into()),
        Err(error) => return Err(target_error(error)),
    };
    if there == sha256 {
        return Ok("read back whole, sha256");
    }
    target.take_back(&job.target_key, &facts.etag).await.map_err(StoreError::of_target)?;
    Err(differs(job, sha256, there).into())
}

fn differs(job: &Job, sent: Sha256Digest, there: Sha256Digest) -> Failure {
    Failure::new(
        Cause::Integrity,
        format!(
            "the target holds other bytes of `{}` than were sent: sent sha256 {sent}, read back sha256 {there}",
            job.target_key
        ),
    )
}

/// Takes away what was staged. If that fails too, the row still names it and `gc` settles it.
pub(super) async fn give_up<T: Target + Sync>(target: &T, upload: &Upload) {
    let _ = target.abandon(upload).await;
}
