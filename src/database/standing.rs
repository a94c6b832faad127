//! Where the rows of a plan stand, without what describes them: reading all of a row costs ten times as much.

use std::collections::HashMap;

use sea_orm::QueryResult;
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query};
use uuid::Uuid;

use super::cells::Cells;
use super::entity::backups::{Column, Entity as Backups};
use super::entity::plan_entries::{Column as Entry, Entity as PlanEntries};
use super::planned::{position, query};
use super::{Database, DatabaseError, Row};
use crate::state::State;

/// Rows read at a time.
const PAGE: usize = 20_000;

/// Where one row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The target id.
    pub id: Uuid,
    /// How far it is.
    pub state: State,
    /// Size of the object; none before it is known.
    pub bytes: Option<u64>,
    /// Target id of the parent.
    pub parent_id: Option<Uuid>,
}

/// Where all rows of a plan stand, at one moment.
#[derive(Debug, Default)]
pub struct Standings {
    /// In the plan's order.
    pub rows: Vec<Standing>,
    /// The whole rows of those that are `FAILED`, by id.
    pub failed: HashMap<Uuid, Row>,
}

impl Database {
    /// Where the rows stand that `plan` wants; empty if it was never saved.
    ///
    /// # Errors
    /// [`DatabaseError::Unreadable`] for a row that this version does not understand, and those of `SQLite`.
    pub async fn standings(&self, plan: &str) -> Result<Standings, DatabaseError> {
        self.patiently(|| self.standings_now(plan)).await
    }

    /// Where these rows stand, in this order; those that `plan` does not want any more, too.
    ///
    /// # Errors
    /// As [`Database::standings`].
    pub async fn standings_of(&self, plan: &str, ids: &[Uuid]) -> Result<Standings, DatabaseError> {
        let Standings { rows, mut failed } = self.standings(plan).await?;
        if rows.len() >= ids.len() && rows.iter().zip(ids).all(|(row, id)| row.id == *id) {
            return Ok(Standings { rows, failed });
        }
        // Another runner has changed what the plan wants.
        let mut by_id: HashMap<Uuid, Standing> = rows.into_iter().map(|row| (row.id, row)).collect();
        let missing: Vec<Uuid> = ids.iter().filter(|id| !by_id.contains_key(id)).copied().collect();
        for row in self.rows(&missing).await? {
            let Row { id, state, bytes, parent_id, .. } = row;
            by_id.insert(id, Standing { id, state, bytes, parent_id });
            if state == State::Failed {
                failed.insert(id, row);
            }
        }
        Ok(Standings { rows: ids.iter().filter_map(|id| by_id.remove(id)).collect(), failed })
    }

    async fn standings_now(&self, plan: &str) -> Result<Standings, DatabaseError> {
        let snapshot = self.snapshot().await?;
        let name = self.name();
        let mut rows: Vec<Standing> = Vec::new();
        loop {
            let page = Query::select()
                .columns(Standing::COLUMNS.map(|column| (Backups, column)))
                .from(PlanEntries)
                .inner_join(Backups, Expr::col((PlanEntries, Entry::BackupId)).equals((Backups, Column::Id)))
                .and_where(Expr::col(Entry::Plan).eq(plan))
                .and_where(Expr::col(Entry::Position).gte(position(rows.len())))
                .and_where(Expr::col(Entry::Position).lt(position(rows.len() + PAGE)))
                .order_by((PlanEntries, Entry::Position), Order::Asc)
                .to_owned();
            let found = query(self, &snapshot, &page).await?;
            for result in &found {
                rows.push(Standing::read(&name, result)?);
            }
            if found.len() < PAGE {
                break;
            }
        }
        let failed = rows.iter().filter(|row| row.state == State::Failed).map(|row| row.id).collect::<Vec<_>>();
        let failed = self.rows_in(&snapshot, &failed, None).await?;
        Ok(Standings { rows, failed: failed.into_iter().map(|row| (row.id, row)).collect() })
    }
}

impl Database {
    /// The copies that `plan` wants and that are encrypted, as Trove names them (`.enc`), and their target regions.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn encrypted(&self, plan: &str) -> Result<Vec<(Uuid, String)>, DatabaseError> {
        self.patiently(|| self.encrypted_now(plan)).await
    }

    async fn encrypted_now(&self, plan: &str) -> Result<Vec<(Uuid, String)>, DatabaseError> {
        let snapshot = self.snapshot().await?;
        let question = Query::select()
            .columns([(Backups, Column::Id), (Backups, Column::Region)])
            .from(PlanEntries)
            .inner_join(Backups, Expr::col((PlanEntries, Entry::BackupId)).equals((Backups, Column::Id)))
            .and_where(Expr::col(Entry::Plan).eq(plan))
            .and_where(Expr::col((Backups, Column::Location)).like("%.enc"))
            .to_owned();
        let found = query(self, &snapshot, &question).await?;
        let name = self.name();
        let pair = |result: &QueryResult| {
            let cells = Cells::of(&name, result, &[Column::Id, Column::Region]);
            Ok((cells.parsed(Column::Id)?, cells.parsed(Column::Region)?))
        };
        found.iter().map(pair).collect()
    }

    /// The stores and catalogs that the rows of `plan` were registered in, each pair once.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn catalogs_of(&self, plan: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        self.patiently(|| self.catalogs_of_now(plan)).await
    }

    async fn catalogs_of_now(&self, plan: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        let snapshot = self.snapshot().await?;
        let question = Query::select()
            .distinct()
            .columns([(Backups, Column::TargetStore), (Backups, Column::TargetCatalog)])
            .from(PlanEntries)
            .inner_join(Backups, Expr::col((PlanEntries, Entry::BackupId)).equals((Backups, Column::Id)))
            .and_where(Expr::col(Entry::Plan).eq(plan))
            .to_owned();
        let found = query(self, &snapshot, &question).await?;
        let name = self.name();
        let pair = |result: &QueryResult| {
            let text = |at| result.try_get_by_index(at).map_err(|error| DatabaseError::of_sql(&name, error));
            Ok((text(0)?, text(1)?))
        };
        found.iter().map(pair).collect()
    }
}

impl Standing {
    const COLUMNS: [Column; 4] = [Column::Id, Column::State, Column::Bytes, Column::ParentId];

    fn read(database: &str, result: &QueryResult) -> Result<Self, DatabaseError> {
        let cells = Cells::of(database, result, &Self::COLUMNS);
        Ok(Self {
            id: cells.parsed(Column::Id)?,
            state: cells.parsed(Column::State)?,
            bytes: cells.number_if_any(Column::Bytes)?,
            parent_id: cells.parsed_if_any(Column::ParentId)?,
        })
    }
}
