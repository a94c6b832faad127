//! What is left of copies that failed.

use backhaul::state::State;
use serde_json::json;

use crate::bed::{BACKUPS, Bed, by_api};

#[test]
fn gc_looks_for_no_record_objects_where_trove_is_the_catalog() {
    let bed = Bed::new();
    let (id, project) = BACKUPS[0];
    bed.backup("one", id, project);
    bed.plan(&[&by_api("one"), &by_api("two")], &[&format!("{{ id: {id}, from: one, to: [two] }}")]);
    bed.cloud.region("two").to_making = Some((403, json!({ "forbidden": { "code": 403, "message": "Not allowed." } })));
    let said = bed.backhaul(&["run", "plan.yaml"]).expect(3);
    let rows = bed.rows();
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert!(row.state == State::Failed && row.record.is_some() && row.completed_ms.is_none(), "{row:?} {said}");

    let said = bed.backhaul(&["gc", "plan.yaml"]).expect(0);
    assert!(said.stdout.contains("1 unfinished copies removed"), "{said}");
    assert!(!said.stderr.contains("skipped"), "{said}");
    let region = bed.cloud.region("two");
    assert!(region.asked.iter().all(|(_, path)| !path.contains(".backhaul")), "{:?}", region.asked);
    assert_eq!(region.objects.len(), 1, "a published copy is never touched");
}

#[test]
fn gc_leaves_what_the_next_run_goes_on_from() {
    let bed = Bed::new();
    std::fs::create_dir(bed.folder.path().join("dumps")).expect("a folder");
    bed.write("dumps/large", vec![7; 3 << 20]);
    let dumps = "\n  dumps: { store: { type: file, path: dumps } }";
    let two = "\n  two: { store: { type: swift, cloud: two, container: copies, segment_size: 1MiB } }";
    bed.plan(&[dumps, two], &["{ location: large, from: dumps, to: [two] }"]);
    // The third segment.
    bed.cloud.region("two").is_unwell_for = Some("_00000002");
    let said = bed.backhaul(&["run", "plan.yaml"]).expect(3);
    let row = &bed.rows()[0];
    assert!(row.state == State::Failed && row.upload_token.is_some(), "{row:?} {said}");
    let segments = || bed.cloud.region("two").objects.len();
    assert_eq!(segments(), 2);

    let said = bed.backhaul(&["gc", "plan.yaml"]).expect(0);
    assert!(said.stdout.contains("0 unfinished copies removed, 1 kept"), "{said}");
    assert_eq!(segments(), 2);
    // Wanted by nobody, it is given up.
    bed.write("dumps/small", "bytes");
    bed.plan(&[dumps, two], &["{ location: small, from: dumps, to: [two] }"]);
    bed.backhaul(&["run", "--accept-changes", "plan.yaml"]).expect(0);
    bed.backhaul(&["gc", "plan.yaml"]).expect(0);
    let region = bed.cloud.region("two");
    assert!(region.objects.keys().all(|place| !place.contains("large")), "{:?}", region.objects.keys());
}
