//! `backup-copy` where the target's Trove can be written and not be read.

use backhaul::state::State;

use crate::bed::{BACKUPS, Bed, by_api};

#[test]
fn a_copy_that_is_registered_is_not_one_that_could_not_start() {
    let bed = Bed::new();
    let (id, project) = BACKUPS[0];
    bed.backup("one", id, project);
    let regions = format!("version: 1\nregions:{}{}\ndefaults: {{ to: [two] }}\n", by_api("one"), by_api("two"));
    bed.write("regions.yaml", regions);
    bed.cloud.region("two").closes_after_making = true;
    let copy = ["--database", "sqlite://state.db", "backup-copy", "moved", id, "--regions", "regions.yaml"];
    let said = bed.backhaul(&copy).expect(3);
    assert!(said.stderr.contains("the copy is registered in region `two`, and its record cannot be shown"), "{said}");
    assert!(said.stderr.contains("caused by: cannot list the backups of project `alpha`"), "{said}");
    assert!(said.stdout.is_empty(), "{said}");
    let rows = bed.rows();
    assert!(rows.len() == 1 && rows[0].state == State::Completed, "{rows:?}");
}
