//! A run that dies anywhere goes on from there: the next run ends with the rows, bytes and records of one that was
//! never disturbed, and reads no more than the parts that were under way again.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Bed, Layout, Options, Output, Running, skip};

/// Beds that are disturbed at a time: most of a run is waiting for the disk.
const AT_ONCE: usize = 4;

/// Does `work` for every item, a few at a time; a panic in one fails the test.
fn for_all<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let left = Mutex::new(items.into_iter().collect::<Vec<T>>().into_iter());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(item) = left.lock().expect("no panic while it is held").next() else { break };
                    work(item);
                }
            });
        }
    });
}

/// Whether the binary has named points at all.
fn has_points(test: &str) -> bool {
    if !cfg!(feature = "fault-points") {
        skip(test, "built without the feature `fault-points` (`cargo test --all-features`)");
    }
    cfg!(feature = "fault-points")
}

/// Every name in a `fault::point("…")` of the sources.
fn points_in_sources() -> Vec<String> {
    let mut points = Vec::new();
    for path in support::files(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = std::fs::read_to_string(path).expect("a source file");
        points
            .extend(text.split("fault::point(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
    }
    points.sort_unstable();
    points
}

/// How a bed comes to pass some points: what happens before the command that is killed, that command, and how the bed
/// is known to be whole again.
struct Scenario {
    name: &'static str,
    layout: Layout,
    prepare: fn(&Bed),
    command: &'static [&'static str],
    /// Exit code of the command when nobody kills it.
    code: i32,
    /// Runs what is to make it whole, and looks whether it is.
    heal: fn(&Bed, &str),
}

const RUN: &[&str] = &["run", "-v"];

/// Between them they pass every point.
const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "small", layout: Layout::Small, prepare: |_| (), command: RUN, code: 0, heal: run_again },
    Scenario { name: "large", layout: Layout::Large, prepare: |_| (), command: RUN, code: 0, heal: run_again },
    Scenario {
        name: "go on",
        layout: Layout::Large,
        prepare: stop_in_the_middle,
        command: RUN,
        code: 0,
        heal: run_again_after_two,
    },
    Scenario {
        name: "start again",
        layout: Layout::Large,
        prepare: lose_what_was_staged,
        command: RUN,
        code: 0,
        heal: run_again_reading_all,
    },
    Scenario {
        name: "adopt",
        layout: Layout::Large,
        prepare: lose_the_database,
        command: RUN,
        code: 0,
        heal: run_again_reading_all,
    },
    Scenario {
        name: "gc",
        layout: Layout::Large,
        prepare: give_up_in_the_middle,
        command: &["gc"],
        code: 0,
        heal: collect_again,
    },
    Scenario {
        name: "verify",
        layout: Layout::Small,
        prepare: damage_a_copy,
        command: &["verify"],
        code: 3,
        heal: verify_again,
    },
];

fn run_again(bed: &Bed, what: &str) {
    bed.completes(1, what);
}

fn run_again_after_two(bed: &Bed, what: &str) {
    bed.completes(2, what);
}

/// All bytes were read once for nothing: nine parts are three kills' worth.
fn run_again_reading_all(bed: &Bed, what: &str) {
    bed.completes(1 + 1 + 3, what);
}

fn stop_in_the_middle(bed: &Bed) {
    let stopped = bed.run_until("after-part-row", 14);
    assert!(stopped.signal.is_some(), "{stopped}");
}

fn lose_what_was_staged(bed: &Bed) {
    stop_in_the_middle(bed);
    let staged = support::temporaries(bed);
    assert!(!staged.is_empty());
    for path in staged {
        std::fs::remove_file(path).expect("a file");
    }
}

fn lose_the_database(bed: &Bed) {
    bed.run().expect(0);
    std::fs::remove_dir_all(bed.database().parent().expect("a folder")).expect("the database's folder");
}

/// The plan wants nothing any more of what it has begun.
fn edit_out_what_is_begun(bed: &Bed) {
    let whole = std::fs::read_to_string(bed.plan()).expect("the plan");
    let (head, backups) = whole.split_once("backups:\n").expect("backups");
    let alone = backups.lines().find(|line| line.contains("alone.bin")).expect("an object without a chain");
    std::fs::write(bed.plan(), format!("{head}backups:\n{alone}\n")).expect("the plan");
}

fn give_up_in_the_middle(bed: &Bed) {
    stop_in_the_middle(bed);
    edit_out_what_is_begun(bed);
    bed.run_with(&["--accept-changes"]).expect(0);
    assert!(!support::temporaries(bed).is_empty(), "there is something to collect");
}

/// What `gc` left when it was killed, the next one finds; and the plan can want it all again.
fn collect_again(bed: &Bed, what: &str) {
    let collected = Output::of(bed.command(&["gc"]).arg(bed.plan()).output().expect("the binary starts"));
    assert_eq!(collected.code, Some(0), "{what}: {collected}");
    assert_eq!(support::temporaries(bed), Vec::<std::path::PathBuf>::new(), "{what}: left behind");
    bed.write_plan();
    run_again_reading_all(bed, what);
}

fn damaged(bed: &Bed) -> std::path::PathBuf {
    bed.target("two").join("a/full.xbstream.gz")
}

fn damage_a_copy(bed: &Bed) {
    bed.run().expect(0);
    std::fs::remove_file(damaged(bed)).expect("a copy");
}

/// However `verify` ended, after the next one both the row and the catalog say that the copy is gone.
fn verify_again(bed: &Bed, what: &str) {
    let again = Output::of(bed.command(&["verify"]).arg(bed.plan()).output().expect("the binary starts"));
    assert!(matches!(again.code, Some(0 | 3)), "{what}: {again}");
    let gone: Vec<_> = support::rows(bed).0.into_iter().filter(|row| row.state.as_str() == "FAILED").collect();
    assert_eq!(gone.len(), 1, "{what}: one row is FAILED");
    let lines = support::record_lines(&bed.target("two"));
    let newest = lines.iter().filter(|(_, record)| record.id == gone[0].id).max_by_key(|(object, _)| object.clone());
    let state = newest.map(|(_, record)| record.state.clone());
    assert_eq!(state, Some(backhaul::catalog::RecordState::Failed), "{what}: the catalog still says COMPLETED");
    assert_eq!(support::temporaries(bed), Vec::<std::path::PathBuf>::new(), "{what}: left behind");
    bed.audit().finished().watched().holds(what);
}

impl Scenario {
    /// Runs the command in a fresh bed, killed at `point` if there is one.
    fn play(&self, point: Option<(&str, usize)>) -> (Bed, Output) {
        let bed = Bed::new(self.layout);
        if self.is_watched() {
            bed.watch();
        }
        (self.prepare)(&bed);
        let mut command = bed.command(self.command);
        command.arg(bed.plan()).env("BACKHAUL_FAULT_LOG", bed.path().join("points.log"));
        if let Some((point, n)) = point {
            command.env("BACKHAUL_FAULT", format!("{point}:{n}"));
        }
        let output = Output::of(command.output().expect("the binary starts"));
        (bed, output)
    }

    /// Whether the command that is killed is the first of its bed.
    fn begins_with_nothing(&self) -> bool {
        ["small", "large"].contains(&self.name)
    }

    /// The others make their database, or lose it, as a part of what they do.
    fn is_watched(&self) -> bool {
        !["small", "adopt"].contains(&self.name)
    }

    /// How often each point is passed when nobody kills it.
    fn passages(&self) -> BTreeMap<String, usize> {
        let (bed, output) = self.play(None);
        assert_eq!(output.code, Some(self.code), "{}: {output}", self.name);
        let mut passages = BTreeMap::new();
        for point in std::fs::read_to_string(bed.path().join("points.log")).expect("a log").lines() {
            *passages.entry(point.to_owned()).or_default() += 1;
        }
        passages
    }

    /// Dies at the n-th passage of `point`, and heals; false if there were fewer passages this time.
    fn dies_at(&self, point: &str, n: usize) -> bool {
        let what = format!("{}, killed at {point}:{n}", self.name);
        let (bed, output) = self.play(Some((point, n)));
        let died = output.signal == Some(Signal::ABORT.as_raw());
        // How many commits are gathered into one, and how far each copy was when an earlier run was killed, are matters
        // of chance: there may be fewer passages than in the run that was counted.
        let chance = (n > 2 || !self.begins_with_nothing()) && output.code == Some(self.code);
        assert!(died || chance, "{what}: it was not killed: {output}");
        bed.status();
        // What was damaged on purpose is COMPLETED until `verify` has written down what it found. And once for each point
        // is enough for a look at what lies there.
        if self.name != "verify" && n == 1 {
            bed.audit().holds(&what);
        }
        (self.heal)(&bed, &what);
        died
    }
}

#[test]
fn every_point_is_survived() {
    if !has_points("every_point_is_survived") {
        return;
    }
    let mut deaths = Vec::new();
    for scenario in &SCENARIOS {
        for (point, times) in scenario.passages() {
            // Every single commit of a small run, so also those between two points without a name.
            let every = scenario.name == "small" && point.starts_with("commit-");
            let mut passages: Vec<usize> = if every {
                (1..=times).collect()
            } else if scenario.begins_with_nothing() {
                vec![1, 2, times / 2, times]
            } else {
                vec![1, times]
            };
            passages.retain(|n| (1..=times).contains(n));
            passages.sort_unstable();
            passages.dedup();
            deaths.extend(passages.into_iter().map(|n| (scenario, point.clone(), n)));
        }
    }
    let (all, died) = (deaths.len(), Mutex::new(Vec::new()));
    for_all(deaths, |(scenario, point, n)| {
        if scenario.dies_at(&point, n) {
            died.lock().expect("no panic while it is held").push(point);
        }
    });
    let died = died.into_inner().expect("no panic while it was held");
    // Runs that register in Trove are killed by `tests/swift_kills.rs`.
    for point in points_in_sources().into_iter().filter(|point| !point.starts_with("trove-")) {
        assert!(died.contains(&point), "no run was killed at the point `{point}`: give it a scenario");
    }
    assert!(died.len() * 4 > all * 3, "only {} of {all} points were reached", died.len());
}

/// Killed again and again, each time one checkpoint further: the cost stays bounded by the number of kills.
#[test]
fn killed_at_every_checkpoint_in_a_row() {
    if !has_points("killed_at_every_checkpoint_in_a_row") {
        return;
    }
    for_all(["after-part-row", "after-copied", "after-completed"], |point| {
        let bed = Bed::new(Layout::Large);
        bed.watch();
        let mut kills = 0;
        loop {
            let output = bed.run_until(point, 1);
            if output.signal.is_none() {
                output.expect(0);
                break;
            }
            kills += 1;
            assert!(kills < 100, "no progress from one {point} to the next");
        }
        assert!(kills > 2, "{point}: {kills}");
        bed.is_complete(kills, point);
    });
}

/// What lies under its final name when the run dies is known by its bytes, however it is to be verified: its copy does
/// not begin anew. (The third to the sixth copy of the bed are some of several parts.)
#[test]
fn killed_between_publishing_and_the_row() {
    if !has_points("killed_between_publishing_and_the_row") {
        return;
    }
    for_all(["store", "read-back"], |verify| {
        for copy in 3..=6 {
            let bed = Bed::with(Layout::Large, Options { verify, ..Options::default() });
            let output = bed.run_until("before-copied", copy);
            assert!(output.signal.is_some(), "{verify}: it was not killed: {output}");
            bed.completes(1, &format!("{verify}, killed before the row of copy {copy}"));
            for row in support::rows(&bed).0 {
                assert_eq!(row.attempt, 1, "{verify}, copy {copy}: `{}` in {} was begun anew", row.name, row.region);
            }
        }
    });
}

/// A fault of ours in one step fails that one alone, says so, and is tried again by the next run.
#[test]
fn a_panic_fails_its_own_step() {
    if !has_points("a_panic_fails_its_own_step") {
        return;
    }
    for (point, layout, code) in [
        ("after-claim:1:panic", Layout::Large, 3),
        ("before-copied:3:panic", Layout::Large, 3),
        ("after-copied:3:panic", Layout::Large, 0),
        ("before-register:1:panic", Layout::Small, 3),
        ("after-completed:1:panic", Layout::Small, 0),
    ] {
        let bed = Bed::new(layout);
        let output = bed.run_until_fault(point);
        assert_eq!(output.code, Some(code), "{point}: {output}");
        assert!(output.stderr.contains("panicked at src/fault.rs"), "{point}: {output}");
        let failed: Vec<_> = support::rows(&bed).0.into_iter().filter(|row| row.state.as_str() == "FAILED").collect();
        assert_eq!(failed.is_empty(), code == 0, "{point}: {output}");
        for row in failed {
            assert_eq!(row.cause.map(|cause| cause.to_string()).as_deref(), Some("internal"), "{point}: {}", row.name);
        }
        bed.completes(1 + 3, point);
    }
}

#[test]
fn an_edit_that_leaves_work_behind_is_refused_until_it_is_accepted() {
    if !has_points("an_edit_that_leaves_work_behind_is_refused_until_it_is_accepted") {
        return;
    }
    let bed = Bed::new(Layout::Large);
    stop_in_the_middle(&bed);
    edit_out_what_is_begun(&bed);
    let before = (support::rows_with_parts(&bed), support::temporaries(&bed));
    for arguments in [&["plan"], RUN] {
        let refused = Output::of(bed.command(arguments).arg(bed.plan()).output().expect("the binary starts")).expect(2);
        let (note, error) = refused.stderr.split_once('\n').expect("two texts");
        assert!(note.starts_with("note: the plan was edited since its last run: migrations: "), "{refused}");
        assert!(note.ends_with(" under way)"), "{refused}");
        assert!(error.starts_with("error: the edited plan no longer wants "), "{refused}");
        assert!(error.contains(" that are under way; nothing was touched\ncaused by: `"), "{refused}");
        assert!(error.contains("`full.xbstream.gz` for region `two`: its copy was begun\n"), "{refused}");
        let hint = "\nhint: put them back into the plan until they are done; or add --accept-changes: what they have stored is \
                    given up, and `backhaul gc` removes what was not published\n";
        assert!(error.ends_with(hint), "{refused}");
    }
    assert_eq!((support::rows_with_parts(&bed), support::temporaries(&bed)), before, "something was touched");
    bed.run_with(&["--accept-changes"]).expect(0);
    // What was accepted once is not asked for again.
    bed.run().expect(0);
}

#[test]
fn random_kills() {
    let seed = match std::env::var("BACKHAUL_TESTS_SEED") {
        Ok(seed) => seed.parse().expect("BACKHAUL_TESTS_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("BACKHAUL_TESTS_SEED={seed}");
    // With a rate, parts are read and written in slices.
    let limits = "limits: { bandwidth: 80MiB/s, concurrency: 3 }".to_owned();
    let shares = [
        (30, Layout::Small, Options::default()),
        (30, Layout::Large, Options::default()),
        (20, Layout::Large, Options { limits, ..Options::default() }),
        (20, Layout::Large, Options { verify: "read-back", ..Options::default() }),
    ];
    for_all(shares.into_iter().zip(1..), |((kills, layout, options), number)| {
        let mut random = fastrand::Rng::with_seed(seed ^ number);
        let whole = (0..3).map(|_| time_of_a_run(layout, &options)).min().expect("three");
        let mut left = kills;
        while left > 0 {
            let bed = Bed::with(layout, options.clone());
            // Small ones are often killed while they make their database.
            if layout == Layout::Large {
                bed.watch();
            }
            left -= kill_until_complete(&bed, whole, left, &mut random);
        }
    });
}

fn time_of_a_run(layout: Layout, options: &Options) -> Duration {
    let bed = Bed::with(layout, options.clone());
    let start = Instant::now();
    bed.run().expect(0);
    start.elapsed()
}

/// Kills run after run, each at an instant within `whole`, until one ends before or `most` are killed; gives how many.
fn kill_until_complete(bed: &Bed, whole: Duration, most: u64, random: &mut fastrand::Rng) -> u64 {
    let mut kills = 0;
    while kills < most {
        // Also the next one must end by itself, whatever the last one left.
        let mut running = Running::start(&mut bed.run_command(&["-v"]));
        std::thread::sleep(whole.mul_f64(random.f64()));
        if running.has_ended() {
            running.wait().expect(0);
            break;
        }
        running.signal(Signal::KILL);
        let output = running.wait();
        assert!(output.signal == Some(Signal::KILL.as_raw()) || output.code == Some(0), "{output}");
        kills += u64::from(output.signal.is_some());
    }
    bed.completes(kills, &format!("after {kills} random kills"));
    kills
}
