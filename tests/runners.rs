//! Several runners on one plan and one database: each migration is done once, whoever is killed or stopped meanwhile.
//!
//! A trigger in the database, which no runner can avoid, sees every change of a row: tokens only grow, states change
//! legally, and nobody takes what a live runner has.

mod support;

#[path = "runners/bed.rs"]
mod bed;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "runners/late.rs"]
mod late;
#[path = "runners/requests.rs"]
mod requests;
#[path = "support/s3/mod.rs"]
mod s3;
#[path = "s3/bed.rs"]
mod stores;
#[path = "runners/totals.rs"]
mod totals;
#[path = "runners/turns.rs"]
mod turns;
#[path = "support/witnessed.rs"]
mod witnessed;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bed::{Bed, Server, lease};
use database_server::Kind;
use rustix::process::Signal;
use support::{Running, wait_until};

/// Whoever takes them all, or measures how fast others are, has them alone.
static PROCESSORS: Mutex<()> = Mutex::new(());

/// A server, or a word about why there is none.
fn on(test: &str, kind: Kind, check: impl FnOnce(&Server)) {
    match Server::start(kind) {
        Ok(server) => check(&server),
        Err(why) => support::skip(test, &why),
    }
}

#[test]
fn three_runners_share_a_plan_on_postgresql() {
    on("runners on PostgreSQL", Kind::PostgreSql, |server| {
        all_that_start_at_once_do_each_migration_once(server, 3);
        what_a_killed_runner_had_is_taken_over(server);
        one_that_slept_past_its_lease_goes_on(server);
        a_joiner_is_let_in_or_told_why_not(server);
        a_host_that_misses_a_region_leaves_the_work_to_others(server);
        hosts_whose_clocks_are_wrong_agree(server);
        a_starved_runner_keeps_its_lease(server);
    });
}

#[test]
fn three_runners_share_a_plan_on_mariadb() {
    on("runners on MariaDB", Kind::MariaDb, |server| {
        all_that_start_at_once_do_each_migration_once(server, 3);
        what_a_killed_runner_had_is_taken_over(server);
        one_that_slept_past_its_lease_goes_on(server);
    });
}

/// As hosts that share a cron line do.
#[test]
fn five_runners_share_a_plan() {
    on("five runners", Kind::PostgreSql, |server| all_that_start_at_once_do_each_migration_once(server, 5));
}

#[test]
fn what_comes_late_changes_nothing() {
    on("runners that are late", Kind::PostgreSql, |server| {
        late::a_runner_that_is_stopped_before_it_writes_changes_nothing_later(server);
        late::a_clock_that_is_set_in_the_middle_is_not_looked_at(server);
    });
    on("runners that are late on MariaDB", Kind::MariaDb, |server| {
        late::a_runner_that_is_stopped_before_it_writes_changes_nothing_later(server);
    });
}

#[test]
fn one_at_a_time_unless_they_join() {
    for (test, kind) in [("turns on PostgreSQL", Kind::PostgreSql), ("turns on MariaDB", Kind::MariaDb)] {
        on(test, kind, |server| {
            turns::one_that_is_not_to_wait_fails(server);
            turns::one_that_waits_begins_when_the_other_is_gone(server);
        });
    }
}

#[test]
fn limits_are_totals_over_runners_that_come_and_go() {
    let _alone = PROCESSORS.lock();
    on("totals of limits on PostgreSQL", Kind::PostgreSql, totals::hold_while_runners_come_and_go);
    on("totals of limits on MariaDB", Kind::MariaDb, totals::hold_while_runners_come_and_go);
}

#[test]
fn requests_of_a_region_are_a_total_over_runners_that_come_and_go() {
    let _alone = PROCESSORS.lock();
    on("totals of requests", Kind::PostgreSql, requests::hold_while_runners_come_and_go);
}

/// Takes out the first runner that is seen to have stored parts of what it copies.
fn in_the_middle(bed: &Bed, runners: &mut Vec<Running>) -> Running {
    let mut found = None;
    wait_until("one has stored parts", || {
        found = runners.iter().position(|runner| bed.parts_of(runner.pid()) > 1);
        found.is_some()
    });
    runners.remove(found.expect("just seen"))
}

fn all_that_start_at_once_do_each_migration_once(server: &Server, runners: usize) {
    let bed = Bed::new(server, "8MiB/s");
    let runners: Vec<_> = (0..runners).map(|_| bed.join()).collect();
    for runner in runners {
        runner.wait().expect(0);
    }
    bed.is_complete(0);
    assert!(bed.owners().len() > 1, "one runner did all the work: {:?}", bed.owners());
}

fn what_a_killed_runner_had_is_taken_over(server: &Server) {
    let bed = Bed::new(server, "4MiB/s");
    let mut runners: Vec<_> = (0..3).map(|_| bed.join()).collect();
    let victim = in_the_middle(&bed, &mut runners);
    victim.signal(Signal::KILL);
    assert_eq!(victim.wait().signal, Some(Signal::KILL.as_raw()));
    for runner in runners {
        runner.wait().expect(0);
    }
    bed.is_complete(1);
    let taken_over = bed.taken_over_after();
    assert!(!taken_over.is_empty(), "nothing had to be taken over");
    for after in taken_over {
        assert!(after < Duration::from_secs(5), "taken over {after:?} after the lease had ended");
    }
}

fn one_that_slept_past_its_lease_goes_on(server: &Server) {
    let bed = Bed::new(server, "4MiB/s");
    let mut runners: Vec<_> = (0..3).map(|_| bed.join()).collect();
    let sleeper = in_the_middle(&bed, &mut runners);
    sleeper.signal(Signal::STOP);
    let began = std::time::Instant::now();
    wait_until("others have what it had", || bed.rows_of(sleeper.pid()) == 0);
    assert!(began.elapsed() < lease() + Duration::from_secs(7), "{:?}", began.elapsed());
    sleeper.signal(Signal::CONT);
    let ended = sleeper.wait().expect(0);
    for runner in runners {
        runner.wait().expect(0);
    }
    bed.is_complete(1);
    assert!(!ended.stderr.contains("error"), "{ended}");
    assert!(ended.stderr.contains("lease ended"), "{ended}");
}

/// What one host cannot reach is its own trouble: it fails no rows, and the others do the work.
fn a_host_that_misses_a_region_leaves_the_work_to_others(server: &Server) {
    if !support::is_root() {
        return support::skip("a host that misses a region", "only root may mount");
    }
    let bed = Bed::new(server, "2MiB/s");
    let first = bed.join();
    wait_until("it has begun", || bed.parts_of(first.pid()) > 0);
    let alone = bed.join_without_source().wait();
    // What is copied it may have registered: then it is not all that it could not reach.
    assert!(matches!(alone.code, Some(3 | 6)), "{alone}");
    assert!(alone.stderr.contains("cannot be reached"), "{alone}");
    first.wait().expect(0);
    bed.is_complete(0);
}

/// Leases and times are by the database's clock.
fn hosts_whose_clocks_are_wrong_agree(server: &Server) {
    if std::process::Command::new("faketime").arg("--version").output().is_err() {
        return support::skip("hosts whose clocks are wrong", "faketime is not installed");
    }
    let bed = Bed::new(server, "4MiB/s");
    let mut runners = vec![bed.join(), bed.join_at_another_time("+10d"), bed.join_at_another_time("-10d")];
    let victim = in_the_middle(&bed, &mut runners);
    victim.signal(Signal::KILL);
    victim.wait();
    for runner in runners {
        runner.wait().expect(0);
    }
    bed.is_complete(1);
    assert_eq!(bed.rows_of_other_days(), 0);
}

/// The heartbeat has a thread of its own, which busy copies and neighbours do not hold up.
fn a_starved_runner_keeps_its_lease(server: &Server) {
    let bed = Bed::new(server, "4MiB/s");
    let (done, _alone) = (AtomicBool::new(false), PROCESSORS.lock());
    std::thread::scope(|scope| {
        let neighbours = 4 * std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..neighbours {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let ended: Vec<_> = [bed.join(), bed.join()].into_iter().map(Running::wait).collect();
        done.store(true, Ordering::Relaxed);
        for output in ended {
            assert!(!output.stderr.contains("lease ended"), "{output}");
            output.expect(0);
        }
    });
    bed.is_complete(0);
}

fn a_joiner_is_let_in_or_told_why_not(server: &Server) {
    let bed = Bed::new(server, "2MiB/s");
    let first = bed.join();
    wait_until("it has begun", || bed.parts_of(first.pid()) > 0);
    let refused = bed.run(&["--if-running", "skip"]).wait().expect(5);
    assert!(refused.stderr.contains("is in use by `backhaul run` of plan `shared`"), "{refused}");

    let plan = std::fs::read_to_string(bed.plan()).expect("the plan");
    std::fs::write(bed.plan(), format!("{plan}# edited\n")).expect("writable");
    let refused = bed.run(&["--if-running", "join"]).wait().expect(2);
    let (pid, host) = (first.pid(), rustix::system::uname().nodename().to_string_lossy().into_owned());
    let told =
        format!("error: the plan file is not the one that `backhaul run` of plan `shared` (pid {pid} on {host}, ");
    assert!(refused.stderr.starts_with(&told), "{refused}");
    let hint = "hint: start it when that run has ended; or add --accept-changes: each goes on with its own version, and the \
                plan is what the newest says\n";
    assert!(refused.stderr.ends_with(hint), "{refused}");

    let other = plan.replace("name: shared", "name: another");
    std::fs::write(bed.plan(), other).expect("writable");
    bed.run(&["--if-running", "join"]).wait().expect(5);

    std::fs::write(bed.plan(), format!("{plan}# edited\n")).expect("writable");
    bed.run(&["--if-running", "join", "--accept-changes"]).wait().expect(0);
    first.wait().expect(0);
    bed.is_complete(0);
}
