//! Which plan wants which rows, and reading rows.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Order, Query, SelectStatement};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, Iterable, QueryFilter,
    QueryOrder, QueryResult,
};
use uuid::Uuid;

use super::batch::Write;
use super::cells::Cells;
use super::entity::backups::{Column, Entity as Backups};
use super::entity::parts::{self, Entity as Parts};
use super::entity::plan_entries::{self, Entity as PlanEntries};
use super::facts::PartRow;
use super::{Database, DatabaseError, Row};
use crate::state::State;

/// Values bound to one statement: `SQLite` takes 32,766.
const BINDS: usize = 30_000;

/// Rows read at a time, so that 100,000 of them are never in memory twice.
const PAGE: usize = 2_000;

/// Ids in one `IN (…)`.
const IDS: usize = 1_000;

/// Rows in one `INSERT`: each of its values is in memory several times over.
const INSERT_ROWS: usize = 250;

/// Reading.
///
/// # Errors
/// All of them: [`DatabaseError::Unreadable`] for a row that this version does not understand, and those of `SQLite`.
impl Database {
    /// The rows that `plan` wants, in its order; empty if it was never saved. All of one moment.
    pub async fn planned_rows(&self, plan: &str) -> Result<Vec<Row>, DatabaseError> {
        self.patiently(|| async { self.rows_of_plan(&self.snapshot().await?, plan).await }).await
    }

    /// The rows with these ids that are there, in no order.
    pub async fn rows(&self, ids: &[Uuid]) -> Result<Vec<Row>, DatabaseError> {
        self.patiently(|| async { self.rows_in(&self.snapshot().await?, ids, None).await }).await
    }

    pub(super) async fn rows_in(
        &self,
        snapshot: &DatabaseTransaction,
        ids: &[Uuid],
        filter: Option<Expr>,
    ) -> Result<Vec<Row>, DatabaseError> {
        let mut rows = Vec::new();
        for chunk in ids.chunks(IDS) {
            let mut question = all_columns();
            question.and_where(Column::Id.is_in(chunk.iter().map(Uuid::to_string))).and_where_option(filter.clone());
            let found = query(self, snapshot, &question).await?;
            self.read_rows(&found, &mut rows)?;
        }
        Ok(rows)
    }

    /// Which of these are registered: nothing of them is to be brought up to date.
    async fn completed_in(&self, snapshot: &DatabaseTransaction, ids: &[Uuid]) -> Result<HashSet<Uuid>, DatabaseError> {
        let mut completed = HashSet::new();
        for chunk in ids.chunks(IDS) {
            let question = Query::select()
                .column(Column::Id)
                .from(Backups)
                .and_where(Column::Id.is_in(chunk.iter().map(Uuid::to_string)))
                .and_where(Column::State.eq(State::Completed.as_str()))
                .to_owned();
            let found = query(self, snapshot, &question).await?;
            let name = self.name();
            for result in &found {
                completed.insert(Cells::of(&name, result, &[Column::Id]).parsed(Column::Id)?);
            }
        }
        Ok(completed)
    }

    /// All rows there are, by id.
    pub async fn all_rows(&self) -> Result<Vec<Row>, DatabaseError> {
        self.patiently(|| self.rows_by_id(None)).await
    }

    /// The rows that were planned once and that no plan wants any more, by id.
    pub async fn wanted_by_no_plan(&self) -> Result<Vec<Row>, DatabaseError> {
        let wanted = Query::select().column(plan_entries::Column::BackupId).from(PlanEntries).to_owned();
        let filter = Expr::col((Backups, Column::Id)).not_in_subquery(wanted);
        self.patiently(|| self.rows_by_id(Some(filter.clone()))).await
    }

    /// Which of `ids` any other plan than `plan` wants, too.
    pub async fn wanted_by_other_plans(&self, plan: &str, ids: &[Uuid]) -> Result<HashSet<Uuid>, DatabaseError> {
        let mut wanted = HashSet::new();
        for chunk in ids.chunks(IDS) {
            let question = Query::select()
                .column(plan_entries::Column::BackupId)
                .from(PlanEntries)
                .and_where(plan_entries::Column::Plan.ne(plan))
                .and_where(plan_entries::Column::BackupId.is_in(chunk.iter().map(Uuid::to_string)))
                .to_owned();
            wanted.extend(self.patiently(|| self.ids_of(&question)).await?);
        }
        Ok(wanted)
    }

    async fn ids_of(&self, question: &SelectStatement) -> Result<Vec<Uuid>, DatabaseError> {
        let snapshot = self.snapshot().await?;
        let found = query(self, &snapshot, question).await?;
        let id = |result: &QueryResult| -> Result<String, _> { result.try_get_by_index(0) };
        found.iter().map(|result| entry_id(&id(result).map_err(|error| self.error(error))?)).collect()
    }

    async fn rows_by_id(&self, filter: Option<Expr>) -> Result<Vec<Row>, DatabaseError> {
        let snapshot = self.snapshot().await?;
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let mut page = all_columns();
            page.and_where_option(filter.clone()).order_by((Backups, Column::Id), Order::Asc).limit(PAGE as u64);
            if let Some(last) = rows.last() {
                page.and_where(Column::Id.gt(last.id.to_string()));
            }
            let found = query(self, &snapshot, &page).await?;
            self.read_rows(&found, &mut rows)?;
            if found.len() < PAGE {
                return Ok(rows);
            }
        }
    }

    /// The ids of the rows that `plan` wants, in no order.
    pub async fn planned_ids(&self, plan: &str) -> Result<Vec<Uuid>, DatabaseError> {
        let entries = self.patiently(|| self.entries(plan)).await?;
        entries.keys().map(|id| entry_id(id)).collect()
    }

    /// The names of all plans that want any row, sorted.
    pub async fn plans(&self) -> Result<Vec<String>, DatabaseError> {
        self.patiently(|| async { self.plans_in(&self.snapshot().await?).await }).await
    }

    /// The finished parts of a copy, by number.
    pub async fn parts(&self, id: Uuid) -> Result<Vec<PartRow>, DatabaseError> {
        let of_copy =
            Parts::find().filter(parts::Column::BackupId.eq(id.to_string())).order_by_asc(parts::Column::Number);
        let found = || async {
            let found = of_copy.clone().all(&self.inner.readers).await;
            found.map_err(|error| self.error(error))
        };
        let found = self.patiently(found).await?;
        let unreadable = |column: &str, value: i64| DatabaseError::Unreadable {
            id: id.to_string(),
            column: format!("parts.{column}"),
            value: value.to_string(),
        };
        let read = |part: parts::Model| {
            Ok(PartRow {
                number: u32::try_from(part.number).map_err(|_| unreadable("number", part.number.into()))?,
                size: u64::try_from(part.size).map_err(|_| unreadable("size", part.size))?,
                reference: part.reference,
                sha256_state: part.sha256_state,
            })
        };
        found.into_iter().map(read).collect()
    }

    async fn plans_in(&self, snapshot: &DatabaseTransaction) -> Result<Vec<String>, DatabaseError> {
        let column = plan_entries::Column::Plan;
        let question =
            Query::select().distinct().column(column).from(PlanEntries).order_by(column, Order::Asc).to_owned();
        let found = query(self, snapshot, &question).await?;
        found.iter().map(|result| result.try_get_by_index(0).map_err(|error| self.error(error))).collect()
    }

    /// By position, page by page: positions have no gaps.
    async fn rows_of_plan(&self, snapshot: &DatabaseTransaction, plan: &str) -> Result<Vec<Row>, DatabaseError> {
        let mut rows = Vec::new();
        loop {
            let page = all_columns()
                .inner_join(
                    PlanEntries,
                    Expr::col((PlanEntries, plan_entries::Column::BackupId)).equals((Backups, Column::Id)),
                )
                .and_where(plan_entries::Column::Plan.eq(plan))
                .and_where(plan_entries::Column::Position.gte(position(rows.len())))
                .and_where(plan_entries::Column::Position.lt(position(rows.len() + PAGE)))
                .order_by((PlanEntries, plan_entries::Column::Position), Order::Asc)
                .to_owned();
            let found = query(self, snapshot, &page).await?;
            self.read_rows(&found, &mut rows)?;
            if found.len() < PAGE {
                return Ok(rows);
            }
        }
    }

    fn read_rows(&self, found: &[QueryResult], rows: &mut Vec<Row>) -> Result<(), DatabaseError> {
        let name = self.name();
        for result in found {
            rows.push(Row::read(&name, result)?);
        }
        Ok(())
    }
}

/// What [`Database::save_plan`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SavedPlan {
    /// Whether anything had to be written.
    pub changed: bool,
    /// Rows that are described anew: on a server each has a claim one higher than before.
    pub described: Vec<Uuid>,
}

/// Planning.
impl Database {
    /// Makes `plan` want exactly `rows` (each id once), in this order, in one transaction.
    ///
    /// Rows that are not there are inserted, NEW or FAILED as given. Of those that are, only what describes the backup
    /// is brought up to date (names, times, sizes, tenant, instance, parent, datastore, metadata, expected digest,
    /// regions, target catalog, source location; the location where it is still unset), and nothing once it is
    /// COMPLETED, nor where another live runner has it. Where there can be others, who has read the row before cannot
    /// claim it after that: it would work by the old description.
    ///
    /// # Errors
    /// [`DatabaseError::Illegal`] for a row to insert in another state; [`DatabaseError::Unreadable`], and those of a
    /// write.
    pub async fn save_plan<R: Borrow<Row>>(&self, plan: &str, rows: &[R]) -> Result<SavedPlan, DatabaseError> {
        let rows = || rows.iter().map(Borrow::borrow);
        let ids: Vec<Uuid> = rows().map(|row| row.id).collect();
        let (completed, open) = self.patiently(|| self.completed_and_open(&ids)).await?;
        let stored: HashMap<Uuid, Row> = open.into_iter().map(|row| (row.id, row)).collect();
        let entries = self.patiently(|| self.entries(plan)).await?;
        let now = self.now_ms();

        let mut inserts = Vec::new();
        let mut writes: Vec<Write> = Vec::new();
        let mut described = Vec::new();
        for row in rows().filter(|row| !completed.contains(&row.id)) {
            match stored.get(&row.id) {
                None if matches!(row.state, State::New | State::Failed) => inserts.push(row),
                None => return Err(DatabaseError::Illegal { id: row.id, from: State::New, to: row.state }),
                Some(stored) => {
                    if let Some(write) = self.described_anew(stored, row, now) {
                        writes.push(write);
                        described.push(row.id);
                    }
                }
            }
        }
        // Chunk by chunk, each in a commit of its own: what is to be inserted takes several times the room of its row.
        // A server that restarts frees the plan lock of who is here: another may have written down the same meanwhile.
        // Rows that no plan wants yet are nobody's until the entries say so, which come last and at once.
        for rows in inserts.chunks(INSERT_ROWS) {
            let there = OnConflict::column(Column::Id).do_nothing_on([Column::Id]).to_owned();
            let insert = Backups::insert_many(rows.iter().map(|row| row.to_insert(now))).on_conflict(there);
            self.write(vec![self.build(&insert).into()]).await?;
        }
        writes.extend(self.entries_anew(plan, &entries, &ids));
        if writes.is_empty() {
            return Ok(SavedPlan { changed: !inserts.is_empty(), described });
        }
        let written = self.write(writes).await?;
        let described = described.into_iter().zip(written).filter_map(|(id, written)| written.then_some(id)).collect();
        Ok(SavedPlan { changed: true, described })
    }

    /// The update that makes `stored` described as `planned`; none if it is, nor where another runner went on with the row
    /// since it was read: it knows it better.
    fn described_anew(&self, stored: &Row, planned: &Row, now_ms: i64) -> Option<Write> {
        let is_as_read = (stored.state, stored.claim) == (planned.state, planned.claim);
        if self.inner.connector.is_shared() && !is_as_read {
            return None;
        }
        let gets_location = stored.location.is_none() && planned.location.is_some();
        if stored.is_described_as(planned) && !gets_location {
            return None;
        }
        let mut changes = planned.to_describe(now_ms);
        if gets_location {
            changes.location = Set(planned.location.clone());
        }
        let mut update = Backups::update_many()
            .filter(Column::Id.eq(stored.id.to_string()))
            .filter(Column::State.eq(stored.state.as_str()))
            .filter(Column::Claim.eq(stored.claim));
        if self.inner.connector.is_shared() {
            changes.claim = Set(stored.claim + 1);
            update = update.filter(self.is_free_for_me());
        }
        let update = update.set(changes);
        Some(self.build(&update).into())
    }

    /// The writes that turn `stored` entries (id to position) into `wanted` ones. What moved is taken out and put in.
    fn entries_anew(&self, plan: &str, stored: &HashMap<String, i32>, wanted: &[Uuid]) -> Vec<Write> {
        let wanted: Vec<(String, i32)> =
            wanted.iter().enumerate().map(|(index, id)| (id.to_string(), position(index))).collect();
        let new: Vec<&(String, i32)> =
            wanted.iter().filter(|(id, position)| stored.get(id) != Some(position)).collect();
        let kept: HashSet<&str> = wanted
            .iter()
            .filter(|(id, position)| stored.get(id) == Some(position))
            .map(|(id, _)| id.as_str())
            .collect();
        let gone: Vec<&String> = stored.keys().filter(|id| !kept.contains(id.as_str())).collect();

        let mut writes = Vec::new();
        for chunk in gone.chunks(IDS) {
            let delete = PlanEntries::delete_many()
                .filter(plan_entries::Column::Plan.eq(plan))
                .filter(plan_entries::Column::BackupId.is_in(chunk.iter().map(|id| id.as_str())));
            writes.push(self.build(&delete).into());
        }
        for chunk in new.chunks(BINDS / 3) {
            let entry = |(id, position): &(String, i32)| plan_entries::ActiveModel {
                plan: Set(plan.to_owned()),
                backup_id: Set(id.clone()),
                position: Set(*position),
            };
            let there = OnConflict::columns([plan_entries::Column::Plan, plan_entries::Column::BackupId])
                .update_column(plan_entries::Column::Position)
                .to_owned();
            let insert = PlanEntries::insert_many(chunk.iter().map(|pair| entry(pair))).on_conflict(there);
            writes.push(self.build(&insert).into());
        }
        writes
    }

    /// Of these rows the ids of those that are registered, and the others whole.
    async fn completed_and_open(&self, ids: &[Uuid]) -> Result<(HashSet<Uuid>, Vec<Row>), DatabaseError> {
        let snapshot = self.snapshot().await?;
        let completed = self.completed_in(&snapshot, ids).await?;
        let open = self.rows_in(&snapshot, ids, Some(Column::State.ne(State::Completed.as_str()))).await?;
        Ok((completed, open))
    }

    async fn entries(&self, plan: &str) -> Result<HashMap<String, i32>, DatabaseError> {
        let question = Query::select()
            .column(plan_entries::Column::BackupId)
            .column(plan_entries::Column::Position)
            .from(PlanEntries)
            .and_where(plan_entries::Column::Plan.eq(plan))
            .to_owned();
        let snapshot = self.snapshot().await?;
        let found = query(self, &snapshot, &question).await?;
        let entry = |result: &QueryResult| Ok((result.try_get_by_index(0)?, result.try_get_by_index(1)?));
        found.iter().map(|result| entry(result).map_err(|error| self.error(error))).collect()
    }
}

pub(super) async fn query(
    database: &Database,
    snapshot: &DatabaseTransaction,
    question: &SelectStatement,
) -> Result<Vec<QueryResult>, DatabaseError> {
    snapshot.query_all(question).await.map_err(|error| database.error(error))
}

/// All columns in the table's order, as [`Row::read`] wants them.
fn all_columns() -> SelectStatement {
    Query::select().columns(Column::iter().map(|column| (Backups, column))).from(Backups).to_owned()
}

/// Plans have at most a million rows.
pub(super) fn position(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn entry_id(id: &str) -> Result<Uuid, DatabaseError> {
    id.parse().map_err(|_| DatabaseError::Unreadable {
        id: id.to_owned(),
        column: "plan_entries.backup_id".to_owned(),
        value: id.to_owned(),
    })
}
