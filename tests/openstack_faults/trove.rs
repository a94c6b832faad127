//! A Trove that goes away in the middle, by its API and by its database.

use backhaul::failure::Cause;
use backhaul::state::State;

use crate::bed::{Bed, DATABASE, EACH};
use crate::openstack::{OpenStack, TWO};
use crate::support::wait_until;
use crate::way::{Fate, Way};

/// The first registration is done and nobody hears of it; then nobody is there any more. The next run goes on, and no row is
/// there twice (F42).
#[test]
fn a_trove_that_goes_down_between_two_registrations_has_each_once() {
    let Some(openstack) = OpenStack::shared("a Trove API that goes down") else { return };
    let bed = Bed::new(&openstack, &["faults-api"]);
    let seeds = openstack.seed(&["faults-api/small"]);
    let way = Way::to(&openstack.trove_url(TWO));
    let mut posts = 0;
    way.decide(move |asked| {
        posts += usize::from(asked.method == "POST");
        match posts {
            0 => Fate::Pass,
            1 if asked.method == "POST" => Fate::Unheard,
            _ => Fate::Gone,
        }
    });
    let api = format!("{{ type: trove-api, endpoint: \"{}/v1.0\" }}", way.url());
    bed.plan(EACH, &api, "retry: { attempts: 3, max_delay: 1s }");
    let said = bed.run(&[]).expect(3);
    let host = way.url().replace("http://", "");
    for words in ["failed: a store or catalog cannot be reached", &*format!("the connection to {host} broke")] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    let rows = bed.rows();
    assert!(rows.iter().all(|row| row.sha256.is_some()), "all are copied");
    let failed = rows.iter().filter(|row| row.state == State::Failed);
    assert!(failed.clone().any(|row| row.cause == Some(Cause::Unreachable)), "{rows:?}");
    let (copied, registered) = bed.there("faults-api");
    assert_eq!(registered.len(), 1);

    way.open();
    bed.run(&[]).expect(0);
    bed.is_complete("faults-api", &seeds.of("faults-api"));
    let posted = way.asked().iter().filter(|asked| asked.method == "POST").count();
    let there = bed.there("faults-api");
    assert_eq!((there.0, there.1.len()), (copied, 5));
    assert!(posted >= 5, "{posted}");
}

/// The real one, and the databases of both Troves with it.
#[test]
fn services_that_are_started_anew_are_waited_for() {
    let Some(openstack) = OpenStack::alone("a Trove that is started anew") else { return };
    let tenants = ["faults-restart", "faults-api-restart"];
    let beds = tenants.map(|tenant| Bed::new(&openstack, &[tenant]));
    let seeds = openstack.seed(&["faults-restart/many:8", "faults-api-restart/many:8"]);
    // About two a second, so that there is a middle.
    let slow = "limits: { bandwidth: 5KiB/s, concurrency: 2 }\nretry: { attempts: 20, max_delay: 1s }";
    for (bed, catalog) in beds.iter().zip([DATABASE, "{ type: trove-api }"]) {
        let tenant = &*bed.tenants[0];
        bed.plan(EACH, catalog, slow);
        let mut run = bed.start(&["run", "--json", "plan.yaml"]);
        wait_until("some are registered", || bed.there(tenant).1.len() >= 2);
        let before = bed.there(tenant).1.len();
        assert!(before < 8, "it is over already");
        if catalog == DATABASE {
            openstack.stop_databases();
            run.says("\"type\":\"retrying\"");
            openstack.start_databases();
        } else {
            openstack.stop_trove(TWO);
            run.says("\"type\":\"retrying\"");
            openstack.start_trove(TWO);
        }
        let run = run.end().expect(0);
        assert!(!run.stdout.contains("\"type\":\"failed\""), "{run}");
        bed.is_complete(tenant, &seeds.of(tenant));
    }
}
