//! Metadata that no copy can have.

use crate::bed::{BACKUPS, Bed, by_api};

#[test]
fn metadata_that_is_no_text_is_not_left_out_silently() {
    let bed = Bed::new();
    let (id, project) = BACKUPS[0];
    bed.backup("one", id, project);
    bed.object_says("one", id, project, &[("content-disposition", "attachment; filename=na\u{ef}ve".to_owned())]);
    bed.plan(&[&by_api("one"), &by_api("two")], &[&format!("{{ id: {id}, from: one, to: [two] }}")]);
    let said = bed.backhaul(&["plan", "-v", "plan.yaml"]).expect(3);
    assert!(said.stdout.contains("its metadata has a value of `content-disposition` that is not UTF-8"), "{said}");
    assert!(bed.cloud.region("two").objects.is_empty());
    let said = bed.backhaul(&["run", "plan.yaml"]).expect(3);
    assert!(said.stdout.contains("hint: nothing is left out silently"), "{said}");
}
