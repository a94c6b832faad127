//! Recorded work: rows and regions from the database, with the plan file or without it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::open;
use crate::cli::Global;
use crate::database::{Database, DatabaseError, DatabaseUrl, Row, Standing, Standings};
use crate::engine::RunLimits;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::failure::{Cause, Failure};
use crate::graph::{Graph, Node};
use crate::regions::{self, Regions, process_environment};
use crate::register::Registry;
use crate::store::Store;
use crate::summary::{Line, Summary};

/// Runs that are looked through for the regions of rows.
const RUNS_LOOKED_THROUGH: u64 = 100;

/// A database with the regions that its rows need.
pub(super) struct Recorded {
    pub(super) database: Database,
    /// The plan to look at; all of them if there is none.
    plan: Option<String>,
    /// Newest first: the first that knows a region's name counts.
    regions: Vec<Regions>,
}

impl Recorded {
    /// Opens the database of a plan file, or the one that flag or environment name, as its one writing command.
    pub(super) async fn open_writing(
        global: &Global,
        plan: Option<&Path>,
        command: &str,
    ) -> Result<Self, CommandError> {
        if let Some(path) = plan {
            let loaded = open::plan(global, path)?;
            let url = open::database_url(global, &loaded.plan)?;
            absent_is_an_error(&url).await?;
            let database = open::writing(global, &url, command, Some(&loaded.plan.name), false).await?;
            let throttles = RunLimits::new(&loaded.plan, jiff::Timestamp::now()).throttles;
            let regions =
                Regions::new(&loaded.plan.folder, process_environment(), loaded.plan.regions.clone(), throttles);
            open::warn_of_clouds(global, &regions, open::used_regions(&loaded.plan)).await;
            return Ok(Self { database, plan: Some(loaded.plan.name), regions: vec![regions] });
        }
        let Some(url) = open::database_url_without_plan(global)? else {
            return Err(CommandError::new(Exit::Usage, format!("`backhaul {command}` needs a plan or a database"))
                .hint(format!("backhaul {command} PLAN, or backhaul --database sqlite://… {command}")));
        };
        absent_is_an_error(&url).await?;
        let database = open::writing(global, &url, command, None, false).await?;
        let runs = database.last_runs(RUNS_LOOKED_THROUGH).await.map_err(|error| open::database_error(&error))?;
        let environment = process_environment();
        let regions = runs.iter().filter_map(|run| regions::recorded(&run.regions, &environment).ok());
        let regions: Vec<Regions> = regions.collect();
        if let Some(newest) = regions.first() {
            open::warn_of_clouds(global, newest, 0..newest.specs().len()).await;
        }
        Ok(Self { database, plan: None, regions })
    }

    /// Refuses a plan that has not run with this database: of nothing there is nothing to say.
    pub(super) async fn must_have_run(&self, plan: Option<&Path>) -> Result<(), CommandError> {
        let runs = match &self.plan {
            Some(plan) => self.database.last_run(plan).await.map(|run| run.is_some()),
            None => self.database.last_runs(1).await.map(|runs| !runs.is_empty()),
        };
        if runs.map_err(|error| open::database_error(&error))? {
            return Ok(());
        }
        let what =
            self.plan.as_ref().map_or_else(|| "no plan has".to_owned(), |name| format!("the plan `{name}` has never"));
        let path = plan.map_or_else(|| "PLAN".to_owned(), |path| open::quoted(&path.to_string_lossy()));
        let message = format!("{what} run with this database: there is nothing to look at");
        Err(CommandError::new(Exit::Usage, message).hint(format!("backhaul run {path}")))
    }

    /// The rows of the plan in its order, or all rows.
    pub(super) async fn rows(&self) -> Result<Vec<Row>, CommandError> {
        let rows = match &self.plan {
            Some(plan) => self.database.planned_rows(plan).await,
            None => self.database.all_rows().await,
        };
        rows.map_err(|error| open::database_error(&error))
    }

    /// The store that a row's copy was made in: the region of that name, or any other whose store it is. It must be
    /// there: a region that went away is not an empty one.
    ///
    /// # Errors
    /// A failure of cause `unreachable`, naming what was found instead.
    pub(super) async fn store(&self, row: &Row) -> Result<Store, Failure> {
        let (regions, index) = self.region(row, false).await?;
        regions.source(index).await
    }

    /// The same with the catalog that its copy is registered in.
    ///
    /// # Errors
    /// As [`Recorded::store`].
    pub(super) async fn registry(&self, row: &Row) -> Result<Registry, Failure> {
        let (regions, index) = self.region(row, true).await?;
        Registry::of_source(regions, index).await
    }

    async fn region(&self, row: &Row, with_catalog: bool) -> Result<(&Regions, usize), Failure> {
        let mut found_instead = None;
        for by_name in [true, false] {
            for regions in &self.regions {
                for (index, region) in regions.specs().iter().enumerate() {
                    if (*region.name == *row.region) != by_name {
                        continue;
                    }
                    match is_of(regions, index, row, with_catalog).await {
                        Ok(()) => return Ok((regions, index)),
                        Err(failure) if by_name => {
                            found_instead.get_or_insert(failure);
                        }
                        Err(_) => {}
                    }
                }
            }
        }
        Err(found_instead.unwrap_or_else(|| {
            let message = format!(
                "no recorded run says where region `{}` is; the copy was made in {}",
                row.region, row.target_store
            );
            Failure::new(Cause::Unreachable, message)
        }))
    }
}

/// Whether a region is what a row's copy was made in, and what it was registered in where that matters: a copy is not gone
/// because another catalog does not know it.
async fn is_of(regions: &Regions, index: usize, row: &Row, with_catalog: bool) -> Result<(), Failure> {
    let made_in = |failure: Failure| {
        let message = format!("{}; the copy was made in {}", failure.message, row.target_store);
        Failure { cause: Cause::Unreachable, message, ..failure }
    };
    let other = |message: String| Err(Failure::new(Cause::Unreachable, message));
    let store = regions.source(index).await.map_err(made_in)?;
    if store.identity() != row.target_store {
        return other(format!("region `{}` is {} now", row.region, store.identity())).map_err(made_in);
    }
    let catalog = if with_catalog { regions.catalog_identity(index).await? } else { row.target_catalog.clone() };
    if catalog != row.target_catalog {
        return other(format!(
            "the catalog of region `{}` is {catalog} now; the copy was registered in {}",
            row.region, row.target_catalog
        ));
    }
    Ok(())
}

/// The encrypted copies of a plan whose target's guests are not said to have the key.
pub(super) async fn lacking_keys(database: &Database, plan: &str) -> Result<HashSet<Uuid>, DatabaseError> {
    let encrypted = database.encrypted(plan).await?;
    if encrypted.is_empty() {
        return Ok(HashSet::new());
    }
    let last = database.last_run(plan).await?;
    let regions = last.and_then(|run| regions::recorded(&run.regions, &process_environment()).ok());
    let has_key = |name: &str| {
        let mut specs = regions.iter().flat_map(Regions::specs);
        specs.any(|region| *region.name == *name && region.backup_key_present)
    };
    Ok(encrypted.into_iter().filter(|(_, region)| !has_key(region)).map(|(id, _)| id).collect())
}

/// A command that only looks at recorded work must not make a database.
async fn absent_is_an_error(url: &DatabaseUrl) -> Result<(), CommandError> {
    open::reading(url).await?.close().await;
    Ok(())
}

/// The graph of recorded rows, by position; without names. Parents that are not among them count as none.
pub(super) fn graph(rows: &[Standing]) -> Graph {
    let positions: HashMap<Uuid, usize> = rows.iter().enumerate().map(|(position, row)| (row.id, position)).collect();
    let parents = rows.iter().map(|row| row.parent_id.and_then(|parent| positions.get(&parent).copied()));
    let nobody: Arc<str> = "".into();
    let node = |(row, parent): (&Standing, Option<usize>)| Node {
        id: row.id,
        name: String::new(),
        source: Arc::clone(&nobody),
        target: Arc::clone(&nobody),
        bytes: row.bytes,
        parent,
        state: row.state,
    };
    // Rows that somebody changed by hand into a circle are still shown, each for itself.
    Graph::new(rows.iter().zip(parents).map(node).collect())
        .unwrap_or_else(|_| Graph::new(rows.iter().map(|row| node((row, None))).collect()).expect("no edges, no cycle"))
}

/// The summary of the rows that have a position in `graph`, which are the first ones.
pub(super) fn summarise(standings: &Standings, graph: &Graph, selected: &[bool], lack_key: &HashSet<Uuid>) -> Summary {
    let rows = &standings.rows[..graph.nodes().len()];
    let states = rows.iter().map(|row| row.state).collect::<Vec<_>>();
    let blocked = graph.blocked_by(&states);
    let line = |(position, row): (usize, &Standing)| {
        let failed = standings.failed.get(&row.id);
        Line {
            id: row.id,
            name: failed.map_or("", |row| &row.name),
            state: row.state,
            bytes: row.bytes.unwrap_or_default(),
            tenant: failed.and_then(|row| row.tenant_id.as_deref()),
            cause: failed.and_then(|row| row.cause),
            error: failed.and_then(|row| row.error.as_deref()),
            hint: failed.and_then(|row| row.hint.as_deref()),
            root: graph.root(position),
            blocked_by: blocked[position],
            selected: selected[position],
            lacks_key: lack_key.contains(&row.id),
        }
    };
    Summary::of(&rows.iter().enumerate().map(line).collect::<Vec<_>>())
}
