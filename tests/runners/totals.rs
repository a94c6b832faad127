//! Limits are totals: what several runners do together, as the machine sees it, while they come and go.
#![expect(clippy::cast_precision_loss, reason = "bytes of a few seconds")]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::bed::{Bed, Server};
use super::support::{Running, wait_until};

/// Bytes read per second, of sources and of what is read back: so little that no machine is too slow for it.
const BANDWIDTH: u64 = 4 << 20;

const CONCURRENCY: i64 = 2;

/// What the limits are held over.
const WINDOW: Duration = Duration::from_secs(4);

/// Windows that may pass until the limits are used up.
const WINDOWS: usize = 3;

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What all runners had read at a moment between two.
struct Seen {
    from: Instant,
    until: Instant,
    bytes: u64,
}

/// Looks at processes from outside.
#[derive(Default)]
struct Meter {
    /// What each has read, those that are gone too.
    read: Mutex<BTreeMap<u32, u64>>,
    killed: Mutex<Vec<u32>>,
    seen: Mutex<Vec<Seen>>,
    has_ended: AtomicBool,
}

impl Meter {
    fn started(&self, runner: Running) -> Running {
        self.read.lock().expect("no panic").insert(runner.pid(), 0);
        runner
    }

    fn look(&self) {
        let from = Instant::now();
        let mut read = self.read.lock().expect("no panic");
        for (pid, bytes) in read.iter_mut() {
            *bytes = read_by(*pid).unwrap_or(*bytes);
        }
        let bytes = read.values().sum();
        drop(read);
        self.seen.lock().expect("no panic").push(Seen { from, until: Instant::now(), bytes });
    }

    fn live(&self) -> Vec<u32> {
        let killed = self.killed.lock().expect("no panic");
        self.read.lock().expect("no panic").keys().filter(|pid| !killed.contains(pid)).copied().collect()
    }

    /// Until it has ended: no more copies than there may be. What is copied and only has to be written down has no slot,
    /// so that one more may be seen for a moment.
    fn watch(&self, bed: &Bed) {
        let mut too_many = 0;
        while !self.has_ended.load(Ordering::Relaxed) {
            self.look();
            let live = self.live();
            let is_too_much = !live.is_empty() && bed.copies_of(&live) > CONCURRENCY;
            too_many = if is_too_much { too_many + 1 } else { 0 };
            assert!(too_many < 5, "more than {CONCURRENCY} copies at a time");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// In one of the windows from now on: almost all that the limits allow. In the first, unless the machine is busy with
    /// something else.
    fn is_used_up(&self, when: &str) {
        let rates: Vec<f64> =
            (0..WINDOWS).map_while(|_| Some(self.rate()).filter(|rate| !is_almost_all(*rate))).collect();
        assert!(rates.len() < WINDOWS, "{when}: {rates:.0?} bytes/s of {BANDWIDTH}");
    }

    /// Bytes per second over a window that begins now.
    fn rate(&self) -> f64 {
        self.look();
        let began = self.seen.lock().expect("no panic").len() - 1;
        std::thread::sleep(WINDOW);
        self.look();
        let seen = self.seen.lock().expect("no panic");
        let (first, last) = (&seen[began], seen.last().expect("two"));
        last.bytes.saturating_sub(first.bytes) as f64 / (last.from - first.until).as_secs_f64()
    }

    /// Of all windows of that length none has more than the limits allow.
    fn was_never_exceeded(&self) {
        let seen = self.seen.lock().expect("no panic");
        let mut most = 0.0_f64;
        for (at, first) in seen.iter().enumerate() {
            let Some(last) = seen[at..].iter().find(|last| last.from - first.until >= WINDOW) else { break };
            let rate = last.bytes.saturating_sub(first.bytes) as f64 / (last.until - first.from).as_secs_f64();
            most = most.max(rate);
        }
        assert!(most <= 1.1 * BANDWIDTH as f64, "{most:.0} bytes/s of {BANDWIDTH}");
    }
}

/// Ends a meter's watch also where the test fails, which would wait for it for ever.
struct Ending<'meter>(&'meter Meter);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::Relaxed);
    }
}

fn is_almost_all(rate: f64) -> bool {
    rate >= 0.9 * BANDWIDTH as f64
}

/// Bytes that a process has read from files; none if it is gone.
fn read_by(pid: u32) -> Option<u64> {
    let counters = std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let read = counters.lines().find_map(|line| line.strip_prefix("rchar: "))?;
    Some(read.parse().expect("a number"))
}

pub(crate) fn hold_while_runners_come_and_go(server: &Server) {
    let sizes: Vec<usize> = (0..10).map(|number| (4 << 20) - number).collect();
    let bed = Bed::of(server, &sizes, &format!("concurrency: {CONCURRENCY}, bandwidth: {}MiB/s", BANDWIDTH >> 20));
    let meter = Meter::default();
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| meter.watch(&bed));
        let _ending = Ending(&meter);
        let first = meter.started(bed.join());
        wait_until("it copies", || bed.copies_of(&[first.pid()]) == CONCURRENCY);
        meter.is_used_up("one runner");

        // Two slots are two runners': who comes last waits.
        let second = meter.started(bed.join());
        wait_until("another has a slot", || bed.parts_of(second.pid()) > 0);
        let third = meter.started(bed.join());
        meter.is_used_up("two runners");
        assert_eq!(bed.rows_of(third.pid()), 0, "a third slot");

        second.signal(Signal::KILL);
        meter.killed.lock().expect("no panic").push(second.pid());
        assert_eq!(second.wait().signal, Some(Signal::KILL.as_raw()));
        wait_until("the third has what the killed one had", || bed.parts_of(third.pid()) > 0);
        meter.is_used_up("after a kill");

        first.wait().expect(0);
        third.wait().expect(0);
        meter.has_ended.store(true, Ordering::Relaxed);
        watching.join().expect("no more copies than there may be");
    });
    meter.was_never_exceeded();
    bed.is_complete(1);
}
