//! Writing: objects in one piece, uploads in parts, and what is left of them.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use md5::{Digest, Md5};
use object_store::path::Path;

use super::error::Attempt;
use super::requests::UPLOAD;
use super::{BucketStore, Cloud, digests};
use crate::fault;
use crate::id::Key;
use crate::store::http::{Done, GaveUp};
use crate::store::{
    KnownDigests, Metadata, ObjectFacts, Proof, Shape, Source, StoreError, StoreErrorKind, StoredPart, Target, Upload,
};

/// An object that is written once, to see whether the store keeps `If-None-Match: *`.
const CREATE_ONLY: &str = ".backhaul/create-only";

impl Target for BucketStore {
    async fn put(
        &self,
        key: &Key,
        _token: &str,
        bytes: Bytes,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        let attempt = self.attempt("write", key.as_str());
        let path = self.path("write", key)?;
        let create_only = self.creates_only().await?;
        // Where it is not: the store may refuse a condition that it does not know.
        if !create_only && self.there(key).await?.is_some() {
            return Err(exists(attempt));
        }
        let done = match self.put_once(&path, &bytes, metadata, create_only).await {
            Ok(done) => done,
            Err(gave_up) if is_taken(&gave_up) => return self.put_before(key, &bytes, gave_up.repeated).await,
            Err(gave_up) => return Err(attempt.failed(&gave_up)),
        };
        let size = bytes.len() as u64;
        let etag = digests::etag(&done.answer).or(done.value).unwrap_or_default();
        let proof = match digests::proof(&done.answer, &bytes).await {
            Ok(proof) => proof,
            Err(why) => {
                self.take_back(key, &etag).await?;
                return Err(attempt.refused(StoreErrorKind::Differs, why));
            }
        };
        let facts =
            ObjectFacts { size, etag, modified_ms: None, digests: KnownDigests::default(), metadata: metadata.clone() };
        Ok((facts, proof))
    }

    async fn begin(&self, key: &Key, token: &str, shape: Shape<'_>) -> Result<Upload, StoreError> {
        let attempt = self.attempt("write", key.as_str());
        let path = self.path("write", key)?;
        let begin = |checksums| {
            let path = &path;
            self.inner.patience.call(move || self.ask_to_begin(path, token, shape.metadata, checksums))
        };
        let done = self.with_checksums(begin).await.map_err(|gave_up| attempt.failed(&gave_up))?;
        fault::point("begin-after-create");
        let id = done.value;
        if done.repeated {
            // The answer to an earlier try was lost, and with it the id of an upload that nobody would ever abort.
            self.abort_uploads(&path, key, Some(&id)).await?;
        }
        Ok(Upload { key: key.clone(), token: token.to_owned(), upload_id: Some(id), parts: shape.parts() })
    }

    /// Compares tags and sizes of the parts that the store lists with those that were stored.
    async fn resume(&self, upload: Upload, parts: &[StoredPart]) -> Result<Upload, StoreError> {
        let attempt = self.attempt("go on with", upload.key.as_str());
        let path = self.path("go on with", &upload.key)?;
        let lost =
            |why: &str| Err(attempt.refused(StoreErrorKind::Lost, why).hint("it is copied again from its start"));
        let Some(id) = upload.upload_id.as_deref() else { return lost("nobody knows its upload id") };
        let listed = match self.call(attempt, || self.listed_parts(&path, id)).await {
            Ok(done) => done.value,
            Err(error) if error.kind == StoreErrorKind::Missing => return lost("its upload is gone"),
            Err(error) => return Err(error),
        };
        let mut listed: Vec<_> = listed.iter().filter(|part| part.number as usize <= parts.len()).collect();
        listed.sort_unstable_by_key(|part| part.number);
        let same = listed.len() == parts.len()
            && listed.iter().zip(parts).enumerate().all(|(index, (there, stored))| {
                // Some servers list parts without their tags.
                let known = there.etag.is_empty()
                    || stored
                        .reference
                        .as_deref()
                        .is_some_and(|etag| digests::unquoted(etag) == digests::unquoted(&there.etag));
                there.number as usize == index + 1 && there.size == stored.size && known
            });
        if same { Ok(upload) } else { lost("the store lists other parts of its upload than were stored") }
    }

    async fn part(&self, upload: &Upload, number: u32, _offset: u64, bytes: Bytes) -> Result<StoredPart, StoreError> {
        let attempt = self.attempt("write", upload.key.as_str());
        let path = self.path("write", &upload.key)?;
        let id = upload_id(attempt, upload)?;
        let store = |checksums| {
            let (path, id, bytes) = (&path, &id, &bytes);
            self.inner.patience.call(move || self.ask_to_store(path, id, number, bytes.clone(), checksums))
        };
        let done = self.with_checksums(store).await.map_err(|gave_up| lost_if_missing(attempt.failed(&gave_up)))?;
        fault::point("part-after-write");
        let proof = digests::proof(&done.answer, &bytes).await;
        let proof = proof.map_err(|why| attempt.refused(StoreErrorKind::Differs, why))?;
        let crc64 = (proof == Proof::Crc).then(|| digests::crc64(&bytes));
        let reference = done.answer.header("etag").map_or(done.value, str::to_owned);
        Ok(StoredPart { size: bytes.len() as u64, reference: Some(reference), crc64, proof })
    }

    /// Nothing of an upload can be read before it is published.
    async fn staged(&self, _upload: &Upload, _range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    async fn publish(&self, upload: &Upload, parts: &[StoredPart], size: u64) -> Result<ObjectFacts, StoreError> {
        let attempt = self.attempt("publish", upload.key.as_str());
        let path = self.path("publish", &upload.key)?;
        let id = upload_id(attempt, upload)?;
        // Also where the store keeps the condition: a large upload need not be put together to learn that it is in vain.
        if let Some(there) = self.there(&upload.key).await? {
            return self.ours(attempt, &path, upload, parts, there).await;
        }
        fault::point("publish-before-link");
        let completed = match self.complete_once(&path, &id, parts).await {
            Ok(done) => Some(done.value),
            Err(gave_up) if is_taken(&gave_up) || is_gone(&gave_up) => None,
            Err(gave_up) => return Err(lost_if_missing(attempt.failed(&gave_up))),
        };
        fault::point("publish-after-link");
        let Some(there) = self.there(&upload.key).await? else {
            let why = "its upload is gone, and no object has come of it";
            return Err(attempt.refused(StoreErrorKind::Lost, why).hint("it is copied again from its start"));
        };
        match completed {
            None => self.ours(attempt, &path, upload, parts, there).await,
            Some(completed) => {
                let etag = digests::unquoted(&completed.etag);
                if there.etag != etag {
                    return Err(exists(attempt));
                }
                match put_together_wrong(parts, size, completed.crc64.as_deref(), &there) {
                    None => Ok(there),
                    Some(why) => {
                        self.take_back(&upload.key, &etag).await?;
                        Err(attempt.refused(StoreErrorKind::Differs, why))
                    }
                }
            }
        }
    }

    /// A store has no caches of this machine before it.
    async fn settle(&self, _key: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    /// Where the upload's id is not known, all open uploads of exactly this key go: its intent was in the database
    /// before any upload was begun, and the object is Backhaul's to make.
    async fn abandon(&self, upload: &Upload) -> Result<(), StoreError> {
        if upload.parts == 1 {
            return Ok(());
        }
        let path = self.path("abort the upload of", &upload.key)?;
        match &upload.upload_id {
            Some(id) => self.abort(&path, &upload.key, id).await,
            None => self.abort_uploads(&path, &upload.key, None).await,
        }
    }

    async fn take_back(&self, key: &Key, etag: &str) -> Result<(), StoreError> {
        let path = self.path("take back", key)?;
        match self.there(key).await? {
            Some(there) if there.etag == etag => {}
            _ => return Ok(()),
        }
        let attempt = self.attempt("take back", key.as_str());
        match self.call(attempt, || self.ask_to_delete(&path, etag)).await {
            Err(error) if !matches!(error.kind, StoreErrorKind::Missing | StoreErrorKind::Changed) => Err(error),
            _ => Ok(()),
        }
    }
}

impl BucketStore {
    /// The object under the final name, if it was put together from these parts before.
    async fn ours(
        &self,
        attempt: Attempt<'_>,
        path: &Path,
        upload: &Upload,
        parts: &[StoredPart],
        there: ObjectFacts,
    ) -> Result<ObjectFacts, StoreError> {
        let ours = match self.inner.cloud {
            Cloud::Azure(_) => self.call(attempt, || self.is_made_of(path, parts)).await?.value,
            Cloud::Gcs(_) => there.metadata.get(UPLOAD) == Some(&upload.token),
            Cloud::S3 { .. } => tag_of_parts(parts).as_ref() == Some(&there.etag),
        };
        if ours { Ok(there) } else { Err(exists(attempt)) }
    }

    /// What lies under a key, if anything does.
    async fn there(&self, key: &Key) -> Result<Option<ObjectFacts>, StoreError> {
        match self.head(key).await {
            Ok(facts) => Ok(Some(facts)),
            Err(error) if error.kind == StoreErrorKind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put_once(
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
    async fn with_checksums<T, F>(&self, make: impl Fn(bool) -> F) -> Result<Done<T>, GaveUp>
    where
        F: Future<Output = Result<Done<T>, GaveUp>>,
    {
        let without = &self.inner.without_checksums;
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

    /// The name is taken. If an answer of ours was lost, it may be by the very bytes of this call.
    async fn put_before(&self, key: &Key, bytes: &Bytes, repeated: bool) -> Result<(ObjectFacts, Proof), StoreError> {
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
    async fn creates_only(&self) -> Result<bool, StoreError> {
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

    async fn complete_once(
        &self,
        path: &Path,
        id: &str,
        parts: &[StoredPart],
    ) -> Result<Done<super::uploads::Completed>, GaveUp> {
        let without = &self.inner.without_conditions;
        let complete = |create_only| self.inner.patience.call(move || self.complete(path, id, parts, create_only));
        if without.load(Ordering::Relaxed) {
            return complete(false).await;
        }
        match complete(true).await {
            Err(gave_up) if is_unknown(&gave_up) => {
                without.store(true, Ordering::Relaxed);
                complete(false).await
            }
            other => other,
        }
    }

    async fn abort_uploads(&self, path: &Path, key: &Key, keep: Option<&str>) -> Result<(), StoreError> {
        let attempt = self.attempt("list the open uploads of", key.as_str());
        let open = self.call(attempt, || self.open_uploads(path)).await?.value;
        for upload in open.iter().filter(|upload| upload.key == path.as_ref() && Some(&*upload.id) != keep) {
            self.abort(path, key, &upload.id).await?;
        }
        Ok(())
    }

    async fn abort(&self, path: &Path, key: &Key, id: &str) -> Result<(), StoreError> {
        let attempt = self.attempt("abort the upload of", key.as_str());
        match self.call(attempt, || self.ask_to_abort(path, id)).await {
            Err(error) if !matches!(error.kind, StoreErrorKind::Missing | StoreErrorKind::Lost) => Err(error),
            _ => Ok(()),
        }
    }
}

fn upload_id(attempt: Attempt<'_>, upload: &Upload) -> Result<String, StoreError> {
    upload.upload_id.clone().ok_or_else(|| attempt.refused(StoreErrorKind::Lost, "nobody knows its upload id"))
}

fn exists(attempt: Attempt<'_>) -> StoreError {
    attempt
        .refused(StoreErrorKind::Exists, "another object has this name")
        .hint("nothing is ever overwritten; move that object away, or give the backup another target")
}

/// Of a part or an upload, a missing object is a lost upload.
fn lost_if_missing(error: StoreError) -> StoreError {
    if error.kind == StoreErrorKind::Missing { StoreError { kind: StoreErrorKind::Lost, ..error } } else { error }
}

/// The condition did not hold: an object has the name. Some stores say so with 409.
fn is_taken(gave_up: &GaveUp) -> bool {
    let answer = &gave_up.answer;
    matches!(answer.status, Some(304 | 412))
        || (answer.status == Some(409)
            && matches!(answer.code.as_deref(), None | Some("BlobAlreadyExists" | "ConditionalRequestConflict")))
}

fn is_gone(gave_up: &GaveUp) -> bool {
    gave_up.answer.status == Some(404) && gave_up.answer.code.as_deref() != Some("NoSuchBucket")
}

/// The store does not know what it was asked for: a checksum, or a condition.
fn is_unknown(gave_up: &GaveUp) -> bool {
    let answer = &gave_up.answer;
    answer.status == Some(501)
        || (answer.status == Some(400)
            && matches!(
                answer.code.as_deref(),
                Some("NotImplemented" | "InvalidArgument" | "InvalidRequest" | "UnsupportedHeader")
            ))
}

/// The tag that S3 gives to what it puts together: the MD5 of the parts' MD5s, and their number. None where the parts'
/// tags are no MD5s.
fn tag_of_parts(parts: &[StoredPart]) -> Option<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(digests::md5_of_etag(part.reference.as_deref()?)?);
    }
    let hex = md5.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    Some(format!("{hex}-{}", parts.len()))
}

/// Why what the store put together is not what was sent, if it can be seen.
fn put_together_wrong(parts: &[StoredPart], size: u64, shown: Option<&str>, there: &ObjectFacts) -> Option<String> {
    if there.size != size {
        return Some(format!("the store put together {} bytes of {size}", there.size));
    }
    let whole = parts.iter().try_fold(0, |whole, part| {
        Some(crc_fast::checksum_combine(crc_fast::CrcAlgorithm::Crc64Nvme, whole, part.crc64?, part.size))
    })?;
    let shown =
        shown.filter(|text| !text.contains('-')).map(|text| text == digests::to_base64(&u64::to_be_bytes(whole)));
    let same = shown.unwrap_or(true) && there.digests.crc64.is_none_or(|crc64| crc64 == whole);
    (!same).then(|| "the CRC64NVME of what the store put together is not that of its parts".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(crc64: Option<u64>, etag: &str) -> StoredPart {
        StoredPart { size: 5, reference: Some(etag.to_owned()), crc64, proof: Proof::Crc }
    }

    #[test]
    fn the_tag_of_parts_is_that_of_s3() {
        let hello = "\"5d41402abc4b2a76b9719d911017c592\"";
        // printf 5d41402abc4b2a76b9719d911017c592… twice | xxd -r -p | md5sum
        assert_eq!(
            tag_of_parts(&[part(None, hello), part(None, hello)]).as_deref(),
            Some("616b22817b80eed9f65c3aa38cd29054-2")
        );
        assert_eq!(tag_of_parts(&[part(None, "\"opaque\"")]), None);
    }

    #[test]
    fn a_wrong_order_of_parts_is_seen() {
        let crc = |text: &[u8]| Some(digests::crc64(text));
        let parts = [part(crc(b"hello"), "a"), part(crc(b"world"), "b")];
        let there = |bytes: &[u8]| ObjectFacts {
            size: bytes.len() as u64,
            etag: String::new(),
            modified_ms: None,
            digests: KnownDigests { crc64: crc(bytes), ..KnownDigests::default() },
            metadata: Metadata::new(),
        };
        assert_eq!(put_together_wrong(&parts, 10, None, &there(b"helloworld")), None);
        assert!(put_together_wrong(&parts, 10, None, &there(b"worldhello")).is_some());
        assert!(put_together_wrong(&parts, 10, None, &there(b"hello")).is_some());
    }
}
