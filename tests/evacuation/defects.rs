//! Backups that must not be copied, each named by its id: what the dry run says of it, what the run says again, and that
//! the one that is right is not held up.

use backhaul::state::State;
use serde_json::Value;

use crate::bed::{Bed, READ_ALL, WRITE_ALL, others_are_untouched};
use crate::openstack::{Backup, ONE, OpenStack, Seeds, TWO};

const TENANT: &str = "defects";

/// What must be said of one: exit code where it is all there is to do, cause, message, and how the hint begins.
struct Said {
    name: &'static str,
    code: i32,
    cause: &'static str,
    message: String,
    hint: &'static str,
}

const fn said(name: &'static str, code: i32, cause: &'static str, message: String, hint: &'static str) -> Said {
    Said { name, code, cause, message, hint }
}

fn damaged(openstack: &OpenStack, seeds: &Seeds) -> [Said; 4] {
    let backup = |name: &str| seeds.backup(&format!("{TENANT}/{name}"));
    let object = |name: &str| {
        let swift = openstack.auth_url().replace("http://", "swift:") + "#" + ONE;
        let Backup { container, object, .. } = backup(name);
        let object = object.as_deref().expect("it had one");
        format!("`AUTH_{}/{container}/{object}` in {swift}", openstack.project(TENANT))
    };
    [
        said(
            "bad-checksum",
            7,
            "integrity",
            format!(
                "Trove says that `bad-checksum` has checksum {}, and the object's ETag is {}: Trove would not restore it",
                "0".repeat(32),
                backup("bad-checksum").checksum.as_deref().expect("stored")
            ),
            "the backup is damaged where it is; make a new one, or leave it out with `except`",
        ),
        said("gone-object", 3, "source-missing", format!("cannot read {}: no such object", object("gone-object")), ""),
        said(
            "gone-segment",
            3,
            "source-missing",
            format!(
                "cannot read {}: its segment 1 (/database_backups/{}_00000001) is missing",
                object("gone-segment"),
                backup("gone-segment").id
            ),
            "the backup is damaged where it lies: make a new one, or leave this one out",
        ),
        said(
            "c-inc1",
            3,
            "parent-missing",
            format!("its parent `c-full` cannot be had: cannot read {}: no such object", object("c-full")),
            "",
        ),
    ]
}

fn of_no_use(openstack: &OpenStack, seeds: &Seeds) -> [Said; 4] {
    let backup = |name: &str| seeds.backup(&format!("{TENANT}/{name}"));
    let version = |name: &str| openstack.datastore_version(TWO, "mysql", name);
    [
        said(
            "failed",
            3,
            "source-unreadable",
            format!("the record `{}` in region `{ONE}` says FAILED: Trove says FAILED", backup("failed").id),
            "",
        ),
        said(
            "deleted",
            3,
            "source-missing",
            format!("the record `{}` in region `{ONE}` says DELETED: its owner deleted it", backup("deleted").id),
            "",
        ),
        said(
            "snapshot",
            3,
            "source-unreadable",
            format!(
                "the row `{}` is of no use: the location is a snapshot in Cinder, which stays in its region; only backups in \
                 Swift can be copied",
                backup("snapshot").id
            ),
            "",
        ),
        said(
            "old-version",
            3,
            "no-counterpart",
            format!(
                "region `{TWO}` has no datastore version `mysql/5.6.51`; it has `mysql/5.7.29`, id {}; \
                 `mysql/5.7.44`, id {}; `mysql/8.0` (number 8.0.36), id {}",
                version("5.7.29"),
                version("5.7.44"),
                version("8.0")
            ),
            "name one in the region's entry of the plan: datastore_versions: { mysql/5.6.51: ",
        ),
    ]
}

/// By the id of its source, which the plan names it by; where no record can be had nobody knows another name.
#[track_caller]
fn planned<'f>(planned: &'f [Value], backup: &Backup) -> &'f Value {
    let named = |planned: &&Value| planned["name"] == *backup.name || planned["name"] == *backup.id;
    planned.iter().find(named).unwrap_or_else(|| panic!("{} is not planned", backup.name))
}

#[track_caller]
fn is_said(said: &Said, cause: &str, message: &str, hint: &str) {
    assert_eq!((cause, message), (said.cause, &*said.message), "{}", said.name);
    assert!(hint.starts_with(said.hint), "{}: {hint}", said.name);
    assert_eq!(hint.is_empty(), said.hint.is_empty(), "{}: {hint}", said.name);
}

#[test]
fn each_is_told_by_the_dry_run_and_by_the_run() {
    let Some(openstack) = OpenStack::shared("planted defects") else { return };
    openstack.add_tenants(&[TENANT]);
    let seeds = openstack.seed(&["defects/standard"]);
    let all: Vec<Said> = damaged(&openstack, &seeds).into_iter().chain(of_no_use(&openstack, &seeds)).collect();
    let backup = |name: &str| seeds.backup(&format!("{TENANT}/{name}"));
    let bed = Bed::new(&openstack);
    let named = all.iter().map(|said| said.name).chain(["plain"]).map(backup);
    let entries: Vec<String> =
        named.map(|backup| format!("{{ id: {}, from: region-one, to: [region-two] }}", backup.id)).collect();
    bed.plan(&[READ_ALL, WRITE_ALL], &entries);

    let dry_run = bed.forecast(&[]);
    assert_eq!(dry_run.code, Some(7));
    assert!(planned(&dry_run.planned, backup("plain"))["failure"].is_null());
    for said in &all {
        let failure = &planned(&dry_run.planned, backup(said.name))["failure"];
        let text = |field: &str| failure[field].as_str().unwrap_or_default();
        is_said(said, text("cause"), text("message"), text("hint"));
    }
    // In words, for a person: grouped, with the message of one of each kind.
    let words = bed.backhaul(&["plan", "plan.yaml"]).expect(7);
    for cause in ["the source is not there", "the source cannot be read", "an integrity check failed"] {
        assert!(words.stdout.contains(&format!("failed: {cause}")), "{words}");
    }

    let run = bed.run().expect(7);
    let rows = bed.rows();
    let row = |name: &str| {
        let id = Some(&*backup(name).id);
        rows.iter().find(|row| row.source_id.as_deref() == id).unwrap_or_else(|| panic!("{name} has no row"))
    };
    assert_eq!(row("plain").state, State::Completed, "{run}");
    assert!(openstack.try_restore(TWO, TENANT, &row("plain").id.to_string()).is_ok());
    for said in &all {
        let row = row(said.name);
        assert_eq!(row.state, State::Failed, "{}", said.name);
        let failure = row.failure().expect("it has failed");
        is_said(said, failure.cause.code(), &failure.message, failure.hint.as_deref().unwrap_or_default());
        assert!(run.stderr.contains(&said.message), "{}: {run}", said.name);
        let id = format!("id={}", backup(said.name).id);
        bed.backhaul(&["-q", "run", "plan.yaml", "--only", &id]).expect(said.code);
    }
    let completed = format!("SELECT name FROM backups WHERE tenant_id = '{}'", openstack.project(TENANT));
    assert_eq!(openstack.sql(TWO, &completed), [["plain"]]);
    others_are_untouched(&openstack);
}
