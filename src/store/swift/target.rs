//! Writing: plain objects, and segments that a manifest makes one object of.

use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;

use super::headers::{hex, of_copy};
use super::publish::lost;
use super::puts::{create_only, exists, facts, md5, refused};
use super::{SwiftStore, lock};
use crate::fault;
use crate::http::GaveUp;
use crate::id::Key;
use crate::store::attempt::Attempt;
use crate::store::{
    Feed, Layout, Metadata, ObjectFacts, Proof, Shape, StoreError, StoreErrorKind, StoredPart, Target, Upload,
};

impl Target for SwiftStore {
    async fn put(
        &self,
        key: &Key,
        token: &str,
        bytes: Bytes,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        let attempt = self.attempt("write", key.as_str());
        let place = self.place("write", key)?;
        let size = bytes.len() as u64;
        let limits = self.allow(attempt, &place, size).await?;
        let headers = create_only(attempt, metadata, token, limits)?;
        self.ensure_container(&place).await?;
        match self.put_bytes(attempt, &place, &bytes, headers).await? {
            Ok((_, etag)) => Ok((facts(size, etag, true, metadata), Proof::Md5)),
            Err(gave_up) if gave_up.answer.status == Some(412) => {
                let etag = hex(md5(&bytes).await);
                Ok((self.ours(attempt, &place, token, Some(&etag)).await?, Proof::Md5))
            }
            Err(gave_up) => Err(self.not_stored(attempt, &place.container, &gave_up)),
        }
    }

    async fn begin(&self, key: &Key, token: &str, shape: Shape<'_>) -> Result<Upload, StoreError> {
        let attempt = self.attempt("write", key.as_str());
        let place = self.place("write", key)?;
        let parts = shape.layout.parts();
        let limits = self.allow(attempt, &place.segment(token, parts), 0).await?;
        let sizes = (0..parts).map(|number| shape.layout.range(number)).map(|range| range.end - range.start);
        match shape.layout {
            Layout::Plain { size } => {
                self.allow(attempt, &place, *size).await?;
            }
            Layout::Equal { .. } | Layout::Segments(_) => {
                let refused = |why| {
                    let error = attempt.refused(StoreErrorKind::Refused, why);
                    error.hint("give the target another `segment_size`")
                };
                limits.allow_segments(&sizes.collect::<Vec<_>>()).map_err(refused)?;
            }
        }
        of_copy(shape.metadata, token, limits).map_err(|why| refused(attempt, &why))?;
        self.ensure_container(&place).await?;
        lock(&self.inner.begun).insert(token.to_owned(), shape.metadata.clone());
        fault::point("begin-after-create");
        Ok(Upload { key: key.clone(), token: token.to_owned(), upload_id: None, parts })
    }

    async fn resume(&self, upload: Upload, parts: &[StoredPart]) -> Result<Upload, StoreError> {
        let attempt = self.attempt("go on with", upload.key.as_str());
        let place = self.place("go on with", &upload.key)?;
        self.compare_segments(attempt, &place, &upload.token, parts).await?;
        Ok(upload)
    }

    async fn part(&self, upload: &Upload, number: u32, _offset: u64, bytes: Bytes) -> Result<StoredPart, StoreError> {
        let attempt = self.attempt("write", upload.key.as_str());
        let place = self.place("write", &upload.key)?;
        let headers = self.segment_headers(attempt, upload, number).await?;
        let sent = self.put_bytes(attempt, &place.segment(&upload.token, number), &bytes, headers).await?;
        fault::point("part-after-write");
        let (_, etag) = sent.map_err(|gave_up| lost_if_missing(attempt, &gave_up))?;
        Ok(StoredPart { size: bytes.len() as u64, reference: Some(etag), crc64: None, proof: Proof::Md5 })
    }

    fn streams(&self) -> bool {
        true
    }

    async fn put_streamed(
        &self,
        key: &Key,
        token: &str,
        mut feed: Feed,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        let attempt = self.attempt("write", key.as_str());
        let place = self.place("write", key)?;
        let size = feed.size;
        let limits = self.allow(attempt, &place, size).await?;
        let headers = create_only(attempt, metadata, token, limits)?;
        self.ensure_container(&place).await?;
        // Before its bytes are sent: most of them would be sent in vain.
        if self.look(attempt, &place).await?.is_some() {
            let expected = feed.md5.map(hex);
            let there = self.ours(attempt, &place, token, expected.as_deref()).await?;
            if there.size != size {
                return Err(exists(attempt));
            }
            // The answer to an earlier call was lost. The bytes are read to their end, since the caller hashes them, and
            // compares where no MD5 was known.
            while feed.chunks.recv().await.is_some() {}
            return Ok((there, if expected.is_some() { Proof::Md5 } else { Proof::None }));
        }
        match self.put_feed(attempt, &place, feed, headers).await? {
            Ok((etag, proof)) => Ok((facts(size, etag, true, metadata), proof)),
            Err(gave_up) if gave_up.answer.status == Some(412) => Err(exists(attempt)),
            Err(gave_up) => Err(self.not_stored(attempt, &place.container, &gave_up)),
        }
    }

    async fn part_streamed(&self, upload: &Upload, number: u32, feed: Feed) -> Result<StoredPart, StoreError> {
        let attempt = self.attempt("write", upload.key.as_str());
        let place = self.place("write", &upload.key)?;
        let headers = self.segment_headers(attempt, upload, number).await?;
        let size = feed.size;
        let sent = self.put_feed(attempt, &place.segment(&upload.token, number), feed, headers).await?;
        fault::point("part-after-write");
        let (etag, proof) = sent.map_err(|gave_up| lost_if_missing(attempt, &gave_up))?;
        Ok(StoredPart { size, reference: Some(etag), crc64: None, proof })
    }

    /// Segments could be read, but how long each is stands in the copy's rows only; Swift's own MD5 of each was compared.
    async fn staged(&self, _upload: &Upload, _range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    async fn publish(&self, upload: &Upload, parts: &[StoredPart], size: u64) -> Result<ObjectFacts, StoreError> {
        let published = self.publish_manifest(upload, parts, size).await?;
        lock(&self.inner.begun).remove(&upload.token);
        Ok(published)
    }

    /// A store has no caches of this machine before it.
    async fn settle(&self, _key: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn abandon(&self, upload: &Upload) -> Result<(), StoreError> {
        lock(&self.inner.begun).remove(&upload.token);
        self.delete_segments(self.attempt("delete the segments of", upload.key.as_str()), upload).await
    }

    async fn take_back(&self, key: &Key, etag: &str) -> Result<(), StoreError> {
        let attempt = self.attempt("take back", key.as_str());
        let place = self.place("take back", key)?;
        let Some(there) = self.look(attempt, &place).await? else { return Ok(()) };
        // What no attempt of ours has made is nobody's to take back.
        let Some(token) = there.upload.filter(|_| there.facts.etag == etag) else { return Ok(()) };
        let segments = self.referred(attempt, &place).await?;
        self.delete(attempt, &place).await?;
        let parts = u32::try_from(segments.len()).unwrap_or(u32::MAX);
        if parts == 0 {
            return Ok(());
        }
        let upload = Upload { key: key.clone(), token, upload_id: None, parts };
        self.delete_segments(attempt, &upload).await
    }
}

impl SwiftStore {
    /// The first segment carries what is to travel with the object, for a process that goes on without having begun.
    async fn segment_headers(
        &self,
        attempt: Attempt<'_>,
        upload: &Upload,
        number: u32,
    ) -> Result<HeaderMap, StoreError> {
        let metadata = if number == 0 { lock(&self.inner.begun).get(&upload.token).cloned() } else { None };
        let limits = self.limits().await?;
        of_copy(&metadata.unwrap_or_default(), &upload.token, limits).map_err(|why| refused(attempt, &why))
    }

    /// The error of a write; a container that is not there is none of the object's.
    fn not_stored(&self, attempt: Attempt<'_>, container: &str, gave_up: &GaveUp) -> StoreError {
        if gave_up.answer.status != Some(404) {
            return attempt.given_up(gave_up);
        }
        lock(&self.inner.containers).retain(|(_, name)| name != container);
        attempt.refused(StoreErrorKind::Io, format!("container `{container}` was there a moment ago, and is gone"))
    }
}

/// Of a segment, a missing container is a lost upload.
fn lost_if_missing(attempt: Attempt<'_>, gave_up: &GaveUp) -> StoreError {
    if gave_up.answer.status == Some(404) { lost(attempt, "its container is gone") } else { attempt.given_up(gave_up) }
}
