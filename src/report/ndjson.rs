//! `--json`: one JSON object a line on stdout, each with a `type`.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::printable::printable_json;
use super::progress::{Figures, Progress};
use super::{End, Head, LINE_EVERY, Moment, Stream, View};
use crate::event::{Event, Item};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::id::Sha256Digest;
use crate::state::Step;
use crate::summary::Summary;

/// Counts up when a field changes its meaning or goes; new fields and new types may come at any time.
const VERSION: u32 = 1;

/// The first line alone says which version follows.
#[derive(Serialize)]
struct First<'a> {
    version: u32,
    #[serde(flatten)]
    line: Timed<'a>,
}

#[derive(Serialize)]
struct Timed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time: String,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    RunStarted {
        run: Uuid,
        plan: &'a str,
        database: &'a str,
        migrations: u64,
        chains: u64,
        bytes: Option<u64>,
        registered_before: u64,
        chains_restorable_before: u64,
    },
    CopyStarted {
        #[serde(flatten)]
        who: Who<'a>,
        bytes: Option<u64>,
        attempt: u16,
        resumed: u64,
    },
    CopyRestarted {
        #[serde(flatten)]
        who: Who<'a>,
        reason: &'a str,
    },
    Retrying {
        #[serde(flatten)]
        who: Who<'a>,
        step: Step,
        attempt: u16,
        attempts: u16,
        delay_ms: u64,
        #[serde(flatten)]
        failure: &'a Failure,
    },
    Copied {
        #[serde(flatten)]
        who: Who<'a>,
        bytes: u64,
        sha256: Sha256Digest,
        adopted: bool,
    },
    Registered {
        #[serde(flatten)]
        who: Who<'a>,
    },
    Failed {
        #[serde(flatten)]
        who: Who<'a>,
        step: Step,
        #[serde(flatten)]
        failure: &'a Failure,
    },
    Draining {
        reason: &'a str,
    },
    LeaseEnded {},
    Progress {
        chains: u64,
        chains_restorable: u64,
        chains_lost: u64,
        migrations: u64,
        registered: u64,
        failed: u64,
        running: u64,
        bytes: Option<u64>,
        bytes_stored: u64,
        bytes_per_second: Option<u64>,
        seconds_left: Option<u64>,
    },
    Summary {
        exit_code: u8,
        outcome: &'static str,
        elapsed_ms: u64,
        #[serde(flatten)]
        summary: &'a Summary,
    },
}

#[derive(Serialize)]
struct Who<'a> {
    id: Uuid,
    name: &'a str,
    source: &'a str,
    target: &'a str,
}

impl<'a> From<&'a Item> for Who<'a> {
    fn from(item: &'a Item) -> Self {
        Self { id: item.id, name: &item.name, source: &item.source, target: &item.target }
    }
}

/// NDJSON on stdout, nothing on stderr.
pub(super) struct Ndjson {
    stdout: Stream,
    quiet: bool,
}

impl Ndjson {
    /// `quiet` leaves the start, failures, draining and the summary.
    pub(super) fn new(stdout: Stream, quiet: bool) -> Self {
        Self { stdout, quiet }
    }

    fn line(&mut self, line: &impl Serialize) {
        let json = serde_json::to_string(line).expect("lines have only string keys");
        self.stdout.line(&printable_json(json));
    }
}

impl View for Ndjson {
    fn every(&self) -> Duration {
        LINE_EVERY
    }

    fn head(&mut self, head: &Head, progress: &Progress, now: Moment) {
        let figures = progress.figures();
        let body = Body::RunStarted {
            run: head.run,
            plan: &head.plan,
            database: &head.database,
            migrations: figures.migrations,
            chains: figures.chains,
            bytes: figures.bytes,
            registered_before: figures.registered,
            chains_restorable_before: figures.chains_restorable,
        };
        self.line(&First { version: VERSION, line: timed("run_started", now, body) });
    }

    fn event(&mut self, event: &Event, progress: &Progress, now: Moment) {
        let always = matches!(event, Event::Failed { .. } | Event::Draining { .. });
        if self.quiet && !always {
            return;
        }
        if let Some((kind, body)) = body(event, &progress.board().items) {
            self.line(&timed(kind, now, body));
        }
    }

    fn tick(&mut self, progress: &mut Progress, now: Moment) {
        if !self.quiet {
            self.line(&timed("progress", now, progress_body(&progress.measure(now.elapsed))));
        }
    }

    fn end(&mut self, end: Option<&End<'_>>, now: Moment) {
        let Some(end) = end else { return };
        let body = Body::Summary {
            exit_code: end.exit as u8,
            outcome: outcome(end.exit),
            elapsed_ms: u64::try_from(end.elapsed.as_millis()).unwrap_or(u64::MAX),
            summary: end.summary,
        };
        self.line(&timed("summary", now, body));
    }
}

fn timed<'a>(kind: &'static str, now: Moment, body: Body<'a>) -> Timed<'a> {
    Timed { kind, time: time(now.at), body }
}

fn body<'a>(event: &'a Event, items: &'a [Item]) -> Option<(&'static str, Body<'a>)> {
    let item = |item: &u32| &items[*item as usize];
    let who = |at: &u32| Who::from(item(at));
    Some(match event {
        Event::CopyStarted { item: at, attempt, resumed } => (
            "copy_started",
            Body::CopyStarted { who: who(at), bytes: item(at).bytes, attempt: *attempt, resumed: *resumed },
        ),
        Event::Restarted { item: at, reason } => ("copy_restarted", Body::CopyRestarted { who: who(at), reason }),
        Event::Retrying { item: at, step, attempt, attempts, delay_ms, failure } => (
            "retrying",
            Body::Retrying {
                who: who(at),
                step: *step,
                attempt: *attempt,
                attempts: *attempts,
                delay_ms: *delay_ms,
                failure,
            },
        ),
        Event::Copied { item: at, bytes, sha256, adopted } => {
            ("copied", Body::Copied { who: who(at), bytes: *bytes, sha256: *sha256, adopted: *adopted })
        }
        Event::Registered { item: at } => ("registered", Body::Registered { who: who(at) }),
        Event::Failed { item: at, step, failure } => ("failed", Body::Failed { who: who(at), step: *step, failure }),
        Event::Draining { reason } => ("draining", Body::Draining { reason }),
        Event::LeaseEnded => ("lease_ended", Body::LeaseEnded {}),
        Event::Finished(_) => return None,
    })
}

fn progress_body(figures: &Figures) -> Body<'static> {
    Body::Progress {
        chains: figures.chains,
        chains_restorable: figures.chains_restorable,
        chains_lost: figures.chains_lost,
        migrations: figures.migrations,
        registered: figures.registered,
        failed: figures.failed,
        running: figures.running,
        bytes: figures.bytes,
        bytes_stored: figures.stored,
        bytes_per_second: figures.rate,
        seconds_left: figures.left.map(|left| left.as_secs()),
    }
}

/// RFC 3339, UTC, to the millisecond.
fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// The exit code as a word.
const fn outcome(exit: Exit) -> &'static str {
    match exit {
        Exit::Done => "done",
        Exit::Internal => "internal",
        Exit::Usage => "usage",
        Exit::Failed => "failed",
        Exit::Stopped => "stopped",
        Exit::Held => "held",
        Exit::Unreachable => "unreachable",
        Exit::Integrity => "integrity",
    }
}

#[cfg(test)]
mod tests;
