//! Plans: rows inserted and described anew, order kept, nothing written without need.

use std::task::Poll;

use futures::future::join_all;
use uuid::Uuid;

use super::super::{DatabaseError, NewRun, RecordPlace, Row};
use super::{Fixture, PLAN, Place, copied, failure, holder, row, run, start};
use crate::id::Sha256Digest;
use crate::state::State;

fn ids(rows: &[Row]) -> Vec<Uuid> {
    rows.iter().map(|row| row.id).collect()
}

fn many(count: usize) -> Vec<Row> {
    (0..count).map(|n| row(&format!("row {n}"))).collect()
}

async fn a_planned_row_comes_back_as_it_was(on: Place) {
    let fixture = Fixture::new(on).await;
    let planned = row("a");
    assert!(fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved").changed);
    let stored = fixture.row(planned.id).await;
    assert!(stored.planned_ms > 1_700_000_000_000);
    assert_eq!(stored, Row { planned_ms: stored.planned_ms, changed_ms: stored.planned_ms, ..planned });
}

async fn a_row_that_failed_while_planning_keeps_its_reason(on: Place) {
    let fixture = Fixture::new(on).await;
    let planned = row("a").that_failed(failure());
    fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved");
    let stored = fixture.row(planned.id).await;
    assert_eq!((stored.state, stored.failure()), (State::Failed, Some(failure())));
    assert!(stored.error_ms.is_some());
    let odd = Row { state: State::Saving, ..row("b") };
    let error = fixture.database.save_plan(PLAN, &[odd]).await.expect_err("never planned so");
    assert!(matches!(error, DatabaseError::Illegal { to: State::Saving, .. }), "{error}");
}

async fn saving_the_same_plan_again_writes_nothing(on: Place) {
    let fixture = Fixture::new(on).await;
    // More than go into one statement, and more than are read at a time.
    let rows = many(4_321);
    assert!(fixture.database.save_plan(PLAN, &rows).await.expect("saved").changed);
    let commits = fixture.database.commits();
    assert!(!fixture.database.save_plan(PLAN, &rows).await.expect("saved").changed);
    assert_eq!(fixture.database.commits(), commits);
    assert_eq!(ids(&fixture.database.planned_rows(PLAN).await.expect("readable")), ids(&rows));
}

async fn the_order_is_the_plans_whatever_it_was_before(on: Place) {
    let fixture = Fixture::new(on).await;
    let mut rows = many(30);
    fixture.database.save_plan(PLAN, &rows).await.expect("saved");
    rows.reverse();
    rows.insert(7, row("in between"));
    rows.remove(20);
    fixture.database.save_plan(PLAN, &rows).await.expect("saved");
    assert_eq!(ids(&fixture.database.planned_rows(PLAN).await.expect("readable")), ids(&rows));
    rows.truncate(3);
    fixture.database.save_plan(PLAN, &rows).await.expect("saved");
    assert_eq!(ids(&fixture.database.planned_rows(PLAN).await.expect("readable")), ids(&rows));
}

async fn two_plans_share_a_row_and_what_nobody_wants_is_found(on: Place) {
    let fixture = Fixture::new(on).await;
    let (shared, dropped) = (row("shared"), row("dropped"));
    fixture.database.save_plan("one", &[shared.clone(), dropped.clone()]).await.expect("saved");
    fixture.database.save_plan("two", std::slice::from_ref(&shared)).await.expect("saved");
    assert_eq!(fixture.database.plans().await.expect("readable"), ["one", "two"]);
    assert!(fixture.database.wanted_by_no_plan().await.expect("readable").is_empty());

    fixture.database.save_plan("one", std::slice::from_ref(&shared)).await.expect("saved");
    assert_eq!(ids(&fixture.database.wanted_by_no_plan().await.expect("readable")), [dropped.id]);
    assert_eq!(fixture.database.all_rows().await.expect("readable").len(), 2);
}

async fn all_rows_that_nobody_wants_are_found_however_many(on: Place) {
    let fixture = Fixture::new(on).await;
    let rows = many(2_345);
    fixture.database.save_plan(PLAN, &rows).await.expect("saved");
    fixture.database.save_plan::<Row>(PLAN, &[]).await.expect("saved");
    let mut found = ids(&fixture.database.wanted_by_no_plan().await.expect("readable"));
    let mut expected = ids(&rows);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

async fn what_describes_a_backup_follows_the_plan_until_it_is_registered(on: Place) {
    let fixture = Fixture::new(on).await;
    let planned = row("a");
    let anew = Row {
        name: "new name".into(),
        description: None,
        parent_id: None,
        expected_sha256: Some(Sha256Digest([1; 32])),
        target_catalog: "another".into(),
        location: Some("another location".into()),
        bytes: Some(1),
        state: State::Building,
        claim: 1,
        ..planned.clone()
    };
    fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved");
    let claim = fixture.database.claim_copy(&planned, run(), &start("t")).await.expect("written").expect("free");
    let before = fixture.row(planned.id).await;
    assert!(fixture.database.save_plan(PLAN, std::slice::from_ref(&anew)).await.expect("saved").changed);
    let after = fixture.row(planned.id).await;
    let expected = Row {
        name: anew.name.clone(),
        description: None,
        parent_id: None,
        expected_sha256: anew.expected_sha256,
        target_catalog: anew.target_catalog.clone(),
        changed_ms: after.changed_ms,
        claim: before.claim + i64::from(fixture.database.runner().is_some()),
        ..before
    };
    assert_eq!(after, expected);

    // Where there can be others, who has read it before works by the old description, and has it no more.
    let mut claim = claim;
    if fixture.database.runner().is_some() {
        assert!(!fixture.database.copied(claim, copied()).await.expect("nothing to do"));
        claim = fixture.database.claim_copy(&after, run(), &start("t")).await.expect("written").expect("free");
    }
    assert!(fixture.database.copied(claim, copied()).await.expect("written"));
    assert_eq!(fixture.database.registered(&[(claim, RecordPlace::object("r"))]).await.expect("written"), [true]);
    assert!(!fixture.database.save_plan(PLAN, &[planned]).await.expect("nothing to do").changed);
}

async fn a_location_is_filled_in_once(on: Place) {
    let fixture = Fixture::new(on).await;
    let unset = Row { location: None, ..row("a") };
    fixture.database.save_plan(PLAN, std::slice::from_ref(&unset)).await.expect("saved");
    for location in ["first", "second"] {
        let planned = Row { location: Some(location.into()), ..unset.clone() };
        fixture.database.save_plan(PLAN, &[planned]).await.expect("saved");
    }
    assert_eq!(fixture.row(unset.id).await.location.as_deref(), Some("first"));
}

async fn words_of_another_version_are_named_and_never_guessed(on: Place) {
    for (column, value) in [("state", "RESTORED"), ("cause", "moon-phase"), ("sha256", "abc"), ("metadata", "{")] {
        let fixture = Fixture::new(on).await;
        let planned = row("a");
        fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved");
        fixture.sql(&format!("UPDATE backups SET {column} = '{value}'")).await;
        let error = fixture.database.planned_rows(PLAN).await.expect_err("unreadable");
        let DatabaseError::Unreadable { id, column: of, value: what } = &error else { panic!("{error}") };
        assert_eq!((id.as_str(), of.as_str(), what.as_str()), (planned.id.to_string().as_str(), column, value));
    }
}

async fn runs_are_written_down_and_end_once(on: Place) {
    let fixture = Fixture::new(on).await;
    let new = |plan: &str| NewRun {
        plan: plan.into(),
        plan_sha256: Sha256Digest([3; 32]),
        host: holder().host,
        pid: u32::MAX,
        version: "0.1.0".into(),
        regions: "[]".into(),
    };
    let first = fixture.database.begin_run(new("one")).await.expect("written");
    let second = fixture.database.begin_run(new("two")).await.expect("written");
    assert_eq!(fixture.database.last_run("one").await.expect("readable"), Some(first.clone()));
    assert!(fixture.database.end_run(first.id, 4, "{}".into()).await.expect("written"));
    assert!(!fixture.database.end_run(first.id, 0, "{}".into()).await.expect("written"));
    let ended = fixture.database.last_run("one").await.expect("readable").expect("there");
    assert_eq!((ended.exit_code, ended.summary.as_deref()), (Some(4), Some("{}")));
    assert!(ended.ended_ms >= Some(ended.started_ms));
    let last = fixture.database.last_runs(5).await.expect("readable");
    assert_eq!(last.iter().map(|run| run.id).collect::<Vec<_>>(), [second.id, first.id]);
    assert_eq!(fixture.database.last_run("three").await.expect("readable"), None);
}

/// Polls `future` a few times, and gives it up then.
async fn given_up_after(polls: usize, future: impl Future) {
    let (mut future, mut polled) = (Box::pin(future), 0);
    std::future::poll_fn(|context| {
        polled += 1;
        if polled > polls { Poll::Ready(()) } else { future.as_mut().poll(context).map(drop) }
    })
    .await;
}

/// As a step's are that is cut off. sqlx (0.9) forgets a BEGIN that was sent and whose answer nobody waited for.
async fn reads_that_are_given_up_leave_no_old_view(on: Place) {
    let fixture = Fixture::new(on).await;
    let planned = row("a");
    fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved");
    for polls in (1..12).chain(1..12) {
        // As many as there are connections, so that none is left out.
        join_all((0..4).map(|_| given_up_after(polls, fixture.row(planned.id)))).await;
        join_all((0..4).map(|_| async { fixture.database.parts(planned.id).await.expect("readable") })).await;
        fixture.sql(&format!("UPDATE backups SET description = '{polls}'")).await;
        let read = join_all((0..4).map(|_| fixture.row(planned.id))).await;
        let texts: Vec<_> = read.into_iter().filter_map(|row| row.description).collect();
        assert_eq!(texts, [(); 4].map(|()| polls.to_string()), "given up after {polls} polls");
    }
}

super::on_all_databases!(
    reads_that_are_given_up_leave_no_old_view,
    a_planned_row_comes_back_as_it_was,
    a_row_that_failed_while_planning_keeps_its_reason,
    saving_the_same_plan_again_writes_nothing,
    the_order_is_the_plans_whatever_it_was_before,
    two_plans_share_a_row_and_what_nobody_wants_is_found,
    all_rows_that_nobody_wants_are_found_however_many,
    what_describes_a_backup_follows_the_plan_until_it_is_registered,
    a_location_is_filled_in_once,
    words_of_another_version_are_named_and_never_guessed,
    runs_are_written_down_and_end_once,
);
