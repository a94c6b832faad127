//! Any sequence of writes by two claimants: a trigger, which no writer can avoid, saw legal transitions only.

use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::strategy::ValueTree;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use uuid::Uuid;

use super::super::{Claim, Database, RecordPlace, Row};
use super::{Fixture, PLAN, Place, copied, failure, part, row, start};
use crate::state::State;

/// A table that a trigger writes each change of a row into, in order.
const fn witness(backend: DbBackend) -> &'static [&'static str] {
    match backend {
        DbBackend::MySql => &[
            "CREATE TABLE witness (number INTEGER PRIMARY KEY AUTO_INCREMENT, was VARCHAR(32), is_now VARCHAR(32), \
             old_claim BIGINT, new_claim BIGINT)",
            "CREATE TRIGGER seen AFTER UPDATE ON backups FOR EACH ROW INSERT INTO witness \
             (was, is_now, old_claim, new_claim) VALUES (OLD.state, NEW.state, OLD.claim, NEW.claim)",
        ],
        DbBackend::Postgres => &[
            "CREATE TABLE witness (number SERIAL, was TEXT, is_now TEXT, old_claim BIGINT, new_claim BIGINT)",
            "CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO witness (was, is_now, old_claim, new_claim) \
             VALUES (OLD.state, NEW.state, OLD.claim, NEW.claim); RETURN NULL; END $$",
            "CREATE TRIGGER seen AFTER UPDATE ON backups FOR EACH ROW EXECUTE FUNCTION note()",
        ],
        _ => &[
            "CREATE TABLE witness (number INTEGER PRIMARY KEY, was TEXT, is_now TEXT, old_claim INTEGER, \
             new_claim INTEGER)",
            "CREATE TRIGGER seen AFTER UPDATE ON backups BEGIN \
             INSERT INTO witness (was, is_now, old_claim, new_claim) \
             VALUES (OLD.state, NEW.state, OLD.claim, NEW.claim); END",
        ],
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// Looks at the row, and remembers what it saw.
    Look,
    ClaimCopy(bool),
    Restart,
    Part(u32),
    AttemptFailed(State),
    Copied,
    ClaimRegister,
    Registered,
    Failed(State, bool),
    Drained,
    Released,
    CannotStart,
    VerifyFailed,
    OtherCatalog,
    StillCopied,
    UploadGone,
}

fn act() -> impl Strategy<Value = Act> {
    let worked_on = || prop_oneof![Just(State::Building), Just(State::Saving)];
    prop_oneof![
        4 => Just(Act::Look),
        4 => any::<bool>().prop_map(Act::ClaimCopy),
        1 => Just(Act::Restart),
        2 => (0_u32..4).prop_map(Act::Part),
        1 => worked_on().prop_map(Act::AttemptFailed),
        3 => Just(Act::Copied),
        3 => Just(Act::ClaimRegister),
        3 => Just(Act::Registered),
        2 => (worked_on(), any::<bool>()).prop_map(|(from, keep)| Act::Failed(from, keep)),
        1 => Just(Act::Drained),
        1 => Just(Act::Released),
        1 => Just(Act::CannotStart),
        1 => Just(Act::VerifyFailed),
        1 => Just(Act::OtherCatalog),
        1 => Just(Act::StillCopied),
        1 => Just(Act::UploadGone),
    ]
}

/// One of the two, with what it remembers.
struct Claimant {
    run: Uuid,
    seen: Row,
    claim: Option<Claim>,
}

impl Claimant {
    /// Whether the row was written, and the token that made it possible. Errors count as "no": the duplicate part, the
    /// transition that is refused beforehand.
    async fn act(&mut self, database: &Database, act: Act) -> (bool, i64) {
        let seen = self.seen.clone();
        let with_row = match act {
            Act::Look => {
                self.seen = database.rows(&[seen.id]).await.expect("readable").remove(0);
                return (false, 0);
            }
            Act::ClaimCopy(fresh) => {
                let begun = super::CopyStart { fresh, ..start("t") };
                let claim = database.claim_copy(&seen, self.run, &begun).await.ok().flatten();
                self.claim = claim.or(self.claim);
                Some(claim.is_some())
            }
            Act::ClaimRegister => {
                let claims = database.claim_register(&[(seen.id, seen.claim)], self.run, "r").await.expect("written");
                self.claim = claims[0].or(self.claim);
                Some(claims[0].is_some())
            }
            Act::CannotStart => Some(database.cannot_start(&seen, &failure()).await.unwrap_or(false)),
            Act::VerifyFailed => Some(database.verify_failed(&seen, &failure()).await.unwrap_or(false)),
            Act::OtherCatalog => Some(database.to_other_catalog(&seen, "c").await.unwrap_or(false)),
            Act::StillCopied => Some(database.still_copied(&seen).await.unwrap_or(false)),
            Act::UploadGone => Some(database.upload_gone(&seen).await.expect("written")),
            _ => None,
        };
        if let Some(written) = with_row {
            return (written, seen.claim);
        }
        let Some(claim) = self.claim else { return (false, 0) };
        (Self::act_with(database, claim, act).await, claim.token())
    }

    async fn act_with(database: &Database, claim: Claim, act: Act) -> bool {
        let written = match act {
            Act::Restart => database.restart_copy(claim, &start("t")).await,
            Act::Part(number) => database.part_done(claim, part(number), None, 1).await,
            Act::AttemptFailed(state) => database.attempt_failed(claim, state, 2, &failure()).await,
            Act::Copied => database.copied(claim, copied()).await,
            Act::Registered => database.registered(&[(claim, RecordPlace::object("r"))]).await.map(|done| done[0]),
            Act::Failed(from, keep) => database.failed(claim, from, &failure(), keep).await,
            Act::Drained => database.drained(claim).await,
            Act::Released => database.released(claim).await,
            _ => unreachable!("{act:?} needs no claim"),
        };
        written.unwrap_or(false)
    }
}

async fn witnessed(fixture: &Fixture) -> Vec<(State, State, i64, i64)> {
    let connection = fixture.other_connection().await;
    let question = "SELECT was, is_now, old_claim, new_claim FROM witness ORDER BY number";
    let all = Statement::from_string(connection.get_database_backend(), question);
    let seen = connection.query_all_raw(all).await.expect("readable");
    connection.close().await.expect("closed");
    let state = |text: String| text.parse::<State>().expect("a state");
    let read = |line: &sea_orm::QueryResult| {
        let states: (String, String) = (line.try_get_by_index(0)?, line.try_get_by_index(1)?);
        Ok::<_, sea_orm::DbErr>((
            state(states.0),
            state(states.1),
            line.try_get_by_index(2)?,
            line.try_get_by_index(3)?,
        ))
    };
    seen.iter().map(|line| read(line).expect("four columns")).collect()
}

async fn only_legal_transitions(on: Place, acts: Vec<(bool, Act)>) {
    let fixture = Fixture::new(on).await;
    let planned = row("a");
    fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved");
    for statement in witness(fixture.database.inner.connector.backend()) {
        fixture.sql(statement).await;
    }
    let mut claimants = [1, 2].map(|run| Claimant { run: Uuid::from_u128(run), seen: planned.clone(), claim: None });

    let mut tokens = Vec::new();
    for (who, act) in acts {
        let (written, token) = claimants[usize::from(who)].act(&fixture.database, act).await;
        if written {
            tokens.push(token);
        }
    }
    let seen = witnessed(&fixture).await;
    for (was, is, old_claim, new_claim) in &seen {
        assert!(was == is || was.may_become(*is), "{was} became {is}");
        assert!((0..=1).contains(&(new_claim - old_claim)), "the claim went from {old_claim} to {new_claim}");
    }
    let before: Vec<i64> = seen.iter().map(|line| line.2).collect();
    assert_eq!(before, tokens, "each accepted write had the token of that moment, and each change was reported");
    assert!(seen.windows(2).all(|pair| pair[0].3 == pair[1].2));
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    #[test]
    fn two_claimants_never_do_what_is_not_legal(acts in proptest::collection::vec((any::<bool>(), act()), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(only_legal_transitions(Place::File, acts));
    }
}

/// The same on a server, with fewer sequences: each takes a database of its own.
async fn two_claimants_never_do_what_is_not_legal_there(on: Place) {
    for acts in some_sequences(12) {
        let what = format!("{acts:?}");
        let outcome = tokio::spawn(only_legal_transitions(on, acts)).await;
        assert!(outcome.is_ok(), "{what}");
    }
}

fn some_sequences(count: usize) -> Vec<Vec<(bool, Act)>> {
    let mut runner = proptest::test_runner::TestRunner::default();
    let acts = proptest::collection::vec((any::<bool>(), act()), 20..40);
    (0..count).map(|_| acts.new_tree(&mut runner).expect("a sequence").current()).collect()
}

super::on_all_databases!(two_claimants_never_do_what_is_not_legal_there);
