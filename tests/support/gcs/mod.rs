//! The part of GCS's XML protocol that Backhaul speaks, in the memory of the test, as Google's documentation has it.
//! **Nobody here has seen the real one**: there is no server of it that could be started. What is taken from the pages
//! "XML API multipart uploads", "Hashes and entity tags", "Request preconditions" and "Transcoding of gzip-compressed files":
//! completing an upload replaces what is there and knows no condition, only single PUTs do
//! (`x-goog-if-generation-match`); objects of several parts have a CRC32C and no MD5, and their `ETag` says nothing; all
//! parts but the last have at least 5 MiB; who does not say that it takes gzip gets such objects unpacked. Credentials are not asked for.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses its part of it")]

mod answers;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use self::answers::{answer, error, list, parts_list, stored, uploads_list, whole};

type Answer = Response<Full<Bytes>>;

/// The least a part has that is not the last.
const PART_MIN: usize = 5 * 1024 * 1024;

struct Object {
    bytes: Bytes,
    /// With quotes.
    etag: String,
    /// Of single PUTs only.
    md5: Option<[u8; 16]>,
    headers: HeaderMap,
}

struct Upload {
    key: String,
    headers: HeaderMap,
    parts: BTreeMap<usize, Bytes>,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Makes tags and ids.
    counter: u64,
}

type Buckets = Arc<Mutex<BTreeMap<String, Bucket>>>;

/// Serves until it is dropped.
pub struct GcsServer {
    pub endpoint: String,
    buckets: Buckets,
    _runtime: Runtime,
}

impl GcsServer {
    pub fn start(buckets: &[&str]) -> Self {
        let named = buckets.iter().map(|name| ((*name).to_owned(), Bucket::default()));
        let buckets: Buckets = Arc::new(Mutex::new(named.collect()));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let served = Arc::clone(&buckets);
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let buckets = Arc::clone(&served);
                let service = service_fn(move |request| take(Arc::clone(&buckets), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { endpoint, buckets, _runtime: runtime }
    }

    pub fn open_uploads(&self) -> usize {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner).values().map(|bucket| bucket.uploads.len()).sum()
    }
}

async fn take(buckets: Buckets, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(error(400, "IncompleteBody")) };
    let body = body.to_bytes();
    let (bucket, key) = parts.uri.path()[1..].split_once('/').unwrap_or((&parts.uri.path()[1..], ""));
    let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
    let query: BTreeMap<String, String> =
        reqwest::Url::parse(&format!("http://h/?{}", parts.uri.query().unwrap_or_default()))
            .expect("a query")
            .query_pairs()
            .into_owned()
            .collect();
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(bucket) = buckets.get_mut(bucket) else { return Ok(error(404, "NoSuchBucket")) };
    Ok(match (&parts.method, key.is_empty(), query.contains_key("uploads"), query.get("uploadId")) {
        (&Method::GET, true, true, _) => uploads_list(bucket, &query),
        (&Method::GET, true, false, _) => list(bucket, &query),
        (&Method::POST, false, true, _) => bucket.begin(key, &parts.headers),
        (&Method::POST, false, false, Some(id)) => bucket.complete(id, &key, &body),
        (&Method::PUT, false, _, Some(id)) => bucket.part(id, &query, body),
        (&Method::GET, false, _, Some(id)) => parts_list(bucket, id, &query),
        (&Method::DELETE, false, _, Some(id)) => match bucket.uploads.remove(id) {
            Some(_) => answer(204, ""),
            None => error(404, "NoSuchUpload"),
        },
        (&Method::PUT, false, _, None) => bucket.put(key, &parts.headers, body),
        (method @ (&Method::GET | &Method::HEAD), false, _, None) => match bucket.objects.get(&key) {
            Some(object) => whole(object, &parts.headers, *method == Method::HEAD),
            None => error(404, "NoSuchKey"),
        },
        (&Method::DELETE, false, _, None) => match bucket.objects.remove(&key) {
            Some(_) => answer(204, ""),
            None => error(404, "NoSuchKey"),
        },
        _ => error(400, "InvalidArgument"),
    })
}

impl Bucket {
    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn put(&mut self, key: String, headers: &HeaderMap, bytes: Bytes) -> Answer {
        if headers.get("x-goog-if-generation-match").is_some_and(|value| value == "0")
            && self.objects.contains_key(&key)
        {
            return error(412, "PreconditionFailed");
        }
        let md5: [u8; 16] = Md5::digest(&bytes).into();
        let etag = format!("\"{}\"", answers::hex(&md5));
        let answer = stored(&etag, &bytes, Some(md5));
        self.objects.insert(key, Object { bytes, etag, md5: Some(md5), headers: travelling(headers) });
        answer
    }

    fn begin(&mut self, key: String, headers: &HeaderMap) -> Answer {
        let id = format!("upload-{}", self.next());
        let text = format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
        self.uploads.insert(id, Upload { key, headers: travelling(headers), parts: BTreeMap::new() });
        answer(200, &text)
    }

    fn part(&mut self, id: &str, query: &BTreeMap<String, String>, bytes: Bytes) -> Answer {
        let number = query.get("partNumber").and_then(|number| number.parse().ok()).filter(|number| *number >= 1);
        let Some(number) = number else { return error(400, "InvalidArgument") };
        let Some(upload) = self.uploads.get_mut(id) else { return error(404, "NoSuchUpload") };
        let md5: [u8; 16] = Md5::digest(&bytes).into();
        let answer = stored(&format!("\"{}\"", answers::hex(&md5)), &bytes, Some(md5));
        upload.parts.insert(number, bytes);
        answer
    }

    fn complete(&mut self, id: &str, key: &str, body: &[u8]) -> Answer {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.key == key) else {
            return error(404, "NoSuchUpload");
        };
        let body = String::from_utf8_lossy(body).replace("&quot;", "\"");
        let mut bytes = Vec::new();
        let listed: Vec<&str> = body.split("<Part>").skip(1).collect();
        for (index, part) in listed.iter().enumerate() {
            let number: Option<usize> = answers::element(part, "PartNumber").and_then(|number| number.parse().ok());
            let Some(there) = number.and_then(|number| upload.parts.get(&number)) else {
                return error(400, "InvalidPart");
            };
            let tag = format!("\"{}\"", answers::hex(&Md5::digest(there)));
            if answers::element(part, "ETag") != Some(&tag) {
                return error(400, "InvalidPart");
            }
            if index + 1 < listed.len() && there.len() < PART_MIN {
                return error(400, "EntityTooSmall");
            }
            bytes.extend_from_slice(there);
        }
        let etag = format!("\"opaque-{}\"", self.next());
        let upload = self.uploads.remove(id).expect("it was there");
        let object = Object { bytes: bytes.into(), etag: etag.clone(), md5: None, headers: upload.headers };
        self.objects.insert(upload.key, object);
        answer(200, &format!("<CompleteMultipartUploadResult><ETag>{etag}</ETag></CompleteMultipartUploadResult>"))
    }
}

/// What of a request travels with the object.
fn travelling(headers: &HeaderMap) -> HeaderMap {
    const KEPT: [&str; 5] =
        ["content-type", "content-encoding", "content-language", "content-disposition", "cache-control"];
    let kept = |name: &str| KEPT.contains(&name) || name.starts_with("x-goog-meta-");
    headers.iter().filter(|(name, _)| kept(name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
}
