//! On a terminal: bars on stderr that vanish at the end, with lasting lines above them.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::line::{event_line, figures_line, head_lines};
use super::printable::{printable, shortened};
use super::progress::{Figures, Progress};
use super::text::summary_text;
use super::{BARS_HZ, End, Head, Moment, Stream, View};
use crate::event::{Event, Item};
use crate::number::format_bytes;

/// Copies that have a bar of their own.
const ROWS_MAX: usize = 8;

/// Characters of a name in a row; the terminal's width cuts what is left.
const NAME_MAX: usize = 32;

/// A bar for everything, and below it one for each of the oldest copies.
pub(super) struct Bars {
    screen: MultiProgress,
    total: ProgressBar,
    figures: ProgressBar,
    rows: Vec<ProgressBar>,
    /// `… and 3 more`, while there are.
    more: Option<ProgressBar>,
    row_style: ProgressStyle,
    stdout: Stream,
    verbose: u8,
    colour: bool,
}

impl Bars {
    pub(super) fn new(target: ProgressDrawTarget, stdout: Stream, verbose: u8, colour: bool) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let paint = if colour { ".cyan/blue" } else { "" };
        let total =
            screen.add(ProgressBar::no_length().with_style(style(&format!("{{wide_bar:{paint}}} {{percent:>3}}%"))));
        let figures = screen.add(message_bar());
        let row_style = style(&format!("  {{bar:16{paint}}} {{prefix:>21}}  {{wide_msg}}"));
        Self { screen, total, figures, rows: Vec::new(), more: None, row_style, stdout, verbose, colour }
    }

    fn draw_total(&self, figures: &Figures) {
        // Without a size of everything, migrations are counted.
        let (position, length) =
            figures.bytes.map_or((figures.registered, figures.migrations), |bytes| (figures.stored, bytes));
        self.total.set_length(length);
        self.total.set_position(position);
        self.figures.set_message(figures_line(figures));
    }

    fn draw_rows(&mut self, progress: &Progress) {
        let running = progress.running().len();
        let rows = running.min(ROWS_MAX);
        while self.rows.len() > rows {
            let row = self.rows.pop().expect("there are more rows than wanted");
            self.screen.remove(&row);
        }
        while self.rows.len() < rows {
            let above = self.rows.last().unwrap_or(&self.figures);
            let row = self.screen.insert_after(above, ProgressBar::no_length().with_style(self.row_style.clone()));
            self.rows.push(row);
        }
        for (row, item) in self.rows.iter().zip(progress.running()) {
            draw_row(row, &progress.board().items[item as usize], progress.board().stored(item));
        }
        if running <= ROWS_MAX {
            self.more.take().inspect(|more| self.screen.remove(more));
        } else {
            let screen = &self.screen;
            let more = self.more.get_or_insert_with(|| screen.add(message_bar()));
            more.set_message(format!("  … and {} more", running - ROWS_MAX));
        }
    }
}

impl View for Bars {
    fn every(&self) -> Duration {
        Duration::from_secs(1) / u32::from(BARS_HZ)
    }

    fn head(&mut self, head: &Head, progress: &Progress, _: Moment) {
        for line in head_lines(head, progress) {
            let _ = self.screen.println(line);
        }
        self.draw_total(&progress.figures());
    }

    fn event(&mut self, event: &Event, progress: &Progress, _: Moment) {
        if let Some(line) = event_line(event, progress.board(), self.verbose) {
            // A terminal that is gone is no reason to stop.
            let _ = self.screen.println(if self.colour { painted(event, line) } else { line });
        }
    }

    fn tick(&mut self, progress: &mut Progress, now: Moment) {
        self.draw_total(&progress.measure(now.elapsed));
        self.draw_rows(progress);
    }

    fn end(&mut self, end: Option<&End<'_>>, _: Moment) {
        for bar in self.rows.iter().chain(&self.more).chain([&self.figures, &self.total]) {
            bar.finish_and_clear();
        }
        let _ = self.screen.clear();
        if let Some(end) = end {
            self.stdout.line(summary_text(end.summary, end.exit, Some(end.elapsed), end.again).trim_end());
        }
    }
}

fn draw_row(row: &ProgressBar, item: &Item, stored: u64) {
    let mut size = format_bytes(stored);
    if let Some(bytes) = item.bytes {
        size += &format!(" of {}", format_bytes(bytes));
    }
    row.set_length(item.bytes.unwrap_or(0).max(stored).max(1));
    row.set_position(stored);
    row.set_prefix(size);
    let name = printable(&item.name);
    let route = format!("{} → {}", printable(&item.source), printable(&item.target));
    row.set_message(format!("{}  {route}", shortened(&name, NAME_MAX)));
}

fn message_bar() -> ProgressBar {
    ProgressBar::no_length().with_style(style("{wide_msg}"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are constants").progress_chars("━╸─")
}

fn painted(event: &Event, line: String) -> String {
    let colour = match event {
        Event::Failed { .. } => 31,
        Event::Retrying { .. } | Event::Restarted { .. } | Event::Draining { .. } | Event::LeaseEnded => 33,
        _ => return line,
    };
    format!("\u{1b}[{colour}m{line}\u{1b}[0m")
}

#[cfg(test)]
mod tests;
