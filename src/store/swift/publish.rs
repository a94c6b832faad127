//! Manifests over the segments of one attempt: the last request of a copy, after which the object is there.

use bytes::Bytes;
use http::header::{ACCEPT, ETAG, HeaderValue};
use http::{HeaderMap, Method};
use serde::Deserialize;

use super::SwiftStore;
use super::ask::{Answered, Ask, At};
use super::headers::{Kind, Shown, text};
use super::lock;
use super::manifest::{etag_of, lines};
use super::place::Place;
use super::puts::{create_only, exists};
use crate::fault;
use crate::http::GaveUp;
use crate::store::attempt::Attempt;
use crate::store::{Metadata, ObjectFacts, StoreError, StoreErrorKind, StoredPart, Target, Upload};

/// What the body of an answer says that began before its outcome was known: `heartbeat=on`.
#[derive(Debug, Deserialize)]
struct Outcome {
    #[serde(rename = "Response Status")]
    status: String,
    #[serde(rename = "Response Body", default)]
    body: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

impl SwiftStore {
    pub(super) async fn publish_manifest(
        &self,
        upload: &Upload,
        parts: &[StoredPart],
        size: u64,
    ) -> Result<ObjectFacts, StoreError> {
        let attempt = self.attempt("publish", upload.key.as_str());
        let place = self.place("publish", &upload.key)?;
        let etag = etag_of(parts.iter().map(|part| part.reference.clone().unwrap_or_default()));
        if let Some(there) = self.look(attempt, &place).await? {
            return made_of_these(attempt, there, upload, &etag);
        }
        let metadata = self.begun_metadata(attempt, &place, upload).await?;
        let mut headers = create_only(attempt, &metadata, &upload.token, self.limits().await?)?;
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(ETAG, etag);
        }
        let body = serde_json::to_vec(&lines(&place, &upload.token, parts))
            .map_err(|error| attempt.refused(StoreErrorKind::Io, error))?;
        fault::point("publish-before-link");
        let is_put = self.put_manifest(attempt, &place, headers, body.into()).await?;
        fault::point("publish-after-link");
        let Some(there) = self.look(attempt, &place).await? else {
            return Err(attempt.refused(StoreErrorKind::Io, "its manifest was stored, and is not there"));
        };
        if !is_put || there.upload.as_deref() != Some(&*upload.token) {
            return made_of_these(attempt, there, upload, &etag);
        }
        if there.facts.etag == etag && there.facts.size == size {
            return Ok(there.facts);
        }
        self.take_back(&upload.key, &there.facts.etag).await?;
        let why = format!(
            "the store put together {} bytes, version {}, and {size} bytes, version {etag}, were sent",
            there.facts.size, there.facts.etag
        );
        Err(attempt.refused(StoreErrorKind::Differs, why))
    }

    /// Whether the manifest was stored; `false` if the name is taken.
    async fn put_manifest(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<bool, StoreError> {
        // Swift looks at each segment first; without a heartbeat many of them outlast what proxies wait.
        let query = [("multipart-manifest", "put"), ("heartbeat", "on")];
        let ask = Ask { body: Some(body), ..Ask::new(Method::PUT, At::Object(place), &query, headers) };
        let answered = match self.ask(attempt, &ask).await? {
            Ok(answered) => answered,
            Err(gave_up) if gave_up.answer.status == Some(412) => return Ok(false),
            Err(gave_up) => return Err(manifest_refused(attempt, &gave_up)),
        };
        if answered.answer.status != Some(202) {
            return Ok(true);
        }
        let outcome: Outcome = serde_json::from_slice(answered.body.trim_ascii()).map_err(|error| {
            attempt.refused(StoreErrorKind::Unreachable, format!("what came of its manifest cannot be read: {error}"))
        })?;
        outcome.read(attempt, &answered)
    }

    /// What travels with the object. Another process than the one that began the upload finds it at the first segment.
    async fn begun_metadata(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        upload: &Upload,
    ) -> Result<Metadata, StoreError> {
        if let Some(metadata) = lock(&self.inner.begun).get(&upload.token).cloned() {
            return Ok(metadata);
        }
        match self.look(attempt, &place.segment(&upload.token, 0)).await? {
            Some(first) => Ok(first.facts.metadata),
            None => Err(lost(attempt, "its first segment is gone")),
        }
    }
}

impl Outcome {
    fn read(self, attempt: Attempt<'_>, answered: &Answered) -> Result<bool, StoreError> {
        let status: Option<u16> = self.status.split(' ').next().and_then(|number| number.parse().ok());
        let host = &answered.answer.host;
        match status {
            Some(200..=299) => Ok(true),
            Some(412) => Ok(false),
            Some(400) if !self.errors.is_empty() => {
                let errors = self.errors.iter().map(|(name, what)| format!("{name}: {what}"));
                Err(lost(attempt, &format!("{host} misses segments of it ({})", some(&errors.collect::<Vec<_>>()))))
            }
            Some(status) => {
                let body = super::error::said(self.body.as_bytes()).unwrap_or(self.status);
                let mut answer = answered.answer.clone();
                (answer.status, answer.message) = (Some(status), Some(body));
                let transient = matches!(status, 408 | 429 | 500..=599) && status != 507;
                let gave_up = GaveUp { error: String::new(), answer, tries: 1, transient, repeated: false };
                Err(manifest_refused(attempt, &gave_up))
            }
            None => {
                let why = format!("{host} does not say what came of its manifest: `{}`", self.status.escape_debug());
                Err(attempt.refused(StoreErrorKind::Unreachable, why))
            }
        }
    }
}

/// The first few of many.
fn some(texts: &[String]) -> String {
    const SHOWN: usize = 3;
    match texts.len().checked_sub(SHOWN) {
        None | Some(0) => texts.join(", "),
        Some(more) => format!("{} and {more} more", texts[..SHOWN].join(", ")),
    }
}

/// The object under the final name, if it was put together from these very parts before.
fn made_of_these(attempt: Attempt<'_>, there: Shown, upload: &Upload, etag: &str) -> Result<ObjectFacts, StoreError> {
    let ours = there.upload.as_deref() == Some(&*upload.token) && there.kind == Kind::Static;
    if ours && there.facts.etag == etag { Ok(there.facts) } else { Err(exists(attempt)) }
}

fn manifest_refused(attempt: Attempt<'_>, gave_up: &GaveUp) -> StoreError {
    match gave_up.answer.status {
        // Of segments: the container is gone.
        Some(404) => lost(attempt, "its container is gone"),
        Some(400) if text(&gave_up.answer.headers, "content-type").is_some() && mentions_segments(gave_up) => {
            lost(attempt, &gave_up.answer.in_words().unwrap_or_default())
        }
        _ => attempt.given_up(gave_up),
    }
}

fn mentions_segments(gave_up: &GaveUp) -> bool {
    let words = ["404 Not Found", "Etag Mismatch", "Size Mismatch"];
    gave_up.answer.message.as_ref().is_some_and(|text| words.iter().any(|word| text.contains(word)))
}

pub(super) fn lost(attempt: Attempt<'_>, why: &str) -> StoreError {
    attempt.refused(StoreErrorKind::Lost, why).hint("it is copied again from its start")
}
