//! A user of the lab, and what he asks Swift beside Backhaul.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use backhaul::openstack::{Auth, Cloud, Domain, Interface, OwnScope, Scope, Secret, Session, User};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};

use super::openstack::OpenStack;

const STALL: Duration = Duration::from_secs(30);

/// A session of a user, whose password is its name and `-pw`. `project` is what its tokens are for where nothing else is
/// asked for; the region need not be there.
pub(crate) fn session(openstack: &OpenStack, region: &str, user: &str, project: Option<&str>) -> Session {
    let default = || Domain::Id("default".to_owned());
    let scope = project.map_or(OwnScope::Unscoped, |name| OwnScope::ProjectName(name.to_owned(), default()));
    let cloud = Cloud {
        name: user.to_owned(),
        origin: "the test".to_owned(),
        auth_url: openstack.auth_url().parse().expect("a URL"),
        auth: Auth::Password {
            user: User::Name(user.to_owned(), default()),
            password: Secret::new(format!("{user}-pw")),
            scope,
        },
        region_name: Some(region.to_owned()),
        interface: Interface::Public,
        cacert: None,
        verify: true,
        allows_http: false,
        endpoint_overrides: BTreeMap::new(),
    };
    Session::open(cloud, STALL).expect("a session")
}

/// What Swift said.
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

    /// Its headers of these names' beginnings.
    pub(crate) fn headers(&self, beginnings: &[&str]) -> BTreeMap<String, String> {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let all = self.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
        all.filter(|(name, _)| beginnings.iter().any(|beginning| name.starts_with(beginning))).collect()
    }
}

/// An account, as a session reaches it.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) session: Session,
    client: reqwest::Client,
    url: String,
}

impl Account {
    pub(crate) fn new(session: Session, url: String) -> Self {
        // Its TLS is the one that the session has installed.
        Self { session, client: reqwest::Client::new(), url }
    }

    /// `path` is below the account.
    pub(crate) async fn ask(&self, method: &Method, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut is_second = false;
        loop {
            let token = self.session.token(&Scope::Own).await.expect("a token");
            let mut request = self.client.request(method.clone(), format!("{}/{path}", self.url));
            request = request.header("x-auth-token", token.header()).header("content-length", body.len());
            for (name, value) in headers {
                request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
            }
            let answer = request.body(Bytes::copy_from_slice(body)).send().await.expect("an answer");
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            // Keystone may have been started anew meanwhile, or the token have ended.
            if status != 401 || is_second {
                return Answer { status, headers, body: answer.bytes().await.expect("a body") };
            }
            self.session.rejected(&Scope::Own, &token);
            is_second = true;
        }
    }
}
