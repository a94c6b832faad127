//! What can go wrong on purpose, with which requests, and how often.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;

use super::content::{Content, Digests};
use super::log::{Operation, Request};
use super::store::Store;

/// Which requests are meant; all of them until something narrows it.
#[derive(Debug, Clone, Default)]
pub struct On {
    operation: Option<Operation>,
    bucket: Option<String>,
    key: Option<String>,
    part: Option<u32>,
    nth: Nth,
}

/// Which of the requests that are meant, counted from 1.
#[derive(Debug, Clone, Default)]
enum Nth {
    #[default]
    All,
    Only(RangeInclusive<u64>),
    Chance {
        percent: u64,
        state: u64,
    },
}

impl On {
    pub fn any() -> Self {
        Self::default()
    }

    pub fn the(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::default() }
    }

    pub fn bucket(self, name: &str) -> Self {
        Self { bucket: Some(name.to_owned()), ..self }
    }

    /// Keys that have this in them.
    pub fn key(self, part_of_key: &str) -> Self {
        Self { key: Some(part_of_key.to_owned()), ..self }
    }

    pub fn part(self, number: u32) -> Self {
        Self { part: Some(number), ..self }
    }

    /// The first of them only.
    pub fn once(self) -> Self {
        self.nth(1..=1)
    }

    pub fn nth(self, which: RangeInclusive<u64>) -> Self {
        Self { nth: Nth::Only(which), ..self }
    }

    /// Each of them with a chance; the same seed, the same choice.
    pub fn chance(self, percent: u64, seed: u64) -> Self {
        Self { nth: Nth::Chance { percent, state: seed | 1 }, ..self }
    }

    pub fn matches(&self, request: &Request) -> bool {
        self.operation.is_none_or(|operation| operation == request.operation)
            && self.bucket.as_ref().is_none_or(|bucket| request.bucket == *bucket)
            && self.key.as_ref().is_none_or(|key| request.key.contains(key.as_str()))
            && self.part.is_none_or(|part| request.part == Some(part))
    }
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// The answer is declared whole; after so many bytes of its body the connection is closed.
    TruncateBody(u64),
    /// The same, but the connection is reset.
    ResetBody(u64),
    /// After so many bytes of the body nothing more comes.
    StallBody(u64),
    /// The body goes on for so many bytes more than the object has, and says so.
    ExtendBody(u64),
    /// The body comes in small pieces, each after a while.
    Drip { bytes: usize, every: Duration },
    /// No `Content-Length`; if told so, a clean end after so many bytes.
    Chunked { ends_after: Option<u64> },
    /// A bit of the body that is sent.
    FlipResponse(u64),
    /// A bit of the body that arrives, before the server looks at it.
    FlipRequest(u64),
    /// A bit of what is stored, after the server has checked it and says that all is well.
    FlipStored(u64),
    /// 200, and an error in the body; nothing is done.
    ErrorInOk { code: &'static str },
    /// An error, after the request's body has been read; nothing is done.
    Status { status: u16, code: &'static str, retry_after: Option<String> },
    /// A redirect to another place.
    Redirect { status: u16, location: String },
    /// The connection is reset before anything is read or answered.
    Reset,
    /// The connection is reset after so many bytes of the request's body.
    ResetAfter(u64),
    /// The request is read, and never answered.
    Stall,
    /// After so many bytes the request's body is read no further.
    StallReading(u64),
    /// The work is done; the connection is closed without an answer.
    SwallowReply,
    /// The answer comes late.
    Delay(Duration),
    /// What the request is about changes before it is looked at.
    Before(Change),
    /// What the request is about changes after so many bytes of the body, and the connection is closed.
    MidBody(u64, Change),
    /// 200 and nothing; nothing is done.
    EmptyOk,
    /// 200 and a page that wants a password; nothing is done.
    HtmlBody,
    /// 200 and the whole object, whatever range was asked for.
    IgnoreRange,
    /// Something on the way packs the body, says so, and does not know how long it will be.
    Gzip,
    /// A header of the answer says something else.
    Header(&'static str, String),
}

impl What {
    /// An error that says no more than its code.
    pub fn status(status: u16, code: &'static str) -> Self {
        Self::Status { status, code, retry_after: None }
    }

    pub fn slow_down(retry_after: &str) -> Self {
        Self::Status { status: 503, code: "SlowDown", retry_after: Some(retry_after.to_owned()) }
    }
}

/// What somebody else does to what a request is about.
#[derive(Clone)]
pub enum Change {
    /// Another object under the key.
    Object(Bytes),
    DeleteObject,
    DropUpload,
    DropPart(u32),
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Object(bytes) => write!(f, "Object({} bytes)", bytes.len()),
            Self::DeleteObject => write!(f, "DeleteObject"),
            Self::DropUpload => write!(f, "DropUpload"),
            Self::DropPart(number) => write!(f, "DropPart({number})"),
        }
    }
}

impl Change {
    pub fn apply(&self, store: &mut Store, request: &Request) {
        let new = match self {
            Self::Object(bytes) => {
                let content = Content::from(bytes.clone());
                let digests = Digests::of(&content);
                let headers = store.buckets.get(&request.bucket).and_then(|bucket| bucket.objects.get(&request.key));
                let headers = headers.map(|object| object.headers.clone()).unwrap_or_default();
                Some(store.object(content, &digests, headers, None))
            }
            _ => None,
        };
        let Some(bucket) = store.buckets.get_mut(&request.bucket) else { return };
        let upload = request.upload_id.as_ref();
        match self {
            Self::Object(_) => {
                bucket.objects.extend(new.map(|object| (request.key.clone(), object)));
            }
            Self::DeleteObject => {
                bucket.objects.remove(&request.key);
            }
            Self::DropUpload => {
                upload.and_then(|id| bucket.uploads.remove(id));
            }
            Self::DropPart(number) => {
                upload.and_then(|id| bucket.uploads.get_mut(id)).and_then(|upload| upload.parts.remove(number));
            }
        }
    }
}

struct Fault {
    on: On,
    what: What,
    /// Requests that it was about, whether it struck them or not.
    seen: u64,
    struck: u64,
}

/// A fault that was told to a server.
#[derive(Debug, Clone, Copy)]
pub struct FaultId(usize);

#[derive(Default)]
pub struct Faults(Mutex<Vec<Option<Fault>>>);

impl Faults {
    pub fn add(&self, on: On, what: What) -> FaultId {
        let mut faults = self.0.lock().expect("whole");
        faults.push(Some(Fault { on, what, seen: 0, struck: 0 }));
        FaultId(faults.len() - 1)
    }

    /// From now on it strikes nothing; what it struck stays counted.
    pub fn end(&self, fault: FaultId) {
        if let Some(fault) = &mut self.0.lock().expect("whole")[fault.0] {
            fault.on.nth = Nth::Only(0..=0);
        }
    }

    pub fn clear(&self) {
        self.0.lock().expect("whole").iter_mut().for_each(|fault| *fault = None);
    }

    pub fn strikes(&self, fault: FaultId) -> u64 {
        self.0.lock().expect("whole")[fault.0].as_ref().map_or(0, |fault| fault.struck)
    }

    /// What strikes a request: the first that is due; the others count it all the same.
    pub fn strike(&self, request: &Request) -> Option<What> {
        let mut strikes = None;
        for fault in self.0.lock().expect("whole").iter_mut().flatten().filter(|fault| fault.on.matches(request)) {
            fault.seen += 1;
            let due = match &mut fault.on.nth {
                Nth::All => true,
                Nth::Only(which) => which.contains(&fault.seen),
                Nth::Chance { percent, state } => {
                    // xorshift64
                    *state ^= *state << 13;
                    *state ^= *state >> 7;
                    *state ^= *state << 17;
                    *state % 100 < *percent
                }
            };
            if due && strikes.is_none() {
                fault.struck += 1;
                strikes = Some(fault.what.clone());
            }
        }
        strikes
    }
}
