//! Static large objects: manifests that name their segments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ask::{Ask, At};
use super::headers::{hex, is_manifest, md5_of};
use super::place::Place;
use super::source::NEWEST;
use super::{SwiftStore, lock};
use crate::id::Key;
use crate::store::attempt::Attempt;
use crate::store::{Segment, StoreError, StoreErrorKind, StoredPart};

/// How long a manifest that was read counts: a reader of its segments learns that late at most that it was replaced.
const FRESH: Duration = Duration::from_secs(30);

/// Objects of which it is kept that they are manifests.
const KNOWN_MAX: usize = 10_000;

/// What is known of objects that are manifests, by name and `ETag`.
#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<(Key, String), Option<Kept>>);

/// A manifest, and when it was read.
type Kept = (Instant, Arc<Manifest>);

/// A manifest of which every segment is a whole object.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) segments: Arc<[Segment]>,
    pub(super) places: Vec<Place>,
}

/// A line of a manifest as it is shown.
#[derive(Debug, Deserialize)]
struct Shown {
    name: Option<String>,
    bytes: Option<u64>,
    hash: Option<String>,
    range: Option<String>,
    #[serde(default)]
    sub_slo: bool,
    data: Option<String>,
}

/// A line of a manifest as it is sent.
#[derive(Debug, Serialize)]
pub(super) struct Sent {
    path: String,
    etag: String,
    size_bytes: u64,
}

impl Manifest {
    /// Reads the body of `?multipart-manifest=get`.
    ///
    /// # Errors
    /// Why it is none that can be copied; completes "cannot … :".
    fn read(body: &[u8], manifest: &Place) -> Result<Self, String> {
        let lines: Vec<Shown> =
            serde_json::from_slice(body).map_err(|error| format!("its manifest cannot be read: {error}"))?;
        let mut read = Vec::with_capacity(lines.len());
        for (number, line) in lines.into_iter().enumerate() {
            let refused = |what: &str| {
                let name = line.name.as_deref().unwrap_or("its bytes are in the manifest itself");
                Err(format!("its segment {number} ({name}) is {what}, which Backhaul does not copy"))
            };
            match &line {
                Shown { data: Some(_), .. } => return refused("inline data"),
                Shown { sub_slo: true, .. } => return refused("a manifest of its own (a nested large object)"),
                Shown { range: Some(range), .. } => return refused(&format!("the range {range} of an object")),
                Shown { name: Some(name), bytes: Some(size), hash: Some(hash), .. } => {
                    let (Some(place), Some(md5)) = (manifest.named(name), md5_of(hash)) else {
                        return refused("named or hashed in no way that Swift has");
                    };
                    read.push((Segment { size: *size, md5 }, place));
                }
                _ => return refused("without a name, size or hash"),
            }
        }
        let (segments, places): (Vec<_>, Vec<_>) = read.into_iter().unzip();
        Ok(Self { segments: segments.into(), places })
    }

    /// The MD5 of the segments' own, which is the object's `ETag`.
    fn etag(&self) -> String {
        etag_of(self.segments.iter().map(|segment| hex(segment.md5)))
    }

    pub(super) fn size(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }
}

/// The `ETag` of a manifest over segments with these.
pub(super) fn etag_of(segments: impl Iterator<Item = String>) -> String {
    let mut md5 = Md5::new();
    segments.for_each(|etag| md5.update(etag.as_bytes()));
    hex(md5.finalize().into())
}

/// The body of a PUT of a manifest over the segments of one attempt.
pub(super) fn lines(place: &Place, token: &str, parts: &[StoredPart]) -> Vec<Sent> {
    let line = |(number, part): (u32, &StoredPart)| Sent {
        path: place.segment(token, number).path(),
        etag: part.reference.clone().unwrap_or_default(),
        size_bytes: part.size,
    };
    (0..).zip(parts).map(line).collect()
}

impl Cache {
    fn keep(&mut self, key: &Key, etag: &str, manifest: Option<Arc<Manifest>>) {
        if self.0.len() >= KNOWN_MAX {
            self.0.clear();
        }
        for kept in self.0.values_mut() {
            *kept = kept.take().filter(|(read, _)| read.elapsed() < FRESH);
        }
        self.0.insert((key.clone(), etag.to_owned()), manifest.map(|manifest| (Instant::now(), manifest)));
    }
}

impl SwiftStore {
    /// Keeps that an object is a manifest.
    pub(super) fn know_manifest(&self, key: &Key, etag: &str) {
        let mut cache = lock(&self.inner.manifests);
        if !cache.0.contains_key(&(key.clone(), etag.to_owned())) {
            cache.keep(key, etag, None);
        }
    }

    pub(super) fn is_known_manifest(&self, key: &Key, etag: &str) -> bool {
        lock(&self.inner.manifests).0.contains_key(&(key.clone(), etag.to_owned()))
    }

    /// The manifest of an object that is one, if it still has that `ETag`.
    pub(super) async fn manifest(
        &self,
        attempt: Attempt<'_>,
        key: &Key,
        place: &Place,
        etag: &str,
    ) -> Result<Arc<Manifest>, StoreError> {
        let kept = lock(&self.inner.manifests).0.get(&(key.clone(), etag.to_owned())).cloned().flatten();
        if let Some((read, manifest)) = kept
            && read.elapsed() < FRESH
        {
            return Ok(manifest);
        }
        let changed = |what: &str| {
            let error =
                attempt.refused(StoreErrorKind::Changed, format!("it changed since it was looked at first: {what}"));
            error.hint("let the writer finish, then run the same plan again")
        };
        let Some(body) = self.manifest_body(attempt, place).await? else {
            return Err(changed("it is no manifest now"));
        };
        let manifest = Manifest::read(&body, place).map_err(|why| {
            let hint = "have it copied into segments of its own, or into one piece, then plan that object";
            attempt.refused(StoreErrorKind::Refused, why).hint(hint)
        })?;
        if manifest.etag() != etag {
            return Err(changed("its manifest names other segments"));
        }
        let manifest = Arc::new(manifest);
        lock(&self.inner.manifests).keep(key, etag, Some(Arc::clone(&manifest)));
        Ok(manifest)
    }

    /// The manifest under a name as its newest replica has it; none if nothing or something else lies there.
    async fn manifest_body(&self, attempt: Attempt<'_>, place: &Place) -> Result<Option<Bytes>, StoreError> {
        let query = [("multipart-manifest", "get")];
        let headers = HeaderMap::from_iter([(NEWEST, HeaderValue::from_static("true"))]);
        match self.ask_for_manifest(attempt, &Ask::new(Method::GET, At::Object(place), &query, headers)).await? {
            Ok(answered) => Ok(is_manifest(&answered.answer.headers).then_some(answered.body)),
            Err(gave_up) if gave_up.answer.status == Some(404) => Ok(None),
            Err(gave_up) => Err(attempt.given_up(&gave_up)),
        }
    }

    /// What the manifest under a name refers to; nothing if there is none.
    pub(super) async fn referred(&self, attempt: Attempt<'_>, place: &Place) -> Result<HashSet<Place>, StoreError> {
        let Some(body) = self.manifest_body(attempt, place).await? else { return Ok(HashSet::new()) };
        let lines: Vec<Shown> = serde_json::from_slice(&body).map_err(|error| {
            attempt.refused(StoreErrorKind::Io, format!("the manifest under that name cannot be read: {error}"))
        })?;
        Ok(lines.iter().filter_map(|line| place.named(line.name.as_deref()?)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { account: Some("AUTH_a".to_owned()), container: "c".to_owned(), object: "o.gz".to_owned() }
    }

    #[test]
    fn a_manifest_as_swift_shows_it() {
        let body = r#"[{"name": "/xp/seg_0", "bytes": 5, "hash": "5d41402abc4b2a76b9719d911017c592",
            "content_type": "a/b", "last_modified": "2026-11-22T10:41:03.000000"},
            {"name": "/xp/seg/1", "bytes": 0, "hash": "d41d8cd98f00b204e9800998ecf8427e"}]"#;
        let manifest = Manifest::read(body.as_bytes(), &place()).expect("readable");
        assert_eq!(manifest.segments.iter().map(|segment| segment.size).collect::<Vec<_>>(), [5, 0]);
        assert_eq!((&*manifest.places[1].container, &*manifest.places[1].object), ("xp", "seg/1"));
        assert_eq!(manifest.places[1].account.as_deref(), Some("AUTH_a"));
        // What a real Swift answered for these two segments.
        assert_eq!(manifest.etag(), "bd2a40e09a48444d3692063918eab0c4");
    }

    #[test]
    fn manifests_that_are_more_than_a_list_of_objects_are_refused_by_name() {
        let whole = r#"{"name": "/c/s", "bytes": 5, "hash": "5d41402abc4b2a76b9719d911017c592"}"#;
        let refused =
            |line: &str| Manifest::read(format!("[{whole}, {line}]").as_bytes(), &place()).expect_err("refused");
        let nested = r#"{"name": "/c/n", "bytes": 5, "hash": "5d41402abc4b2a76b9719d911017c592", "sub_slo": true}"#;
        assert!(refused(nested).starts_with("its segment 1 (/c/n) is a manifest of its own"));
        let ranged = r#"{"name": "/c/r", "bytes": 5, "hash": "5d41402abc4b2a76b9719d911017c592", "range": "0-2"}"#;
        assert!(refused(ranged).contains("(/c/r) is the range 0-2 of an object"));
        assert!(refused(r#"{"data": "aGk="}"#).contains("inline data"));
        assert!(refused(r#"{"name": "/c/x"}"#).contains("without a name, size or hash"));
        assert!(Manifest::read(b"<html>", &place()).is_err());
    }

    #[test]
    fn a_manifest_names_the_segments_of_its_attempt_in_order() {
        let part = StoredPart {
            size: 5,
            reference: Some("5d41402abc4b2a76b9719d911017c592".to_owned()),
            crc64: None,
            proof: crate::store::Proof::Md5,
        };
        let text = serde_json::to_string(&lines(&place(), "ab", &[part.clone(), part])).expect("JSON");
        assert_eq!(
            text,
            r#"[{"path":"c/o_ab_00000000","etag":"5d41402abc4b2a76b9719d911017c592","size_bytes":5},{"path":"c/o_ab_00000001","etag":"5d41402abc4b2a76b9719d911017c592","size_bytes":5}]"#
        );
    }
}
