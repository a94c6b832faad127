//! Whose a backup was in its source region, which a tenant map may change, and its datastore version by number.

use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, Table, async_trait::async_trait,
};
use sea_orm_migration::schema::string_len_null;
use sea_orm_migration::sea_orm::DbBackend;

const COLUMNS: [&str; 2] = ["source_tenant_id", "datastore_version_number"];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    /// One statement a column: ``SQLite`` takes no more.
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            // ``MySQL`` cannot undo the first where the second was cut off.
            if manager.get_database_backend() == DbBackend::MySql && manager.has_column("backups", column).await? {
                continue;
            }
            let alter = Table::alter().table("backups").add_column(string_len_null(column, 255)).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            manager.alter_table(Table::alter().table("backups").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
