//! Containers and accounts: what they say of themselves, and containers made for copies.

use http::{HeaderMap, HeaderValue, Method};

use super::ask::{Ask, At};
use super::headers::text;
use super::place::Place;
use super::{Account, SwiftStore, lock};
use crate::id::Key;
use crate::store::attempt::Attempt;
use crate::store::{StoreError, StoreErrorKind};

/// What a container says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerFacts {
    /// Whether there is one. It is made when the first copy is written to it.
    pub exists: bool,
    /// Objects in it; may be behind.
    pub objects: u64,
    /// Their bytes; may be behind.
    pub bytes: u64,
    /// Most bytes that it takes.
    pub quota_bytes: Option<u64>,
    /// Most objects that it takes; each segment is one.
    pub quota_objects: Option<u64>,
    /// Whether what is deleted in it is kept as an old version.
    pub is_versioned: bool,
    /// The name of its storage policy.
    pub policy: Option<String>,
}

/// What an account says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountFacts {
    /// Whether there is one. Swift makes one for any name when something is written to it.
    pub exists: bool,
    /// Its bytes; may be behind.
    pub bytes: u64,
    /// Most bytes that it takes.
    pub quota_bytes: Option<u64>,
}

impl SwiftStore {
    /// What the container of an object says of itself.
    ///
    /// # Errors
    /// As [`Source::head`](crate::store::Source::head).
    pub async fn container_facts(&self, key: &Key) -> Result<ContainerFacts, StoreError> {
        let place = self.place("look at the container of", key)?;
        self.container(place.account.as_deref(), &place.container).await
    }

    /// What the account of an object says of itself.
    ///
    /// # Errors
    /// As [`Source::head`](crate::store::Source::head).
    pub async fn account_facts(&self, key: &Key) -> Result<AccountFacts, StoreError> {
        let place = self.place("look at the account of", key)?;
        self.account(place.account.as_deref()).await
    }

    /// What the quotas of the store's one account and one container leave; none where there is none.
    ///
    /// # Errors
    /// As [`Source::head`](crate::store::Source::head).
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        if self.inner.options.account != Account::Own {
            return Ok(None);
        }
        let account = self.account(None).await?;
        let mut free = account.quota_bytes.map(|quota| quota.saturating_sub(account.bytes));
        if let Some(container) = &self.inner.options.container {
            let container = self.container(None, container).await?;
            let left = container.quota_bytes.map(|quota| quota.saturating_sub(container.bytes));
            free = free.into_iter().chain(left).min();
        }
        Ok(free)
    }

    pub(super) async fn container(&self, account: Option<&str>, name: &str) -> Result<ContainerFacts, StoreError> {
        let at = At::Container(account, name);
        let Some(headers) = self.headers_of(self.attempt("look at the container", name), at).await? else {
            return Ok(ContainerFacts::default());
        };
        let number = |name: &str| text(&headers, name)?.parse().ok();
        let versions = ["x-versions-enabled", "x-versions-location", "x-history-location"];
        let is_on = |name: &&str| text(&headers, name).is_some_and(|text| !text.eq_ignore_ascii_case("false"));
        Ok(ContainerFacts {
            exists: true,
            objects: number("x-container-object-count").unwrap_or_default(),
            bytes: number("x-container-bytes-used").unwrap_or_default(),
            quota_bytes: number("x-container-meta-quota-bytes"),
            quota_objects: number("x-container-meta-quota-count"),
            is_versioned: versions.iter().any(is_on),
            policy: text(&headers, "x-storage-policy").map(str::to_owned),
        })
    }

    async fn account(&self, account: Option<&str>) -> Result<AccountFacts, StoreError> {
        let attempt = self.attempt("look at the account", account.unwrap_or_default());
        let Some(headers) = self.headers_of(attempt, At::Account(account)).await? else {
            return Ok(AccountFacts::default());
        };
        let number = |name: &str| text(&headers, name)?.parse().ok();
        Ok(AccountFacts {
            exists: true,
            bytes: number("x-account-bytes-used").unwrap_or_default(),
            quota_bytes: number("x-account-meta-quota-bytes"),
        })
    }

    async fn headers_of(&self, attempt: Attempt<'_>, at: At<'_>) -> Result<Option<HeaderMap>, StoreError> {
        match self.ask(attempt, &Ask::new(Method::HEAD, at, &[], HeaderMap::new())).await? {
            Ok(answered) => Ok(Some(answered.answer.headers)),
            Err(gave_up) if gave_up.answer.status == Some(404) => Ok(None),
            Err(gave_up) => Err(attempt.given_up(&gave_up)),
        }
    }

    /// Makes sure that an object's container is there. Asked once a process and container.
    pub(super) async fn ensure_container(&self, place: &Place) -> Result<(), StoreError> {
        let known = (place.account.clone(), place.container.clone());
        if lock(&self.inner.containers).contains(&known) {
            return Ok(());
        }
        let at = At::Container(place.account.as_deref(), &place.container);
        let attempt = self.attempt("make the container", &place.container);
        if self.headers_of(attempt, at).await?.is_none() {
            let mut headers = HeaderMap::new();
            if let Some(policy) = &self.inner.options.storage_policy {
                let value = HeaderValue::from_str(policy).map_err(|_| {
                    attempt.refused(StoreErrorKind::Refused, "the name of its storage policy is none to HTTP")
                })?;
                headers.insert("x-storage-policy", value);
            }
            match self.ask(attempt, &Ask::new(Method::PUT, at, &[], headers)).await? {
                Ok(_) => {}
                // Somebody else made it in between, with another policy.
                Err(gave_up) if gave_up.answer.status == Some(409) => {}
                Err(gave_up) => {
                    let error = attempt.given_up(&gave_up);
                    let is_policy = gave_up.answer.status == Some(400) && self.inner.options.storage_policy.is_some();
                    let hint = "correct `storage_policy`; the names that there are stand in the cluster's `/info`";
                    return Err(if is_policy { error.hint(hint) } else { error });
                }
            }
        }
        lock(&self.inner.containers).insert(known);
        Ok(())
    }
}
