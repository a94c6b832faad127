//! The connector below `object_store`, and below requests of our own: one client with our timeouts, which counts, holds
//! back, and watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::header::{ACCEPT_ENCODING, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use tokio::time::Instant;

use super::answer::{Answer, Trouble, retry_after};
use super::secrets::Secrets;
use crate::throttle::{SLICE, Throttle, has_closed_since};

/// Longest time until a connection stands, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that nobody used for so long are closed: stores close theirs too (S3 after about 20 s), and a request
/// that meets a closing one fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Fewest bytes a second of an answer that are worth waiting for, over the time after which it would count as stalled.
const SLOWEST: u64 = 1024;

/// Bytes of an error's body that are read.
const ERROR_BODY_MAX: usize = 64 * 1024;

/// Makes the HTTP client of one store. `ca` is a bundle of PEM certificates that are trusted besides the system's; with
/// `verify` false no certificate is looked at.
///
/// # Errors
/// A bundle that cannot be read, or no trusted certificates at all: why, in one line.
pub(crate) fn client(ca: Option<&[u8]>, verify: bool) -> Result<reqwest::Client, String> {
    // Whoever comes second finds the same one installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let refused = |error: reqwest::Error| reason(&error);
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT);
    if let Some(pem) = ca {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem).map_err(refused)?);
    }
    if !verify {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    builder.build().map_err(refused)
}

/// The chain of reasons in one line, without URLs: they may carry signatures.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// In the extensions of a request: its answer must hold the bytes as they are stored. GCS unpacks objects that say
/// `Content-Encoding: gzip` for all who do not say that they take gzip (Google, "Transcoding of gzip-compressed files").
#[derive(Debug, Clone, Copy)]
pub(crate) struct AsStored;

/// One store's way to its servers. Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) struct Connector {
    client: reqwest::Client,
    throttle: Throttle,
    /// A request without a byte in either direction for so long is given up.
    stall: Duration,
}

impl Connector {
    pub(crate) const fn new(client: reqwest::Client, throttle: Throttle, stall: Duration) -> Self {
        Self { client, throttle, stall }
    }
}

impl HttpConnector for Connector {
    /// The library's own options are left aside: everything it would set is set in [`client`].
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.throttle.request().await;
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse().map_err(|error| HttpError::new(HttpErrorKind::Request, error))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        if parts.extensions.get::<AsStored>().is_some() {
            request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let watch = Watch::new(self.stall);
        *request.body_mut() = Some(self.sent(body, &watch).await);
        self.exchange(host, request, &watch).await
    }
}

impl Connector {
    /// Sends a request, unless the store asked to be left alone while it waited for its turn, and hands on its answer.
    /// `watch` ends it if neither side moves.
    pub(super) async fn exchange(
        &self,
        host: String,
        request: reqwest::Request,
        watch: &Watch,
    ) -> Result<HttpResponse, HttpError> {
        if has_closed_since() {
            let error = http_error(&Trouble::HeldBack);
            Answer { host, trouble: Some(Trouble::HeldBack), ..Answer::default() }.keep();
            return Err(error);
        }
        let secrets = Secrets::of(&request);
        let answered = tokio::select! {
            answered = self.client.execute(request) => answered.map_err(|error| trouble(&error)),
            () = watch.stalled() => Err(Trouble::Stalled(self.stall)),
        };
        let response = match answered {
            Ok(response) => http::Response::<reqwest::Body>::from(response),
            Err(trouble) => {
                let error = http_error(&trouble);
                Answer { host, trouble: Some(trouble), ..Answer::default() }.keep();
                return Err(error);
            }
        };
        self.answered(host, response, &secrets).await
    }

    /// The limits and counters that everything passes.
    pub(super) const fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Watches over a request that begins now.
    pub(super) fn watch(&self) -> Watch {
        Watch::new(self.stall)
    }

    /// The request's body, its bytes let through by the throttle slice by slice, each a sign of life.
    async fn sent(&self, body: HttpRequestBody, watch: &Watch) -> reqwest::Body {
        let length = body.content_length() as u64;
        if length <= SLICE {
            self.throttle.write(length).await;
            watch.sign();
            return match body.collect().await {
                Ok(collected) => collected.to_bytes().into(),
                Err(_) => reqwest::Body::default(),
            };
        }
        let (throttle, watch) = (self.throttle.clone(), watch.clone());
        let slices = body.into_data_stream().flat_map(|bytes| stream::iter(slices(bytes)));
        reqwest::Body::wrap_stream(slices.then(move |slice| {
            let (throttle, watch) = (throttle.clone(), watch.clone());
            async move {
                if let Ok(bytes) = &slice {
                    watch.pause();
                    throttle.write(bytes.len() as u64).await;
                }
                watch.sign();
                slice
            }
        }))
    }

    /// Keeps what the answer says, and hands on its body; that of an error is read here, and has none of our `secrets`.
    async fn answered(
        &self,
        host: String,
        response: http::Response<reqwest::Body>,
        secrets: &Secrets,
    ) -> Result<HttpResponse, HttpError> {
        let (parts, body) = response.into_parts();
        let answer = Answer {
            host,
            status: Some(parts.status.as_u16()),
            retry_after: retry_after(&parts.headers, Timestamp::now()),
            headers: parts.headers.clone(),
            ..Answer::default()
        };
        let mut body = Box::pin(self.received(body));
        if parts.status.is_success() {
            answer.keep();
            let frames = body.map(|bytes| bytes.map(Frame::data));
            return Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(StreamBody::new(frames))));
        }
        let mut text = Vec::new();
        while let Some(Ok(bytes)) = body.next().await {
            text.extend_from_slice(&bytes[..bytes.len().min(ERROR_BODY_MAX - text.len())]);
            if text.len() == ERROR_BODY_MAX {
                break;
            }
        }
        let text = secrets.hidden_in(text);
        answer.with_error_body(&text).keep();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(Bytes::from(text))))
    }

    /// The answer's body. What limits reading holds back the next bytes, and with them the sender.
    fn received(&self, body: reqwest::Body) -> impl Stream<Item = Result<Bytes, HttpError>> + Send + Sync + use<> {
        let (throttle, stall) = (self.throttle.clone(), self.stall);
        let state = (Some(body.into_data_stream()), Pace::default(), throttle);
        let received = stream::unfold(state, move |(body, mut pace, throttle)| async move {
            let mut body = body?;
            let asked = Instant::now();
            let next = match tokio::time::timeout(stall, body.next()).await {
                Ok(Some(Ok(bytes))) => {
                    if let Some(trouble) = pace.too_slow(asked.elapsed(), bytes.len() as u64, stall) {
                        trouble
                    } else {
                        throttle.read(bytes.len() as u64).await;
                        return Some((Ok(bytes), (Some(body), pace, throttle)));
                    }
                }
                Ok(None) => return None,
                Ok(Some(Err(error))) => trouble(&error),
                Err(_) => Trouble::Stalled(stall),
            };
            let error = http_error(&next);
            Answer::broke_off(next);
            Some((Err(error), (None, pace, throttle)))
        });
        // Who collects a body may ask once more after its end.
        sync_stream(received.fuse())
    }
}

/// `object_store` wants bodies that are `Sync`; a stream that is only ever polled through `&mut` is, with a lock that is
/// never contended.
fn sync_stream<S: Stream + Send>(stream: S) -> impl Stream<Item = S::Item> + Send + Sync {
    let stream = std::sync::Mutex::new(Box::pin(stream));
    stream::poll_fn(move |context| stream.lock().expect("polling does not panic").as_mut().poll_next(context))
}

pub(super) fn slices<E>(bytes: Result<Bytes, E>) -> Vec<Result<Bytes, E>> {
    let Ok(mut bytes) = bytes else { return vec![bytes] };
    let slice = usize::try_from(SLICE).expect("a quarter of a MiB");
    let mut slices = Vec::with_capacity(bytes.len() / slice + 1);
    while bytes.len() > slice {
        slices.push(Ok(bytes.split_to(slice)));
    }
    slices.push(Ok(bytes));
    slices
}

fn trouble(error: &reqwest::Error) -> Trouble {
    if error.is_connect() { Trouble::Connect(reason(error)) } else { Trouble::Broken(reason(error)) }
}

fn http_error(trouble: &Trouble) -> HttpError {
    let (kind, text) = match trouble {
        Trouble::Connect(text) => (HttpErrorKind::Connect, text.clone()),
        Trouble::Broken(text) => (HttpErrorKind::Interrupted, text.clone()),
        Trouble::Stalled(time) => (HttpErrorKind::Timeout, format!("no byte for {} s", time.as_secs_f32())),
        Trouble::Slow(bytes, time) => (HttpErrorKind::Timeout, format!("{bytes} bytes in {} s", time.as_secs_f32())),
        Trouble::HeldBack => (HttpErrorKind::Request, "it wants to be left alone".to_owned()),
    };
    HttpError::new(kind, std::io::Error::other(text))
}

/// How fast an answer comes. Only waiting for it counts, not what our own limits hold back.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Takes the next bytes in, and looks at the rate each time that `stall` was spent waiting.
    fn too_slow(&mut self, waited: Duration, bytes: u64, stall: Duration) -> Option<Trouble> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < stall {
            return None;
        }
        let Self { waited, bytes } = std::mem::take(self);
        (bytes < SLOWEST * stall.as_secs()).then_some(Trouble::Slow(bytes, waited))
    }
}

/// The last sign of a request whose next bytes are held back on our side: that is no fault of the other's.
const PAUSED: u64 = u64::MAX;

/// Ends a request that shows no sign of life.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    began: Instant,
    /// Milliseconds after `began`, or [`PAUSED`].
    last_sign: Arc<AtomicU64>,
    stall: Duration,
}

impl Watch {
    fn new(stall: Duration) -> Self {
        Self { began: Instant::now(), last_sign: Arc::default(), stall }
    }

    /// Bytes are on their way again.
    pub(super) fn sign(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_sign.store(now, Ordering::Relaxed);
    }

    /// The next bytes wait for a limit of ours, or for those who make them: until the next sign no time counts.
    pub(super) fn pause(&self) {
        self.last_sign.store(PAUSED, Ordering::Relaxed);
    }

    async fn stalled(&self) {
        loop {
            let last_sign = self.last_sign.load(Ordering::Relaxed);
            if last_sign == PAUSED {
                tokio::time::sleep(self.stall).await;
                continue;
            }
            let deadline = self.began + Duration::from_millis(last_sign) + self.stall;
            if Instant::now() >= deadline {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}
