//! HTTP below S3: every request is logged, held, and struck by faults here.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use s3s::service::S3Service;

use super::bodies::{Arriving, End, Leaving};
use super::faults::{Faults, What};
use super::gates::Gates;
use super::log::{Entry, GoingOn, Log, Request as Asked};
use super::service::Marks;
use super::store::Store;

pub struct Wire {
    pub service: S3Service,
    pub log: Arc<Log>,
    pub faults: Faults,
    pub gates: Gates,
    pub store: Arc<Mutex<Store>>,
    pub latency: Mutex<Duration>,
}

/// One connection, as its requests see it.
#[derive(Clone)]
pub struct Connection {
    pub wire: Arc<Wire>,
    pub peer: SocketAddr,
    /// The socket is reset when it is dropped.
    pub reset: Arc<AtomicBool>,
}

type Answer = Result<Response<Leaving>, io::Error>;

fn cut() -> Answer {
    Err(io::ErrorKind::ConnectionAborted.into())
}

fn xml_error(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>A fault of the test\
         </Message><RequestId>0</RequestId></Error>"
    )
}

fn response(status: u16, content_type: &'static str, body: String) -> Response<s3s::Body> {
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The answer of a fault that does none of the work.
fn instead(what: &What) -> Option<Response<s3s::Body>> {
    const XML: &str = "application/xml";
    Some(match what {
        What::ErrorInOk { code } => response(200, XML, xml_error(code)),
        What::Status { status, code, retry_after } => {
            let mut response = response(*status, XML, xml_error(code));
            let after = retry_after.as_ref().map(|text| HeaderValue::from_str(text).expect("a header"));
            response.headers_mut().extend(after.map(|after| (RETRY_AFTER, after)));
            response
        }
        What::Redirect { status, location } => {
            let mut response = response(*status, XML, xml_error("TemporaryRedirect"));
            response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).expect("a header"));
            response
        }
        What::EmptyOk => response(200, XML, String::new()),
        What::HtmlBody => {
            let page = "<html><head><title>Sign in to the hotel</title></head><body>Password?</body></html>";
            response(200, "text/html; charset=utf-8", page.to_owned())
        }
        _ => return None,
    })
}

/// Reads a body to its end, so that the client comes to read the answer.
async fn drain(body: Arriving) -> io::Result<()> {
    let mut body = std::pin::pin!(body);
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        frame?;
    }
    Ok(())
}

fn arriving(inner: Incoming, entry: &Arc<Entry>, fault: Option<&What>, reset: &Arc<AtomicBool>) -> Arriving {
    let mut body = Arriving { inner, entry: Arc::clone(entry), at: 0, flip: None, reset: None, stall: None };
    match fault {
        Some(What::FlipRequest(bit)) => body.flip = Some(*bit),
        Some(What::ResetAfter(after)) => body.reset = Some((*after, Arc::clone(reset))),
        Some(What::StallReading(after)) => body.stall = Some(*after),
        _ => {}
    }
    body
}

/// The same answer, its body as gzip has it (RFC 1952), in blocks that are not compressed.
async fn packed(answer: Response<s3s::Body>) -> io::Result<Response<s3s::Body>> {
    let (mut head, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        bytes.extend_from_slice(frame.map_err(io::Error::other)?.data_ref().map_or(&[][..], |data| data));
    }
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(usize::from(u16::MAX)).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).expect("a chunk");
        packed.push(u8::from(blocks.peek().is_none()));
        packed.extend(length.to_le_bytes().into_iter().chain((!length).to_le_bytes()));
        packed.extend_from_slice(block);
    }
    let crc = u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, &bytes)).expect("32 bits");
    packed.extend(crc.to_le_bytes().into_iter().chain(u32::try_from(bytes.len()).expect("a part").to_le_bytes()));
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(Response::from_parts(head, s3s::Body::from(Bytes::from(packed))))
}

impl Connection {
    pub async fn answer(self, request: Request<Incoming>) -> Answer {
        let wire = &self.wire;
        let asked = Asked::new(self.peer, request.method(), request.uri(), request.headers());
        let fault = wire.faults.strike(&asked);
        let entry = wire.log.begin(asked);
        let going_on = wire.log.enter(&entry);
        if let Some(fault) = &fault {
            entry.struck_by(format!("{fault:?}"));
        }
        let latency = *wire.latency.lock().expect("whole");
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        wire.gates.pass(entry.request()).await;

        let (mut head, body) = request.into_parts();
        let body = arriving(body, &entry, fault.as_ref(), &self.reset);
        match &fault {
            Some(What::Reset) => {
                self.reset.store(true, Ordering::SeqCst);
                return cut();
            }
            Some(What::Stall) => {
                drain(body).await?;
                std::future::pending::<Infallible>().await;
                return cut();
            }
            Some(What::Delay(delay)) => tokio::time::sleep(*delay).await,
            Some(What::Before(change)) => change.apply(&mut wire.store.lock().expect("whole"), entry.request()),
            Some(What::IgnoreRange) => {
                head.extensions.insert(Marks { ignore_range: true, ..Marks::default() });
            }
            Some(What::FlipStored(bit)) => {
                head.extensions.insert(Marks { flip_stored: Some(*bit), ..Marks::default() });
            }
            _ => {}
        }
        let answer = if let Some(answer) = fault.as_ref().and_then(instead) {
            drain(body).await?;
            answer
        } else {
            let request = Request::from_parts(head, s3s::Body::http_body_unsync(body));
            wire.service.call(request).await.map_err(|error| io::Error::other(format!("{error:?}")))?
        };
        let answer = if matches!(fault, Some(What::Gzip)) { packed(answer).await? } else { answer };
        if self.reset.load(Ordering::SeqCst) || matches!(fault, Some(What::SwallowReply)) {
            return cut();
        }
        entry.answered(answer.status().as_u16(), answer.headers());
        Ok(self.shaped(answer, &entry, going_on, fault))
    }

    /// The answer as it leaves: its body counted, and what the fault does to it.
    fn shaped(
        &self,
        answer: Response<s3s::Body>,
        entry: &Arc<Entry>,
        going_on: GoingOn,
        fault: Option<What>,
    ) -> Response<Leaving> {
        let (mut head, inner) = answer.into_parts();
        let declared = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let declared = declared.or(inner.size_hint().exact()).unwrap_or(0);
        let mut body = Leaving::new(inner, Arc::clone(entry), going_on);
        let reset = Arc::clone(&self.reset);
        match fault {
            Some(What::TruncateBody(after)) => body.end = Some((after, End::Cut(Box::new(|| {})))),
            Some(What::ResetBody(after)) => {
                body.end = Some((after, End::Cut(Box::new(move || reset.store(true, Ordering::SeqCst)))));
            }
            Some(What::StallBody(after)) => body.end = Some((after, End::Never)),
            Some(What::MidBody(after, change)) => {
                let (store, entry) = (Arc::clone(&self.wire.store), Arc::clone(entry));
                let first = move || change.apply(&mut store.lock().expect("whole"), entry.request());
                body.end = Some((after, End::Cut(Box::new(first))));
            }
            Some(What::Chunked { ends_after }) => {
                head.headers.remove(CONTENT_LENGTH);
                body.measured = false;
                body.end = ends_after.map(|after| (after, End::Clean));
                return Response::from_parts(head, body);
            }
            Some(What::ExtendBody(more)) => body.extra = more,
            Some(What::Gzip) => {
                body.measured = false;
                return Response::from_parts(head, body);
            }
            Some(What::Drip { bytes, every }) => body.drip = Some((bytes, every)),
            Some(What::FlipResponse(bit)) => body.flip = Some(bit % (declared * 8).max(1)),
            Some(What::Header(name, value)) => {
                let value = HeaderValue::from_str(&value).expect("a header");
                head.headers.insert(HeaderName::from_static(name), value);
            }
            _ => {}
        }
        if (body.end.is_some() || body.extra > 0) && entry.request().method != Method::HEAD {
            // hyper would take the length from the body, and the body no longer has the one that is declared.
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(declared + body.extra));
            body.measured = false;
        }
        Response::from_parts(head, body)
    }
}
