//! A region's requests a second are a total over runners, as its store counts them while they come and go.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::bed::Server;
use super::s3::S3Server;
use super::stores::{Bed, Object, Options, Route};
use super::support::{Running, wait_until};
use super::witnessed::Witnessed;

/// So few that no machine is too slow for them.
const PER_SECOND: usize = 20;

const LIMITS: &str = "limits: { concurrency: 6, regions: { target: { requests_per_second: 20 } } }";

/// What the limit is held over.
const WINDOW: Duration = Duration::from_secs(10);

/// What it allows in a window.
const ALLOWED: usize = 10 * PER_SECOND;

/// Windows that may pass until the limit is used up.
const WINDOWS: usize = 6;

/// More than can be copied while the test looks.
const OBJECTS: u64 = 2_000;

fn join(bed: &Bed) -> Running {
    let arguments = ["-q", "--if-running", "join", "--lease", "3s", "--heartbeat", "1s"];
    Running::start(&mut bed.command("run", &arguments))
}

fn arrivals(store: &S3Server) -> Vec<Instant> {
    let mut arrivals: Vec<_> = store.requests().iter().map(|request| request.at).collect();
    arrivals.sort();
    arrivals
}

/// The most requests within any window.
fn most(store: &S3Server) -> usize {
    let arrivals = arrivals(store);
    let within = |(n, from): (usize, &Instant)| arrivals.partition_point(|at| *at < *from + WINDOW) - n;
    arrivals.iter().enumerate().map(within).max().unwrap_or_default()
}

/// In one of the windows from now on: almost all that the limit allows. In the first, unless the machine is busy with
/// something else, or a runner is just gone.
fn is_used_up(store: &S3Server, when: &str) {
    let count = |_| {
        let from = Instant::now();
        std::thread::sleep(WINDOW);
        let until = from + WINDOW;
        Some(arrivals(store).iter().filter(|at| (from..until).contains(*at)).count())
    };
    let is_too_little = |count: &usize| *count * 10 < 9 * ALLOWED;
    let counts: Vec<usize> = (0..WINDOWS).map_while(|window| count(window).filter(is_too_little)).collect();
    assert!(counts.len() < WINDOWS, "{when}: {counts:?} requests in {WINDOW:?} at {PER_SECOND} a second");
}

fn rows_of(database: &Witnessed, runner: &Running) -> i64 {
    database.count(&format!(
        "SELECT COUNT(*) FROM backups JOIN runners ON runners.id = backups.claimed_by WHERE runners.pid = {}",
        runner.pid()
    ))
}

pub(crate) fn hold_while_runners_come_and_go(server: &Server) {
    let database = server.new_database();
    let objects = (0..OBJECTS).map(|number| Object::new(&format!("{number}.bin"), 1_000 + number)).collect();
    let options = Options { limits: LIMITS, database: Some(database.url.clone()), ..Options::default() };
    let bed = Bed::with(Route::Between, objects, options);

    let first = join(&bed);
    wait_until("it copies", || rows_of(&database, &first) > 0);
    let others = [join(&bed), join(&bed)];
    wait_until("all three copy", || others.iter().all(|runner| rows_of(&database, runner) > 0));
    is_used_up(&bed.target, "three runners");
    let [killed, third] = others;
    killed.signal(Signal::KILL);
    assert_eq!(killed.wait().signal, Some(Signal::KILL.as_raw()));
    is_used_up(&bed.target, "after a kill");
    first.signal(Signal::TERM);
    first.wait().expect(4);
    third.signal(Signal::TERM);
    third.wait().expect(4);

    let most = most(&bed.target);
    assert!(most * 10 <= 11 * ALLOWED, "{most} requests in {WINDOW:?}");
    let completed = bed.is_true("limits of requests");
    assert!(completed > 0 && completed < bed.objects.len(), "{completed}");
}
