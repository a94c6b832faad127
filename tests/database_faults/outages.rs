//! Servers that are gone for a while, and replies that are lost.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use backhaul::database::{Database, DatabaseUrl, Holder};
use backhaul::lease::Terms;

use super::database_proxy::Proxy;
use super::database_server::Kind;
use super::support::{self, Bed, in_full, wait_until};
use super::{SLOWLY, bed, commits, in_the_middle, on_both, server, unwatched, went_well, went_well_after};

const OUTAGE: Duration = Duration::from_secs(12);

const KILLS: usize = 6;

fn is_killed_again_and_again(kind: Kind) {
    let Some(mut server) = server(kind, "a database server that is killed again and again") else { return };
    let bed = bed(&server, server.port);
    let mut running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    let (mut kills, mut committed) = (0, 0);
    while kills < KILLS && !running.has_ended() {
        server.kill();
        server.resume();
        kills += 1;
        // The next one strikes as soon as there was some progress.
        wait_until("the run goes on", || {
            let now = commits(&server);
            running.has_ended() || std::mem::replace(&mut committed, now) < now
        });
    }
    assert_eq!(kills, KILLS, "it has ended too soon");
    went_well(&bed, running, &format!("{kind:?} killed {kills} times"));
}

#[test]
fn a_server_is_killed_again_and_again() {
    on_both(is_killed_again_and_again);
}

fn is_down_for_a_while(kind: Kind) {
    let Some(mut server) = server(kind, "a database server that is down for a while") else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    // Shorter than the lease, which is 30 s: the runner keeps its work.
    let outage = in_full(OUTAGE, Duration::from_secs(24));
    server.kill();
    std::thread::sleep(outage);
    server.resume();
    went_well(&bed, running, &format!("{kind:?} down for {outage:?}"));
}

#[test]
fn a_server_is_down_for_a_while() {
    on_both(is_down_for_a_while);
}

/// Longer than the lease: nothing is written to stores meanwhile, and nobody else came.
fn is_down_for_longer_than_the_lease(kind: Kind) {
    let Some(mut server) = server(kind, "a database server that is down for longer than a lease") else { return };
    let bed = bed(&server, server.port);
    let (lease, heartbeat, outage) = in_full(("3s", "1s", OUTAGE), ("30s", "10s", Duration::from_mins(2)));
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY, "--lease", lease, "--heartbeat", heartbeat]);
    server.kill();
    std::thread::sleep(outage / 2);
    let written = in_the_stores(&bed);
    std::thread::sleep(outage / 2);
    assert_eq!(in_the_stores(&bed), written, "{kind:?}: written after its lease had ended");
    server.resume();
    went_well_after(1, &bed, running, &format!("{kind:?} down for {outage:?} with a lease of {lease}"));
}

/// Nobody waits for a server as long as a run does that nothing hurries: told to stop, it says why it could not write down
/// what it had, and goes.
fn is_told_to_stop_while_its_server_is_down(kind: Kind) {
    let Some(mut server) = server(kind, "a run that is told to stop while its server is down") else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY, "--lease", "3s", "--heartbeat", "1s"]);
    server.kill();
    running.signal(Signal::TERM);
    let (began, output) = (Instant::now(), running.wait().expect(6));
    assert!(began.elapsed() < Duration::from_mins(1), "{kind:?}: {:?}", began.elapsed());
    let text = format!("error: the database `{}` cannot be reached\ncaused by: ", bed.database_url());
    assert!(output.stderr.contains(&text), "{kind:?}: {output}");
    server.resume();
    wait_until("its lease is over", || bed.run().code == Some(0));
    bed.is_complete(1, &format!("{kind:?}: told to stop while it was down"));
}

#[test]
fn a_run_is_told_to_stop_while_its_server_is_down() {
    on_both(is_told_to_stop_while_its_server_is_down);
}

/// All that lies in the target regions, and when it was written.
fn in_the_stores(bed: &Bed) -> Vec<(PathBuf, u64, SystemTime)> {
    let files = support::TARGETS.iter().flat_map(|target| support::files(&bed.target(target)));
    let mut found: Vec<_> = files
        .map(|path| {
            let metadata = path.metadata().expect("a file");
            (path, metadata.len(), metadata.modified().expect("a time"))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_server_is_down_for_longer_than_the_lease() {
    on_both(is_down_for_longer_than_the_lease);
}

fn replies_to_commits_are_lost_on(kind: Kind) {
    let Some(server) = server(kind, "lost replies to commits") else { return };
    let proxy = Proxy::to(server.port);
    let bed = bed(&server, proxy.port);
    let mut running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    while !running.has_ended() {
        let before = proxy.swallowed();
        proxy.swallow_next_commit();
        wait_until("a reply is lost", || proxy.swallowed() > before || running.has_ended());
    }
    // What the run's end left waiting must not meet who looks at the rows.
    let swallowed = proxy.swallowed();
    proxy.swallow_nothing();
    assert!(swallowed >= 10, "only {swallowed} replies were lost");
    went_well(&bed, running, &format!("{kind:?}: {swallowed} replies to COMMIT lost"));
    assert_eq!(support::rows(&bed).0.iter().filter(|row| row.attempt != 1).count(), 0);
}

#[test]
fn replies_to_commits_are_lost() {
    on_both(replies_to_commits_are_lost_on);
}

fn is_away_before_the_plan_is_written_down(kind: Kind) {
    let Some(mut server) = server(kind, "a database server that is away before a plan is written down") else { return };
    let url = DatabaseUrl::parse(&server.url(super::NAME, server.port)).expect("a URL");
    super::block_on(async {
        let holder = Holder::this_process("run", Some("plan"));
        let open = || Database::open_joining(&url, &holder, Terms::DEFAULT, false);
        let (first, second) = (open().await.expect("open"), open().await.expect("open"));
        let lock = first.lock_plans().await.expect("free");
        let waiting = second.lock_plans();
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(500), &mut waiting).await;
        assert!(early.is_err(), "{kind:?}: the first has it");
        server.kill();
        server.resume();
        waiting.await.expect("there again, and the first has nothing any more").release().await;
        lock.release().await;
        first.close().await;
        second.close().await;
    });
}

/// Joined, and not yet at work.
#[test]
fn a_server_is_away_before_a_plan_is_written_down() {
    on_both(is_away_before_the_plan_is_written_down);
}

/// `MariaDB` cannot undo tables: a first run that is killed leaves some, without the row that says that they are all.
#[test]
fn tables_of_mariadb_that_a_killed_run_left_are_finished() {
    let Some(server) = server(Kind::MariaDb, "tables that a killed run left") else { return };
    let bed = unwatched(&server, server.port);
    bed.run().expect(0);
    for statement in ["DROP TABLE commits, runners, plan_entries, parts, runs", "DELETE FROM seaql_migrations"] {
        super::block_on(server.execute(super::NAME, statement));
    }
    let status = bed.command(&["status"]).arg(bed.plan()).output().expect("the binary starts");
    let status = support::Output::of(status).expect(6);
    assert!(status.stderr.contains("there is no database of Backhaul's at"), "{status}");
    bed.completes(0, "after a run that was killed while it made its tables");
}
