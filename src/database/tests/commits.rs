//! The writer: many writes in one commit, one bad write fails alone, a full disk fails all and is survived.

use futures::future::join_all;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::super::{Copied, CopyStart, DatabaseError, RecordPlace};
use super::{Fixture, PLAN, Place, copied, failure, part, row, run, start};
use crate::state::State;

async fn a_thousand_parts_take_few_commits(on: Place) {
    let fixture = Fixture::new(on).await;
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

async fn whole_copies_of_many_rows_take_few_commits(on: Place) {
    let fixture = Fixture::new(on).await;
    let rows: Vec<_> = (0..500).map(|number| row(&format!("row {number}"))).collect();
    fixture.database.save_plan(PLAN, &rows).await.expect("saved");
    let before = fixture.database.commits();
    let copies = rows.iter().enumerate().map(|(number, row)| {
        let (start, bytes_read) = (CopyStart { upload_token: format!("t{number}"), ..start("") }, number as u64);
        let database = &fixture.database;
        async move {
            let claim = database.claim_copy(row, run(), &start).await.expect("written").expect("free");
            // Another look at the same row, in one commit with the next step of others.
            assert_eq!(database.claim_copy(row, run(), &start).await.expect("written"), None);
            assert!(database.part_done(claim, part(0), None, 1).await.expect("written"));
            assert!(database.copied(claim, Copied { bytes_read, ..copied() }).await.expect("written"));
        }
    });
    join_all(copies).await;
    let commits = fixture.database.commits() - before;
    assert!(commits < 200, "{commits} commits");
    for (number, row) in rows.iter().enumerate().step_by(99) {
        let row = fixture.row(row.id).await;
        assert_eq!((row.state, row.claim, row.bytes_read), (State::Saving, 1, 1 + number as u64));
        assert_eq!(row.part_size, Some(start("").part_size));
        assert_eq!(fixture.database.parts(row.id).await.expect("readable"), [], "parts of a whole copy go");
    }
    let seen: Vec<_> = rows.iter().map(|row| (row.id, 1)).collect();
    // Twice the same row in one batch, and one that is not as it was seen.
    let seen = [seen, vec![(rows[7].id, 1), (rows[8].id, 5)]].concat();
    let claims = fixture.database.claim_register(&seen, run(), "batch").await.expect("written");
    let lost: Vec<_> = claims.iter().enumerate().filter(|(_, claim)| claim.is_none()).map(|(at, _)| at).collect();
    assert_eq!(lost, [500, 501]);
    let claims: Vec<_> = claims.into_iter().flatten().map(|claim| (claim, RecordPlace::object("batch"))).collect();
    assert_eq!(fixture.database.registered(&claims).await.expect("written"), [true; 500]);
    let standings = fixture.database.standings(PLAN).await.expect("readable");
    assert!(standings.rows.iter().map(|row| (row.id, row.state)).eq(rows.iter().map(|row| (row.id, State::Completed))));
}

async fn of_two_claims_in_one_commit_one_holds(on: Place) {
    let fixture = Fixture::new(on).await;
    let (one, two) = (start("one"), start("two"));
    // Mostly the first pair shares a commit; a writer that woke up between the two takes them one by one.
    for number in 0..1_000 {
        let row = row(&format!("row {number}"));
        fixture.database.save_plan(PLAN, std::slice::from_ref(&row)).await.expect("saved");
        let before = fixture.database.commits();
        let claims = tokio::join!(
            fixture.database.claim_copy(&row, run(), &one),
            fixture.database.claim_copy(&row, run(), &two)
        );
        assert!(claims.0.expect("written").is_some());
        assert_eq!(claims.1.expect("written"), None);
        assert_eq!(fixture.row(row.id).await.upload_token.as_deref(), Some("one"));
        if fixture.database.commits() - before == 1 {
            return;
        }
    }
    panic!("no two claims were in one commit");
}

async fn standings_tell_what_rows_tell_and_failures_whole(on: Place) {
    let fixture = Fixture::new(on).await;
    let rows = [row("a").that_failed(failure()), row("b"), row("c")];
    fixture.database.save_plan(PLAN, &rows).await.expect("saved");
    let standings = fixture.database.standings(PLAN).await.expect("readable");
    let whole = fixture.database.planned_rows(PLAN).await.expect("readable");
    let told = whole.iter().map(|row| (row.id, row.state, row.bytes, row.parent_id));
    assert!(standings.rows.iter().map(|row| (row.id, row.state, row.bytes, row.parent_id)).eq(told));
    assert_eq!(standings.failed.into_values().collect::<Vec<_>>(), whole[..1]);
    assert!(fixture.database.standings("another").await.expect("readable").rows.is_empty());
}

async fn one_bad_write_does_not_poison_its_batch(on: Place) {
    let fixture = Fixture::new(on).await;
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
    let fixture = Fixture::new(Place::File).await;
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
    let fixture = Fixture::new(Place::File).await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let other = fixture.other_connection().await;
    other.execute_unprepared("BEGIN IMMEDIATE").await.expect("locked");
    let (done, ()) = tokio::join!(fixture.database.part_done(claim, part(0), None, 1), async {
        assert_eq!(fixture.database.parts(row.id).await.expect("readable"), []);
        other.execute_unprepared("COMMIT").await.expect("free");
    });
    assert!(done.expect("written"));
}

async fn close_commits_what_was_queued(on: Place) {
    let fixture = Fixture::new(on).await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let queued = join_all((0..300).map(|number| fixture.database.part_done(claim, part(number), None, 1)));
    // All of them before it is closed.
    let queued = tokio::task::unconstrained(queued);
    let (done, ()) = tokio::join!(queued, fixture.database.close());
    assert!(done.into_iter().all(|done| done.expect("queued before it was closed")));
    let error = fixture.database.failed(claim, State::Building, &failure(), true).await.expect_err("closed");
    assert!(matches!(error, DatabaseError::NotWriting { .. }), "{error}");
    let reader = super::Database::open_reading(&fixture.url).await.expect("readable");
    assert_eq!(reader.parts(row.id).await.expect("readable").len(), 300);
}

super::on_all_databases!(
    a_thousand_parts_take_few_commits,
    whole_copies_of_many_rows_take_few_commits,
    of_two_claims_in_one_commit_one_holds,
    standings_tell_what_rows_tell_and_failures_whole,
    one_bad_write_does_not_poison_its_batch,
    close_commits_what_was_queued,
);
