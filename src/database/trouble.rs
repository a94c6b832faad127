//! What databases answer instead, told apart by what is to be done about it.

use sea_orm::sqlx;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{DbErr, RuntimeErr};

use crate::sql::Distrust;

/// Errors, as far as they make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another program has the file locked.
    Busy,
    /// Another transaction was in the way, and this one was undone: the same again, soon.
    Contended,
    Full,
    Io,
    CannotOpen,
    NotADatabase,
    ReadOnly,
    /// A journal of a killed process, which only a connection that may write can undo. Only a database that has no WAL
    /// yet has one.
    Unfinished,
    /// The connection, the pool or its thread is gone, or the server is on its way down or up: what was under way is
    /// undone, or done without our hearing of it.
    Gone,
    /// No trusted connection can be had.
    Untrusted,
    /// This user may not.
    NotAllowed,
    NoSuchDatabase,
    Other,
}

/// Why the server is not trusted, if that is what is wrong.
pub(super) fn distrust(error: &DbErr) -> Option<Distrust> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Distrust::of(error),
        _ => None,
    }
}

pub(super) fn trouble(error: &DbErr) -> Trouble {
    let (DbErr::Conn(RuntimeErr::SqlxError(error))
    | DbErr::Exec(RuntimeErr::SqlxError(error))
    | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return if matches!(error, DbErr::ConnectionAcquire(_)) { Trouble::Gone } else { Trouble::Other };
    };
    if Distrust::of(error).is_some() {
        return Trouble::Untrusted;
    }
    match &**error {
        sqlx::Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                of_mysql(error.number())
            } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                of_postgres(error.code())
            } else {
                error.code().and_then(|code| code.parse().ok()).map_or(Trouble::Other, of_sqlite)
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => Trouble::Gone,
        _ => Trouble::Other,
    }
}

/// <https://www.sqlite.org/rescode.html>; the low byte is the primary code.
fn of_sqlite(code: u32) -> Trouble {
    // A full disk shows itself so where SQLite grows the `-shm` file.
    const IOERR_SHMSIZE: u32 = 4874;
    const READONLY_ROLLBACK: u32 = 776;
    match (code, code & 0xff) {
        (IOERR_SHMSIZE, _) | (_, 13) => Trouble::Full,
        (READONLY_ROLLBACK, _) => Trouble::Unfinished,
        (_, 5 | 6) => Trouble::Busy,
        (_, 10) => Trouble::Io,
        (_, 3 | 14 | 23) => Trouble::CannotOpen,
        (_, 11 | 26) => Trouble::NotADatabase,
        (_, 8) => Trouble::ReadOnly,
        _ => Trouble::Other,
    }
}

/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>, which has `MySQL`'s numbers.
const fn of_mysql(number: u16) -> Trouble {
    match number {
        // Too many connections, shutting down, killed, not in the cluster at the moment, took too long.
        1040 | 1047 | 1053 | 1077..=1080 | 1152 | 1158..=1161 | 1203 | 1226 | 1317 | 1927 | 1969 | 3024 | 4031 => {
            Trouble::Gone
        }
        // Lock wait timeout, deadlock, and what a cluster says when two nodes wrote one row.
        1020 | 1205 | 1213 => Trouble::Contended,
        1021 | 1114 => Trouble::Full,
        1290 | 1792 | 1836 => Trouble::ReadOnly,
        1049 => Trouble::NoSuchDatabase,
        1044 | 1045 | 1142 | 1143 | 1227 | 1698 => Trouble::NotAllowed,
        _ => Trouble::Other,
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_postgres(state: &str) -> Trouble {
    match state {
        "40001" | "40P01" | "55P03" => Trouble::Contended,
        "53100" => Trouble::Full,
        "25006" => Trouble::ReadOnly,
        "3D000" => Trouble::NoSuchDatabase,
        "42501" => Trouble::NotAllowed,
        // A transaction that the server ended because it idled: the connection is gone with it.
        "25P03" => Trouble::Gone,
        _ if state.starts_with("28") => Trouble::NotAllowed,
        _ if ["08", "53", "57", "58"].iter().any(|class| state.starts_with(class)) => Trouble::Gone,
        _ => Trouble::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_count_as_their_primary_ones() {
        assert_eq!(of_sqlite(5), Trouble::Busy);
        assert_eq!(of_sqlite(517), Trouble::Busy); // BUSY_SNAPSHOT
        assert_eq!(of_sqlite(1034), Trouble::Io); // IOERR_FSYNC
        assert_eq!(of_sqlite(4874), Trouble::Full);
        assert_eq!(of_sqlite(1555), Trouble::Other); // CONSTRAINT_PRIMARYKEY
    }

    #[test]
    fn what_servers_say_is_told_apart() {
        for (number, trouble) in
            [(1213, Trouble::Contended), (1053, Trouble::Gone), (1062, Trouble::Other), (1049, Trouble::NoSuchDatabase)]
        {
            assert_eq!(of_mysql(number), trouble, "{number}");
        }
        for (state, trouble) in [
            ("40001", Trouble::Contended),
            ("57P01", Trouble::Gone),
            ("53300", Trouble::Gone),
            ("53100", Trouble::Full),
            ("23505", Trouble::Other),
            ("28P01", Trouble::NotAllowed),
        ] {
            assert_eq!(of_postgres(state), trouble, "{state}");
        }
    }
}
