//! From the dry run to the last look at what has arrived.

use std::collections::BTreeMap;

use backhaul::state::State;

use crate::bed::{answered, asked, others_are_untouched, select};
use crate::evacuated::{Evacuated, RIGHT, WRONG, Way, in_trove};
use crate::openstack::{ONE, OpenStack, TWO};

/// A chain that is not right makes no command end with 0; one is damaged, so it is 7.
const DAMAGED: i32 = 7;

#[track_caller]
fn tells_all_and_changes_nothing(done: &Evacuated) {
    let dry_run = &done.dry_run;
    assert_eq!(dry_run.code, Some(DAMAGED), "{:?}", dry_run.totals);
    for planned in &dry_run.planned {
        let name = planned["name"].as_str().expect("a name");
        let is_wrong = WRONG.contains(&name);
        assert_eq!(planned["failure"].is_null(), !is_wrong, "{planned}");
        assert_eq!(planned["step"], if is_wrong { "would fail" } else { "copy, register" }, "{planned}");
    }
    let [first, second] = done.way.tenants();
    let wanted = done.right(first).len() + done.right(second).len();
    let copies: u64 = dry_run.totals["pairs"][0]["copies"].as_u64().expect("a number");
    assert_eq!(copies, wanted as u64);
    let bytes: u64 =
        [first, second].iter().flat_map(|tenant| done.right(tenant)).filter_map(|backup| backup.bytes).sum();
    assert_eq!(dry_run.totals["bytes"].as_u64(), Some(bytes));
    let notes = dry_run.totals["notes"].to_string();
    for part in ["gets new containers", "/database_backups", "/db57_backups", "backup_aes_cbc_key"] {
        assert!(notes.contains(part), "no `{part}` in {notes}");
    }

    for (region, requests) in [ONE, TWO].iter().zip(&done.asked_by_dry_run) {
        assert!(!requests.is_empty(), "{region} was not asked");
        let wrote: Vec<_> = requests.iter().filter(|request| !matches!(&*request.method, "GET" | "HEAD")).collect();
        assert!(wrote.is_empty(), "{region}: {wrote:#?}");
    }
    assert_eq!(done.rows_after_dry_run, 0, "a dry run has written to Trove");
    assert!(!done.database_after_dry_run, "a dry run has made its database");
}

/// Everything right is registered, everything wrong has failed.
#[track_caller]
fn has_run(openstack: &OpenStack, done: &Evacuated) {
    let run = &done.run;
    assert_eq!(run.code, Some(DAMAGED), "{run}");
    let mut states: BTreeMap<(String, String), State> = BTreeMap::new();
    for row in &done.rows {
        let tenant = row.source_tenant_id.clone().or_else(|| row.tenant_id.clone()).expect("a tenant");
        assert!(states.insert((tenant, row.name.clone()), row.state).is_none(), "two of {}", row.name);
    }
    let first = openstack.project(done.way.tenants()[0]);
    let state = |name: &&str| states.get(&(first.clone(), (*name).to_owned())).copied();
    for name in RIGHT {
        assert_eq!(state(&name), Some(State::Completed), "{name}: {run}");
    }
    for name in WRONG {
        assert_eq!(state(&name), Some(State::Failed), "{name}: {run}");
    }
    let wrong = states.values().filter(|state| **state != State::Completed).count();
    let [first, second] = done.way.tenants().map(|tenant| done.seeds.of(tenant));
    let expected = first.into_iter().chain(second).filter(|backup| WRONG.contains(&&*backup.name)).count();
    assert_eq!(wrong, expected, "{states:?}");
}

/// What failed is looked at once more; what is done is asked of nobody.
#[track_caller]
fn runs_again(openstack: &OpenStack, done: &Evacuated) {
    let tenants = done.way.tenants();
    let rows = in_trove(openstack, &tenants);
    let before = [ONE, TWO].map(|region| answered(openstack, region));
    let again = done.bed.run();
    assert_eq!(again.code, Some(DAMAGED), "{again}");
    assert!(!again.stderr.contains("registered:"), "{again}");
    let at_target = asked(openstack, TWO, &tenants, before[1]);
    assert!(at_target.iter().all(|request| !request.writes()), "{at_target:#?}");

    let left_out = done.seeds.of(tenants[0]).into_iter().chain(done.seeds.of(tenants[1]));
    let left_out = left_out.filter(|backup| WRONG.contains(&&*backup.name));
    let left_out: Vec<String> =
        left_out.map(|backup| format!("{{ id: {}, reason: it is wrong }}", backup.id)).collect();
    let right_only =
        select(openstack, &tenants).replacen("] }", &format!("], except: [{}] }}", left_out.join(", ")), 1);
    done.bed.plan_as("right.yaml", &done.way.regions(), &[right_only]);
    let before = [ONE, TWO].map(|region| answered(openstack, region));
    done.bed.backhaul(&["run", "right.yaml"]).expect(0);
    for (region, since) in [(ONE, before[0]), (TWO, before[1])] {
        let asked = asked(openstack, region, &tenants, since);
        assert!(asked.is_empty(), "all is done, and {region} was asked: {asked:#?}");
    }
    assert_eq!(in_trove(openstack, &tenants), rows);
}

#[track_caller]
fn verifies(openstack: &OpenStack, done: &Evacuated) {
    let before = [ONE, TWO].map(|region| answered(openstack, region));
    let tenants = done.way.tenants();
    let count = tenants.iter().map(|tenant| done.right(tenant).len()).sum::<usize>();
    let quick = done.bed.backhaul(&["verify", "--depth", "quick", "right.yaml"]).expect(0);
    assert!(quick.stdout.contains(&format!("{count} of {count} copies")), "{quick}");
    let full = done.bed.backhaul(&["verify", "--depth", "full", "right.yaml"]).expect(0);
    assert!(full.stdout.contains(&format!("{count} of {count} copies read and hashed")), "{full}");
    assert!(asked(openstack, ONE, &tenants, before[0]).is_empty(), "the source is not needed to verify");
    assert!(asked(openstack, TWO, &tenants, before[1]).iter().all(|request| !request.writes()));
}

fn evacuates(way: Way) {
    let Some(openstack) = OpenStack::shared(&format!("an evacuation: {way:?}")) else { return };
    let done = way.evacuated(&openstack);
    tells_all_and_changes_nothing(done);
    has_run(&openstack, done);
    runs_again(&openstack, done);
    verifies(&openstack, done);
    others_are_untouched(&openstack);
}

#[test]
fn by_one_token_and_the_database() {
    evacuates(Way::Reseller);
}

#[test]
fn by_a_token_for_each_project_and_the_database() {
    evacuates(Way::EachProject);
}

#[test]
fn by_a_token_for_each_project_and_the_api() {
    evacuates(Way::Api);
}
