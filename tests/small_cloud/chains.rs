//! Incrementals whose parents went away, or were never those that somebody says.

use backhaul::failure::Cause;
use backhaul::state::State;
use serde_json::{Value, json};

use crate::bed::{BACKUPS, Bed, by_api};

const CHILD: &str = "20000000-0000-4000-8000-000000000003";

/// A full backup and another of one project in region `one`, whose object says that it builds on the object `names`.
fn bed(names: &str) -> Bed {
    let bed = Bed::new();
    let (full, project) = BACKUPS[0];
    bed.backup("one", full, project);
    bed.backup("one", CHILD, project);
    let parent = [
        ("x-object-meta-parent-location", format!("http://swift/v1/AUTH_{project}/database_backups/{names}")),
        ("x-object-meta-parent-checksum", bed.etag("one", full, project)),
    ];
    bed.object_says("one", CHILD, project, &parent);
    bed.plan(&[&by_api("one"), &by_api("two")], &["select: { from: one }\n    to: [two]"]);
    bed
}

/// What is said of the child by a dry run, by a run, and by the next one; nothing of it arrives.
fn is_refused(bed: &Bed, said: &str, hint: &str) {
    let project = BACKUPS[0].1;
    let key = format!("AUTH_{project}/database_backups/{CHILD}.xbstream.gz");
    let message = format!("the chain disagrees: `{key}` names {said}");
    let planned = bed.backhaul(&["plan", "-v", "plan.yaml"]).expect(3);
    assert!(planned.stdout.contains(&message), "{planned}");
    for _ in 0..2 {
        let run = bed.backhaul(&["run", "plan.yaml"]).expect(3);
        assert!(run.stdout.contains(&format!("hint: {hint}")), "{run}");
        let rows = bed.rows();
        let of = |id: &str| rows.iter().find(|row| row.source_id.as_deref() == Some(id)).expect("a row");
        assert_eq!(of(BACKUPS[0].0).state, State::Completed, "{run}");
        assert_eq!((of(CHILD).state, of(CHILD).cause), (State::Failed, Some(Cause::ParentMissing)), "{run}");
        assert_eq!(of(CHILD).error.as_deref(), Some(&*message));
        assert_eq!(bed.cloud.region("two").objects.len(), 1, "{run}");
    }
}

#[test]
fn an_object_that_names_another_parent_than_its_record_is_not_copied() {
    let (full, project) = BACKUPS[0];
    let bed = bed("other.xbstream.gz");
    bed.cloud.region("one").backups[1]["parent_id"] = json!(full);
    let said = format!(
        "`http://swift/v1/AUTH_{project}/database_backups/other.xbstream.gz` as its parent, and its record names \
         `AUTH_{project}/database_backups/{full}.xbstream.gz`"
    );
    let hint =
        "a restore follows the object: look which is right, and correct the record's parent or leave the backup out";
    is_refused(&bed, &said, hint);

    // Mended, it needs no other word.
    let right = format!("http://swift/v1/AUTH_{project}/database_backups/{full}.xbstream.gz");
    bed.object_says("one", CHILD, project, &[("x-object-meta-parent-location", right)]);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
}

/// As Trove itself makes a row from another's location: it knows of no parent then.
#[test]
fn an_object_that_names_a_parent_is_not_copied_as_a_full_backup() {
    let (full, project) = BACKUPS[0];
    let bed = bed(&format!("{full}.xbstream.gz"));
    let said = format!(
        "`http://swift/v1/AUTH_{project}/database_backups/{full}.xbstream.gz` as its parent, and its record names none"
    );
    let hint =
        "a restore follows the object: look which is right, and correct the record's parent or leave the backup out";
    is_refused(&bed, &said, hint);
}

#[test]
fn a_copy_whose_parent_is_not_in_the_target_is_not_restorable_there_whatever_its_source_says() {
    let (full, _) = BACKUPS[0];
    let bed = bed(&format!("{full}.xbstream.gz"));
    bed.cloud.region("one").backups[1]["parent_id"] = json!(full);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    let compare = || bed.backhaul(&["compare", "plan.yaml", "--from", "one", "--to", "two"]);
    let said = compare().expect(0);
    assert!(said.stdout.contains("2 live backups in region `one`: 2 restorable in region `two`, 0 missing"), "{said}");

    // Its object does tell of a parent.
    let names_none = |backup: &mut Value| std::mem::replace(&mut backup["parent_id"], Value::Null);
    let parents: Vec<Value> = bed.cloud.region("two").backups.iter_mut().map(names_none).collect();
    let said = compare().expect(3);
    assert!(said.stdout.contains("2 live backups in region `one`: 1 restorable in region `two`, 1 missing"), "{said}");
    assert!(said.stdout.contains("as its parent, and its record names none"), "{said}");
    for (backup, parent) in bed.cloud.region("two").backups.iter_mut().zip(parents) {
        backup["parent_id"] = parent;
    }

    // So that nothing tells of the parent but the child's own records.
    bed.cloud.region("one").backups[0]["status"] = json!("FAILED");
    bed.cloud.region("two").backups.retain(|backup| !backup["parent_id"].is_null());
    let said = compare().expect(3);
    assert!(said.stdout.contains("1 live backups in region `one`: 0 restorable in region `two`, 1 missing"), "{said}");
    assert!(said.stdout.contains("of which there is no restorable record"), "{said}");
}

#[test]
fn a_copy_that_names_a_parent_and_is_registered_without_one_is_found() {
    let bed = bed(&format!("{}.xbstream.gz", BACKUPS[0].0));
    bed.cloud.region("one").backups[1]["parent_id"] = json!(BACKUPS[0].0);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    bed.backhaul(&["verify", "--depth", "quick", "plan.yaml"]).expect(0);
    let link = "x-object-meta-parent-location";
    for object in bed.cloud.region("two").objects.values_mut() {
        object.headers.entry(link.to_owned()).or_insert_with(|| "http://swift/v1/AUTH_x/backups/other.gz".to_owned());
    }
    let said = bed.backhaul(&["verify", "--depth", "quick", "plan.yaml"]).expect(7);
    let text = "names `http://swift/v1/AUTH_x/backups/other.gz` as its parent, and its record names none";
    assert!(said.stderr.contains(text), "{said}");
}
