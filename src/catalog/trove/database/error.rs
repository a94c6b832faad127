//! What a Trove database answers instead, by what is to be done about it.

use sea_orm::sqlx;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use crate::failure::{Cause, Failure};
use crate::sql::Distrust;

/// Why a statement, a transaction or a connection did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection, or it broke off; what was under way is undone, or done without our hearing of it.
    Unreachable,
    /// Another transaction was in the way: the same again, soon.
    Contention,
    /// A row with that key is there.
    Duplicate,
    /// The disk of the server is full.
    Full,
    /// A row that this one refers to is not there.
    Reference,
    /// Permission, no such table, no trust: another try will not help.
    Refused,
}

/// An error of the database, its text without anything secret.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    pub(super) text: String,
    hint: Option<&'static str>,
}

const GRANTS: &str = "the user needs SELECT on backups, datastores, datastore_versions, quotas and quota_usages, and \
                      to register also INSERT on backups and INSERT, UPDATE on quota_usages";

impl Trouble {
    pub(super) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hint: None }
    }

    const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// The same with what the user must be allowed to do.
    pub(super) const fn grants(self) -> Self {
        self.hint(GRANTS)
    }

    pub(super) fn of(error: &DbErr) -> Self {
        match error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => {
                Self::new(Kind::Unreachable, "no free connection in time")
            }
            DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) => {
                Self::new(Kind::Unreachable, "the connection was closed")
            }
            DbErr::Conn(RuntimeErr::SqlxError(error))
            | DbErr::Exec(RuntimeErr::SqlxError(error))
            | DbErr::Query(RuntimeErr::SqlxError(error)) => Self::of_sqlx(error),
            other => Self::new(Kind::Refused, other.to_string()),
        }
    }

    pub(super) fn of_distrust(distrust: &Distrust) -> Self {
        Self { kind: Kind::Refused, text: format!("no trusted connection: {distrust}"), hint: distrust.hint() }
    }

    pub(super) fn of_sqlx(error: &sqlx::Error) -> Self {
        if let Some(distrust) = Distrust::of(error) {
            return Self::of_distrust(&distrust);
        }
        match error {
            // The library's own words for it count bytes.
            sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::new(Kind::Unreachable, "the connection broke off")
            }
            sqlx::Error::Io(error) => Self::new(Kind::Unreachable, error.to_string()),
            sqlx::Error::PoolTimedOut => Self::new(Kind::Unreachable, "no connection in time"),
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
                Self::new(Kind::Unreachable, error.to_string())
            }
            sqlx::Error::Database(answer) => {
                let number = answer.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number);
                let text = match number {
                    Some(number) => format!("{} (error {number})", answer.message()),
                    None => format!("{} (SQLSTATE {})", answer.message(), answer.code().unwrap_or_default()),
                };
                match number {
                    Some(number) => Self::of_mysql(number, text),
                    None => Self::of_postgres(&answer.code().unwrap_or_default(), text),
                }
            }
            // The text of a configuration error may be the URL.
            sqlx::Error::Configuration(_) => {
                Self::new(Kind::Refused, "the connection cannot be set up as the URL says")
            }
            other => Self::new(Kind::Refused, other.to_string()),
        }
    }

    fn of_mysql(number: u16, text: String) -> Self {
        match number {
            // Too many connections, shutting down, killed, not in the cluster at the moment, took too long.
            1040 | 1047 | 1053 | 1080 | 1152 | 1203 | 1226 | 1317 | 1927 | 1969 | 3024 => {
                Self::new(Kind::Unreachable, text)
            }
            // Lock wait timeout, deadlock, and what a cluster says when two nodes wrote one row.
            1020 | 1205 | 1213 => Self::new(Kind::Contention, text),
            1062 => Self::new(Kind::Duplicate, text),
            1021 | 1114 => Self::new(Kind::Full, text),
            1216 | 1452 => Self::new(Kind::Reference, text),
            1044 | 1045 | 1142 | 1143 | 1227 | 1698 => Self::new(Kind::Refused, text).hint(GRANTS),
            1290 | 1792 | 1836 => Self::new(Kind::Refused, text).hint("is it a replica? name the primary"),
            _ => Self::new(Kind::Refused, text),
        }
    }

    fn of_postgres(state: &str, text: String) -> Self {
        match state {
            "40001" | "40P01" | "55P03" => Self::new(Kind::Contention, text),
            "23505" => Self::new(Kind::Duplicate, text),
            "23503" => Self::new(Kind::Reference, text),
            "53100" => Self::new(Kind::Full, text),
            "25006" => Self::new(Kind::Refused, text).hint("is it a replica? name the primary"),
            "42501" => Self::new(Kind::Refused, text).hint(GRANTS),
            state if state.starts_with("28") => Self::new(Kind::Refused, text).hint(GRANTS),
            state if ["08", "53", "57"].iter().any(|class| state.starts_with(class)) => {
                Self::new(Kind::Unreachable, text)
            }
            _ => Self::new(Kind::Refused, text),
        }
    }

    /// The failure of whoever wanted to read.
    pub(super) fn of_reading(self, database: &str) -> Failure {
        let cause = match self.kind {
            Kind::Unreachable => Cause::Unreachable,
            Kind::Contention | Kind::Full => Cause::SourceError,
            Kind::Duplicate | Kind::Reference | Kind::Refused => Cause::SourceUnreadable,
        };
        self.failure(cause, &format!("cannot read Trove's database {database}"))
    }

    /// The failure of whoever wanted to write.
    pub(super) fn of_writing(self, database: &str) -> Failure {
        let cause = match self.kind {
            Kind::Unreachable => Cause::Unreachable,
            Kind::Contention => Cause::TargetError,
            Kind::Full => Cause::NoSpace,
            Kind::Duplicate => Cause::RecordConflict,
            Kind::Reference => Cause::NoCounterpart,
            Kind::Refused => Cause::TargetUnwritable,
        };
        self.failure(cause, &format!("cannot register in Trove's database {database}"))
    }

    fn failure(self, cause: Cause, what: &str) -> Failure {
        Failure { cause, message: format!("{what}: {}", self.text), hint: self.hint.map(str::to_owned) }
    }
}
