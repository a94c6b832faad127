//! Requests, each with a token, and again with a fresh one if the store says 401.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::{HeaderMap, Method};
use tokio_util::sync::CancellationToken;

use super::SwiftStore;
use super::access::Granted;
use super::error::said;
use super::headers::is_manifest;
use super::place::{Place, url};
use crate::http::{Answer, GaveUp, Outgoing, Request, Response};
use crate::store::attempt::Attempt;
use crate::store::{Feed, Seen, StoreError, StoreErrorKind, buffers};

/// Longest text of an answer that is read: a page of a listing has a few megabytes, a manifest 8 MiB at most.
const TEXT_MAX: usize = 64 * 1024 * 1024;

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    Info,
    /// None is the token's own.
    Account(Option<&'a str>),
    Container(Option<&'a str>, &'a str),
    Object(&'a Place),
}

impl At<'_> {
    fn account(&self) -> Option<&str> {
        match self {
            Self::Info => None,
            Self::Account(account) | Self::Container(account, _) => *account,
            Self::Object(place) => place.account.as_deref(),
        }
    }
}

/// A request that can be made again.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) at: At<'a>,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl<'a> Ask<'a> {
    pub(super) const fn new(method: Method, at: At<'a>, query: &'a [(&'a str, &'a str)], headers: HeaderMap) -> Self {
        Self { method, at, query, headers, body: None }
    }
}

/// What came back with a status of success.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) body: Bytes,
    /// Whether an earlier try may have done its work without our seeing the answer.
    pub(super) repeated: bool,
}

/// What is read of a body.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Text,
    /// Nothing, unless it is a manifest: else it is an object of any size.
    Manifest,
    Exactly(usize, Seen<'a>),
}

/// A call that came to an end one way or the other; the inner error is an answer, or its absence.
pub(super) type Called = Result<Result<Answered, GaveUp>, StoreError>;

impl SwiftStore {
    /// Makes a request until it succeeds, is refused, or has failed often enough; its answer's body is read as text.
    pub(super) async fn ask(&self, attempt: Attempt<'_>, ask: &Ask<'_>) -> Called {
        self.ask_for(attempt, ask, Wanted::Text).await
    }

    /// The same, where every answer but success is an error.
    pub(super) async fn call(&self, attempt: Attempt<'_>, ask: &Ask<'_>) -> Result<Answered, StoreError> {
        self.ask(attempt, ask).await?.map_err(|gave_up| attempt.given_up(&gave_up))
    }

    /// Asks for a manifest; the answer to a question about another object has no body.
    pub(super) async fn ask_for_manifest(&self, attempt: Attempt<'_>, ask: &Ask<'_>) -> Called {
        self.ask_for(attempt, ask, Wanted::Manifest).await
    }

    /// Asks for exactly `length` bytes.
    pub(super) async fn fetch(&self, attempt: Attempt<'_>, ask: &Ask<'_>, length: usize, seen: Seen<'_>) -> Called {
        self.ask_for(attempt, ask, Wanted::Exactly(length, seen)).await
    }

    async fn ask_for(&self, attempt: Attempt<'_>, ask: &Ask<'_>, wanted: Wanted<'_>) -> Called {
        let mut repeated = false;
        let mut is_second = false;
        loop {
            let granted = self.granted(attempt, ask.at.account()).await?;
            match self.inner.patience.call(|| self.ask_once(&granted, ask, wanted)).await {
                Ok(done) => {
                    let repeated = repeated || done.repeated;
                    return Ok(Ok(Answered { answer: done.answer, body: done.value, repeated }));
                }
                Err(gave_up) if gave_up.answer.status == Some(401) && !is_second => {
                    self.inner.session.rejected(&granted.scope, &granted.token);
                    repeated |= gave_up.repeated;
                    is_second = true;
                }
                Err(gave_up) => return Ok(Err(GaveUp { repeated: repeated || gave_up.repeated, ..gave_up })),
            }
        }
    }

    async fn ask_once(&self, granted: &Granted, ask: &Ask<'_>, wanted: Wanted<'_>) -> Result<Bytes, String> {
        let body = ask.body.clone().map_or(Outgoing::Empty, Outgoing::Whole);
        let request = request(granted, ask.method.clone(), ask.at, ask.query, ask.headers.clone(), body);
        let response = self.inner.http.send(request).await.map_err(|error| error.to_string())?;
        let response = succeeded(response).await?;
        match wanted {
            Wanted::Manifest if !is_manifest(&response.headers) => Ok(Bytes::new()),
            Wanted::Text | Wanted::Manifest => text(response.body).await,
            Wanted::Exactly(length, seen) => {
                let body = response.body.map(|chunk| chunk.map_err(|error| error.to_string()));
                buffers::collect(body, length, seen, |why| why).await
            }
        }
    }

    /// Sends a feed as the body of a PUT, once: only who makes the feed can make it again.
    pub(super) async fn send(&self, attempt: Attempt<'_>, place: &Place, headers: HeaderMap, feed: Feed) -> Called {
        let granted = self.granted(attempt, place.account.as_deref()).await?;
        let is_cut = Arc::new(AtomicBool::new(false));
        // A server may answer before it has read all of it. Whoever fills the feed is not to go on for nobody then.
        let over = CancellationToken::new();
        let _over = over.clone().drop_guard();
        let size = feed.size;
        let chunks = chunks(feed, Arc::clone(&is_cut)).take_until(over.cancelled_owned()).boxed();
        let body = Outgoing::Stream { size, chunks };
        let request = request(&granted, Method::PUT, At::Object(place), &[], headers, body);
        let sent = self.inner.patience.once(|| async {
            let sent = async {
                let response = self.inner.http.send(request).await.map_err(|error| error.to_string())?;
                text(succeeded(response).await?.body).await
            };
            let sent = sent.await;
            if sent.is_err() && is_cut.load(Ordering::Relaxed) {
                // The connection was broken off by us, which says nothing about the store.
                Answer::default().keep();
            }
            sent
        });
        match sent.await {
            Ok(done) => Ok(Ok(Answered { answer: done.answer, body: done.value, repeated: false })),
            Err(gave_up) if is_cut.load(Ordering::Relaxed) => {
                Err(attempt.refused(StoreErrorKind::Io, format!("its bytes ended early: {}", gave_up.error)))
            }
            Err(gave_up) if gave_up.answer.status == Some(401) => {
                self.inner.session.rejected(&granted.scope, &granted.token);
                // A fresh token that is refused too is said here; else the bytes are worth sending again.
                let at = At::Container(place.account.as_deref(), &place.container);
                self.call(attempt, &Ask::new(Method::HEAD, at, &[], HeaderMap::new())).await?;
                Err(attempt.refused(StoreErrorKind::Unreachable, "the token ended before its bytes were sent"))
            }
            Err(gave_up) => Ok(Err(gave_up)),
        }
    }
}

fn request(
    granted: &Granted,
    method: Method,
    at: At<'_>,
    query: &[(&str, &str)],
    mut headers: HeaderMap,
    body: Outgoing,
) -> Request {
    headers.insert("x-auth-token", granted.token.header());
    let account = &*granted.account;
    let url = match at {
        At::Info => {
            let mut root = granted.base.clone();
            if let Ok(mut segments) = root.path_segments_mut() {
                segments.pop_if_empty().pop();
            }
            url(&root, &["info"], query)
        }
        At::Account(_) => url(&granted.base, &[account], query),
        At::Container(_, container) => url(&granted.base, &[account, container], query),
        At::Object(place) => url(&granted.base, &[account, &place.container, &place.object], query),
    };
    Request { method, url, headers, body }
}

/// The answer, if its status is one of success; else what it says is kept.
async fn succeeded(response: Response) -> Result<Response, String> {
    if (200..300).contains(&response.status) {
        return Ok(response);
    }
    let status = response.status;
    if let Some(said) = text(response.body).await.ok().and_then(|body| said(&body)) {
        Answer::add_message(said);
    }
    Err(format!("status {status}"))
}

async fn text(mut body: BoxStream<'static, Result<Bytes, object_store::client::HttpError>>) -> Result<Bytes, String> {
    let mut text = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        if text.len() + chunk.len() > TEXT_MAX {
            return Err(format!("its answer has more than {TEXT_MAX} bytes"));
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text.into())
}

/// The chunks of a feed; `is_cut` is set if it ends before its last byte.
fn chunks(feed: Feed, is_cut: Arc<AtomicBool>) -> BoxStream<'static, Result<Bytes, std::io::Error>> {
    let Feed { size: mut left, mut chunks, .. } = feed;
    let chunks = stream::poll_fn(move |context| {
        let next = chunks.poll_recv(context);
        match &next {
            Poll::Ready(Some(chunk)) => left = left.saturating_sub(chunk.len() as u64),
            Poll::Ready(None) if left > 0 => is_cut.store(true, Ordering::Relaxed),
            _ => {}
        }
        next.map(|chunk| chunk.map(Ok))
    });
    chunks.boxed()
}
