//! The file of a database goes away under a run, or another one comes in its place.

use rustix::process::Signal;

use super::support::{Bed, Layout, Running};
use super::{SLOWLY, wait_for_parts};

/// What is written to a file that nobody finds again is not written: the run ends, and says so.
#[test]
fn a_database_that_is_moved_away_or_replaced() {
    for is_replaced in [false, true] {
        let what = format!("replaced: {is_replaced}");
        let bed = Bed::new(Layout::Large);
        let mut running = Running::start(&mut bed.run_command(&SLOWLY));
        wait_for_parts(&bed, &mut running);
        let (database, aside) = (bed.database(), bed.database().with_extension("aside"));
        running.signal(Signal::STOP);
        std::fs::rename(&database, &aside).expect("it is there");
        if is_replaced {
            std::fs::copy(&aside, &database).expect("beside it");
        }
        running.signal(Signal::CONT);
        let output = running.wait().expect(6);
        let text = format!(
            "error: the file of the database `{}` was moved away or replaced while it was in use\n\nhint: put it back, if \
             there is a reason, and run the same command again; copies are looked at anew",
            bed.database_url()
        );
        assert!(output.stderr.trim_end().ends_with(&text), "{what}: {output}");
        std::fs::rename(&aside, &database).expect("it was put aside");
        bed.completes(1, &what);
    }
}
