//! What is left of copies whose registration Trove refused.

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
