//! What comes late: a runner that is stopped at the worst moment, and a clock that is set in the middle.

use rustix::process::Signal;

use super::bed::{Bed, Server};
use super::support::{is_stopped, skip, wait_until};

/// Each is behind a runner's last look at its lease, and before what others will have done meanwhile.
const POINTS: [&str; 6] =
    ["before-publish", "publish-before-link", "publish-after-link", "before-copied", "before-record", "commit-before"];

/// When it wakes up, others have done all that was its work; it changes nothing of that, and says that all is done.
pub(crate) fn a_runner_that_is_stopped_before_it_writes_changes_nothing_later(server: &Server) {
    if !cfg!(feature = "fault-points") {
        return skip("runners that are stopped at a point", "built without the feature `fault-points`");
    }
    std::thread::scope(|scope| {
        for point in POINTS {
            scope.spawn(move || is_stopped_at(server, point));
        }
    });
}

fn is_stopped_at(server: &Server, point: &str) {
    let sizes = [(4 << 20) + 1, 5_000, 5_017, 3_000];
    let bed = Bed::of(server, &sizes, "concurrency: 2");
    let mut late = bed.join_and_stop_at(point);
    wait_until("it is stopped", || {
        assert!(!late.has_ended(), "{point}: it has not come to this point");
        is_stopped(late.pid())
    });
    let other = bed.join();
    let ended = other.wait().expect(0);
    assert!(!ended.stderr.contains("error"), "{point}: {ended}");
    assert!(is_stopped(late.pid()), "{point}: it did not sleep");
    let before = bed.all();
    late.signal(Signal::CONT);
    let ended = late.wait().expect(0);
    assert!(!ended.stderr.contains("error"), "{point}: {ended}");
    let after = bed.all();
    assert_eq!(after.0.keys().collect::<Vec<_>>(), before.0.keys().collect::<Vec<_>>(), "{point}");
    assert!(after == before, "{point}: something was changed late: {:?} {:?}", before.1, after.1);
    bed.is_complete(1);
}

/// An hour back and twenty years ahead, in the middle of copies: leases and times are the database's, and what is waited
/// for is counted by a clock that nobody can set.
pub(crate) fn a_clock_that_is_set_in_the_middle_is_not_looked_at(server: &Server) {
    if std::process::Command::new("faketime").arg("--version").output().is_err() {
        return skip("a clock that is set", "faketime is not installed");
    }
    let bed = Bed::new(server, "4MiB/s");
    let clock = bed.plan().with_file_name("clock");
    std::fs::write(&clock, "+0s\n").expect("writable");
    let (first, other) = (bed.join_with_the_clock_of(&clock), bed.join());
    for offset in ["-1h", "+20y", "+0s", "+20y"] {
        let before = bed.bytes_read();
        wait_until("more is stored", || bed.bytes_read() > before);
        // Nobody sees half of a text.
        let next = clock.with_extension("next");
        std::fs::write(&next, format!("{offset}\n")).expect("writable");
        std::fs::rename(next, &clock).expect("beside it");
    }
    for runner in [first, other] {
        let ended = runner.wait().expect(0);
        assert!(!ended.stderr.contains("lease ended") && !ended.stderr.contains("error"), "{ended}");
    }
    bed.is_complete(0);
    assert_eq!(bed.rows_of_other_days(), 0);
}
