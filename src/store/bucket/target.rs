//! Writing: objects in one piece, uploads in parts, and what is left of them.

use std::ops::Range;

use bytes::Bytes;
use object_store::path::Path;

use super::assembled::{put_together_wrong, tag_of_parts};
use super::puts::{exists, is_taken, or_without};
use super::requests::UPLOAD;
use super::{BucketStore, Cloud, digests};
use crate::fault;
use crate::http::{Done, GaveUp};
use crate::id::Key;
use crate::store::attempt::Attempt;
use crate::store::{
    KnownDigests, Metadata, ObjectFacts, Proof, Shape, Source, StoreError, StoreErrorKind, StoredPart, Target, Upload,
};
use crate::task::to_its_end;

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
        let facts = ObjectFacts {
            size,
            etag,
            modified_ms: None,
            digests: KnownDigests::default(),
            metadata: metadata.clone(),
            expires: None,
        };
        Ok((facts, proof))
    }

    /// Whoever waits for it may give up at any moment: what is begun then is aborted.
    async fn begin(&self, key: &Key, token: &str, shape: Shape<'_>) -> Result<Upload, StoreError> {
        let (store, metadata) = (self.clone(), shape.metadata.clone());
        let upload = Upload { key: key.clone(), token: token.to_owned(), upload_id: None, parts: shape.layout.parts() };
        let begun = to_its_end(async move {
            let upload = store.create_upload(upload, &metadata).await?;
            Ok(Unclaimed { store, upload: Some(upload) })
        });
        let ending =
            || self.attempt("write", key.as_str()).refused(StoreErrorKind::Lost, "the process is about to end");
        begun.await.unwrap_or_else(|| Err(ending())).map(Unclaimed::claimed)
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

/// An upload that nobody knows of yet. Dropped, it is aborted.
struct Unclaimed {
    store: BucketStore,
    upload: Option<Upload>,
}

impl Unclaimed {
    fn claimed(mut self) -> Upload {
        self.upload.take().expect("it is taken once")
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            let store = self.store.clone();
            runtime.spawn(async move {
                // Best effort: if it stays, the next attempt of its copy finds it by its key.
                let _aborted = store.abandon(&upload).await;
            });
        }
    }
}

impl BucketStore {
    /// Begins `upload`, and gives it with its id.
    async fn create_upload(&self, upload: Upload, metadata: &Metadata) -> Result<Upload, StoreError> {
        let attempt = self.attempt("write", upload.key.as_str());
        let path = self.path("write", &upload.key)?;
        let begin = |checksums| {
            let (path, token) = (&path, &*upload.token);
            self.inner.patience.call(move || self.ask_to_begin(path, token, metadata, checksums))
        };
        let done = self.with_checksums(begin).await.map_err(|gave_up| attempt.failed(&gave_up))?;
        fault::point("begin-after-create");
        let id = done.value;
        if done.repeated {
            // The answer to an earlier try was lost, and with it the id of an upload that nobody would ever abort.
            self.abort_uploads(&path, &upload.key, Some(&id)).await?;
        }
        Ok(Upload { upload_id: Some(id), ..upload })
    }

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
    pub(super) async fn there(&self, key: &Key) -> Result<Option<ObjectFacts>, StoreError> {
        match self.head(key).await {
            Ok(facts) => Ok(Some(facts)),
            Err(error) if error.kind == StoreErrorKind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn complete_once(
        &self,
        path: &Path,
        id: &str,
        parts: &[StoredPart],
    ) -> Result<Done<super::uploads::Completed>, GaveUp> {
        let complete = |create_only| self.inner.patience.call(move || self.complete(path, id, parts, create_only));
        or_without(&self.inner.without_conditions, complete).await
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

/// Of a part or an upload, a missing object is a lost upload.
fn lost_if_missing(error: StoreError) -> StoreError {
    if error.kind == StoreErrorKind::Missing { StoreError { kind: StoreErrorKind::Lost, ..error } } else { error }
}

fn is_gone(gave_up: &GaveUp) -> bool {
    gave_up.answer.status == Some(404) && gave_up.answer.code.as_deref() != Some("NoSuchBucket")
}
