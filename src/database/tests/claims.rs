//! Rows that another live runner has are nobody else's, until its lease is over by the database's clock.

use uuid::Uuid;

use super::super::Row;
use super::{Fixture, PLAN, Place, copied, failure, on_all_databases, row, start};
use crate::state::State;

on_all_databases!(
    what_a_live_runner_has_cannot_be_claimed,
    many_claims_at_once_are_told_apart,
    what_was_begun_before_is_taken_over_as_it_is,
);

const OTHER: Uuid = Uuid::from_u128(77);
const ME: Uuid = Uuid::from_u128(78);

impl Fixture {
    /// Puts a runner into the list whose lease ends so many milliseconds after the epoch.
    async fn enter(&self, id: Uuid, lease_until_ms: i64) {
        self.sql(&format!(
            "INSERT INTO runners (id, command, plan, host, pid, started_ms, lease_until_ms) \
             VALUES ('{id}', 'run', '{PLAN}', 'elsewhere', 1, 0, {lease_until_ms})"
        ))
        .await;
    }

    async fn lease_until(&self, id: Uuid, lease_until_ms: i64) {
        self.sql(&format!("UPDATE runners SET lease_until_ms = {lease_until_ms} WHERE id = '{id}'")).await;
    }

    /// A lease that is over in an hour, by the clock of the database.
    fn in_an_hour(&self) -> i64 {
        self.database.now_ms() + 3_600_000
    }
}

async fn what_a_live_runner_has_cannot_be_claimed(on: Place) {
    let fixture = Fixture::new(on).await;
    let database = &fixture.database;
    fixture.enter(OTHER, fixture.in_an_hour()).await;
    database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let of_other = database.claim_copy(&row("a"), OTHER, &start("t1")).await.expect("written").expect("free");

    let seen = fixture.row(of_other.id()).await;
    assert_eq!((seen.state, seen.claimed_by), (State::Building, Some(OTHER)));
    for _ in 0..2 {
        assert_eq!(database.claim_copy(&seen, ME, &start("t2")).await.expect("written"), None);
        assert_eq!(database.take_over_copy(&seen, ME).await.expect("written"), None);
        assert!(!database.cannot_start(&seen, &failure()).await.expect("written"));
        if database.runner().is_some() {
            let renamed = Row { name: "renamed".to_owned(), target_catalog: "another".to_owned(), ..seen.clone() };
            assert!(database.save_plan(PLAN, &[renamed]).await.expect("written").described.is_empty());
        }
        assert_eq!(fixture.row(seen.id).await, seen, "nothing of it was changed");
    }
    let again = database.claim_copy(&seen, OTHER, &start("t1")).await.expect("written").expect("its own");

    // Its lease is over: who takes the row over has the larger token, and what it wrote late matches nothing.
    fixture.lease_until(OTHER, database.now_ms() - 1).await;
    let seen = fixture.row(seen.id).await;
    let mine = database.take_over_copy(&seen, ME).await.expect("written").expect("free");
    assert!(mine.token() > again.token());
    assert!(!database.copied(again, copied()).await.expect("written"));
    assert!(database.copied(mine, copied()).await.expect("written"));

    // The same of registering. A runner that is in no list is as dead as one whose lease is over.
    let claims = database.claim_register(&[(seen.id, mine.token())], OTHER, "r1").await.expect("written");
    assert!(claims[0].is_some(), "nobody had it");
    fixture.lease_until(OTHER, fixture.in_an_hour()).await;
    let saving = [(seen.id, mine.token() + 1)];
    assert_eq!(database.claim_register(&saving, ME, "r2").await.expect("written"), [None]);
    fixture.sql("DELETE FROM runners").await;
    assert!(database.claim_register(&saving, ME, "r2").await.expect("written")[0].is_some());
}

async fn many_claims_at_once_are_told_apart(on: Place) {
    let fixture = Fixture::new(on).await;
    let database = &fixture.database;
    fixture.enter(OTHER, fixture.in_an_hour()).await;
    let rows: Vec<Row> = (0..450).map(|number| row(&format!("n{number}"))).collect();
    database.save_plan(PLAN, &rows).await.expect("saved");
    let begun = start("t1");
    let others = rows.iter().step_by(3).map(|row| database.claim_copy(row, OTHER, &begun));
    futures::future::try_join_all(others).await.expect("written");
    let before = database.commits();
    let mine = rows.iter().map(|row| database.claim_copy(row, ME, &begun));
    let mine = futures::future::try_join_all(mine).await.expect("written");
    assert!(database.commits() - before < 20, "they share commits: {}", database.commits() - before);
    for (number, claim) in mine.iter().enumerate() {
        assert_eq!(claim.is_some(), number % 3 != 0, "{number}");
    }
    let planned = database.planned_rows(PLAN).await.expect("readable");
    for (number, row) in planned.iter().enumerate() {
        assert_eq!(row.claimed_by, Some(if number % 3 == 0 { OTHER } else { ME }), "{number}");
        assert_eq!(row.claim, 1);
    }
}

async fn what_was_begun_before_is_taken_over_as_it_is(on: Place) {
    let fixture = Fixture::new(on).await;
    for state in [State::New, State::Building, State::Failed] {
        let (before, _) = fixture.in_state(state).await;
        let claim = fixture.database.take_over_copy(&before, ME).await.expect("written").expect("free");
        let after = fixture.row(before.id).await;
        let expected = Row {
            state: State::Building,
            claim: before.claim + 1,
            claimed_by: Some(ME),
            changed_ms: after.changed_ms,
            ..before.clone()
        };
        assert_eq!(after, expected, "{state}");
        assert_eq!(claim.token(), after.claim);
        assert_eq!(fixture.database.take_over_copy(&before, ME).await.expect("written"), None, "{state}: once only");
    }
    for state in [State::Saving, State::Completed] {
        let (before, _) = fixture.in_state(state).await;
        fixture.database.take_over_copy(&before, ME).await.expect_err("no copy is to be made");
    }
}
