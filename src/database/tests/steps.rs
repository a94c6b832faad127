//! Each write of a step: what it changes, and that it changes nothing without its state and claim.

use uuid::Uuid;

use super::super::{Claim, CopyStart, Database, DatabaseError, RecordPlace, Row};
use super::{Fixture, Place, copied, failure, part, run, start};
use crate::failure::{Cause, Failure};
use crate::state::State;

/// The writes that need a claim.
#[derive(Debug, Clone, Copy)]
enum Claimed {
    Restart,
    Part,
    AttemptFailed(State),
    Copied,
    ClaimRegister,
    Registered,
    Failed(State),
    Drained,
    Released,
}

impl Claimed {
    const ALL: [Self; 11] = [
        Self::Restart,
        Self::Part,
        Self::AttemptFailed(State::Building),
        Self::AttemptFailed(State::Saving),
        Self::Copied,
        Self::ClaimRegister,
        Self::Registered,
        Self::Failed(State::Building),
        Self::Failed(State::Saving),
        Self::Drained,
        Self::Released,
    ];

    fn needs(self) -> State {
        match self {
            Self::Restart | Self::Part | Self::Copied | Self::Drained => State::Building,
            Self::ClaimRegister | Self::Registered | Self::Released => State::Saving,
            Self::AttemptFailed(state) | Self::Failed(state) => state,
        }
    }

    async fn write(self, database: &Database, claim: Claim) -> bool {
        let written = match self {
            Self::Restart => database.restart_copy(claim, &start("t2")).await,
            Self::Part => database.part_done(claim, part(0), None, 10).await,
            Self::AttemptFailed(state) => database.attempt_failed(claim, state, 2, &failure()).await,
            Self::Copied => database.copied(claim, copied()).await,
            Self::ClaimRegister => database
                .claim_register(&[(claim.id(), claim.token())], run(), "record-1")
                .await
                .map(|claims| claims[0].is_some()),
            Self::Registered => database.registered(&[(claim, RecordPlace::object("r"))]).await.map(|done| done[0]),
            Self::Failed(from) => database.failed(claim, from, &failure(), false).await,
            Self::Drained => database.drained(claim).await,
            Self::Released => database.released(claim).await,
        };
        written.expect("no error")
    }
}

async fn with_the_claim_a_write_succeeds_in_its_state_only(on: Place) {
    for state in State::ALL {
        for write in Claimed::ALL {
            let fixture = Fixture::new(on).await;
            let (row, claim) = fixture.in_state(state).await;
            assert_eq!(write.write(&fixture.database, claim).await, state == write.needs(), "{write:?} in {state}");
            if state != write.needs() {
                assert_eq!(fixture.row(row.id).await, row, "{write:?} in {state}");
                assert_eq!(fixture.database.parts(row.id).await.expect("readable"), []);
            }
        }
    }
}

async fn with_an_old_claim_no_write_changes_anything(on: Place) {
    for write in Claimed::ALL {
        let fixture = Fixture::new(on).await;
        let (row, old) = fixture.in_state(write.needs()).await;
        match row.state {
            State::Building => {
                fixture.database.claim_copy(&row, run(), &start("t9")).await.expect("written").expect("void")
            }
            _ => fixture.database.claim_register(&[(row.id, row.claim)], run(), "other").await.expect("written")[0]
                .expect("free"),
        };
        let row = fixture.row(row.id).await;
        assert!(row.claim > old.token());
        assert!(!write.write(&fixture.database, old).await, "{write:?}");
        assert_eq!(fixture.row(row.id).await, row, "{write:?}");
        assert_eq!(fixture.database.parts(row.id).await.expect("readable"), []);
    }
}

async fn a_copy_is_claimed_in_three_states_and_by_one_only(on: Place) {
    for state in State::ALL {
        let fixture = Fixture::new(on).await;
        let (row, _) = fixture.in_state(state).await;
        let run = Uuid::from_u128(8);
        let begun = CopyStart { attempt: 4, ..start("t4") };
        let claimed = fixture.database.claim_copy(&row, run, &begun).await;
        if matches!(state, State::Saving | State::Completed) {
            assert!(matches!(claimed, Err(DatabaseError::Illegal { .. })), "{state}");
            assert_eq!(fixture.row(row.id).await, row);
            continue;
        }
        let claim = claimed.expect("written").expect("free");
        let second = fixture.database.claim_copy(&row, run, &start("t5")).await.expect("written");
        assert_eq!(second, None, "{state}: the same snapshot does not do twice");
        let after = fixture.row(row.id).await;
        let expected = Row {
            state: State::Building,
            claim: row.claim + 1,
            claimed_by: Some(run),
            attempt: 4,
            upload_token: Some("t4".into()),
            cause: None,
            error: None,
            hint: None,
            error_ms: None,
            changed_ms: after.changed_ms,
            ..row
        };
        assert_eq!(after, expected);
        assert_eq!(claim.token(), after.claim);
        assert_eq!(
            (after.part_size, after.bytes, after.location.as_deref()),
            (Some(1 << 20), Some(3 << 20), Some("two/x.gz"))
        );
    }
}

async fn parts_stay_for_who_goes_on_and_go_for_who_starts_again(on: Place) {
    let fixture = Fixture::new(on).await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let database = &fixture.database;
    let parts = async || database.parts(row.id).await.expect("readable").len();
    assert!(database.part_done(claim, part(0), None, 10).await.expect("written"));
    assert!(database.part_done(claim, part(1), None, 10).await.expect("written"));
    assert!(database.drained(claim).await.expect("written"));
    let drained = fixture.row(row.id).await;
    assert_eq!((drained.state, drained.claimed_by, drained.upload_token.as_deref()), (State::New, None, Some("t1")));
    assert_eq!(parts().await, 2);

    let claim = database.claim_copy(&drained, run(), &start("t1")).await.expect("written").expect("free");
    assert_eq!(parts().await, 2);
    assert!(database.restart_copy(claim, &start("t2")).await.expect("written"));
    assert_eq!((parts().await, fixture.row(row.id).await.upload_token.as_deref()), (0, Some("t2")));

    assert!(database.part_done(claim, part(0), None, 10).await.expect("written"));
    let begun = CopyStart { fresh: true, ..start("t3") };
    database.claim_copy(&fixture.row(row.id).await, run(), &begun).await.expect("written").expect("free");
    assert_eq!((parts().await, fixture.row(row.id).await.bytes_read), (0, 30), "bytes read are never forgotten");
}

async fn a_whole_life(on: Place) {
    let fixture = Fixture::new(on).await;
    let (row, claim) = fixture.in_state(State::Building).await;
    let database = &fixture.database;
    assert!(database.part_done(claim, part(0), None, 10).await.expect("written"));
    assert!(database.attempt_failed(claim, State::Building, 2, &failure()).await.expect("written"));
    let tried = fixture.row(row.id).await;
    assert_eq!((tried.state, tried.attempt, tried.failure()), (State::Building, 2, Some(failure())));

    assert!(database.copied(claim, copied()).await.expect("written"));
    let saving = fixture.row(row.id).await;
    let expected = Row {
        state: State::Saving,
        claimed_by: None,
        bytes: Some(3 << 20),
        bytes_read: 15,
        sha256: Some(copied().sha256),
        verified: Some("read back".into()),
        etag: Some("target-etag".into()),
        upload_token: None,
        cause: None,
        error: None,
        hint: None,
        error_ms: None,
        changed_ms: saving.changed_ms,
        copied_ms: saving.copied_ms,
        ..tried
    };
    assert_eq!(saving, expected);
    assert!(saving.copied_ms.is_some());
    assert_eq!(database.parts(row.id).await.expect("readable"), []);

    let claims = database.claim_register(&[(row.id, saving.claim)], run(), "record-1").await.expect("written");
    let claim = claims[0].expect("free");
    assert_eq!(database.registered(&[(claim, RecordPlace::object("r"))]).await.expect("written"), [true]);
    let completed = fixture.row(row.id).await;
    assert_eq!(
        (completed.state, completed.claimed_by, completed.record.as_deref()),
        (State::Completed, None, Some("r"))
    );
    assert!(completed.completed_ms.is_some());

    let gone = Failure::new(Cause::CopyMissing, "the copy is gone");
    assert!(database.verify_failed(&completed, &gone).await.expect("written"));
    assert!(!database.verify_failed(&completed, &gone).await.expect("written"), "not COMPLETED any more");
    let failed = fixture.row(row.id).await;
    assert_eq!(failed.failure(), Some(gone));
    assert_eq!(failed.expected_sha256, completed.sha256, "a new copy must have the same digest");
    assert!(!database.still_copied(&failed).await.expect("written"), "what lies there is no copy any more");
    assert_eq!((failed.sha256, failed.etag), (None, None));
}

async fn one_transaction_registers_those_that_are_still_claimed(on: Place) {
    let fixture = Fixture::new(on).await;
    let database = &fixture.database;
    let (a, claim_a) = fixture.in_state(State::Saving).await;
    let (b, _) = fixture.in_state(State::Completed).await;
    let before = database.commits();
    let claims = database
        .claim_register(&[(a.id, a.claim), (b.id, b.claim), (a.id, a.claim)], run(), "r")
        .await
        .expect("written");
    assert_eq!(claims.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    let claim = claims[0].expect("claimed");
    assert_eq!(
        database
            .registered(&[(claim_a, RecordPlace::object("r")), (claim, RecordPlace::object("r"))])
            .await
            .expect("written"),
        [false, true]
    );
    assert_eq!(database.commits(), before + 2);
}

async fn what_is_given_up_leaves_no_upload_and_what_is_not_keeps_it(on: Place) {
    for keep in [true, false] {
        let fixture = Fixture::new(on).await;
        let (row, claim) = fixture.in_state(State::Building).await;
        assert!(fixture.database.part_done(claim, part(0), None, 10).await.expect("written"));
        assert!(fixture.database.failed(claim, State::Building, &failure(), keep).await.expect("written"));
        let after = fixture.row(row.id).await;
        let parts = fixture.database.parts(row.id).await.expect("readable").len();
        assert_eq!((after.upload_token.is_some(), parts == 1), (keep, keep));
        assert_eq!((after.state, after.failure()), (State::Failed, Some(failure())));
    }
}

async fn the_survey_fails_what_is_not_registered(on: Place) {
    for state in State::ALL {
        let fixture = Fixture::new(on).await;
        let (row, _) = fixture.in_state(state).await;
        let reason = Failure::new(Cause::ParentMissing, "no parent");
        let failed = fixture.database.cannot_start(&row, &reason).await;
        let after = fixture.row(row.id).await;
        if state == State::Completed {
            assert!(matches!(failed, Err(DatabaseError::Illegal { .. })));
            assert_eq!(after, row);
        } else {
            assert!(failed.expect("written"), "{state}");
            assert_eq!((after.state, after.failure()), (State::Failed, Some(reason)));
        }
    }
}

async fn another_catalog_makes_a_registered_row_wait_again(on: Place) {
    let fixture = Fixture::new(on).await;
    let (row, _) = fixture.in_state(State::Completed).await;
    assert!(fixture.database.to_other_catalog(&row, "another").await.expect("written"));
    let after = fixture.row(row.id).await;
    assert_eq!((after.state, after.target_catalog.as_str(), after.completed_ms), (State::Saving, "another", None));
    let error = fixture.database.to_other_catalog(&after, "another").await.expect_err("not COMPLETED");
    assert!(matches!(error, DatabaseError::Illegal { .. }), "{error}");
}

async fn a_row_without_a_copy_is_never_taken_as_copied(on: Place) {
    let fixture = Fixture::new(on).await;
    let (row, _) = fixture.in_state(State::Failed).await;
    assert!(!fixture.database.still_copied(&row).await.expect("written"));
    assert_eq!(fixture.row(row.id).await, row);
}

async fn removing_an_upload_voids_the_claim_on_it(on: Place) {
    let fixture = Fixture::new(on).await;
    let (row, claim) = fixture.in_state(State::Building).await;
    assert!(fixture.database.part_done(claim, part(0), None, 10).await.expect("written"));
    assert!(fixture.database.upload_gone(&row).await.expect("written"));
    let after = fixture.row(row.id).await;
    assert_eq!((after.upload_token, after.state), (None, State::Building));
    assert_eq!(fixture.database.parts(row.id).await.expect("readable"), []);
    assert!(!fixture.database.part_done(claim, part(1), None, 10).await.expect("written"));
}

async fn illegal_changes_are_refused_before_any_sql(on: Place) {
    let fixture = Fixture::new(on).await;
    let (_, claim) = fixture.in_state(State::New).await;
    let before = fixture.database.commits();
    let error = fixture.database.failed(claim, State::Failed, &failure(), true).await.expect_err("no transition");
    assert_eq!(error.to_string(), format!("backup `{}` cannot go from FAILED to FAILED", claim.id()));
    assert_eq!(fixture.database.commits(), before);
}

super::on_all_databases!(
    with_the_claim_a_write_succeeds_in_its_state_only,
    with_an_old_claim_no_write_changes_anything,
    a_copy_is_claimed_in_three_states_and_by_one_only,
    parts_stay_for_who_goes_on_and_go_for_who_starts_again,
    a_whole_life,
    one_transaction_registers_those_that_are_still_claimed,
    what_is_given_up_leaves_no_upload_and_what_is_not_keeps_it,
    the_survey_fails_what_is_not_registered,
    another_catalog_makes_a_registered_row_wait_again,
    a_row_without_a_copy_is_never_taken_as_copied,
    removing_an_upload_voids_the_claim_on_it,
    illegal_changes_are_refused_before_any_sql,
);
