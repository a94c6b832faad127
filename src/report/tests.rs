use std::io::{BufRead, BufReader, Read};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use jiff::tz::TimeZone;

use super::*;
use crate::event::Item;
use crate::failure::{Cause, Failure};
use crate::state::Step;
use crate::summary::Counts;

/// Migrations `backup-0`, `backup-1`, … of these sizes and chains, some of them registered before.
pub(super) fn board(migrations: &[(Option<u64>, u32)], done_before: &[usize]) -> Arc<Board> {
    let item = |(at, (bytes, _)): (usize, &(Option<u64>, u32))| Item {
        id: Uuid::from_u128(at as u128 + 1),
        name: format!("backup-{at}"),
        source: "one".into(),
        target: "two".into(),
        bytes: *bytes,
    };
    Arc::new(Board {
        items: migrations.iter().enumerate().map(item).collect(),
        stored: migrations.iter().map(|_| AtomicU64::new(0)).collect(),
        roots: migrations.iter().map(|(_, root)| *root).collect(),
        done_before: (0..migrations.len()).map(|at| done_before.contains(&at)).collect(),
        ..Board::default()
    })
}

pub(super) fn head() -> Head {
    Head {
        plan: "evacuate".into(),
        database: "sqlite:///tmp/evacuate.db".into(),
        run: Uuid::nil(),
        again: "backhaul run evacuate.yaml".into(),
    }
}

/// A summary without failures.
pub(super) fn summary(selected: Counts, chains: (u64, u64), bytes: (u64, u64)) -> Summary {
    Summary {
        selected,
        left_out: Counts::default(),
        chains: chains.1,
        chains_restorable: chains.0,
        chains_unknown: 0,
        bytes: bytes.1,
        bytes_registered: bytes.0,
        failures: Vec::new(),
    }
}

pub(super) fn moment(seconds: u64) -> Moment {
    let start: Timestamp = "2025-11-23T12:03:00Z".parse().unwrap();
    Moment { elapsed: Duration::from_secs(seconds), at: start + Duration::from_secs(seconds) }
}

/// A stream that keeps what is written to it.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(super) fn stream(&self) -> Stream {
        Stream::new(Box::new(self.clone()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn done() -> Event {
    let counts = Counts { total: 1, registered: 1, ..Counts::default() };
    Event::Finished(Box::new(summary(counts, (1, 1), (0, 0))))
}

fn failed() -> Event {
    Event::Failed { item: 0, step: Step::Copy, failure: Failure::new(Cause::NoSpace, "no space") }
}

fn outputs(stdout: Stream, stderr: Stream) -> Outputs {
    Outputs { stdout, stderr, bars: ProgressDrawTarget::hidden() }
}

#[test]
fn a_line_a_minute_with_the_time_of_day() {
    let (stdout, stderr) = (Kept::default(), Kept::default());
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let mut lines = lines::Lines::new(stdout.stream(), stderr.stream(), 0, zone);
    let board = board(&[(Some(10 << 30), 0), (Some(6 << 20), 1)], &[]);
    let mut progress = Progress::new(Arc::clone(&board));
    lines.head(&head(), &progress, moment(0));
    progress.see(&Event::CopyStarted { item: 0, attempt: 1, resumed: 0 });
    board.set_stored(0, 6 << 30);
    lines.tick(&mut progress, moment(60));
    progress.see(&failed());
    lines.event(&failed(), &progress, moment(61));
    lines.tick(&mut progress, moment(120));
    lines.end(None, moment(121));
    assert_eq!(
        stderr.text(),
        "database: sqlite:///tmp/evacuate.db\n\
         plan `evacuate`, run 00000000-0000-0000-0000-000000000000: 2 migrations in 2 chains, 10 GiB\n\
         13:04 0 of 2 chains restorable, 6 GiB of 10 GiB, 102 MiB/s, about 40 s left\n\
         13:04 failed: copy of `backup-0` from one to two: no space\n\
         13:05 0 of 2 chains restorable, 6 GiB of 10 GiB, 0 B/s, 1 failed\n"
    );
    assert_eq!(stdout.text(), "");
}

#[test]
fn the_summary_comes_last_on_stdout() {
    let (stdout, stderr) = (Kept::default(), Kept::default());
    let outputs = outputs(stdout.stream(), stderr.stream());
    let reporter = Reporter::start_with(Style::default(), head(), board(&[(Some(1), 0)], &[]), outputs).unwrap();
    reporter.sender().send(done());
    reporter.finish(Exit::Done);
    assert_eq!(stdout.text(), "done after 0 s: 1 of 1 chain restorable\n\n       1  registered\n");
    assert!(stderr.text().starts_with("database: sqlite:///tmp/evacuate.db\n"));
}

#[test]
fn a_run_that_breaks_off_has_no_summary() {
    for finished in [true, false] {
        let (stdout, stderr) = (Kept::default(), Kept::default());
        let outputs = outputs(stdout.stream(), stderr.stream());
        let reporter = Reporter::start_with(Style::default(), head(), board(&[], &[]), outputs).unwrap();
        let late = reporter.sender();
        if finished {
            reporter.finish(Exit::Internal);
        } else {
            drop(reporter);
        }
        late.send(done());
        assert_eq!(stdout.text(), "");
    }
}

#[test]
fn quiet_says_nothing_on_success_and_all_of_a_failure_at_the_end() {
    let quiet = Style { quiet: true, ..Style::default() };
    let run = |events: Vec<Event>, exit| {
        let (stdout, stderr) = (Kept::default(), Kept::default());
        let outputs = outputs(stdout.stream(), stderr.stream());
        let reporter = Reporter::start_with(quiet, head(), board(&[(Some(1), 0)], &[]), outputs).unwrap();
        for event in events {
            reporter.sender().send(event);
        }
        reporter.finish(exit);
        assert_eq!(stdout.text(), "");
        stderr.text()
    };
    assert_eq!(run(vec![Event::Registered { item: 0 }, done()], Exit::Done), "");
    let counts = Counts { total: 1, waiting: 1, ..Counts::default() };
    let stopped = Event::Finished(Box::new(summary(counts, (0, 1), (0, 1))));
    assert_eq!(
        run(vec![failed(), Event::Draining { reason: "interrupted".into() }, stopped], Exit::Stopped),
        "draining: interrupted; copies under way stop at their next checkpoint, press Ctrl-C again to stop at once\n\
         error: stopped after 0 s: 0 of 1 chain restorable, 0 B of 1 B\n\
         stopped: 1 left; run the same command again to continue:\n  backhaul run evacuate.yaml\n"
    );
}

#[test]
fn a_pipe_that_nobody_reads_stops_only_the_reporter() {
    const EVENTS: usize = 20_000; // some 3 MB of lines; a pipe takes 64 KiB
    let (reader, writer) = io::pipe().unwrap();
    let json = Style { json: true, ..Style::default() };
    let outputs = outputs(Stream::new(Box::new(writer)), Stream::new(Box::new(io::sink())));
    let reporter = Reporter::start_with(json, head(), board(&[(Some(1), 0)], &[]), outputs).unwrap();
    let sender = reporter.sender();
    for _ in 0..EVENTS {
        sender.send(failed());
    }
    // All sent, nothing read. Only now somebody reads, and gets everything.
    let lines = thread::spawn(move || BufReader::new(reader).lines().map(Result::unwrap).collect::<Vec<_>>());
    sender.send(done());
    reporter.finish(Exit::Done);
    let lines = lines.join().unwrap();
    assert_eq!(lines.iter().filter(|line| line.contains(r#""type":"failed""#)).count(), EVENTS);
    assert!(lines.last().unwrap().contains(r#""type":"summary""#));
}

#[test]
fn a_reader_that_goes_away_is_given_up() {
    let (mut reader, writer) = io::pipe().unwrap();
    let json = Style { json: true, ..Style::default() };
    let outputs = outputs(Stream::new(Box::new(writer)), Stream::new(Box::new(io::sink())));
    let reporter = Reporter::start_with(json, head(), board(&[(Some(1), 0)], &[]), outputs).unwrap();
    reader.read_exact(&mut [0; 1]).unwrap();
    drop(reader);
    (0..100).for_each(|_| reporter.sender().send(failed()));
    reporter.sender().send(done());
    reporter.finish(Exit::Done);
}

#[test]
fn a_stream_is_not_tried_again_after_an_error() {
    struct Full(Arc<Mutex<u32>>);
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            *self.0.lock().unwrap() += 1;
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tries = Arc::new(Mutex::new(0));
    let mut stream = Stream::new(Box::new(Full(Arc::clone(&tries))));
    stream.line("");
    assert_eq!(*tries.lock().unwrap(), 0);
    stream.line("one");
    stream.line("two");
    assert_eq!(*tries.lock().unwrap(), 1);
}
