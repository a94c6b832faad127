//! The audit finds what is planted: a whole bed is damaged in one place, and the audit names the invariant that does not
//! hold any more.

#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "audited/clouds.rs"]
mod clouds;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "audited/logs.rs"]
mod logs;
#[path = "support/openstack.rs"]
mod openstack;
mod support;

use std::path::PathBuf;

use database_server::{DatabaseServer, Kind};
use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use support::{Bed, Findings, Layout, Options, TARGETS, files, skip, sums};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// That nothing may have.
const SECRET: &str = "hunter2/of the+tests";

const CHILD: &str = "a/inc1.xbstream.gz";
const PARENT: &str = "a/full.xbstream.gz";

/// A bed that nobody disturbs, and whose database was watched.
fn whole() -> Bed {
    let bed = Bed::new(Layout::Small);
    bed.watch();
    bed.run().expect(0);
    bed
}

/// The same bed once more, in another folder.
fn again(whole: &Bed) -> (TempDir, Bed) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for file in files(whole.path()) {
        let to = folder.path().join(file.strip_prefix(whole.path()).expect("below"));
        std::fs::create_dir_all(to.parent().expect("below")).expect("a folder");
        std::fs::copy(file, to).expect("writable");
    }
    let bed = Bed::at(folder.path(), whole.layout, Options::default());
    (folder, bed)
}

/// Changes a database behind everybody's back.
fn execute(url: &str, statements: &[String]) {
    Runtime::new().expect("a runtime").block_on(async {
        // One after the other on one connection, as a runner's transactions are.
        let mut options = ConnectOptions::new(url);
        options.max_connections(1);
        let connection = Database::connect(options).await.expect("it lets its root in");
        for statement in statements {
            let done = connection.execute_unprepared(statement).await.expect(statement);
            assert!(statement.starts_with("DROP") || done.rows_affected() > 0, "{statement}: changed nothing");
        }
        connection.close().await.expect("closed");
    });
}

fn sql(bed: &Bed, statements: &[&str]) {
    let statements: Vec<String> = statements.iter().map(|statement| (*statement).to_owned()).collect();
    execute(&bed.database_text(), &statements);
}

/// Changes the row of one copy in region `two`.
fn row(bed: &Bed, location: &str, set: &[&str]) {
    let statement = |set: &&str| format!("UPDATE backups SET {set} WHERE location = '{location}' AND region = 'two'");
    let statements: Vec<String> = set.iter().map(statement).collect();
    execute(&bed.database_text(), &statements);
}

fn copy(bed: &Bed) -> PathBuf {
    bed.target("two").join(PARENT)
}

/// The first record object in region `two`, which has the record of `PARENT` in it.
fn record(bed: &Bed) -> PathBuf {
    let objects = files(&bed.target("two").join(".backhaul/records"));
    let id = support::rows(bed)
        .0
        .into_iter()
        .find(|row| row.location.as_deref() == Some(PARENT) && row.region == "two")
        .expect("a row")
        .id;
    let has_it =
        |path: &PathBuf| std::fs::read_to_string(path).expect("a record").contains(&format!("{{\"id\":\"{id}\""));
    objects.into_iter().find(has_it).expect("its record")
}

/// An invariant, what is done against it, and how.
type Plant = (&'static str, &'static str, fn(&Bed));

const PLANTS: [Plant; 27] = [
    ("I1", "a byte of a copy is another", |bed| {
        let mut bytes = std::fs::read(copy(bed)).expect("a copy");
        bytes[150_000] ^= 1;
        std::fs::write(copy(bed), bytes).expect("writable");
    }),
    ("I1", "a copy is gone", |bed| std::fs::remove_file(copy(bed)).expect("a copy")),
    ("I1", "a copy is cut off", |bed| std::fs::write(copy(bed), "").expect("writable")),
    ("I1", "nobody knows how a copy was proved", |bed| row(bed, PARENT, &["verified = NULL"])),
    ("I2", "a token goes back", |bed| row(bed, PARENT, &["claim = claim - 1"])),
    ("I2", "a row is taken with the token that was there", |bed| row(bed, PARENT, &["claimed_by = 'somebody'"])),
    ("I2", "a row is taken from a live runner", |bed| {
        let insert = "INSERT INTO runners (id, command, host, pid, started_ms, lease_until_ms) \
                      VALUES ('first', 'run', 'h', 1, 1, 9999999999999)";
        sql(bed, &[insert]);
        row(bed, PARENT, &["claimed_by = 'first', claim = claim + 1", "claimed_by = 'second', claim = claim + 1"]);
    }),
    ("I2", "a change that no trigger saw", |bed| {
        sql(bed, &["DROP TRIGGER audit_backups_update"]);
        row(bed, PARENT, &["claim = claim + 1"]);
    }),
    ("I12", "a copy begins again after it was registered", |bed| row(bed, PARENT, &["state = 'BUILDING'"])),
    ("I12", "a row is deleted", |bed| {
        sql(bed, &["DELETE FROM plan_entries", "DELETE FROM backups WHERE parent_id IS NULL"]);
    }),
    ("I3", "a child is registered without its parent", |bed| {
        row(bed, PARENT, &["state = 'FAILED'"]);
        row(bed, CHILD, &["state = 'SAVING'", "state = 'COMPLETED'"]);
    }),
    ("I3", "the record of a parent is gone", |bed| std::fs::remove_file(record(bed)).expect("a record")),
    ("I4", "the record of a copy is gone", |bed| std::fs::remove_file(record(bed)).expect("a record")),
    ("I4", "a copy is recorded twice", |bed| {
        let again = record(bed).with_file_name("ffffffff-0000-7000-8000-000000000000.ndjson");
        std::fs::copy(record(bed), again).expect("writable");
    }),
    ("I6", "a temporary is left", |bed| {
        std::fs::write(bed.target("two").join("a/.backhaul-0123.part"), "x").expect("writable");
    }),
    ("I6", "an object that is no row's", |bed| {
        std::fs::write(bed.target("two").join("a/other"), "x").expect("writable");
    }),
    ("I6", "rows of parts are left", |bed| {
        let insert =
            "INSERT INTO parts (backup_id, number, size, sha256_state) SELECT id, 1, 1, x'00' FROM backups LIMIT 1";
        sql(bed, &[insert]);
    }),
    ("I21", "a claim is left", |bed| row(bed, PARENT, &["claimed_by = 'somebody', claim = claim + 1"])),
    ("I21", "a copy is still under way", |bed| row(bed, PARENT, &["state = 'SAVING'"])),
    ("I4", "a record names another parent than its row", |bed| row(bed, CHILD, &["parent_id = NULL"])),
    ("I4", "a record is another than its row says", |bed| row(bed, PARENT, &["record = 'another'"])),
    ("I4", "a record names another place than its row", |bed| {
        let bytes = std::fs::read(copy(bed)).expect("a copy");
        std::fs::write(bed.target("two").join("elsewhere"), bytes).expect("writable");
        row(bed, PARENT, &["location = 'elsewhere'"]);
    }),
    ("I23", "a secret stands in a row", |bed| row(bed, PARENT, &["description = 'by hunter2/of the+tests'"])),
    ("I23", "a secret was in a row that is deleted", |bed| {
        let insert = "INSERT INTO runners (id, command, host, pid, started_ms, lease_until_ms) \
                      VALUES ('first', 'hunter2%2Fof%20the%2Btests', 'h', 1, 1, 1)";
        sql(bed, &[insert, "DELETE FROM runners"]);
    }),
    ("I23", "a secret is a name", |bed| {
        std::fs::create_dir_all(bed.target("two").join("hunter2")).expect("writable");
        std::fs::write(bed.target("two").join(SECRET), "x").expect("writable");
    }),
    ("I11", "a run says 3, and all is registered", |bed| sql(bed, &["UPDATE runs SET exit_code = 3"])),
    ("I11", "a run says that all is registered, and a row is FAILED", |bed| row(bed, CHILD, &["state = 'FAILED'"])),
];

/// Whether this machine can look at all.
#[track_caller]
fn look(bed: &Bed) -> Option<Findings> {
    bed.audit().watched().finished().without(&[SECRET]).findings()
}

#[track_caller]
fn names(findings: &Findings, invariant: &str, what: &str) {
    let found = findings.violations.iter().any(|violation| violation.starts_with(&format!("{invariant}: ")));
    assert!(found, "{what}: {invariant} is not named: {findings:?}");
}

#[test]
fn a_whole_bed_is_looked_at_and_has_no_fault() {
    let bed = whole();
    let Some(findings) = look(&bed) else { return };
    assert_eq!(findings.violations, [""; 0]);
    for invariant in ["I1", "I2", "I3", "I4", "I6", "I11", "I12", "I21", "I23"] {
        assert!(findings.checked.get(invariant).is_some_and(|times| *times > 0), "{invariant}: {findings:?}");
    }
}

#[test]
fn what_is_planted_is_found() {
    let whole = whole();
    for (invariant, what, plant) in PLANTS {
        let (_folder, bed) = again(&whole);
        plant(&bed);
        let Some(findings) = look(&bed) else { return };
        names(&findings, invariant, what);
    }
}

#[test]
fn a_source_that_was_changed() {
    let bed = whole();
    if look(&bed).is_none() {
        return;
    }
    let (place, file) = (bed.target("two"), bed.path().join("sums.json"));
    std::fs::write(&file, sums(&place)).expect("writable");
    bed.audit().sums(&file, &place).holds("nothing was changed");
    for change in [
        (|bed| std::fs::write(copy(bed), "x").expect("writable")) as fn(&Bed),
        |bed| std::fs::remove_file(copy(bed)).expect("a copy"),
        |bed| std::fs::write(bed.target("two").join("new"), "x").expect("writable"),
    ] {
        change(&bed);
        let findings = bed.audit().sums(&file, &place).findings().expect("it could look before");
        names(&findings, "I8", "a source was changed");
        std::fs::write(&file, sums(&place)).expect("writable");
    }
}

/// On servers alone it is known who has made a change.
const PLANTS_OF_OWNERS: [Plant; 2] = [
    ("I2", "a runner changes what another has", |bed| {
        runners(bed);
        let claim = format!("claimed_by = 'third', claim = claim + 1 {OF_PARENT}");
        let lease = |until: i64| format!("UPDATE runners SET lease_until_ms = {until} WHERE id = 'third'");
        let statements = [
            format!("UPDATE backups SET {claim}"),
            "UPDATE commits SET sequence = 1 WHERE runner_id = 'third'".to_owned(),
            lease(1 << 50),
            format!("UPDATE backups SET changed_ms = changed_ms + 1 {OF_PARENT}"),
            "UPDATE commits SET sequence = 1 WHERE runner_id = 'fourth'".to_owned(),
            lease(1),
        ];
        execute(&bed.database_text(), &statements);
    }),
    ("I2", "a runner takes a row in the name of another", |bed| {
        let statements = [
            format!("UPDATE backups SET claimed_by = 'fourth', claim = claim + 1 {OF_PARENT}"),
            "UPDATE commits SET sequence = 2 WHERE runner_id = 'third'".to_owned(),
        ];
        execute(&bed.database_text(), &statements);
    }),
];

const OF_PARENT: &str = "WHERE location = 'a/full.xbstream.gz' AND region = 'two'";

/// In one statement, which began before: as where it had to wait for the row.
fn takes_from_a_sleeper_who_comes_back(bed: &Bed) {
    let insert = |name: &str| {
        let columns = "id, command, host, pid, started_ms, lease_until_ms";
        format!("INSERT INTO runners ({columns}) VALUES ('{name}', 'run', 'h', 1, 1, 1)")
    };
    let take = |name: &str, first: &str| {
        format!("{first} UPDATE backups SET claimed_by = '{name}', claim = claim + 1 {OF_PARENT}")
    };
    let wakes = format!("WITH wakes AS (UPDATE runners SET lease_until_ms = {} WHERE id = 'sleeper')", 1_i64 << 50);
    let give_back = format!("UPDATE backups SET claimed_by = NULL {OF_PARENT}");
    let gone = "DELETE FROM runners WHERE id IN ('sleeper', 'taker')".to_owned();
    let statements = [insert("sleeper"), insert("taker"), take("sleeper", ""), take("taker", &wakes), give_back, gone];
    execute(&bed.database_text(), &statements);
}

/// Two whose leases are over.
fn runners(bed: &Bed) {
    let insert = |name: &str| {
        let columns = "id, command, host, pid, started_ms, lease_until_ms";
        let runner = format!("INSERT INTO runners ({columns}) VALUES ('{name}', 'run', 'h', 1, 1, 1)");
        [runner, format!("INSERT INTO commits (runner_id, sequence) VALUES ('{name}', 0)")]
    };
    execute(&bed.database_text(), &["third", "fourth"].map(insert).concat());
}

fn what_is_planted_is_found_on(kind: Kind) {
    let server = match DatabaseServer::start(kind) {
        Ok(server) => server,
        Err(why) => return skip("the audit of a database on a server", &why),
    };
    Runtime::new().expect("a runtime").block_on(server.create("watched"));
    let url = server.url("watched", server.port);
    let bed = Bed::with(Layout::Small, Options { database: Some(url), ..Options::default() });
    bed.watch();
    bed.run().expect(0);
    let Some(findings) = look(&bed) else { return };
    assert_eq!(findings.violations, [""; 0], "{kind:?}");
    if kind == Kind::PostgreSql {
        takes_from_a_sleeper_who_comes_back(&bed);
        let findings = look(&bed).expect("it could look before");
        assert_eq!(findings.violations, [""; 0], "{kind:?}");
    }
    let rows = (bed.layout.objects().len() * TARGETS.len()) as u64;
    // Each row is planned, begun, copied, claimed and registered.
    assert!(findings.checked["I12"] >= 4 * rows, "{kind:?}: {findings:?}");
    // One after the other: each names its own fault beside those before. What is no matter of the log of changes was
    // looked at in a file, which cannot lose a trigger or a row so that the others are still seen.
    let of_log = |(invariant, what, _): &&Plant| {
        ["I2", "I12"].contains(invariant) && !what.contains("trigger") && !what.contains("deleted")
    };
    let mut before = Vec::new();
    for (invariant, what, plant) in PLANTS_OF_OWNERS.iter().chain(PLANTS.iter().filter(of_log)) {
        plant(&bed);
        let mut after = look(&bed).expect("it could look before");
        let all = after.violations.clone();
        after.violations.retain(|violation| !before.contains(violation));
        names(&after, invariant, &format!("{kind:?}: {what}"));
        before = all;
    }
}

#[test]
fn what_is_planted_on_a_server_is_found() {
    std::thread::scope(|scope| {
        for kind in [Kind::PostgreSql, Kind::MariaDb] {
            scope.spawn(move || what_is_planted_is_found_on(kind));
        }
    });
}
