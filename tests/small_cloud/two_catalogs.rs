//! One store whose copies are registered in two catalogs.

use backhaul::state::State;

use crate::bed::{BACKUPS, Bed, by_api};

/// With records in the store itself.
const RECORDS: &str = "\n  two: { store: { type: swift, cloud: two, container: copies } }";

/// The same store, with another catalog.
const TROVE: &str = "\n  two: { store: { type: swift, cloud: two, container: copies }, catalog: { type: trove-api } }";

/// A backup that is registered in each.
fn bed() -> Bed {
    let bed = Bed::new();
    let (first, project) = BACKUPS[0];
    let second = "20000000-0000-4000-8000-000000000003";
    bed.backup("one", first, project);
    bed.backup("one", second, project);
    let entry = |id: &str| format!("{{ id: {id}, from: one, to: [two] }}");
    bed.plan_as("records.yaml", "records", &[&by_api("one"), RECORDS], &[&entry(first)]);
    bed.plan_as("trove.yaml", "trove", &[&by_api("one"), TROVE], &[&entry(second)]);
    for plan in ["records.yaml", "trove.yaml"] {
        bed.backhaul(&["run", plan]).expect(0);
    }
    bed
}

#[test]
fn each_copy_is_held_against_the_catalog_that_it_is_registered_in() {
    let bed = bed();
    let said = bed.backhaul(&["--database", "sqlite://state.db", "verify"]).expect(0);
    assert!(said.stdout.contains("2 of 2 copies read and hashed: as recorded"), "{said}");
    assert!(bed.rows().iter().all(|row| row.state == State::Completed));
}

#[test]
fn a_copy_is_not_gone_because_another_catalog_does_not_know_it() {
    let bed = bed();
    let entry = format!("{{ id: {}, from: one, to: [two] }}", BACKUPS[0].0);
    bed.plan_as("records.yaml", "records", &[&by_api("one"), TROVE], &[&entry]);
    let said = bed.backhaul(&["verify", "records.yaml"]).expect(6);
    assert!(said.stderr.contains("the catalog of region `two` is trove-api:swift:127.0.0.1:"), "{said}");
    assert!(said.stderr.contains("the copy was registered in store:swift:127.0.0.1:"), "{said}");
    assert!(bed.rows().iter().all(|row| row.state == State::Completed));
}
