//! Opening: the place, the lock or the list of runners, the version of the tables.

use std::path::Path;
use std::time::{Duration, Instant};

use migrations::{Migrator, MigratorTrait};
use sea_orm::DatabaseConnection;

use super::connect::Connector;
use super::error::OpenError;
use super::lock::Holder;
use super::runner::{self, Live, Runner};
use super::server::Lock;
use super::url::{DatabaseUrl, Place};
use super::version::{Version, version};
use super::writer::Hold;
use super::{Database, file, server};
use crate::lease::Terms;
use crate::sql::Address;

/// Between two looks at a server where others are writing, or making the tables.
const POLL: Duration = Duration::from_millis(250);

/// What a command that wants to write does about others that are writing to the same server.
#[derive(Debug, Clone, Copy)]
enum Others {
    Leave,
    Wait,
    Join,
}

/// Longest wait for who makes the tables, or writes itself into the list.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

impl Database {
    /// Opens it as the one writing command: creates what is not there (a file's folder 0700, the file 0600; the tables
    /// on a server), takes the lock, and brings the tables up to date. With `wait`, waits for as long as another command
    /// has it. On a server the lock is a lease on `terms`, which a thread of its own renews.
    ///
    /// # Errors
    /// [`OpenError::Held`] without `wait`; `Newer` and `Foreign` before anything is changed; `Unreachable` within
    /// seconds; `Untrusted`, `Refused`, `NetworkFileSystem`, `NotAFile`, `NotADatabase`, `NoPermission`, `NoSpace` and the rest as
    /// they say. Never `Absent` or `Outdated`.
    pub async fn open_writing(url: &DatabaseUrl, holder: &Holder, terms: Terms, wait: bool) -> Result<Self, OpenError> {
        match url.place() {
            Place::File(path) => Self::write_file(&url.to_string(), path, holder, wait).await,
            Place::Server(address) => {
                let others = if wait { Others::Wait } else { Others::Leave };
                Self::write_server(&url.to_string(), address, holder, terms, others).await
            }
        }
    }

    /// Opens a database on a server as [`Database::open_writing`] does, beside any runs of the same plan; with
    /// `accept_changes`, also beside those of another version of the plan file.
    ///
    /// # Errors
    /// [`OpenError::NoJoining`] for a file; [`OpenError::PlanChanged`]; `Held` by a run of another plan, or by a command
    /// that is no run; else as [`Database::open_writing`].
    pub async fn open_joining(
        url: &DatabaseUrl,
        holder: &Holder,
        terms: Terms,
        accept_changes: bool,
    ) -> Result<Self, OpenError> {
        match url.place() {
            Place::File(_) => Err(OpenError::NoJoining { database: url.to_string() }),
            Place::Server(address) => {
                let holder = holder.clone().accepting_changes(accept_changes);
                Self::write_server(&url.to_string(), address, &holder, terms, Others::Join).await
            }
        }
    }

    /// Opens it for looking only: takes no lock, creates nothing, works while a run is writing and after it was
    /// killed.
    ///
    /// # Errors
    /// [`OpenError::Absent`] if there is no file, or no table; `Unfinished` if there is no more than an empty file;
    /// `Outdated` if its tables are older than this version; `Newer`, `Foreign`, `Unreachable`, `Untrusted`,
    /// `Refused`, `NotADatabase`, `NotAFile`, `NoPermission` and the rest as they say. Never `Held`.
    pub async fn open_reading(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let name = url.to_string();
        let (connector, path) = match url.place() {
            Place::File(path) => {
                let path = file::existing(&name, path)?;
                (Connector::new(Place::File(path.clone()), name.clone()), Some(path))
            }
            Place::Server(address) => {
                server::probe(&name, address).await?;
                (Connector::new(url.place().clone(), name.clone()), None)
            }
        };
        let of_sql = |error| match &path {
            Some(path) => OpenError::of_sql(&name, path, error),
            None => OpenError::of_server(&name, error),
        };
        let readers = connector.reading().await.map_err(of_sql)?;
        match version(&readers).await.map_err(of_sql)? {
            Version::Current => Ok(Self::new(connector, readers, None)),
            Version::Empty if connector.is_shared() => Err(OpenError::Absent { database: name }),
            Version::Empty => Err(OpenError::Unfinished { database: name }),
            Version::Older => Err(OpenError::Outdated { database: name }),
            Version::Newer => Err(OpenError::Newer { database: name }),
            Version::Foreign => Err(OpenError::Foreign { database: name }),
        }
    }

    /// The command that is writing it at this moment, in words; none if there is none.
    ///
    /// # Errors
    /// When the lock file cannot be looked at, or the server not be asked.
    pub async fn writer(&self) -> Result<Option<String>, OpenError> {
        let name = self.name();
        match self.inner.connector.place() {
            Place::File(path) => file::writer(&name, path),
            Place::Server(_) => match runner::live(&self.inner.readers).await {
                Ok(live) => Ok(live.first().map(|live| live.holder.to_string())),
                Err(error) => Err(OpenError::of_server(&name, error)),
            },
        }
    }

    async fn write_file(name: &str, path: &Path, holder: &Holder, wait: bool) -> Result<Self, OpenError> {
        let path = file::create(name, path)?;
        let lock = file::take_lock(name, &path, holder, wait).await?;
        let connector = Connector::new(Place::File(path.clone()), name.to_owned());
        let of_sql = |error| OpenError::of_sql(name, &path, error);

        if file::beside(&path, "-journal").exists() {
            connector.roll_back().await.map_err(of_sql)?;
        }
        // Looked at through a connection that cannot write, so that a file which is not ours stays as it is.
        let readers = connector.reading().await.map_err(of_sql)?;
        file::check_sqlite(name, file::sqlite_version(&readers).await.map_err(of_sql)?)?;
        let version = version(&readers).await.map_err(of_sql)?;
        check(name, version)?;
        let connection = connector.writing().await.map_err(of_sql)?;
        if version != Version::Current {
            Migrator::up(&connection, None).await.map_err(of_sql)?;
        }
        Ok(Self::new(connector, readers, Some((connection, Hold::File(file::Kept::new(lock, path.clone()))))))
    }

    async fn write_server(
        name: &str,
        address: &Address,
        holder: &Holder,
        terms: Terms,
        others: Others,
    ) -> Result<Self, OpenError> {
        let of_sql = |error| OpenError::of_server(name, error);
        server::probe(name, address).await?;
        let connector = Connector::new(Place::Server(address.clone()), name.to_owned());
        let connection = connector.writing().await.map_err(of_sql)?;
        let (mut began, mut runner) = (Instant::now(), None);
        while runner.is_none() {
            if !server::try_lock(&connection, Lock::Runners).await.map_err(of_sql)? {
                if began.elapsed() > LOCK_PATIENCE {
                    return Err(OpenError::Held { database: name.to_owned(), holder: String::new() });
                }
                tokio::time::sleep(POLL).await;
                continue;
            }
            let entered = enter(name, &connection, &connector, holder, terms, others).await;
            // A connection that broke has given its lock back.
            let unlocked = server::unlock(&connection, Lock::Runners).await;
            match entered {
                Err(OpenError::Held { .. }) if matches!(others, Others::Wait) => tokio::time::sleep(POLL).await,
                entered => runner = Some(entered?),
            }
            unlocked.map_err(of_sql)?;
            began = Instant::now();
        }
        let readers = connector.reading().await.map_err(of_sql)?;
        Ok(Self::new(connector, readers, runner.map(|runner| (connection, Hold::Runner(runner)))))
    }
}

/// Brings the tables up to date and this process into the list of runners. Only while the lock is held.
async fn enter(
    name: &str,
    connection: &DatabaseConnection,
    connector: &Connector,
    holder: &Holder,
    terms: Terms,
    others: Others,
) -> Result<Runner, OpenError> {
    let of_sql = |error| OpenError::of_server(name, error);
    let version = version(connection).await.map_err(of_sql)?;
    check(name, version)?;
    if version != Version::Current {
        Migrator::up(connection, None).await.map_err(of_sql)?;
    }
    let live = runner::live(connection).await.map_err(of_sql)?;
    let is_alone = live.is_empty();
    for Live { holder: other, .. } in live {
        let database = name.to_owned();
        let Others::Join = others else { return Err(held(database, &other)) };
        if !holder.may_join(&other) {
            return Err(held(database, &other));
        }
        if !holder.may_differ_from(&other) {
            return Err(OpenError::PlanChanged { database, holder: Box::new(other) });
        }
    }
    Runner::enter(connection, connector, holder, terms, is_alone).await.map_err(of_sql)
}

fn held(database: String, holder: &Holder) -> OpenError {
    let holder = serde_json::to_string(holder).expect("texts and a number are JSON");
    OpenError::Held { database, holder }
}

/// Refuses what this version must not change.
fn check(name: &str, version: Version) -> Result<(), OpenError> {
    match version {
        Version::Current | Version::Empty | Version::Older => Ok(()),
        Version::Newer => Err(OpenError::Newer { database: name.to_owned() }),
        Version::Foreign => Err(OpenError::Foreign { database: name.to_owned() }),
    }
}
