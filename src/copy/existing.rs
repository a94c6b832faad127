//! An object that lies under the target's final name already: adopted if it has the same bytes, else left alone.
//!
//! "The same" is a digest's word, never that of size, time or name.

use super::proof::compare_sha256;
use super::{Budget, Checkpoint, CopyError, Job, Receipt, StreamHash};
use crate::failure::{Cause, Failure};
use crate::id::{Key, Sha256Digest};
use crate::store::{Metadata, ObjectFacts, Pin, Seen, Source, StoreError, StoreErrorKind, Target};

/// Bytes of one read while hashing what is there.
pub(super) const READ_BYTES: u64 = 4 << 20;

/// How a copy is proved that is the source's own object, because both regions are one account.
pub const SHARED: &str = "the source's own object, read whole, sha256; it shares the source's fate";

/// What lies under the final name, if anything does. What its store will delete by itself is refused, whatever it has in it.
pub(super) async fn facts<T: Source + Sync, E>(target: &T, job: &Job) -> Result<Option<ObjectFacts>, CopyError<E>> {
    match target.head(&job.target_key).await {
        Ok(facts) => match expires(&job.target_key, &facts).filter(|_| !job.is_source) {
            Some(failure) => Err(failure.into()),
            None => Ok(Some(facts)),
        },
        Err(error) if error.kind == StoreErrorKind::Missing => Ok(None),
        Err(error) => Err(error.of_target().into()),
    }
}

/// Adopts the existing object if its bytes are the source's. The source is read only if nobody knows its digest.
pub(super) async fn adopt<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    facts: &ObjectFacts,
    checkpoint: &C,
) -> Result<Receipt, CopyError<C::Error>> {
    if facts.size != job.pin.size {
        return Err(differs(job, &format!("{} bytes there, {} bytes at the source", facts.size, job.pin.size)).into());
    }
    let known = match job.expected.first() {
        Some(expected) => expected.sha256,
        None => digest(source, &job.source_key, &job.pin, &|bytes| checkpoint.read(bytes))
            .await
            .map_err(StoreError::of_source)?,
    };
    compare_sha256(job, known, "known")?;
    let receipt = match adopt_known(target, job, facts, known).await {
        // Before another object is blamed, the digest that was said to be the source's is held against the source.
        Err(CopyError::Failed(failure)) if failure.cause == Cause::TargetDiffers && !job.expected.is_empty() => {
            let seen = |bytes| checkpoint.read(bytes);
            let source = digest(source, &job.source_key, &job.pin, &seen).await.map_err(StoreError::of_source)?;
            compare_sha256(job, source, "received")?;
            return Err(failure.into());
        }
        other => other?,
    };
    checkpoint.stored(receipt.bytes);
    Ok(receipt)
}

/// Adopts the object that must lie there: nothing is ever written for it.
pub(super) async fn is_there<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    budget: &Budget,
    checkpoint: &C,
) -> Result<Receipt, CopyError<C::Error>> {
    let _room = budget.take_one_buffer(READ_BYTES).await;
    let there = facts(target, job).await?.ok_or_else(|| {
        let message = format!("`{}` is not where its source is, though both are one account", job.target_key);
        Failure::new(Cause::SourceMissing, message)
    })?;
    job.agrees_with(&there.metadata)?;
    let metadata = there.metadata.clone();
    let receipt = adopt(source, target, job, &there, checkpoint).await?;
    Ok(Receipt { metadata, ..receipt })
}

/// Adopts the existing object if it has the digest `known`, and takes away what was staged beside it.
pub(super) async fn adopt_known<T: Target + Sync, E>(
    target: &T,
    job: &Job,
    facts: &ObjectFacts,
    known: Sha256Digest,
) -> Result<Receipt, CopyError<E>> {
    // Others may have put it there, and it may be in a cache only.
    target.settle(&job.target_key).await.map_err(StoreError::of_target)?;
    let pin = Pin { etag: facts.etag.clone(), size: facts.size };
    let there = digest(target, &job.target_key, &pin, &|_| ()).await.map_err(StoreError::of_target)?;
    if there != known {
        return Err(differs(job, &format!("sha256 {there} there, sha256 {known} at the source")).into());
    }
    // Nothing of ours ever lies beside a source.
    if !job.is_source {
        target.abandon(&job.upload()).await.map_err(StoreError::of_target)?;
    }
    crate::fault::point("after-adopted");
    Ok(Receipt {
        bytes: facts.size,
        sha256: there,
        etag: facts.etag.clone(),
        verified: "already there, read whole, sha256",
        adopted: true,
        metadata: Metadata::new(),
    })
}

/// Reads a whole object and hashes it, telling `seen` of the bytes as they come.
///
/// # Errors
/// As [`Source::read`].
pub async fn digest<S: Source + Sync>(
    store: &S,
    key: &Key,
    pin: &Pin,
    seen: Seen<'_>,
) -> Result<Sha256Digest, StoreError> {
    let mut hash = StreamHash::default();
    while hash.bytes() < pin.size {
        let range = hash.bytes()..pin.size.min(hash.bytes() + READ_BYTES);
        let read = store.read(key, range, pin, seen).await?;
        hash = hash.updated(read.bytes).await;
    }
    Ok(hash.digest())
}

/// Why an object is no copy that could stay: a copy does not expire.
#[must_use]
pub fn expires(key: &Key, there: &ObjectFacts) -> Option<Failure> {
    let expires = there.expires?;
    let message = format!(
        "the object under the target's name `{key}` will be deleted by its store itself at {expires} (X-Delete-At), so it is not \
         taken for the copy"
    );
    Some(
        Failure::new(Cause::TargetUnwritable, message)
            .hint("nothing was changed; move that object away, or take its expiry from it, then run again"),
    )
}

fn differs(job: &Job, how: &str) -> Failure {
    Failure::new(
        Cause::TargetDiffers,
        format!("another object lies under the target's name `{}`: {how}; nothing was overwritten", job.target_key),
    )
    .hint("move that object away if it is not needed, then run with --retry-failed")
}
