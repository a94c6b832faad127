//! Checkpoints: what Backhaul knows about its migrations, in a database that outlives every crash.
//!
//! [`Database`] is opened for reading by any number of processes and for writing by one. Every write goes through
//! one group commit; steps write only where state and claim are still what they think they are.

mod cells;
mod change;
mod checkpoint;
mod connect;
mod entity;
mod error;
mod facts;
mod lock;
mod open;
mod planned;
mod row;
mod runs;
mod standing;
mod uploads;
mod url;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DatabaseTransaction, DbErr, TransactionTrait};

use connect::Connector;
use lock::WriterLock;
use writer::{Write, Writer};

pub use checkpoint::Claim;
pub use error::{DatabaseError, OpenError};
pub use facts::{Copied, CopyStart, PartRow, RecordPlace};
pub use lock::Holder;
pub use open::SQLITE_MIN;
pub use row::Row;
pub use runs::{NewRun, Run};
pub use standing::{Standing, Standings};
pub use uploads::StoredParts;
pub use url::{DatabaseUrl, UrlError};

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
}

impl Database {
    fn new(
        connector: Connector,
        readers: DatabaseConnection,
        writing: Option<(DatabaseConnection, WriterLock)>,
    ) -> Self {
        let writer = writing.map(|(connection, lock)| Writer::start(connector.clone(), connection, lock));
        Self { inner: Arc::new(Inner { connector, readers, writer }) }
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

    /// Commits what is queued, puts the WAL into the database file, closes all connections and gives the lock back.
    /// Later calls of anything but this give errors. May be called again.
    pub async fn close(&self) {
        // Readers first: only a last connection that may write can remove the WAL. Closing them cannot lose anything.
        let _closed = self.inner.readers.close_by_ref().await;
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

    fn error(&self, error: DbErr) -> DatabaseError {
        self.inner.connector.error(error)
    }

    /// All that is read through it is of one moment.
    async fn snapshot(&self) -> Result<DatabaseTransaction, DatabaseError> {
        self.inner.readers.begin().await.map_err(|error| self.error(error))
    }
}

/// Milliseconds since the epoch by the database's clock, which for `SQLite` is this machine's.
fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
