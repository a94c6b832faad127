//! `init`: the plan that a region, or one of its tenants, is evacuated by.

use std::collections::BTreeMap;

use crate::bed::{Bed, READ_ALL, WRITE_ALL, select};
use crate::evacuated::Way;
use crate::openstack::OpenStack;

/// Live backups that no plan can copy.
const LEFT_OUT: [(&str, &str); 2] = [
    ("snapshot", "the location is a snapshot in Cinder, which stays in its region"),
    ("failed", "its record says FAILED: Trove says FAILED"),
];

/// Ids in the order of a plan.
fn ids(text: &str) -> Vec<String> {
    let id = |line: &str| {
        Some(line.split_once("id: ")?.1.split(['"', ',', ' ', '}']).find(|part| !part.is_empty())?.to_owned())
    };
    text.lines().filter_map(id).collect()
}

#[test]
fn init_takes_a_region_or_a_tenant_chains_together_and_the_newest_first() {
    let Some(openstack) = OpenStack::shared("init of a region") else { return };
    let seeds = &Way::Reseller.evacuated(&openstack).seeds;
    let bed = Bed::new(&openstack);
    bed.plan(&[READ_ALL, WRITE_ALL], &[select(&openstack, &["alpha"])]);
    let alpha = openstack.project("alpha");
    let init = ["init", "--regions", "plan.yaml", "--from", "region-one", "--to", "region-two"];
    for (file, tenant) in [("all.yaml", None), ("alpha.yaml", Some(&*alpha))] {
        let of_tenant = tenant.map(|id| ["--tenant", id]);
        let said =
            bed.backhaul(&[&init[..], of_tenant.as_ref().map_or(&[], |of| &of[..]), &["-o", file]].concat()).expect(0);
        for (name, why) in LEFT_OUT {
            let id = &seeds.backup(&format!("alpha/{name}")).id;
            let warning = format!("warning: left out: `{name} ({id})`: ");
            let line = said.stderr.lines().find(|line| line.starts_with(&warning));
            assert!(line.is_some_and(|line| line.contains(why)), "{name}: {said}");
        }
        let listed = ids(&std::fs::read_to_string(bed.path(file)).expect("it was written"));
        let at: BTreeMap<&str, usize> = listed.iter().enumerate().map(|(at, id)| (&**id, at)).collect();
        let copied = |name: &str| !matches!(name, "snapshot" | "failed" | "deleted");
        for backup in seeds.of("alpha").into_iter().filter(|backup| copied(&backup.name)) {
            let chain = seeds.chain(backup);
            let places: Vec<usize> = chain.iter().map(|link| at[&*link.id]).collect();
            assert!(places.windows(2).all(|two| two[1] == two[0] + 1), "{}: {places:?}", backup.name);
        }
        assert_eq!(listed.contains(&seeds.backup("beta/plain").id), tenant.is_none());
        // Each was made a minute after the one before it in this list.
        let roots = ["old-version", "c-full", "encrypted", "maria", "b-full", "a-full", "slo", "plain"];
        let places = roots.map(|name| at[&*seeds.backup(&format!("alpha/{name}")).id]);
        assert!(places.is_sorted(), "{places:?}");
    }
    bed.backhaul(&["check", "all.yaml"]).expect(0);
    let again = bed.backhaul(&[&init[..], &["-o", "all.yaml"]].concat()).expect(2);
    assert!(again.stderr.contains("all.yaml"), "nothing is overwritten: {again}");
}
