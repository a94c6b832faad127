//! `-q`: nothing at all as long as all goes well.

use std::time::Duration;

use super::line::event_line;
use super::progress::Progress;
use super::text::error_text;
use super::{End, Head, LINE_EVERY, Moment, Stream, View};
use crate::event::Event;
use crate::exit::Exit;

/// That it is draining, failures by cause, and one last line, on stderr.
pub(super) struct Quiet {
    stderr: Stream,
}

impl Quiet {
    pub(super) fn new(stderr: Stream) -> Self {
        Self { stderr }
    }
}

impl View for Quiet {
    fn every(&self) -> Duration {
        LINE_EVERY
    }

    fn head(&mut self, _: &Head, _: &Progress, _: Moment) {}

    fn event(&mut self, event: &Event, progress: &Progress, _: Moment) {
        // Whoever presses Ctrl-C wants an answer.
        if let Some(line) = event_line(event, progress.board(), 0).filter(|_| matches!(event, Event::Draining { .. })) {
            self.stderr.line(&line);
        }
    }

    fn tick(&mut self, _: &mut Progress, _: Moment) {}

    fn end(&mut self, end: Option<&End<'_>>, _: Moment) {
        if let Some(end) = end.filter(|end| end.exit != Exit::Done) {
            self.stderr.line(error_text(end.summary, end.exit, Some(end.elapsed), end.again).trim_end());
        }
    }
}
