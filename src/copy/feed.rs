//! The bytes of one streamed part: read ahead a few reads at a time, put in order, hashed, and handed on as they are
//! taken. In memory are the reads under way and those not yet sent, never the part.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use md5::{Digest, Md5};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::hash::{INLINE, beside};
use super::part::{Baton, dropped};
use super::{Checkpoint, PARTS_IN_FLIGHT, Route, StreamHash};
use crate::failure::Failure;
use crate::store::Source;

/// The digests of a stream of parts.
pub(super) struct Hashes {
    /// Of the whole object so far.
    pub(super) stream: StreamHash,
    /// Of the part so far, where it is of use.
    pub(super) part: Option<Md5>,
}

impl Hashes {
    async fn updated(mut self, bytes: Bytes) -> Self {
        if bytes.len() <= INLINE {
            if let Some(md5) = &mut self.part {
                md5.update(&bytes);
            }
            self.stream.update(&bytes);
            return self;
        }
        let part = self.part.map(|md5| beside(md5, &bytes, |md5, bytes| md5.update(bytes)));
        let stream = self.stream.updated(bytes).await;
        let part = match part {
            Some(md5) => Some(md5.await.expect("hashing does not panic")),
            None => None,
        };
        Self { stream, part }
    }

    /// The MD5 of the part, if it was wanted.
    pub(super) fn md5(&self) -> Option<[u8; 16]> {
        self.part.clone().map(|md5| md5.finalize().into())
    }
}

/// Why a feed ended early.
pub(super) enum End {
    /// The source, or a digest, said no.
    Failed(Failure),
    /// Drained.
    Stopped,
    /// Whoever takes the bytes wants no more of them.
    NotTaken,
}

/// Is asked before the last bytes of a part are handed on: whether the stream, these included, is what it should be.
pub(super) type Check<'a> = &'a (dyn Fn(&StreamHash) -> Result<(), Failure> + Send + Sync);

/// Reads a range of the source and hands its bytes on. When a drain begins no further read is; what only remains to be
/// handed on then still is.
pub(super) async fn run<S: Source + Sync, T: Sync, C: Checkpoint>(
    route: &Route<'_, S, T, C>,
    range: Range<u64>,
    hashes: Hashes,
    check: Check<'_>,
    chunks: mpsc::Sender<Bytes>,
) -> Result<Hashes, End> {
    let mut baton = Baton::new(hashes);
    let mut flying = FuturesOrdered::new();
    let mut next = range.start;
    loop {
        while next < range.end && flying.len() < PARTS_IN_FLIGHT {
            let end = range.end.min(next.saturating_add(route.job.part_size));
            // As for parts from memory: permits in order, and no waiting for one while reads are under way that may
            // have to be polled to give theirs back.
            let permit = if route.stop.is_cancelled() {
                return Err(End::Stopped);
            } else if flying.is_empty() {
                tokio::select! {
                    permit = route.budget.take(end - next) => permit,
                    () = route.stop.cancelled() => return Err(End::Stopped),
                }
            } else if let Some(permit) = route.budget.try_take(end - next) {
                permit
            } else {
                break;
            };
            let last = (end == range.end).then_some(check);
            let (turn, then) = baton.pass();
            flying.push_back(pass_on(route, next..end, last, permit, &chunks, turn, then));
            next = end;
        }
        let Some(passed) = flying.next().await else { break };
        passed?;
    }
    drop(flying);
    baton.last().await.map_err(End::Failed)
}

async fn pass_on<S: Source + Sync, T: Sync, C: Checkpoint>(
    route: &Route<'_, S, T, C>,
    range: Range<u64>,
    last: Option<Check<'_>>,
    permit: OwnedSemaphorePermit,
    chunks: &mpsc::Sender<Bytes>,
    turn: oneshot::Receiver<Hashes>,
    then: oneshot::Sender<Hashes>,
) -> Result<(), End> {
    let Route { source, job, checkpoint, .. } = route;
    let seen = |bytes| checkpoint.read(bytes);
    let read = source.read(&job.source_key, range, &job.pin, &seen).await;
    let bytes = Held::bytes(read.map_err(|error| End::Failed(error.of_source()))?.bytes, permit);
    let hashes = turn.await.map_err(|_| End::Failed(dropped()))?;
    let hashes = if let Some(check) = last {
        // Held back until the digests are compared: without it the target stores nothing.
        let hashes = hashes.updated(bytes.clone()).await;
        check(&hashes.stream).map_err(End::Failed)?;
        chunks.send(bytes).await.map_err(|_| End::NotTaken)?;
        hashes
    } else {
        let (hashes, sent) = tokio::join!(hashes.updated(bytes.clone()), chunks.send(bytes));
        sent.map_err(|_| End::NotTaken)?;
        hashes
    };
    // Nobody waits after the last one, or when the part is being given up.
    let _ = then.send(hashes);
    Ok(())
}

/// Bytes and their place in memory, which is given back when the last clone or slice of them is dropped.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl Held {
    fn bytes(bytes: Bytes, permit: OwnedSemaphorePermit) -> Bytes {
        Bytes::from_owner(Self { bytes, _permit: permit })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
