//! A [`Summary`] as a person reads it. Pure.

use std::time::Duration;

use super::printable::{printable, printable_lines};
use crate::exit::Exit;
use crate::number::{counted, format_bytes, format_duration};
use crate::summary::{Counts, FailureGroup, Summary};

/// All of `summary`, in lines: how it ended, how many stand where, failures by cause, and how to go on.
///
/// `elapsed` is how long the run took; none where there was no run, as in `status`, and then nothing is said of an
/// end. `again` is the command that goes on. Nothing that does not apply is shown.
#[must_use]
pub fn summary_text(summary: &Summary, exit: Exit, elapsed: Option<Duration>, again: &str) -> String {
    if summary.selected.total == 0 {
        return format!("nothing to do: no backup is selected\n{}", left_out(&summary.left_out));
    }
    let mut text = counts_text(summary, exit, elapsed);
    for part in [failure_lines(summary), next_step(summary, exit, again)] {
        if !part.is_empty() {
            text += &format!("\n{part}");
        }
    }
    text
}

/// As [`summary_text`], of a run that is still going on: nothing has ended, and there is nothing to do about it.
#[must_use]
pub fn progress_text(summary: &Summary) -> String {
    let mut text = counts_text(summary, Exit::Done, None);
    let failures = failure_lines(summary);
    if !failures.is_empty() {
        text += &format!("\n{failures}");
    }
    text
}

fn counts_text(summary: &Summary, exit: Exit, elapsed: Option<Duration>) -> String {
    let mut text = headline(summary, exit, elapsed);
    text += "\n\n";
    for (count, state) in states(&summary.selected) {
        text += &format!("{count:>8}  {state}\n");
    }
    text + &left_out(&summary.left_out)
}

/// What is wrong with a run that did not get everything done, and how to go on: all that `-q` shows.
#[must_use]
pub fn error_text(summary: &Summary, exit: Exit, elapsed: Option<Duration>, again: &str) -> String {
    let mut text = failure_lines(summary);
    text += &format!("error: {}", headline(summary, exit, elapsed));
    for (count, word) in [(summary.selected.failed, "failed"), (summary.selected.blocked, "blocked")] {
        if count > 0 {
            text += &format!(", {count} {word}");
        }
    }
    text + "\n" + &next_step(summary, exit, again)
}

/// Failures by cause, largest group first, each with one example and the hint that goes with it; empty without any.
#[must_use]
pub fn failure_lines(summary: &Summary) -> String {
    summary.failures.iter().map(group_lines).collect()
}

fn group_lines(group: &FailureGroup) -> String {
    let mut size = Vec::new();
    if group.tenants > 0 {
        size.push(counted(group.tenants, "tenant"));
    }
    if group.bytes > 0 {
        size.push(format_bytes(group.bytes));
    }
    if group.chains_lost > 0 {
        size.push(format!("{} not restorable", counted(group.chains_lost, "chain")));
    }
    let example = &group.example;
    let mut text = format!("{} failed: {}", group.count, group.cause.title());
    if !size.is_empty() {
        text += &format!(" ({})", size.join(", "));
    }
    text += if group.count > 1 { "\n  for example " } else { "\n  " };
    let message = printable_lines(&example.message, "    ");
    text += &format!("`{}` ({}): {message}\n", printable(&example.name), example.id);
    if let Some(hint) = &example.hint {
        text += &format!("  hint: {}\n", printable_lines(hint, "    "));
    }
    text
}

fn headline(summary: &Summary, exit: Exit, elapsed: Option<Duration>) -> String {
    let mut text =
        elapsed.map(|elapsed| format!("{} after {}: ", ending(exit), format_duration(elapsed))).unwrap_or_default();
    text += &format!("{} of {} restorable", summary.chains_restorable, counted(summary.chains, "chain"));
    if summary.chains_unknown > 0 {
        text += &format!(", {} copied and restorable only with their key (.enc)", summary.chains_unknown);
    }
    if summary.bytes_registered < summary.bytes {
        text += &format!(", {} of {}", format_bytes(summary.bytes_registered), format_bytes(summary.bytes));
    } else if summary.bytes > 0 {
        text += &format!(", {}", format_bytes(summary.bytes));
    }
    text
}

fn ending(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "done",
        Exit::Internal => "broken off",
        Exit::Usage | Exit::Held => "refused",
        Exit::Failed => "failed",
        Exit::Stopped => "stopped",
        Exit::Unreachable => "failed, nothing could be reached,",
        Exit::Integrity => "failed, with an integrity check,",
    }
}

fn states(counts: &Counts) -> impl Iterator<Item = (u64, &'static str)> {
    [
        (counts.registered, "registered"),
        (counts.failed, "failed"),
        (counts.blocked, "blocked by a failed backup of their chain"),
        (counts.copied, "copied, not registered yet"),
        (counts.copying, "copied in part"),
        (counts.waiting, "waiting"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
}

fn left_out(counts: &Counts) -> String {
    match (counts.total, counts.registered) {
        (0, _) => String::new(),
        (total, 0) => format!("{total:>8}  left out by `--only` or `--limit`\n"),
        (total, registered) if total == registered => {
            format!("{total:>8}  left out by `--only` or `--limit`, all of them registered\n")
        }
        (total, registered) => {
            format!("{total:>8}  left out by `--only` or `--limit`, {registered} of them registered\n")
        }
    }
}

/// How to go on; empty where there is nothing to go on with.
fn next_step(summary: &Summary, exit: Exit, again: &str) -> String {
    let Counts { total, registered, failed, blocked, .. } = summary.selected;
    let left = total - registered - failed - blocked;
    let again = printable(again);
    match exit {
        Exit::Done | Exit::Usage | Exit::Held => String::new(),
        _ if left + failed + blocked == 0 => String::new(),
        _ if summary.failures.is_empty() => {
            let ending = if exit == Exit::Stopped { "stopped: " } else { "" };
            format!("{ending}{} left; run the same command again to continue:\n  {again}\n", left + blocked)
        }
        _ => {
            // What failed for good is left alone until its source changes or this flag is given.
            let lasting = summary.failures.iter().any(|group| !group.cause.is_transient());
            let flag = if lasting && !again.contains("--retry-failed") && !again.starts_with("backhaul backup-copy") {
                " --retry-failed"
            } else {
                ""
            };
            let what = if left > 0 { format!("to continue with {left} more and to try") } else { "to try".to_owned() };
            format!("{what} what failed again, once its cause is gone:\n  {again}{flag}\n")
        }
    }
}

#[cfg(test)]
mod tests;
