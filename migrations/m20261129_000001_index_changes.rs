//! What changed since a moment, which each of several runners asks every second, without reading the whole table.

use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, Index, MigrationTrait, SchemaManager, async_trait::async_trait,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::tables::index;

const NAME: &str = "backups_changed";

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    /// Nobody shares a file: there it would only make each write dearer.
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let by_change = Index::create().name(NAME).table("backups").col("changed_ms").to_owned();
        index(manager, "backups", by_change).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        manager.drop_index(Index::drop().name(NAME).table("backups").to_owned()).await
    }
}
