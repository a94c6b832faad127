//! Connections to a database on a server: `PostgreSQL`, `MySQL` or `MariaDB`.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SelectStatement};
use sea_orm::sqlx::pool::PoolOptions;
use sea_orm::sqlx::{ConnectOptions, Connection, Executor, MySqlConnection, MySqlPool, PgPool};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, RuntimeErr};
use sea_orm::{SqlxMySqlConnector, SqlxPostgresConnector};

use super::error::OpenError;
use crate::sql::{Address, Kind};

/// Longest wait for a connection.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Whether a connection may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Each statement sees what is committed when it starts.
    Write,
    /// All statements of a transaction see one moment, and nothing can be changed.
    Read,
}

impl Use {
    /// What the server is told of a connection when it begins. A statement that waits for another's lock gives up
    /// before its caller does, so that it is redone and not taken for a lost connection. A runner that stands still in the
    /// middle of a transaction does not keep its rows locked for longer than the 5 s that others may take to have them.
    const fn postgres(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Write => &[
                ("default_transaction_isolation", "read committed"),
                ("default_transaction_read_only", "off"),
                ("lock_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "5s"),
            ],
            Self::Read => {
                &[("default_transaction_isolation", "repeatable read"), ("default_transaction_read_only", "on")]
            }
        }
    }

    const fn mysql(self) -> &'static [&'static str] {
        match self {
            Self::Write => &[
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
                // A text that is too long is an error, and not cut. What stands between the marks is MariaDB's alone.
                "SET SESSION innodb_lock_wait_timeout = 10, sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES') \
                 /*M!100301 , idle_transaction_timeout = 5 */",
            ],
            Self::Read => &["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"],
        }
    }
}

/// The SQL that it speaks, as `SeaORM` calls it.
pub(super) const fn backend(address: &Address) -> DbBackend {
    match address.kind() {
        Kind::MySql => DbBackend::MySql,
        Kind::Postgres => DbBackend::Postgres,
    }
}

/// Connects once, so that what is wrong is told as it is and at once; a pool would hide it behind its patience.
///
/// # Errors
/// [`OpenError`](super::OpenError) as it is to be shown, `name` the URL as shown to people.
pub(super) async fn probe(name: &str, address: &Address) -> Result<(), OpenError> {
    if let Err(source) = address.check_files() {
        return Err(OpenError::Untrusted { database: name.to_owned(), source });
    }
    let tried = async {
        match address.kind() {
            Kind::MySql => address.mysql().connect().await?.close().await,
            Kind::Postgres => address.postgres().connect().await?.close().await,
        }
    };
    let connected = match tokio::time::timeout(CONNECT_PATIENCE, tried).await {
        Ok(tried) => tried.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into()))),
        Err(_) => Err(late(CONNECT_PATIENCE)),
    };
    connected.map_err(|error| OpenError::of_server(name, error))
}

/// Of a server that did not answer.
pub(super) fn late(patience: Duration) -> DbErr {
    let text = format!("no answer within {} s", patience.as_secs());
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, text);
    DbErr::Conn(RuntimeErr::SqlxError(sea_orm::sqlx::Error::Io(error).into()))
}

/// Connections that are made when they are needed.
pub(super) fn pool(address: &Address, connections: u32, used: Use) -> DatabaseConnection {
    match address.kind() {
        Kind::MySql => {
            let session = used.mysql();
            let options = pool_options(connections).after_connect(move |connection: &mut MySqlConnection, _| {
                Box::pin(async move {
                    for statement in session {
                        connection.execute(*statement).await?;
                    }
                    Ok(())
                })
            });
            // The collation of the tables, so that indexes serve for comparisons.
            let address = address.mysql().collation("utf8mb4_bin").disable_statement_logging();
            let pool: MySqlPool = options.connect_lazy_with(address);
            SqlxMySqlConnector::from_sqlx_mysql_pool(pool)
        }
        Kind::Postgres => {
            let session = used.postgres().iter().copied();
            let address = address.postgres().options(session).disable_statement_logging();
            let pool: PgPool = pool_options(connections).connect_lazy_with(address);
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
        }
    }
}

fn pool_options<D: sea_orm::sqlx::Database>(connections: u32) -> PoolOptions<D> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Milliseconds since the epoch by the database's clock, at the instant that the statement gets to it.
pub(super) fn now(backend: DbBackend) -> Expr {
    match backend {
        DbBackend::Postgres => Expr::cust("CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
        DbBackend::Sqlite => Expr::cust("CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"),
        _ => Expr::cust("CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"),
    }
}

/// Asks the server's clock.
pub(super) async fn ask_now(connection: &impl ConnectionTrait) -> Result<i64, DbErr> {
    let question = Query::select().expr(now(connection.get_database_backend())).to_owned();
    one(connection, &question).await
}

async fn one<T: sea_orm::TryGetable>(
    connection: &impl ConnectionTrait,
    question: &SelectStatement,
) -> Result<T, DbErr> {
    let answer = connection.query_one(question).await?;
    answer.ok_or_else(|| DbErr::RecordNotFound("an answer".to_owned()))?.try_get_by_index(0)
}

/// What one process at a time may do to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Change the tables, or enter the list of runners.
    Runners,
    /// Write down what a plan wants.
    Plans,
}

impl Lock {
    /// Of `pg_advisory_lock`, which is the database's own: "backhaul", and "backplan".
    const fn postgres(self) -> i64 {
        match self {
            Self::Runners => 0x6261_636b_6861_756c,
            Self::Plans => 0x6261_636b_706c_616e,
        }
    }

    /// Locks of `MySQL` are the whole server's, and their names short.
    fn mysql(self) -> Expr {
        Expr::cust(match self {
            Self::Runners => "CONCAT('backhaul ', SHA1(DATABASE()))",
            Self::Plans => "CONCAT('backhaul plans ', SHA1(DATABASE()))",
        })
    }
}

/// How long a connection may stand still that has a lock: whoever is frozen, or gone without a word, holds up nobody for
/// longer.
pub(super) const LOCK_IDLE: Duration = Duration::from_secs(10);

/// Takes a lock, which is the connection's; whether it was free. The connection has to be used, or the lock given back,
/// within [`LOCK_IDLE`].
pub(super) async fn try_lock(connection: &impl ConnectionTrait, lock: Lock) -> Result<bool, DbErr> {
    let is_mine = if connection.get_database_backend() == DbBackend::Postgres {
        let lock = Func::cust("pg_try_advisory_lock").arg(lock.postgres());
        one(connection, &Query::select().expr(lock).to_owned()).await?
    } else {
        let lock = Func::cust("GET_LOCK").arg(lock.mysql()).arg(0);
        one::<Option<i64>>(connection, &Query::select().expr(lock).to_owned()).await? == Some(1)
    };
    if is_mine {
        limit_idling(connection, Some(LOCK_IDLE)).await?;
    }
    Ok(is_mine)
}

pub(super) async fn unlock(connection: &impl ConnectionTrait, lock: Lock) -> Result<(), DbErr> {
    let unlock = match connection.get_database_backend() {
        DbBackend::Postgres => Func::cust("pg_advisory_unlock").arg(lock.postgres()),
        _ => Func::cust("RELEASE_LOCK").arg(lock.mysql()),
    };
    connection.query_one(&Query::select().expr(unlock).to_owned()).await?;
    limit_idling(connection, None).await
}

/// The server ends the connection when it has not been used for so long; none: as long as the server likes.
async fn limit_idling(connection: &impl ConnectionTrait, limit: Option<Duration>) -> Result<(), DbErr> {
    let seconds = limit.map(|limit| limit.as_secs().to_string());
    let set = match connection.get_database_backend() {
        // Since PostgreSQL 14; before that it is not among the settings.
        DbBackend::Postgres => format!(
            "SELECT set_config(name, '{}s', false) FROM pg_settings WHERE name = 'idle_session_timeout'",
            seconds.as_deref().unwrap_or("0")
        ),
        _ => format!("SET SESSION wait_timeout = {}", seconds.as_deref().unwrap_or("DEFAULT")),
    };
    connection.execute_unprepared(&set).await.map(drop)
}

/// The names of all tables in the database; of `PostgreSQL` in the schema that new ones would come into. Views are none:
/// extensions leave some in databases that are empty, `pg_stat_statements` for one.
pub(super) fn tables(backend: DbBackend) -> SelectStatement {
    let mut question = Query::select();
    match backend {
        DbBackend::Sqlite => question.column("name").from("sqlite_master").and_where(Expr::col("type").eq("table")),
        DbBackend::Postgres => question
            .expr(Expr::col("table_name").cast_as("TEXT"))
            .from(("information_schema", "tables"))
            .and_where(Expr::col("table_schema").eq(Expr::cust("current_schema()")))
            .and_where(Expr::col("table_type").ne("VIEW")),
        _ => question
            .expr(Expr::col("table_name").cast_as("CHAR"))
            .from(("information_schema", "tables"))
            .and_where(Expr::col("table_schema").eq(Expr::cust("DATABASE()")))
            .and_where(Expr::col("table_type").ne("VIEW")),
    };
    question
}
