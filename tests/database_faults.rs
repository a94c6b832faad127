//! Faults of a database on a server while one runner works: whatever the server does, no step fails for it, and in the
//! end rows, objects and records are those of a run that nobody disturbed.

#[path = "database_faults/closed.rs"]
mod closed;
#[path = "database_faults/contention.rs"]
mod contention;
#[path = "support/database_proxy.rs"]
mod database_proxy;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "database_faults/failover.rs"]
mod failover;
#[path = "database_faults/outages.rs"]
mod outages;
#[path = "database_faults/round_trips.rs"]
mod round_trips;
mod support;

use database_server::{DatabaseServer, Kind};
use support::{Bed, Layout, Options, Output, Running, wait_until};

/// Bytes a second, slow enough to be met in the middle: some eight seconds.
const SLOWLY: &str = "8MiB/s";

/// The name of the database.
const NAME: &str = "faults";

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Both kinds of server at a time: a run waits most of it.
fn on_both(test: fn(Kind)) {
    std::thread::scope(|scope| {
        for kind in [Kind::PostgreSql, Kind::MariaDb] {
            scope.spawn(move || test(kind));
        }
    });
}

/// A server with an empty database.
fn server(kind: Kind, test: &str) -> Option<DatabaseServer> {
    server_with(kind, test, Vec::new())
}

/// The same with more arguments.
fn server_with(kind: Kind, test: &str, arguments: Vec<String>) -> Option<DatabaseServer> {
    match DatabaseServer::start_with(kind, |_| arguments) {
        Ok(server) => {
            block_on(server.create(NAME));
            Some(server)
        }
        Err(why) => {
            support::skip(test, &why);
            None
        }
    }
}

/// A bed of large objects whose database is on a server, reached through a port, and watched.
fn bed(server: &DatabaseServer, port: u16) -> Bed {
    let bed = unwatched(server, port);
    bed.watch();
    bed
}

/// The same, with nothing in its database yet.
fn unwatched(server: &DatabaseServer, port: u16) -> Bed {
    Bed::with(Layout::Large, Options { database: Some(server.url(NAME, port)), ..Options::default() })
}

/// A run in its middle: some part is stored and has its row.
fn in_the_middle(bed: &Bed, arguments: &[&str]) -> Running {
    let mut command = bed.run_command(&["--json", "--concurrency", "2"]);
    let mut running = Running::start(command.args(arguments));
    wait_for_part(bed, &mut running);
    running
}

/// Until a part has its row.
fn wait_for_part(bed: &Bed, running: &mut Running) {
    wait_until("a part is stored", || {
        assert!(!running.has_ended(), "it was to be met in the middle");
        let rows = support::rows_at(&bed.database_url()).unwrap_or_default();
        rows.iter().any(|(_, parts)| !parts.is_empty())
    });
}

/// How many transactions the only runner has committed; 0 once it has left.
fn commits(server: &DatabaseServer) -> i64 {
    block_on(server.number(NAME, "SELECT COALESCE(MAX(sequence), 0) FROM commits")).unwrap_or_default()
}

/// The run completed, and no step of it failed, was tried again or began anew.
#[track_caller]
fn went_well(bed: &Bed, running: Running, what: &str) {
    went_well_after(0, bed, running, what);
}

/// The same with the parts that were in flight when its lease ended, so many times, read again.
#[track_caller]
fn went_well_after(lapses: u64, bed: &Bed, running: Running, what: &str) {
    let output = running.wait();
    assert_eq!(output.code, Some(0), "{what}: {output}");
    let told = told(&output);
    for step in ["retrying", "failed", "copy_restarted", "restarted"] {
        assert!(!told.contains(&step.to_owned()), "{what}: {step}: {output}");
    }
    assert!(told.contains(&"registered".to_owned()), "{what}: {told:?}");
    bed.is_complete(lapses, what);
}

/// The types of all lines of a run's JSON.
fn told(output: &Output) -> Vec<String> {
    let lines = output.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    lines.map(|line| line["type"].as_str().expect("a type").to_owned()).collect()
}
