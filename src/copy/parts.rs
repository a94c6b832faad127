//! An object of several parts: streamed, checkpointed part by part, and published when its digest was compared.

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio_util::sync::CancellationToken;

use super::{
    Budget, Checkpoint, CopyError, Job, PARTS_IN_FLIGHT, Receipt, Route, StreamHash, existing, part, proof, streamed,
    target_error,
};
use crate::failure::{Cause, Failure};
use crate::store::{
    KnownDigests, Layout, Metadata, ObjectFacts, Proof, Source, StoreError, StoreErrorKind, StoredPart, Target, Upload,
};

pub(super) async fn copy<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    budget: &Budget,
    checkpoint: &C,
    stop: &CancellationToken,
) -> Result<Receipt, CopyError<C::Error>> {
    let finished = job.resume.as_ref().is_some_and(|resume| resume.parts.len() == job.layout.parts() as usize);
    let (known, metadata) = facts(source, job).await?;
    if !finished && let Some(there) = existing::facts(target, job).await? {
        let _room = budget.take_one_buffer(existing::READ_BYTES).await;
        let receipt = existing::adopt(source, target, job, &there, checkpoint).await?;
        return Ok(Receipt { metadata, ..receipt });
    }
    let (upload, is_staged) = match open(target, job, &metadata, budget, checkpoint).await {
        // All parts were stored and the upload is gone: published before a crash, most likely. Publishing tells.
        Err(CopyError::StartAgain(_)) if finished => (job.upload(), false),
        other => (other?, true),
    };
    let (hash, stored) = if matches!(job.layout, Layout::Segments(_)) {
        let route = Route { source, target, job, budget, checkpoint, stop };
        streamed::segments(&route, &upload, &known).await?
    } else {
        stream(source, target, job, &upload, &known, budget, checkpoint, stop).await?
    };
    if let Err(failure) = proof::compare(job, &hash, &known) {
        proof::give_up(target, &upload).await;
        return Err(failure.into());
    }
    let sha256 = hash.digest();
    let shown = stored.iter().map(|part| part.proof).min().unwrap_or(Proof::None);
    let read_back =
        job.read_back && is_staged && proof::staged(target, job, &upload, job.pin.size, sha256, budget).await?;
    crate::fault::point("before-publish");
    match target.publish(&upload, &stored, job.pin.size).await {
        Ok(facts) => {
            let verified = if read_back {
                "read back whole, sha256"
            } else if job.read_back || shown == Proof::None {
                proof::published(target, job, &facts, sha256, budget).await?
            } else {
                shown.text()
            };
            Ok(Receipt { bytes: job.pin.size, sha256, etag: facts.etag, verified, adopted: false, metadata })
        }
        Err(error) if error.kind == StoreErrorKind::Exists => {
            let _room = budget.take_one_buffer(existing::READ_BYTES).await;
            let facts = existing::facts(target, job).await?.ok_or_else(|| error.clone().of_target())?;
            let receipt = existing::adopt_known(target, job, &facts, sha256).await?;
            Ok(Receipt { metadata, ..receipt })
        }
        Err(error) => Err(target_error(error)),
    }
}

/// What the source says of the object now: it must be the pinned one, and what travels with it is needed before its
/// first part is sent.
pub(super) async fn facts<S: Source + Sync, E>(
    source: &S,
    job: &Job,
) -> Result<(KnownDigests, Metadata), CopyError<E>> {
    let ObjectFacts { size, etag, digests, metadata, .. } =
        source.head(&job.source_key).await.map_err(StoreError::of_source)?;
    if size != job.pin.size || etag != job.pin.etag {
        let message = format!(
            "`{}` changed since it was looked at first: {} bytes, version {} then; {size} bytes, version {etag} now",
            job.source_key, job.pin.size, job.pin.etag
        );
        let failure = Failure::new(Cause::SourceChanged, message);
        return Err(failure.hint("let the writer finish, then run the same plan again").into());
    }
    job.agrees_with(&metadata)?;
    Ok((digests, if metadata.is_empty() { job.metadata.clone() } else { metadata }))
}

/// Begins the upload, or takes up the one that an earlier attempt began.
async fn open<T: Target + Sync, C: Checkpoint>(
    target: &T,
    job: &Job,
    metadata: &Metadata,
    budget: &Budget,
    checkpoint: &C,
) -> Result<Upload, CopyError<C::Error>> {
    let Some(resume) = &job.resume else {
        let upload = target.begin(&job.target_key, &job.token, job.shape(metadata)).await.map_err(target_error)?;
        return match checkpoint.begun(&upload).await {
            Ok(true) => Ok(upload),
            Ok(false) => Err(CopyError::Lost(None)),
            Err(error) => Err(CopyError::Lost(Some(error))),
        };
    };
    let upload = target.resume(job.upload(), &resume.parts).await.map_err(target_error)?;
    if job.upload_id.is_some() && job.upload_id != upload.upload_id {
        let message = format!("another upload has come in the place of that of `{}`", job.target_key);
        return Err(CopyError::StartAgain(Failure::new(Cause::TargetError, message)));
    }
    // What earlier attempts have stored must still lie there: a store that was put back to an older state, or a disk
    // that lied about syncing, must not give a copy with a hole in it. The source is not asked.
    proof::staged(target, job, &upload, resume.hash.bytes(), resume.hash.digest(), budget).await?;
    Ok(upload)
}

/// Streams the parts that are not finished and gives the hash of the whole object, and all its parts.
#[expect(clippy::too_many_arguments, reason = "one call site; a struct of borrows would only rename them")]
async fn stream<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    upload: &Upload,
    known: &KnownDigests,
    budget: &Budget,
    checkpoint: &C,
    stop: &CancellationToken,
) -> Result<(StreamHash, Vec<StoredPart>), CopyError<C::Error>> {
    let (mut stored, hash) = job.begun(known);
    checkpoint.stored(hash.bytes());
    let parts = job.layout.parts();
    let mut next = u32::try_from(stored.len()).expect("parts are counted in 32 bits");
    let mut baton = part::Baton::new(hash);
    let mut flying = FuturesOrdered::new();
    loop {
        while next < parts && flying.len() < PARTS_IN_FLIGHT && !stop.is_cancelled() {
            let range = job.layout.range(next);
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
        part::record(checkpoint, &done.part, upload).await?;
        stored.push(done.part.stored);
    }
    if next < parts {
        return Err(CopyError::Stopped);
    }
    Ok((baton.last().await?, stored))
}
