//! The guarded writes of steps: each changes a row only where state and claim are what its caller thinks they are.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter, Statement, UpdateMany,
};
use uuid::Uuid;

use super::batch::Write;
use super::change::Change;
use super::entity::backups::{ActiveModel, Column, Entity as Backups};
use super::entity::parts::{self, Entity as Parts};
use super::facts::{Copied, CopyStart, PartRow, RecordPlace};
use super::row::{metadata_column, to_column};
use super::{Database, DatabaseError, Row, runner};
use crate::failure::Failure;
use crate::state::State;

/// The proof that a run has a row: handed out by the database only, and void once somebody else claims the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    id: Uuid,
    token: i64,
}

impl Claim {
    /// The row.
    #[must_use]
    pub const fn id(self) -> Uuid {
        self.id
    }

    /// Larger than that of every earlier claim of the row.
    #[must_use]
    pub const fn token(self) -> i64 {
        self.token
    }
}

/// Every write here gives `false` (or no claim) if the row is not what the caller thinks it is: somebody else claimed
/// it, or it is in another state. Nothing was changed then.
///
/// # Errors
/// All of them: [`DatabaseError::Illegal`] before any SQL if no row may make that change of state, and whatever else
/// a write may meet, see there.
impl Database {
    /// NEW, FAILED or BUILDING to BUILDING, with a new claim, unless another live runner has the row.
    pub async fn claim_copy(
        &self,
        row: &Row,
        claimant: Uuid,
        start: &CopyStart,
    ) -> Result<Option<Claim>, DatabaseError> {
        if row.state != State::Building {
            legal(row.id, row.state, State::Building)?;
        }
        let mut changes = ActiveModel {
            state: set_state(State::Building),
            claimed_by: Set(Some(claimant.to_string())),
            attempt: Set(attempt_column(start.attempt)),
            claim: Set(row.claim + 1),
            ..no_failure(self.started(start))
        };
        if start.fresh {
            // Else an upload whose id is never stored would be looked for under that of an earlier one.
            changes.upload_id = Set(None);
        }
        let change = Change::new(row.id, row.state, row.claim, &changes).claimed_by(claimant);
        // What nobody has ever claimed has no parts.
        let change = if start.fresh && row.claim > 0 { change.without_parts() } else { change };
        let claimed = self.write_one(Write::Change(change)).await?;
        Ok(claimed.then_some(Claim { id: row.id, token: row.claim + 1 }))
    }

    /// The same for a copy that was begun before, by whomever: nothing but the claim is changed. What the row says of
    /// its upload is to be read after this, and goes on or is given up by [`Database::restart_copy`].
    pub async fn take_over_copy(&self, row: &Row, claimant: Uuid) -> Result<Option<Claim>, DatabaseError> {
        if row.state != State::Building {
            legal(row.id, row.state, State::Building)?;
        }
        let changes = ActiveModel {
            state: set_state(State::Building),
            claimed_by: Set(Some(claimant.to_string())),
            changed_ms: Set(self.now_ms()),
            claim: Set(row.claim + 1),
            ..Default::default()
        };
        let change = Change::new(row.id, row.state, row.claim, &changes).claimed_by(claimant);
        let claimed = self.write_one(Write::Change(change)).await?;
        Ok(claimed.then_some(Claim { id: row.id, token: row.claim + 1 }))
    }

    /// BUILDING, mine: what was stored is given up, and the copy starts from nothing under a new token. `start.fresh`
    /// is taken for granted.
    pub async fn restart_copy(&self, claim: Claim, start: &CopyStart) -> Result<bool, DatabaseError> {
        let changes = ActiveModel { attempt: Set(attempt_column(start.attempt)), ..self.started(start) };
        let update = mine(claim, State::Building, ActiveModel { upload_id: Set(None), ..changes });
        self.write_one(Write::Statement { first: self.build(&update), then: vec![self.without_parts(claim.id)] }).await
    }

    /// BUILDING, mine: one more part is hashed and stored. `bytes_read` is added to the row's; it counts what was read
    /// again, too. A number that has a row already is an error. `upload_id` is what the store calls the upload it is in.
    pub async fn part_done(
        &self,
        claim: Claim,
        part: PartRow,
        upload_id: Option<&str>,
        bytes_read: u64,
    ) -> Result<bool, DatabaseError> {
        let upload_id = Set(upload_id.map(str::to_owned));
        let changes = ActiveModel { changed_ms: Set(self.now_ms()), upload_id, ..Default::default() };
        let update = add_bytes_read(mine(claim, State::Building, changes), bytes_read);
        let insert = Parts::insert(parts::ActiveModel {
            backup_id: Set(claim.id.to_string()),
            number: Set(attempt_column(part.number)),
            size: Set(to_column(part.size)),
            reference: Set(part.reference),
            sha256_state: Set(part.sha256_state),
        });
        self.write_one(Write::Statement { first: self.build(&update), then: vec![self.build(&insert)] }).await
    }

    /// BUILDING, mine: bytes were read from the source by an attempt that did not get a part, or the copy, done.
    pub async fn count_read(&self, claim: Claim, bytes_read: u64) -> Result<bool, DatabaseError> {
        let changes = ActiveModel { changed_ms: Set(self.now_ms()), ..Default::default() };
        self.write_one(self.build(&add_bytes_read(mine(claim, State::Building, changes), bytes_read))).await
    }

    /// BUILDING or SAVING, mine: an attempt failed and another will follow. State and claim stay.
    pub async fn attempt_failed(
        &self,
        claim: Claim,
        state: State,
        attempt: u32,
        failure: &Failure,
    ) -> Result<bool, DatabaseError> {
        let changes = ActiveModel { attempt: Set(attempt_column(attempt)), ..self.with_failure(failure) };
        self.write_one(self.build(&mine(claim, state, changes))).await
    }

    /// BUILDING, mine, to SAVING: the copy is whole and proved. Its parts go, and the row is
    /// claimed by nobody.
    pub async fn copied(&self, claim: Claim, copied: Copied) -> Result<bool, DatabaseError> {
        let now = self.now_ms();
        let changes = ActiveModel {
            state: set_state(State::Saving),
            claimed_by: Set(None),
            bytes: Set(Some(to_column(copied.bytes))),
            sha256: Set(Some(copied.sha256.to_string())),
            verified: Set(Some(copied.verified)),
            etag: Set(copied.etag),
            metadata: metadata_column(&copied.metadata).map_or(NotSet, |metadata| Set(Some(metadata))),
            upload_token: Set(None),
            upload_id: Set(None),
            bytes_read: Set(to_column(copied.bytes_read)),
            copied_ms: Set(Some(now)),
            ..no_failure(ActiveModel { changed_ms: Set(now), ..Default::default() })
        };
        let change = Change::new(claim.id, State::Building, claim.token, &changes);
        let change = if copied.in_parts { change.without_parts() } else { change };
        self.write_one(Write::Change(change)).await
    }

    /// SAVING stays SAVING, with a new claim, for each row that is still what was `seen` (its id and its claim) and that
    /// no other live runner has; all in one transaction. `record` is the record object they are about to be registered in.
    pub async fn claim_register(
        &self,
        seen: &[(Uuid, i64)],
        claimant: Uuid,
        record: &str,
    ) -> Result<Vec<Option<Claim>>, DatabaseError> {
        let now = self.now_ms();
        let writes = seen.iter().map(|&(id, claim)| {
            let changes = ActiveModel {
                claimed_by: Set(Some(claimant.to_string())),
                record: Set(Some(record.to_owned())),
                changed_ms: Set(now),
                claim: Set(claim + 1),
                ..Default::default()
            };
            Write::Change(Change::new(id, State::Saving, claim, &changes).claimed_by(claimant))
        });
        let claimed = self.write(writes.collect()).await?;
        let claims = seen.iter().zip(claimed);
        Ok(claims.map(|(&(id, claim), claimed)| claimed.then_some(Claim { id, token: claim + 1 })).collect())
    }

    /// SAVING, mine, to COMPLETED: the record is stored, where each claim's place says. All in one transaction.
    pub async fn registered(&self, claims: &[(Claim, RecordPlace)]) -> Result<Vec<bool>, DatabaseError> {
        let now = self.now_ms();
        let writes = claims.iter().map(|(claim, place)| {
            let changes = ActiveModel {
                state: set_state(State::Completed),
                claimed_by: Set(None),
                completed_ms: Set(Some(now)),
                record: Set(place.object.clone()),
                registered_id: Set(place.id.clone()),
                ..no_failure(ActiveModel { changed_ms: Set(now), ..Default::default() })
            };
            Write::Change(Change::new(claim.id, State::Saving, claim.token, &changes))
        });
        self.write(writes.collect()).await
    }

    /// `from`, mine, to FAILED. Without `keep_upload` what was stored is given up: parts and upload token go.
    pub async fn failed(
        &self,
        claim: Claim,
        from: State,
        failure: &Failure,
        keep_upload: bool,
    ) -> Result<bool, DatabaseError> {
        legal(claim.id, from, State::Failed)?;
        let changes =
            ActiveModel { state: set_state(State::Failed), claimed_by: Set(None), ..self.with_failure(failure) };
        if keep_upload {
            return self.write_one(self.build(&mine(claim, from, changes))).await;
        }
        let update = mine(claim, from, ActiveModel { upload_token: Set(None), upload_id: Set(None), ..changes });
        self.write_one(Write::Statement { first: self.build(&update), then: vec![self.without_parts(claim.id)] }).await
    }

    /// BUILDING, mine, to NEW: stopped before the copy was whole. Parts and upload token stay for the next run.
    pub async fn drained(&self, claim: Claim) -> Result<bool, DatabaseError> {
        let changes = ActiveModel { state: set_state(State::New), ..self.unclaimed() };
        self.write_one(self.build(&mine(claim, State::Building, changes))).await
    }

    /// SAVING, mine: stopped before the record was stored.
    pub async fn released(&self, claim: Claim) -> Result<bool, DatabaseError> {
        self.write_one(self.build(&mine(claim, State::Saving, self.unclaimed()))).await
    }

    /// What the steps of this process had that were cut off when its lease ended: BUILDING to NEW, else as it is, and
    /// claimed by nobody. While nothing here goes on with it, nobody else may have to wait for it.
    pub async fn disown(&self, row: &Row) -> Result<bool, DatabaseError> {
        let claim = Claim { id: row.id, token: row.claim };
        match row.state {
            State::Building => self.drained(claim).await,
            State::Saving => self.released(claim).await,
            State::New | State::Failed | State::Completed => Ok(false),
        }
    }

    /// Any state but COMPLETED to FAILED, unless another live runner has the row: the survey found that the backup or its
    /// chain cannot be had. A row that is FAILED already gets the new reason. Parts and upload token stay.
    pub async fn cannot_start(&self, row: &Row, failure: &Failure) -> Result<bool, DatabaseError> {
        if row.state == State::Completed {
            return Err(DatabaseError::Illegal { id: row.id, from: row.state, to: State::Failed });
        }
        self.fail_seen(row, self.with_failure(failure)).await
    }

    /// COMPLETED stays COMPLETED: `verify` is about to append a line about it to the catalog, in this record object.
    pub async fn intend_record(&self, row: &Row, record: &str) -> Result<bool, DatabaseError> {
        let changes =
            ActiveModel { record: Set(Some(record.to_owned())), changed_ms: Set(self.now_ms()), ..Default::default() };
        self.write_one(self.build(&guarded(row.id, State::Completed, row.claim, changes))).await
    }

    /// COMPLETED to FAILED: `verify` found the copy or its record gone or changed. Its digest becomes what a new copy
    /// must have; what lies in the target does not count as a copy any more.
    pub async fn verify_failed(&self, row: &Row, failure: &Failure) -> Result<bool, DatabaseError> {
        if row.state != State::Completed {
            return Err(DatabaseError::Illegal { id: row.id, from: row.state, to: State::Failed });
        }
        let known = row.sha256.or(row.expected_sha256).map(|digest| digest.to_string());
        let forgotten = ActiveModel {
            sha256: Set(None),
            etag: Set(None),
            expected_sha256: Set(known),
            ..self.with_failure(failure)
        };
        self.fail_seen(row, forgotten).await
    }

    async fn fail_seen(&self, row: &Row, changes: ActiveModel) -> Result<bool, DatabaseError> {
        let changes = ActiveModel { state: set_state(State::Failed), claimed_by: Set(None), ..changes };
        let update = guarded(row.id, row.state, row.claim, changes).filter(self.is_free_for_me());
        self.write_one(self.build(&update)).await
    }

    /// Whether no other live runner has the row that a statement looks at.
    pub(super) fn is_free_for_me(&self) -> Expr {
        let me = self.runner().map_or_else(String::new, |id| id.to_string());
        runner::is_free(self.inner.connector.backend(), Expr::value(me))
    }

    /// COMPLETED to SAVING: the plan now names another catalog, whose identity is `catalog`.
    pub async fn to_other_catalog(&self, row: &Row, catalog: &str) -> Result<bool, DatabaseError> {
        if row.state != State::Completed {
            return Err(DatabaseError::Illegal { id: row.id, from: row.state, to: State::Saving });
        }
        let changes = ActiveModel {
            state: set_state(State::Saving),
            target_catalog: Set(catalog.to_owned()),
            registered_id: Set(None),
            record: Set(None),
            completed_ms: Set(None),
            ..self.unclaimed()
        };
        self.write_one(self.build(&guarded(row.id, row.state, row.claim, changes))).await
    }

    /// FAILED to SAVING: the verified copy is still in the target store, so only registering is left. Changes nothing
    /// in a row that has no digest.
    pub async fn still_copied(&self, row: &Row) -> Result<bool, DatabaseError> {
        if row.state != State::Failed {
            return Err(DatabaseError::Illegal { id: row.id, from: row.state, to: State::Saving });
        }
        let changes = ActiveModel { state: set_state(State::Saving), ..no_failure(self.unclaimed()) };
        let update = guarded(row.id, row.state, row.claim, changes).filter(Column::Sha256.is_not_null());
        self.write_one(self.build(&update)).await
    }

    /// What lay unpublished in the target store for this row is removed: token, parts and the name of a record object
    /// go, in any state. The claim
    /// grows, so whoever still had the row has lost it.
    pub async fn upload_gone(&self, row: &Row) -> Result<bool, DatabaseError> {
        let changes =
            ActiveModel { upload_token: Set(None), upload_id: Set(None), record: Set(None), ..self.unclaimed() };
        let update = guarded(row.id, row.state, row.claim, changes).col_expr(Column::Claim, Expr::value(row.claim + 1));
        self.write_one(Write::Statement { first: self.build(&update), then: vec![self.without_parts(row.id)] }).await
    }

    fn without_parts(&self, id: Uuid) -> Statement {
        self.build(&Parts::delete_many().filter(parts::Column::BackupId.eq(id.to_string())))
    }

    fn started(&self, start: &CopyStart) -> ActiveModel {
        ActiveModel {
            upload_token: Set(Some(start.upload_token.clone())),
            part_size: Set(Some(to_column(start.part_size))),
            source_etag: Set(Some(start.source_etag.clone())),
            bytes: Set(Some(to_column(start.bytes))),
            location: Set(Some(start.location.clone())),
            changed_ms: Set(self.now_ms()),
            ..Default::default()
        }
    }

    fn unclaimed(&self) -> ActiveModel {
        ActiveModel { claimed_by: Set(None), changed_ms: Set(self.now_ms()), ..Default::default() }
    }

    fn with_failure(&self, failure: &Failure) -> ActiveModel {
        let now = self.now_ms();
        ActiveModel {
            cause: Set(Some(failure.cause.code().to_owned())),
            error: Set(Some(failure.message.clone())),
            hint: Set(failure.hint.clone()),
            error_ms: Set(Some(now)),
            changed_ms: Set(now),
            ..Default::default()
        }
    }
}

fn legal(id: Uuid, from: State, to: State) -> Result<(), DatabaseError> {
    if from.may_become(to) { Ok(()) } else { Err(DatabaseError::Illegal { id, from, to }) }
}

pub(super) fn mine(claim: Claim, state: State, changes: ActiveModel) -> UpdateMany<Backups> {
    guarded(claim.id, state, claim.token, changes)
}

fn guarded(id: Uuid, state: State, claim: i64, changes: ActiveModel) -> UpdateMany<Backups> {
    Backups::update_many()
        .set(changes)
        .filter(Column::Id.eq(id.to_string()))
        .filter(Column::State.eq(state.as_str()))
        .filter(Column::Claim.eq(claim))
}

fn add_bytes_read(update: UpdateMany<Backups>, bytes: u64) -> UpdateMany<Backups> {
    update.col_expr(Column::BytesRead, Expr::col(Column::BytesRead).add(to_column(bytes)))
}

fn set_state(state: State) -> sea_orm::ActiveValue<String> {
    Set(state.as_str().to_owned())
}

/// Attempts and part numbers are small.
fn attempt_column(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn no_failure(changes: ActiveModel) -> ActiveModel {
    ActiveModel { cause: Set(None), error: Set(None), hint: Set(None), error_ms: Set(None), ..changes }
}
