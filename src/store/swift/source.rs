//! Reading: facts, and ranges pinned to one version of an object.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, IF_MATCH, RANGE};
use http::{HeaderMap, Method};

use super::SwiftStore;
use super::ask::{Answered, Ask, At};
use super::error::READ;
use super::headers::{Kind, Shown, hex, text, unquoted};
use super::manifest::Manifest;
use super::place::Place;
use crate::http::GaveUp;
use crate::id::Key;
use crate::store::attempt::Attempt;
use crate::store::{Listed, ObjectFacts, Pin, Read, Seen, Segment, Source, StoreError, StoreErrorKind, buffers};

/// All replicas are asked, and the newest answers.
pub(super) const NEWEST: HeaderName = HeaderName::from_static("x-newest");

impl Source for SwiftStore {
    async fn head(&self, key: &Key) -> Result<ObjectFacts, StoreError> {
        let place = self.place(READ, key)?;
        let attempt = self.attempt(READ, key.as_str());
        let shown = self.look(attempt, &place).await?.ok_or_else(|| missing(attempt))?;
        can_travel(attempt, &shown)?;
        if shown.kind == Kind::Static {
            self.know_manifest(key, &shown.facts.etag);
        }
        Ok(shown.facts)
    }

    /// Pinned by `If-Match`, and by comparing what the answer says. What is known to be a manifest is read segment by
    /// segment, each pinned to the MD5 that the manifest says: Swift itself would hold back small ones, and would end
    /// an answer without a word where one is missing.
    async fn read(&self, key: &Key, range: Range<u64>, pin: &Pin, seen: Seen<'_>) -> Result<Read, StoreError> {
        let place = self.place(READ, key)?;
        let attempt = self.attempt(READ, key.as_str());
        let is_whole = range.start == 0 && range.end == pin.size;
        if range.is_empty() && !is_whole {
            return Ok(Read { bytes: Bytes::new(), facts: None });
        }
        if self.is_known_manifest(key, &pin.etag) {
            let manifest = self.manifest(attempt, key, &place, &pin.etag).await?;
            return self.read_segments(attempt, &manifest, range, seen).await;
        }
        let read = match self.read_object(attempt, &place, &pin.etag, range.clone(), is_whole, seen).await? {
            Ok(answered) => answered,
            // Somebody else's proxy may have answered from a copy that is behind.
            Err(gave_up) if matches!(gave_up.answer.status, Some(404 | 412)) => {
                return Err(self.why_not(attempt, &place, pin, &gave_up).await?);
            }
            Err(gave_up) => return Err(attempt.given_up(&gave_up)),
        };
        let total = total_size(&read.answer.headers).or(is_whole.then_some(pin.size));
        let shown = Shown::read(&read.answer.headers, total).map_err(|why| no_swift(attempt, why))?;
        can_travel(attempt, &shown)?;
        if shown.kind == Kind::Static {
            self.know_manifest(key, &shown.facts.etag);
        }
        if shown.facts.etag != pin.etag || shown.facts.size != pin.size {
            return Err(changed(attempt, pin, &shown.facts));
        }
        Ok(Read { bytes: read.body, facts: Some(Box::new(shown.facts)) })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        Ok(self.find(prefix).await?.objects)
    }

    async fn segments(&self, key: &Key, pin: &Pin) -> Result<Option<Arc<[Segment]>>, StoreError> {
        let place = self.place(READ, key)?;
        let attempt = self.attempt(READ, key.as_str());
        if !self.is_known_manifest(key, &pin.etag) {
            let shown = self.look(attempt, &place).await?.ok_or_else(|| missing(attempt))?;
            if shown.facts.etag != pin.etag || shown.facts.size != pin.size {
                return Err(changed(attempt, pin, &shown.facts));
            }
            if shown.kind != Kind::Static {
                return Ok(None);
            }
            self.know_manifest(key, &pin.etag);
        }
        let manifest = self.manifest(attempt, key, &place, &pin.etag).await?;
        if manifest.size() != pin.size {
            let why = format!("its manifest has {} bytes, and its facts say {}", manifest.size(), pin.size);
            return Err(attempt.refused(StoreErrorKind::Changed, why));
        }
        // A manifest without segments has the ETag of a plain object without bytes.
        Ok((!manifest.segments.is_empty()).then(|| Arc::clone(&manifest.segments)))
    }
}

impl SwiftStore {
    /// What lies under a name, as its newest replica has it.
    pub(super) async fn look(&self, attempt: Attempt<'_>, place: &Place) -> Result<Option<Shown>, StoreError> {
        let Some(headers) = self.look_at_headers(attempt, place).await? else { return Ok(None) };
        Shown::read(&headers, None).map(Some).map_err(|why| no_swift(attempt, why))
    }

    pub(super) async fn look_at_headers(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
    ) -> Result<Option<HeaderMap>, StoreError> {
        let headers = HeaderMap::from_iter([(NEWEST, HeaderValue::from_static("true"))]);
        match self.ask(attempt, &Ask::new(Method::HEAD, At::Object(place), &[], headers)).await? {
            Ok(answered) => Ok(Some(answered.answer.headers)),
            Err(gave_up) if gave_up.answer.status == Some(404) => Ok(None),
            Err(gave_up) => Err(attempt.given_up(&gave_up)),
        }
    }

    async fn read_object(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        etag: &str,
        range: Range<u64>,
        is_whole: bool,
        seen: Seen<'_>,
    ) -> Result<Result<Answered, GaveUp>, StoreError> {
        let length = usize::try_from(range.end - range.start).expect("a part fits into memory");
        let mut headers = HeaderMap::new();
        if let Ok(condition) = HeaderValue::from_str(&format!("\"{etag}\"")) {
            headers.insert(IF_MATCH, condition);
        }
        if !is_whole && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end - 1)) {
            headers.insert(RANGE, range);
        }
        self.fetch(attempt, &Ask::new(Method::GET, At::Object(place), &[], headers), length, seen).await
    }

    /// Why a pinned object cannot be read, from its newest replica.
    async fn why_not(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        pin: &Pin,
        gave_up: &GaveUp,
    ) -> Result<StoreError, StoreError> {
        Ok(match self.look(attempt, place).await? {
            None => missing(attempt),
            Some(shown) if shown.facts.etag == pin.etag && shown.facts.size == pin.size => {
                let why = format!(
                    "{} answered {} from a replica that is behind",
                    gave_up.answer.host,
                    gave_up.answer.status.unwrap_or_default()
                );
                attempt.refused(StoreErrorKind::Unreachable, why)
            }
            Some(shown) => changed(attempt, pin, &shown.facts),
        })
    }

    async fn read_segments(
        &self,
        attempt: Attempt<'_>,
        manifest: &Manifest,
        range: Range<u64>,
        seen: Seen<'_>,
    ) -> Result<Read, StoreError> {
        let length = usize::try_from(range.end - range.start).expect("a part fits into memory");
        let mut pieces = Vec::new();
        let mut begin = 0;
        for (number, (segment, place)) in manifest.segments.iter().zip(&manifest.places).enumerate() {
            let end = begin + segment.size;
            let inside = range.start.max(begin)..range.end.min(end);
            if !inside.is_empty() {
                let wanted = inside.start - begin..inside.end - begin;
                pieces.push(self.read_segment(attempt, number, segment, place, wanted, seen).await?);
            }
            begin = end;
        }
        let bytes = match &*pieces {
            [one] => one.clone(),
            _ => joined(&pieces),
        };
        if bytes.len() != length {
            let why = format!("its segments end after {begin} bytes");
            return Err(attempt.refused(StoreErrorKind::Short, why));
        }
        Ok(Read { bytes, facts: None })
    }

    async fn read_segment(
        &self,
        attempt: Attempt<'_>,
        number: usize,
        segment: &Segment,
        place: &Place,
        range: Range<u64>,
        seen: Seen<'_>,
    ) -> Result<Bytes, StoreError> {
        let etag = hex(segment.md5);
        let is_whole = range.start == 0 && range.end == segment.size;
        let damaged = |kind, what: &str| {
            let why = format!("its segment {number} (/{}) {what}", place.path());
            let hint = "the backup is damaged where it lies: make a new one, or leave this one out";
            attempt.refused(kind, why).hint(hint)
        };
        let altered = || damaged(StoreErrorKind::Changed, "is not the one that the manifest was written for");
        match self.read_object(attempt, place, &etag, range, is_whole, seen).await? {
            Ok(read) => {
                let headers = &read.answer.headers;
                let is_same = text(headers, "etag").map(unquoted).as_ref() == Some(&etag)
                    && total_size(headers).is_none_or(|size| size == segment.size);
                if is_same { Ok(read.body) } else { Err(altered()) }
            }
            Err(gave_up) if gave_up.answer.status == Some(404) => Err(damaged(StoreErrorKind::Missing, "is missing")),
            Err(gave_up) if matches!(gave_up.answer.status, Some(409 | 412 | 416)) => Err(altered()),
            Err(gave_up) => Err(attempt.given_up(&gave_up)),
        }
    }
}

/// A link's facts are those of another object, which may be replaced, or become a link itself. And a copy is to have all
/// metadata.
fn can_travel(attempt: Attempt<'_>, shown: &Shown) -> Result<(), StoreError> {
    if let Some(name) = &shown.no_text {
        return Err(super::puts::refused(attempt, &format!("has a value of `{name}` that is not UTF-8")));
    }
    let Some(other) = &shown.link_to else { return Ok(()) };
    let why = format!("it is a symbolic link (to {other}), which Backhaul does not copy");
    Err(attempt.refused(StoreErrorKind::Refused, why).hint("plan the object that it leads to"))
}

fn joined(pieces: &[Bytes]) -> Bytes {
    let mut buffer = buffers::of_len(pieces.iter().map(Bytes::len).sum());
    let mut at = 0;
    for piece in pieces {
        buffer[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
    }
    buffers::freeze(buffer)
}

/// The whole object's size, of an answer with a part of it.
fn total_size(headers: &HeaderMap) -> Option<u64> {
    text(headers, "content-range")?.rsplit_once('/')?.1.parse().ok()
}

fn missing(attempt: Attempt<'_>) -> StoreError {
    attempt.refused(StoreErrorKind::Missing, "no such object")
}

/// Swift says of every object which version it answers with, and how long it is, but for a manifest over more prefixes
/// than it counts.
pub(super) fn no_swift(attempt: Attempt<'_>, why: &str) -> StoreError {
    attempt
        .refused(StoreErrorKind::Refused, format!("the answer {why}"))
        .hint("a proxy may have answered instead of Swift; or it is a dynamic large object with too many segments")
}

pub(super) fn changed(attempt: Attempt<'_>, pin: &Pin, now: &ObjectFacts) -> StoreError {
    let why = if now.size == pin.size {
        format!("it changed: version {} now, {} when it was looked at first", now.etag, pin.etag)
    } else {
        format!("it changed, from {} to {} bytes", pin.size, now.size)
    };
    attempt.refused(StoreErrorKind::Changed, why).hint("let the writer finish, then run the same plan again")
}
