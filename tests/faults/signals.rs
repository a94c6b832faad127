//! Signals, and two commands at once.

use std::io::Read;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::{self, Bed, Layout, Output, Running, is_true, wait_until};
use super::{SLOWLY, wait_for_parts, watched};

#[test]
fn stops_at_a_signal_and_goes_on() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let what = format!("{signal:?}");
        let bed = watched();
        let mut running = Running::start(&mut bed.run_command(&SLOWLY));
        wait_for_parts(&bed, &mut running);
        let start = Instant::now();
        running.signal(signal);
        let output = running.wait().expect(4);
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", start.elapsed());
        assert!(output.stdout.contains("run the same command again"), "{what}: {output}");
        is_true(&bed, &what);
        let rows = support::rows_with_parts(&bed);
        let states: Vec<&str> = rows.iter().map(|(row, _)| row.state.as_str()).collect();
        // A copy that is whole waits for its parent's record.
        assert!(states.iter().all(|state| ["NEW", "SAVING", "COMPLETED"].contains(state)), "{what}: {states:?}");
        let parts = support::parts_are_true(&bed, &what);
        assert!(parts > 0 && states.contains(&"NEW"), "{what}: {parts} parts were kept, {states:?}");
        assert_eq!(bed.status()["last_run"]["exit_code"], 4, "{what}");
        bed.completes(1, &what);
    }
}

#[test]
fn ends_at_once_at_the_second_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let bed = Bed::new(Layout::Large);
        // So slow that draining alone would take its whole grace.
        let mut running = Running::start(&mut bed.run_command(&["--bandwidth", "1MiB/s", "--concurrency", "2"]));
        wait_for_parts(&bed, &mut running);
        running.signal(signal);
        wait_for_text(&mut running, "draining");
        let start = Instant::now();
        running.signal(signal);
        let output = running.wait().expect(4);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?} after the second {signal:?}: {output}",
            start.elapsed()
        );
        bed.completes(1, "two signals");
    }
}

/// Reads stderr until it says `text`.
fn wait_for_text(running: &mut Running, text: &str) {
    let stderr = running.child().stderr.as_mut().expect("a pipe");
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(text) {
        assert_eq!(stderr.read(&mut byte).expect("stderr"), 1, "it never said `{text}`");
        said.push(byte[0]);
    }
}

#[test]
fn two_commands_at_once() {
    let bed = Bed::new(Layout::Large);
    let mut first = Running::start(&mut bed.run_command(&SLOWLY));
    wait_for_parts(&bed, &mut first);
    let second = bed.run().expect(5);
    assert!(second.stderr.contains(&format!("pid {}", first.pid())), "{second}");
    assert!(second.stderr.contains("`backhaul run` of plan `bed`"), "{second}");
    bed.run_with(&["--if-running", "fail"]).expect(1);
    for command in ["verify", "gc"] {
        Output::of(bed.command(&[command]).arg(bed.plan()).output().expect("the binary starts")).expect(5);
    }
    bed.status();

    // A waiting command can be told to stop.
    let stopped = Running::start(&mut bed.run_command(&["--if-running", "wait"]));
    wait_until("it waits for the lock", || is_sleeping(stopped.pid()));
    let start = Instant::now();
    stopped.signal(Signal::TERM);
    let stopped = stopped.wait();
    assert_eq!(stopped.code, Some(4), "{stopped}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    let waiting = Running::start(&mut bed.run_command(&["--if-running", "wait"]));
    wait_until("it waits for the lock", || is_sleeping(waiting.pid()));
    assert!(!first.has_ended());
    first.signal(Signal::KILL);
    first.wait();
    waiting.wait().expect(0);
    bed.is_complete(1, "a command that waited for a killed one");
}

/// Whether a process has its signal handlers and nothing to do.
fn is_sleeping(pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let caught = u64::from_str_radix(field("SigCgt:"), 16).unwrap_or(0);
    let terminate = 1 << (Signal::TERM.as_raw() - 1);
    caught & terminate != 0 && field("State:").starts_with('S')
}
