use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::event::Board;
use crate::failure::Cause;
use crate::report::tests::{Kept, board, head, moment, summary};
use crate::summary::Counts;

const NASTY: &str = "a\nb \u{1b}[2J \u{9b}2J \u{202e} </script> \"q\"";

fn lines(kept: &Kept) -> Vec<Value> {
    kept.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn failure() -> Failure {
    Failure::new(Cause::NoSpace, "no space").hint("free some")
}

fn shown(quiet: bool, board: &Arc<Board>, events: &[Event]) -> Kept {
    let kept = Kept::default();
    let mut view = Ndjson::new(kept.stream(), quiet);
    let mut progress = Progress::new(Arc::clone(board));
    for event in events {
        progress.see(event);
        view.event(event, &progress, moment(1));
    }
    kept
}

#[test]
fn the_first_line_starts_with_the_version() {
    let kept = Kept::default();
    let mut view = Ndjson::new(kept.stream(), true);
    view.head(&head(), &Progress::new(board(&[(Some(7), 0), (None, 1)], &[0])), moment(0));
    assert_eq!(
        kept.text(),
        "{\"version\":1,\"type\":\"run_started\",\"time\":\"2025-11-23T12:03:00.000Z\",\
         \"run\":\"00000000-0000-0000-0000-000000000000\",\"plan\":\"evacuate\",\
         \"database\":\"sqlite:///tmp/evacuate.db\",\"migrations\":2,\"chains\":2,\"bytes\":null,\
         \"registered_before\":1,\"chains_restorable_before\":1}\n"
    );
}

#[test]
fn every_event_has_a_line_that_says_all_of_it() {
    let kept = shown(
        false,
        &board(&[(Some(7), 0)], &[]),
        &[
            Event::CopyStarted { item: 0, attempt: 1, resumed: 3 },
            Event::Restarted { item: 0, reason: "changed".into() },
            Event::Retrying { item: 0, step: Step::Copy, attempt: 1, attempts: 8, delay_ms: 250, failure: failure() },
            Event::Copied { item: 0, bytes: 7, sha256: Sha256Digest([0xab; 32]), adopted: false },
            Event::Registered { item: 0 },
            Event::Failed { item: 0, step: Step::Register, failure: failure() },
            Event::Draining { reason: "interrupted".into() },
            Event::LeaseEnded,
        ],
    );
    let with = |kind: &str, more: Value| {
        let mut line = json!({
            "type": kind, "time": "2025-11-23T12:03:01.000Z",
            "id": "00000000-0000-0000-0000-000000000001", "name": "backup-0", "source": "one", "target": "two",
        });
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let why = json!({ "cause": "no-space", "message": "no space", "hint": "free some" });
    let because = |kind: &str, more: Value| {
        let mut line = with(kind, more);
        line.as_object_mut().unwrap().extend(why.as_object().unwrap().clone());
        line
    };
    assert_eq!(
        lines(&kept),
        [
            with("copy_started", json!({ "bytes": 7, "attempt": 1, "resumed": 3 })),
            with("copy_restarted", json!({ "reason": "changed" })),
            because("retrying", json!({ "step": "copy", "attempt": 1, "attempts": 8, "delay_ms": 250 })),
            with("copied", json!({ "bytes": 7, "sha256": "ab".repeat(32), "adopted": false })),
            with("registered", json!({})),
            because("failed", json!({ "step": "register" })),
            json!({ "type": "draining", "time": "2025-11-23T12:03:01.000Z", "reason": "interrupted" }),
            json!({ "type": "lease_ended", "time": "2025-11-23T12:03:01.000Z" }),
        ]
    );
    assert!(kept.text().lines().all(|line| line.starts_with("{\"type\":\"")), "{}", kept.text());
}

#[test]
fn names_arrive_whole_and_do_no_harm_on_the_way() {
    let mut board = Arc::into_inner(board(&[(Some(7), 0)], &[])).unwrap();
    board.items[0].name = NASTY.into();
    let failure = Failure::new(Cause::Internal, NASTY);
    let kept = shown(false, &Arc::new(board), &[Event::Failed { item: 0, step: Step::Copy, failure }]);
    let text = kept.text();
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    let line = &lines(&kept)[0];
    assert_eq!((line["name"].as_str(), line["message"].as_str()), (Some(NASTY), Some(NASTY)));
}

#[test]
fn progress_comes_once_a_minute() {
    let kept = Kept::default();
    let mut view = Ndjson::new(kept.stream(), false);
    assert_eq!(view.every(), Duration::from_mins(1));
    let board = board(&[(Some(12_000), 0), (Some(7), 1)], &[1]);
    let mut progress = Progress::new(Arc::clone(&board));
    progress.see(&Event::CopyStarted { item: 0, attempt: 1, resumed: 0 });
    board.set_stored(0, 6_000);
    view.tick(&mut progress, moment(60));
    assert_eq!(
        lines(&kept),
        [json!({
            "type": "progress", "time": "2025-11-23T12:04:00.000Z", "chains": 2, "chains_restorable": 1,
            "chains_lost": 0, "migrations": 2, "registered": 1, "failed": 0, "running": 1, "bytes": 12_007,
            "bytes_stored": 6_007, "bytes_per_second": 100, "seconds_left": 60,
        })]
    );
}

#[test]
fn the_summary_line_has_everything() {
    let kept = Kept::default();
    let counts = Counts { total: 2, registered: 1, waiting: 1, ..Counts::default() };
    let summary = summary(counts, (1, 2), (5, 9));
    let end = End { summary: &summary, exit: Exit::Stopped, elapsed: Duration::from_millis(1_500), again: "again" };
    Ndjson::new(kept.stream(), true).end(Some(&end), moment(2));
    let mut expected = serde_json::to_value(&summary).unwrap();
    let more = json!({
        "type": "summary", "time": "2025-11-23T12:03:02.000Z", "exit_code": 4, "outcome": "stopped",
        "elapsed_ms": 1_500,
    });
    expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(lines(&kept), [expected]);
}

#[test]
fn quiet_leaves_out_what_went_well() {
    let events = [
        Event::CopyStarted { item: 0, attempt: 1, resumed: 0 },
        Event::Registered { item: 0 },
        Event::Failed { item: 0, step: Step::Copy, failure: failure() },
        Event::Draining { reason: "interrupted".into() },
    ];
    let kept = shown(true, &board(&[(Some(7), 0)], &[]), &events);
    let kinds: Vec<_> = lines(&kept).iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["failed", "draining"]);
}
