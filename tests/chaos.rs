//! Three runners on each of ten plans, on one database and between S3 servers, and chance against them: each migration
//! is done once, as the servers' logs and triggers in the database saw it.
//!
//! `BACKHAUL_TESTS_SEED` chooses what is done to whom; when it strikes depends on the machine.

mod support;

#[path = "s3/bed.rs"]
mod bed;
#[path = "chaos/crew.rs"]
mod crew;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "chaos/disorder.rs"]
mod disorder;
#[path = "chaos/outcome.rs"]
mod outcome;
#[path = "support/own_network.rs"]
mod own_network;
#[path = "support/s3/mod.rs"]
mod s3;
#[path = "chaos/sentry.rs"]
mod sentry;
#[path = "chaos/soak.rs"]
mod soak;
#[path = "support/witnessed.rs"]
mod witnessed;

use std::time::Duration;

use bed::{MIB, Object, PART};
use crew::Work;
use database_server::{DatabaseServer, Kind};
use disorder::Disorder;
use own_network::in_own_network;

/// Plans that are worked on at a time, each by three runners.
const AT_ONCE: usize = 5;

const PLANS: usize = 10;

/// Some chains, two objects of two parts, and small ones: five seconds of work, if the machine is as fast as the limit.
fn work(number: usize) -> Work {
    let mut objects = Vec::new();
    for chain in 0..3 {
        let link = |at: u64| format!("chain-{chain}/{at}.xbstream.gz");
        objects.push(Object::new(&link(0), 60_000 + chain));
        objects.extend((1..4).map(|at| Object::new(&link(at), 9_000 * at).child_of(&link(at - 1))));
    }
    objects.extend((0..24).map(|at| Object::new(&format!("small-{at}.xbstream.gz"), 20_000 + 999 * at)));
    objects.push(Object::new("large-0.xbstream.gz", PART + 12_345));
    objects.push(Object::new("large-1.xbstream.gz", 2 * PART));
    Work { number, objects, bytes_per_second: 3 * MIB, held: Some("small-0.") }
}

/// Past the test harness, which keeps what a passing test prints to itself.
fn tell(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// A server that listens at every address of the loopback.
fn server() -> Result<DatabaseServer, String> {
    DatabaseServer::start_with(Kind::PostgreSql, |_| ["-h", "0.0.0.0"].map(str::to_owned).to_vec())
}

#[test]
fn three_runners_finish_each_plan_whatever_is_done_to_them() {
    in_own_network("three_runners_finish_each_plan_whatever_is_done_to_them", |network| {
        let server = match server() {
            Ok(server) => server,
            Err(why) => return support::skip("three runners on each of ten plans", &why),
        };
        let mut disorder = Disorder::on(server, network);
        disorder.finishes((0..PLANS).map(work), AT_ONCE);
        let tally = disorder.tally();
        tell(&tally.to_string());
        assert_eq!((tally.plans, tally.violations), (PLANS, 0), "{tally}");
        let faults = [tally.kills, tally.partitions, tally.stops, tally.restarts];
        assert_eq!(faults, [2, 2, 1, 1].map(|each| each * PLANS), "{tally}");
        assert!(tally.leases.are_kept(), "{tally}");
    });
}

#[test]
#[ignore = "takes `BACKHAUL_SOAK_MINUTES`, an hour if there is no word of it; with --nocapture it tells how it goes"]
fn soak_for_a_while() {
    in_own_network("soak_for_a_while", |network| {
        let minutes = std::env::var("BACKHAUL_SOAK_MINUTES").map_or(60, |text| text.parse().expect("a number"));
        let mut disorder = Disorder::on(server().expect("PostgreSQL is installed"), network);
        soak::soak(&mut disorder, Duration::from_mins(minutes));
        let tally = disorder.tally();
        tell(&format!("in the end: {tally}"));
        assert_eq!(tally.violations, 0, "{tally}");
        assert!(tally.leases.are_kept(), "{tally}");
    });
}
