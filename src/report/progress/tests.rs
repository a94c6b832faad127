use super::*;
use crate::failure::{Cause, Failure};
use crate::id::Sha256Digest;
use crate::report::tests::board;
use crate::state::Step;

fn copied(item: u32, bytes: u64, adopted: bool) -> Event {
    Event::Copied { item, bytes, sha256: Sha256Digest([0; 32]), adopted }
}

fn started(item: u32, resumed: u64) -> Event {
    Event::CopyStarted { item, attempt: 1, resumed }
}

#[test]
fn a_chain_is_restorable_with_its_last_link() {
    // Items 0 and 1 are a chain, 2 one of its own, registered before.
    let mut progress = Progress::new(board(&[(Some(100), 0), (Some(50), 0), (Some(10), 2)], &[2]));
    let figures = progress.figures();
    assert_eq!((figures.chains, figures.chains_restorable, figures.registered), (2, 1, 1));
    assert_eq!((figures.stored, figures.bytes), (10, Some(160)));
    progress.see(&Event::Registered { item: 0 });
    assert_eq!(progress.figures().chains_restorable, 1);
    progress.see(&Event::Registered { item: 1 });
    progress.see(&Event::Registered { item: 1 });
    assert_eq!((progress.figures().chains_restorable, progress.figures().registered), (2, 3));
}

#[test]
fn rate_counts_what_arrives_and_not_what_was_there() {
    let board = board(&[(Some(10_000), 0), (Some(1_000), 1)], &[]);
    let mut progress = Progress::new(Arc::clone(&board));
    assert_eq!(progress.measure(Duration::ZERO).rate, None);
    progress.see(&started(0, 4_000));
    board.set_stored(0, 4_000);
    progress.see(&copied(1, 1_000, true));
    let figures = progress.measure(Duration::from_secs(10));
    assert_eq!((figures.stored, figures.rate, figures.left), (5_000, Some(0), None));
    board.set_stored(0, 6_000);
    let figures = progress.measure(Duration::from_secs(20));
    assert_eq!((figures.stored, figures.rate), (7_000, Some(100)));
    assert_eq!(figures.left, Some(Duration::from_secs(40)));
    // Only the last 20 s count.
    let figures = progress.measure(Duration::from_secs(40));
    assert_eq!((figures.rate, figures.left), (Some(0), None));
}

#[test]
fn a_copy_that_starts_again_counts_from_its_first_byte() {
    let board = board(&[(Some(1_000), 0)], &[]);
    let mut progress = Progress::new(Arc::clone(&board));
    progress.see(&started(0, 800));
    progress.see(&Event::Restarted { item: 0, reason: "the source changed".into() });
    board.set_stored(0, 300);
    progress.see(&started(0, 300));
    let figures = progress.measure(Duration::from_secs(10));
    assert_eq!((figures.stored, figures.rate, figures.running), (300, Some(30), 1));
}

#[test]
fn failed_bytes_are_not_waited_for() {
    let board = board(&[(Some(1_000), 0), (Some(1_000), 1)], &[]);
    let mut progress = Progress::new(Arc::clone(&board));
    progress.see(&started(0, 0));
    progress.see(&started(1, 0));
    board.set_stored(0, 500);
    board.set_stored(1, 500);
    let failure = Failure::new(Cause::NoSpace, "full");
    progress.see(&Event::Failed { item: 0, step: Step::Copy, failure });
    let figures = progress.measure(Duration::from_secs(10));
    assert_eq!((figures.failed, figures.chains_lost, figures.running, figures.stored), (1, 1, 1, 1_000));
    assert_eq!(figures.left, Some(Duration::from_secs(5)));
}

#[test]
fn the_total_is_known_with_the_last_size() {
    let mut progress = Progress::new(board(&[(None, 0), (Some(5), 1)], &[]));
    assert_eq!(progress.figures().bytes, None);
    progress.see(&copied(0, 7, false));
    assert_eq!((progress.figures().bytes, progress.figures().stored), (Some(12), 7));
}
