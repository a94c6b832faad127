//! What a database that was lost costs, and a plan that names another catalog.

use std::collections::BTreeSet;

use backhaul::state::State;

use crate::bed::{Bed, READ_EACH, answered, asked, others_are_untouched, rows_of, select};
use crate::evacuated::{Way, copy_id, in_trove};
use crate::openstack::{OpenStack, TWO};
use crate::restored::links_are;

/// As after `rm evac.db`: all is found where it is, under the ids that it had.
fn adopts(way: Way) {
    let Some(openstack) = OpenStack::shared(&format!("a lost database: {way:?}")) else { return };
    let done = way.evacuated(&openstack);
    let tenants = way.tenants();
    let rows = in_trove(&openstack, &tenants);
    let bed = Bed::new(&openstack);
    bed.plan(&way.regions(), &[select(&openstack, &tenants)]);
    let known = |rows: &[backhaul::database::Row]| -> BTreeSet<_> {
        let completed = rows.iter().filter(|row| row.state == State::Completed);
        completed.map(|row| (row.id, copy_id(row), row.location.clone(), row.etag.clone(), row.sha256)).collect()
    };
    let expected = known(&done.rows);
    let dry_run = bed.forecast(&[]);
    assert_eq!(dry_run.totals["adopted"].as_u64(), Some(expected.len() as u64), "{:#?}", dry_run.totals);

    let before = answered(&openstack, TWO);
    let run = bed.run().expect(7);
    assert_eq!(known(&bed.rows()), expected, "{run}");
    assert_eq!(in_trove(&openstack, &tenants), rows, "{run}");
    let log = asked(&openstack, TWO, &tenants, before);
    // `gone-segment` is tried up to its gap, and tidied up again; nothing that is right is stored or changed.
    let gone = done.seeds.of(tenants[0]).into_iter().chain(done.seeds.of(tenants[1]));
    let gone = gone.filter(|backup| backup.name == "gone-segment");
    let gone: Vec<String> = gone
        .filter_map(|backup| done.rows.iter().find(|row| row.source_id.as_ref() == Some(&backup.id)))
        .map(|row| row.id.to_string())
        .collect();
    let changed = log.iter().filter(|request| request.writes() && (200..300).contains(&request.status));
    let changed: Vec<_> = changed.filter(|request| !gone.iter().any(|id| request.path.contains(id))).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    others_are_untouched(&openstack);
}

#[test]
fn a_lost_database_registers_nothing_twice_in_the_database() {
    adopts(Way::Reseller);
}

#[test]
fn a_lost_database_registers_nothing_twice_by_the_api() {
    adopts(Way::Api);
}

/// Records lie in the account itself; then the plan names Trove.
#[test]
fn what_is_in_one_catalog_is_registered_in_another_as_well() {
    let Some(openstack) = OpenStack::shared("a plan that names another catalog") else { return };
    openstack.add_tenants(&["own"]);
    let seeds = openstack.seed(&["own/small"]);
    let bed = Bed::new(&openstack);
    let own = "\n  region-two:\n    store: { type: swift, cloud: region-two-own-own, account: own }";
    let in_trove_too = format!("{own}\n    catalog: {{ type: trove-database, url: \"${{TWO_DB}}\" }}");
    let entries = [select(&openstack, &["own"])];

    bed.plan(&[READ_EACH, own], &entries);
    assert_eq!(bed.forecast(&[]).code, Some(0));
    bed.run().expect(0);
    let count = seeds.of("own").len();
    for depth in ["quick", "full"] {
        let said = bed.backhaul(&["verify", "--depth", depth, "plan.yaml"]).expect(0);
        assert!(said.stdout.contains(&format!("{count} of {count} copies")), "{said}");
    }
    let before = answered(&openstack, TWO);
    bed.run().expect(0);
    assert!(asked(&openstack, TWO, &["own"], before).iter().all(|request| !request.writes()));
    assert_eq!(in_trove(&openstack, &["own"]), 0);
    let recorded = bed.rows();
    assert!(recorded.iter().all(|row| row.record.is_some() && row.state == State::Completed));

    bed.plan(&[READ_EACH, &in_trove_too], &entries);
    let dry_run = bed.forecast(&[]);
    assert_eq!((dry_run.code, dry_run.totals["registers_only"].as_u64()), (Some(0), Some(count as u64)));
    let before = answered(&openstack, TWO);
    bed.run().expect(0);
    let stored = asked(&openstack, TWO, &["own"], before);
    assert!(
        stored.iter().all(|request| request.method != "PUT"),
        "it is registered, and not copied again: {stored:#?}"
    );
    assert_eq!(in_trove(&openstack, &["own"]), count + 1, "each copy and one count of them");
    bed.backhaul(&["verify", "--depth", "quick", "plan.yaml"]).expect(0);
    for name in ["plain", "slo", "a-inc2"] {
        let backup = seeds.backup(&format!("own/{name}"));
        let rows = rows_of(&bed.database());
        let row = rows.iter().find(|row| row.source_id.as_deref() == Some(&*backup.id)).expect("it is planned");
        let links = openstack.restore(TWO, "own", &copy_id(row));
        links_are(&links, &seeds, backup, &openstack.account(TWO, "own"));
    }
    // And back again: both catalogs have it, and nothing is left to do.
    bed.plan(&[READ_EACH, own], &entries);
    bed.run().expect(0);
    assert_eq!(in_trove(&openstack, &["own"]), count + 1);
    others_are_untouched(&openstack);
}
