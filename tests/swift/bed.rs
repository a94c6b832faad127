//! A container of a test's own in region-one, the store under test, and a client that stands for everybody else.

use std::time::Duration;

use backhaul::id::Key;
use backhaul::openstack::{Auth, Cloud, Domain, Interface, OwnScope, Scope, Secret, Session, User};
use backhaul::store::{
    Account, Feed, Metadata, ObjectFacts, Pin, Source, StoreError, StoreErrorKind, StoredPart, SwiftOptions,
    SwiftStore, Target, Upload,
};
use backhaul::throttle::Throttle;
use bytes::Bytes;
use http::{HeaderMap, Method};
use md5::{Digest, Md5};
use tokio::sync::mpsc;

use crate::openstack::{ONE, OpenStack, Shared};

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
    /// The URL of the account.
    account: String,
    client: reqwest::Client,
}

/// What somebody else was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        std::str::from_utf8(value.as_bytes()).expect("UTF-8")
    }
}

pub(crate) fn options() -> SwiftOptions {
    SwiftOptions {
        identity: "swift:test#one/alpha".to_owned(),
        account: Account::Own,
        endpoint: None,
        container: None,
        storage_policy: None,
        page: Some(2),
        stall: Duration::from_secs(30),
    }
}

/// A session of a user of the lab, whose password is its name and `-pw`.
pub(crate) fn session(openstack: &OpenStack, user: &str, project: &str) -> Session {
    session_in(openstack, user, project, ONE)
}

/// The same, where endpoints are those of a region that there may not be.
pub(crate) fn session_in(openstack: &OpenStack, user: &str, project: &str, region: &str) -> Session {
    let default = || Domain::Id("default".to_owned());
    let cloud = Cloud {
        name: user.to_owned(),
        origin: "the test".to_owned(),
        auth_url: openstack.auth_url().parse().expect("a URL"),
        auth: Auth::Password {
            user: User::Name(user.to_owned(), default()),
            password: Secret::new(format!("{user}-pw")),
            scope: OwnScope::ProjectName(project.to_owned(), default()),
        },
        region_name: Some(region.to_owned()),
        interface: Interface::Public,
        cacert: None,
        verify: true,
        allows_http: false,
        endpoint_overrides: std::collections::BTreeMap::new(),
    };
    Session::open(cloud, Duration::from_secs(30)).expect("a session")
}

impl Bed {
    /// None where `OpenStack` is not installed. The container is named after the test, and is not there yet.
    pub(crate) fn new(test: &str) -> Option<Self> {
        Self::with(test, options())
    }

    pub(crate) fn with(test: &str, options: SwiftOptions) -> Option<Self> {
        let openstack = OpenStack::shared(test)?;
        let session = session(&openstack, TENANT, TENANT);
        let throttle = Throttle::unlimited();
        let store = SwiftStore::open(options, &session, &throttle);
        let account = openstack.account(ONE, TENANT);
        // Its TLS is the one that the session has installed.
        let client = reqwest::Client::new();
        let container = format!("swift-{}", test.replace('_', "-"));
        Some(Self { openstack, store, session, throttle, container, account, client })
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
        // A Keystone that has just started refuses to check tokens while it reads its rules.
        let mut is_second = false;
        loop {
            let token = self.session.token(&Scope::Own).await.expect("a token");
            let mut request = self.client.request(method.clone(), format!("{}/{path}", self.account));
            request = request.header("x-auth-token", token.header()).header("content-length", body.len());
            request = request.body(Bytes::copy_from_slice(body));
            for (name, value) in headers {
                request = request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            }
            let answer = request.send().await.expect("an answer");
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            if status != 401 || is_second {
                return Answer { status, headers, body: answer.bytes().await.expect("a body") };
            }
            self.session.rejected(&Scope::Own, &token);
            is_second = true;
        }
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
