//! A run that dies anywhere: the next one goes on, sends and reads no more than the parts that were under way again, and
//! leaves no upload open.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use backhaul::copy::PARTS_IN_FLIGHT;

use super::bed::{BUCKET, Bed, Options, PART, Route, large, one, small};
use super::s3::{Headers, Operation};
use super::{for_all, support};

const ROUTES: [Route; 3] = [Route::Between, Route::ToS3, Route::FromS3];

#[test]
fn random_kills() {
    let seed = match std::env::var("BACKHAUL_TESTS_SEED") {
        Ok(seed) => seed.parse().expect("BACKHAUL_TESTS_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("BACKHAUL_TESTS_SEED={seed}");
    let shares = ROUTES.into_iter().flat_map(|route| [(14, route, small()), (20, route, large())]);
    for_all(shares.zip(1..), |((kills, route, objects), number)| {
        let mut random = fastrand::Rng::with_seed(seed ^ number);
        let start = Instant::now();
        Bed::with(route, objects.clone(), Options::default()).run().expect(0);
        let whole = start.elapsed();
        let mut left = kills;
        while left > 0 {
            left -=
                kill_until_complete(&Bed::with(route, objects.clone(), Options::default()), whole, left, &mut random);
        }
    });
}

/// Kills run after run, each at an instant within `whole`, until one ends before or `most` are killed; gives how many.
fn kill_until_complete(bed: &Bed, whole: Duration, most: u64, random: &mut fastrand::Rng) -> u64 {
    let mut kills = 0;
    while kills < most {
        let mut running = bed.start();
        std::thread::sleep(whole.mul_f64(random.f64()));
        if running.has_ended() {
            running.wait().expect(0);
            break;
        }
        running.signal(Signal::KILL);
        let output = running.wait();
        assert!(output.signal == Some(Signal::KILL.as_raw()) || output.code == Some(0), "{output}");
        kills += u64::from(output.signal.is_some());
        bed.is_true("directly after a kill");
    }
    let what = format!("after {kills} random kills");
    bed.completes(&what);
    bed.bytes_at_most(kills, &what);
    kills
}

/// How often each point is passed by a run that nobody kills.
fn passages(bed: &Bed) -> BTreeMap<String, usize> {
    let log = bed.path().join("points.log");
    let output = bed.command("run", &["-v"]).env("BACKHAUL_FAULT_LOG", &log).output().expect("the binary starts");
    assert!(output.status.success());
    let mut passages = BTreeMap::new();
    for point in std::fs::read_to_string(log).expect("a log").lines() {
        *passages.entry(point.to_owned()).or_default() += 1;
    }
    passages
}

#[test]
fn killed_at_every_point() {
    if !cfg!(feature = "fault-points") {
        support::skip(
            "killed_at_every_point",
            "built without the feature `fault-points` (`cargo test --all-features`)",
        );
        return;
    }
    let mut deaths = Vec::new();
    for (route, objects) in
        [(Route::Between, small()), (Route::Between, large()), (Route::ToS3, large()), (Route::FromS3, large())]
    {
        for (point, times) in passages(&Bed::with(route, objects.clone(), Options::default())) {
            let mut numbers = if route == Route::Between { vec![1, times] } else { vec![times.div_ceil(2)] };
            numbers.dedup();
            deaths.extend(numbers.into_iter().map(|n| (route, objects.clone(), point.clone(), n)));
        }
    }
    for name in ["begin-after-create", "part-after-write", "publish-before-link", "publish-after-link", "before-put"] {
        assert!(deaths.iter().any(|(.., point, _)| point == name), "no run passes `{name}`");
    }
    for_all(deaths, |(route, objects, point, n)| {
        let what = format!("{route:?}, killed at {point}:{n}");
        let bed = Bed::with(route, objects, Options::default());
        let output = bed.run_until(&point, n);
        // How many commits are gathered into one is a matter of chance: there may be fewer passages this time.
        assert!(output.signal == Some(Signal::ABORT.as_raw()) || (n > 1 && output.code == Some(0)), "{what}: {output}");
        bed.is_true(&what);
        bed.completes(&what);
        bed.bytes_at_most(1, &what);
    });
}

/// Killed again and again, each time one checkpoint further: the cost stays bounded by the number of kills.
#[test]
fn killed_at_every_checkpoint_in_a_row() {
    if !cfg!(feature = "fault-points") {
        let why = "built without the feature `fault-points` (`cargo test --all-features`)";
        support::skip("killed_at_every_checkpoint_in_a_row", why);
        return;
    }
    for_all(["after-part-row", "part-after-write", "begin-after-create", "after-copied"], |point| {
        let bed = Bed::new(large());
        let mut kills = 0;
        loop {
            let output = bed.run_until(point, 1);
            if output.signal.is_none() {
                output.expect(0);
                break;
            }
            kills += 1;
            // What is killed before a part has its row never comes further: it is let through in the end.
            if kills == 10 && ["part-after-write", "begin-after-create"].contains(&point) {
                bed.run().expect(0);
                break;
            }
            assert!(kills < 60, "no progress from one {point} to the next");
        }
        bed.is_complete(point);
        bed.bytes_at_most(kills, point);
        bed.audit().twice(kills * PARTS_IN_FLIGHT as u64 * PART).holds(point);
    });
}

/// Killed when the store had begun an upload whose id is in no row, and the row had that of an earlier one.
#[test]
fn an_upload_that_comes_in_the_place_of_another() {
    if !cfg!(feature = "fault-points") {
        let why = "built without the feature `fault-points` (`cargo test --all-features`)";
        support::skip("an_upload_that_comes_in_the_place_of_another", why);
        return;
    }
    let bed = Bed::new(one(3 * PART));
    for point in ["part-after-write", "begin-after-create"] {
        let killed = bed.run_until(point, 1);
        assert!(killed.signal.is_some(), "{point}: {killed}");
    }
    bed.completes("after two uploads");
}

/// An upload that was begun for a plan that wants it no more; somebody else's stays.
#[test]
fn gc_aborts_what_nobody_wants() {
    let bed = Bed::new(one(3 * PART));
    for point in ["begin-after-create", "after-part-row"] {
        let killed = bed.run_until(point, 1);
        if cfg!(feature = "fault-points") {
            assert!(killed.signal.is_some(), "{point}: {killed}");
        }
    }
    let stranger = bed.target.begin_upload(BUCKET, "only.xbstream.gz.other");
    assert!(bed.target.open_uploads(BUCKET).len() > 1);
    // The plan wants something else now.
    bed.source.put(BUCKET, "another.xbstream.gz", &b"another"[..], Headers::default());
    let plan = std::fs::read_to_string(bed.plan()).expect("the plan");
    std::fs::write(bed.plan(), plan.replace("location: only.xbstream.gz", "location: another.xbstream.gz"))
        .expect("it");
    bed.call("run", &["--accept-changes"]).expect(0);
    bed.call("gc", &[]).expect(0);
    let left: Vec<String> = bed.target.open_uploads(BUCKET).into_iter().map(|upload| upload.id).collect();
    assert_eq!(left, [stranger]);
    assert_eq!(bed.target.count(Operation::DeleteObject).requests, 0, "no object was deleted");
}

/// What a killed run leaves in a bucket is no end; and what somebody does there, or in the source, is seen.
#[test]
fn the_audit_finds_what_is_wrong_in_a_bucket() {
    if !cfg!(feature = "fault-points") {
        let why = "built without the feature `fault-points` (`cargo test --all-features`)";
        support::skip("the_audit_finds_what_is_wrong_in_a_bucket", why);
        return;
    }
    let bed = Bed::new(large());
    let finds = |text: &str| {
        let Some(found) = bed.audit().finished().findings() else { return };
        assert!(found.violations.iter().any(|violation| violation.starts_with(text)), "not `{text}`: {found:?}");
    };
    let output = bed.run_until("after-part-row", 1);
    assert!(output.signal.is_some(), "{output}");
    finds("I6: uploads are open in target: ");
    finds("I21: ");
    bed.audit().holds("a killed run");
    bed.completes("a killed run");
    bed.target.begin_upload(BUCKET, "alone.bin");
    finds("I6: uploads are open in target: ['alone.bin']");
    bed.target.put(BUCKET, "other.bin", "other bytes", Headers::default());
    finds("I6: other.bin in target is no row's");
    bed.target.put(BUCKET, "alone.bin", "other bytes", Headers::default());
    finds("I1: COMPLETED ");
    bed.target.delete(BUCKET, "alone.bin");
    finds("I1: COMPLETED ");
}
