//! A container of a test's own in region-one, the store under test, and a client that stands for everybody else.

use std::time::Duration;

use backhaul::id::Key;
use backhaul::openstack::Session;
use backhaul::store::{
    Feed, Metadata, ObjectFacts, Pin, Source, StoreError, StoreErrorKind, StoredPart, SwiftOptions, SwiftStore, Target,
    Upload,
};
use backhaul::throttle::Throttle;
use bytes::Bytes;
use http::Method;
use md5::{Digest, Md5};
use tokio::sync::mpsc;

use crate::openstack::{ONE, OpenStack, Shared};
use crate::session::{Account, Answer, session};

/// The tenant whose account the tests share; each has a container of its own.
pub(crate) const TENANT: &str = "alpha";

/// Attempts of ours, and one of somebody else's.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const OTHER: &str = "fedcba9876543210fedcba9876543210";

pub(crate) struct Bed {
    pub(crate) openstack: Shared,
    pub(crate) store: SwiftStore,
    pub(crate) session: Session,
    pub(crate) throttle: Throttle,
    pub(crate) container: String,
    account: Account,
}

pub(crate) fn options() -> SwiftOptions {
    SwiftOptions {
        identity: "swift:test#one/alpha".to_owned(),
        account: backhaul::store::Account::Own,
        endpoint: None,
        container: None,
        storage_policy: None,
        page: Some(2),
        stall: Duration::from_secs(30),
    }
}

impl Bed {
    /// None where `OpenStack` is not installed. The container is named after the test, and is not there yet.
    pub(crate) fn new(test: &str) -> Option<Self> {
        Self::with(test, options())
    }

    pub(crate) fn with(test: &str, options: SwiftOptions) -> Option<Self> {
        let openstack = OpenStack::shared(test)?;
        let session = session(&openstack, ONE, TENANT, Some(TENANT));
        let throttle = Throttle::unlimited();
        let store = SwiftStore::open(options, &session, &throttle);
        let account = Account::new(session.clone(), openstack.account(ONE, TENANT));
        let container = format!("swift-{}", test.replace('_', "-"));
        Some(Self { openstack, store, session, throttle, container, account })
    }

    /// As another process would: nothing is known but what the store shows.
    pub(crate) fn another_process(&self) -> SwiftStore {
        SwiftStore::open(options(), &self.session, &self.throttle)
    }

    pub(crate) fn key(&self, object: &str) -> Key {
        Key::parse(&format!("{}/{object}", self.container)).expect("a key")
    }

    /// Somebody else's request; `path` is below the account.
    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.account.ask(&method, path, headers, body).await
    }

    /// Somebody else writes an object into the container, which is made if need be.
    pub(crate) async fn write(&self, object: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let made = self.ask(Method::PUT, &self.container, &[], b"").await;
        assert!(matches!(made.status, 201 | 202), "{made:?}");
        let answer = self.ask(Method::PUT, &format!("{}/{object}", self.container), headers, body).await;
        assert!(matches!(answer.status, 201 | 202), "{answer:?}");
        answer
    }

    pub(crate) async fn see(&self, object: &str) -> Answer {
        self.ask(Method::HEAD, &format!("{}/{object}", self.container), &[], b"").await
    }

    /// Somebody else writes a manifest over objects of the container.
    pub(crate) async fn write_manifest(&self, object: &str, lines: &str) -> Answer {
        let lines = lines.replace("CONTAINER", &self.container);
        self.write(&format!("{object}?multipart-manifest=put"), &[], lines.as_bytes()).await
    }

    /// The names of all objects of the container, as a listing has them.
    pub(crate) async fn names(&self) -> Vec<String> {
        let answer = self.ask(Method::GET, &self.container, &[], b"").await;
        String::from_utf8(answer.body.into()).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    pub(crate) async fn head(&self, object: &str) -> ObjectFacts {
        self.store.head(&self.key(object)).await.expect("it is there")
    }

    /// All of an object, in reads of so many bytes, pinned to what it is now.
    pub(crate) async fn read(&self, object: &str, step: u64) -> Result<Vec<u8>, StoreError> {
        let facts = self.store.head(&self.key(object)).await?;
        let pin = Pin { etag: facts.etag, size: facts.size };
        let mut bytes = Vec::new();
        let mut start = 0;
        while start < pin.size {
            let end = pin.size.min(start + step);
            bytes.extend(self.store.read(&self.key(object), start..end, &pin, &|_| ()).await?.bytes);
            start = end;
        }
        Ok(bytes)
    }

    /// Sends segments as streams.
    pub(crate) async fn send(&self, upload: &Upload, segments: &[&[u8]]) -> Vec<StoredPart> {
        let mut parts = Vec::new();
        for (number, segment) in (0..).zip(segments) {
            let sent = self.store.part_streamed(upload, number, feed(segment, Some(md5(segment)))).await;
            parts.push(sent.expect("a segment"));
        }
        parts
    }

    /// Every object of the container goes, and the container.
    pub(crate) async fn clear(self) {
        for name in self.names().await {
            self.ask(Method::DELETE, &format!("{}/{name}", self.container), &[], b"").await;
        }
        self.ask(Method::DELETE, &self.container, &[], b"").await;
    }
}

pub(crate) fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

pub(crate) fn hex(md5: [u8; 16]) -> String {
    md5.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// The `ETag` of a manifest over these.
pub(crate) fn manifest_etag(segments: &[&[u8]]) -> String {
    hex(md5(segments.iter().map(|segment| hex(md5(segment))).collect::<String>().as_bytes()))
}

/// A stream of bytes, in a few chunks.
pub(crate) fn feed(bytes: &[u8], md5: Option<[u8; 16]>) -> Feed {
    feed_of(bytes.len() as u64, bytes, md5)
}

/// A stream of which `size` bytes are announced, and these come.
pub(crate) fn feed_of(size: u64, bytes: &[u8], md5: Option<[u8; 16]>) -> Feed {
    let (sender, chunks) = mpsc::channel(2);
    let bytes = Bytes::copy_from_slice(bytes);
    tokio::spawn(async move {
        for chunk in bytes.chunks(300_000) {
            if sender.send(bytes.slice_ref(chunk)).await.is_err() {
                return;
            }
        }
    });
    Feed { size, md5, chunks }
}

pub(crate) fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind, words: &str) {
    let error = result.expect_err("it is refused");
    assert!(error.kind == kind && error.message.contains(words), "{:?} {error}", error.kind);
}
