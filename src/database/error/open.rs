//! Why a database could not be opened.

use std::path::PathBuf;

use sea_orm::DbErr;

use super::GRANTS;
use crate::database::lock::Holder;
use crate::database::trouble::{Trouble, distrust, trouble};
use crate::sql::Distrust;

const PLAN_CHANGED: &str = "start it when that run has ended; or add --accept-changes: each goes on with its own version, \
                            and the plan is what the newest says";

/// Why a database could not be opened. `database` is its URL as shown to people.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Opened for reading, and there is no such file, or no table on the server.
    #[error("there is no database of Backhaul's at `{database}`")]
    Absent {
        /// The URL.
        database: String,
    },
    /// Another command is writing to it.
    #[error("the database `{database}` is in use by {}", Holder::describe(.holder))]
    Held {
        /// The URL.
        database: String,
        /// What the lock file says, as written there; empty if its writer had no time yet.
        holder: String,
    },
    /// A run wants to join others, and it is a file.
    #[error("the database `{database}` is a file, which one run at a time may write: nobody can join it")]
    NoJoining {
        /// The URL.
        database: String,
    },
    /// A run wants to join one that works on another version of the plan file.
    #[error("the plan file is not the one that {holder} works on")]
    PlanChanged {
        /// The URL.
        database: String,
        /// Who works on the other version.
        holder: Box<Holder>,
    },
    /// Opened for reading, and it has no tables: the process that was making it was killed.
    #[error("the database `{database}` was never finished: the run that was making it was killed")]
    Unfinished {
        /// The URL.
        database: String,
    },
    /// Opened for reading, and it lacks tables or columns of this version: each migration is whole, but a first run may
    /// die between two of them, which looks like the work of an older version.
    #[error("the database `{database}` was written by an older Backhaul, or by a run killed while making it")]
    Outdated {
        /// The URL.
        database: String,
    },
    /// Its tables are those of a newer version.
    #[error("the database `{database}` was written by a newer Backhaul")]
    Newer {
        /// The URL.
        database: String,
    },
    /// Nobody answers there, or not yet.
    #[error("the database `{database}` cannot be reached")]
    Unreachable {
        /// The URL.
        database: String,
        /// What was said instead, if anything.
        #[source]
        source: DbErr,
    },
    /// Somebody answers there who does not prove to be the server. No password was sent.
    #[error("the database `{database}` cannot be trusted")]
    Untrusted {
        /// The URL.
        database: String,
        /// Why.
        #[source]
        source: Distrust,
    },
    /// The server does not let this user in, or not do what is needed.
    #[error("the database `{database}` refuses")]
    Refused {
        /// The URL.
        database: String,
        /// The server's own words.
        #[source]
        source: DbErr,
        /// What would help.
        hint: &'static str,
    },
    /// A file, but not one of `SQLite`; or a damaged one.
    #[error("`{database}` is not an SQLite database, or is damaged")]
    NotADatabase {
        /// The URL.
        database: String,
    },
    /// A database of some other program.
    #[error("`{database}` is a database, but not one of Backhaul's")]
    Foreign {
        /// The URL.
        database: String,
    },
    /// A folder, a device, a pipe.
    #[error("`{database}` is not a regular file")]
    NotAFile {
        /// The URL.
        database: String,
    },
    /// NFS, CIFS or SMB, where `SQLite`'s locks cannot be trusted.
    #[error("the database `{database}` lies on a network file system ({kind})")]
    NetworkFileSystem {
        /// The URL.
        database: String,
        /// Its kind.
        kind: &'static str,
    },
    /// The file, its folder, or one of the files beside it may not be read or written.
    #[error("no permission for `{path}` of the database `{database}`")]
    NoPermission {
        /// The URL.
        database: String,
        /// The file or folder.
        path: PathBuf,
    },
    /// The file system is full.
    #[error("no space left for the database `{database}`")]
    NoSpace {
        /// The URL.
        database: String,
    },
    /// The `SQLite` library that was linked has a bug that loses data.
    #[error(
        "SQLite {found} cannot be trusted with the database `{database}`: at least {} is needed",
        crate::database::SQLITE_MIN
    )]
    SqliteTooOld {
        /// The URL.
        database: String,
        /// Its version.
        found: String,
    },
    /// Any other system error.
    #[error("cannot open `{path}` of the database `{database}`: {message}")]
    Io {
        /// The URL.
        database: String,
        /// The file or folder.
        path: PathBuf,
        /// The system's own text.
        message: String,
    },
    /// Any other `SQLite` error.
    #[error("cannot open the database `{database}`")]
    Sql {
        /// The URL.
        database: String,
        /// What `SQLite` said.
        #[source]
        source: DbErr,
    },
}

impl OpenError {
    /// The next command or edit, if there is a good one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Absent { .. } => "`backhaul run PLAN` creates it; `--database URL` names another one",
            Self::Held { .. } => "reading commands such as `backhaul status` work meanwhile",
            Self::NoJoining { .. } => {
                "name a PostgreSQL or MySQL database with `--database URL`, or write `if_running: wait`"
            }
            Self::PlanChanged { .. } => PLAN_CHANGED,
            Self::Unfinished { .. } => "`backhaul run PLAN` finishes it",
            Self::Outdated { .. } => "`backhaul run PLAN` brings it up to date",
            Self::Newer { .. } => "use the newer version, or another database with `--database URL`",
            Self::NotADatabase { .. } | Self::Foreign { .. } | Self::NotAFile { .. } => {
                "name another one with `--database URL`; this one was not touched"
            }
            Self::NetworkFileSystem { .. } => "name a file on a local disk with `--database URL`",
            Self::NoPermission { .. } => "the file, its folder and `-wal`, `-shm` and `.lock` beside it must be yours",
            Self::NoSpace { .. } => "free some space and run the same command again",
            Self::SqliteTooOld { .. } => "build Backhaul with the SQLite that it brings",
            Self::Unreachable { .. } => "nothing was touched; run the same command again when it answers",
            Self::Untrusted { source, .. } => return source.hint(),
            Self::Refused { hint, .. } => hint,
            Self::Io { .. } | Self::Sql { .. } => return None,
        })
    }

    pub(in crate::database) fn of_io(database: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let (database, path) = (database.to_owned(), path.to_owned());
        match error.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::NoPermission { database, path },
            Kind::StorageFull | Kind::QuotaExceeded => Self::NoSpace { database },
            Kind::IsADirectory | Kind::NotADirectory => Self::NotAFile { database },
            _ => Self::Io { database, path, message: error.to_string() },
        }
    }

    pub(in crate::database) fn of_sql(database: &str, path: &std::path::Path, source: DbErr) -> Self {
        let (database, path) = (database.to_owned(), path.to_owned());
        match trouble(&source) {
            Trouble::NotADatabase => Self::NotADatabase { database },
            Trouble::Unfinished => Self::Unfinished { database },
            Trouble::CannotOpen | Trouble::ReadOnly => Self::NoPermission { database, path },
            Trouble::Full => Self::NoSpace { database },
            _ => Self::Sql { database, source },
        }
    }

    pub(in crate::database) fn of_server(database: &str, source: DbErr) -> Self {
        let database = database.to_owned();
        if let Some(source) = distrust(&source) {
            return Self::Untrusted { database, source };
        }
        match trouble(&source) {
            Trouble::Gone | Trouble::Contended => Self::Unreachable { database, source },
            Trouble::ReadOnly => Self::Refused { database, source, hint: "is it a replica? name the primary" },
            Trouble::NotAllowed => Self::Refused { database, source, hint: GRANTS },
            Trouble::NoSuchDatabase => {
                Self::Refused { database, source, hint: "create it first; Backhaul makes its tables" }
            }
            Trouble::Full => Self::NoSpace { database },
            _ => Self::Sql { database, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_system_find_their_variant() {
        let of = |kind: std::io::ErrorKind| OpenError::of_io("sqlite://x.db", "x.db".as_ref(), &kind.into());
        assert!(matches!(of(std::io::ErrorKind::StorageFull), OpenError::NoSpace { .. }));
        assert!(matches!(of(std::io::ErrorKind::PermissionDenied), OpenError::NoPermission { .. }));
        assert_eq!(
            of(std::io::ErrorKind::TimedOut).to_string(),
            "cannot open `x.db` of the database `sqlite://x.db`: timed out"
        );
    }
}
