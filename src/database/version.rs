//! Whose tables are in a database, and of when.

use migrations::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};

use super::server;

/// Whose tables are in a database, and of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Empty,
    Older,
    Current,
    Newer,
    Foreign,
}

/// What the first step of the schema makes, beside the table of steps.
const FIRST_TABLES: [&str; 4] = ["backups", "parts", "plan_entries", "runs"];

/// Reads only.
pub(super) async fn version(connection: &DatabaseConnection) -> Result<Version, DbErr> {
    const OF_MIGRATIONS: &str = "seaql_migrations";
    const OF_OURS: &str = "plan_entries";
    let question = server::tables(connection.get_database_backend());
    let answers = connection.query_all(&question).await?;
    let tables: Vec<String> = answers.iter().map(|answer| answer.try_get_by_index(0)).collect::<Result<_, _>>()?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    // `MySQL` cannot undo the tables of a first step that is cut off, or still under way.
    let is_first_step = connection.get_database_backend() == DbBackend::MySql
        && tables.iter().all(|table| table == OF_MIGRATIONS || FIRST_TABLES.contains(&table.as_str()));
    if tables.is_empty() {
        return Ok(Version::Empty);
    }
    if !has(OF_MIGRATIONS) {
        return Ok(Version::Foreign);
    }
    Ok(match Migrator::get_applied_migrations_read_only(connection).await {
        // A very first start that was cut off leaves the table of migrations alone.
        Ok(applied) if applied.is_empty() && tables.len() > 1 && !is_first_step => Version::Foreign,
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
