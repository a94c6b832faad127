//! Objects that are streamed into their target: segments, each a checkpoint, and plain objects too large for memory.
//!
//! What was streamed cannot be sent again from memory: another try reads the source again, from where the part began.

use std::ops::Range;
use std::time::Duration;

use md5::{Digest, Md5};
use tokio::sync::mpsc;

use super::feed::{self, Check, End, Hashes};
use super::{
    Checkpoint, CopyError, Part, Receipt, Route, StreamHash, WrongSegment, existing, part, parts, proof, target_error,
};
use crate::store::{
    Feed, KnownDigests, ObjectFacts, Proof, Source, StoreError, StoreErrorKind, StoredPart, Target, Upload,
};

/// Tries of one streamed part, or of a plain object, within one attempt of the copy.
const TRIES: u32 = 4;

/// Pause after the first of them, before jitter; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Streams the segments that are not finished, one after the other, and gives the hash of the whole object and all
/// its parts.
pub(super) async fn segments<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    route: &Route<'_, S, T, C>,
    upload: &Upload,
    known: &KnownDigests,
) -> Result<(StreamHash, Vec<StoredPart>), CopyError<C::Error>> {
    let (mut stored, mut hash) = route.job.begun(known);
    route.checkpoint.stored(hash.bytes());
    let finished = u32::try_from(stored.len()).expect("parts are counted in 32 bits");
    for number in finished..route.job.layout.parts() {
        let (done, after) = segment(route, upload, number, &hash).await?;
        let done = Part { number, stored: done, state: after.to_state() };
        part::record(route.checkpoint, &done, upload).await?;
        stored.push(done.stored);
        hash = after;
    }
    Ok((hash, stored))
}

/// Streams one segment, again if need be.
async fn segment<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    route: &Route<'_, S, T, C>,
    upload: &Upload,
    number: u32,
    before: &StreamHash,
) -> Result<(StoredPart, StreamHash), CopyError<C::Error>> {
    let job = route.job;
    let range = job.layout.range(number);
    let check = |hash: &StreamHash| proof::compare_segments(job, hash);
    let mut tries = Tries::new(job.md5_of(number));
    loop {
        let send = |feed| route.target.part_streamed(upload, number, feed);
        let error = match once(route, range.clone(), before, &tries, &check, send).await? {
            Ok((stored, hashes)) => match prove(stored.proof, stored.reference.as_deref(), &hashes, &upload.key) {
                Ok(proof) => return Ok((StoredPart { proof, ..stored }, hashes.stream)),
                Err(error) => error,
            },
            Err(NotStored { error, ours }) => {
                if let Some((theirs, ours)) = tries.source_is_wrong(&error, ours) {
                    let wrong = WrongSegment { number: number as usize, theirs, ours };
                    return Err(proof::wrong_segment(job, wrong).into());
                }
                error
            }
        };
        tries.again(route, error, range.start).await?;
    }
}

/// Copies an object in one piece that is larger than one read.
pub(super) async fn plain<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    route: &Route<'_, S, T, C>,
) -> Result<Receipt, CopyError<C::Error>> {
    let Route { source, target, job, budget, checkpoint, .. } = *route;
    let (known, metadata) = parts::facts(source, job).await?;
    if let Some(there) = existing::facts(target, job).await? {
        return Ok(Receipt { metadata, ..adopt(route, &there).await? });
    }
    // The target is told of the MD5 and compares it.
    let ours = KnownDigests { md5: None, ..known };
    let before = job.to_compare(&ours);
    let check = |hash: &StreamHash| proof::compare(job, hash, &ours);
    let mut tries = Tries::new(known.md5);
    checkpoint.stored(0);
    crate::fault::point("before-put");
    let (facts, shown, hash) = loop {
        let send = |feed| target.put_streamed(&job.target_key, &job.token, feed, &metadata);
        let error = match once(route, 0..job.pin.size, &before, &tries, &check, send).await? {
            Ok(((facts, shown), hashes)) => match prove(shown, Some(&facts.etag), &hashes, &job.target_key) {
                Ok(shown) => break (facts, shown, hashes.stream),
                Err(error) => {
                    target.take_back(&job.target_key, &facts.etag).await.map_err(StoreError::of_target)?;
                    error
                }
            },
            Err(NotStored { error, .. }) if error.kind == StoreErrorKind::Exists => {
                let there = existing::facts(target, job).await?.ok_or_else(|| error.of_target())?;
                return Ok(Receipt { metadata, ..adopt(route, &there).await? });
            }
            Err(NotStored { error, ours }) => {
                if let Some((theirs, ours)) = tries.source_is_wrong(&error, ours) {
                    return Err(proof::wrong_md5(job, &theirs, &ours).into());
                }
                error
            }
        };
        tries.again(route, error, 0).await?;
    };
    let sha256 = hash.digest();
    let verified = if job.read_back || shown == Proof::None {
        proof::published(target, job, &facts, sha256, budget).await?
    } else {
        shown.text()
    };
    Ok(Receipt { bytes: job.pin.size, sha256, etag: facts.etag, verified, adopted: false, metadata })
}

async fn adopt<S: Source + Sync, T: Target + Sync, C: Checkpoint>(
    route: &Route<'_, S, T, C>,
    there: &ObjectFacts,
) -> Result<Receipt, CopyError<C::Error>> {
    let _room = route.budget.take_one_buffer(existing::READ_BYTES).await;
    existing::adopt(route.source, route.target, route.job, there, route.checkpoint).await
}

/// What the target said of a try that came to nothing, and the MD5 of the bytes that it was sent, if all were and
/// somebody wanted to know.
struct NotStored {
    error: StoreError,
    ours: Option<[u8; 16]>,
}

/// Feeds the target once. When this returns, or is dropped, the feed is over: nobody sends any more of it.
async fn once<S, T, C, V, F>(
    route: &Route<'_, S, T, C>,
    range: Range<u64>,
    before: &StreamHash,
    tries: &Tries,
    check: Check<'_>,
    send: impl Fn(Feed) -> F,
) -> Result<Result<(V, Hashes), NotStored>, CopyError<C::Error>>
where
    S: Source + Sync,
    T: Target + Sync,
    C: Checkpoint,
    F: Future<Output = Result<V, StoreError>>,
{
    if route.stop.is_cancelled() {
        return Err(CopyError::Stopped);
    }
    // One chunk: what waits here holds its place in memory.
    let (sender, chunks) = mpsc::channel(1);
    let feed = Feed { size: range.end - range.start, md5: tries.expected, chunks };
    let hashes = Hashes { stream: before.clone(), part: tries.wants_ours().then(Md5::new) };
    let (fed, taken) = tokio::join!(feed::run(route, range, hashes, check, sender), send(feed));
    // Where both went wrong, the target's trouble is that the feed ended; but where it wanted no more, it knows why.
    match (fed, taken) {
        (Ok(hashes), Ok(value)) => Ok(Ok((value, hashes))),
        (Ok(hashes), Err(error)) => Ok(Err(NotStored { error, ours: hashes.md5() })),
        (Err(End::Failed(failure)), _) => Err(failure.into()),
        (Err(End::Stopped), _) => Err(CopyError::Stopped),
        (Err(End::NotTaken), Err(error)) => Ok(Err(NotStored { error, ours: None })),
        (Err(End::NotTaken), Ok(_)) => {
            let key = &route.job.target_key;
            let error = StoreError::new(StoreErrorKind::Io, format!("`{key}` was stored before all of it was sent"));
            Ok(Err(NotStored { error, ours: None }))
        }
    }
}

/// How it is known that the target holds what was sent: by its own comparison, or by its `ETag`, if that is an MD5.
fn prove(shown: Proof, etag: Option<&str>, hashes: &Hashes, key: &crate::id::Key) -> Result<Proof, StoreError> {
    let (Some(etag), Some(ours)) = (etag, hashes.md5()) else { return Ok(shown) };
    let etag = etag.trim_matches('"').to_ascii_lowercase();
    let is_md5 = etag.len() == 32 && etag.bytes().all(|digit| digit.is_ascii_hexdigit());
    let ours = super::hash::hex(&ours);
    match is_md5 {
        false => Ok(shown),
        true if etag == ours => Ok(shown.max(Proof::Md5)),
        true => {
            let message = format!("what was stored of `{key}` is not what was sent: md5 {ours} sent, {etag} stored");
            Err(StoreError::new(StoreErrorKind::Differs, message))
        }
    }
}

/// Tries of one streamed part.
struct Tries {
    /// What the target is to compare with.
    expected: Option<[u8; 16]>,
    made: u32,
    /// Whether the target said of one that it did not have the expected MD5.
    differed: bool,
}

impl Tries {
    const fn new(expected: Option<[u8; 16]>) -> Self {
        Self { expected, made: 0, differed: false }
    }

    /// Whether our own MD5 of the bytes is of use: where nobody else knows one, and to tell who is wrong.
    const fn wants_ours(&self) -> bool {
        self.expected.is_none() || self.differed
    }

    /// Both MD5s, where the source has now given the same wrong bytes again.
    fn source_is_wrong(&self, error: &StoreError, ours: Option<[u8; 16]>) -> Option<([u8; 16], [u8; 16])> {
        let (theirs, ours) = self.expected.zip(ours)?;
        (error.kind == StoreErrorKind::Differs && ours != theirs).then_some((theirs, ours))
    }

    /// Waits for the next try, which reads on from `start`.
    async fn again<S: Sync, T: Sync, C: Checkpoint>(
        &mut self,
        route: &Route<'_, S, T, C>,
        error: StoreError,
        start: u64,
    ) -> Result<(), CopyError<C::Error>> {
        use StoreErrorKind::{Differs, Io, Unreachable};
        self.made += 1;
        self.differed |= error.kind == Differs;
        if self.made == TRIES || !matches!(error.kind, Differs | Io | Unreachable) {
            return Err(target_error(error));
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.made - 1)).mul_f64(0.5 + 0.5 * fastrand::f64());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = route.stop.cancelled() => return Err(CopyError::Stopped),
        }
        route.checkpoint.stored(start);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
