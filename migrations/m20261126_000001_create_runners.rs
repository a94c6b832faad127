//! `runners` and `commits`: who writes to a database on a server, until when, and how far.

use sea_orm_migration::prelude::{
    DbErr, DeriveMigrationName, Index, MigrationTrait, SchemaManager, Table, async_trait::async_trait,
};
use sea_orm_migration::schema::{big_integer, string_len, string_len_null};

use crate::tables::create;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut runners = Table::create();
        runners
            .table("runners")
            .col(string_len("id", 36).primary_key())
            .col(string_len("command", 64))
            .col(string_len_null("plan", 255))
            .col(string_len("host", 255))
            .col(big_integer("pid"))
            .col(big_integer("started_ms"))
            .col(big_integer("lease_until_ms"));
        create(manager, runners).await?;
        let mut commits = Table::create();
        commits
            .table("commits")
            .col(string_len("runner_id", 36))
            .col(big_integer("sequence"))
            .primary_key(Index::create().col("runner_id"));
        create(manager, commits).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["commits", "runners"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
