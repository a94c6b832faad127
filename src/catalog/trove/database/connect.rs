//! Connections to a Trove database, every wait of theirs bounded.

use std::future::Future;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, Func, Query, SelectStatement};
use sea_orm::sqlx::{ConnectOptions, Connection, MySqlPool, PgPool, pool::PoolOptions};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, SqlxMySqlConnector, SqlxPostgresConnector};

use super::error::{self, Trouble};
use crate::sql::{Address, Kind};

/// Longest wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Longest wait for the answer to a statement, a lock's holder included.
const STATEMENT_PATIENCE: Duration = Duration::from_secs(30);

/// More than a run registers at a time, so that nobody waits for one.
const CONNECTIONS: u32 = 10;

/// What the tables of a Trove have; older ones have less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Schema {
    /// `backups.storage_driver`, since Trove 23.
    pub(super) storage_driver: bool,
    /// `datastore_versions.version`.
    pub(super) version_number: bool,
    /// Whether texts hold no characters of four bytes (`utf8mb3`).
    pub(super) narrow: bool,
}

/// Connects once, so that what is wrong is told as it is and at once; a pool would hide it behind its patience.
pub(super) async fn connect(address: &Address) -> Result<DatabaseConnection, Trouble> {
    address.check_files().map_err(|distrust| Trouble::of_distrust(&distrust))?;
    let tried = async {
        match address.kind() {
            Kind::MySql => address.mysql().connect().await?.close().await,
            Kind::Postgres => address.postgres().connect().await?.close().await,
        }
    };
    match tokio::time::timeout(CONNECT_PATIENCE, tried).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Trouble::of_sqlx(&error)),
        Err(_) => return Err(late(CONNECT_PATIENCE)),
    }
    Ok(match address.kind() {
        Kind::MySql => {
            let pool: MySqlPool = pool().connect_lazy_with(address.mysql().disable_statement_logging());
            SqlxMySqlConnector::from_sqlx_mysql_pool(pool)
        }
        Kind::Postgres => {
            let pool: PgPool = pool().connect_lazy_with(address.postgres().disable_statement_logging());
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
        }
    })
}

fn pool<D: sea_orm::sqlx::Database>() -> PoolOptions<D> {
    PoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_PATIENCE)
}

/// A statement's answer, or the trouble that there is none in time.
pub(super) async fn within<T>(answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, Trouble> {
    match tokio::time::timeout(STATEMENT_PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
        Err(_) => Err(late(STATEMENT_PATIENCE)),
    }
}

fn late(patience: Duration) -> Trouble {
    Trouble::new(error::Kind::Unreachable, format!("no answer within {} s", patience.as_secs()))
}

/// Looks up what the tables have.
pub(super) async fn schema(connection: &DatabaseConnection, kind: Kind) -> Result<Schema, Trouble> {
    let mut schema = Schema::default();
    let mut tables = 0;
    for row in within(connection.query_all(&columns(kind))).await? {
        let text = |at| row.try_get_by_index::<Option<String>>(at).map_err(|error| Trouble::of(&error));
        let (table, column, charset) = (text(0)?, text(1)?, text(2)?);
        match (table.as_deref().unwrap_or_default(), column.as_deref().unwrap_or_default()) {
            ("backups", "id") => tables += 1,
            ("backups", "name") => {
                schema.narrow = charset.as_deref().is_some_and(|charset| charset == "utf8" || charset == "utf8mb3");
            }
            ("backups", "storage_driver") => schema.storage_driver = true,
            ("datastore_versions", "version") => schema.version_number = true,
            _ => {}
        }
    }
    if tables == 0 {
        let text = "it has no table `backups`, or the user may not read it";
        return Err(Trouble::new(error::Kind::Refused, text).grants());
    }
    Ok(schema)
}

fn columns(kind: Kind) -> SelectStatement {
    let here = match kind {
        Kind::MySql => "DATABASE",
        Kind::Postgres => "current_schema",
    };
    let as_text = |column: &'static str| match kind {
        Kind::MySql => Expr::col(column).cast_as("CHAR(64)"),
        Kind::Postgres => Expr::col(column).cast_as("VARCHAR"),
    };
    Query::select()
        .expr(as_text("table_name"))
        .expr(as_text("column_name"))
        .expr(as_text("character_set_name"))
        .from(("information_schema", "columns"))
        .and_where(Expr::col("table_schema").eq(Func::cust(here)))
        .and_where(Expr::col("table_name").is_in(["backups", "datastore_versions"]))
        .to_owned()
}
