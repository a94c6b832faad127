//! The tests' own ground: what is seeded is what Trove makes, Trove's own code restores it, and what is planted is wrong in the way
//! that it should be.

use super::openstack::{Backup, ONE, OpenStack, Seeds, TWO};

fn location(backup: &Backup) -> &str {
    backup.location.as_deref().expect("it has an object")
}

#[track_caller]
fn restores(openstack: &OpenStack, seeds: &Seeds, backup: &Backup) {
    let read = openstack.restore(ONE, &backup.tenant, &backup.id);
    let chain = seeds.chain(backup);
    assert_eq!(read.len(), chain.len(), "{}", backup.name);
    for (link, made) in read.iter().zip(chain) {
        assert_eq!(link.location, location(made));
        assert_eq!(Some(&link.checksum), made.checksum.as_ref());
        assert_eq!((Some(link.bytes), Some(&link.sha256)), (made.bytes, made.sha256.as_ref()), "{}", made.name);
    }
}

#[test]
fn what_is_seeded_restores_by_troves_own_code_and_what_is_planted_does_not() {
    let Some(openstack) = OpenStack::shared("seeded backups") else { return };
    openstack.add_tenants(&["ground", "ground-other"]);
    let seeds = openstack.seed(&["ground/standard", "ground-other/small"]);
    let failure = |backup: &Backup| {
        let read = openstack.try_restore(ONE, &backup.tenant, &backup.id);
        read.expect_err(&format!("{} should not restore", backup.name))
    };
    for backup in seeds.of("ground") {
        match backup.expect.as_str() {
            "ok" | "version-missing" => restores(&openstack, &seeds, backup),
            "checksum-mismatch" => assert!(failure(backup).contains("Checksum validation failure")),
            "object-missing" | "parent-missing" => assert!(failure(backup).contains("404 Not Found")),
            "segment-missing" => assert!(failure(backup).contains("409 Conflict")),
            "state-failed" => assert!(failure(backup).contains("is FAILED")),
            "row-deleted" => assert!(failure(backup).contains("has no backup")),
            "cinder-snapshot" => assert!(failure(backup).contains("in cinder")),
            other => panic!("{}: {other}", backup.name),
        }
    }
    assert_eq!(seeds.backup("ground/slo").slo, Some(true));
    assert_eq!(seeds.backup("ground/plain").slo, Some(false));
    assert_ne!(seeds.backup("ground/plain").sha256, seeds.backup("ground-other/plain").sha256);

    // Nobody restores, or sees, what is another's, or another region's.
    let plain = seeds.backup("ground/plain");
    for (region, tenant) in [(ONE, "ground-other"), (TWO, "ground")] {
        let why = openstack.try_restore(region, tenant, &plain.id).expect_err("not there");
        assert!(why.contains("has no backup"), "{why}");
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
    assert!(openstack.try_restore(ONE, "stopped", &slo.id).is_err(), "Swift is stopped");
    openstack.start_swift(ONE);
    restores(&openstack, &seeds, slo);
    openstack.stop_keystone();
    assert!(openstack.try_restore(ONE, "stopped", &slo.id).is_err(), "Keystone is stopped");
    openstack.start_keystone();

    let before = openstack.swift_log(ONE).len();
    restores(&openstack, &seeds, slo);
    let log = openstack.swift_log(ONE);
    assert!(log[before..].iter().all(|request| !request.writes()), "a restore only reads: {:?}", &log[before..]);
    let read = log[before..].iter().find(|request| request.method == "GET").expect("it was read");
    let path = location(slo).split_once("/v1/").expect("a location").1;
    assert_eq!((&*read.path, read.status, Some(read.sent)), (&*format!("/v1/{path}"), 200, slo.bytes));
}
