//! A client that stands for everybody else: what lies in a tenant's account, and what others have put there.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use backhaul::openstack::{Auth, Cloud, Domain, Interface, OwnScope, Scope, Secret, Session, User};
use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::runtime::Runtime;

use crate::openstack::OpenStack;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// A tenant's account in one region, as the tenant's own user reaches it.
pub(crate) struct Account {
    session: Session,
    client: reqwest::Client,
    url: String,
}

/// What Swift said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Its headers of these names' beginnings.
    pub(crate) fn headers(&self, beginnings: &[&str]) -> BTreeMap<String, String> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let all = self.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
        all.filter(|(name, _)| beginnings.iter().any(|beginning| name.starts_with(beginning))).collect()
    }
}

impl Account {
    pub(crate) fn of(openstack: &OpenStack, region: &str, tenant: &str) -> Self {
        let default = || Domain::Id("default".to_owned());
        let cloud = Cloud {
            name: tenant.to_owned(),
            origin: "the test".to_owned(),
            auth_url: openstack.auth_url().parse().expect("a URL"),
            auth: Auth::Password {
                user: User::Name(tenant.to_owned(), default()),
                password: Secret::new(format!("{tenant}-pw")),
                scope: OwnScope::ProjectName(tenant.to_owned(), default()),
            },
            region_name: Some(region.to_owned()),
            interface: Interface::Public,
            cacert: None,
            verify: true,
            allows_http: false,
            endpoint_overrides: BTreeMap::new(),
        };
        let session = Session::open(cloud, Duration::from_secs(30)).expect("a session");
        // Its TLS is the one that the session has installed.
        Self { session, client: reqwest::Client::new(), url: openstack.account(region, tenant) }
    }

    /// `path` is below the account.
    pub(crate) fn ask(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        RUNTIME.block_on(async {
            let mut is_second = false;
            loop {
                let token = self.session.token(&Scope::Own).await.expect("a token");
                let request = self.client.request(method.clone(), format!("{}/{path}", self.url));
                let request = request.header("x-auth-token", token.header()).header("content-length", body.len());
                let answer = request.body(Bytes::copy_from_slice(body)).send().await.expect("an answer");
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                if status != 401 || is_second {
                    return Answer { status, headers, body: answer.bytes().await.expect("a body") };
                }
                self.session.rejected(&Scope::Own, &token);
                is_second = true;
            }
        })
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        let answer = self.ask(&Method::GET, path, b"");
        assert!(answer.status == 200, "{path}: {} {:?}", answer.status, answer.headers);
        answer
    }

    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &[u8]) {
        let answer = self.ask(&Method::PUT, path, body);
        assert!(matches!(answer.status, 201 | 202), "{path}: {answer:?}");
    }

    #[track_caller]
    pub(crate) fn delete(&self, path: &str) {
        let answer = self.ask(&Method::DELETE, path, b"");
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
    }

    /// The objects of a container. Listings may be behind, so each is looked at.
    pub(crate) fn names(&self, container: &str) -> Vec<String> {
        let listed = self.ask(&Method::GET, container, b"");
        let listed = String::from_utf8(listed.body.into()).expect("UTF-8");
        let is_there = |name: &&str| self.ask(&Method::HEAD, &format!("{container}/{name}"), b"").status == 200;
        listed.lines().filter(is_there).map(str::to_owned).collect()
    }
}
