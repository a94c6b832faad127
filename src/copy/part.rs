//! One part on its way: read, then hashed in its turn while it is written.

use std::ops::Range;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{Checkpoint, CopyError, Job, Part, StreamHash, proof, target_error};
use crate::failure::{Cause, Failure};
use crate::store::{Source, StoreError, Target, Upload};

/// Hands the running hash from each part to the next, so that bytes are hashed in order while parts come and go in
/// any order.
pub(super) struct Baton<H>(oneshot::Receiver<H>);

impl<H> Baton<H> {
    pub(super) fn new(hash: H) -> Self {
        let (sender, receiver) = oneshot::channel();
        sender.send(hash).ok().expect("the receiver is right here");
        Self(receiver)
    }

    /// The turn of the next part, and where it hands the hash on to.
    pub(super) fn pass(&mut self) -> (oneshot::Receiver<H>, oneshot::Sender<H>) {
        let (sender, receiver) = oneshot::channel();
        (std::mem::replace(&mut self.0, receiver), sender)
    }

    /// The hash after the last part.
    pub(super) async fn last(self) -> Result<H, Failure> {
        self.0.await.map_err(|_| dropped())
    }
}

/// A part that is hashed and durable.
pub(super) struct Done {
    pub(super) part: Part,
    /// Its memory, given back when this is dropped.
    _permit: OwnedSemaphorePermit,
}

/// Makes a finished part a checkpoint.
pub(super) async fn record<C: Checkpoint>(
    checkpoint: &C,
    part: &Part,
    upload: &Upload,
) -> Result<(), CopyError<C::Error>> {
    crate::fault::point("before-part-row");
    match checkpoint.part_done(part, upload).await {
        Ok(true) => {}
        Ok(false) => return Err(CopyError::Lost(None)),
        Err(error) => return Err(CopyError::Lost(Some(error))),
    }
    crate::fault::point("after-part-row");
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one call site; a struct of borrows would only rename them")]
pub(super) async fn transfer<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    source: &S,
    target: &T,
    job: &Job,
    upload: &Upload,
    checkpoint: &C,
    number: u32,
    range: Range<u64>,
    turn: oneshot::Receiver<StreamHash>,
    then: oneshot::Sender<StreamHash>,
    permit: OwnedSemaphorePermit,
) -> Result<Done, CopyError<C::Error>> {
    let seen = |bytes| checkpoint.read(bytes);
    let read = source.read(&job.source_key, range.clone(), &job.pin, &seen).await.map_err(StoreError::of_source)?;
    let hashed = hash_in_turn(job, read.bytes.clone(), turn, then);
    let stored = async { target.part(upload, number, range.start, read.bytes).await.map_err(target_error) };
    let (state, stored) = tokio::try_join!(hashed, stored)?;
    Ok(Done { part: Part { number, stored, state }, _permit: permit })
}

/// Waits for the hash of all earlier parts, adds this one's bytes off the async threads, and hands it on.
async fn hash_in_turn<E>(
    job: &Job,
    bytes: Bytes,
    turn: oneshot::Receiver<StreamHash>,
    then: oneshot::Sender<StreamHash>,
) -> Result<Vec<u8>, CopyError<E>> {
    let hash = turn.await.map_err(|_| CopyError::Failed(dropped()))?;
    let hash = hash.updated(bytes).await;
    proof::compare_segments(job, &hash)?;
    let state = hash.to_state();
    // Nobody waits after the last part, or when the copy is being given up.
    let _ = then.send(hash);
    Ok(state)
}

/// An earlier part failed; its own error is the one that is reported.
pub(super) fn dropped() -> Failure {
    Failure::new(Cause::Internal, "an earlier part of the copy ended without its hash")
}
