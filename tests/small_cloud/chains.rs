//! Incrementals whose parents went away.

use serde_json::json;

use crate::bed::{BACKUPS, Bed, by_api};

#[test]
fn a_copy_whose_parent_is_not_in_the_target_is_not_restorable_there_whatever_its_source_says() {
    let bed = Bed::new();
    let (full, project) = BACKUPS[0];
    let child = "20000000-0000-4000-8000-000000000003";
    bed.backup("one", full, project);
    bed.backup("one", child, project);
    bed.cloud.region("one").backups[1]["parent_id"] = json!(full);
    let parent = [
        (
            "x-object-meta-parent-location",
            format!("http://swift/v1/AUTH_{project}/database_backups/{full}.xbstream.gz"),
        ),
        ("x-object-meta-parent-checksum", bed.etag("one", full, project)),
    ];
    bed.object_says("one", child, project, &parent);
    bed.plan(&[&by_api("one"), &by_api("two")], &["select: { from: one }\n    to: [two]"]);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    let compare = || bed.backhaul(&["compare", "plan.yaml", "--from", "one", "--to", "two"]);
    let said = compare().expect(0);
    assert!(said.stdout.contains("2 live backups in region `one`: 2 restorable in region `two`, 0 missing"), "{said}");

    // So that nothing tells of the parent but the child's own records.
    bed.cloud.region("one").backups[0]["status"] = json!("FAILED");
    bed.cloud.region("two").backups.retain(|backup| !backup["parent_id"].is_null());
    let said = compare().expect(3);
    assert!(said.stdout.contains("1 live backups in region `one`: 0 restorable in region `two`, 1 missing"), "{said}");
    assert!(said.stdout.contains("of which there is no restorable record"), "{said}");
}
