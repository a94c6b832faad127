//! Where a copy goes and whose it is: tenant, account, container and name in its target, and the datastore version that it
//! is registered under there. Every target project is looked up before a byte moves: Swift makes accounts as they are
//! named, and Trove's table has no key on tenants, so a typo would succeed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::{Migration, SurveyError, Surveyor};
use crate::catalog::trove::{DatastoreVersion, SourceVersion, map};
use crate::database::Row;
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::openstack::{ErrorKind, OpenStackError, ProjectName};
use crate::plan::{CatalogSpec, Problem, StoreSpec, SwiftAccount, SwiftSpec};
use crate::regions::Access;
use crate::state::State;
use crate::store::{Store, StoreError, SwiftStore};

/// Where copies go whose source tells no container: Trove's own default (`backup_swift_container`).
const CONTAINER: &str = "database_backups";

/// Source region, target region, and tenant of the source.
type Whose = (usize, usize, Option<String>);

/// Answers that many copies share.
pub(super) struct Placing<'a> {
    surveyor: &'a Surveyor<'a>,
    tenants: HashMap<Whose, Result<Option<String>, Failure>>,
    versions: HashMap<usize, Result<Arc<[DatastoreVersion]>, Failure>>,
    /// What the plan says of registered copies and is not so.
    pub(super) problems: Vec<Problem>,
}

impl Surveyor<'_> {
    /// Reads the tenant maps of all targets, so that what is wrong with one is told once and before anything else.
    pub(super) async fn tenant_maps(&self) -> Result<(), SurveyError> {
        for target in self.plan.entries.iter().flat_map(|entry| entry.to.iter()).collect::<BTreeSet<_>>() {
            match self.regions.tenants(usize::from(target.0)).await {
                Err(failure) if failure.cause == Cause::TenantUnknown => return Err(SurveyError::Tenants(failure)),
                // A variable that is not set is told of by whoever needs the region.
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Placing<'a> {
    /// Nothing asked yet.
    pub(super) fn of(surveyor: &'a Surveyor<'a>) -> Self {
        Self { surveyor, tenants: HashMap::new(), versions: HashMap::new(), problems: Vec::new() }
    }

    /// Fills in what a migration's target is and where its copy goes. A registered copy stays where it is; if the plan names
    /// another catalog now, it is to be registered there as well.
    pub(super) async fn placed(&mut self, migration: &mut Migration) {
        let catalog = self.surveyor.regions.catalog_identity(migration.target).await;
        let row = &mut migration.row;
        migration.lacks_key =
            super::openstack::is_encrypted(row.location.as_deref().or(row.source_location.as_deref()))
                && !self.surveyor.plan.regions[migration.target].backup_key_present;
        let is_other = catalog.as_ref().is_ok_and(|catalog| *catalog != row.target_catalog);
        if row.state == State::Completed {
            if !is_other {
                self.check_owner(migration).await;
                return;
            }
            row.state = State::Saving;
            migration.other_catalog = catalog.as_ref().ok().cloned();
        }
        let placed = match (catalog, row.source_location.as_deref().map(Key::parse)) {
            (Err(failure), _) => Err(failure),
            (Ok(catalog), Some(Ok(object))) => {
                row.target_catalog = catalog;
                let kept_in = migration.kept_in.as_deref();
                self.place(row, &object, kept_in, migration.source, migration.target).await
            }
            // Its record cannot be had, and the migration says so.
            (Ok(catalog), _) => {
                row.target_catalog = catalog;
                Ok(())
            }
        };
        if let (Err(failure), None) = (placed, &migration.failure) {
            migration.failure = Some(failure);
        }
    }

    /// A registered copy is its owner's: a tenant map that now gives it to somebody else is an error of the plan. Asks
    /// nobody, so only of tenants that are named by their ids.
    async fn check_owner(&mut self, migration: &Migration) {
        let row = &migration.row;
        let (Some(source), Some(owner)) = (&row.source_tenant_id, &row.tenant_id) else { return };
        let Ok(Some(pairs)) = self.surveyor.regions.tenants(migration.target).await else { return };
        let Some((_, now)) = pairs.iter().find(|(from, _)| from == source) else { return };
        if now == owner || now.contains('/') {
            return;
        }
        let message = format!(
            "`{}` was copied to region `{}` for the tenant `{owner}`, and `tenants` now gives `{source}` the tenant `{now}`",
            row.name, row.region
        );
        let hint =
            "a copy stays its owner's: correct the map, or use another plan name and database for the other tenant";
        self.problems.push(Problem::error(migration.place, message).hint(hint));
    }

    /// Fills in where the copy that `row` stands for goes and whose it is there. `object` is the source's, and `kept_in` the
    /// container of what that is a copy of; `source` and `target` number the regions. What an earlier run has begun stays
    /// where it is.
    async fn place(
        &mut self,
        row: &mut Row,
        object: &Key,
        kept_in: Option<&str>,
        source: usize,
        target: usize,
    ) -> Result<(), Failure> {
        let regions = self.surveyor.regions;
        if row.source_tenant_id.is_none() && is_per_tenant(&self.surveyor.plan.regions[source].store) {
            row.source_tenant_id = owner(object);
        }
        row.tenant_id = self.tenant(source, target, row.source_tenant_id.clone()).await?;
        if let Some(version) = self.version(row, target).await? {
            row.datastore_version_id = Some(version);
        }
        self.check_texts(row, target).await?;
        let store = regions.target(target, Access::Look).await?;
        let Store::Swift(swift) = &store else {
            row.location.get_or_insert_with(|| plain_name(row.id, row.source_id.is_some(), object));
            return Ok(());
        };
        let from = regions.source(source).await.ok();
        let location = place_in_swift(swift, from.as_ref(), row, object, kept_in).await;
        let location = location.map_err(StoreError::of_target)?;
        match &row.location {
            // Its account is the tenant's: what was begun for another one is not his.
            Some(before) if *before != location && account(swift, before) != account(swift, location.as_str()) => {
                let message = format!(
                    "the copy of `{}` was begun for another tenant, as `{before}`; the plan now means `{location}`",
                    row.name
                );
                Err(Failure::new(Cause::TenantUnknown, message).hint(
                    "give `tenants:` of the target region the tenant that it had, or use another plan and database",
                ))
            }
            Some(_) => Ok(()),
            None => {
                row.location = Some(location);
                Ok(())
            }
        }
    }

    /// Whose a copy of a backup of `tenant` is in the target.
    ///
    /// # Errors
    /// [`Cause::TenantUnknown`] for a tenant that the target does not have, or nobody can tell.
    pub(super) async fn tenant(
        &mut self,
        source: usize,
        target: usize,
        tenant: Option<String>,
    ) -> Result<Option<String>, Failure> {
        let question = (source, target, tenant);
        if let Some(answer) = self.tenants.get(&question) {
            return answer.clone();
        }
        let answer = self.look_up(source, target, question.2.as_deref()).await;
        self.tenants.insert(question, answer.clone());
        answer
    }

    async fn look_up(&self, source: usize, target: usize, tenant: Option<&str>) -> Result<Option<String>, Failure> {
        let region = &self.surveyor.plan.regions[target];
        let Some(session) = self.surveyor.regions.session(target).await? else {
            return Ok(tenant.map(str::to_owned));
        };
        if let StoreSpec::Swift(SwiftSpec { account: SwiftAccount::Own, .. }) = &region.store {
            let token =
                session.token(&crate::openstack::Scope::Own).await.map_err(|error| of_target(&region.name, error))?;
            return Ok(token.project_id.clone().or_else(|| tenant.map(str::to_owned)));
        }
        let name = &region.name;
        let Some(tenant) = tenant else {
            let message = format!("no record says whose it is, and region `{name}` has an account for each tenant");
            return Err(Failure::new(Cause::TenantUnknown, message)
                .hint("copy it to a store with `account: own`, or name it by the id of its record"));
        };
        let pairs = self.surveyor.regions.tenants(target).await?;
        let named = match &pairs {
            Some(pairs) => self.mapped(pairs, source, tenant).await?.ok_or_else(|| {
                let message = format!("`tenants` of region `{name}` does not have the tenant `{tenant}`");
                Failure::new(Cause::TenantUnknown, message)
                    .hint(format!("add `{tenant}: PROJECT` with a project of region `{name}`"))
            })?,
            None => ProjectName::Id(tenant.to_owned()),
        };
        match session.project(&named).await {
            Ok(project) if project.enabled => Ok(Some(project.id)),
            Ok(project) => Err(Failure::new(
                Cause::TenantUnknown,
                format!("the project `{}` ({}) of region `{name}` is switched off", project.name, project.id),
            )
            .hint(format!("openstack project set --enable {}", project.id))),
            Err(error) => Err(unknown_tenant(tenant, &named, name, pairs.is_some(), error)),
        }
    }

    /// What a tenant map says of a tenant: by its id, else by its name, which its own region knows.
    async fn mapped(
        &self,
        pairs: &[(String, String)],
        source: usize,
        tenant: &str,
    ) -> Result<Option<ProjectName>, Failure> {
        if let Some((_, to)) = pairs.iter().find(|(from, _)| from == tenant) {
            return Ok(Some(ProjectName::parse(to)));
        }
        let named = pairs.iter().filter(|(from, _)| from.contains('/'));
        let session = self.surveyor.regions.session(source).await?;
        let name = &self.surveyor.plan.regions[source].name;
        for (from, to) in named {
            let Some(session) = &session else { break };
            match session.project(&ProjectName::parse(from)).await {
                Ok(project) if project.id == tenant => return Ok(Some(ProjectName::parse(to))),
                Ok(_) => {}
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(of_source(name, error)),
            }
        }
        Ok(None)
    }

    /// The target's datastore version, where its catalog has such.
    async fn version(&mut self, row: &Row, target: usize) -> Result<Option<String>, Failure> {
        let region = &self.surveyor.plan.regions[target];
        if region.catalog == CatalogSpec::Store {
            return Ok(None);
        }
        if !self.versions.contains_key(&target) {
            let versions = match self.surveyor.regions.trove(target).await? {
                Some(trove) => trove.versions(row.tenant_id.as_deref()).await.map(Arc::from),
                None => Ok(Arc::from([])),
            };
            self.versions.insert(target, versions);
        }
        let versions = self.versions[&target].clone()?;
        let (Some(datastore), Some(name)) = (row.datastore.as_deref(), row.datastore_version.as_deref()) else {
            let message =
                format!("no record says of which datastore it is, and Trove in region `{}` must know", region.name);
            return Err(Failure::new(Cause::NoCounterpart, message).hint("name it by the id of its record"));
        };
        let source = SourceVersion { datastore, name, number: row.datastore_version_number.as_deref() };
        let version = map(source, &region.datastore_versions, &region.name, &versions)?;
        Ok(Some(version.id.clone()))
    }

    async fn check_texts(&self, row: &Row, target: usize) -> Result<(), Failure> {
        match self.surveyor.regions.trove(target).await? {
            Some(trove) => trove.holds(&row.name, row.description.as_deref()),
            None => Ok(()),
        }
    }
}

fn is_per_tenant(store: &StoreSpec) -> bool {
    matches!(store, StoreSpec::Swift(SwiftSpec { account: SwiftAccount::PerTenant(_), .. }))
}

/// The project whose account an object lies in: `AUTH_<project>/…`.
fn owner(object: &Key) -> Option<String> {
    let account = object.as_str().split('/').next()?;
    account.rsplit_once('_').map(|(_, project)| project.to_owned())
}

/// As Trove names objects, after the copy; what has no record keeps its name.
fn plain_name(id: uuid::Uuid, has_record: bool, object: &Key) -> String {
    if has_record { format!("{id}{}", object.extensions()) } else { object.to_string() }
}

async fn place_in_swift(
    swift: &SwiftStore,
    from: Option<&Store>,
    row: &Row,
    object: &Key,
    kept_in: Option<&str>,
) -> Result<String, StoreError> {
    let (container, name) = match from {
        Some(Store::Swift(source)) => {
            let (container, name) = source.parts(object)?;
            // Where both are one account, the object itself is the copy.
            if swift.is_same_account(source, object, row.tenant_id.as_deref()).await? {
                return Ok(swift.named(row.tenant_id.as_deref(), &container, &name).await?.to_string());
            }
            (Some(container), name)
        }
        _ => (kept_in.map(str::to_owned), object.to_string()),
    };
    let container = swift.container_of_copies().map(str::to_owned).or(container);
    let tenant = row.tenant_id.as_deref();
    let key = match (container, row.source_id.is_some()) {
        (container, true) => {
            let name = format!("{}{}", row.id, object.extensions());
            swift.named(tenant, container.as_deref().unwrap_or(CONTAINER), &name).await
        }
        (Some(container), false) => swift.named(tenant, &container, &name).await,
        // The first folder is the container.
        (None, false) => match name.split_once('/') {
            Some((container, name)) => swift.named(tenant, container, name).await,
            None => swift.named(tenant, CONTAINER, &name).await,
        },
    };
    Ok(key?.to_string())
}

fn account<'t>(swift: &SwiftStore, location: &'t str) -> Option<&'t str> {
    if swift.is_per_tenant() { location.split('/').next() } else { None }
}

fn of_target(region: &str, error: OpenStackError) -> Failure {
    failure(region, error, Cause::TargetUnwritable)
}

fn of_source(region: &str, error: OpenStackError) -> Failure {
    failure(region, error, Cause::SourceUnreadable)
}

fn failure(region: &str, error: OpenStackError, refused: Cause) -> Failure {
    let cause = if error.kind == ErrorKind::Unreachable { Cause::Unreachable } else { refused };
    Failure { cause, message: format!("region `{region}`: {}", error.message), hint: error.hint }
}

fn unknown_tenant(tenant: &str, named: &ProjectName, region: &str, mapped: bool, error: OpenStackError) -> Failure {
    if error.kind != ErrorKind::NotFound {
        return of_target(region, error);
    }
    let what = if mapped {
        format!("`tenants` of region `{region}` gives `{tenant}` the project `{named}`")
    } else {
        format!("the tenant `{tenant}` must be in region `{region}` too, which has no `tenants`")
    };
    let hint = if mapped {
        error.hint
    } else {
        Some(format!("add `tenants: {{ {tenant}: PROJECT }}` to region `{region}`, with a project of its own"))
    };
    Failure { cause: Cause::TenantUnknown, message: format!("{what}: {}", error.message), hint }
}
