//! One row for each run: who, when, on what plan, and how it ended.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::entity::runs::{ActiveModel, Column, Entity as Runs, Model};
use super::{Database, DatabaseError};
use crate::id::Sha256Digest;

/// What is known when a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// The plan's name.
    pub plan: String,
    /// Digest of the plan file.
    pub plan_sha256: Sha256Digest,
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Of Backhaul.
    pub version: String,
    /// The plan's regions as JSON: paths absolute, `${…}` unexpanded.
    pub regions: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `UUIDv7`: sorts by time.
    pub id: Uuid,
    /// The plan's name.
    pub plan: String,
    /// Digest of the plan file.
    pub plan_sha256: Sha256Digest,
    /// Where it ran.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Of Backhaul.
    pub version: String,
    /// Milliseconds since the epoch.
    pub started_ms: i64,
    /// Milliseconds since the epoch; none while it runs, and for ever if it was killed.
    pub ended_ms: Option<i64>,
    /// None as `ended_ms`.
    pub exit_code: Option<u8>,
    /// The plan's regions as JSON.
    pub regions: String,
    /// How it ended, as JSON.
    pub summary: Option<String>,
}

impl Database {
    /// Writes down that a run begins, under an id made here.
    ///
    /// # Errors
    /// Those of a write, see [`DatabaseError`].
    pub async fn begin_run(&self, new: NewRun) -> Result<Run, DatabaseError> {
        let run = Run {
            id: Uuid::now_v7(),
            plan: new.plan,
            plan_sha256: new.plan_sha256,
            host: new.host,
            pid: new.pid,
            version: new.version,
            started_ms: self.now_ms(),
            ended_ms: None,
            exit_code: None,
            regions: new.regions,
            summary: None,
        };
        let insert = Runs::insert(ActiveModel {
            id: Set(run.id.to_string()),
            plan: Set(run.plan.clone()),
            plan_sha256: Set(run.plan_sha256.to_string()),
            host: Set(run.host.clone()),
            pid: Set(run.pid.into()),
            version: Set(run.version.clone()),
            started_ms: Set(run.started_ms),
            regions: Set(run.regions.clone()),
            ..Default::default()
        });
        self.write_one(self.build(&insert)).await?;
        Ok(run)
    }

    /// Writes down how a run ended; `summary` is JSON. False if there is no such run or it has ended before.
    ///
    /// # Errors
    /// Those of a write, see [`DatabaseError`].
    pub async fn end_run(&self, id: Uuid, exit_code: u8, summary: String) -> Result<bool, DatabaseError> {
        let update = Runs::update_many()
            .set(ActiveModel {
                ended_ms: Set(Some(self.now_ms())),
                exit_code: Set(Some(exit_code.into())),
                summary: Set(Some(summary)),
                ..Default::default()
            })
            .filter(Column::Id.eq(id.to_string()))
            .filter(Column::EndedMs.is_null());
        self.write_one(self.build(&update)).await
    }

    /// The run of `plan` that began last.
    ///
    /// # Errors
    /// [`DatabaseError::Unreadable`] and those of `SQLite`.
    pub async fn last_run(&self, plan: &str) -> Result<Option<Run>, DatabaseError> {
        let of_plan = newest_first().filter(Column::Plan.eq(plan));
        let found = || async { of_plan.clone().one(&self.inner.readers).await.map_err(|error| self.error(error)) };
        let found = self.patiently(found).await?;
        found.map(read).transpose()
    }

    /// The last `n` runs of all plans, newest first.
    ///
    /// # Errors
    /// As [`Database::last_run`].
    pub async fn last_runs(&self, n: u64) -> Result<Vec<Run>, DatabaseError> {
        let last = newest_first().limit(n);
        let found = || async { last.clone().all(&self.inner.readers).await.map_err(|error| self.error(error)) };
        let found = self.patiently(found).await?;
        found.into_iter().map(read).collect()
    }
}

fn newest_first() -> Select<Runs> {
    Runs::find().order_by_desc(Column::StartedMs).order_by_desc(Column::Id)
}

fn read(model: Model) -> Result<Run, DatabaseError> {
    let unreadable = |column: &str, value: &dyn ToString| DatabaseError::Unreadable {
        id: model.id.clone(),
        column: column.to_owned(),
        value: value.to_string(),
    };
    let exit_code = model.exit_code.map(|code| u8::try_from(code).map_err(|_| unreadable("exit_code", &code)));
    Ok(Run {
        id: model.id.parse().map_err(|_| unreadable("id", &model.id))?,
        plan_sha256: model.plan_sha256.parse().map_err(|_| unreadable("plan_sha256", &model.plan_sha256))?,
        pid: u32::try_from(model.pid).map_err(|_| unreadable("pid", &model.pid))?,
        exit_code: exit_code.transpose()?,
        plan: model.plan,
        host: model.host,
        version: model.version,
        started_ms: model.started_ms,
        ended_ms: model.ended_ms,
        regions: model.regions,
        summary: model.summary,
    })
}
