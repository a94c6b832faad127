//! What can go wrong with the database, in words, with hints.

mod open;

use sea_orm::DbErr;
use uuid::Uuid;

pub use self::open::OpenError;
use super::trouble::{Trouble, trouble};
use crate::state::State;

/// What to do about a server that does not let its user do what is needed.
const GRANTS: &str = "the user needs SELECT, INSERT, UPDATE and DELETE on Backhaul's tables, and CREATE for the first run \
                      and after an upgrade";

/// Why a read or a write failed. Nothing of a failed write was reported as done; see [`DatabaseError::Io`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// A caller asked for a change of state that no row may make: a fault of Backhaul itself. No SQL was run.
    #[error("backup `{id}` cannot go from {from} to {to}")]
    Illegal {
        /// The row.
        id: Uuid,
        /// As the caller had it.
        from: State,
        /// As the caller wanted it.
        to: State,
    },
    /// A value that this version does not know: written by another version, or by hand.
    #[error("backup `{id}` has `{value}` in column `{column}`, which this version of Backhaul does not understand")]
    Unreadable {
        /// The row, as in the database.
        id: String,
        /// The column.
        column: String,
        /// What it holds.
        value: String,
    },
    /// The file system of the database is full. Nothing was written; later writes may succeed.
    #[error("no space left for the database `{database}`")]
    NoSpace {
        /// The URL.
        database: String,
    },
    /// The device failed. The write may or may not be there after a restart, and **every later write through this
    /// [`Database`](super::Database) fails with the same error**: after a failed fsync nothing can be trusted.
    #[error("the disk of the database `{database}` failed: {message}")]
    Io {
        /// The URL.
        database: String,
        /// `SQLite`'s own text.
        message: String,
    },
    /// Another program held the database's lock through all tries.
    #[error("the database `{database}` is locked by another program")]
    Busy {
        /// The URL.
        database: String,
    },
    /// Rows that others were writing could not be had through all tries.
    #[error("others kept writing the same rows of the database `{database}`")]
    Contended {
        /// The URL.
        database: String,
        /// What the server said.
        #[source]
        source: DbErr,
    },
    /// The server takes no writes: it is a replica, or was made to.
    #[error("the database `{database}` takes no writes")]
    ReadOnly {
        /// The URL.
        database: String,
        /// What the server said.
        #[source]
        source: DbErr,
    },
    /// The server does not let this user do what is needed.
    #[error("the database `{database}` refuses")]
    Denied {
        /// The URL.
        database: String,
        /// What the server said.
        #[source]
        source: DbErr,
    },
    /// The lease of this process may have ended, so others may have its work. Every later write fails with the same.
    #[error("the lease on the database `{database}` ended: it was not renewed in time")]
    LeaseEnded {
        /// The URL.
        database: String,
    },
    /// It does not know what it has confirmed: a replica that was behind took over, or rows were removed by hand. Every
    /// later write fails with the same.
    #[error("the database `{database}` has forgotten what it had confirmed")]
    WentBack {
        /// The URL.
        database: String,
    },
    /// Its file was moved away, removed or replaced while it was in use. Every later write fails with the same.
    #[error("the file of the database `{database}` was moved away or replaced while it was in use")]
    Replaced {
        /// The URL.
        database: String,
    },
    /// The file cannot be opened any more, or is not what it was; or no answer of the server through all tries.
    #[error("the database `{database}` cannot be reached")]
    Unreachable {
        /// The URL.
        database: String,
        /// What `SQLite` said.
        #[source]
        source: DbErr,
    },
    /// A write to a database that is open for reading, or is closed already.
    #[error("the database `{database}` is not open for writing")]
    NotWriting {
        /// The URL.
        database: String,
    },
    /// Any other refusal.
    #[error("the database `{database}` refused a statement")]
    Sql {
        /// The URL.
        database: String,
        /// What `SQLite` said.
        #[source]
        source: DbErr,
    },
}

impl DatabaseError {
    /// Whether the database itself is out of reach, so that no step can go on (a full disk is not: space may come).
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::Busy { .. }
                | Self::Unreachable { .. }
                | Self::Contended { .. }
                | Self::ReadOnly { .. }
                | Self::Denied { .. }
                | Self::LeaseEnded { .. }
                | Self::WentBack { .. }
                | Self::Replaced { .. }
        )
    }

    /// Whether the same may succeed in a while: nothing of it was done.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Contended { .. } | Self::ReadOnly { .. })
    }

    /// The next command or edit, if there is a good one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreadable { .. } => Some("use the version that wrote the row, or remove what was edited by hand"),
            Self::NoSpace { .. } => Some("free some space and run the same command again; it goes on"),
            Self::Io { .. } => Some("look at the disk, then run the same command again; it goes on"),
            Self::Busy { .. } => Some("end the program that has the file open, such as an `sqlite3` shell"),
            Self::LeaseEnded { .. } => Some("run the same command again; it goes on where others do not"),
            Self::WentBack { .. } => {
                Some("look at the server, then run the same command again; copies are looked at anew")
            }
            Self::Replaced { .. } => {
                Some("put it back, if there is a reason, and run the same command again; copies are looked at anew")
            }
            Self::ReadOnly { .. } => Some("is it a replica? name the primary"),
            Self::Denied { .. } => Some(GRANTS),
            _ => None,
        }
    }

    pub(super) fn of_sql(database: &str, source: DbErr) -> Self {
        let database = database.to_owned();
        match trouble(&source) {
            Trouble::Full => Self::NoSpace { database },
            Trouble::Io => Self::Io { database, message: source.to_string() },
            Trouble::Busy => Self::Busy { database },
            // Who took over with another certificate is not the server, which may come back.
            Trouble::CannotOpen | Trouble::NotADatabase | Trouble::Gone | Trouble::Untrusted => {
                Self::Unreachable { database, source }
            }
            Trouble::Contended => Self::Contended { database, source },
            Trouble::ReadOnly => Self::ReadOnly { database, source },
            Trouble::NotAllowed => Self::Denied { database, source },
            Trouble::Unfinished | Trouble::NoSuchDatabase | Trouble::Other => Self::Sql { database, source },
        }
    }

    /// Whether the statement itself was refused, rather than the whole database failing.
    pub(super) fn is_of_statement(&self) -> bool {
        matches!(self, Self::Sql { .. })
    }
}
