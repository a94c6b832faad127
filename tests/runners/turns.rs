//! One command at a time on a server: what the second one does is `--if-running`.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::bed::{Bed, Server, lease};
use super::support::{Running, wait_until};

/// How long after the end of a lease somebody who waits for it begins.
const SOON: Duration = Duration::from_secs(5);

/// It is told so at once, and the first one is not disturbed.
pub(crate) fn one_that_is_not_to_wait_fails(server: &Server) {
    let bed = Bed::new(server, "8MiB/s");
    let mut first = bed.run(&[]);
    wait_until("it has begun", || bed.parts_of(first.pid()) > 0);
    let asked = Instant::now();
    let refused = bed.run(&["--if-running", "fail"]).wait().expect(1);
    assert!(asked.elapsed() < SOON, "told after {:?}", asked.elapsed());
    assert!(!first.has_ended(), "it was to be met in the middle");
    assert_eq!(refused.stdout, "");
    let (pid, host) = (first.pid(), rustix::system::uname().nodename().to_string_lossy().into_owned());
    let holder = format!("in use by `backhaul run` of plan `shared` (pid {pid} on {host}, since 20");
    let said = refused.stderr.strip_prefix(&format!("error: the database `{}` is {holder}", bed.database_shown()));
    let said = said.unwrap_or_else(|| panic!("{refused}"));
    let hint = "Z)\n\nhint: reading commands such as `backhaul status` work meanwhile\n";
    assert_eq!(said.split_at_checked("26-11-30T22:08:00".len()).map(|(_time, rest)| rest), Some(hint), "{refused}");
    first.wait().expect(0);
    bed.is_complete(0);
}

/// It does nothing until the one before has gone: by itself, or killed and its lease over.
pub(crate) fn one_that_waits_begins_when_the_other_is_gone(server: &Server) {
    let bed = Bed::new(server, "2MiB/s");
    let first = bed.run(&[]);
    wait_until("it has begun", || bed.parts_of(first.pid()) > 0);
    let mut second = waiting(&bed);
    works_alone(&bed, &first);
    first.signal(Signal::TERM);
    first.wait().expect(4);
    let gone = Instant::now();
    wait_until("the second has begun", || {
        assert!(!second.has_ended(), "it was to be met in the middle");
        bed.rows_of(second.pid()) > 0
    });
    assert!(gone.elapsed() < SOON, "{:?}", gone.elapsed());

    let third = waiting(&bed);
    works_alone(&bed, &second);
    second.signal(Signal::KILL);
    assert_eq!(second.wait().signal, Some(Signal::KILL.as_raw()));
    third.wait().expect(0);
    bed.is_complete(2);
    let [killed, waited] = bed.came_and_went();
    let after = Duration::from_millis(u64::try_from(waited - killed).expect("later"));
    assert!(after > lease() && after < lease() + SOON, "it began {after:?} after the last heartbeat of the killed one");
}

/// A run that waits for others to go, and has asked for them.
fn waiting(bed: &Bed) -> Running {
    let mut running = bed.run(&["--if-running", "wait"]);
    wait_until("it asks", || {
        assert!(!running.has_ended(), "it did not wait");
        bed.is_asked_by(running.pid())
    });
    running
}

/// While another waits.
fn works_alone(bed: &Bed, worker: &Running) {
    let before = bed.bytes_read();
    wait_until("it goes on", || bed.bytes_read() > before);
    assert_eq!(bed.live(), [i64::from(worker.pid())], "somebody did not wait");
}
