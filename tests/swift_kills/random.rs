//! Runs that are killed at any instant.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::bed::{Bed, Ground, Options, Route};
use crate::outcome::Outcome;

fn seed() -> u64 {
    let seed = std::env::var("BACKHAUL_TESTS_SEED");
    seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("BACKHAUL_TESTS_SEED is a number"))
}

/// Kills runs in fresh beds until `most` were killed. Nobody else reads the tenant's backups meanwhile.
fn kill(ground: &Ground, options: Options<'_>, most: u64, random: &mut fastrand::Rng) {
    let bed = Bed::new(ground, options);
    let start = Instant::now();
    bed.run().expect(0);
    let whole = start.elapsed();
    let undisturbed = bed.ended(0, "undisturbed");
    bed.sent_at_most(1, 0, "undisturbed");
    let mut left = most;
    while left > 0 {
        left -= kill_until_complete(&Bed::new(ground, options), &undisturbed, whole, left, random);
    }
}

/// Kills run after run, each at an instant within `whole`, until one ends before or `most` are killed; gives how many.
fn kill_until_complete(
    bed: &Bed<'_>,
    undisturbed: &Outcome,
    whole: Duration,
    most: u64,
    random: &mut fastrand::Rng,
) -> u64 {
    let mut kills = 0;
    while kills < most {
        let mut running = bed.start(0);
        // Most of the instants are while segments are sent: before is the survey, and what was sent is not sent again.
        std::thread::sleep(whole.mul_f64(0.05 + 0.7 * random.f64()));
        if running.has_ended() {
            running.wait().expect(0);
            break;
        }
        running.signal(Signal::KILL);
        let output = running.wait();
        assert!(output.signal == Some(Signal::KILL.as_raw()) || output.code == Some(0), "{output}");
        kills += u64::from(output.signal.is_some());
        bed.note_finished();
        bed.foreign_is_untouched("directly after a kill");
    }
    let what = format!("{:?} after {kills} random kills", bed.options.route);
    bed.completes(undisturbed, &what);
    bed.sent_at_most(1, kills, &what);
    if bed.options.route != Route::FromFile {
        bed.read_at_most(kills, &what);
    }
    if bed.options.route != Route::ToFile {
        bed.restores(&what);
        bed.is_counted();
    }
    kills
}

/// An SLO of 44 segments, and a chain of an SLO, a plain object and an SLO.
#[test]
fn from_region_to_region() {
    let Some(ground) = Ground::new("from_region_to_region") else { return };
    let seed = seed();
    println!("BACKHAUL_TESTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed ^ 1);
    kill(&ground, Options::between("between", &["large-44", "a-inc2"]), 24, &mut random);
}

/// Out of a region into a folder, and from there into the other region: objects in parts, segments of another size, and
/// a plain object that is larger than what is read at a time.
#[test]
fn by_way_of_a_folder() {
    let Some(ground) = Ground::new("by_way_of_a_folder") else { return };
    let seed = seed();
    println!("BACKHAUL_TESTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed ^ 2);
    let away = Options { route: Route::ToFile, ..Options::between("away", &["large-20", "a-inc2"]) };
    kill(&ground, away, 12, &mut random);
    let vault = Bed::new(&ground, away);
    vault.run().expect(0);
    let back = Options { route: Route::FromFile, vault: Some(&vault), ..away };
    kill(&ground, back, 14, &mut random);
    vault.ended(0, "after all was copied from it");
}
