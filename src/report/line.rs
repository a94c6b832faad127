//! One event in one line, for a terminal and for a log alike.

use std::time::Duration;

use super::Head;
use super::printable::{printable, printable_lines};
use super::progress::{Figures, Progress};
use crate::event::{Board, Event, Item};
use crate::number::{counted, format_bytes, format_duration, format_guess};

/// The lines before anything happens; the first names the database.
pub(super) fn head_lines(head: &Head, progress: &Progress) -> [String; 2] {
    let figures = progress.figures();
    let mut what = format!(
        "plan `{}`, run {}: {} in {}",
        printable(&head.plan),
        head.run,
        counted(figures.migrations, "migration"),
        counted(figures.chains, "chain"),
    );
    if let Some(bytes) = figures.bytes.filter(|bytes| *bytes > 0) {
        what += &format!(", {}", format_bytes(bytes));
    }
    if figures.registered > 0 {
        what += &format!("; {} registered already", figures.registered);
    }
    [format!("database: {}", printable(&head.database)), what]
}

/// `41 of 60 chains restorable, 812 GiB of 1.2 TiB, 203 MiB/s, 2 failed, about 31 m left`.
pub(super) fn figures_line(figures: &Figures) -> String {
    let mut line = format!("{} of {} restorable", figures.chains_restorable, counted(figures.chains, "chain"));
    match figures.bytes {
        Some(bytes) => line += &format!(", {} of {}", format_bytes(figures.stored), format_bytes(bytes)),
        None => line += &format!(", {}", format_bytes(figures.stored)),
    }
    if let Some(rate) = figures.rate {
        line += &format!(", {}/s", format_bytes(rate));
    }
    if figures.failed > 0 {
        line += &format!(", {} failed", figures.failed);
    }
    if let Some(left) = figures.left.filter(|left| left.as_secs() > 0) {
        line += &format!(", about {} left", format_guess(left));
    }
    line
}

/// What is said of `event` with so many `-v`; nothing of most of them.
pub(super) fn event_line(event: &Event, board: &Board, verbose: u8) -> Option<String> {
    let who = |item: &u32| route(&board.items[*item as usize]);
    let line = match event {
        Event::Failed { item, step, failure } => {
            format!("failed: {step} of {}: {}", who(item), printable_lines(&failure.message, "  "))
        }
        Event::Retrying { item, step, attempt, attempts, delay_ms, failure } => format!(
            "retrying in {}: {step} of {}, attempt {attempt} of {attempts} failed: {}",
            delay(*delay_ms),
            who(item),
            printable_lines(&failure.message, "  "),
        ),
        Event::Restarted { item, reason } => {
            format!("starting again: copy of {}: {}", who(item), printable_lines(reason, "  "))
        }
        Event::Draining { reason } => format!(
            "draining: {}; copies under way stop at their next checkpoint, press Ctrl-C again to stop at once",
            printable_lines(reason, "  "),
        ),
        Event::LeaseEnded => {
            "lease ended: the database did not answer in time, or this runner stood still; what was under way is \
                              cut off, and goes on once there is a lease again, or with another runner"
                .to_owned()
        }
        Event::Copied { item, bytes, adopted: false, .. } if verbose >= 1 => {
            format!("copied: {}, {}", who(item), format_bytes(*bytes))
        }
        Event::Copied { item, bytes, adopted: true, .. } if verbose >= 1 => {
            format!("adopted: {}, {}, the same bytes were there already", who(item), format_bytes(*bytes))
        }
        Event::Registered { item } if verbose >= 1 => format!("registered: {}", who(item)),
        Event::CopyStarted { item, resumed: 0, .. } if verbose >= 2 => format!("copying: {}", who(item)),
        Event::CopyStarted { item, resumed, .. } if verbose >= 2 => {
            format!("copying: {}, from {} on", who(item), format_bytes(*resumed))
        }
        Event::Copied { .. } | Event::Registered { .. } | Event::CopyStarted { .. } | Event::Finished(_) => {
            return None;
        }
    };
    Some(line)
}

/// `` `orders` from region-one to region-two``.
fn route(item: &Item) -> String {
    format!("`{}` from {} to {}", printable(&item.name), printable(&item.source), printable(&item.target))
}

fn delay(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        _ => format_duration(Duration::from_millis(milliseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Cause, Failure};
    use crate::id::Sha256Digest;
    use crate::report::tests::{board, head};
    use crate::state::Step;

    fn full() -> Failure {
        Failure::new(Cause::NoSpace, "no space on `two`").hint("free some")
    }

    #[test]
    fn the_head_names_the_database_first() {
        let progress = Progress::new(board(&[(Some(1 << 20), 0), (Some(1 << 20), 0), (Some(5 << 19), 2)], &[2]));
        assert_eq!(
            head_lines(&head(), &progress),
            [
                "database: sqlite:///tmp/evacuate.db",
                "plan `evacuate`, run 00000000-0000-0000-0000-000000000000: 3 migrations in 2 chains, 4.5 MiB; \
                 1 registered already",
            ]
        );
        let progress = Progress::new(board(&[(None, 0)], &[]));
        assert_eq!(
            head_lines(&head(), &progress)[1],
            "plan `evacuate`, run 00000000-0000-0000-0000-000000000000: 1 migration in 1 chain"
        );
    }

    #[test]
    fn figures_leave_out_what_is_not_known_or_not_so() {
        let figures = Figures {
            chains: 60,
            chains_restorable: 41,
            stored: 812 << 30,
            bytes: Some(1_319_413_953_331),
            rate: Some(203 << 20),
            failed: 2,
            left: Some(Duration::from_mins(31)),
            ..Figures::default()
        };
        assert_eq!(
            figures_line(&figures),
            "41 of 60 chains restorable, 812 GiB of 1.2 TiB, 203 MiB/s, 2 failed, about 31 m left"
        );
        let figures = Figures { chains: 1, left: Some(Duration::ZERO), ..Figures::default() };
        assert_eq!(figures_line(&figures), "0 of 1 chain restorable, 0 B");
    }

    #[test]
    fn what_is_always_said() {
        let board = board(&[(Some(1), 0)], &[]);
        let say = |event: &Event| event_line(event, &board, 0);
        assert_eq!(
            say(&Event::Failed { item: 0, step: Step::Copy, failure: full() }).as_deref(),
            Some("failed: copy of `backup-0` from one to two: no space on `two`")
        );
        let retrying = Event::Retrying {
            item: 0,
            step: Step::Register,
            attempt: 1,
            attempts: 8,
            delay_ms: 4_200,
            failure: full(),
        };
        assert_eq!(
            say(&retrying).as_deref(),
            Some("retrying in 4 s: register of `backup-0` from one to two, attempt 1 of 8 failed: no space on `two`")
        );
        assert_eq!(
            say(&Event::Restarted { item: 0, reason: "its size changed".into() }).as_deref(),
            Some("starting again: copy of `backup-0` from one to two: its size changed")
        );
        assert_eq!(
            say(&Event::Draining { reason: "interrupted".into() }).as_deref(),
            Some(
                "draining: interrupted; copies under way stop at their next checkpoint, press Ctrl-C again to stop at \
                 once"
            )
        );
        assert_eq!(
            say(&Event::LeaseEnded).as_deref(),
            Some(
                "lease ended: the database did not answer in time, or this runner stood still; what was under way is cut off, \
                 and goes on once there is a lease again, or with another runner"
            )
        );
        assert_eq!(say(&Event::Registered { item: 0 }), None);
        assert_eq!(say(&Event::CopyStarted { item: 0, attempt: 1, resumed: 0 }), None);
    }

    #[test]
    fn what_is_said_when_asked() {
        let board = board(&[(Some(1), 0)], &[]);
        let copied = |adopted| Event::Copied { item: 0, bytes: 2_048, sha256: Sha256Digest([0; 32]), adopted };
        let resumed = Event::CopyStarted { item: 0, attempt: 1, resumed: 1_024 };
        assert_eq!(event_line(&copied(false), &board, 1).as_deref(), Some("copied: `backup-0` from one to two, 2 KiB"));
        assert_eq!(
            event_line(&copied(true), &board, 1).as_deref(),
            Some("adopted: `backup-0` from one to two, 2 KiB, the same bytes were there already")
        );
        assert_eq!(
            event_line(&Event::Registered { item: 0 }, &board, 1).as_deref(),
            Some("registered: `backup-0` from one to two")
        );
        assert_eq!(event_line(&resumed, &board, 1), None);
        assert_eq!(
            event_line(&resumed, &board, 2).as_deref(),
            Some("copying: `backup-0` from one to two, from 1 KiB on")
        );
    }
}
