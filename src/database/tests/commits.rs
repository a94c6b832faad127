//! The writer: many writes in one commit, one bad write fails alone, a full disk fails all and is survived.

use futures::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::super::DatabaseError;
use super::{Fixture, failure, part};
use crate::state::State;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_parts_take_few_commits() {
    let fixture = Fixture::new().await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let before = fixture.database.commits();
    let done = join_all((0..1_000).map(|number| fixture.database.part_done(claim, part(number), None, 2))).await;
    assert!(done.into_iter().all(|done| done.expect("written")));
    let commits = fixture.database.commits() - before;
    assert!((10..100).contains(&commits), "{commits} commits");
    assert_eq!(fixture.row(row.id).await.bytes_read, 2_000);
    let parts = fixture.database.parts(row.id).await.expect("readable");
    assert_eq!(parts, (0..1_000).map(part).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_bad_write_does_not_poison_its_batch() {
    let fixture = Fixture::new().await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let numbers = (0..50).chain([17]).chain(50..90);
    let done = join_all(numbers.map(|number| fixture.database.part_done(claim, part(number), None, 1))).await;
    let failed: Vec<_> = done.iter().filter(|done| done.is_err()).collect();
    assert!(matches!(failed[..], [Err(DatabaseError::Sql { .. })]), "{failed:?}");
    assert_eq!(fixture.database.parts(row.id).await.expect("readable").len(), 90);
    assert_eq!(fixture.row(row.id).await.bytes_read, 90, "the bad one's bytes are not counted");
}

#[tokio::test]
async fn a_full_disk_fails_what_waits_and_writing_goes_on_after_it() {
    let fixture = Fixture::new().await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let limit = |pages: u32| Statement::from_string(DbBackend::Sqlite, format!("PRAGMA max_page_count = {pages}"));
    let large = |number| super::PartRow { sha256_state: vec![0; 200_000], ..part(number) };
    for number in 0..3 {
        // Anew each time: the limit is the connection's, which is replaced.
        fixture.database.write_one(limit(40)).await.expect("a limit");
        let error = fixture.database.part_done(claim, large(number), None, 1).await.expect_err("full");
        assert!(matches!(error, DatabaseError::NoSpace { .. }), "{error}");
        assert!(!error.is_unreachable());
        assert!(error.hint().is_some());
    }
    assert_eq!(fixture.row(row.id).await.bytes_read, 0);
    assert!(fixture.database.part_done(claim, part(0), None, 1).await.expect("small enough"));
    assert!(fixture.database.part_done(claim, large(1), None, 1).await.expect("space again"));
    assert_eq!(fixture.row(row.id).await.bytes_read, 2);
}

#[tokio::test]
async fn another_programs_transaction_is_waited_for() {
    let fixture = Fixture::new().await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let other = fixture.other_connection().await;
    other.execute_unprepared("BEGIN IMMEDIATE").await.expect("locked");
    let (done, ()) = tokio::join!(fixture.database.part_done(claim, part(0), None, 1), async {
        assert_eq!(fixture.database.parts(row.id).await.expect("readable"), []);
        other.execute_unprepared("COMMIT").await.expect("free");
    });
    assert!(done.expect("written"));
}

#[tokio::test]
async fn close_commits_what_was_queued() {
    let fixture = Fixture::new().await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let queued = join_all((0..300).map(|number| fixture.database.part_done(claim, part(number), None, 1)));
    let (done, ()) = tokio::join!(queued, fixture.database.close());
    assert!(done.into_iter().all(|done| done.expect("queued before it was closed")));
    let error = fixture.database.failed(claim, State::Building, &failure(), true).await.expect_err("closed");
    assert!(matches!(error, DatabaseError::NotWriting { .. }), "{error}");
    let reader = super::Database::open_reading(&fixture.url).await.expect("readable");
    assert_eq!(reader.parts(row.id).await.expect("readable").len(), 300);
}
