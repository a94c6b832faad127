use std::io;
use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::*;
use crate::exit::Exit;
use crate::failure::{Cause, Failure};
use crate::report::tests::{Kept, board, head, moment, summary};
use crate::state::Step;
use crate::summary::Counts;

const WIDTH: usize = 100;

/// A terminal that keeps its lines as a person sees them. Text that reaches the right edge goes on in the next row.
#[derive(Debug, Clone, Default)]
struct Screen(Arc<Mutex<Cells>>);

#[derive(Debug, Default)]
struct Cells {
    rows: Vec<Vec<String>>,
    row: usize,
    column: usize,
    /// A colour, which takes no room, until the character that gets it.
    colour: String,
}

impl Cells {
    fn put(&mut self, c: char) {
        if c == '\u{1b}' || !(self.colour.is_empty() || self.colour.ends_with('m')) {
            self.colour.push(c);
            return;
        }
        if c == '\r' {
            self.column = 0;
            return;
        }
        if c == '\n' || self.column == WIDTH {
            self.row += 1;
            self.column = 0;
        }
        let rows = self.rows.len().max(self.row + 1);
        self.rows.resize(rows, vec![" ".to_owned(); WIDTH]);
        if c != '\n' {
            let mut cell = std::mem::take(&mut self.colour);
            cell.push(c);
            self.rows[self.row][self.column] = cell;
            self.column += 1;
        }
    }
}

impl Screen {
    #[expect(clippy::unnecessary_wraps, reason = "as the trait wants it")]
    fn change(&self, change: impl FnOnce(&mut Cells)) -> io::Result<()> {
        change(&mut self.0.lock().unwrap());
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let cells = self.0.lock().unwrap();
        let lines = cells.rows.iter().map(|row| row.concat().trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.row -= n)
    }
    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.row += n)
    }
    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.column += n)
    }
    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.change(|cells| cells.column -= n)
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.change(|cells| cells.put('\n'))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.change(|cells| text.chars().for_each(|c| cells.put(c)))
    }
    fn clear_line(&self) -> io::Result<()> {
        self.change(|cells| {
            let row = cells.row;
            cells.column = 0;
            if let Some(row) = cells.rows.get_mut(row) {
                row.fill(" ".to_owned());
            }
        })
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn bars(screen: &Screen, stdout: &Kept, colour: bool) -> Bars {
    Bars::new(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), BARS_HZ), stdout.stream(), 0, colour)
}

fn failed(item: u32) -> Event {
    Event::Failed { item, step: Step::Copy, failure: Failure::new(Cause::NoSpace, "no space") }
}

#[test]
fn the_oldest_copies_have_a_bar_and_the_end_has_none() {
    let (screen, stdout) = (Screen::default(), Kept::default());
    let mut bars = bars(&screen, &stdout, false);
    let mut board = Arc::into_inner(board(&(0..11).map(|at| (Some(1 << 20), at)).collect::<Vec<_>>(), &[])).unwrap();
    board.items[0].name = "orders\u{1b}[2J".into();
    let board = Arc::new(board);
    let mut progress = Progress::new(Arc::clone(&board));
    bars.head(&head(), &progress, moment(0));
    (0..11).for_each(|item| progress.see(&Event::CopyStarted { item, attempt: 1, resumed: 0 }));
    board.set_stored(0, 1 << 19);
    bars.tick(&mut progress, moment(4));
    // A lasting line is drawn at once, and the bars with it, however short ago they were drawn.
    let restarted = Event::Restarted { item: 10, reason: "its size changed".into() };
    bars.event(&restarted, &progress, moment(4));
    let shown = screen.lines();
    assert_eq!(shown.len(), 3 + 2 + 8 + 1, "{shown:#?}");
    assert_eq!(shown[0], "database: sqlite:///tmp/evacuate.db");
    assert_eq!(shown[2], "starting again: copy of `backup-10` from one to two: its size changed");
    assert!(shown[3].starts_with("━━━━╸───") && shown[3].ends_with("──   5%"), "{shown:#?}");
    assert_eq!(shown[4], "0 of 11 chains restorable, 512 KiB of 11 MiB, 128 KiB/s, about 2 m left");
    assert_eq!(shown[5], "  ━━━━━━━━╸───────      512 KiB of 1 MiB  orders\\u{1b}[2J  one → two");
    assert_eq!(shown[12], "  ────────────────          0 B of 1 MiB  backup-7  one → two");
    assert_eq!(shown[13], "  … and 3 more");

    (0..9).for_each(|item| progress.see(&failed(item)));
    bars.tick(&mut progress, moment(5));
    bars.event(&failed(8), &progress, moment(5));
    let shown = screen.lines();
    assert_eq!(shown.len(), 4 + 2 + 2, "{shown:#?}");
    assert_eq!(shown[3], "failed: copy of `backup-8` from one to two: no space");
    assert!(shown[6].ends_with("backup-9  one → two"), "{shown:#?}");

    let summary = summary(Counts { total: 11, registered: 11, ..Counts::default() }, (11, 11), (1, 1));
    let end = End { summary: &summary, exit: Exit::Done, elapsed: Duration::from_secs(6), again: "" };
    bars.end(Some(&end), moment(6));
    assert_eq!(screen.lines().len(), 4, "{:#?}", screen.lines());
    assert!(stdout.text().starts_with("done after 6 s: 11 of 11 chains restorable"));
}

#[test]
fn only_wanted_colours() {
    for (colour, line) in [
        (true, "\u{1b}[31mfailed: copy of `backup-0` from one to two: no space\u{1b}[0m"),
        (false, "failed: copy of `backup-0` from one to two: no space"),
    ] {
        let screen = Screen::default();
        let progress = Progress::new(board(&[(None, 0)], &[]));
        let mut bars = bars(&screen, &Kept::default(), colour);
        bars.head(&head(), &progress, moment(0));
        bars.event(&failed(0), &progress, moment(0));
        assert_eq!(screen.lines()[2], line);
        assert!(screen.lines()[3].contains("─────"), "{:#?}", screen.lines());
    }
}
