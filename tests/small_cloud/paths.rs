//! The ways that services are asked by: their interfaces, and lists in several pages.

use crate::bed::{BACKUPS, Bed, by_api};
use crate::cloud::{INSIDE, OWN};

#[test]
fn the_interface_of_a_cloud_counts_for_its_swift_and_its_trove() {
    let bed = Bed::new();
    let (id, project) = BACKUPS[0];
    bed.backup("one", id, project);
    let clouds = bed.cloud.clouds();
    bed.write(
        "clouds.yaml",
        clouds.replace("\"region_name\":\"one\"", "\"region_name\":\"one\",\"interface\":\"internal\""),
    );
    bed.plan(&[&by_api("one"), &by_api("two")], &[&format!("{{ id: {id}, from: one, to: [two] }}")]);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    let inside = |region: &str| {
        let region = bed.cloud.region(region);
        let of = |service: &str| region.asked.iter().filter(|(_, path)| path.contains(service)).count();
        let inside = region.asked.iter().filter(|(_, path)| path.starts_with(INSIDE)).count();
        assert!(of("v1/") > 0 && of("trove/") > 0, "{:?}", region.asked);
        (inside, region.asked.len())
    };
    let (one, all) = inside("one");
    assert_eq!(one, all);
    assert_eq!(inside("two").0, 0);
}

#[test]
fn a_list_in_pages_is_read_to_its_end() {
    let bed = Bed::new();
    for number in 0..7 {
        bed.backup("one", &format!("20000000-0000-4000-8000-{number:012}"), OWN);
    }
    for region in ["one", "two"] {
        bed.cloud.region(region).page = Some(3);
    }
    bed.plan(&[&by_api("one"), &by_api("two")], &["select: { from: one }\n    to: [two]"]);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    let said = bed.backhaul(&["compare", "plan.yaml", "--from", "one", "--to", "two"]).expect(0);
    assert!(said.stdout.contains("7 live backups in region `one`: 7 restorable in region `two`, 0 missing"), "{said}");
    // With nothing of its own to tell, it finds what is registered on later pages, too.
    std::fs::remove_file(bed.folder.path().join("state.db")).expect("it is there");
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    assert_eq!(bed.cloud.region("two").backups.len(), 7);
}
