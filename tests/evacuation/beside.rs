//! What lies beside the copies: sources that go away by themselves, containers that keep what is deleted in them, and what
//! Backhaul does not move. None of it stops anything, and all of it is told.

use serde_json::Value;
use uuid::Uuid;

use crate::bed::{Bed, READ_ALL, READ_EACH, WRITE_ALL, WRITE_EACH, by_operator, others_are_untouched, select};
use crate::evacuated::{Way, copy_id};
use crate::openstack::{Backup, ONE, OpenStack, TWO};

#[test]
fn sources_that_expire_and_containers_that_keep_versions_are_told_of() {
    let Some(openstack) = OpenStack::shared("sources that expire") else { return };
    openstack.add_tenants(&["expiring"]);
    let seeds = openstack.seed(&["expiring/small"]);
    let [account, project] = [openstack.account(TWO, "expiring"), openstack.project("expiring")];
    let bed = Bed::new(&openstack);
    bed.plan(&[READ_EACH, WRITE_EACH], &[select(&openstack, &["expiring"])]);
    let expires = |name: &str, at: &str| {
        let of = seeds.backup(&format!("expiring/{name}")).location.as_deref().expect("a location");
        by_operator(&openstack, "POST", of, &[("X-Delete-At", at)], "");
    };
    let said = |expected: &str| {
        let said = bed.backhaul(&["plan", "plan.yaml"]).expect(0);
        assert!(said.stdout.contains(&format!("note: {expected}\n")), "no {expected:?}: {said}");
    };
    assert!(!bed.forecast(&[]).totals["notes"].to_string().contains("X-Delete-At"));
    expires("plain", "4102444800");
    said(
        "1 source will be deleted by the store itself (X-Delete-At), first `plain` at 2100-01-01T00:00:00Z; copies do not expire",
    );
    expires("slo", "4102444799");
    said(
        "2 sources will be deleted by the store itself (X-Delete-At), first `slo` at 2099-12-31T23:59:59Z; copies do not expire",
    );

    by_operator(&openstack, "PUT", &format!("{account}/old"), &[], "");
    by_operator(&openstack, "PUT", &format!("{account}/database_backups"), &[("X-Versions-Location", "old")], "");
    said(&format!(
        "container `AUTH_{project}/database_backups` of region `region-two` keeps old versions of what is deleted in it"
    ));

    bed.run().expect(0);
    let rows = bed.rows();
    assert_eq!(rows.len(), seeds.of("expiring").len());
    for name in ["plain", "slo"] {
        let row = rows.iter().find(|row| row.name == name).expect("it is planned");
        let path = row.location.as_deref().and_then(|location| location.split_once('/')).expect("an account").1;
        let copy = by_operator(&openstack, "HEAD", &format!("{account}/{path}"), &[], "");
        assert_eq!(copy.header("x-delete-at"), None, "{name}");
        openstack.restore(TWO, "expiring", &copy_id(row));
    }
    others_are_untouched(&openstack);
}

/// The lines of `compare --json`, and its notes.
fn compared(bed: &Bed) -> (Vec<Value>, Vec<String>) {
    let said = bed.backhaul(&["compare", "--json", "--from", ONE, "--to", TWO, "plan.yaml"]).expect(3);
    let mut lines: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let total = lines.pop().expect("a last line");
    let notes = total["notes"].as_array().expect("a list").iter().filter_map(Value::as_str).map(str::to_owned);
    (lines, notes.collect())
}

#[track_caller]
fn is_noted(notes: &[String], expected: &str) {
    assert!(notes.iter().any(|note| note == expected), "no {expected:?} in {notes:#?}");
}

/// Gives a copy the link that its source has, as if nobody had rewritten it.
#[track_caller]
fn set_back(openstack: &OpenStack, bed: &Bed, name: &str, parent: &Backup) {
    let rows = bed.rows();
    let row = rows.iter().find(|row| row.name == name).expect("it is planned");
    let path = row.location.as_deref().and_then(|location| location.split_once('/')).expect("an account").1;
    let link = [
        ("X-Object-Meta-Parent-Location", parent.location.as_deref().expect("a location")),
        ("X-Object-Meta-Parent-Checksum", parent.checksum.as_deref().expect("a checksum")),
    ];
    by_operator(openstack, "POST", &format!("{}/{path}", openstack.account(TWO, &parent.tenant)), &link, "");
}

/// The link as well, and what goes away: a segment, and a row of Trove's.
#[track_caller]
fn verify_finds(openstack: &OpenStack, bed: &Bed, named: &str) {
    let account = openstack.account(TWO, "beside");
    let rows = bed.rows();
    let id = |name: &str| rows.iter().find(|row| row.name == name).map(copy_id).expect("it is planned");
    let container = format!("{account}/database_backups");
    let listed = by_operator(openstack, "GET", &format!("{container}?prefix={}_", id("slo")), &[], "");
    let segment = listed.body.lines().nth(1).expect("it has several");
    by_operator(openstack, "DELETE", &format!("{container}/{segment}"), &[], "");
    openstack.sql(TWO, &format!("DELETE FROM backups WHERE id = '{}'", id("plain")));
    let said = bed.backhaul(&["verify", "--depth", "quick", "plan.yaml"]).expect(7);
    for part in [
        named,
        &format!("its segment 1 (/database_backups/{segment}) is missing"),
        "the record of `plain` is gone from region",
    ] {
        assert!(said.stderr.contains(part), "no {part:?}: {said}");
    }
    assert!(said.stdout.contains("2 of 5 copies asked for: as recorded\n1 differ\n2 are gone\n"), "{said}");
}

#[test]
fn compare_tells_what_is_not_moved_and_what_still_names_the_source() {
    let Some(openstack) = OpenStack::shared("what is not moved") else { return };
    let of_alpha = &Way::Reseller.evacuated(&openstack).seeds;
    openstack.add_tenants(&["beside"]);
    let seeds = openstack.seed(&["beside/small"]);
    let (project, account) = (openstack.project("beside"), openstack.account(TWO, "beside"));
    let mut bed = Bed::new(&openstack);
    bed.plan(&[READ_ALL, WRITE_ALL], &[select(&openstack, &["beside"])]);
    bed.run().expect(0);

    // Who may not look at them hears that.
    let (_, notes) = compared(&bed);
    is_noted(&notes, "backup strategies could not be looked at (SELECT on `backup_strategy`), and are not moved");
    is_noted(&notes, "quotas could not be looked at (SELECT on `quotas`), and are not moved");

    bed.set("ONE_DB", &openstack.owners_url(ONE));
    let id = Uuid::new_v4();
    let strategy =
        format!("backup_strategy (id, tenant_id, instance_id, backend) VALUES ('{id}', '{project}', '', 'swift')");
    let quota = format!("quotas (id, tenant_id, resource, hard_limit) VALUES ('{id}', '{project}', 'backups', 80)");
    for row in [strategy, quota] {
        openstack.sql(ONE, &format!("INSERT INTO {row}"));
    }
    // A row that somebody has made by hand, of an object that stayed; and a link of a copy that was set back.
    let left = Uuid::new_v4();
    let plain = seeds.backup("beside/plain");
    let there = plain.location.as_deref().expect("a location");
    openstack.sql(
        TWO,
        &format!(
            "INSERT INTO backups (id, name, tenant_id, location, state, deleted, storage_driver) VALUES \
             ('{left}', 'left', '{project}', '{there}', 'COMPLETED', 0, 'swift')"
        ),
    );
    let names = seeds.backup("beside/a-full").location.as_deref().expect("a location");
    set_back(&openstack, &bed, "a-inc1", seeds.backup("beside/a-full"));

    let (lines, notes) = compared(&bed);
    is_noted(&notes, "1 backup strategy of 1 tenant is not moved: openstack database backup strategy list");
    is_noted(&notes, &format!("the quota of tenant `{project}` for backups is 80 here and is not moved"));
    let host = there.trim_start_matches("http://").split('/').next().expect("a host");
    is_noted(
        &notes,
        &format!(
            "1 row in the Trove of region `{TWO}` names a Swift of the source region ({host}), first `left` ({left}): Trove reads its \
             own Swift instead, and fails where that has no such object"
        ),
    );
    let standing = |id: &str| {
        let line = lines.iter().find(|line| line["id"] == *id).unwrap_or_else(|| panic!("{id} is not compared"));
        (line["standing"].as_str().expect("a word").to_owned(), line["why"].as_str().unwrap_or_default().to_owned())
    };
    let (word, why) = standing(&of_alpha.backup("alpha/snapshot").id);
    assert!(word == "not-moved" && why.contains("the location is a snapshot in Cinder"), "{word}: {why}");
    let named = format!("names `{names}` as its parent, and should name `{account}/");
    let (word, why) = standing(&seeds.backup("beside/a-inc1").id);
    assert!(word == "failed" && why.contains(&named), "{word}: {why}");
    let (word, why) = standing(&seeds.backup("beside/a-inc2").id);
    assert_eq!((&*word, &*why), ("failed", "it builds on `a-inc1`, which is not restorable there"));
    for name in ["plain", "slo", "a-full"] {
        assert_eq!(standing(&seeds.backup(&format!("beside/{name}")).id).0, "restorable", "{name}");
    }
    // For people, without -v.
    let said = bed.backhaul(&["compare", "--from", ONE, "--to", TWO, "plan.yaml"]).expect(3);
    assert!(said.stdout.contains("note: 1 backup strategy of 1 tenant is not moved"), "{said}");
    assert!(said.stdout.contains("not moved 1"), "{said}");
    let chain = format!(
        "  tenant {project}  instance {}  live 3  restorable 1  failed 2\n",
        seeds.backup("beside/a-full").instance_id
    );
    assert!(said.stdout.contains(&chain), "{chain}: {said}");
    verify_finds(&openstack, &bed, &named);
    others_are_untouched(&openstack);
}
