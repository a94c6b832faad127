//! What a dry run looks at in regions of `OpenStack`: who we are there, containers, and quotas against what is planned.

use std::collections::{BTreeMap, BTreeSet};

use super::{Migration, Surveyor};
use crate::catalog::trove::Trove;
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::number::{counted, format_bytes};
use crate::openstack::Scope;
use crate::plan::CatalogSpec;
use crate::regions::Access;
use crate::state::State;
use crate::store::{Layout, Source as _, Store, StoreError, SwiftStore, Target as _};

/// What lies before a run and is no failure.
pub(super) type Notes = Vec<String>;

/// What is planned for one account or container: the name of one of its objects, and all copies.
type Planned<'a> = (Key, Vec<&'a Migration>);

/// Looks at every target region of `OpenStack` that something is due for. What would not fit is a warning.
pub(super) async fn look(
    surveyor: &Surveyor<'_>,
    migrations: &[Migration],
    warnings: &mut Vec<Failure>,
    notes: &mut Notes,
) {
    let due = |migration: &&Migration| migration.failure.is_none() && migration.row.state != State::Completed;
    let targets: BTreeSet<usize> = migrations.iter().filter(due).map(|migration| migration.target).collect();
    let sources: BTreeSet<usize> = migrations.iter().filter(due).map(|migration| migration.source).collect();
    for region in sources.union(&targets) {
        who(surveyor, *region, warnings, notes).await;
    }
    expiring(migrations, notes);
    for target in targets {
        let of_target: Vec<&Migration> =
            migrations.iter().filter(due).filter(|migration| migration.target == target).collect();
        let copies =
            of_target.iter().filter(|migration| migration.row.state != State::Saving && !migration.copy_is_there);
        let copies: Vec<&Migration> = copies.copied().collect();
        if let Ok(Store::Swift(swift)) = surveyor.regions.target(target, Access::Look).await {
            containers(surveyor, &swift, target, &copies, warnings, notes).await;
        }
        if let Ok(Some(trove)) = surveyor.regions.trove(target).await {
            backups(surveyor, &trove, target, &of_target, warnings).await;
        }
        shared(surveyor, target, &of_target, notes);
        keys(surveyor, target, &of_target, notes);
        ways(surveyor, target, &of_target, notes);
    }
}

/// As whom a region is asked.
async fn who(surveyor: &Surveyor<'_>, region: usize, warnings: &mut Vec<Failure>, notes: &mut Notes) {
    let name = &surveyor.plan.regions[region].name;
    let Ok(Some(session)) = surveyor.regions.session(region).await else { return };
    match session.token(&Scope::Own).await {
        Ok(token) if token.user_name.is_empty() => {}
        Ok(token) => {
            let project = token.project_name.as_deref().map(|name| format!(" of project `{name}`")).unwrap_or_default();
            let roles = token.roles.join(", ");
            notes.push(format!("region `{name}` as user `{}`{project}, roles: {roles}", token.user_name));
        }
        Err(error) => {
            let failure = Failure { cause: Cause::Unreachable, message: error.message, hint: error.hint };
            warnings.push(failure);
        }
    }
}

/// Sources that are about to go away by themselves. What is the source's own object goes with it.
fn expiring(migrations: &[Migration], notes: &mut Notes) {
    let expiring = migrations.iter().filter_map(|migration| Some((migration.object.as_ref()?.expires?, migration)));
    let (shared, copied): (Vec<_>, Vec<_>) = expiring.partition(|(_, migration)| migration.row.is_the_source_itself());
    let ends = [
        (copied, "copies do not expire"),
        (
            shared,
            "no copies are made of them, because both regions are one account, so what is registered is lost then",
        ),
    ];
    for (expiring, end) in ends {
        let sources = counted(expiring.len() as u64, "source");
        if let Some((first, migration)) = expiring.into_iter().min_by_key(|(expires, _)| *expires) {
            notes.push(format!(
                "{sources} will be deleted by the store itself (X-Delete-At), first `{}` at {first}; {end}",
                migration.row.name
            ));
        }
    }
}

/// Accounts and containers that copies go to: whether they are there, and have room.
async fn containers(
    surveyor: &Surveyor<'_>,
    swift: &SwiftStore,
    target: usize,
    copies: &[&Migration],
    warnings: &mut Vec<Failure>,
    notes: &mut Notes,
) {
    let region = &surveyor.plan.regions[target].name;
    let mut containers: BTreeMap<String, Planned<'_>> = BTreeMap::new();
    let mut accounts: BTreeMap<String, Planned<'_>> = BTreeMap::new();
    for migration in copies {
        let Some(Ok(key)) = migration.row.location.as_deref().map(Key::parse) else { continue };
        let account = if swift.is_per_tenant() { key.as_str().split('/').next().unwrap_or_default() } else { "" };
        let depth = if swift.is_per_tenant() { 2 } else { 1 };
        let container = key.as_str().splitn(depth + 1, '/').take(depth).collect::<Vec<_>>().join("/");
        for (map, name) in [(&mut containers, container), (&mut accounts, account.to_owned())] {
            map.entry(name).or_insert_with(|| (key.clone(), Vec::new())).1.push(*migration);
        }
    }
    let mut new = Vec::new();
    for (name, (key, planned)) in &containers {
        match swift.container_facts(key).await {
            Ok(facts) if !facts.exists => new.push(format!("`{name}`")),
            Ok(facts) => {
                if facts.is_versioned {
                    notes.push(format!(
                        "container `{name}` of region `{region}` keeps old versions of what is deleted in it"
                    ));
                }
                let what = format!("container `{name}` of region `{region}`");
                let left = facts.quota_bytes.map(|quota| quota.saturating_sub(facts.bytes));
                if let Some(left) = left.filter(|left| *left < bytes_of(planned)) {
                    warnings.push(no_room(&what, left, bytes_of(planned)));
                }
                if let Some(quota) = facts.quota_objects {
                    let left = quota.saturating_sub(facts.objects);
                    warnings.extend(too_many_objects(surveyor, &what, left, planned).await);
                }
            }
            Err(error) => warnings.push(not_seen(region, error)),
        }
    }
    if !new.is_empty() {
        notes.push(format!("region `{region}` gets new containers: {}", new.join(", ")));
    }
    for (name, (key, planned)) in &accounts {
        let what = if name.is_empty() {
            format!("the account of region `{region}`")
        } else {
            format!("account `{name}` of region `{region}`")
        };
        match swift.account_facts(key).await {
            Ok(facts) => {
                let left = facts.quota_bytes.map(|quota| quota.saturating_sub(facts.bytes));
                if let Some(left) = left.filter(|left| *left < bytes_of(planned)) {
                    warnings.push(no_room(&what, left, bytes_of(planned)));
                }
            }
            Err(error) => warnings.push(not_seen(region, error)),
        }
    }
}

fn bytes_of(planned: &[&Migration]) -> u64 {
    planned.iter().filter_map(|migration| Some(migration.object.as_ref()?.pin.size)).sum()
}

/// What to say where a container takes fewer objects than its copies are: each segment is one, and so is a manifest.
async fn too_many_objects(surveyor: &Surveyor<'_>, what: &str, left: u64, planned: &[&Migration]) -> Option<Failure> {
    let mut objects = 0;
    for migration in planned {
        objects += objects_of(surveyor, migration).await;
    }
    let message = format!(
        "{what} takes {}, and the plan needs {objects} for {}: each segment is one",
        counted(left, "more object"),
        counted(planned.len() as u64, "backup")
    );
    (left < objects).then(|| Failure::new(Cause::NoSpace, message).hint("raise its `quota-count`"))
}

/// What a copy is in a Swift, in objects. What cannot be had is told of with its migration.
async fn objects_of(surveyor: &Surveyor<'_>, migration: &Migration) -> u64 {
    let Some(object) = &migration.object else { return 1 };
    let Ok(source) = surveyor.regions.source(migration.source).await else { return 1 };
    let Ok(segments) = source.segments(&object.key, &object.pin).await else { return 1 };
    let takes = surveyor.regions.takes(migration.target, surveyor.plan.part_size, object.pin.size);
    match takes.layout(&object.key, object.pin.size, segments.as_deref(), source.streams()) {
        Ok(layout @ Layout::Segments(_)) => u64::from(layout.parts()) + 1,
        _ => 1,
    }
}

fn no_room(what: &str, left: u64, planned: u64) -> Failure {
    let (left, planned) = (format_bytes(left), format_bytes(planned));
    Failure::new(Cause::NoSpace, format!("{what} has room for {left} more, and the plan needs {planned}"))
        .hint("raise its quota: openstack object store account set --property Quota-Bytes=…, or that of the container")
}

fn not_seen(region: &str, error: StoreError) -> Failure {
    let failure = error.of_target();
    Failure { message: format!("region `{region}`: {}", failure.message), ..failure }
}

/// Trove's quota of backups, tenant by tenant.
async fn backups(
    surveyor: &Surveyor<'_>,
    trove: &Trove,
    target: usize,
    migrations: &[&Migration],
    warnings: &mut Vec<Failure>,
) {
    let spec = &surveyor.plan.regions[target];
    if let CatalogSpec::TroveDatabase(database) = &spec.catalog
        && database.quota == crate::plan::QuotaRule::Ignore
    {
        return;
    }
    let mut planned: BTreeMap<&str, u64> = BTreeMap::new();
    for migration in migrations {
        if let Some(tenant) = migration.row.tenant_id.as_deref() {
            *planned.entry(tenant).or_default() += 1;
        }
    }
    for (tenant, planned) in planned {
        match trove.quota(tenant).await {
            Ok(quota) => {
                let left = quota.limit.map(|limit| limit.saturating_sub(quota.in_use));
                if let Some(left) = left.filter(|left| *left < planned) {
                    let message = format!(
                        "tenant `{tenant}` may have {} in region `{}`, and the plan has {planned} for it",
                        counted(left, "more backup"),
                        spec.name
                    );
                    let hint = format!(
                        "raise it: openstack database quota update {tenant} backups {}",
                        quota.in_use + planned
                    );
                    warnings.push(Failure::new(Cause::Quota, message).hint(hint));
                }
            }
            Err(failure) => warnings.push(failure),
        }
    }
}

/// Where both regions are one account only the record is made.
fn shared(surveyor: &Surveyor<'_>, target: usize, migrations: &[&Migration], notes: &mut Notes) {
    let shared = migrations.iter().filter(|migration| migration.row.is_the_source_itself()).count() as u64;
    if shared > 0 {
        notes.push(format!(
            "{} in region `{}` would be the source's own {}: both regions are one account, so only records are made, and \
             such copies share the source's fate",
            counted(shared, "copy"),
            surveyor.plan.regions[target].name,
            if shared == 1 { "object" } else { "objects" },
        ));
    }
}

/// Encrypted backups restore only where the guests have the key, and no API shows it.
fn keys(surveyor: &Surveyor<'_>, target: usize, migrations: &[&Migration], notes: &mut Notes) {
    let spec = &surveyor.plan.regions[target];
    let encrypted = migrations.iter().filter(|migration| migration.lacks_key).count() as u64;
    if encrypted > 0 {
        notes.push(format!(
            "{} encrypted (.enc): they restore in region `{}` only if its guests have the same `backup_aes_cbc_key`; \
             once you have made sure, say `backup_key_present: true` there",
            if encrypted == 1 { "1 backup is".to_owned() } else { format!("{encrypted} backups are") },
            spec.name
        ));
    }
}

/// Whether a backup needs a key that its object does not hold.
pub(super) fn is_encrypted(location: Option<&str>) -> bool {
    location.is_some_and(|location| location.rsplit('.').next() == Some("enc"))
}

/// What registering through the API means.
fn ways(surveyor: &Surveyor<'_>, target: usize, migrations: &[&Migration], notes: &mut Notes) {
    let spec = &surveyor.plan.regions[target];
    if matches!(spec.catalog, CatalogSpec::TroveApi(_)) && !migrations.is_empty() {
        notes.push(format!(
            "Trove in region `{}` registers copies as RESTORED: deleting one there leaves its object; objects of several \
             segments are written as one",
            spec.name
        ));
    }
}
