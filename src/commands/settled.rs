//! A run that finds nothing left to do: it reads where the rows stand, and no more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;

use super::run as running;
use super::{open, recorded};
use crate::cli::{Global, Selection};
use crate::database::{Database, Standing};
use crate::error::CommandError;
use crate::event::{Board, Event, Item};
use crate::exit::Exit;
use crate::graph::Graph;
use crate::plan::{Loaded, Plan};
use crate::regions::Regions;
use crate::report::Reporter;
use crate::summary::Ended;
use crate::survey::Surveyor;

/// Runs a plan that has nothing left to do; none if it may have, and then nothing was written.
pub(super) async fn run(
    global: &Global,
    selection: &Selection,
    loaded: &Loaded,
    regions: &Regions,
    database: &Database,
) -> Result<Option<(Exit, Reporter)>, CommandError> {
    if !selection.only.is_empty() || selection.limit.is_some() {
        return Ok(None);
    }
    let standings = database.standings(&loaded.plan.name).await.map_err(|error| open::database_error(&error))?;
    let catalogs = database.catalogs_of(&loaded.plan.name).await.map_err(|error| open::database_error(&error))?;
    let Some(graph) = graph(&loaded.plan, regions, &standings.rows, &catalogs).await else { return Ok(None) };
    let run = running::begin(loaded, database).await.map_err(|error| open::database_error(&error))?;
    let reporter = running::reporter(global, loaded, database, run, Arc::new(board(&graph)))?;
    // Nobody else may write, and this run has written no row: what was read is what the database says.
    let keys =
        recorded::lacking_keys(database, &loaded.plan.name).await.map_err(|error| open::database_error(&error))?;
    let summary = recorded::summarise(&standings, &graph, &vec![true; graph.nodes().len()], &keys);
    let exit = summary.exit(Ended { stopped: false, started: false, ..Ended::default() });
    running::end(database, run, exit, &summary).await.map_err(|error| open::database_error(&error))?;
    reporter.sender().send(Event::Finished(Box::new(summary)));
    Ok(Some((exit, reporter)))
}

async fn graph(plan: &Plan, regions: &Regions, standings: &[Standing], catalogs: &[(String, String)]) -> Option<Graph> {
    let (rows, planned, now) = (&HashMap::new(), &[], Timestamp::now());
    let surveyor = Surveyor { plan, regions, rows, planned, now, look_at_targets: false };
    let wanted = surveyor.settled(standings, catalogs).await?;
    Some(recorded::graph(&standings[..wanted]))
}

/// For figures only: nothing will be told of any of its items.
fn board(graph: &Graph) -> Board {
    let nodes = graph.nodes();
    let item = |node: &crate::graph::Node| Item {
        id: node.id,
        name: node.name.clone(),
        source: Arc::clone(&node.source),
        target: Arc::clone(&node.target),
        bytes: node.bytes,
    };
    let root = |position| u32::try_from(graph.root(position)).expect("fewer than 2^32 migrations");
    Board {
        items: nodes.iter().map(item).collect(),
        stored: nodes.iter().map(|node| AtomicU64::new(node.bytes.unwrap_or_default())).collect(),
        roots: (0..nodes.len()).map(root).collect(),
        done_before: vec![true; nodes.len()],
        bytes_read: AtomicU64::new(0),
    }
}
