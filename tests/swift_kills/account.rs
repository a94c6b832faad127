//! A client that stands for everybody else: what lies in a tenant's account, and what others have put there.

use std::sync::LazyLock;

use http::Method;
use tokio::runtime::Runtime;

use crate::openstack::OpenStack;
use crate::session::{self, Answer};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// A tenant's account in one region, as the tenant's own user reaches it.
pub(crate) struct Account(session::Account);

impl Account {
    pub(crate) fn of(openstack: &OpenStack, region: &str, tenant: &str) -> Self {
        let session = session::session(openstack, region, tenant, Some(tenant));
        Self(session::Account::new(session, openstack.account(region, tenant)))
    }

    /// `path` is below the account.
    pub(crate) fn ask(&self, method: &Method, path: &str, body: &[u8]) -> Answer {
        RUNTIME.block_on(self.0.ask(method, path, &[], body))
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
