//! A database in a file: the file, its lock, its file system, the `SQLite` that reads it.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::sea_query::{Func, Query};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr};

use super::error::OpenError;
use super::lock::{Holder, Taken, WriterLock};

/// The oldest `SQLite` that is trusted. Before it, a WAL reset at the wrong instant could lose committed transactions
/// when two connections wrote or checkpointed at once (the "WAL-reset bug", <https://www.sqlite.org/wal.html>).
pub const SQLITE_MIN: &str = "3.51.3";

/// Between two looks at a lock that is held.
const LOCK_POLL: Duration = Duration::from_millis(500);

/// Makes folder and file if they are not there, and gives the file's one true path: two links to a database must
/// lead to one lock.
pub(super) fn create(name: &str, path: &Path) -> Result<PathBuf, OpenError> {
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

/// The one true path of a file that is there.
pub(super) fn existing(name: &str, path: &Path) -> Result<PathBuf, OpenError> {
    let path = match std::fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(OpenError::Absent { database: name.to_owned() });
        }
        Err(error) => return Err(OpenError::of_io(name, path, &error)),
    };
    check_regular(name, &path)?;
    Ok(path)
}

/// The command that is writing a database at this moment, in words; none if there is none.
pub(super) fn writer(name: &str, path: &Path) -> Result<Option<String>, OpenError> {
    let lock_path = beside(path, ".lock");
    super::lock::holder(&lock_path).map_err(|error| OpenError::of_io(name, &lock_path, &error))
}

/// A database's file as it was opened, and its lock.
#[derive(Debug)]
pub(super) struct Kept {
    #[expect(dead_code, reason = "held, not looked at")]
    lock: WriterLock,
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Kept {
    pub(super) fn new(lock: WriterLock, path: PathBuf) -> Self {
        Self { identity: identity(&path), lock, path }
    }

    /// Whether the file is there under its name still. What is written after it was moved away or replaced, nobody would
    /// find again; and another file there would take the WAL of this one for its own.
    pub(super) fn is_there(&self) -> bool {
        identity(&self.path) == self.identity
    }
}

/// Which file it is.
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
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

pub(super) async fn take_lock(name: &str, path: &Path, holder: &Holder, wait: bool) -> Result<WriterLock, OpenError> {
    let lock_path = beside(path, ".lock");
    loop {
        match WriterLock::try_take(&lock_path, holder).map_err(|error| OpenError::of_io(name, &lock_path, &error))? {
            Taken::Ours(lock) => return Ok(lock),
            Taken::Theirs(_) if wait => tokio::time::sleep(LOCK_POLL).await,
            Taken::Theirs(holder) => return Err(OpenError::Held { database: name.to_owned(), holder }),
        }
    }
}

pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(ending);
    beside.into()
}

pub(super) fn check_sqlite(name: &str, found: String) -> Result<(), OpenError> {
    if numbers(&found) < numbers(SQLITE_MIN) {
        return Err(OpenError::SqliteTooOld { database: name.to_owned(), found });
    }
    Ok(())
}

pub(super) async fn sqlite_version(connection: &DatabaseConnection) -> Result<String, DbErr> {
    let question = Query::select().expr(Func::cust("sqlite_version")).to_owned();
    let answer = connection.query_one(&question).await?;
    answer.ok_or(DbErr::RecordNotFound("sqlite_version()".to_owned()))?.try_get_by_index(0)
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
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
