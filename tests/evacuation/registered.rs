//! What the target's Trove has of copies: rows as Trove itself would have them, shown and listed to each tenant.

use serde_json::Value;

use crate::bed::others_are_untouched;
use crate::evacuated::{Evacuated, Way};
use crate::openstack::{Backup, OpenStack, TWO};

/// Trove's column that a test looks at, in the order of a row below.
const COLUMNS: &str = "id, name, description, location, backup_type, size, tenant_id, state, instance_id, checksum, \
     backup_timestamp, deleted, created, deleted_at, parent_id, datastore_version_id, storage_driver";

#[track_caller]
fn row_is_troves(openstack: &OpenStack, done: &Evacuated, of: &Backup) {
    let id = done.copy(of);
    let found = openstack.sql(TWO, &format!("SELECT {COLUMNS} FROM backups WHERE id = '{id}'"));
    let version = openstack.datastore_version(TWO, &of.datastore, &of.datastore_version);
    let parent = of.parent_id.as_ref().map(|_| done.copy(parent(done, of)));
    let object = of.object.as_deref().expect("it has one");
    let extensions = object.split_once('.').expect("a name of Trove's").1;
    let account = openstack.account(TWO, &of.tenant);
    // Trove's API gives the row another id than the object was given before.
    let named = done.row(of).id;
    let by_api = done.way == Way::Api;
    let checksum =
        if by_api { done.row(of).etag.clone().expect("copied") } else { of.checksum.clone().expect("stored") };
    let text = |text: &str| text.to_owned();
    let null = || text("NULL");
    let expected = [
        id.clone(),
        of.name.clone(),
        format!("seeded {} é", of.name),
        format!("{account}/{}/{named}.{extensions}", of.container),
        text(if of.parent_id.is_some() { "incremental" } else { "full" }),
        of.size.to_string(),
        openstack.project(&of.tenant),
        text(if by_api { "RESTORED" } else { "COMPLETED" }),
        null(),
        checksum,
        null(),
        text("0"),
        of.created.replace('T', " "),
        null(),
        parent.unwrap_or_else(null),
        version,
        text("swift"),
    ];
    let mut found = found.into_iter().next().unwrap_or_else(|| panic!("{} has no row", of.name));
    if by_api {
        // When it was registered: the API takes no other time.
        found[12].clone_from(&expected[12]);
    }
    assert_eq!(found, expected, "{} of {}", of.name, of.tenant);
}

fn parent<'d>(done: &'d Evacuated, of: &Backup) -> &'d Backup {
    let chain = done.seeds.chain(of);
    chain[chain.len() - 2]
}

/// How Trove shows a copy, alone or in a list.
#[track_caller]
fn is_shown(openstack: &OpenStack, done: &Evacuated, of: &Backup, shown: &Value) {
    let id = done.copy(of);
    let row = done.row(of);
    let location = openstack.account(TWO, &of.tenant)
        + "/"
        + row.location.as_deref().and_then(|l| l.split_once('/')).expect("an account").1;
    assert_eq!(shown["id"], *id);
    assert_eq!(shown["name"], *of.name);
    assert_eq!(shown["description"], *format!("seeded {} é", of.name));
    assert_eq!(shown["locationRef"], *location);
    assert_eq!(shown["status"], if done.way == Way::Api { "RESTORED" } else { "COMPLETED" });
    assert_eq!(shown["size"].as_f64(), Some(of.size));
    assert_eq!(shown["project_id"], *openstack.project(&of.tenant));
    assert_eq!(shown["instance_id"], Value::Null);
    let parent = of.parent_id.as_ref().map(|_| done.copy(parent(done, of)));
    assert_eq!(shown["parent_id"].as_str(), parent.as_deref());
    assert_eq!(shown["datastore"]["type"], *of.datastore);
    assert_eq!(
        shown["datastore"]["version_id"],
        *openstack.datastore_version(TWO, &of.datastore, &of.datastore_version)
    );
    if done.way != Way::Api {
        assert_eq!(shown["created"], *of.created);
    }
}

#[track_caller]
fn all_is_registered(openstack: &OpenStack, done: &Evacuated) {
    for tenant in done.way.tenants() {
        let right = done.right(tenant);
        for backup in &right {
            row_is_troves(openstack, done, backup);
        }
        let listed = openstack.listed(TWO, tenant);
        assert_eq!(listed.len(), right.len(), "what {tenant} sees listed: {listed:#?}");
        for backup in &right {
            let copy = done.copy(backup);
            let found = listed.iter().find(|listed| listed["id"] == *copy);
            is_shown(openstack, done, backup, found.unwrap_or_else(|| panic!("{} is not listed", backup.name)));
        }
        let usage = format!(
            "SELECT resource, in_use, reserved FROM quota_usages WHERE tenant_id = '{}'",
            openstack.project(tenant)
        );
        assert_eq!(openstack.sql(TWO, &usage), [["backups".to_owned(), right.len().to_string(), "0".to_owned()]]);
    }
    let [first, second] = done.way.tenants();
    for name in ["slo", "a-inc2"] {
        let backup = done.seeds.backup(&format!("{first}/{name}"));
        is_shown(openstack, done, backup, &openstack.shown(TWO, first, &done.copy(backup)));
    }
    let foreign = done.copy(done.seeds.backup(&format!("{first}/plain")));
    assert_eq!(openstack.ask_trove(TWO, second, second, &format!("/backups/{foreign}")).0, 404);
    others_are_untouched(openstack);
}

fn is_registered(way: Way) {
    let Some(openstack) = OpenStack::shared(&format!("Trove's own view: {way:?}")) else { return };
    all_is_registered(&openstack, way.evacuated(&openstack));
}

#[test]
fn in_the_database_by_one_token() {
    is_registered(Way::Reseller);
}

#[test]
fn in_the_database_by_a_token_for_each_project() {
    is_registered(Way::EachProject);
}

#[test]
fn by_the_api() {
    is_registered(Way::Api);
}
