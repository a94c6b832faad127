//! The cells of one result of a query, each as what it means.

use std::collections::BTreeMap;
use std::str::FromStr;

use sea_orm::{QueryResult, TryGetable};

use super::entity::backups::Column;
use super::error::DatabaseError;

/// The cells of one result. By position, which is three times as fast as by name.
pub(super) struct Cells<'a> {
    database: &'a str,
    result: &'a QueryResult,
    /// The columns it has; empty if it has all of them, in the table's order.
    columns: &'a [Column],
}

impl<'a> Cells<'a> {
    pub(super) const fn of(database: &'a str, result: &'a QueryResult, columns: &'a [Column]) -> Self {
        Self { database, result, columns }
    }

    pub(super) fn get<T: TryGetable>(&self, column: Column) -> Result<T, DatabaseError> {
        let position = self.columns.iter().position(|have| *have as usize == column as usize);
        let position = position.unwrap_or(column as usize);
        self.result.try_get_by_index(position).map_err(|error| DatabaseError::of_sql(self.database, error))
    }

    pub(super) fn parsed<T: FromStr>(&self, column: Column) -> Result<T, DatabaseError> {
        let text: String = self.get(column)?;
        text.parse().map_err(|_| self.unreadable(column, text))
    }

    pub(super) fn parsed_if_any<T: FromStr>(&self, column: Column) -> Result<Option<T>, DatabaseError> {
        let text: Option<String> = self.get(column)?;
        text.map(|text| text.parse().map_err(|_| self.unreadable(column, text))).transpose()
    }

    pub(super) fn small(&self, column: Column) -> Result<u32, DatabaseError> {
        let number: i32 = self.get(column)?;
        u32::try_from(number).map_err(|_| self.unreadable(column, number.to_string()))
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, column: Column) -> Result<T, DatabaseError> {
        let number: i64 = self.get(column)?;
        T::try_from(number).map_err(|_| self.unreadable(column, number.to_string()))
    }

    pub(super) fn number_if_any<T: TryFrom<i64>>(&self, column: Column) -> Result<Option<T>, DatabaseError> {
        let number: Option<i64> = self.get(column)?;
        number.map(|n| T::try_from(n).map_err(|_| self.unreadable(column, n.to_string()))).transpose()
    }

    pub(super) fn metadata(&self) -> Result<BTreeMap<String, String>, DatabaseError> {
        let text: Option<String> = self.get(Column::Metadata)?;
        text.map_or_else(
            || Ok(BTreeMap::new()),
            |text| serde_json::from_str(&text).map_err(|_| self.unreadable(Column::Metadata, text)),
        )
    }

    fn unreadable(&self, column: Column, value: String) -> DatabaseError {
        let id = self.get(Column::Id).unwrap_or_default();
        DatabaseError::Unreadable { id, column: sea_orm::IdenStatic::as_str(&column).to_owned(), value }
    }
}
