//! Which share of its plan's limits a runner has, or is about to take.

use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, Table, async_trait::async_trait,
};
use sea_orm_migration::schema::big_integer_null;
use sea_orm_migration::sea_orm::DbBackend;

const COLUMNS: [&str; 2] = ["share_from", "share_until"];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            // ``MySQL`` cannot undo it where writing it down was cut off.
            let may_be_there = manager.get_database_backend() == DbBackend::MySql;
            if may_be_there && manager.has_column("runners", column).await? {
                continue;
            }
            let alter = Table::alter().table("runners").add_column(big_integer_null(column)).to_owned();
            manager.alter_table(alter).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in COLUMNS {
            manager.alter_table(Table::alter().table("runners").drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
