//! Guarded changes of rows, many in one statement: most of what a statement costs is its way to the database, or to
//! `SQLite`'s own thread, and back.

use std::collections::HashSet;

use sea_orm::sea_query::{
    Expr, ExprTrait, Query, SelectStatement, TableRef, UnionType, UpdateStatement, Value, ValueTuple,
};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    Iterable, QueryFilter, QueryResult, QueryTrait,
};
use uuid::Uuid;

use super::entity::backups::{ActiveModel, Column, Entity as Backups};
use super::entity::parts::{self, Entity as Parts};
use super::runner;
use crate::state::State;

/// Rows in one statement.
const ROWS: usize = 200;

/// What the changes of a statement are called in it; `SQLite` and `PostgreSQL` name their columns `column1` and so on.
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
    /// Who claims the row by it: made only where no other live runner has it.
    claimant: Option<String>,
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
        Self { shape, id, values, without_parts: false, claimant: None }
    }

    pub(super) fn claimed_by(self, claimant: Uuid) -> Self {
        Self { claimant: Some(claimant.to_string()), ..self }
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
        let alike = |first: &Change| first.shape == change.shape && first.claimant == change.claimant;
        let latest = self.groups.iter_mut().rfind(|group| alike(group.changes[0].1));
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
            let found = group.execute(transaction).await?;
            for (maker, change) in group.changes.into_iter().filter(|(_, change)| found.contains(&change.id)) {
                matched.push(maker);
                without_parts.extend(change.without_parts.then_some(&*change.id));
            }
        }
        for ids in without_parts.chunks(ROWS) {
            let delete = Parts::delete_many().filter(parts::Column::BackupId.is_in(ids.iter().copied()));
            transaction.execute_raw(delete.build(transaction.get_database_backend())).await?;
        }
        Ok(matched)
    }
}

impl<A> Group<'_, A> {
    /// Makes the changes of the group; the ids of the rows that were as their makers thought.
    async fn execute(&self, transaction: &DatabaseTransaction) -> Result<HashSet<String>, DbErr> {
        if transaction.get_database_backend() == DbBackend::MySql {
            return self.execute_in_two(transaction).await;
        }
        let rows = self.changes.iter().map(|(_, change)| ValueTuple::Many(change.values.clone())).collect();
        let mut update = self.update(TableRef::ValuesList(rows, NEW.into()));
        if let Some(claimant) = self.claimant() {
            update.and_where(runner::is_free(transaction.get_database_backend(), claimant));
        }
        let found = transaction.query_all(update.returning_col(Column::Id)).await?;
        found.iter().map(|row| row.try_get_by_index(0)).collect()
    }

    /// `MySQL` does not say which rows an update has changed: they are looked at before, and locked.
    async fn execute_in_two(&self, transaction: &DatabaseTransaction) -> Result<HashSet<String>, DbErr> {
        let mut look = Query::select()
            .columns([Column::Id, Column::State])
            .column(Column::Claim)
            .from(Backups)
            .and_where(Column::Id.is_in(self.changes.iter().map(|(_, change)| &*change.id)))
            .order_by(Column::Id, sea_orm::Order::Asc)
            .lock_exclusive()
            .to_owned();
        if let Some(claimant) = self.claimant() {
            look.and_where(runner::is_free(DbBackend::MySql, claimant));
        }
        let seen = transaction.query_all(&look).await?;
        let guards = |row: &QueryResult| {
            let texts: (String, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            Ok::<_, DbErr>([texts.0.into(), texts.1.into(), row.try_get_by_index::<i64>(2)?.into()])
        };
        let seen = seen.iter().map(guards).collect::<Result<Vec<[Value; GUARDS]>, _>>()?;
        let as_thought: HashSet<String> = (self.changes.iter())
            .filter(|(_, change)| seen.iter().any(|guards| change.values.starts_with(guards)))
            .map(|(_, change)| change.id.clone())
            .collect();
        let mut rows = self.changes.iter().filter(|(_, change)| as_thought.contains(&change.id));
        let Some((_, first)) = rows.next() else { return Ok(as_thought) };
        let mut new = mysql_row(&first.values);
        for (_, change) in rows {
            new.union(UnionType::All, mysql_row(&change.values));
        }
        transaction.execute(&self.update(TableRef::SubQuery(Box::new(new), NEW.into()))).await?;
        Ok(as_thought)
    }

    fn claimant(&self) -> Option<Expr> {
        self.changes[0].1.claimant.as_deref().map(Expr::value)
    }

    fn update(&self, new_rows: TableRef) -> UpdateStatement {
        let new = |number: usize| Expr::col((NEW, format!("column{number}")));
        let shape = self.changes[0].1.shape;
        let set = Column::iter().filter(|column| shape & bit(*column) != 0);
        let mut update = Query::update();
        update.table(Backups).from(new_rows);
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
        update
    }
}

/// One row of values as `MySQL` has it in a query. What is bound has no type there until it is told.
fn mysql_row(values: &[Value]) -> SelectStatement {
    let mut row = Query::select();
    for (number, value) in (1..).zip(values) {
        let kind = match value {
            Value::Int(_) | Value::BigInt(_) => "SIGNED",
            Value::Double(_) => "DOUBLE",
            _ => "CHAR",
        };
        row.expr_as(Expr::value(value.clone()).cast_as(kind), format!("column{number}"));
    }
    row
}

/// The table has fewer than 64 columns.
const fn bit(column: Column) -> u64 {
    1 << column as u64
}
