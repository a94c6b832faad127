//! What was asked of the server, and what it cost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use hyper::{HeaderMap, Method, Uri};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    GetObject,
    HeadObject,
    PutObject,
    CopyObject,
    DeleteObject,
    DeleteObjects,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    ListObjects,
    HeadBucket,
    Other,
}

/// How a request said who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    None,
    Header,
    Presigned,
}

/// Headers that tests look at.
const OF_INTEREST: &[&str] = &["if-match", "if-none-match", "range", "content-md5", "accept-encoding"];

/// One request, as it stands now.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    /// The same in milliseconds since 1970.
    pub at_ms: u64,
    /// When its answer had left, or was given up; none while it goes on.
    pub ended_ms: Option<u64>,
    /// The other end of its connection.
    pub peer: SocketAddr,
    /// Whose key has signed it.
    pub access_key_id: Option<String>,
    pub method: Method,
    pub operation: Operation,
    pub bucket: String,
    pub key: String,
    pub part: Option<u32>,
    pub upload_id: Option<String>,
    pub query: BTreeMap<String, String>,
    /// Conditions, ranges, checksums, metadata; names in lower case.
    pub headers: BTreeMap<String, String>,
    pub signature: Signature,
    /// Bytes of the body that arrived.
    pub bytes_in: u64,
    /// Bytes of the body that were sent.
    pub bytes_out: u64,
    /// None if there was no answer.
    pub status: Option<u16>,
    /// As the answer had it.
    pub retry_after: Option<String>,
    /// The fault that struck it.
    pub fault: Option<String>,
}

/// In milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 292 million")
}

/// Whose key has signed: a credential begins with it.
fn access_key_id(query: &BTreeMap<String, String>, headers: &HeaderMap) -> Option<String> {
    let header = || headers.get(hyper::header::AUTHORIZATION)?.to_str().ok()?.split_once("Credential=").map(|it| it.1);
    let credential = query.get("X-Amz-Credential").map(String::as_str).or_else(header)?;
    credential.split('/').next().map(str::to_owned)
}

impl Request {
    pub fn new(peer: SocketAddr, method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        let query: BTreeMap<String, String> = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let path = uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let copied = headers.contains_key("x-amz-copy-source");
        let operation = operation(method, bucket, key, &query, copied);
        let signature = if query.contains_key("X-Amz-Signature") {
            Signature::Presigned
        } else if headers.contains_key(hyper::header::AUTHORIZATION) {
            Signature::Header
        } else {
            Signature::None
        };
        let access_key_id = access_key_id(&query, headers);
        let wanted = |name: &str| {
            OF_INTEREST.contains(&name) || name.starts_with("x-amz-checksum-") || name.starts_with("x-amz-meta-")
        };
        let headers = headers
            .iter()
            .filter(|(name, _)| wanted(name.as_str()))
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        Self {
            at: Instant::now(),
            at_ms: now_ms(),
            ended_ms: None,
            peer,
            access_key_id,
            method: method.clone(),
            operation,
            bucket: decoded(bucket),
            key: decoded(key),
            part: query.get("partNumber").and_then(|number| number.parse().ok()),
            upload_id: query.get("uploadId").cloned(),
            query,
            headers,
            signature,
            bytes_in: 0,
            bytes_out: 0,
            status: None,
            retry_after: None,
            fault: None,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

fn operation(method: &Method, bucket: &str, key: &str, query: &BTreeMap<String, String>, copied: bool) -> Operation {
    let has = |name: &str| query.contains_key(name);
    match (method.as_str(), bucket.is_empty(), key.is_empty()) {
        ("GET", false, false) if has("uploadId") => Operation::ListParts,
        ("GET", false, false) => Operation::GetObject,
        ("HEAD", false, false) => Operation::HeadObject,
        ("PUT", false, false) if has("uploadId") => Operation::UploadPart,
        ("PUT", false, false) if copied => Operation::CopyObject,
        ("PUT", false, false) => Operation::PutObject,
        ("POST", false, false) if has("uploads") => Operation::CreateMultipartUpload,
        ("POST", false, false) if has("uploadId") => Operation::CompleteMultipartUpload,
        ("DELETE", false, false) if has("uploadId") => Operation::AbortMultipartUpload,
        ("DELETE", false, false) => Operation::DeleteObject,
        ("GET", false, true) if has("uploads") => Operation::ListMultipartUploads,
        ("GET", false, true) => Operation::ListObjects,
        ("HEAD", false, true) => Operation::HeadBucket,
        ("POST", false, true) if has("delete") => Operation::DeleteObjects,
        _ => Operation::Other,
    }
}

/// Percent-encoding undone.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| *first == b'%');
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One request while it is going on.
pub struct Entry {
    request: Request,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    status: AtomicU16,
    /// 0 while it goes on.
    ended_ms: AtomicU64,
    retry_after: Mutex<Option<String>>,
    fault: Mutex<Option<String>>,
}

impl Entry {
    pub fn request(&self) -> &Request {
        &self.request
    }

    pub fn add_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub fn add_out(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub fn answered(&self, status: u16, headers: &HeaderMap) {
        let retry_after = headers.get(hyper::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        *self.retry_after.lock().expect("whole") = retry_after.map(str::to_owned);
        self.status.store(status, Ordering::SeqCst);
    }

    pub fn struck_by(&self, fault: String) {
        *self.fault.lock().expect("whole") = Some(fault);
    }

    fn snapshot(&self) -> Request {
        Request {
            bytes_in: self.bytes_in.load(Ordering::SeqCst),
            bytes_out: self.bytes_out.load(Ordering::SeqCst),
            status: Some(self.status.load(Ordering::SeqCst)).filter(|status| *status > 0),
            ended_ms: Some(self.ended_ms.load(Ordering::SeqCst)).filter(|ended_ms| *ended_ms > 0),
            retry_after: self.retry_after.lock().expect("whole").clone(),
            fault: self.fault.lock().expect("whole").clone(),
            ..self.request.clone()
        }
    }
}

/// How often an operation was asked for, and how many bytes of bodies went in and out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

#[derive(Default)]
pub struct Log {
    entries: Mutex<Vec<Arc<Entry>>>,
    going_on: Mutex<(usize, usize)>,
}

impl Log {
    pub fn begin(&self, request: Request) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            request,
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            status: AtomicU16::new(0),
            ended_ms: AtomicU64::new(0),
            retry_after: Mutex::default(),
            fault: Mutex::default(),
        });
        self.entries.lock().expect("whole").push(Arc::clone(&entry));
        entry
    }

    pub fn requests(&self) -> Vec<Request> {
        self.entries.lock().expect("whole").iter().map(|entry| entry.snapshot()).collect()
    }

    pub fn clear(&self) {
        self.entries.lock().expect("whole").clear();
        let mut going_on = self.going_on.lock().expect("whole");
        going_on.1 = going_on.0;
    }

    pub fn counts(&self) -> BTreeMap<Operation, Count> {
        let mut counts: BTreeMap<Operation, Count> = BTreeMap::new();
        for request in self.requests() {
            let count = counts.entry(request.operation).or_default();
            count.requests += 1;
            count.bytes_in += request.bytes_in;
            count.bytes_out += request.bytes_out;
        }
        counts
    }

    /// The most requests that were being answered at one time.
    pub fn most_at_once(&self) -> usize {
        self.going_on.lock().expect("whole").1
    }

    /// Counts a request as going on until what is returned is dropped.
    pub fn enter(self: &Arc<Self>, entry: &Arc<Entry>) -> GoingOn {
        let mut going_on = self.going_on.lock().expect("whole");
        going_on.0 += 1;
        going_on.1 = going_on.1.max(going_on.0);
        GoingOn(Arc::clone(self), Arc::clone(entry))
    }
}

pub struct GoingOn(Arc<Log>, Arc<Entry>);

impl Drop for GoingOn {
    fn drop(&mut self) {
        self.0.going_on.lock().expect("whole").0 -= 1;
        self.1.ended_ms.store(now_ms(), Ordering::SeqCst);
    }
}
