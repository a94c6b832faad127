//! Shows a run: bars on a terminal, a line a minute elsewhere, NDJSON for scripts, next to nothing when quiet.
//!
//! Reporters consume [`Event`]s and decide nothing. They live in a thread of their own, so that a stdout or stderr
//! that nobody reads stops the reporter and never the run.

mod bars;
pub mod dry_run;
mod line;
mod lines;
mod ndjson;
mod printable;
mod progress;
mod quiet;
mod text;

use std::io::{self, Write};
use std::iter;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::ProgressDrawTarget;
use jiff::Timestamp;
use uuid::Uuid;

pub use printable::printable;
pub use text::{error_text, failure_lines, progress_text, summary_text};

use crate::event::{Board, Event};
use crate::exit::Exit;
use crate::summary::Summary;
use progress::Progress;

/// Time between two lines of progress where there is no terminal.
pub const LINE_EVERY: Duration = Duration::from_mins(1);

/// After what was shown, what comes next gathers for this long: those who send events do not have to wake a thread
/// with each of them.
const GATHER: Duration = Duration::from_millis(20);

/// Messages between two looks at the clock.
const MESSAGES: usize = 1_000;

/// How often bars are drawn.
const BARS_HZ: u8 = 10;

/// What the user asked to see, and what can show it.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of the command line")]
pub struct Style {
    /// NDJSON on stdout and nothing on stderr; with `quiet` only the start, failures, draining and the summary.
    pub json: bool,
    /// Nothing at all on success; else failures grouped by cause, and one last line, on stderr.
    pub quiet: bool,
    /// How many `-v`: 1 shows every copy and registration, 2 also every start of a copy.
    pub verbose: u8,
    /// Whether stderr is a terminal.
    pub terminal: bool,
    /// Whether colours are wanted: stderr is a terminal and `NO_COLOR` is not set.
    pub colour: bool,
}

/// What is shown before anything happens. Numbers come from the [`Board`].
#[derive(Debug, Clone)]
pub struct Head {
    /// The plan's name.
    pub plan: String,
    /// The database, without its password.
    pub database: String,
    /// The run's id.
    pub run: Uuid,
    /// The command that goes on with this run, as one would type it.
    pub again: String,
}

/// Gives events to the reporter. Never blocks and never fails; after the reporter's end, events go nowhere.
#[derive(Debug, Clone)]
pub struct EventSender(Sender<Message>);

impl EventSender {
    /// Shows `event` as soon as the reporter gets to it.
    pub fn send(&self, event: Event) {
        let _ = self.0.send(Message::Event(event));
    }
}

#[derive(Debug)]
enum Message {
    Event(Event),
    End(Option<Exit>),
}

/// The thread that shows a run. Dropping it clears the bars and shows no summary; [`Reporter::finish`] shows it.
#[derive(Debug)]
pub struct Reporter {
    sender: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Reporter {
    /// Shows `head` and from then on what the senders send.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(style: Style, head: Head, board: Arc<Board>) -> io::Result<Self> {
        let bars = if style.terminal && !style.quiet && !style.json {
            ProgressDrawTarget::stderr_with_hz(BARS_HZ)
        } else {
            ProgressDrawTarget::hidden()
        };
        let outputs =
            Outputs { stdout: Stream::new(Box::new(io::stdout())), stderr: Stream::new(Box::new(io::stderr())), bars };
        Self::start_with(style, head, board, outputs)
    }

    fn start_with(style: Style, head: Head, board: Arc<Board>, outputs: Outputs) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("reporter".into())
            .spawn(move || show(view(style, outputs).as_mut(), &head, board, &receiver))?;
        Ok(Self { sender, thread: Some(thread) })
    }

    /// Where the engine's events go.
    #[must_use]
    pub fn sender(&self) -> EventSender {
        EventSender(self.sender.clone())
    }

    /// Shows everything sent so far and, if [`Event::Finished`] was among it, the summary with `exit`; then ends.
    ///
    /// Waits for whoever reads stdout and stderr, as long as that takes: give up the database's lock before, and
    /// let a second Ctrl-C end the process.
    pub fn finish(mut self, exit: Exit) {
        self.end(Some(exit));
    }

    fn end(&mut self, exit: Option<Exit>) {
        if let Some(thread) = self.thread.take() {
            let _ = self.sender.send(Message::End(exit));
            thread.thread().unpark();
            // A reporter that panicked has said so itself, and is no reason for the run to fail.
            let _ = thread.join();
        }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.end(None);
    }
}

struct Outputs {
    stdout: Stream,
    stderr: Stream,
    bars: ProgressDrawTarget,
}

/// Text for a person or a script; given up for good and without a word once writing to it fails.
struct Stream(Option<Box<dyn Write + Send>>);

impl Stream {
    fn new(out: Box<dyn Write + Send>) -> Self {
        Self(Some(out))
    }

    /// Writes `text` and the end of the line in one piece, and flushes. The empty text writes nothing.
    fn line(&mut self, text: &str) {
        let Some(out) = self.0.as_mut().filter(|_| !text.is_empty()) else { return };
        let whole = format!("{text}\n");
        if out.write_all(whole.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.0 = None;
        }
    }
}

/// When something happened: since the reporter's start, and by the clock on the wall.
#[derive(Debug, Clone, Copy)]
struct Moment {
    elapsed: Duration,
    at: Timestamp,
}

/// How a run ended.
struct End<'a> {
    summary: &'a Summary,
    exit: Exit,
    elapsed: Duration,
    again: &'a str,
}

/// One way of showing a run.
trait View {
    /// Time between two calls of [`View::tick`].
    fn every(&self) -> Duration;
    fn head(&mut self, head: &Head, progress: &Progress, now: Moment);
    /// `progress` has seen `event` already.
    fn event(&mut self, event: &Event, progress: &Progress, now: Moment);
    fn tick(&mut self, progress: &mut Progress, now: Moment);
    /// Called once, as the last; without an end when the run broke off and somebody else says why.
    fn end(&mut self, end: Option<&End<'_>>, now: Moment);
}

fn view(style: Style, outputs: Outputs) -> Box<dyn View> {
    let Outputs { stdout, stderr, bars } = outputs;
    match style {
        Style { json: true, quiet, .. } => Box::new(ndjson::Ndjson::new(stdout, quiet)),
        Style { quiet: true, .. } => Box::new(quiet::Quiet::new(stderr)),
        // A terminal that cannot move its cursor counts as none.
        _ if !bars.is_hidden() => Box::new(bars::Bars::new(bars, stdout, style.verbose, style.colour)),
        _ => Box::new(lines::Lines::new(stdout, stderr, style.verbose, jiff::tz::TimeZone::system())),
    }
}

fn show(view: &mut dyn View, head: &Head, board: Arc<Board>, messages: &Receiver<Message>) {
    let start = Instant::now();
    let now = || Moment { elapsed: start.elapsed(), at: Timestamp::now() };
    let mut progress = Progress::new(board);
    let mut summary: Option<Box<Summary>> = None;
    view.head(head, &progress, now());
    let mut next = view.every();
    let exit = 'shown: loop {
        let moment = now();
        if moment.elapsed >= next {
            view.tick(&mut progress, moment);
            next = moment.elapsed + view.every();
        }
        let first = match messages.recv_timeout(next.saturating_sub(moment.elapsed)) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break None,
        };
        for message in iter::once(first).chain(messages.try_iter()).take(MESSAGES) {
            match message {
                Message::Event(Event::Finished(last)) => summary = Some(last),
                Message::Event(event) => {
                    progress.see(&event);
                    view.event(&event, &progress, now());
                }
                Message::End(exit) => break 'shown exit,
            }
        }
        thread::park_timeout(GATHER);
    };
    let moment = now();
    let end = summary.as_deref().zip(exit).map(|(summary, exit)| End {
        summary,
        exit,
        elapsed: moment.elapsed,
        again: &head.again,
    });
    view.end(end.as_ref(), moment);
}

#[cfg(test)]
mod tests;
