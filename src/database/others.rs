//! What other runners have done meanwhile, and what has to be done by one at a time.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{DatabaseConnection, DatabaseTransaction};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::cells::Cells;
use super::entity::backups::{Column, Entity as Backups};
use super::planned::query;
use super::server::{self, Lock};
use super::{Database, DatabaseError, runner};
use crate::state::State;

/// Between two tries to get what another process has.
const POLL: Duration = Duration::from_millis(100);

/// How late the time that a row bears may be committed, and how far the clocks of two runners may be apart as they see
/// their server's. What is missed is seen when its claim is refused.
const SLACK_MS: i64 = 5_000;

/// Ids in one question.
const IDS: usize = 1_000;

/// Of an [`Owned`].
const COLUMNS: [Column; 4] = [Column::Id, Column::State, Column::Claim, Column::ClaimedBy];

/// The part of a row that tells whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// The row.
    pub id: Uuid,
    /// Where it stands.
    pub state: State,
    /// Its claim.
    pub claim: i64,
    /// Whose that is.
    pub claimed_by: Option<Uuid>,
}

/// The other runners in the list, and what may have been changed by them.
#[derive(Debug, Default)]
pub struct Others {
    /// Those whose leases are not over.
    pub live: HashSet<Uuid>,
    /// Rows that were changed, and those that were asked for.
    pub changed: Vec<Owned>,
    /// When they were looked at, for the next look.
    pub at_ms: i64,
}

/// One process at a time has it: until it is given back, or the process ends, or stands still for 10 s.
#[derive(Debug)]
#[must_use]
pub struct PlanLock {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    connection: DatabaseConnection,
    used: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.used.abort();
    }
}

/// Uses the connection of a lock again and again, so that the server keeps it.
async fn keep_in_use(connection: DatabaseConnection) {
    loop {
        tokio::time::sleep(server::LOCK_IDLE / 5).await;
        // Where it is gone, so is the lock; what is written without it is guarded row by row.
        if connection.ping().await.is_err() {
            return;
        }
    }
}

impl PlanLock {
    /// As if its process stood still.
    #[cfg(test)]
    pub(super) fn freeze(&self) {
        self.held.iter().for_each(|held| held.used.abort());
    }

    /// Gives it back.
    pub async fn release(self) {
        if let Some(held) = self.held {
            held.used.abort();
            // A connection that is closed, or not used any more, gives its locks back in any case.
            let unlocked = server::unlock(&held.connection, Lock::Plans);
            let _unlocked = tokio::time::timeout(server::CONNECT_PATIENCE, unlocked).await;
            let _closed = held.connection.clone().close().await;
        }
    }
}

impl Database {
    /// Waits until no other runner is writing down what its plan wants. Nothing has to be waited for in a file.
    ///
    /// # Errors
    /// When the server cannot be reached, or the other never ends.
    pub async fn lock_plans(&self) -> Result<PlanLock, DatabaseError> {
        if !self.inner.connector.is_shared() {
            return Ok(PlanLock { held: None });
        }
        self.patiently(|| self.plans_locked()).await
    }

    /// [`Database::lock_plans`], on one connection.
    async fn plans_locked(&self) -> Result<PlanLock, DatabaseError> {
        let connection = self.inner.connector.writing().await.map_err(|error| self.error(error))?;
        while !server::try_lock(&connection, Lock::Plans).await.map_err(|error| self.error(error))? {
            tokio::time::sleep(POLL).await;
        }
        let used = tokio::spawn(keep_in_use(connection.clone()));
        Ok(PlanLock { held: Some(Held { connection, used }) })
    }

    /// The other runners that are live. None in a file.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn live_others(&self) -> Result<HashSet<Uuid>, DatabaseError> {
        if self.runner().is_none() {
            return Ok(HashSet::new());
        }
        self.patiently(|| async { self.others_in(&self.snapshot().await?).await }).await
    }

    async fn others_in(&self, snapshot: &DatabaseTransaction) -> Result<HashSet<Uuid>, DatabaseError> {
        let runners = runner::live(snapshot).await.map_err(|error| self.error(error))?;
        let ids = runners.iter().filter_map(|live| live.id.parse().ok());
        Ok(ids.filter(|id| Some(*id) != self.runner()).collect())
    }

    /// Waits until what was queued is written, whoever has stopped waiting for it: what is read afterwards is not changed
    /// by it any more.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn flush(&self) -> Result<(), DatabaseError> {
        self.write(Vec::new()).await.map(drop)
    }

    /// The other runners that are live, the rows that were changed since an earlier look (those that this process
    /// changed among them; none while it is alone), and the rows `asked` for, in no order, some twice.
    ///
    /// # Errors
    /// [`DatabaseError::Unreadable`], and those of reading.
    pub async fn look_at_others(&self, since_ms: i64, asked: &[Uuid]) -> Result<Others, DatabaseError> {
        self.patiently(|| self.others(since_ms, asked)).await
    }

    /// [`Database::look_at_others`], once.
    async fn others(&self, since_ms: i64, asked: &[Uuid]) -> Result<Others, DatabaseError> {
        let at_ms = self.now_ms();
        let snapshot = self.snapshot().await?;
        let live = self.others_in(&snapshot).await?;
        let mut others = Others { live, changed: Vec::new(), at_ms };
        if others.live.is_empty() && asked.is_empty() {
            return Ok(others);
        }
        let changed = Expr::col(Column::ChangedMs).gte(since_ms.saturating_sub(SLACK_MS));
        let changed = Some(changed).filter(|_| !others.live.is_empty());
        let asked = asked.chunks(IDS).map(|ids| Expr::col(Column::Id).is_in(ids.iter().map(Uuid::to_string)));
        let name = self.name();
        for which in changed.into_iter().chain(asked) {
            let question = Query::select().columns(COLUMNS).from(Backups).and_where(which).to_owned();
            for result in query(self, &snapshot, &question).await? {
                let cells = Cells::of(&name, &result, &COLUMNS);
                others.changed.push(Owned {
                    id: cells.parsed(Column::Id)?,
                    state: cells.parsed(Column::State)?,
                    claim: cells.get(Column::Claim)?,
                    claimed_by: cells.parsed_if_any(Column::ClaimedBy)?,
                });
            }
        }
        Ok(others)
    }
}
