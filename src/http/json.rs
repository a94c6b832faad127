//! Requests whose bodies are JSON, as the APIs of `OpenStack` have them. Objects take another way: see `store`.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Limited};
use object_store::client::{HttpRequestBody, HttpService};
use serde_json::Value;

use super::{Connector, GaveUp, Patience};

/// Longest body of an answer that is read; a page of a thousand backups has a megabyte.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Whether a request may be made again by itself when its answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Twice is as good as once.
    Freely,
    /// Twice may make two of something: whoever asks looks first, and then asks again.
    #[allow(dead_code, reason = "Trove's API makes records with it")]
    Never,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct JsonRequest {
    pub(crate) method: Method,
    pub(crate) url: reqwest::Url,
    /// Secrets among them are marked as sensitive.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Value>,
    pub(crate) repeat: Repeat,
}

/// An answer with a status of 200 to 299. Others are a [`GaveUp`], whose answer has the status, and the kind and text of
/// the error where the body says them.
#[derive(Debug)]
pub(crate) struct JsonAnswer {
    pub(crate) headers: HeaderMap,
    /// `Null` where there was no body.
    pub(crate) body: Value,
}

impl JsonRequest {
    /// Asks for what lies at `url`.
    pub(crate) fn get(url: reqwest::Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None, repeat: Repeat::Freely }
    }

    /// Sends `body` to `url`.
    pub(crate) fn post(url: reqwest::Url, body: Value, repeat: Repeat) -> Self {
        Self { method: Method::POST, url, headers: HeaderMap::new(), body: Some(body), repeat }
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Makes the request, and reads its whole answer.
    ///
    /// # Errors
    /// [`GaveUp`]: no answer, one with another status, or one that is not JSON.
    pub(crate) async fn send(&self, connector: &Connector, patience: &Patience) -> Result<JsonAnswer, GaveUp> {
        let done = match self.repeat {
            Repeat::Freely => patience.call(|| self.attempt(connector)).await?,
            Repeat::Never => patience.once(|| self.attempt(connector)).await?,
        };
        Ok(done.value)
    }

    async fn attempt(&self, connector: &Connector) -> Result<JsonAnswer, String> {
        let body = self.body.as_ref().map(|body| Bytes::from(body.to_string()));
        let has_body = body.is_some();
        let mut request = Request::new(HttpRequestBody::from(body.unwrap_or_default()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.as_str().parse().map_err(|_| "the URL cannot be sent".to_owned())?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if has_body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let answer = connector.call(request).await.map_err(|error| error.to_string())?;
        let (parts, body) = answer.into_parts();
        if !parts.status.is_success() {
            return Err(format!("status {}", parts.status.as_u16()));
        }
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes();
        let body = match &body[..] {
            [] => Value::Null,
            // The parser's own words could quote what it read.
            body => serde_json::from_slice(body).map_err(|error| {
                format!("the answer is not JSON (line {}, column {})", error.line(), error.column())
            })?,
        };
        Ok(JsonAnswer { headers: parts.headers, body })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::http::client;
    use crate::throttle::Throttle;

    /// A server that answers each request with the next of these, and counts; the last one stays.
    async fn server(answers: &'static [&'static str]) -> (reqwest::Url, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/x", listener.local_addr().expect("bound")).parse().expect("a URL");
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && !request.ends_with(b"{\"a\":1}") {
                    request.push(stream.read_u8().await.expect("a request"));
                }
                let answer = answers[counted.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
                stream.write_all(answer.as_bytes()).await.expect("sent");
            }
        });
        (url, count)
    }

    async fn send(request: JsonRequest) -> Result<JsonAnswer, GaveUp> {
        let connector =
            Connector::new(client(None, true).expect("a client"), Throttle::unlimited(), Duration::from_secs(5));
        request.send(&connector, &Patience::default()).await
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\nX-A: b\r\nContent-Length: 8\r\nConnection: close\r\n\r\n{\"b\": 2}";
    const CUT_SHORT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 80\r\nConnection: close\r\n\r\n{\"b\":";
    const EMPTY: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n<html>hunter2>";

    #[tokio::test]
    async fn an_answer_that_was_cut_short_is_asked_for_again() {
        let (url, count) = server(&[CUT_SHORT, GOOD]).await;
        let answer = send(JsonRequest::get(url)).await.expect("the second one");
        assert_eq!((answer.body, &answer.headers["x-a"]), (json!({ "b": 2 }), &HeaderValue::from_static("b")));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_may_make_two_of_something_is_sent_once() {
        let (url, count) = server(&[CUT_SHORT, GOOD]).await;
        let post = |url: &reqwest::Url| JsonRequest::post(url.clone(), json!({ "a": 1 }), Repeat::Never);
        let gave_up = send(post(&url)).await.expect_err("nobody knows what it did");
        assert_eq!((gave_up.transient, count.load(Ordering::SeqCst)), (true, 1));
        assert_eq!(send(post(&url)).await.expect("asked for again").body, json!({ "b": 2 }));
    }

    #[tokio::test]
    async fn no_body_is_null_and_what_is_not_json_is_not_shown() {
        let (url, _) = server(&[EMPTY]).await;
        assert_eq!(send(JsonRequest::get(url)).await.expect("an answer").body, Value::Null);
        let (url, _) = server(&[PAGE]).await;
        let gave_up = send(JsonRequest::post(url, json!({ "a": 1 }), Repeat::Never)).await.expect_err("a page");
        assert_eq!(gave_up.error, "the answer is not JSON (line 1, column 1)");
    }
}
