//! What the tables have in common on all databases.

use sea_orm_migration::prelude::{
    ColumnDef, ColumnType, DbErr, IndexCreateStatement, IntoIden, SchemaManager, Table, TableCreateStatement,
};
use sea_orm_migration::sea_orm::DbBackend;

/// Creates a table; on `MySQL`, which commits each statement that changes tables, one that is not there yet: a step that
/// was cut off goes on. Texts are compared by their bytes.
pub(crate) async fn create(manager: &SchemaManager<'_>, mut table: TableCreateStatement) -> Result<(), DbErr> {
    if manager.get_database_backend() == DbBackend::MySql {
        table.if_not_exists().engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
    }
    manager.create_table(table).await
}

/// The same for an index.
pub(crate) async fn index(manager: &SchemaManager<'_>, table: &str, index: IndexCreateStatement) -> Result<(), DbErr> {
    let name = index.get_index_spec().get_name().unwrap_or_default();
    if manager.get_database_backend() == DbBackend::MySql && manager.has_index(table, name).await? {
        return Ok(());
    }
    manager.create_index(index).await
}

/// The same for a column of a table that is there.
pub(crate) async fn column(manager: &SchemaManager<'_>, table: &'static str, column: ColumnDef) -> Result<(), DbErr> {
    let name = column.get_column_name();
    if manager.get_database_backend() == DbBackend::MySql && manager.has_column(table, name).await? {
        return Ok(());
    }
    manager.alter_table(Table::alter().table(table).add_column(column).to_owned()).await
}

/// A text of any length; `TEXT` of `MySQL` ends at 64 KiB.
pub(crate) fn long_text(manager: &SchemaManager<'_>, name: impl IntoIden) -> ColumnDef {
    if manager.get_database_backend() == DbBackend::MySql {
        ColumnDef::new_with_type(name, ColumnType::custom("longtext"))
    } else {
        ColumnDef::new_with_type(name, ColumnType::Text)
    }
}
