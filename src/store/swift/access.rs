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
    pub(super) account: String,
    pub(super) token: Arc<Token>,
    pub(super) scope: Scope,
}

impl SwiftStore {
    /// A token for an account, and where that account is; none is the token's own.
    pub(super) async fn granted(&self, attempt: Attempt<'_>, account: Option<&str>) -> Result<Granted, StoreError> {
        let failed = |error: OpenStackError| no_way_in(attempt, error);
        let session = &self.inner.session;
        let own = session.endpoint(&Scope::Own, Service::ObjectStore).await.map_err(failed)?;
        let (base, own) = split_storage_url(&own).ok_or_else(|| {
            let why = format!("the storage URL {own} has no account at its end");
            attempt.refused(StoreErrorKind::Refused, why).hint("correct the endpoint of `object-store` in the catalog")
        })?;
        let base = self.inner.options.endpoint.clone().unwrap_or(base);
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
        Ok(Granted { base, account: account.map_or(own, str::to_owned), token, scope })
    }
}

fn no_way_in(attempt: Attempt<'_>, error: OpenStackError) -> StoreError {
    let kind = match error.kind {
        ErrorKind::Unreachable => StoreErrorKind::Unreachable,
        ErrorKind::Refused | ErrorKind::NotFound | ErrorKind::Bad => StoreErrorKind::Refused,
    };
    StoreError { hint: error.hint, ..attempt.refused(kind, error.message) }
}
