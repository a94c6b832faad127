//! Whose account an object lies in, and names of objects in the accounts of others.

use super::place::Place;
use super::{Account, SwiftStore};
use crate::id::Key;
use crate::store::{StoreError, StoreErrorKind};

impl SwiftStore {
    /// Whether it has the accounts of many projects.
    #[must_use]
    pub fn is_per_tenant(&self) -> bool {
        self.inner.options.account != Account::Own
    }

    /// The container that copies go to, if they all go to one.
    #[must_use]
    pub fn container_of_copies(&self) -> Option<&str> {
        self.inner.options.container.as_deref()
    }

    /// The account of the store's own token: `AUTH_…`.
    ///
    /// # Errors
    /// [`StoreError`]: no way into the cloud.
    pub async fn own_account(&self) -> Result<String, StoreError> {
        let attempt = self.attempt("find the account of", "the token");
        Ok(self.granted(attempt, None).await?.account)
    }

    /// Container and name of an object.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Refused` for a key that is no name of an object here.
    pub fn parts(&self, key: &Key) -> Result<(String, String), StoreError> {
        let Place { container, object, .. } = self.place("find", key)?;
        Ok((container, object))
    }

    /// The name that an object of a tenant has in this store.
    ///
    /// # Errors
    /// [`StoreError`]: no way into the cloud, or a name that is none.
    pub async fn named(&self, tenant: Option<&str>, container: &str, object: &str) -> Result<Key, StoreError> {
        let attempt = self.attempt("name", object);
        let account = match (self.is_per_tenant(), tenant) {
            (false, _) => String::new(),
            (true, Some(tenant)) => self.account_of(tenant).await?,
            (true, None) => {
                return Err(attempt.refused(StoreErrorKind::Refused, "nobody says whose it is"));
            }
        };
        self.key_of(&account, container, object)
            .map_err(|error| attempt.refused(StoreErrorKind::Refused, format!("bad object name: it {error}")))
    }

    /// The account of a project: named as the token's own is, with the other id.
    async fn account_of(&self, project: &str) -> Result<String, StoreError> {
        let attempt = self.attempt("find the account of", project);
        let own = self.granted(attempt, None).await?;
        let prefix = match own.token.project_id.as_deref() {
            Some(id) => own.account.strip_suffix(id).map(str::to_owned),
            // TempAuth tells no project.
            None => own.account.split_once('_').map(|(prefix, _)| format!("{prefix}_")),
        };
        prefix.map(|prefix| format!("{prefix}{project}")).ok_or_else(|| {
            let why = format!("accounts here look like `{}`, which has no project's id at its end", own.account);
            attempt.refused(StoreErrorKind::Refused, why)
        })
    }

    /// Whether an object of another store lies in the very account where its copy for `tenant` would.
    ///
    /// # Errors
    /// [`StoreError`]: no way into one of the two clouds.
    pub async fn is_same_account(&self, other: &Self, object: &Key, tenant: Option<&str>) -> Result<bool, StoreError> {
        let there = other.place("find", object)?;
        let theirs = other.granted(other.attempt("find", object.as_str()), there.account.as_deref()).await?;
        let account = match (self.is_per_tenant(), tenant) {
            (true, Some(tenant)) => Some(self.account_of(tenant).await?),
            _ => None,
        };
        let ours = self.granted(self.attempt("find", object.as_str()), account.as_deref()).await?;
        Ok(ours.account == theirs.account && cluster(&ours.base) == cluster(&theirs.base))
    }
}

/// What tells clusters apart. The path too: regions behind one gateway differ by nothing else.
fn cluster(base: &reqwest::Url) -> (Option<&str>, Option<u16>, &str) {
    (base.host_str(), base.port_or_known_default(), base.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_behind_one_gateway_are_told_apart_by_their_paths() {
        let url = |text: &str| text.parse::<reqwest::Url>().expect("a URL");
        let (one, two) = (url("https://api/region-one/swift/v1/"), url("https://api/region-two/swift/v1/"));
        assert_ne!(cluster(&one), cluster(&two));
        assert_eq!(cluster(&one), cluster(&url("https://api:443/region-one/swift/v1")));
    }
}
