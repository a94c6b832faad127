//! The store `swift`: `OpenStack`'s object storage, by a client of our own.
//!
//! An object lies in a container of an account. Large ones are manifests over segments, and both their boundaries and
//! the `ETag` that comes of them are kept, because Trove's records name it. Whether an object has the final name is
//! always asked with `X-Newest`; a listing never decides anything.

mod access;
mod ask;
mod check;
mod container;
mod error;
mod headers;
mod info;
mod listing;
mod manifest;
mod place;
mod publish;
mod puts;
mod segments;
mod source;
mod target;
mod tenancy;
mod update;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::OnceCell;

use self::info::Limits;
use super::attempt::Attempt;
use super::{Metadata, StoreError};
use crate::http::{Connector, Patience};
use crate::id::Key;
use crate::openstack::Session;
use crate::throttle::Throttle;

pub use self::container::{AccountFacts, ContainerFacts};

/// What a Swift store is opened with; all references are resolved.
#[derive(Debug, Clone)]
pub struct SwiftOptions {
    /// What the store is, for errors and as [`Store::identity`](super::Store::identity).
    pub identity: String,
    /// Whose objects they are.
    pub account: Account,
    /// The storage URL up to the API's version, instead of the one in the service catalog.
    pub endpoint: Option<Url>,
    /// The container that copies go to, for facts of the store as a whole; none where each has its own.
    pub container: Option<String>,
    /// Of containers that are made; none is the cluster's own choice.
    pub storage_policy: Option<String>,
    /// Entries of one page of a listing; none is what the cluster gives.
    pub page: Option<u32>,
    /// A request without a byte in either direction for so long is given up.
    pub stall: Duration,
}

/// Whose objects a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Those of the project that the token is for; keys are `container/object`.
    Own,
    /// Those of many projects; keys are `account/container/object`.
    PerTenant(TenantAccess),
}

/// How the accounts of many projects are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAccess {
    /// By one token, whose role Swift lets into every account.
    Reseller,
    /// By one token for each project.
    EachProject,
}

/// A Swift, or one account of it. Clones share the connections and what was learned of the cluster.
#[derive(Clone)]
pub struct SwiftStore {
    inner: Arc<Inner>,
}

struct Inner {
    options: SwiftOptions,
    session: Session,
    http: Connector,
    patience: Patience,
    limits: OnceCell<Limits>,
    /// Containers that are known to be there: account and name.
    containers: Mutex<HashSet<(Option<String>, String)>>,
    /// What travels with objects whose uploads were begun by this process, by token.
    begun: Mutex<HashMap<String, Metadata>>,
    manifests: Mutex<manifest::Cache>,
}

/// The facts of a lock, whoever panicked while having it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SwiftStore {
    /// Opens a store. Contacts nothing: whether the cluster can be reached is seen by the first request.
    #[must_use]
    pub fn open(options: SwiftOptions, session: &Session, throttle: &Throttle) -> Self {
        let http = Connector::new(session.client(), throttle.clone(), options.stall);
        let inner = Inner {
            options,
            session: session.clone(),
            http,
            patience: Patience::new(throttle.gate()),
            limits: OnceCell::new(),
            containers: Mutex::default(),
            begun: Mutex::default(),
            manifests: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// As [`Store::identity`](super::Store::identity).
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.inner.options.identity
    }

    /// Whether what is written to one of two stores can lie in the other: the same cluster, and the same account or one
    /// store that has them all.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = (self.identity(), other.identity());
        let is_within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_within(one, other) || is_within(other, one)
    }

    fn attempt<'a>(&'a self, doing: &'static str, name: &'a str) -> Attempt<'a> {
        Attempt { store: &self.inner.options.identity, doing, name }
    }

    /// As [`Store::probe`](super::Store::probe): an object is written to the container of `key` and deleted. Where there is
    /// no container yet, Swift says so only to those who may write.
    ///
    /// # Errors
    /// As [`Target::begin`](super::Target::begin).
    pub async fn probe(&self, key: &Key) -> Result<(), StoreError> {
        self.write_and_delete(&self.place("write", key)?).await
    }

    /// As [`Store::container_of`](super::Store::container_of).
    pub(super) fn container_of<'k>(&self, key: &'k Key) -> &'k str {
        let slashes = if self.is_per_tenant() { 2 } else { 1 };
        key.as_str().match_indices('/').nth(slashes - 1).map_or("", |(at, _)| &key.as_str()[..at])
    }
}

impl fmt::Debug for SwiftStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SwiftStore").field(&self.inner.options.identity).finish()
    }
}
