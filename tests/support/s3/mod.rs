//! An S3 server in the test's own process, as strict as S3, that can be told to misbehave.
//!
//! It verifies signatures (headers and presigned URLs), conditions, part lists and checksums, keeps what it is given in
//! memory, and writes down every request. [`S3Server::fault`] spoils requests, [`S3Server::hold`] lets them wait.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, reason = "each test binary uses its part of it")]

mod bodies;
mod content;
mod faults;
mod gates;
mod lists;
mod log;
mod operations;
mod serve;
mod service;
mod store;
mod wire;

pub use serve::Tls;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

pub use content::{Content, Digests, Made};
pub use faults::{Change, FaultId, On, What};
pub use gates::Gate;
pub use log::{Count, Operation, Request, Signature};
pub use service::Conditions;
pub use store::{Checksum, Headers, Keep, Object};

use faults::Faults;
use gates::Gates;
use log::Log;
use service::Service;
use store::{Dialect, Store};
use wire::Wire;

/// What differs from one server to the next.
#[derive(Debug, Clone)]
pub struct Options {
    pub buckets: Vec<&'static str>,
    pub access_key_id: &'static str,
    pub secret_access_key: &'static str,
    /// Further pairs that may sign.
    pub more_keys: Vec<(&'static str, &'static str)>,
    /// `ETag`s that are no MD5.
    pub opaque: bool,
    /// Whether checksums are computed, compared and shown; an older store does none of it.
    pub echo_checksums: bool,
    pub conditions: Conditions,
    /// Entries of a page of any listing.
    pub page_size: usize,
    /// Bytes that every part but the last must have.
    pub part_size_min: u64,
    /// What every request waits.
    pub latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            buckets: vec!["backups"],
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            more_keys: Vec::new(),
            opaque: false,
            echo_checksums: true,
            conditions: Conditions::Honoured,
            page_size: 1000,
            part_size_min: 5 << 20,
            latency: Duration::ZERO,
        }
    }
}

/// An upload that was begun, and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    pub key: String,
    pub id: String,
    pub bytes: u64,
    pub parts: Vec<u32>,
}

/// An upload of which nobody can learn.
pub struct HiddenUpload {
    id: String,
    upload: store::Upload,
}

/// A server on a port of its own, until it is dropped.
pub struct S3Server {
    options: Options,
    address: SocketAddr,
    tls: Option<serve::Tls>,
    wire: Arc<Wire>,
    accepting: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl S3Server {
    pub fn start(options: Options) -> Self {
        Self::started(options, None)
    }

    /// Speaks TLS, with a certificate that only [`S3Server::ca_pem`] vouches for.
    pub fn start_tls(options: Options) -> Self {
        Self::started(options, Some(serve::Tls::new()))
    }

    fn started(options: Options, tls: Option<serve::Tls>) -> Self {
        let dialect = Dialect { opaque: options.opaque, checksums: options.echo_checksums };
        let store = Arc::new(Mutex::new(Store::new(&options.buckets, dialect)));
        let service = Service {
            store: Arc::clone(&store),
            conditions: options.conditions,
            page_size: options.page_size,
            part_size_min: options.part_size_min,
        };
        let mut auth = SimpleAuth::from_single(options.access_key_id, options.secret_access_key);
        for (id, secret) in &options.more_keys {
            auth.register((*id).to_owned(), (*secret).into());
        }
        let mut builder = S3ServiceBuilder::new(service);
        builder.set_auth(auth);
        let wire = Wire {
            service: builder.build(),
            log: Arc::default(),
            faults: Faults::default(),
            gates: Gates::default(),
            store,
            latency: Mutex::new(options.latency),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let runtime = Some(runtime.expect("a runtime"));
        let mut server = Self { options, address, tls, wire: Arc::new(wire), accepting: None, runtime };
        server.reopen();
        server
    }

    /// Stops listening, and cuts every connection: the store is down.
    pub fn close(&mut self) {
        let accepting = self.accepting.take();
        accepting.iter().for_each(JoinHandle::abort);
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        // Its end means that the socket and all connections are gone.
        let (gone, wait) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            if let Some(accepting) = accepting {
                let _ = accepting.await;
            }
            let _ = gone.send(());
        });
        wait.recv().expect("the server ends");
    }

    /// Listens again, on the same port.
    pub fn reopen(&mut self) {
        let runtime = self.runtime.as_ref().expect("until it is dropped");
        let (address, accepting) =
            serve::listen(runtime, self.address, Arc::clone(&self.wire), self.tls.as_ref().map(serve::Tls::acceptor));
        self.address = address;
        self.accepting = Some(accepting);
    }

    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.address.port())
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What vouches for the certificate.
    ///
    /// # Panics
    /// If the server speaks no TLS.
    pub fn ca_pem(&self) -> &str {
        &self.tls.as_ref().expect("started with TLS").ca_pem
    }

    pub fn access_key_id(&self) -> &str {
        self.options.access_key_id
    }

    pub fn secret_access_key(&self) -> &str {
        self.options.secret_access_key
    }

    pub fn set_latency(&self, latency: Duration) {
        *self.wire.latency.lock().expect("whole") = latency;
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.wire.store.lock().expect("whole")
    }

    /// Makes a bucket, empty.
    pub fn bucket(&self, name: &str) {
        self.store().buckets.insert(name.to_owned(), store::Bucket::default());
    }

    /// From now on a bucket keeps lengths and digests only.
    pub fn keep_digests_only(&self, bucket: &str) {
        self.in_bucket(bucket, |bucket| bucket.keep = Keep::Digests);
    }

    #[track_caller]
    fn in_bucket<T>(&self, name: &str, what: impl FnOnce(&mut store::Bucket) -> T) -> T {
        what(self.store().buckets.get_mut(name).expect("a bucket"))
    }

    /// Puts an object there, past all requests, as a single PUT would have.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>, headers: Headers) {
        self.put_content(bucket, key, Content::from(bytes.into()), headers);
    }

    /// Puts an object there that a formula makes.
    pub fn put_made(&self, bucket: &str, key: &str, size: u64, seed: u64) {
        self.put_content(bucket, key, Content::from(Made::new(size, seed)), Headers::default());
    }

    fn put_content(&self, bucket: &str, key: &str, content: Content, headers: Headers) {
        let digests = Digests::of(&content);
        let object = self.store().object(content, &digests, headers, None);
        self.in_bucket(bucket, |bucket| bucket.objects.insert(key.to_owned(), object));
    }

    /// Puts other bytes under a key, and keeps what travels with it.
    #[track_caller]
    pub fn rewrite(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) {
        let headers = self.get(bucket, key).expect("an object").headers;
        self.put(bucket, key, bytes, headers);
    }

    pub fn get(&self, bucket: &str, key: &str) -> Option<Object> {
        self.in_bucket(bucket, |bucket| bucket.objects.get(key).cloned())
    }

    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.in_bucket(bucket, |bucket| bucket.objects.keys().cloned().collect())
    }

    /// Whether there was one.
    pub fn delete(&self, bucket: &str, key: &str) -> bool {
        self.in_bucket(bucket, |bucket| bucket.objects.remove(key).is_some())
    }

    /// Turns a bit of a stored object over; its `ETag` and checksums stay what they were.
    #[track_caller]
    pub fn flip_bit(&self, bucket: &str, key: &str, bit: u64) {
        self.in_bucket(bucket, |bucket| bucket.objects.get_mut(key).expect("an object").content.flip(bit));
    }

    /// Keys of objects that requests have deleted.
    pub fn deleted(&self, bucket: &str) -> Vec<String> {
        self.in_bucket(bucket, |bucket| bucket.deleted.clone())
    }

    /// Keys under which a request has replaced an object, with their buckets.
    pub fn overwritten(&self) -> Vec<(String, String)> {
        self.store().overwritten.clone()
    }

    pub fn open_uploads(&self, bucket: &str) -> Vec<OpenUpload> {
        let open = |(id, upload): (&String, &store::Upload)| OpenUpload {
            key: upload.key.clone(),
            id: id.clone(),
            bytes: upload.bytes(),
            parts: upload.parts.keys().copied().collect(),
        };
        self.in_bucket(bucket, |bucket| bucket.uploads.iter().map(open).collect())
    }

    /// Begins an upload of somebody's, past all requests.
    pub fn begin_upload(&self, bucket: &str, key: &str) -> String {
        let id = self.store().fresh_id();
        let upload = store::Upload::new(key.to_owned(), Headers::default(), None);
        self.in_bucket(bucket, |bucket| bucket.uploads.insert(id.clone(), upload));
        id
    }

    /// Hides an upload, as if its request were still on its way.
    #[track_caller]
    pub fn hide_upload(&self, bucket: &str, id: &str) -> HiddenUpload {
        let upload = self.in_bucket(bucket, |bucket| bucket.uploads.remove(id)).expect("an upload");
        HiddenUpload { id: id.to_owned(), upload }
    }

    /// The request has arrived.
    pub fn show_upload(&self, bucket: &str, hidden: HiddenUpload) {
        self.in_bucket(bucket, |bucket| bucket.uploads.insert(hidden.id, hidden.upload));
    }

    /// Whether there was one.
    pub fn drop_upload(&self, bucket: &str, id: &str) -> bool {
        self.in_bucket(bucket, |bucket| bucket.uploads.remove(id).is_some())
    }

    /// Every request since the start or the last [`S3Server::clear_log`], in the order in which they came.
    pub fn requests(&self) -> Vec<Request> {
        self.wire.log.requests()
    }

    pub fn requests_of(&self, operation: Operation) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(|request| request.operation == operation);
        requests
    }

    pub fn counts(&self) -> BTreeMap<Operation, Count> {
        self.wire.log.counts()
    }

    pub fn count(&self, operation: Operation) -> Count {
        self.counts().get(&operation).copied().unwrap_or_default()
    }

    pub fn most_at_once(&self) -> usize {
        self.wire.log.most_at_once()
    }

    pub fn clear_log(&self) {
        self.wire.log.clear();
    }

    pub fn fault(&self, on: On, what: What) -> FaultId {
        self.wire.faults.add(on, what)
    }

    /// Requests that a fault has struck.
    pub fn strikes(&self, fault: FaultId) -> u64 {
        self.wire.faults.strikes(fault)
    }

    /// A fault strikes nothing more; what it struck stays counted.
    pub fn end_fault(&self, fault: FaultId) {
        self.wire.faults.end(fault);
    }

    pub fn clear_faults(&self) {
        self.wire.faults.clear();
    }

    /// Lets requests wait until the gate is released.
    pub fn hold(&self, on: On) -> Gate {
        self.wire.gates.hold(on)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.accepting.iter().for_each(JoinHandle::abort);
        // Not a wait: a test may drop it in a runtime of its own.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
