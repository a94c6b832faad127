//! Objects and segments in one piece, from memory and as streams.

use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use md5::{Digest, Md5};
use uuid::Uuid;

use super::SwiftStore;
use super::ask::{Answered, Ask, At};
use super::headers::{hex, text, unquoted};
use super::info::Limits;
use super::place::Place;
use crate::http::GaveUp;
use crate::store::attempt::Attempt;
use crate::store::{Feed, KnownDigests, Metadata, ObjectFacts, Proof, StoreError, StoreErrorKind};

/// What is hashed right here; more is hashed off the async threads.
const HASHED_HERE: usize = 16 * 1024;

/// How often bytes are sent that the store got damaged: what comes after is the copy's next attempt.
const SENDS: usize = 2;

impl SwiftStore {
    /// Sends bytes with their MD5, which the store compares before anything has the name; again if they were damaged on
    /// their way. Gives what it answered and the MD5.
    pub(super) async fn put_bytes(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        bytes: &Bytes,
        mut headers: HeaderMap,
    ) -> Result<Result<(Answered, String), GaveUp>, StoreError> {
        let md5 = hex(md5(bytes).await);
        insert_etag(&mut headers, &md5);
        let mut repeated = false;
        for send in 1.. {
            let ask =
                Ask { body: Some(bytes.clone()), ..Ask::new(Method::PUT, At::Object(place), &[], headers.clone()) };
            match self.ask(attempt, &ask).await? {
                Ok(answered) => {
                    check_etag(attempt, &answered, &md5)?;
                    return Ok(Ok((Answered { repeated: repeated || answered.repeated, ..answered }, md5)));
                }
                Err(gave_up) if gave_up.answer.status == Some(422) && send < SENDS => repeated |= gave_up.repeated,
                Err(gave_up) => return Ok(Err(gave_up)),
            }
        }
        unreachable!("the loop ends by itself")
    }

    /// Sends a feed, once. Gives the `ETag` that the store computed, and whether it compared it.
    pub(super) async fn put_feed(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        feed: Feed,
        mut headers: HeaderMap,
    ) -> Result<Result<(String, Proof), GaveUp>, StoreError> {
        let expected = feed.md5.map(hex);
        if let Some(md5) = &expected {
            insert_etag(&mut headers, md5);
        }
        let answered = match self.send(attempt, place, headers, feed).await? {
            Ok(answered) => answered,
            Err(gave_up) => return Ok(Err(gave_up)),
        };
        let Some(md5) = expected else { return Ok(Ok((etag(attempt, &answered)?, Proof::None))) };
        check_etag(attempt, &answered, &md5)?;
        Ok(Ok((md5, Proof::Md5)))
    }

    /// The object under a name, if this very attempt made it, with that `ETag`; whatever `ETag` it has if none is known.
    pub(super) async fn ours(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        token: &str,
        etag: Option<&str>,
    ) -> Result<ObjectFacts, StoreError> {
        match self.look(attempt, place).await? {
            Some(shown)
                if shown.upload.as_deref() == Some(token) && etag.is_none_or(|etag| shown.facts.etag == etag) =>
            {
                Ok(shown.facts)
            }
            Some(_) => Err(exists(attempt)),
            None => {
                let why = "an object had this name a moment ago, and has gone";
                Err(attempt.refused(StoreErrorKind::Io, why))
            }
        }
    }

    /// Whether an object of so many bytes can have that name in one piece.
    pub(super) async fn allow(&self, attempt: Attempt<'_>, place: &Place, size: u64) -> Result<&Limits, StoreError> {
        let limits = self.limits().await?;
        let name = place.object.len();
        if name > limits.object_name {
            let why = format!("its name has {name} bytes, and the cluster takes {}", limits.object_name);
            return Err(attempt.refused(StoreErrorKind::Refused, why));
        }
        if size > limits.file_size {
            let why = format!("it has {size} bytes, and the cluster takes {} in one piece", limits.file_size);
            return Err(attempt.refused(StoreErrorKind::Refused, why).hint("a larger object needs segments"));
        }
        Ok(limits)
    }

    /// Writes a small object to the container of another one, and deletes it; does nothing where there is none.
    pub(super) async fn write_and_delete(&self, beside: &Place) -> Result<(), StoreError> {
        let object = format!(".backhaul/probe-{}", Uuid::new_v4().simple());
        let place = Place { object, ..beside.clone() };
        let account = place.account.as_ref().map(|account| format!("{account}/")).unwrap_or_default();
        let name = account + &place.path();
        let attempt = self.attempt("write", &name);
        match self.put_bytes(attempt, &place, &Bytes::from_static(b"?"), HeaderMap::new()).await? {
            Ok(_) => self.delete(self.attempt("delete", &name), &place).await,
            Err(gave_up) if gave_up.answer.status == Some(404) => Ok(()),
            Err(gave_up) => Err(attempt.given_up(&gave_up)),
        }
    }

    /// Deletes an object, and no segments. One that is not there is none less.
    pub(super) async fn delete(&self, attempt: Attempt<'_>, place: &Place) -> Result<(), StoreError> {
        match self.ask(attempt, &Ask::new(Method::DELETE, At::Object(place), &[], HeaderMap::new())).await? {
            Err(gave_up) if gave_up.answer.status != Some(404) => Err(attempt.given_up(&gave_up)),
            _ => Ok(()),
        }
    }
}

/// The headers of an object that an attempt makes where nothing is yet.
pub(super) fn create_only(
    attempt: Attempt<'_>,
    metadata: &Metadata,
    token: &str,
    limits: &Limits,
) -> Result<HeaderMap, StoreError> {
    let mut headers = super::headers::of_copy(metadata, token, limits).map_err(|why| refused(attempt, &why))?;
    headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
    Ok(headers)
}

/// Metadata that this cluster cannot hold.
pub(super) fn refused(attempt: Attempt<'_>, why: &str) -> StoreError {
    attempt
        .refused(StoreErrorKind::Refused, format!("its metadata {why}"))
        .hint("nothing is left out silently: change the source object's metadata, or leave it out of the plan")
}

pub(super) fn exists(attempt: Attempt<'_>) -> StoreError {
    attempt
        .refused(StoreErrorKind::Exists, "another object has this name")
        .hint("nothing is ever overwritten; move that object away, or give the backup another target")
}

pub(super) fn facts(size: u64, etag: String, is_plain: bool, metadata: &Metadata) -> ObjectFacts {
    let md5 = if is_plain { super::headers::md5_of(&etag) } else { None };
    let digests = KnownDigests { md5, ..KnownDigests::default() };
    ObjectFacts { size, etag, modified_ms: None, digests, metadata: metadata.clone(), expires: None }
}

fn insert_etag(headers: &mut HeaderMap, md5: &str) {
    if let Ok(value) = HeaderValue::from_str(md5) {
        headers.insert(ETAG, value);
    }
}

fn etag(attempt: Attempt<'_>, answered: &Answered) -> Result<String, StoreError> {
    text(&answered.answer.headers, "etag").map(unquoted).ok_or_else(|| {
        attempt.refused(StoreErrorKind::Io, format!("the answer of {} has no ETag", answered.answer.host))
    })
}

fn check_etag(attempt: Attempt<'_>, answered: &Answered, md5: &str) -> Result<(), StoreError> {
    if etag(attempt, answered)? == md5 {
        return Ok(());
    }
    Err(attempt
        .refused(StoreErrorKind::Differs, "the store computed another MD5 than that of the bytes that were sent"))
}

pub(super) async fn md5(bytes: &Bytes) -> [u8; 16] {
    if bytes.len() <= HASHED_HERE {
        return Md5::digest(bytes).into();
    }
    let bytes = bytes.clone();
    let hashed = tokio::task::spawn_blocking(move || Md5::digest(&bytes).into());
    hashed.await.expect("hashing does not panic")
}
