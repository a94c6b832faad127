//! Which version of its plan a runner works on.

use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, MigrationTrait, SchemaManager, Table, async_trait::async_trait,
};
use sea_orm_migration::schema::string_len_null;

use crate::tables::column;

const COLUMN: &str = "plan_sha256";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        column(manager, "runners", string_len_null(COLUMN, 64)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("runners").drop_column(COLUMN).to_owned()).await
    }
}
