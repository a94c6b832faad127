//! What a user sees: the commands, one situation each, with their texts and exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder with regions `one`, `two` and `three`, a plan, and a database.
struct Place {
    folder: TempDir,
}

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Place {
    /// Source files by name and content, and the plan's lines after its regions.
    fn new(files: &[(&str, &str)], plan: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(place.path("one")).expect("a new folder");
        for (seconds, (name, content)) in (1..).zip(files) {
            place.write(&format!("one/{name}"), content);
            let file = fs::OpenOptions::new().write(true).open(place.path(&format!("one/{name}"))).expect("writable");
            let made = std::time::SystemTime::now() - std::time::Duration::from_secs(1_000 - seconds);
            file.set_modified(made).expect("a time");
        }
        place.plan(plan);
        place
    }

    fn plan(&self, lines: &str) {
        let regions =
            ["one", "two", "three"].map(|name| format!("  {name}: {{ store: {{ type: file, path: {name} }} }}\n"));
        let head = format!("version: 1\nname: test\ndatabase: sqlite://test.db\nregions:\n{}", regions.concat());
        self.write("plan.yaml", &format!("{head}{lines}\n"));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("it is there").join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("folders");
        fs::write(path, content).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn backhaul(&self, arguments: &str) -> Said {
        self.backhaul_with(arguments, &[])
    }

    fn backhaul_with(&self, arguments: &str, environment: &[(&str, &str)]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_backhaul"))
            .args(arguments.split(' '))
            .current_dir(self.path(""))
            .env("XDG_STATE_HOME", self.path("state"))
            .env_remove("BACKHAUL_DATABASE_URL")
            .envs(environment.iter().copied())
            .output()
            .expect("backhaul starts");
        let said = Said {
            code: output.status.code().expect("no signal"),
            stdout: self.without_chance(&output.stdout),
            stderr: self.without_chance(&output.stderr),
        };
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        said
    }

    /// Ids, times and the folder's own name differ from run to run.
    fn without_chance(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let text = text.replace(&self.path("").display().to_string(), "/here/");
        let words = text.split_inclusive([' ', '\n', ',', '"', '`']).map(|word| {
            let (inner, end) = word.split_at(word.trim_end_matches([' ', '\n', ',', '"', '`']).len());
            let is_id = inner.len() == 36 && inner.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            if is_id { format!("<id>{end}") } else { word.to_owned() }
        });
        words.collect()
    }

    /// Every line of every record object of a region.
    fn records(&self, region: &str) -> Vec<serde_json::Value> {
        let mut lines = Vec::new();
        for entry in fs::read_dir(self.path(&format!("{region}/.backhaul/records"))).into_iter().flatten() {
            let text = fs::read_to_string(entry.expect("readable").path()).expect("UTF-8");
            lines.extend(text.lines().map(|line| serde_json::from_str(line).expect("JSON")));
        }
        lines
    }
}

impl Said {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn has(self, part: &str) -> Self {
        let found = self.stdout.contains(part) || self.stderr.contains(part);
        assert!(found, "not said: {part}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn has_not(self, part: &str) -> Self {
        let found = self.stdout.contains(part) || self.stderr.contains(part);
        assert!(!found, "said: {part}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

const CHAIN: [(&str, &str); 3] = [("full.gz", "full backup"), ("inc1.gz", "first increment"), ("inc2.gz", "second")];
const CHAIN_PLAN: &str = "backups:
  - { location: full.gz, from: one, to: [two] }
  - { location: inc1.gz, from: one, to: [two], parent: full.gz }
  - { location: inc2.gz, from: one, to: [two], parent: inc1.gz }";

#[test]
fn a_dry_run_tells_everything_and_changes_nothing() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    let said = place.backhaul("plan plan.yaml").expect(0);
    let (told, asked_in) = said.stdout.split_once("; asked in").expect("its last line");
    assert!(asked_in.ends_with(" ms\n"), "{asked_in}");
    assert_eq!(
        told,
        "database sqlite:///here/test.db\n\
         one -> two: 3 copies, 32 B\n\
         \x20 full.gz  one -> two  11 B  copy, register\n\
         \x20 └ inc1.gz  one -> two  15 B  copy, register\n\
         \x20 └ inc2.gz  one -> two  6 B  copy, register\n\
         about 18 requests; no bandwidth limit\n\
         nothing was changed; write permission was not tested"
    );
    assert!(!place.path("two").exists() && !place.path("test.db").exists());
}

#[test]
fn a_run_registers_a_chain_and_the_next_one_does_nothing() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0).has("1 of 1 chain restorable, 32 B");
    for (name, content) in CHAIN {
        assert_eq!(place.read(&format!("two/{name}")), content);
    }
    let records = place.records("two");
    assert_eq!(records.len(), 3);
    let parents = records.iter().filter(|record| record["parent_id"].is_string()).count();
    assert_eq!(parents, 2);
    place.backhaul("-q run plan.yaml").expect(0).has_not("restorable");
    assert_eq!(place.records("two").len(), 3, "nothing is recorded twice");
    place.backhaul("status plan.yaml").expect(0).has("exit code 0").has("1 of 1 chain restorable");
    place.backhaul("graph --format mermaid plan.yaml").expect(0).has("r0 --> r1");
}

#[test]
fn json_is_a_line_an_event_and_nothing_else() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    let said = place.backhaul("--json run plan.yaml").expect(0);
    let lines: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["type"].as_str().expect("a type")).collect();
    let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("run_started", "summary"));
    assert_eq!((count("copy_started"), count("copied"), count("registered")), (3, 3, 3));
    assert_eq!(lines[lines.len() - 1]["exit_code"], 0);
    assert_eq!(said.stderr, "");
    for command in ["check plan.yaml", "plan plan.yaml", "status plan.yaml", "verify plan.yaml", "gc plan.yaml"] {
        let said = place.backhaul(&format!("--json {command}")).expect(0);
        assert!(!said.stdout.is_empty());
        for line in said.stdout.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(value["type"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_missing_link_refuses_its_chain_below_it_and_nothing_else() {
    let place = Place::new(
        &[("full.gz", "full"), ("inc2.gz", "second"), ("other.gz", "other")],
        &format!("{CHAIN_PLAN}\n  - {{ location: other.gz, from: one, to: [two] }}"),
    );
    place
        .backhaul("plan plan.yaml")
        .expect(3)
        .has("cannot read `inc1.gz`")
        .has("1 failed: the parent backup cannot be had")
        .has_not("other.gz cannot");
    place.backhaul("run plan.yaml").expect(3).has("1 of 2 chains restorable").has("its parent `inc1.gz` cannot be had");
    assert!(place.path("two/full.gz").exists() && place.path("two/other.gz").exists());
    assert!(!place.path("two/inc2.gz").exists(), "no byte of it moved");
    place.write("one/inc1.gz", "first increment");
    place.backhaul("run plan.yaml").expect(0).has("2 of 2 chains restorable");
}

#[test]
fn nothing_is_overwritten_and_the_same_bytes_are_adopted() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.write("two/full.gz", "FULL BACKUP");
    place.write("two/inc2.gz", "second");
    let said = place.backhaul("run plan.yaml").expect(3);
    said.has("another object lies under the target's name `full.gz`").has("0 of 1 chain restorable").has("blocked");
    assert_eq!(place.read("two/full.gz"), "FULL BACKUP");
    // Left alone until somebody has looked; then the chain is completed.
    place.backhaul("run plan.yaml").expect(3);
    fs::remove_file(place.path("two/full.gz")).expect("moved away");
    place.backhaul("run --retry-failed plan.yaml").expect(0).has("1 of 1 chain restorable");
    assert_eq!(place.read("two/full.gz"), "full backup");
    let adopted =
        place.records("two").iter().filter(|record| record["verified"] == "already there, read whole, sha256").count();
    assert_eq!(adopted, 1);
}

#[test]
fn a_lost_database_costs_reading_and_nothing_else() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    let before = place.records("two");
    fs::remove_file(place.path("test.db")).expect("it was there");
    place.backhaul("plan plan.yaml").expect(0).has("3 lie in their place already, to be read and adopted");
    place.backhaul("run plan.yaml").expect(0).has("1 of 1 chain restorable");
    assert_eq!(place.records("two"), before, "the records are the same, none is doubled");
    for depth in ["quick", "full"] {
        place.backhaul(&format!("verify --depth {depth} plan.yaml")).expect(0).has("3 of 3 copies");
    }
    // Lost again, and the plan has other words for it all.
    fs::remove_file(place.path("test.db")).expect("it was there");
    let renamed = place.read("plan.yaml").replace("one:", "uno:").replace("from: one", "from: uno");
    place.write("plan.yaml", &(renamed + "defaults: { name: \"again {name}\" }\n"));
    place.backhaul("run plan.yaml").expect(0);
    place.backhaul("verify plan.yaml").expect(0).has("3 of 3 copies");
    assert_eq!(place.records("two"), before);
}

#[test]
fn a_wrong_digest_is_exit_7_and_leaves_nothing() {
    let wrong = "0".repeat(64);
    let place =
        Place::new(&CHAIN, &format!("backups: [{{ location: full.gz, from: one, to: [two], sha256: \"{wrong}\" }}]"));
    let said = place.backhaul("run plan.yaml").expect(7);
    said.has(&format!("expected sha256 {wrong} (the plan says), received sha256 "))
        .has("nothing appeared in the target");
    let left: Vec<_> = fs::read_dir(place.path("two")).expect("made").collect();
    assert!(left.is_empty(), "{left:?}");
    place.plan("backups: [{ location: full.gz, from: one, to: [two] }]");
    place.backhaul("run --retry-failed plan.yaml").expect(0);
}

#[test]
fn one_backup_for_two_targets_must_be_the_same_in_both() {
    let place = Place::new(&CHAIN, "backups: [{ location: full.gz, from: one, to: [two] }]");
    place.backhaul("run plan.yaml").expect(0);
    place.write("one/full.gz", "rewritten!!");
    place.plan("backups: [{ location: full.gz, from: one, to: [two, three] }]");
    place.backhaul("run plan.yaml").expect(7).has("an earlier copy had");
    assert!(!place.path("three/full.gz").exists());
}

#[test]
fn canaries_take_whole_chains() {
    let plan = format!("{CHAIN_PLAN}\n  - {{ location: other.gz, from: one, to: [two] }}");
    let files = [CHAIN[0], CHAIN[1], CHAIN[2], ("other.gz", "other")];
    let place = Place::new(&files, &plan);
    place.backhaul("run --only id=inc1.gz plan.yaml").expect(0).has("1 of 1 chain restorable");
    assert!(place.path("two/inc2.gz").exists() && !place.path("two/other.gz").exists());
    place.backhaul("status plan.yaml").expect(0).has("1 of 2 chains restorable");
    place.backhaul("run --limit 1 plan.yaml").expect(0);
    assert!(place.path("two/other.gz").exists());
    place.backhaul("run --limit 0 plan.yaml").expect(2);
    place.backhaul("run --only name=x plan.yaml").expect(2).has("expected tenant=…, instance=… or id=…");
}

#[test]
fn the_end_of_the_window_drains_and_the_next_run_goes_on() {
    let big = "x".repeat(8 << 20);
    let place = Place::new(
        &[("big", &big)],
        "defaults: { part_size: 1MiB }\nlimits: { bandwidth: 2MiB/s }\nbackups: [{ location: big, from: one, to: [two] }]",
    );
    let said = place.backhaul("run --stop-after 1s plan.yaml").expect(4);
    said.has("the window of 1 s is over").has("run the same command again");
    place.backhaul("run --bandwidth unlimited plan.yaml").expect(0);
    assert_eq!(place.read("two/big"), big);
}

#[test]
fn recorded_work_can_be_looked_at_with_the_source_gone_and_its_reference_unset() {
    let place = Place::new(&CHAIN, "");
    let plan = "version: 1\nname: test\nregions:\n  one: { store: { type: file, path: \"${SOURCE}\" } }\n  two: { store: { type: file, path: two } }\nbackups: [{ location: full.gz, from: one, to: [two] }]\n";
    place.write("plan.yaml", plan);
    let hint = "region `one` refers to ${SOURCE}, which is not set; nothing was touched";
    place.backhaul("run plan.yaml").expect(2).has(hint).has("hint: export SOURCE=…");
    place.backhaul("check plan.yaml").expect(0).has("the environment variable `SOURCE` is not set");
    place.backhaul_with("run plan.yaml", &[("SOURCE", "one")]).expect(0);
    fs::remove_dir_all(place.path("one")).expect("gone");
    place.backhaul("status plan.yaml").expect(0).has("1 of 1 chain restorable");
    place.backhaul("status").expect(0).has("1 of 1 chain restorable");
    place.backhaul("verify plan.yaml").expect(0).has("1 of 1 copies read and hashed");
    fs::remove_file(place.path("plan.yaml")).expect("gone");
    let database = place.path("state/backhaul/test.db");
    place.backhaul(&format!("--database sqlite://{} verify", database.display())).expect(0);
    place.backhaul(&format!("--database sqlite://{} gc", database.display())).expect(0);
}

#[test]
fn a_source_that_is_gone_is_exit_6_and_never_an_empty_one() {
    let place = Place::new(&[], CHAIN_PLAN);
    fs::remove_dir(place.path("one")).expect("gone");
    place.backhaul("run plan.yaml").expect(6).has("region `one` cannot be reached");
    place.plan("backups: [{ select: { from: one }, to: [two] }]");
    place.backhaul("run plan.yaml").expect(6).has("region `one` cannot be reached");
}

#[test]
fn verify_finds_what_is_gone_and_what_differs() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    fs::remove_file(place.path("two/inc2.gz")).expect("gone");
    place
        .backhaul("verify --depth quick plan.yaml")
        .expect(3)
        .has("the object `inc2.gz` of `inc2.gz` is gone from region `two`");
    let failed: Vec<_> = place.records("two").into_iter().filter(|record| record["state"] == "FAILED").collect();
    assert_eq!(failed.len(), 1, "the catalog says so too");
    place.backhaul("status plan.yaml").expect(0).has("0 of 1 chain restorable");
    place.backhaul("run --retry-failed plan.yaml").expect(0);
    place.backhaul("verify plan.yaml").expect(0);
    place.write("two/full.gz", "FULL backup");
    place.backhaul("verify --depth quick plan.yaml").expect(0);
    place.backhaul("verify plan.yaml").expect(7).has("has sha256").has("and had");
}

#[test]
fn verify_of_what_never_ran_says_so_and_what_to_run() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("verify plan.yaml").expect(6).has("test.db");
    place.backhaul("run plan.yaml").expect(0);
    let other = place.read("plan.yaml").replace("name: test", "name: other");
    place.write("other.yaml", &other);
    place
        .backhaul("verify other.yaml")
        .expect(2)
        .has("error: the plan `other` has never run with this database: there is nothing to look at")
        .has("hint: backhaul run other.yaml");
    fs::remove_file(place.path("one/full.gz")).expect("it was there");
    fs::remove_dir_all(place.path("two")).expect("it was there");
    fs::remove_file(place.path("test.db")).expect("it was there");
    place.backhaul("run plan.yaml").expect(3);
    place
        .backhaul("verify plan.yaml")
        .expect(0)
        .has("no copy is registered yet, so none was looked at")
        .has_not("0 of 0");
}

#[test]
fn bit_rot_that_no_time_stamp_shows_is_never_taken_for_a_copy_again() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    let path = place.path("two/full.gz");
    let modified = fs::metadata(&path).and_then(|facts| facts.modified()).expect("a time");
    let file = fs::OpenOptions::new().write(true).open(&path).expect("writable");
    std::os::unix::fs::FileExt::write_all_at(&file, b"F", 0).expect("written");
    file.set_modified(modified).expect("set back");
    place.backhaul("verify plan.yaml").expect(7);
    place
        .backhaul("run --retry-failed plan.yaml")
        .expect(3)
        .has("another object lies under the target's name `full.gz`");
    place.backhaul("status plan.yaml").expect(0).has("0 of 1 chain restorable");
}

#[test]
fn selects_ask_the_records_of_a_vault() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    let id = |name: &str| {
        let records = place.records("two");
        let record = records.iter().find(|record| record["name"] == name).expect("a record");
        record["id"].as_str().expect("an id").to_owned()
    };
    place.plan(&format!("backups: [{{ id: {}, from: two, to: [three] }}]", id("inc1.gz")));
    place.backhaul("run --database sqlite://again.db plan.yaml").expect(0).has("1 of 1 chain restorable");
    assert_eq!(place.records("three").len(), 2, "its parent came by itself, its child did not");
    place.plan(&format!(
        "backups: [{{ select: {{ from: two, except: [{{ id: {}, reason: known }}] }}, to: [three] }}]",
        id("full.gz")
    ));
    let said = place.backhaul("run --database sqlite://again.db plan.yaml").expect(0);
    said.has("not taken by selects: 3 left out by `except`");
    assert_eq!(
        place.records("three").len(),
        2,
        "what builds on a backup that is never to be taken is not taken either"
    );
    // The newest, and its parent that is there already.
    place.plan("backups: [{ select: { from: two, latest: 1, newer_than: 1d }, to: [three] }]");
    place.backhaul("run --database sqlite://again.db plan.yaml").expect(0).has("1 of 1 chain restorable, 21 B");
    place.plan("backups: [{ id: 00000000-0000-0000-0000-000000000001, from: two, to: [three] }]");
    place
        .backhaul("run --database sqlite://again.db plan.yaml")
        .expect(3)
        .has("region `two` has no record with the id");
}

#[test]
fn damaged_records_are_named_and_stop_those_who_need_them() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    place.write("two/.backhaul/records/zzz.ndjson", "not a record\n");
    place
        .backhaul("verify plan.yaml")
        .expect(6)
        .has("cannot read record object `.backhaul/records/zzz.ndjson`, line 1");
    place.backhaul("init --from two --to three").expect(6).has("it was damaged, or written by a newer Backhaul");
}

#[test]
fn init_writes_a_plan_that_runs() {
    let place = Place::new(&CHAIN, "");
    place
        .backhaul("init --from one --to vault --name first -o first.yaml")
        .expect(0)
        .has("3 backups from objects without records");
    place.backhaul("init --from one --to vault -o first.yaml").expect(2).has("name a file that is not there yet");
    place.backhaul("run first.yaml").expect(0).has("3 of 3 chains restorable");
    place.backhaul("init --from vault --to one --name second -o second.yaml").expect(0).has("3 backups from records");
    place.backhaul("check second.yaml").expect(0);
    fs::create_dir(place.path("empty")).expect("a new folder");
    place.backhaul("init --from empty --to vault").expect(3).has("there is nothing to copy");
    place.backhaul("init --from nowhere --to vault").expect(6);
}

/// The blueprint's own command: regions from the file that a user has, or names.
#[test]
fn a_backup_is_copied_by_its_id_between_the_regions_of_a_file() {
    let place = Place::new(&CHAIN[..1], "backups:\n  - { location: full.gz, from: one, to: [two] }");
    place.backhaul("run plan.yaml").expect(0);
    let id = place.records("two")[0]["id"].as_str().expect("an id").to_owned();
    let regions = |two: &str, three: &str, rest: &str| {
        let region = |name: &str, more: &str| {
            format!("  {name}: {{ store: {{ type: file, path: \"{}\" }}{more} }}\n", place.path(name).display())
        };
        format!("version: 1\nregions:\n{}{}{rest}\n", region("two", two), region("three", three))
    };
    let config = place.path("config").display().to_string();
    let by_home = [("XDG_CONFIG_HOME", &*config)];
    let copy = format!("backup-copy moved {id}");
    place.backhaul_with(&copy, &by_home).expect(2).has("config/backhaul/regions.yaml");

    place.write("config/backhaul/regions.yaml", &regions("", "", ""));
    place
        .backhaul_with(&copy, &by_home)
        .expect(2)
        .has("it is not said which region gets the backup")
        .has("add --to; the regions are: `two`, `three`");
    let to_three = "defaults: { to: [three] }";
    // Where it is named by `defaults` that is a problem of the file, with its place.
    for (two, three, rest, arguments, said) in [
        (
            ", copy_from: false",
            "",
            to_three,
            "",
            "error: region `two` is closed for copying from it\n\nhint: it says `copy_from: false`",
        ),
        (
            "",
            ", copy_to: false",
            "",
            " --to three",
            "error: region `three` is closed for copying to it\n\nhint: it says `copy_to: false`",
        ),
        ("", ", copy_to: false", to_three, "", "hint: open the region, or name another one"),
    ] {
        place.write("closed.yaml", &regions(two, three, rest));
        place.backhaul_with(&format!("{copy}{arguments}"), &[("BACKHAUL_REGIONS", "closed.yaml")]).expect(2).has(said);
    }
    place.backhaul_with(&format!("{copy} --region three"), &by_home).expect(2);
    assert!(place.records("three").is_empty());

    place.write("config/backhaul/regions.yaml", &regions("", "", to_three));
    for _ in 0..2 {
        place.backhaul_with(&format!("{copy} --description {id}"), &by_home).expect(0).has("| name ").has("| moved ");
    }
    let said = place.backhaul_with(&format!("{copy} --region two --to three -f json"), &by_home).expect(0);
    let record: serde_json::Value = serde_json::from_str(&said.stdout).expect("one object");
    assert_eq!((&record["name"], &record["status"]), (&"moved".into(), &"COMPLETED".into()));
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    // Who gives it other words is told that it keeps its own.
    for (words, told) in [
        ("other", "the name is not changed"),
        ("moved --description other", "the description is not changed"),
        ("other --description other", "the name and description are not changed"),
    ] {
        let copy = format!("{words} --to three {id}");
        let stays = format!(
            "warning: the backup was copied before and stays registered as `moved`, description `<id>`: {told}"
        );
        place.backhaul_with(&format!("backup-copy {copy}"), &by_home).expect(0).has(&stays).has("| moved ");
    }
    let records = place.records("three");
    assert_eq!((records.len(), records[0]["name"].as_str()), (1, Some("moved")));
    let unknown = "backup-copy moved 6f0d3c1e-58a7-4b0e-9a41-b1d27c5e8f36";
    place.backhaul_with(unknown, &by_home).expect(3).has("has no record with the id");
}

#[test]
fn done_work_stays_the_plans_when_the_plan_forgets_it() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    place.plan("backups: [{ location: full.gz, from: one, to: [two] }]");
    place.backhaul("run plan.yaml").expect(0).has("1 of 1 chain restorable, 11 B");
    place.backhaul("verify plan.yaml").expect(0).has("3 of 3 copies");
}

#[test]
fn a_finished_plan_that_changes_is_not_taken_for_finished() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    let again = |plan: &str, told: &str| {
        place.plan(plan);
        // The second time nothing is left to write down either.
        for _ in 0..2 {
            place.backhaul("run plan.yaml").expect(0).has(told);
            place.backhaul("status plan.yaml").expect(0).has("exit code 0").has_not("waiting");
        }
    };
    again(CHAIN_PLAN, "1 of 1 chain restorable, 32 B");
    // A target more, and what is new there is copied.
    let full = "backups: [{ location: full.gz, from: one, to: [two, three] }]";
    again(full, "2 of 2 chains restorable, 22 B");
    assert_eq!((place.read("three/full.gz").as_str(), place.records("three").len()), ("full backup", 1));
    // Another order, and what was forgotten and is wanted again.
    let other_order = "backups:
  - { location: full.gz, from: one, to: [three, two] }
  - { location: inc2.gz, from: one, to: [two], parent: inc1.gz }
  - { location: inc1.gz, from: one, to: [two], parent: full.gz }";
    again(other_order, "2 of 2 chains restorable, 43 B");
    // What another plan has found bad since is not done any more, and neither is what it carries.
    fs::remove_file(place.path("two/inc1.gz")).expect("removed");
    place.backhaul("verify plan.yaml").expect(3);
    place.backhaul("run plan.yaml").expect(3).has("1 of 2 chains restorable");
    // The region is asked for whatever the rows say.
    place.plan(&other_order.replace("from: one", "from: nowhere"));
    place.backhaul("run plan.yaml").expect(2);
}

#[test]
fn the_database_is_one_and_named() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    let other = [("BACKHAUL_DATABASE_URL", "sqlite://other.db")];
    place.backhaul_with("run plan.yaml", &other).expect(2).has("say which one with --database");
    place.backhaul_with("run --database sqlite://third.db plan.yaml", &other).expect(0).has("database: sqlite://");
    assert!(place.path("third.db").exists() && !place.path("other.db").exists());
    place.backhaul("run --database postgres://u:secret@h/db plan.yaml").expect(2).has_not("secret");
    place.backhaul("run --database sqlite::memory: plan.yaml").expect(2);
    place.backhaul("status --database sqlite://absent.db").expect(6);
    assert!(!place.path("absent.db").exists(), "looking makes nothing");
    place.backhaul("verify --database sqlite://absent.db plan.yaml").expect(6);
    assert!(!place.path("absent.db").exists() && !place.path("absent.db.lock").exists());
}

#[test]
fn symlinks_and_special_files_are_refused_by_name() {
    let place = Place::new(&[("real", "bytes")], "");
    std::os::unix::fs::symlink("real", place.path("one/link")).expect("made");
    std::os::unix::fs::symlink("/etc", place.path("two")).expect("made");
    place.plan("backups: [{ location: link, from: one, to: [three] }]");
    place.backhaul("run plan.yaml").expect(3).has("cannot read `link` in /here/one: it is a symlink");
    assert!(!Path::new(&place.path("three/link")).exists());
}

#[test]
fn a_resumed_copy_is_not_trusted_unseen() {
    let big = "x".repeat(6 << 20);
    let plan = "defaults: { part_size: 1MiB }\nlimits: { bandwidth: 4MiB/s }\nbackups: [{ location: big, from: one, to: [two] }]";
    for damage in ["zero", "flip"] {
        let place = Place::new(&[("big", &big)], plan);
        place.backhaul("run --stop-after 1s plan.yaml").expect(4);
        let staged = fs::read_dir(place.path("two")).expect("made").map(|entry| entry.expect("readable").path());
        let staged = staged
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "part"))
            .expect("kept");
        let file = fs::OpenOptions::new().write(true).open(&staged).expect("writable");
        match damage {
            "zero" => file.set_len(0).expect("cut"),
            _ => std::os::unix::fs::FileExt::write_all_at(&file, b"y", 99).expect("written"),
        }
        place.backhaul("run --bandwidth unlimited plan.yaml").expect(0);
        assert!(place.read("two/big") == big, "{damage}: other bytes than the source's");
        place.backhaul("verify plan.yaml").expect(0);
    }
}

#[test]
fn source_and_target_must_not_be_one_folder_by_any_path() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    std::os::unix::fs::symlink("one", place.path("two")).expect("made");
    place.backhaul("run plan.yaml").expect(2).has("are one place, or one lies inside the other");
    fs::remove_file(place.path("two")).expect("a link");
    std::os::unix::fs::symlink("one/inside", place.path("two")).expect("made");
    fs::create_dir(place.path("one/inside")).expect("made");
    place.backhaul("plan plan.yaml").expect(2).has("nothing is written into a source");
    assert!(!place.path("one/.backhaul").exists());
}

#[test]
fn a_target_that_lost_its_records_is_not_written_to() {
    let plan = format!("{CHAIN_PLAN}\n  - {{ location: other.gz, from: one, to: [two] }}");
    let place = Place::new(&[CHAIN[0], CHAIN[1], CHAIN[2], ("other.gz", "other")], &plan);
    place.backhaul("run --only id=inc2.gz plan.yaml").expect(0);
    fs::rename(place.path("two"), place.path("unmounted")).expect("moved");
    place.backhaul("run plan.yaml").expect(6).has("region `two` cannot be reached");
    fs::create_dir(place.path("two")).expect("an empty mount point");
    place.backhaul("run plan.yaml").expect(6).has("has none of the records that were registered there");
    place.backhaul("verify plan.yaml").expect(6).has("is its disk mounted?").has("3 could not be looked at");
    fs::remove_dir(place.path("two")).expect("still empty");
    fs::rename(place.path("unmounted"), place.path("two")).expect("mounted");
    place.backhaul("run plan.yaml").expect(0).has("2 of 2 chains restorable");
    place.backhaul("verify plan.yaml").expect(0).has("4 of 4 copies");
}

#[test]
fn a_chain_whose_root_was_found_broken_stays_broken_until_it_is_mended() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    let newest = place.records("two").into_iter().find(|record| record["name"] == "inc2.gz").expect("recorded");
    let id = newest["id"].as_str().expect("an id").to_owned();
    place.plan(&format!("backups: [{{ id: {id}, from: two, to: [three] }}]"));
    let run = "run --database sqlite://again.db plan.yaml";
    place.backhaul(run).expect(0).has("3  registered");
    let full = place.records("three").into_iter().find(|record| record["name"] == "full.gz").expect("recorded");
    let copy = format!("three/{}", full["location"].as_str().expect("a location"));
    place.write(&copy, "FULL BACKUP");
    let verify = "verify --database sqlite://again.db plan.yaml";
    place.backhaul(verify).expect(7);
    place.backhaul(verify).expect(7).has("and had");
    place.backhaul(run).expect(7).has("0 of 1 chain restorable");
    fs::remove_file(place.path(&copy)).expect("moved away");
    place.backhaul("run --retry-failed --database sqlite://again.db plan.yaml").expect(0);
    place.backhaul(verify).expect(0).has("3 of 3 copies");
}

#[test]
fn what_is_registered_is_not_changed_by_editing_the_plan() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    place.plan("backups: [{ location: inc1.gz, from: one, to: [two] }]");
    place.backhaul("run plan.yaml").expect(2).has("records are never changed");
    let wrong = "0".repeat(64);
    place.plan(&format!("backups: [{{ location: full.gz, from: one, to: [two], sha256: \"{wrong}\" }}]"));
    place.backhaul("run plan.yaml").expect(2).has(&format!("not {wrong}"));
    // And a record that somebody edited is found.
    let records = fs::read_dir(place.path("two/.backhaul/records")).expect("there");
    for entry in records.map(|entry| entry.expect("readable").path()) {
        let text = fs::read_to_string(&entry).expect("UTF-8");
        fs::write(&entry, text.replace("\"parent_id\"", "\"parent_was\"")).expect("edited");
    }
    place.plan(CHAIN_PLAN);
    place.backhaul("verify --depth quick plan.yaml").expect(7).has("2 differ");
}

#[test]
fn init_tells_what_it_leaves_out() {
    let place = Place::new(&CHAIN, CHAIN_PLAN);
    place.backhaul("run plan.yaml").expect(0);
    place.write("two/extra", "no record");
    std::os::unix::fs::symlink("extra", place.path("two/link")).expect("made");
    let said = place.backhaul("init --from two --to three").expect(0);
    said.has("left out: `extra`: it has no record").has("left out: `link`: it is a symlink");
    place.backhaul("init --from two --to two").expect(2).has("these arguments give no valid plan");
    place.backhaul("--json init --from two --to three").expect(0).has("\"type\":\"init\"");
    place.write("one/a${b}", "odd");
    place.backhaul("init --from one --to three").expect(0).has("which plans cannot say");
}

#[test]
fn a_selection_that_matches_nothing_is_an_error_and_a_lost_chain_uses_up_no_limit() {
    let plan =
        "backups:\n  - { location: lost.gz, from: one, to: [two] }\n  - { location: full.gz, from: one, to: [two] }";
    let place = Place::new(&[("lost.gz", "lost"), CHAIN[0]], plan);
    place.write("two/lost.gz", "LOST");
    place.backhaul("run --limit 1 plan.yaml").expect(3);
    place.backhaul("run --limit 1 plan.yaml").expect(0);
    assert!(place.path("two/full.gz").exists());
    place.backhaul("run --only id=typo plan.yaml").expect(2).has("no backup of the plan matches --only");
    place.backhaul("run --memory 1B plan.yaml").expect(2).has("at least 1MiB");
}
