//! Regions of `OpenStack`: the way into their clouds, their Swift, their Trove.

use super::Pairs;
use super::open::Opener;
use crate::address;
use crate::catalog::trove::{Address, AddressError, QuotaRule, Trove, TroveApi, TroveDatabase};
use crate::failure::{Cause, Failure};
use crate::openstack::{
    Auth, Cloud, CloudChoice, ErrorKind, OpenStackError, Scope, Secret, Service, Session, find_cloud,
};
use crate::plan::{
    self, CatalogSpec, CloudSpec, Reference, StoreSpec, SwiftAccount, SwiftLogin, SwiftSpec, Tenants, TroveApiSpec,
    TroveDatabaseSpec, parse_tenants,
};
use crate::store::{Account, SwiftOptions, SwiftStore, TenantAccess};

impl Opener<'_> {
    /// The way into the cloud of a Swift. Contacts nothing.
    pub(super) fn session(&self, spec: &SwiftSpec) -> Result<Session, Failure> {
        let mut cloud = match &spec.login {
            SwiftLogin::Keystone(cloud) => self.cloud(cloud)?,
            SwiftLogin::V1 { auth_url, user, key } => self.temp_auth(auth_url, user, key, spec.http.insecure)?,
        };
        if let Some(ca) = self.optional(spec.http.ca_file.as_ref())? {
            cloud.cacert = Some(self.folder.join(ca));
        }
        cloud.allows_http = spec.http.insecure;
        self.way_in(cloud, spec.http.timeout)
    }

    fn way_in(&self, cloud: Cloud, stall: std::time::Duration) -> Result<Session, Failure> {
        Session::open(cloud, stall).map_err(|error| self.no_cloud(error))
    }

    fn cloud(&self, spec: &CloudSpec) -> Result<Cloud, Failure> {
        let choice =
            CloudChoice { cloud: self.optional(spec.cloud.as_ref())?, region: self.optional(spec.region.as_ref())? };
        find_cloud(&choice, &**self.environment, self.folder).map_err(|error| self.no_cloud(error))
    }

    fn temp_auth(
        &self,
        auth_url: &Reference,
        user: &Reference,
        key: &Reference,
        insecure: bool,
    ) -> Result<Cloud, Failure> {
        let text = self.value(auth_url)?;
        let url = address::service_url(&text, insecure).map_err(|error| self.bad("auth_url", &error))?;
        let auth = Auth::V1 { user: self.value(user)?, key: Secret::new(self.value(key)?) };
        Ok(Cloud {
            name: self.region.name.to_string(),
            origin: "the plan".to_owned(),
            auth_url: url.parse().map_err(|_| self.unreachable("its `auth_url` is no URL", None))?,
            auth,
            region_name: None,
            interface: crate::openstack::Interface::default(),
            cacert: None,
            verify: true,
            allows_http: insecure,
            endpoint_overrides: std::collections::BTreeMap::new(),
        })
    }

    /// A Swift. Its identity needs the account of the token, so Keystone is asked where the account is the token's own.
    pub(super) async fn swift(&self, spec: &SwiftSpec, session: &Session) -> Result<SwiftStore, Failure> {
        let endpoint = self.optional(spec.http.endpoint.as_ref())?.map(|text| {
            let url = address::swift_url(&text, spec.http.insecure).map_err(|error| self.bad("endpoint", &error))?;
            url.parse().map_err(|_| self.unreachable("its `endpoint` is no URL", None))
        });
        let container =
            spec.container.as_ref().map(|name| self.checked("container", name, address::check_swift_container));
        let account = match spec.account {
            SwiftAccount::Own => Account::Own,
            SwiftAccount::PerTenant(plan::TenantAccess::Reseller) => Account::PerTenant(TenantAccess::Reseller),
            SwiftAccount::PerTenant(plan::TenantAccess::EachProject) => {
                self.check_scopes(session)?;
                Account::PerTenant(TenantAccess::EachProject)
            }
        };
        let mut options = SwiftOptions {
            identity: cluster(session.cloud()),
            account,
            endpoint: endpoint.transpose()?,
            container: container.transpose()?,
            storage_policy: self.optional(spec.storage_policy.as_ref())?,
            page: None,
            stall: spec.http.timeout,
        };
        if let Some(identity) = &spec.http.identity {
            options.identity.clone_from(identity);
        } else if account == Account::Own {
            let looking = SwiftStore::open(options.clone(), session, &self.throttle);
            let own = looking.own_account().await.map_err(|error| self.failed(error))?;
            options.identity = format!("{}/{own}", options.identity);
        }
        Ok(SwiftStore::open(options, session, &self.throttle))
    }

    /// Whether the cloud of a Swift lets us in and has it, asked for no single tenant.
    pub(super) async fn enter(&self, spec: &SwiftSpec, session: &Session) -> Result<(), Failure> {
        let refused = |error: OpenStackError| Failure {
            cause: Cause::Unreachable,
            message: format!("region `{}`: {}", self.region.name, error.message),
            hint: error.hint,
        };
        let token = session.token(&Scope::Own).await.map_err(refused)?;
        let found = match spec.http.endpoint {
            None => session.endpoint(&Scope::Own, Service::ObjectStore).await,
            Some(_) => session.listed(&Scope::Own, Service::ObjectStore).await,
        };
        match found {
            // The plan says where it is, and whose account is meant is told by the token.
            Err(error) if error.kind == ErrorKind::NotFound && spec.http.endpoint.is_some() => {
                if token.project_id.is_some() { Ok(()) } else { Err(refused(error)) }
            }
            found => found.map(drop).map_err(refused),
        }
    }

    /// An application credential is for one project, whatever the plan asks of it.
    fn check_scopes(&self, session: &Session) -> Result<(), Failure> {
        if session.can_scope() {
            return Ok(());
        }
        let why = format!(
            "`access: each-project` needs a token of every project, and the credentials of cloud `{}` are for one alone",
            session.cloud().name
        );
        let hint = "use a password user with a role on each project, or `access: reseller` with the role ResellerAdmin";
        Err(self.unreachable(&why, Some(hint.to_owned())))
    }

    /// Trove, where it is the region's catalog.
    pub(super) async fn trove(&self, store_session: Option<&Session>) -> Result<Option<Trove>, Failure> {
        match &self.region.catalog {
            CatalogSpec::Store => Ok(None),
            CatalogSpec::TroveDatabase(spec) => self.trove_database(spec).await.map(Some),
            CatalogSpec::TroveApi(spec) => self.trove_api(spec, store_session).map(Some),
        }
    }

    async fn trove_database(&self, spec: &TroveDatabaseSpec) -> Result<Trove, Failure> {
        let address = Address::parse(&self.value(&spec.url)?).map_err(|error| self.bad_url(&error))?;
        let address = address.starting_at(self.folder);
        let rule = match spec.quota {
            plan::QuotaRule::Respect => QuotaRule::Respect,
            plan::QuotaRule::Ignore => QuotaRule::Ignore,
        };
        // Whatever stands in the way, it is in that of the whole region.
        let opened = TroveDatabase::connect(&address, rule, spec.default_quota).await;
        opened.map(Trove::Database).map_err(|failure| Failure { cause: Cause::Unreachable, ..failure })
    }

    /// The way to Trove's API: the store's, unless the plan names another one.
    fn api_session(&self, spec: &TroveApiSpec, store_session: Option<&Session>) -> Result<Session, Failure> {
        let of_store = spec.cloud.cloud.is_none() && spec.cloud.region.is_none();
        if let Some(session) = store_session.filter(|_| of_store) {
            return Ok(session.clone());
        }
        let StoreSpec::Swift(SwiftSpec { login: SwiftLogin::Keystone(of_store), http, .. }) = &self.region.store else {
            return Err(self.unreachable("`trove-api` needs a store with Keystone", None));
        };
        let cloud = spec.cloud.cloud.as_ref().or(of_store.cloud.as_ref()).cloned();
        let region = spec.cloud.region.as_ref().or(of_store.region.as_ref()).cloned();
        let mut cloud = self.cloud(&CloudSpec { cloud, region })?;
        if let Some(ca) = self.optional(http.ca_file.as_ref())? {
            cloud.cacert = Some(self.folder.join(ca));
        }
        cloud.allows_http = http.insecure;
        self.way_in(cloud, http.timeout)
    }

    fn trove_api(&self, spec: &TroveApiSpec, store_session: Option<&Session>) -> Result<Trove, Failure> {
        let session = self.api_session(spec, store_session)?;
        let (stall, insecure) = match &self.region.store {
            StoreSpec::Swift(swift) => (swift.http.timeout, swift.http.insecure),
            _ => (plan::STALL_TIMEOUT, false),
        };
        let endpoint = self.optional(spec.endpoint.as_ref())?.map(|text| {
            let url = address::service_url(&text, insecure).map_err(|error| self.bad("endpoint", &error))?;
            url.parse().map_err(|_| self.unreachable("the catalog's `endpoint` is no URL", None))
        });
        Ok(Trove::Api(TroveApi::new(session, self.throttle.clone(), stall, endpoint.transpose()?)))
    }

    /// The clouds that the region asks without checking their certificates. Contacts nothing.
    pub(super) fn unchecked(&self, store_session: &Session) -> Vec<Cloud> {
        let mut clouds = vec![store_session.cloud().clone()];
        if let CatalogSpec::TroveApi(spec) = &self.region.catalog
            && let Ok(session) = self.api_session(spec, Some(store_session))
            && session.cloud().name != store_session.cloud().name
        {
            clouds.push(session.cloud().clone());
        }
        clouds.retain(|cloud| !cloud.verify);
        clouds
    }

    /// What the region's catalog is, whatever a plan calls it. Contacts nothing.
    pub(super) fn catalog_identity(&self, store: &str, store_session: Option<&Session>) -> Result<String, Failure> {
        match &self.region.catalog {
            CatalogSpec::Store => Ok(records_in(store)),
            CatalogSpec::TroveDatabase(spec) => {
                let address = Address::parse(&self.value(&spec.url)?).map_err(|error| self.bad_url(&error))?;
                Ok(format!("trove-database:{address}"))
            }
            CatalogSpec::TroveApi(spec) => {
                let session = self.api_session(spec, store_session)?;
                Ok(format!("trove-api:{}", cluster(session.cloud())))
            }
        }
    }

    fn bad_url(&self, error: &AddressError) -> Failure {
        self.unreachable(&format!("the value of the catalog's `url` {error}"), None)
    }

    /// The pairs of a region's tenant map.
    pub(super) fn tenants(&self) -> Result<Option<Pairs>, Failure> {
        match &self.region.tenants {
            None => Ok(None),
            Some(Tenants::Map(pairs)) => Ok(Some(pairs.as_slice().into())),
            Some(Tenants::File(file)) => {
                let path = self.folder.join(self.value(file)?);
                let bad = |why: String| {
                    let message = format!("`tenants` of region `{}`: {}{why}", self.region.name, path.display());
                    Failure::new(Cause::TenantUnknown, message)
                };
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| bad(format!(" cannot be read: {error}")).hint("correct its name in the plan"))?;
                let pairs = parse_tenants(&text).map_err(|error| bad(format!(", {error}")).hint(error.hint))?;
                Ok(Some(pairs.into()))
            }
        }
    }

    fn no_cloud(&self, error: OpenStackError) -> Failure {
        let message = format!("region `{}` cannot be reached: {}", self.region.name, error.message);
        Failure { cause: Cause::Unreachable, message, hint: error.hint }
    }
}

/// What the catalog is of a region whose records lie in its store itself.
#[must_use]
pub fn records_in(store: &str) -> String {
    format!("store:{store}")
}

/// A Swift, as it is whatever a plan calls it: its Keystone (or `TempAuth`) and its region there.
fn cluster(cloud: &Cloud) -> String {
    let url = &cloud.auth_url;
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let region = cloud.region_name.as_deref().map(|region| format!("#{region}")).unwrap_or_default();
    format!("swift:{host}{port}{}{region}", url.path().trim_end_matches('/'))
}
