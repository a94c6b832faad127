//! Opening: the file, the lock, the file system, the version of the tables.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use migrations::{Migrator, MigratorTrait};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

use super::Database;
use super::connect::Connector;
use super::error::OpenError;
use super::lock::{Holder, Taken, WriterLock};
use super::url::DatabaseUrl;

/// The oldest `SQLite` that is trusted. Before it, a WAL reset at the wrong instant could lose committed transactions
/// when two connections wrote or checkpointed at once (the "WAL-reset bug", <https://www.sqlite.org/wal.html>).
pub const SQLITE_MIN: &str = "3.51.3";

/// Between two looks at a lock that is held.
const LOCK_POLL: Duration = Duration::from_millis(500);

impl Database {
    /// Opens it as the one writing command: creates what is not there (folder 0700, file 0600), takes the lock, and
    /// brings the tables up to date. With `wait`, waits for as long as another command holds the lock.
    ///
    /// # Errors
    /// [`OpenError::Held`] without `wait`; `Newer` and `Foreign` before anything is changed; `NetworkFileSystem`,
    /// `NotAFile`, `NotADatabase`, `NoPermission`, `NoSpace` and the rest as they say. Never `Absent` or `Outdated`.
    pub async fn open_writing(url: &DatabaseUrl, holder: &Holder, wait: bool) -> Result<Self, OpenError> {
        let name = url.to_string();
        let path = create(&name, url.path())?;
        let lock = take_lock(&name, &path, holder, wait).await?;
        let connector = Connector::new(path.clone(), name.clone());
        let of_sql = |error| OpenError::of_sql(&name, &path, error);

        if beside(&path, "-journal").exists() {
            connector.roll_back().await.map_err(of_sql)?;
        }
        // Looked at through a connection that cannot write, so that a file which is not ours stays as it is.
        let readers = connector.reading().await.map_err(of_sql)?;
        check_sqlite(&name, sqlite_version(&readers).await.map_err(of_sql)?)?;
        let version = version(&readers).await.map_err(of_sql)?;
        match version {
            Version::Current | Version::Empty | Version::Older => {}
            Version::Newer => return Err(OpenError::Newer { database: name }),
            Version::Foreign => return Err(OpenError::Foreign { database: name }),
        }
        let connection = connector.writing().await.map_err(of_sql)?;
        if version != Version::Current {
            Migrator::up(&connection, None).await.map_err(of_sql)?;
        }
        Ok(Self::new(connector, readers, Some((connection, lock))))
    }

    /// Opens it for looking only: takes no lock, creates nothing, works while a run is writing and after it was
    /// killed.
    ///
    /// # Errors
    /// [`OpenError::Absent`] if there is no file; `Unfinished` if there is no more than that; `Outdated` if its tables are older than this version; `Newer`,
    /// `Foreign`, `NotADatabase`, `NotAFile`, `NoPermission` and the rest as they say. Never `Held`.
    pub async fn open_reading(url: &DatabaseUrl) -> Result<Self, OpenError> {
        let name = url.to_string();
        let path = match std::fs::canonicalize(url.path()) {
            Ok(path) => path,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(OpenError::Absent { database: name }),
            Err(error) => return Err(OpenError::of_io(&name, url.path(), &error)),
        };
        check_regular(&name, &path)?;
        let connector = Connector::new(path.clone(), name.clone());
        let of_sql = |error| OpenError::of_sql(&name, &path, error);

        let readers = connector.reading().await.map_err(of_sql)?;
        match version(&readers).await.map_err(of_sql)? {
            Version::Current => Ok(Self::new(connector, readers, None)),
            Version::Empty => Err(OpenError::Unfinished { database: name }),
            Version::Older => Err(OpenError::Outdated { database: name }),
            Version::Newer => Err(OpenError::Newer { database: name }),
            Version::Foreign => Err(OpenError::Foreign { database: name }),
        }
    }
}

/// Makes folder and file if they are not there, and gives the file's one true path: two links to a database must
/// lead to one lock.
fn create(name: &str, path: &Path) -> Result<PathBuf, OpenError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| OpenError::of_io(name, folder, &error))?;
    check_local(name, folder)?;
    if path.exists() {
        check_regular(name, path)?;
    }
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| OpenError::of_io(name, path, &error))?;
    let path = std::fs::canonicalize(path).map_err(|error| OpenError::of_io(name, path, &error))?;
    check_local(name, &path)?;
    Ok(path)
}

impl Database {
    /// The command that is writing a database at this moment, in words; none if there is none.
    ///
    /// # Errors
    /// When its lock file cannot be looked at.
    pub fn writer_of(url: &DatabaseUrl) -> Result<Option<String>, OpenError> {
        let name = url.to_string();
        let path = std::fs::canonicalize(url.path()).map_err(|error| OpenError::of_io(&name, url.path(), &error))?;
        let lock_path = beside(&path, ".lock");
        super::lock::holder(&lock_path).map_err(|error| OpenError::of_io(&name, &lock_path, &error))
    }
}

fn check_regular(name: &str, path: &Path) -> Result<(), OpenError> {
    let metadata = path.metadata().map_err(|error| OpenError::of_io(name, path, &error))?;
    if metadata.is_file() { Ok(()) } else { Err(OpenError::NotAFile { database: name.to_owned() }) }
}

fn check_local(name: &str, path: &Path) -> Result<(), OpenError> {
    let facts = rustix::fs::statfs(path).map_err(|error| OpenError::of_io(name, path, &error.into()))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "magic numbers have 32 bits")]
    match network_kind(facts.f_type as u32) {
        Some(kind) => Err(OpenError::NetworkFileSystem { database: name.to_owned(), kind }),
        None => Ok(()),
    }
}

/// By the magic numbers of `linux/magic.h`. FUSE passes: most of it is local, and what is not cannot be told.
const fn network_kind(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b => Some("SMB"),
        0xff53_4d42 | 0xfe53_4d42 => Some("CIFS"),
        _ => None,
    }
}

async fn take_lock(name: &str, path: &Path, holder: &Holder, wait: bool) -> Result<WriterLock, OpenError> {
    let lock_path = beside(path, ".lock");
    loop {
        match WriterLock::try_take(&lock_path, holder).map_err(|error| OpenError::of_io(name, &lock_path, &error))? {
            Taken::Ours(lock) => return Ok(lock),
            Taken::Theirs(_) if wait => tokio::time::sleep(LOCK_POLL).await,
            Taken::Theirs(holder) => return Err(OpenError::Held { database: name.to_owned(), holder }),
        }
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

fn check_sqlite(name: &str, found: String) -> Result<(), OpenError> {
    if numbers(&found) < numbers(SQLITE_MIN) {
        return Err(OpenError::SqliteTooOld { database: name.to_owned(), found });
    }
    Ok(())
}

async fn sqlite_version(connection: &DatabaseConnection) -> Result<String, DbErr> {
    let question = Query::select().expr(Func::cust("sqlite_version")).to_owned();
    let answer = connection.query_one(&question).await?;
    answer.ok_or(DbErr::RecordNotFound("sqlite_version()".to_owned()))?.try_get_by_index(0)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// Whose tables are in a database, and of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Empty,
    Older,
    Current,
    Newer,
    Foreign,
}

/// Reads only.
async fn version(connection: &DatabaseConnection) -> Result<Version, DbErr> {
    const OF_MIGRATIONS: &str = "seaql_migrations";
    const OF_OURS: &str = "plan_entries";
    let question =
        Query::select().column("name").from("sqlite_master").and_where(Expr::col("type").eq("table")).to_owned();
    let answers = connection.query_all(&question).await?;
    let tables: Vec<String> = answers.iter().map(|answer| answer.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Ok(Version::Empty);
    }
    if !has(OF_MIGRATIONS) {
        return Ok(Version::Foreign);
    }
    Ok(match Migrator::get_applied_migrations_read_only(connection).await {
        // A very first start that was cut off leaves the table of migrations alone.
        Ok(applied) if applied.is_empty() && tables.len() > 1 => Version::Foreign,
        Ok(applied) if applied.is_empty() => Version::Empty,
        Ok(applied) if applied.len() < Migrator::migrations().len() => Version::Older,
        Ok(_) => Version::Current,
        // The one way it has to say that the database knows a migration which this program does not.
        Err(DbErr::Custom(_)) => {
            if has(OF_OURS) {
                Version::Newer
            } else {
                Version::Foreign
            }
        }
        Err(error) => return Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_and_local_ones_pass() {
        assert_eq!(network_kind(0x6969), Some("NFS"));
        assert_eq!(network_kind(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_kind(0xef53), None); // ext4
        assert_eq!(network_kind(0x6573_5546), None); // FUSE
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("3.9.0") < numbers(SQLITE_MIN));
        assert!(numbers("3.51.2") < numbers(SQLITE_MIN));
        assert!(numbers("3.100.0") > numbers(SQLITE_MIN));
    }
}
