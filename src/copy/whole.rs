//! An object that is no larger than one part: read once, hashed, compared, and put. One request to each store.

use tokio_util::sync::CancellationToken;

use super::{Budget, Checkpoint, CopyError, Job, Receipt, existing, parts, proof, target_error};
use crate::store::{KnownDigests, Source, StoreError, StoreErrorKind, Target};

pub(super) async fn copy<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    budget: &Budget,
    checkpoint: &C,
    stop: &CancellationToken,
) -> Result<Receipt, CopyError<C::Error>> {
    let permit = tokio::select! {
        permit = budget.take(job.pin.size) => permit,
        () = stop.cancelled() => return Err(CopyError::Stopped),
    };
    let seen = |bytes| checkpoint.read(bytes);
    let read = source.read(&job.source_key, 0..job.pin.size, &job.pin, &seen).await.map_err(StoreError::of_source)?;
    let (known, metadata) = match read.facts {
        Some(facts) => {
            job.agrees_with(&facts.metadata)?;
            (facts.digests, facts.metadata)
        }
        // Read segment by segment: what belongs to the whole is to be asked for.
        None if job.segments.is_some() => parts::facts(source, job).await?,
        None => (KnownDigests::default(), job.metadata.clone()),
    };
    let hash = job.to_compare(&known).updated(read.bytes.clone()).await;
    proof::compare(job, &hash, &known)?;
    let sha256 = hash.digest();
    crate::fault::point("before-put");
    let put = target.put(&job.target_key, &job.token, read.bytes, &metadata).await;
    // What comes now reads in buffers of its own.
    drop(permit);
    match put {
        Ok((facts, shown)) => {
            let verified = if job.read_back || shown == crate::store::Proof::None {
                proof::published(target, job, &facts, sha256, budget).await?
            } else {
                shown.text()
            };
            Ok(Receipt { bytes: job.pin.size, sha256, etag: facts.etag, verified, adopted: false, metadata })
        }
        Err(error) if error.kind == StoreErrorKind::Exists => {
            let _room = budget.take_one_buffer(existing::READ_BYTES).await;
            let facts = existing::facts(target, job).await?.ok_or_else(|| error.of_target())?;
            let receipt = existing::adopt_known(target, job, &facts, sha256).await?;
            checkpoint.stored(receipt.bytes);
            Ok(Receipt { metadata, ..receipt })
        }
        Err(error) => Err(target_error(error)),
    }
}
