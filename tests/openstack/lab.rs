//! The tests' own ground: what is seeded is what Trove makes, Trove's own code restores it, and what is planted is wrong in the way
//! that it should be.

use std::net::TcpStream;

use super::openstack::{Backup, Link, ONE, OpenStack, Seeds, TWO};

fn location(backup: &Backup) -> &str {
    backup.location.as_deref().expect("it has an object")
}

#[track_caller]
fn is_whole(read: &[Link], seeds: &Seeds, backup: &Backup) {
    let chain = seeds.chain(backup);
    assert_eq!(read.len(), chain.len(), "{}", backup.name);
    for (link, made) in read.iter().zip(chain) {
        assert_eq!(link.location, location(made));
        assert_eq!(Some(&link.checksum), made.checksum.as_ref());
        assert_eq!((Some(link.bytes), Some(&link.sha256)), (made.bytes, made.sha256.as_ref()), "{}", made.name);
    }
}

/// What Trove says of a backup with a planted defect.
fn complaint(expect: &str) -> &'static str {
    match expect {
        "checksum-mismatch" => "Checksum validation failure",
        "object-missing" | "parent-missing" => "404 Not Found",
        "segment-missing" => "409 Conflict",
        "state-failed" => "it is FAILED",
        "row-deleted" => "has no such backup",
        "cinder-snapshot" => "COMPLETED in cinder",
        other => panic!("{other} is not known"),
    }
}

#[test]
fn what_is_seeded_restores_by_troves_own_code_and_what_is_planted_does_not() {
    let Some(openstack) = OpenStack::shared("seeded backups") else { return };
    openstack.add_tenants(&["ground", "ground-other"]);
    let seeds = openstack.seed(&["ground/standard", "ground-other/small"]);
    let backups = seeds.of("ground");
    let ids: Vec<&str> = backups.iter().map(|backup| &*backup.id).collect();
    for (backup, read) in backups.iter().zip(openstack.try_restore_all(ONE, "ground", &ids)) {
        match (backup.expect.as_str(), read) {
            ("ok" | "version-missing", read) => is_whole(&read.expect("it is whole"), &seeds, backup),
            (expect, Ok(_)) => panic!("{} should not restore: {expect}", backup.name),
            (expect, Err(why)) => assert!(why.contains(complaint(expect)), "{}: {why}", backup.name),
        }
    }
    assert_eq!(seeds.backup("ground/slo").slo, Some(true));
    assert_eq!(seeds.backup("ground/plain").slo, Some(false));
    assert_ne!(seeds.backup("ground/plain").sha256, seeds.backup("ground-other/plain").sha256);

    // Nobody restores, or sees, what is another's, or another region's.
    let plain = seeds.backup("ground/plain");
    for (region, tenant) in [(ONE, "ground-other"), (TWO, "ground")] {
        let why = openstack.try_restore(region, tenant, &plain.id).expect_err("not there");
        assert!(why.contains("has no such backup"), "{why}");
        assert_eq!(openstack.ask_trove(region, tenant, tenant, &format!("/backups/{}", plain.id)).0, 404);
    }
    assert!(openstack.swift_log(TWO).iter().all(|request| !request.path.contains(&openstack.project("ground"))));
}

#[test]
fn trove_lists_and_shows_what_is_seeded() {
    let Some(openstack) = OpenStack::shared("Trove's own lists") else { return };
    openstack.add_tenants(&["shown"]);
    let seeds = openstack.seed(&["shown/standard"]);
    let hidden = ["row-deleted"];
    let mut live: Vec<&str> =
        seeds.of("shown").iter().filter(|backup| !hidden.contains(&&*backup.expect)).map(|b| &*b.id).collect();
    live.sort_unstable();
    let listed = openstack.listed(ONE, "shown");
    let mut ids: Vec<&str> = listed.iter().filter_map(|backup| backup["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, live);

    let backup = seeds.backup("shown/a-inc2");
    let shown = openstack.shown(ONE, "shown", &backup.id);
    assert_eq!(shown["status"], "COMPLETED");
    assert_eq!(shown["locationRef"], location(backup));
    assert_eq!(shown["parent_id"], *seeds.backup("shown/a-inc1").id);
    assert_eq!(shown["project_id"], *openstack.project("shown"));
    assert_eq!(shown["created"], *backup.created);
    assert_eq!(shown["description"], "seeded a-inc2 é");
    assert_eq!(shown["datastore"]["version_id"], *openstack.datastore_version(ONE, "mysql", "8.0"));
    let row = openstack.sql(ONE, &format!("SELECT checksum, backup_type FROM backups WHERE id = '{}'", backup.id));
    assert_eq!(row, [[backup.checksum.clone().expect("stored"), "incremental".to_owned()]]);
}

#[test]
fn a_real_chain_restores_and_a_server_has_its_rows() {
    let Some(openstack) = OpenStack::shared("a chain of mariadb-backup") else { return };
    openstack.add_tenants(&["shop"]);
    let seeds = openstack.seed(&["shop/mariadb"]);
    for name in ["shop/shop-full", "shop/shop-inc2"] {
        let backup = seeds.backup(name);
        let rows = openstack.restore_in_server(ONE, "shop", &backup.id);
        assert_eq!(Some(&rows), backup.rows.as_ref(), "{name}");
    }
    assert_ne!(seeds.backup("shop/shop-full").rows, seeds.backup("shop/shop-inc2").rows);
}

#[test]
fn services_stop_and_start_again_with_what_they_had() {
    let Some(openstack) = OpenStack::alone("services that stop") else { return };
    openstack.add_tenants(&["stopped"]);
    let seeds = openstack.seed(&["stopped/small"]);
    let slo = seeds.backup("stopped/slo");
    openstack.stop_swift(ONE);
    let why = openstack.try_restore(ONE, "stopped", &slo.id).expect_err("Swift is stopped");
    assert!(why.contains("Connection refused"), "{why}");
    openstack.start_swift(ONE);
    is_whole(&openstack.restore(ONE, "stopped", &slo.id), &seeds, slo);
    openstack.stop_keystone();
    let keystone = openstack.auth_url().replace("http://", "").replace("/v3", "");
    assert!(TcpStream::connect(&keystone).is_err(), "Keystone is stopped");
    openstack.start_keystone();

    let before = openstack.swift_log(ONE).len();
    is_whole(&openstack.restore(ONE, "stopped", &slo.id), &seeds, slo);
    let log = openstack.swift_log(ONE);
    assert!(log[before..].iter().all(|request| !request.writes()), "a restore only reads: {:?}", &log[before..]);
    let read = log[before..].iter().find(|request| request.method == "GET").expect("it was read");
    let path = location(slo).split_once("/v1/").expect("a location").1;
    assert_eq!((&*read.path, read.status, Some(read.sent)), (&*format!("/v1/{path}"), 200, slo.bytes));
}
