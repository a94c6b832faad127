//! Which share of its plan's limits a runner has, or is about to take.

use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, Table, async_trait::async_trait,
};
use sea_orm_migration::schema::big_integer_null;

use crate::tables::column;

const COLUMNS: [&str; 2] = ["share_from", "share_until"];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in COLUMNS {
            column(manager, "runners", big_integer_null(name)).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for name in COLUMNS {
            manager.alter_table(Table::alter().table("runners").drop_column(name).to_owned()).await?;
        }
        Ok(())
    }
}
