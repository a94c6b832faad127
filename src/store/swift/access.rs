//! Into which account a request goes, and by which token.

use std::sync::Arc;

use reqwest::Url;

use super::place::split_storage_url;
use super::{Account, SwiftStore, TenantAccess};
use crate::openstack::{ErrorKind, OpenStackError, Scope, Service, Token};
use crate::store::attempt::Attempt;
use crate::store::{StoreError, StoreErrorKind};

/// What lets a request in.
pub(super) struct Granted {
    /// The storage URL up to the API's version.
    pub(super) base: Url,
    /// The same as the catalog has it, which others than we go by.
    pub(super) listed: Url,
    pub(super) account: String,
    pub(super) token: Arc<Token>,
    pub(super) scope: Scope,
}

impl SwiftStore {
    /// A token for an account, and where that account is; none is the token's own.
    pub(super) async fn granted(&self, attempt: Attempt<'_>, account: Option<&str>) -> Result<Granted, StoreError> {
        let failed = |error: OpenStackError| no_way_in(attempt, error);
        let session = &self.inner.session;
        let (listed, own) = self.storage(attempt).await?;
        let scope = match (self.inner.options.account, account) {
            (Account::PerTenant(TenantAccess::EachProject), Some(account)) if account != own => {
                let own_project = session.token(&Scope::Own).await.map_err(failed)?.project_id.clone();
                let project = own_project.as_deref().and_then(|id| {
                    // The cluster's own word before the project's id: `AUTH_`.
                    account.strip_prefix(own.strip_suffix(id)?)
                });
                let project = project.ok_or_else(|| {
                    let why = format!("account `{account}` is of no project: accounts here look like `{own}`");
                    attempt.refused(StoreErrorKind::Refused, why)
                })?;
                Scope::Project(project.to_owned())
            }
            _ => Scope::Own,
        };
        let token = session.token(&scope).await.map_err(failed)?;
        let base = self.inner.options.endpoint.clone().unwrap_or_else(|| listed.clone());
        Ok(Granted { base, listed, account: account.map_or(own, str::to_owned), token, scope })
    }

    /// The storage URL up to the API's version as the catalog has it, and the account of the own token.
    async fn storage(&self, attempt: Attempt<'_>) -> Result<(Url, String), StoreError> {
        let session = &self.inner.session;
        let listed = match &self.inner.options.endpoint {
            Some(_) => session.listed(&Scope::Own, Service::ObjectStore).await,
            None => session.endpoint(&Scope::Own, Service::ObjectStore).await,
        };
        let listed = match (listed, &self.inner.options.endpoint) {
            (Ok(listed), _) => listed,
            // The plan says where it is, and what is in no catalog has the name that Swift gives by itself.
            (Err(error), Some(base)) if error.kind == ErrorKind::NotFound => {
                let token = session.token(&Scope::Own).await.map_err(|error| no_way_in(attempt, error))?;
                let project = token.project_id.as_ref().ok_or_else(|| no_way_in(attempt, error))?;
                return Ok((base.clone(), format!("AUTH_{project}")));
            }
            (Err(error), _) => return Err(no_way_in(attempt, error)),
        };
        let (base, own) = split_storage_url(&listed).ok_or_else(|| {
            let why = format!("the storage URL {listed} has no account at its end");
            let hint = "correct the endpoint of `object-store` in the catalog: it ends in `AUTH_%(project_id)s` \
                        (Ceph's gateway: also `rgw swift account in url = true`)";
            attempt.refused(StoreErrorKind::Refused, why).hint(hint)
        })?;
        Ok((base, own))
    }
}

fn no_way_in(attempt: Attempt<'_>, error: OpenStackError) -> StoreError {
    let kind = match error.kind {
        ErrorKind::Unreachable => StoreErrorKind::Unreachable,
        ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::Bad => StoreErrorKind::Refused,
    };
    StoreError { hint: error.hint, ..attempt.refused(kind, error.message) }
}
