//! Saved plans (`plan --out`): what they hold, and that running one takes exactly what was seen.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use backhaul::plan::{Entry, Known, Plan, Subject, read};
use serde_json::Value;
use support::{Bed, Layout, Output};

/// Sources of the small layout; each is a record in `two` after the bed's run.
const OBJECTS: usize = 6;

/// A plan that takes all records of `two`.
const SELECT: &str = "version: 1
name: later
database: sqlite://later.db
regions:
  two: { store: { type: file, path: ./two } }
  four: { store: { type: file, path: \"${FOUR}/deep\" } }
defaults: { part_size: 1MiB, name: \"kept {name}\" }
limits: { concurrency: 3 }
backups: [{ select: { from: two }, to: [four], description: from two }]
";

/// A bed whose `two` has records, and a plan that selects them.
fn vault() -> Bed {
    let bed = Bed::new(Layout::Small);
    bed.run().expect(0);
    fs::write(bed.path().join("select.yaml"), SELECT).expect("writable");
    bed
}

/// A command, its words split at spaces, with `FOUR` being the folder `four` relative to the plan.
fn backhaul(bed: &Bed, line: &str) -> Output {
    let words: Vec<&str> = line.split(' ').collect();
    Output::of(bed.command(&words).env("FOUR", "four").output().expect("the binary starts"))
}

fn json(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The ids that a dry run or a run names, and their source names.
fn ids(output: &Output, kind: &str) -> BTreeMap<String, String> {
    let lines = json(output).into_iter().filter(|line| line["type"] == kind);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    lines.map(|line| (text(&line["id"]), text(&line["name"]))).collect()
}

fn known(entry: &Entry) -> &Known {
    match &entry.subject {
        Subject::Id { known, .. } | Subject::Location { known, .. } => known,
        Subject::Select(_) => panic!("a saved plan has no select"),
    }
}

fn saved(bed: &Bed, name: &str) -> Plan {
    read(&bed.path().join(name)).unwrap_or_else(|refused| panic!("{}", refused.render(false))).plan
}

#[test]
fn a_select_becomes_the_backups_it_takes_each_pinned() {
    let bed = vault();
    fs::create_dir(bed.path().join("elsewhere")).expect("a folder");
    let planned = backhaul(&bed, "plan --json --out elsewhere/saved.yaml select.yaml").expect(0);
    let lines = json(&planned);
    let last = lines.last().expect("lines");
    assert_eq!((&last["type"], &last["backups"], &last["without_pin"]), (&"saved".into(), &6.into(), &0.into()));
    let file = bed.path().join("elsewhere/saved.yaml");
    assert_eq!(fs::metadata(&file).expect("written").permissions().mode() & 0o777, 0o600);

    let plan = saved(&bed, "elsewhere/saved.yaml");
    assert_eq!((plan.name.as_str(), plan.entries.len(), plan.limits.concurrency), ("later", OBJECTS, 3));
    for entry in &plan.entries {
        let pin = known(entry).pin.as_ref().expect("pinned");
        assert!(!pin.etag.is_empty());
        assert_eq!((entry.name.as_deref(), entry.description.as_deref()), (None, Some("from two")));
    }
    let text = fs::read_to_string(&file).expect("written");
    let here = bed.path().canonicalize().expect("there");
    for line in [
        format!("path: {}/two\n", here.display()),
        format!("path: {}/${{FOUR}}/deep\n", here.display()),
        format!("database: sqlite://{}/later.db\n", here.display()),
    ] {
        assert!(text.contains(&line), "no {line} in\n{text}");
    }

    let again = backhaul(&bed, "plan --json elsewhere/saved.yaml").expect(0);
    assert_eq!(ids(&again, "planned"), ids(&planned, "planned"), "the same target ids");
    let ran = backhaul(&bed, "run --json elsewhere/saved.yaml").expect(0);
    assert_eq!(ids(&ran, "registered").len(), OBJECTS);
    assert!(bed.path().join("four/deep/.backhaul").exists(), "not below the saved plan's folder");
    // The plan it was made from finds the work done.
    let nothing = backhaul(&bed, "run --json select.yaml").expect(0);
    assert_eq!(ids(&nothing, "registered"), BTreeMap::new());
}

#[test]
fn what_came_after_it_was_saved_is_not_taken() {
    let bed = vault();
    backhaul(&bed, "plan --out saved.yaml select.yaml").expect(0);
    fs::create_dir(bed.path().join("new")).expect("a folder");
    fs::write(bed.path().join("new/new.gz"), "a new backup").expect("writable");
    let more = "version: 1\nname: more\nregions:\n  new: { store: { type: file, path: new } }\n  \
                two: { store: { type: file, path: two } }\nbackups: [{ location: new.gz, from: new, to: [two] }]\n";
    fs::write(bed.path().join("more.yaml"), more).expect("writable");
    backhaul(&bed, "--database sqlite://more.db run more.yaml").expect(0);
    let planned = |plan: &str| ids(&backhaul(&bed, &format!("plan --json {plan}")).expect(0), "planned");
    assert_eq!((planned("saved.yaml").len(), planned("select.yaml").len()), (OBJECTS, OBJECTS + 1));
}

#[test]
fn what_has_drifted_fails_with_all_that_builds_on_it() {
    let bed = vault();
    let planned = backhaul(&bed, "plan --json --out saved.yaml select.yaml").expect(0);
    let inc1 = json(&planned).into_iter().find(|line| line["name"] == "kept inc1.xbstream.gz").expect("planned");
    let records = support::record_lines(&bed.target("two"));
    let (_, record) = records.into_iter().find(|(_, record)| record.name == "inc1.xbstream.gz").expect("recorded");
    let path = bed.target("two").join(record.location);
    let mut bytes = fs::read(&path).expect("there");
    bytes[0] ^= 1;
    fs::write(&path, bytes).expect("writable");

    let ran = backhaul(&bed, "run --json saved.yaml").expect(3);
    let failed: Vec<Value> = json(&ran).into_iter().filter(|line| line["type"] == "failed").collect();
    let of_inc1 = failed.iter().find(|line| line["id"] == inc1["id"]).expect("failed");
    let shown = of_inc1.to_string();
    assert!(shown.contains("is not what the plan pins") && shown.contains("source-changed"), "{shown}");
    assert!(failed.iter().any(|line| line["name"] == "kept inc2.xbstream.gz"), "{failed:?}");
    assert_eq!((failed.len(), ids(&ran, "registered").len()), (2, OBJECTS - 2));
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let bed = vault();
    fs::write(bed.path().join("there.yaml"), "mine").expect("writable");
    symlink("nowhere.yaml", bed.path().join("link.yaml")).expect("a symlink");
    for name in ["there.yaml", "link.yaml", "select.yaml"] {
        let said = backhaul(&bed, &format!("plan --out {name} select.yaml")).expect(2);
        assert!(said.stderr.contains(&format!("cannot write the plan {name}")), "{said}");
        assert!(said.stderr.contains("hint: name a file that is not there yet"), "{said}");
        assert_eq!(said.stdout, "", "nobody was asked");
    }
    assert_eq!(fs::read_to_string(bed.path().join("there.yaml")).expect("there"), "mine");
    assert!(!bed.path().join("nowhere.yaml").exists());
    let said = backhaul(&bed, "plan --out no/such/folder.yaml select.yaml").expect(1);
    assert!(said.stderr.contains("cannot write the plan no/such/folder.yaml"), "{said}");
}

#[test]
fn what_is_done_is_pinned_to_what_was_copied() {
    let bed = Bed::new(Layout::Small);
    bed.run().expect(0);
    let said = backhaul(&bed, "plan --out saved.yaml plan.yaml").expect(0);
    assert!(said.stdout.ends_with("saved to saved.yaml with 6 backups; run it: backhaul run saved.yaml\n"), "{said}");
    let plan = saved(&bed, "saved.yaml");
    let sizes: BTreeMap<String, u64> = plan
        .entries
        .iter()
        .map(|entry| {
            let Subject::Location { key, known, .. } = &entry.subject else { panic!("a location") };
            assert_eq!(entry.to.len(), 2, "one entry for both targets");
            (key.to_string(), known.pin.as_ref().expect("pinned").size)
        })
        .collect();
    let objects = Layout::Small.objects().iter();
    assert_eq!(sizes, objects.map(|object| (object.name.to_owned(), object.size)).collect());
    // With the database lost the same copies are found, by the same ids.
    let before = ids(&backhaul(&bed, "plan --json plan.yaml").expect(0), "planned");
    fs::remove_dir_all(bed.path().join("state")).expect("there");
    assert_eq!(ids(&backhaul(&bed, "run --json saved.yaml").expect(0), "registered"), before);
}

#[test]
fn what_cannot_be_asked_is_saved_without_a_pin() {
    let bed = Bed::new(Layout::Small);
    let text = fs::read_to_string(bed.plan()).expect("there");
    fs::write(bed.plan(), text + "  - { location: missing.bin, from: one }\n").expect("writable");
    let said = backhaul(&bed, "plan --out saved.yaml plan.yaml").expect(3);
    let told = "saved to saved.yaml with 7 backups, 1 of them not pinned because their sources could not be asked";
    assert!(said.stdout.contains(told), "{said}");
    let plan = saved(&bed, "saved.yaml");
    let unpinned: Vec<&Entry> = plan.entries.iter().filter(|entry| known(entry).pin.is_none()).collect();
    let [Entry { subject: Subject::Location { key, .. }, .. }] = unpinned[..] else { panic!("{unpinned:?}") };
    assert_eq!(key.as_str(), "missing.bin");
}

#[test]
fn a_part_of_a_plan_can_be_saved() {
    let bed = Bed::new(Layout::Small);
    backhaul(&bed, "plan --only id=a/inc1.xbstream.gz --concurrency 2 --out saved.yaml plan.yaml").expect(0);
    let plan = saved(&bed, "saved.yaml");
    let names = plan.entries.iter().map(|entry| match &entry.subject {
        Subject::Location { key, parent, .. } => (key.as_str(), parent.as_ref().map(backhaul::id::Key::as_str)),
        _ => panic!("a location"),
    });
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            ("a/full.xbstream.gz", None),
            ("a/inc1.xbstream.gz", Some("a/full.xbstream.gz")),
            ("a/inc2.xbstream.gz", Some("a/inc1.xbstream.gz")),
        ]
    );
    assert_eq!(plan.limits.concurrency, 2, "limits of the command line hold in what it saves");
    assert!(Path::new(plan.regions[1].store.references()[0].as_str()).is_absolute());
}

#[test]
fn a_plan_that_takes_nothing_is_not_saved() {
    let bed = vault();
    fs::write(bed.path().join("select.yaml"), SELECT.replace("from: two }", "from: two, tenant: nobody }"))
        .expect("ok");
    let said = backhaul(&bed, "plan --out saved.yaml select.yaml").expect(3);
    assert!(said.stderr.contains("the plan takes no backup now"), "{said}");
    assert!(!bed.path().join("saved.yaml").exists());
}
