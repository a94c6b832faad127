//! Bodies on their way in and out: counted, and spoilt where a fault says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;

use super::log::{Entry, GoingOn};

/// Time for what was written to leave before the connection goes.
const FLUSH: Duration = Duration::from_millis(20);

fn flipped(bytes: Bytes, at: u64, bit: Option<u64>) -> Bytes {
    let Some(bit) = bit.filter(|bit| (at..at + bytes.len() as u64).contains(&(bit / 8))) else { return bytes };
    let mut changed = BytesMut::from(bytes.as_ref());
    changed[usize::try_from(bit / 8 - at).expect("64 bits")] ^= 1 << (bit % 8);
    changed.freeze()
}

/// A request's body.
pub struct Arriving {
    pub inner: Incoming,
    pub entry: Arc<Entry>,
    pub at: u64,
    pub flip: Option<u64>,
    /// After so many bytes the connection is to be reset, and this says so.
    pub reset: Option<(u64, Arc<AtomicBool>)>,
    pub stall: Option<u64>,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.stall.is_some_and(|after| this.at >= after) {
            return Poll::Pending;
        }
        if let Some((_, cut)) = this.reset.as_ref().filter(|(after, _)| this.at >= *after) {
            cut.store(true, Ordering::SeqCst);
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(io::Error::other)?;
        let frame = frame.map_data(|bytes| {
            this.entry.add_in(bytes.len());
            let changed = flipped(bytes, this.at, this.flip);
            this.at += changed.len() as u64;
            changed
        });
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How a body ends before its time.
pub enum End {
    /// As if that were all.
    Clean,
    /// With the connection; what is given runs just before.
    Cut(Box<dyn FnOnce() + Send>),
    Never,
}

/// An answer's body.
pub struct Leaving {
    pub inner: s3s::Body,
    pub entry: Arc<Entry>,
    pub at: u64,
    pub flip: Option<u64>,
    pub end: Option<(u64, End)>,
    /// Zeros after the end.
    pub extra: u64,
    pub drip: Option<(usize, Duration)>,
    /// Whether the body's length may be told to hyper.
    pub measured: bool,
    /// What a drip has not yet let go.
    pub kept: Bytes,
    pub sleep: Option<Pin<Box<Sleep>>>,
    pub going_on: Option<GoingOn>,
}

impl Leaving {
    pub fn new(inner: s3s::Body, entry: Arc<Entry>, going_on: GoingOn) -> Self {
        Self {
            inner,
            entry,
            at: 0,
            flip: None,
            end: None,
            extra: 0,
            drip: None,
            measured: true,
            kept: Bytes::new(),
            sleep: None,
            going_on: Some(going_on),
        }
    }

    fn rest(&mut self, context: &mut Context<'_>, duration: Duration) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(duration)));
        ready!(sleep.as_mut().poll(context));
        self.sleep = None;
        Poll::Ready(())
    }

    /// The next bytes, as they would be without an end before their time.
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if !self.kept.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.kept))));
        }
        loop {
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None if self.extra > 0 => {
                    let zeros = self.extra.min(64 << 10);
                    self.extra -= zeros;
                    let zeros = usize::try_from(zeros).expect("64 bits");
                    return Poll::Ready(Some(Ok(Bytes::from(vec![0; zeros]))));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if this.end.as_ref().is_some_and(|(after, _)| this.at >= *after) {
            match &this.end {
                Some((_, End::Clean)) => return Poll::Ready(None),
                Some((_, End::Never)) => return Poll::Pending,
                _ => {}
            }
            ready!(this.rest(context, FLUSH));
            if let Some((_, End::Cut(first))) = this.end.take() {
                first();
            }
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
        }
        if let Some((_, every)) = this.drip {
            ready!(this.rest(context, every));
        }
        let Some(bytes) = ready!(this.next(context)) else {
            this.going_on = None;
            return Poll::Ready(None);
        };
        let mut bytes = bytes?;
        let end = this.end.as_ref().map(|(after, _)| usize::try_from(after - this.at).expect("64 bits"));
        let most = this.drip.map(|(bytes, _)| bytes);
        if let Some(most) = end.into_iter().chain(most).min().filter(|most| *most < bytes.len()) {
            this.kept = bytes.split_off(most);
        }
        let bytes = flipped(bytes, this.at, this.flip);
        this.at += bytes.len() as u64;
        this.entry.add_out(bytes.len());
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.measured && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.measured { self.inner.size_hint() } else { SizeHint::default() }
    }
}
