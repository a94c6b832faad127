//! Requests of clients that are our own from end to end. Unlike `object_store`'s, their bodies may be streams, which
//! no client can send twice.

use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use object_store::client::HttpError;
use reqwest::Url;

use super::Connector;
use super::connector::{Watch, slices};
use crate::throttle::{SLICE, Throttle};

/// A request. Its answer is asked for as it is stored, never packed on the way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Without `Content-Length`, which comes from the body. Secrets among them are marked as sensitive.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Outgoing,
}

/// What a request carries.
pub(crate) enum Outgoing {
    /// Nothing.
    Empty,
    /// All of it is here.
    Whole(Bytes),
    /// So many bytes, which come as they are read. If fewer come, or more, or an error, the connection is broken off.
    Stream { size: u64, chunks: BoxStream<'static, Result<Bytes, std::io::Error>> },
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size())
    }
}

impl Outgoing {
    pub(crate) const fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Stream { size, .. } => *size,
        }
    }
}

/// What came back, whatever its status.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// That of an error is in memory already, and cut after 64 KiB.
    pub(crate) body: BoxStream<'static, Result<Bytes, HttpError>>,
}

impl Connector {
    /// Sends a request, once. It is counted, held back and watched as all others are, and its answer is kept for whoever
    /// asked for it by [`Answer::during`](super::Answer::during). The time in which a streamed body has no bytes to send
    /// does not count as the other side's.
    ///
    /// # Errors
    /// No answer came.
    pub(crate) async fn send(&self, request: Request) -> Result<Response, HttpError> {
        self.throttle().request().await;
        let Request { method, url, headers, body } = request;
        let host = url.host_str().unwrap_or_default();
        let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let watch = self.watch();
        let has_length = body.size() > 0 || matches!(method, Method::PUT | Method::POST);
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if has_length {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(body.size()));
        }
        *request.body_mut() = self.outgoing(body, &watch);
        let (parts, body) = self.exchange(host, request, &watch).await?.into_parts();
        let body = body.into_data_stream().boxed();
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    fn outgoing(&self, body: Outgoing, watch: &Watch) -> Option<reqwest::Body> {
        let (size, chunks) = match body {
            Outgoing::Empty => return None,
            Outgoing::Whole(bytes) => (bytes.len() as u64, stream::iter([Ok(bytes)]).boxed()),
            Outgoing::Stream { size, chunks } => (size, chunks),
        };
        if size == 0 {
            // Nothing is polled of a body without bytes: whether the feed ends as it should is the caller's to see.
            return None;
        }
        Some(reqwest::Body::wrap_stream(held_back(exactly(size, chunks), self.throttle().clone(), watch.clone())))
    }
}

/// The chunks, if they are `size` bytes; an error as soon as they are not.
fn exactly(
    size: u64,
    chunks: BoxStream<'static, Result<Bytes, std::io::Error>>,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let wrong = |why: String| Some((Err(std::io::Error::other(why)), None));
    stream::unfold(Some((chunks, size)), move |state| async move {
        let (mut chunks, left) = state?;
        match chunks.next().await {
            Some(Ok(chunk)) if chunk.len() as u64 > left => wrong("more bytes came than were announced".to_owned()),
            Some(Ok(chunk)) => {
                let left = left - chunk.len() as u64;
                Some((Ok(chunk), Some((chunks, left))))
            }
            Some(Err(error)) => wrong(error.to_string()),
            None if left > 0 => wrong(format!("the last {left} bytes did not come")),
            None => None,
        }
    })
}

/// The chunks, slice by slice as the throttle lets them through. While there is none, or the throttle holds one back,
/// the watch does not count.
fn held_back(
    chunks: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
    throttle: Throttle,
    watch: Watch,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let waiting = watch.clone();
    let mut chunks = Box::pin(chunks);
    let chunks = stream::poll_fn(move |context| {
        let next = Pin::new(&mut chunks).poll_next(context);
        match &next {
            Poll::Pending => waiting.pause(),
            Poll::Ready(_) => waiting.sign(),
        }
        next
    });
    chunks.flat_map(|chunk| stream::iter(slices(chunk))).then(move |slice| {
        let (throttle, watch) = (throttle.clone(), watch.clone());
        async move {
            if let Ok(bytes) = &slice {
                debug_assert!(bytes.len() as u64 <= SLICE, "cut before");
                watch.pause();
                throttle.write(bytes.len() as u64).await;
            }
            watch.sign();
            slice
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::http::client;

    async fn sent(size: u64, chunks: &[&'static str]) -> Result<Vec<u8>, String> {
        let chunks = stream::iter(chunks.iter().map(|chunk| Ok(Bytes::from(*chunk))).collect::<Vec<_>>());
        let mut sent = Vec::new();
        let mut stream = Box::pin(exactly(size, chunks.boxed()));
        while let Some(chunk) = stream.next().await {
            sent.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
        }
        Ok(sent)
    }

    #[tokio::test]
    async fn a_stream_has_the_bytes_that_were_announced_or_breaks_off() {
        assert_eq!(sent(5, &["ab", "", "cde"]).await.as_deref(), Ok(&b"abcde"[..]));
        assert_eq!(sent(5, &["ab"]).await, Err("the last 3 bytes did not come".to_owned()));
        assert_eq!(sent(3, &["ab", "cd"]).await, Err("more bytes came than were announced".to_owned()));
    }

    /// A server that takes connections and never says a word.
    async fn silent() -> (tokio::net::TcpListener, Url) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound")).parse().expect("a URL");
        (listener, url)
    }

    #[tokio::test]
    async fn only_the_other_sides_silence_is_a_stall() {
        let stall = Duration::from_millis(300);
        let connector = Connector::new(client(None, true).expect("a client"), Throttle::unlimited(), stall);
        let (_listener, url) = silent().await;
        let (sender, mut chunks) = tokio::sync::mpsc::channel::<Bytes>(1);
        let chunks = stream::poll_fn(move |context| chunks.poll_recv(context).map(|chunk| chunk.map(Ok))).boxed();
        let body = Outgoing::Stream { size: 4, chunks };
        let request = Request { method: Method::PUT, url, headers: HeaderMap::new(), body };
        let call = tokio::spawn(async move { connector.send(request).await.map(|response| response.status) });
        sender.send(Bytes::from_static(b"ab")).await.expect("taken");
        // Nothing to send for longer than the stall: the request lives, and takes what comes then.
        tokio::time::sleep(3 * stall).await;
        assert!(!call.is_finished());
        sender.send(Bytes::from_static(b"cd")).await.expect("taken");
        let error = call.await.expect("no panic").expect_err("now it is the server's turn");
        assert!(error.to_string().contains("Timeout") || format!("{error:?}").contains("no byte"), "{error:?}");
    }
}
