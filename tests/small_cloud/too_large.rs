//! What Trove's API cannot register.

use serde_json::json;

use crate::bed::{BACKUPS, Bed, by_api};

#[test]
fn an_object_that_is_too_large_for_one_piece_is_refused_before_a_byte_moves() {
    let bed = Bed::new();
    let (id, project) = BACKUPS[0];
    bed.backup("one", id, project);
    bed.cloud.region("one").backups[0]["size"] = json!(6.0);
    bed.object_says("one", id, project, &[("content-length", (6_u64 << 30).to_string())]);
    let (other, project) = BACKUPS[1];
    bed.backup("one", other, project);
    bed.plan(&[&by_api("one"), &by_api("two")], &["select: { from: one }\n    to: [two]"]);
    let said = bed.backhaul(&["plan", "-v", "plan.yaml"]).expect(3);
    let refused = format!(
        "`AUTH_alpha/database_backups/{id}.xbstream.gz` has 6442450944 bytes, and Trove's API registers plain objects only, which have at most 5368709122"
    );
    assert!(said.stdout.contains(&refused), "{said}");
    let said = bed.backhaul(&["run", "plan.yaml"]).expect(3);
    assert!(said.stdout.contains(&refused) && said.stdout.contains("hint: register in Trove's database"), "{said}");
    let region = bed.cloud.region("two");
    assert_eq!(region.backups.len(), 1, "the other is not held up");
    assert!(region.objects.keys().all(|place| !place.contains(id)), "{:?}", region.objects.keys());
}
