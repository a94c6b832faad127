//! Checkpoints: what Backhaul knows about its migrations, in a database that outlives every crash.
//!
//! [`Database`] is opened for reading by any number of processes and for writing by one, which on a server has a lease. Every write goes through
//! one group commit; steps write only where state and claim are still what they think they are.

mod batch;
mod cells;
mod change;
mod checkpoint;
mod clock;
mod connect;
mod entity;
mod error;
mod facts;
mod file;
mod heartbeat;
mod lock;
mod open;
mod others;
mod planned;
mod row;
mod runner;
mod runs;
mod server;
mod shares;
mod standing;
mod trouble;
mod uploads;
mod url;
mod version;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, QueryTrait, Statement, TransactionOptions};
use uuid::Uuid;

use batch::Write;
use clock::ServerClock;
use connect::Connector;
use heartbeat::Lease;
use writer::{Hold, Writer};

use crate::share::Share;
use crate::sql::begin;

pub use checkpoint::Claim;
pub use error::{DatabaseError, OpenError};
pub use facts::{Copied, CopyStart, PartRow, RecordPlace};
pub use file::SQLITE_MIN;
pub use lock::Holder;
pub use others::{Others, Owned, PlanLock};
pub use planned::SavedPlan;
pub use row::Row;
pub use runs::{NewRun, Run};
pub use shares::Participant;
pub use standing::{Standing, Standings};
pub use uploads::StoredParts;
pub use url::{DatabaseUrl, UrlError};

/// Longest wait for readers to end when all is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// An open database. Cheap to clone; all clones are the same database.
///
/// When the last clone is dropped without [`Database::close`], queued writes are committed and the lock is given back
/// some time later, if the runtime lives that long: close what you have written to.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connector: Connector,
    readers: DatabaseConnection,
    writer: Option<Writer>,
    /// Of a server.
    clock: Option<Arc<ServerClock>>,
    /// On a server.
    lease: Option<Arc<Lease>>,
    /// On a server: this process in the list of runners.
    runner: Option<Uuid>,
    /// What it may use of a plan's limits before it has looked for others.
    first_share: Share,
}

impl Database {
    fn new(connector: Connector, readers: DatabaseConnection, writing: Option<(DatabaseConnection, Hold)>) -> Self {
        let (mut clock, mut lease, mut id, mut first_share) = (None, None, None, Share::WHOLE);
        if let Some((_, Hold::Runner(runner))) = &writing {
            (clock, lease, id) = (Some(runner.clock()), Some(runner.lease()), Some(runner.id()));
            first_share = runner.first_share();
        }
        let writer = writing.map(|(connection, hold)| Writer::start(connector.clone(), connection, hold));
        Self { inner: Arc::new(Inner { connector, readers, writer, clock, lease, runner: id, first_share }) }
    }

    /// The URL as shown to people.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.inner.connector.database()
    }

    /// Transactions committed through this database since it was opened; 0 if it is open for reading.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.inner.writer.as_ref().map_or(0, Writer::commits)
    }

    /// This process in the list of those that write; none where a file has no list. It is who rows are claimed by.
    #[must_use]
    pub fn runner(&self) -> Option<Uuid> {
        self.inner.runner
    }

    /// Says whether this process may write to stores and catalogs at this instant: always, but on a server only for as
    /// long as its lease cannot have ended.
    ///
    /// # Errors
    /// [`DatabaseError::LeaseEnded`].
    pub fn check_lease(&self) -> Result<(), DatabaseError> {
        match &self.inner.lease {
            Some(lease) if !lease.holds() => Err(self.lease_error()),
            _ => Ok(()),
        }
    }

    fn lease_error(&self) -> DatabaseError {
        DatabaseError::LeaseEnded { database: self.name().to_string() }
    }

    /// Comes back, with the error that says so, when this process may not write to stores and catalogs any more.
    pub async fn lease_ended(&self) -> DatabaseError {
        match &self.inner.lease {
            Some(lease) => lease.lapsed().await,
            None => std::future::pending().await,
        }
        self.lease_error()
    }

    /// Takes the lease anew after it ended, once everything is cut off that was done under it: until then nobody does, so
    /// that nothing which still believed in the old one can take the new one for it. Waits for a server that does not
    /// answer. What others have claimed meanwhile is theirs.
    ///
    /// # Errors
    /// [`DatabaseError::LeaseEnded`] when others have come who need the database for themselves; what the server says, or
    /// that it says nothing, when it stays away.
    pub async fn regain_lease(&self) -> Result<(), DatabaseError> {
        let (Some(lease), Some(writer)) = (&self.inner.lease, &self.inner.writer) else { return Ok(()) };
        tokio::select! {
            regained = lease.regained() => if regained { Ok(()) } else { Err(self.lease_error()) },
            () = writer.patience_ended() => {
                let late = || Err(self.error(server::late(server::CONNECT_PATIENCE)));
                let asked = tokio::time::timeout(server::CONNECT_PATIENCE, self.snapshot()).await;
                Err(asked.unwrap_or_else(|_| late()).err().unwrap_or_else(|| self.lease_error()))
            }
        }
    }

    /// This process is about to end: from now on a server that does not answer is not waited for much longer.
    pub fn hurry(&self) {
        if let Some(writer) = &self.inner.writer {
            writer.hurry();
        }
    }

    /// Commits what is queued, puts the WAL into the database file, closes all connections and gives the lock back.
    /// Later calls of anything but this give errors. May be called again.
    pub async fn close(&self) {
        // Readers first: only a last connection that may write can remove the WAL. Closing them cannot lose anything, and
        // one may hang at a server that does not answer.
        let _closed = tokio::time::timeout(CLOSE_PATIENCE, self.inner.readers.close_by_ref()).await;
        if let Some(writer) = &self.inner.writer {
            writer.close().await;
        }
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Vec<bool>, DatabaseError> {
        match &self.inner.writer {
            Some(writer) => writer.write(writes).await,
            None => Err(DatabaseError::NotWriting { database: self.name().to_string() }),
        }
    }

    /// One write, and whether it changed a row.
    async fn write_one(&self, write: impl Into<Write>) -> Result<bool, DatabaseError> {
        Ok(self.write(vec![write.into()]).await?.first().is_some_and(|changed| *changed))
    }

    /// Milliseconds since the epoch by the database's clock, which for a file is this machine's.
    fn now_ms(&self) -> i64 {
        self.inner.clock.as_ref().map_or_else(|| jiff::Timestamp::now().as_millisecond(), |clock| clock.now_ms())
    }

    /// The statement in the words of this database.
    fn build(&self, query: &impl QueryTrait) -> Statement {
        query.build(self.inner.connector.backend())
    }

    fn error(&self, error: DbErr) -> DatabaseError {
        self.inner.connector.error(error)
    }

    /// Asks again where a server did not answer: reading twice does no harm.
    async fn patiently<T, F>(&self, question: impl Fn() -> F) -> Result<T, DatabaseError>
    where
        F: Future<Output = Result<T, DatabaseError>>,
    {
        if !self.inner.connector.is_shared() {
            return question().await;
        }
        let (mut tries, began) = (0, Instant::now());
        loop {
            tries += 1;
            let answer = match tokio::time::timeout(writer::ANSWER_PATIENCE, question()).await {
                Ok(answer) => answer,
                Err(_) => Err(self.error(server::late(writer::ANSWER_PATIENCE))),
            };
            match answer {
                Err(error) if error.may_pass() && began.elapsed() < self.patience() => {
                    tokio::time::sleep(writer::pause(tries)).await;
                }
                answer => return answer,
            }
        }
    }

    /// For how long a server is asked again: who has begun to write does not give up as soon as who only looks.
    fn patience(&self) -> Duration {
        self.inner.writer.as_ref().map_or(server::CONNECT_PATIENCE, Writer::patience)
    }

    /// All that is read through it is of one moment.
    async fn snapshot(&self) -> Result<DatabaseTransaction, DatabaseError> {
        begin(&self.inner.readers, TransactionOptions::default()).await.map_err(|error| self.error(error))
    }
}
