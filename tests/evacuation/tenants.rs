//! Tenants that are called something else in the target, and ones that nobody may touch.

use backhaul::state::State;

use crate::bed::{Bed, READ_EACH, WRITE_EACH, answered, asked, others_are_untouched, select};
use crate::evacuated::{copy_id, in_trove};
use crate::openstack::{ONE, OpenStack, Seeds, TWO};
use crate::restored::links_are;

const FROM: [&str; 2] = ["map-one", "map-two"];
const TO: [&str; 2] = ["alpha-two", "beta-two"];

/// Region-two as a target, with `tenants`.
fn mapped(tenants: &str) -> String {
    format!("{WRITE_EACH}\n    tenants: {tenants}")
}

/// A map that is wrong is told before a byte moves.
#[track_caller]
fn wrong_maps_move_nothing(openstack: &OpenStack, bed: &Bed, seeds: &Seeds) {
    let id = |tenant: &str| openstack.project(tenant);
    let entries = [select(openstack, &FROM)];
    let before = answered(openstack, TWO);
    // One is not in the map; one is written wrong, by name and by id; one line of a file is none.
    let unknown = "f".repeat(32);
    for (tenants, message) in [
        (
            format!("{{ {}: Default/alpha-two }}", id("map-one")),
            format!("`tenants` of region `region-two` does not have the tenant `{}`", id("map-two")),
        ),
        (
            format!("{{ {}: Default/alpha-two, Default/map-two: Default/beta-tow }}", id("map-one")),
            format!("`tenants` of region `region-two` gives `{}` the project `Default/beta-tow`: ", id("map-two")),
        ),
        (
            format!("{{ {}: Default/alpha-two, Default/map-two: {unknown} }}", id("map-one")),
            format!("`tenants` of region `region-two` gives `{}` the project `{unknown}`: ", id("map-two")),
        ),
    ] {
        bed.plan(&[READ_EACH, &mapped(&tenants)], &entries);
        let dry_run = bed.forecast(&[]);
        assert_eq!(dry_run.code, Some(3));
        let failures: Vec<_> = dry_run.planned.iter().filter(|planned| !planned["failure"].is_null()).collect();
        assert_eq!(failures.len(), seeds.of("map-two").len(), "{failures:#?}");
        for planned in failures {
            let failure = &planned["failure"];
            assert_eq!(failure["cause"], "tenant-unknown", "{failure}");
            assert!(failure["message"].as_str().is_some_and(|said| said.starts_with(&message)), "{failure}");
            assert!(failure["hint"].is_string(), "{failure}");
        }
    }
    bed.write("tenants.csv", &format!("source,target\n{},Default/alpha-two\nDefault/map-two\n", id("map-one")));
    bed.plan(&[READ_EACH, &mapped("tenants.csv")], &entries);
    let path = bed.path("tenants.csv").display().to_string();
    for command in ["plan", "run", "check"] {
        let said = bed.backhaul(&[command, "plan.yaml"]).expect(2);
        let message =
            format!("error: `tenants` of region `region-two`: {path}, line 3: it has 1 field, and must have 2\n");
        let hint = "\nhint: write `source,target` in each line: project ids, or `domain/name`\n";
        assert!(said.stderr.contains(&message) && said.stderr.contains(hint), "{command}: {said}");
    }
    bed.plan(&[READ_EACH, &mapped("tenant.csv")], &entries);
    let said = bed.backhaul(&["plan", "plan.yaml"]).expect(2);
    assert!(said.stderr.contains("tenant.csv cannot be read: No such file"), "{said}");
    assert!(said.stderr.contains("hint: correct its name in the plan"), "{said}");
    let wrote = asked(openstack, TWO, &[FROM, TO].concat(), before);
    assert!(wrote.iter().all(|request| !request.writes()), "{wrote:#?}");
}

#[test]
fn tenants_get_other_names_by_a_map_and_by_a_file() {
    let Some(openstack) = OpenStack::shared("tenants with other names") else { return };
    openstack.add_tenants(&FROM);
    let seeds = openstack.seed(&["map-one/small", "map-two/small"]);
    let bed = Bed::new(&openstack);
    let id = |tenant: &str| openstack.project(tenant);
    let entries = [select(&openstack, &FROM)];
    wrong_maps_move_nothing(&openstack, &bed, &seeds);

    // The first target by its id, the second by its name; then the other way round, in a file: all is as it was.
    bed.plan(
        &[
            READ_EACH,
            &mapped(&format!("{{ {}: {}, Default/map-two: Default/beta-two }}", id("map-one"), id("alpha-two"))),
        ],
        &entries,
    );
    assert_eq!(bed.forecast(&[]).code, Some(0));
    bed.run().expect(0);
    bed.write(
        "tenants.csv",
        &format!("# as agreed\nDefault/map-one,Default/alpha-two\n{},{}\n", id("map-two"), id("beta-two")),
    );
    bed.plan(&[READ_EACH, &mapped("tenants.csv")], &entries);
    std::fs::remove_file(bed.database()).expect("it was there");
    assert_eq!(bed.forecast(&[]).code, Some(0));
    bed.run().expect(0);

    let rows = bed.rows();
    for (from, to) in FROM.into_iter().zip(TO) {
        for backup in seeds.of(from) {
            let row = rows.iter().find(|row| row.source_id.as_deref() == Some(&*backup.id)).expect("it is planned");
            assert_eq!((row.state, row.tenant_id.as_deref()), (State::Completed, Some(&*id(to))));
            assert_eq!(openstack.shown(TWO, to, &copy_id(row))["project_id"], *id(to));
        }
        let chain = seeds.backup(&format!("{from}/a-inc2"));
        let copy = rows.iter().find(|row| row.source_id.as_deref() == Some(&*chain.id)).map(copy_id).expect("planned");
        links_are(&openstack.restore(TWO, to, &copy), &seeds, chain, &openstack.account(TWO, to));
        assert_eq!(openstack.listed(TWO, to).len(), seeds.of(from).len(), "each is there once");
    }
    assert_eq!(in_trove(&openstack, &FROM), 0, "nothing is under the names of the source");

    // What is registered is not moved by another map.
    bed.plan(
        &[
            READ_EACH,
            &mapped(&format!("{{ {}: {}, {}: {} }}", id("map-one"), id("beta-two"), id("map-two"), id("alpha-two"))),
        ],
        &entries,
    );
    let again = bed.backhaul(&["run", "plan.yaml"]).expect(2);
    assert!(again.stderr.contains("the plan contradicts itself; nothing was touched"), "{again}");
    assert!(again.stderr.contains("`tenants` now gives"), "{again}");
    assert_eq!(openstack.listed(TWO, "alpha-two").len(), seeds.of("map-one").len());
    others_are_untouched(&openstack);
}

#[test]
fn a_credential_for_one_project_is_refused_with_the_way_out() {
    let Some(openstack) = OpenStack::shared("an application credential for many tenants") else { return };
    let bed = Bed::new(&openstack);
    let target = WRITE_EACH.replace("region-two-mover-alpha", "region-two-application-credential");
    bed.plan(&[READ_EACH, &target], &[select(&openstack, &["alpha"])]);
    for command in ["plan", "run"] {
        let said = bed.backhaul(&[command, "plan.yaml"]).expect(6);
        assert!(
            said.stderr.contains(
                "region `region-two` cannot be reached: `access: each-project` needs a token of every project, and the \
                 credentials of cloud `region-two-application-credential` are for one alone"
            ),
            "{said}"
        );
        assert!(
            said.stderr.contains(
                "hint: use a password user with a role on each project, or `access: reseller` with the role ResellerAdmin"
            ),
            "{said}"
        );
    }
}

/// A user without a role in a tenant gets nowhere near its account, whatever the plan names.
#[test]
fn a_tenant_without_a_role_is_refused_by_name() {
    let Some(openstack) = OpenStack::shared("a tenant without a role") else { return };
    crate::evacuated::Way::Reseller.evacuated(&openstack);
    let bed = Bed::new(&openstack);
    bed.plan(&[READ_EACH, WRITE_EACH], &[select(&openstack, &["gamma"])]);
    let gamma = openstack.project("gamma");
    let dry_run = bed.forecast(&[]);
    assert_eq!(dry_run.code, Some(3));
    assert!(!dry_run.planned.is_empty());
    for planned in &dry_run.planned {
        let failure = &planned["failure"];
        assert_eq!(failure["cause"], "tenant-unknown", "{failure}");
        let message = failure["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("the tenant `{gamma}` must be in region `region-two` too")), "{message}");
    }
    let run = bed.run().expect(3);
    assert!(!run.stderr.contains("registered:"), "{run}");
    for region in [ONE, TWO] {
        assert!(asked(&openstack, region, &["gamma"], 0).is_empty());
    }
    others_are_untouched(&openstack);
}
