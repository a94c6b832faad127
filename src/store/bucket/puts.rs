//! Objects in one piece, made and never replaced.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use object_store::path::Path;

use super::{BucketStore, digests};
use crate::http::{Done, GaveUp};
use crate::id::Key;
use crate::store::attempt::Attempt;
use crate::store::{Metadata, ObjectFacts, Proof, StoreError, StoreErrorKind};

/// An object that is written once, to see whether the store keeps `If-None-Match: *`.
const CREATE_ONLY: &str = ".backhaul/create-only";

impl BucketStore {
    pub(super) async fn put_once(
        &self,
        path: &Path,
        bytes: &Bytes,
        metadata: &Metadata,
        create_only: bool,
    ) -> Result<Done<Option<String>>, GaveUp> {
        let put = |checksum| {
            self.inner.patience.call(move || self.ask_to_put(path, bytes.clone(), metadata, create_only, checksum))
        };
        self.with_checksums(put).await
    }

    /// Makes a request with a checksum, and where the store does not know such a thing without one from then on.
    pub(super) async fn with_checksums<T, F>(&self, make: impl Fn(bool) -> F) -> Result<Done<T>, GaveUp>
    where
        F: Future<Output = Result<Done<T>, GaveUp>>,
    {
        or_without(&self.inner.without_checksums, make).await
    }

    /// The name is taken. If an answer of ours was lost, it may be by the very bytes of this call.
    pub(super) async fn put_before(
        &self,
        key: &Key,
        bytes: &Bytes,
        repeated: bool,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        let taken = exists(self.attempt("write", key.as_str()));
        let there = match self.there(key).await? {
            Some(there) if repeated && there.size == bytes.len() as u64 => there,
            _ => return Err(taken),
        };
        if there.digests.crc64 == Some(digests::crc64(bytes)) {
            return Ok((there, Proof::Crc));
        }
        if there.digests.md5.is_some() && there.digests.md5 == Some(digests::md5(bytes).await) {
            return Ok((there, Proof::Md5));
        }
        Err(taken)
    }

    /// Whether the store keeps `If-None-Match: *`. Asked by writing one small object twice, once a process.
    pub(super) async fn creates_only(&self) -> Result<bool, StoreError> {
        let asked = self.inner.create_only.get_or_try_init(|| async {
            let key = Key::parse_any(CREATE_ONLY).expect("a key of our own");
            let (attempt, path) = (self.attempt("write", CREATE_ONLY), self.path("write", &key)?);
            let text = "Backhaul wrote this to see whether this store refuses to replace an object.\n";
            for _ in 0..2 {
                match self.put_once(&path, &Bytes::from_static(text.as_bytes()), &Metadata::new(), true).await {
                    Ok(_) => {}
                    Err(gave_up) if is_taken(&gave_up) => return Ok(true),
                    Err(gave_up) if is_unknown(&gave_up) => return Ok(false),
                    Err(gave_up) => return Err(attempt.failed(&gave_up)),
                }
            }
            Ok(false)
        });
        asked.await.copied()
    }
}

/// Makes a request with something that not every store knows; once one has refused it and taken the same without, it is
/// left out from then on.
pub(super) async fn or_without<T, F>(without: &AtomicBool, make: impl Fn(bool) -> F) -> Result<Done<T>, GaveUp>
where
    F: Future<Output = Result<Done<T>, GaveUp>>,
{
    if without.load(Ordering::Relaxed) {
        return make(false).await;
    }
    match make(true).await {
        Err(gave_up) if is_unknown(&gave_up) => {
            let done = make(false).await?;
            without.store(true, Ordering::Relaxed);
            Ok(done)
        }
        other => other,
    }
}

pub(super) fn exists(attempt: Attempt<'_>) -> StoreError {
    attempt
        .refused(StoreErrorKind::Exists, "another object has this name")
        .hint("nothing is ever overwritten; move that object away, or give the backup another target")
}

/// The condition did not hold: an object has the name. Some stores say so with 409.
pub(super) fn is_taken(gave_up: &GaveUp) -> bool {
    let answer = &gave_up.answer;
    matches!(answer.status, Some(304 | 412))
        || (answer.status == Some(409)
            && matches!(answer.code.as_deref(), None | Some("BlobAlreadyExists" | "ConditionalRequestConflict")))
}

/// The store does not know what it was asked for: a checksum, or a condition.
pub(super) fn is_unknown(gave_up: &GaveUp) -> bool {
    let answer = &gave_up.answer;
    answer.status == Some(501)
        || (answer.status == Some(400)
            && matches!(
                answer.code.as_deref(),
                Some("NotImplemented" | "InvalidArgument" | "InvalidRequest" | "UnsupportedHeader")
            ))
}
