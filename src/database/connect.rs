//! Connections to one database, for writing and for reading.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, DbErr};

use super::error::DatabaseError;
use super::server::{self, Use};
use super::url::Place;

/// Longest wait for another program's lock.
const WRITER_PATIENCE: Duration = Duration::from_secs(30);

/// The same for a reader, which waits only while a crashed writer's WAL is being recovered.
const READER_PATIENCE: Duration = Duration::from_secs(5);

/// Longest wait for a free connection, and so for all readers before.
const ACQUIRE_PATIENCE: Duration = Duration::from_mins(1);

const READERS: u32 = 4;

/// Knows how to connect to one database, and how errors name it.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    place: Place,
    database: Arc<str>,
}

/// Rows that `SQLite`'s own thread may be ahead of who reads them: with the default of 50, reading many rows is mostly
/// two threads waking each other.
const ROWS_BUFFERED: usize = 2_000;

impl Connector {
    pub(super) fn new(place: Place, database: String) -> Self {
        Self { place, database: database.into() }
    }

    pub(super) const fn backend(&self) -> DbBackend {
        match &self.place {
            Place::File(_) => DbBackend::Sqlite,
            Place::Server(address) => server::backend(address),
        }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether many processes may write to it at a time.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    /// The URL as shown to people.
    pub(super) fn database(&self) -> Arc<str> {
        Arc::clone(&self.database)
    }

    pub(super) fn error(&self, error: DbErr) -> DatabaseError {
        DatabaseError::of_sql(&self.database, error)
    }

    /// One connection: `SQLite` has one writer at a time anyway. Each commit is on the disk when it returns.
    pub(super) async fn writing(&self) -> Result<DatabaseConnection, DbErr> {
        let path = match &self.place {
            Place::File(path) => path.clone(),
            Place::Server(address) => return Ok(server::pool(address, 1, Use::Write)),
        };
        connect(path, 1, |options| {
            options
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(WRITER_PATIENCE)
        })
        .await
    }

    /// Undoes what a process was killed at before the database had its WAL: a connection that cannot write could not.
    pub(super) async fn roll_back(&self) -> Result<(), DbErr> {
        let Place::File(path) = &self.place else { return Ok(()) };
        let connection = connect(path.clone(), 1, |options| options.create_if_missing(false)).await?;
        connection.execute_unprepared("SELECT count(*) FROM sqlite_master").await?;
        connection.close_by_ref().await
    }

    /// Connections that cannot write, whatever they are asked.
    pub(super) async fn reading(&self) -> Result<DatabaseConnection, DbErr> {
        let path = match &self.place {
            Place::File(path) => path.clone(),
            Place::Server(address) => return Ok(server::pool(address, READERS, Use::Read)),
        };
        connect(path, READERS, |options| options.create_if_missing(false).read_only(true).busy_timeout(READER_PATIENCE))
            .await
    }
}

async fn connect(
    path: PathBuf,
    connections: u32,
    options: fn(SqliteConnectOptions) -> SqliteConnectOptions,
) -> Result<DatabaseConnection, DbErr> {
    // The path goes in as a path: as part of a URL, `?` and `%` in it would mean something.
    let mut pool = ConnectOptions::new("sqlite:placeholder");
    pool.max_connections(connections)
        .acquire_timeout(ACQUIRE_PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| options(sqlite.filename(&path).row_buffer_size(ROWS_BUFFERED)));
    sea_orm::Database::connect(pool).await
}
