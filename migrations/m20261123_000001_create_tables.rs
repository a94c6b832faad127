//! `backups`, `parts`, `plan_entries`, `runs`. Names are spelled out here, not taken from entities: those change later.

use sea_orm_migration::prelude::{
    ColumnDef, DbErr, DeriveMigrationName, ForeignKey, ForeignKeyAction, ForeignKeyCreateStatement, Index,
    MigrationTrait, SchemaManager, Table, TableCreateStatement, async_trait::async_trait,
};
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, double_null, integer, integer_null, string_len, string_len_null, text,
    text_null,
};

use crate::tables::{create, index, long_text};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait]
impl MigrationTrait for Migration {
    /// ``SQLite`` and ``PostgreSQL`` can undo DDL, so a step that is cut off leaves nothing behind.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, backups(manager)).await?;
        create(manager, parts()).await?;
        create(manager, plan_entries()).await?;
        create(manager, runs(manager)).await?;
        let in_order = Index::create()
            .name("plan_entries_plan_position")
            .table("plan_entries")
            .col("plan")
            .col("position")
            .to_owned();
        index(manager, "plan_entries", in_order).await?;
        let of_plan = Index::create().name("runs_plan_started").table("runs").col("plan").col("started_ms").to_owned();
        index(manager, "runs", of_plan).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["plan_entries", "parts", "runs", "backups"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn backups(manager: &SchemaManager<'_>) -> TableCreateStatement {
    Table::create()
        .table("backups")
        // Trove's columns under Trove's names.
        .col(id_key("id").primary_key())
        .col(string_len("name", 255))
        .col(string_len_null("description", 512))
        .col(string_len_null("location", 1024))
        .col(string_len_null("backup_type", 255))
        .col(double_null("size"))
        .col(string_len_null("tenant_id", 255))
        .col(string_len("state", 32))
        .col(string_len_null("instance_id", 255))
        .col(string_len_null("checksum", 255))
        .col(string_len_null("backup_timestamp", 255))
        .col(boolean("deleted").default(false))
        .col(string_len_null("created", 255))
        .col(string_len_null("updated", 255))
        .col(string_len_null("deleted_at", 255))
        .col(string_len_null("parent_id", 36))
        .col(string_len_null("datastore_version_id", 255))
        .col(string_len_null("storage_driver", 255))
        // Where to and where from.
        .col(string_len("region", 255))
        .col(text("target_store"))
        .col(text("target_catalog"))
        .col(string_len("source_region", 255))
        .col(text("source_store"))
        .col(string_len_null("source_id", 255))
        .col(string_len_null("source_location", 1024))
        .col(text_null("source_etag"))
        .col(big_integer_null("bytes"))
        .col(big_integer("bytes_read").default(0))
        .col(string_len_null("datastore", 255))
        .col(string_len_null("datastore_version", 255))
        .col(string_len_null("registered_id", 255))
        // How far it is, and how that is proved.
        .col(string_len_null("sha256", 64))
        .col(string_len_null("expected_sha256", 64))
        .col(text_null("etag"))
        .col(text_null("verified"))
        .col(integer("attempt").default(0))
        .col(string_len_null("upload_token", 64))
        .col(text_null("upload_id"))
        .col(big_integer_null("part_size"))
        .col(string_len_null("record", 1024))
        .col(big_integer("claim").default(0))
        .col(string_len_null("claimed_by", 36))
        .col(string_len_null("cause", 64))
        .col(long_text(manager, "error").null())
        .col(text_null("hint"))
        .col(big_integer_null("error_ms"))
        .col(long_text(manager, "metadata").null())
        .col(big_integer("planned_ms"))
        .col(big_integer("changed_ms"))
        .col(big_integer_null("copied_ms"))
        .col(big_integer_null("completed_ms"))
        .to_owned()
}

fn parts() -> TableCreateStatement {
    Table::create()
        .table("parts")
        .col(id_key("backup_id"))
        .col(integer("number"))
        .col(big_integer("size"))
        .col(text_null("reference"))
        .col(ColumnDef::new("sha256_state").blob().not_null())
        .primary_key(Index::create().col("backup_id").col("number"))
        .foreign_key(&mut to_backups("parts").on_delete(ForeignKeyAction::Cascade).to_owned())
        .to_owned()
}

fn plan_entries() -> TableCreateStatement {
    Table::create()
        .table("plan_entries")
        .col(string_len("plan", 255))
        .col(id_key("backup_id"))
        .col(integer("position"))
        .primary_key(Index::create().col("plan").col("backup_id"))
        .foreign_key(&mut to_backups("plan_entries"))
        .to_owned()
}

fn runs(manager: &SchemaManager<'_>) -> TableCreateStatement {
    Table::create()
        .table("runs")
        .col(id_key("id").primary_key())
        .col(string_len("plan", 255))
        .col(string_len("plan_sha256", 64))
        .col(string_len("host", 255))
        .col(big_integer("pid"))
        .col(string_len("version", 64))
        .col(big_integer("started_ms"))
        .col(big_integer_null("ended_ms"))
        .col(integer_null("exit_code"))
        .col(long_text(manager, "regions").not_null())
        .col(long_text(manager, "summary").null())
        .to_owned()
}

fn id_key(name: &'static str) -> ColumnDef {
    string_len(name, 36)
}

fn to_backups(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(table, "backup_id").to("backups", "id").to_owned()
}
