//! Where there is no terminal: a line a minute, and one for each thing that went wrong, on stderr.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::line::{event_line, figures_line, head_lines};
use super::progress::Progress;
use super::text::summary_text;
use super::{End, Head, LINE_EVERY, Moment, Stream, View};
use crate::event::Event;

/// Lines on stderr, each with the time of day in `zone`; the summary on stdout.
pub(super) struct Lines {
    stdout: Stream,
    stderr: Stream,
    verbose: u8,
    zone: TimeZone,
}

impl Lines {
    pub(super) fn new(stdout: Stream, stderr: Stream, verbose: u8, zone: TimeZone) -> Self {
        Self { stdout, stderr, verbose, zone }
    }

    fn line(&mut self, text: &str, now: Moment) {
        let time = now.at.to_zoned(self.zone.clone()).strftime("%H:%M").to_string();
        self.stderr.line(&format!("{time} {text}"));
    }
}

impl View for Lines {
    fn every(&self) -> Duration {
        LINE_EVERY
    }

    fn head(&mut self, head: &Head, progress: &Progress, _: Moment) {
        for line in head_lines(head, progress) {
            self.stderr.line(&line);
        }
    }

    fn event(&mut self, event: &Event, progress: &Progress, now: Moment) {
        if let Some(line) = event_line(event, progress.board(), self.verbose) {
            self.line(&line, now);
        }
    }

    fn tick(&mut self, progress: &mut Progress, now: Moment) {
        let line = figures_line(&progress.measure(now.elapsed));
        self.line(&line, now);
    }

    fn end(&mut self, end: Option<&End<'_>>, _: Moment) {
        if let Some(end) = end {
            self.stdout.line(summary_text(end.summary, end.exit, Some(end.elapsed), end.again).trim_end());
        }
    }
}
