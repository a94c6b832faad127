//! Guarded changes of rows, many in one statement: most of what a statement costs is its way to `SQLite`'s own thread
//! and back.

use std::collections::HashSet;

use sea_orm::sea_query::{Expr, ExprTrait, Query, TableRef, Value, ValueTuple};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbErr, EntityTrait, Iterable,
    QueryFilter,
};
use uuid::Uuid;

use super::checkpoint::build;
use super::entity::backups::{ActiveModel, Column, Entity as Backups};
use super::entity::parts::{self, Entity as Parts};
use crate::state::State;

/// Rows in one statement.
const ROWS: usize = 200;

/// What the changes of a statement are called in it; `SQLite` names their columns `column1` and so on.
const NEW: &str = "new";

/// Columns that say which row is meant, before those that are set.
const GUARDS: usize = 3;

/// A change of one row, made only where state and claim are what its maker thinks they are.
#[derive(Debug)]
pub(super) struct Change {
    /// A bit for each column that is set, by its position in the table.
    shape: u64,
    id: String,
    /// The guards, then what is set, in the table's order.
    values: Vec<Value>,
    /// Whether the rows of its parts go.
    without_parts: bool,
}

impl Change {
    /// Sets what is set in `changes`; but `bytes_read` is added to what is there.
    pub(super) fn new(id: Uuid, state: State, claim: i64, changes: &ActiveModel) -> Self {
        let id = id.to_string();
        let mut shape = 0;
        let mut values = vec![id.clone().into(), state.as_str().into(), claim.into()];
        for column in Column::iter() {
            if let ActiveValue::Set(value) = changes.get(column) {
                shape |= bit(column);
                values.push(value);
            }
        }
        Self { shape, id, values, without_parts: false }
    }

    pub(super) fn without_parts(self) -> Self {
        Self { without_parts: true, ..self }
    }
}

/// The changes of one transaction; `A` is what their makers are known by.
pub(super) struct Changes<'a, A> {
    groups: Vec<Group<'a, A>>,
}

/// Changes of one shape, of different rows.
struct Group<'a, A> {
    ids: HashSet<&'a str>,
    changes: Vec<(A, &'a Change)>,
}

impl<'a, A: Copy> Changes<'a, A> {
    pub(super) const fn new() -> Self {
        Self { groups: Vec::new() }
    }

    /// A second change of a row goes into a later statement, so that its guards see the first.
    pub(super) fn add(&mut self, maker: A, change: &'a Change) {
        let latest = self.groups.iter_mut().rfind(|group| group.changes[0].1.shape == change.shape);
        match latest.filter(|group| group.changes.len() < ROWS && !group.ids.contains(&*change.id)) {
            Some(group) => {
                group.ids.insert(&change.id);
                group.changes.push((maker, change));
            }
            None => self.groups.push(Group { ids: HashSet::from([&*change.id]), changes: vec![(maker, change)] }),
        }
    }

    /// Makes them; the makers of those that found their row as they thought it is.
    pub(super) async fn execute(self, transaction: &DatabaseTransaction) -> Result<Vec<A>, DbErr> {
        let mut matched = Vec::new();
        let mut without_parts: Vec<&str> = Vec::new();
        for group in self.groups {
            let found = transaction.query_all_raw(group.statement()).await?;
            let found = found.iter().map(|row| row.try_get_by_index(0)).collect::<Result<HashSet<String>, _>>()?;
            for (maker, change) in group.changes.into_iter().filter(|(_, change)| found.contains(&change.id)) {
                matched.push(maker);
                without_parts.extend(change.without_parts.then_some(&*change.id));
            }
        }
        for ids in without_parts.chunks(ROWS) {
            let delete = Parts::delete_many().filter(parts::Column::BackupId.is_in(ids.iter().copied()));
            transaction.execute_raw(build(&delete)).await?;
        }
        Ok(matched)
    }
}

impl<A> Group<'_, A> {
    fn statement(&self) -> sea_orm::Statement {
        let new = |number: usize| Expr::col((NEW, format!("column{number}")));
        let shape = self.changes[0].1.shape;
        let set = Column::iter().filter(|column| shape & bit(*column) != 0);
        let rows = self.changes.iter().map(|(_, change)| ValueTuple::Many(change.values.clone())).collect();
        let mut update = Query::update();
        update.table(Backups).from(TableRef::ValuesList(rows, NEW.into()));
        for (number, column) in (GUARDS + 1..).zip(set) {
            let value = match column {
                Column::BytesRead => Expr::col((Backups, column)).add(new(number)),
                _ => new(number),
            };
            update.value(column, value);
        }
        for (number, column) in (1..).zip([Column::Id, Column::State, Column::Claim]) {
            update.and_where(Expr::col((Backups, column)).eq(new(number)));
        }
        build_any(update.returning_col(Column::Id))
    }
}

/// The table has fewer than 64 columns.
const fn bit(column: Column) -> u64 {
    1 << column as u64
}

fn build_any(statement: &impl sea_orm::StatementBuilder) -> sea_orm::Statement {
    sea_orm::DbBackend::Sqlite.build(statement)
}
