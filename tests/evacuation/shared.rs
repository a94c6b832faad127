//! Two regions whose Troves keep their backups in one Swift: only records are made, and everybody is told what that means.

use backhaul::state::State;

use crate::bed::{Bed, READ_EACH, WRITE_EACH, others_are_untouched, select};
use crate::openstack::{ONE, OpenStack, TWO};

#[test]
fn a_copy_in_the_very_account_of_its_source_is_a_record_alone_and_says_so() {
    let Some(openstack) = OpenStack::shared("two regions on one Swift") else { return };
    openstack.add_tenants(&["one-swift"]);
    let seeds = openstack.seed(&["one-swift/small"]);
    let swift = openstack.account(ONE, "one-swift");
    let endpoint = swift.rsplit_once('/').expect("an account").0;
    let target =
        WRITE_EACH.replace("store: { type: swift,", &format!("store: {{ type: swift, endpoint: \"{endpoint}\","));
    let bed = Bed::new(&openstack);
    bed.plan(&[READ_EACH, &target], &[select(&openstack, &["one-swift"])]);

    let forecast = bed.forecast(&[]);
    assert_eq!(forecast.code, Some(0));
    let notes = forecast.totals["notes"].to_string();
    assert!(notes.contains("both regions are one account") && notes.contains("share the source's fate"), "{notes}");

    let said = bed.run().expect(0);
    assert!(said.stderr.contains("they share the source's fate"), "{said}");
    bed.backhaul(&["verify", "plan.yaml"]).expect(0);
    let rows = bed.rows();
    assert_eq!(rows.len(), seeds.of("one-swift").len());
    for row in rows {
        assert_eq!((row.state, &row.location), (State::Completed, &row.source_location), "{}", row.name);
        assert!(row.verified.expect("proved").contains("shares the source's fate"));
        let of = seeds.of("one-swift").into_iter().find(|backup| row.source_id.as_ref() == Some(&backup.id));
        let of = of.expect("seeded");
        assert_eq!(row.sha256.map(|sha256| sha256.to_string()), of.sha256);
        let shown = openstack.shown(TWO, "one-swift", &row.id.to_string());
        // The very object; at the address by which the target's own catalog knows Swift, not at the plan's `endpoint`.
        let there = of.location.as_deref().expect("a location").replace(&swift, &openstack.account(TWO, "one-swift"));
        assert_eq!(shown["locationRef"].as_str(), Some(there.as_str()));
    }
    // Not a byte of it was written, not a header of it changed.
    others_are_untouched(&openstack);
}
