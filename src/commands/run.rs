//! `backhaul run`: executes a plan, or goes on where the last run stopped.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::TryFutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use uuid::Uuid;

use super::edited::Edit;
use super::open;
use super::sharing::{arrive, beside};
use super::{Outcome, recorded, settled, surveyed};
use crate::cli::{Global, IfRunningArg, RunArgs};
use crate::database::{Database, DatabaseError, Holder, NewRun, Row};
use crate::engine::{self, Emit, Engine, RunLimits, Sharing, Stop, Task};
use crate::error::CommandError;
use crate::event::{Board, Event, Item};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::graph::Graph;
use crate::number::format_duration;
use crate::plan::{IfRunning, Loaded};
use crate::regions;
use crate::report::{Head, Reporter};
use crate::state::{State, Step};
use crate::summary::{Ended, Summary};
use crate::survey::{Migration, Survey};

/// Writes that wait for one commit together.
const WRITES: usize = 500;

pub(super) async fn run(global: &Global, args: &RunArgs) -> Outcome {
    let mut loaded = open::plan(global, &args.plan)?;
    open::apply_limits(&mut loaded.plan, &args.limits);
    run_loaded(global, args, loaded).await
}

/// Runs a plan that was read, whatever file `args` names.
pub(super) async fn run_loaded(global: &Global, args: &RunArgs, loaded: Loaded) -> Outcome {
    open::check_references(&loaded.plan)?;
    let stop = Stop::default();
    stop.on_signals()
        .map_err(|error| CommandError::new(Exit::Internal, "cannot listen to signals").caused_by(error))?;
    let database = tokio::select! {
        database = open_database(global, args, &loaded) => database?,
        () = stop.draining().cancelled() => {
            let message = format!("{} while waiting for another run to end; nothing was touched", stop.reason());
            return Err(CommandError::new(Exit::Stopped, message));
        }
    };
    let (draining, hurried) = (stop.draining().clone(), database.clone());
    // Whatever it is at then, also when all steps are over.
    tokio::spawn(async move {
        draining.cancelled().await;
        hurried.hurry();
    });
    let outcome = execute(global, args, loaded, &database, stop).await;
    // Closing puts what is queued into the file and gives the lock back, before anyone waits for a slow terminal.
    database.close().await;
    let (exit, reporter) = outcome?;
    if let Some(reporter) = reporter {
        tokio::task::spawn_blocking(move || reporter.finish(exit)).await.ok();
    }
    Ok(exit)
}

async fn open_database(global: &Global, args: &RunArgs, loaded: &Loaded) -> Result<Database, CommandError> {
    let plan = &loaded.plan;
    let url = open::database_url(global, plan)?;
    let if_running = match args.if_running {
        Some(IfRunningArg::Skip) => IfRunning::Skip,
        Some(IfRunningArg::Wait) => IfRunning::Wait,
        Some(IfRunningArg::Fail) => IfRunning::Fail,
        Some(IfRunningArg::Join) => IfRunning::Join,
        None => plan.schedule.if_running,
    };
    let holder = Holder::this_process("run", Some(&plan.name)).with_plan_file(loaded.sha256);
    let terms = open::terms(global)?;
    let opened = match if_running {
        IfRunning::Join => Database::open_joining(&url, &holder, terms, args.accept_changes).await,
        _ => Database::open_writing(&url, &holder, terms, if_running == IfRunning::Wait).await,
    };
    opened.map_err(|error| {
        let mut error = open::open_error(&error);
        if error.exit == Exit::Held && if_running == IfRunning::Fail {
            error.exit = Exit::Internal;
        }
        error
    })
}

/// A run with the database open. The reporter still has its summary to show.
async fn execute(
    global: &Global,
    args: &RunArgs,
    mut loaded: Loaded,
    database: &Database,
    stop: Stop,
) -> Result<(Exit, Option<Reporter>), CommandError> {
    let plan = &loaded.plan;
    if let Some(window) = args.stop_after.or(plan.schedule.stop_after) {
        stop.after(window, format!("the window of {} is over", format_duration(window)));
    }
    let limits = Arc::new(RunLimits::new(plan, Timestamp::now()));
    let mut sharing = Sharing::new(database, Arc::clone(&limits));
    let regions = open::regions(plan, limits.throttles.clone());
    open::warn_of_clouds(global, &regions, open::used_regions(plan)).await;
    arrive(global, &mut sharing, &stop).await?;
    let settled = settled::run(global, &args.selection, &loaded, &regions, database);
    if let Some((exit, reporter)) = beside(&mut sharing, settled).await? {
        return Ok((exit, Some(reporter)));
    }
    let (rows, planned) = surveyed::known_rows(database, &plan.name).await?;
    let survey = surveyed::survey(plan, &regions, &rows, &planned, &loaded, false);
    let mut survey = beside(&mut sharing, survey).await?;
    if !global.quiet && !global.json {
        surveyed::tell(&survey);
    }
    if let Some(edit) = Edit::of(&loaded, database, &rows, &planned, &survey).await? {
        if !global.quiet {
            edit.tell();
        }
        edit.check(args.accept_changes)?;
    }
    let graph = survey.graph();
    let selected = surveyed::select(&args.selection, &graph, &survey)?;
    let kept = kept(&rows, &planned, &survey);
    // The survey holds all of them from here on, for as long as the run may take.
    drop(rows);
    (loaded.plan.entries, loaded.source) = Default::default();
    let (loaded, plan) = (&loaded, &loaded.plan);
    let run = write_down(loaded, database, &mut survey, &selected, kept, &planned);
    let run = beside(&mut sharing, run.map_err(|error| open::database_error(&error))).await?;
    let migrations = only_selected(survey.migrations, &selected);
    let board = Arc::new(board(&migrations));
    let reporter = reporter(global, loaded, database, run, Arc::clone(&board))?;
    let sender = reporter.sender();
    let emit: Emit = Arc::new(move |event| sender.send(event));
    let is_in_the_way = tell_failures(&migrations, &emit);
    let mut tenants: HashMap<usize, BTreeSet<String>> = HashMap::new();
    for migration in &migrations {
        tenants.entry(migration.target).or_default().extend(migration.row.tenant_id.clone());
    }
    let tasks = migrations.into_iter().map(|migration| {
        let due = migration.is_due(args.selection.retry_failed);
        Task::new(migration, due)
    });
    let engine = Arc::new(Engine {
        database: database.clone(),
        claimant: database.runner().unwrap_or(run),
        regions,
        tenants,
        limits,
        retry: plan.retry,
        part_size: plan.part_size,
        verify: plan.verify,
        board,
        emit: Arc::clone(&emit),
        stop: stop.clone(),
    });
    let started = engine::run(engine, tasks.collect(), sharing).await.map_err(|error| open::database_error(&error))?;
    // What this runner could not do and others have not done is work that is left.
    let stopped = stop.draining().is_cancelled() || database.runner().is_some();
    let ended = Ended { stopped, started: started > 0, withheld: stopped && is_in_the_way };
    let (summary, exit) = conclude(database, &plan.name, run, &graph, &selected, ended)
        .await
        .map_err(|error| open::database_error(&error))?;
    emit(Event::Finished(Box::new(summary)));
    Ok((exit, Some(reporter)))
}

/// Tells what the survey found in the way; whether there is anything.
fn tell_failures(migrations: &[Migration], emit: &Emit) -> bool {
    let failures = (0..).zip(migrations).filter_map(|(item, migration)| Some((item, migration.failure.clone()?)));
    let events = failures.map(|(item, failure)| Event::Failed { item, step: Step::Copy, failure });
    events.map(|event| emit(event)).count() > 0
}

/// Copies that the plan asked for once and that are done: they stay the plan's, to be verified and shown, even when
/// a select does not take them any more. So do those that `verify` found bad since.
fn kept(rows: &HashMap<Uuid, Row>, planned: &[Uuid], survey: &Survey) -> Vec<Row> {
    let wanted: HashSet<Uuid> = survey.migrations.iter().map(|migration| migration.row.id).collect();
    let mut kept: Vec<&Row> = planned.iter().filter(|id| !wanted.contains(id)).filter_map(|id| rows.get(id)).collect();
    kept.retain(|row| row.completed_ms.is_some());
    kept.sort_unstable_by_key(|row| row.id);
    kept.into_iter().cloned().collect()
}

/// [`kept`], as it is once others may have written down what their version of the plan wants: also what they have added
/// since the survey, and what they have at work.
async fn kept_for_others(
    database: &Database,
    plan: &str,
    survey: &Survey,
    planned: &[Uuid],
    others: &HashSet<Uuid>,
) -> Result<Vec<Row>, DatabaseError> {
    let wanted: HashSet<Uuid> = survey.migrations.iter().map(|migration| migration.row.id).collect();
    let surveyed: HashSet<&Uuid> = planned.iter().collect();
    let unwanted: Vec<Uuid> = database.planned_ids(plan).await?.into_iter().filter(|id| !wanted.contains(id)).collect();
    let mut kept = database.rows(&unwanted).await?;
    kept.retain(|row| {
        let is_at_work = row.claimed_by.is_some_and(|owner| others.contains(&owner));
        row.completed_ms.is_some() || is_at_work || !surveyed.contains(&row.id)
    });
    kept.sort_unstable_by_key(|row| row.id);
    Ok(kept)
}

/// [`prepare`], by one runner at a time.
async fn write_down(
    loaded: &Loaded,
    database: &Database,
    survey: &mut Survey,
    selected: &[bool],
    kept: Vec<Row>,
    planned: &[Uuid],
) -> Result<Uuid, DatabaseError> {
    let lock = database.lock_plans().await?;
    let run = prepare(loaded, database, survey, selected, kept, planned).await;
    lock.release().await;
    run
}

/// Writes down what the plan wants now: entries, new rows, rows that cannot start, and the run itself.
async fn prepare(
    loaded: &Loaded,
    database: &Database,
    survey: &mut Survey,
    selected: &[bool],
    mut kept: Vec<Row>,
    planned: &[Uuid],
) -> Result<Uuid, DatabaseError> {
    let plan = &loaded.plan;
    let others = database.live_others().await?;
    // What this host alone may not reach is no reason for others to leave it.
    let is_told = |failure: &Failure| others.is_empty() || !failure.cause.is_transient();
    let new_or_known = survey.migrations.iter().map(|migration| match &migration.failure {
        Some(failure) if migration.row.planned_ms == 0 && is_told(failure) => {
            Cow::Owned(migration.row.clone().that_failed(failure.clone()))
        }
        _ => Cow::Borrowed(&migration.row),
    });
    for migration in &survey.migrations {
        if let Some(catalog) = &migration.other_catalog {
            let registered = Row { state: State::Completed, ..migration.row.clone() };
            database.to_other_catalog(&registered, catalog).await?;
        }
    }
    if database.runner().is_some() {
        kept = kept_for_others(database, &plan.name, survey, planned, &others).await?;
    }
    let wanted: Vec<Cow<'_, Row>> = new_or_known.chain(kept.into_iter().map(Cow::Owned)).collect();
    let saved = database.save_plan(&plan.name, &wanted).await?;
    drop(wanted);
    if database.runner().is_some() {
        let described: HashSet<Uuid> = saved.described.into_iter().collect();
        for migration in survey.migrations.iter_mut().filter(|migration| described.contains(&migration.row.id)) {
            migration.row.claim += 1;
        }
    }
    // Many at once, so that they share their commits.
    let written = survey.migrations.iter().zip(selected).map(|(migration, selected)| async move {
        let row = &migration.row;
        match &migration.failure {
            Some(failure) if row.planned_ms != 0 && row.failure().as_ref() != Some(failure) && is_told(failure) => {
                database.cannot_start(row, failure).await
            }
            None if *selected && migration.copy_is_there => database.still_copied(row).await,
            _ => Ok(false),
        }
    });
    let written: Vec<bool> = stream::iter(written).buffered(WRITES).try_collect().await?;
    for (migration, written) in survey.migrations.iter_mut().zip(written) {
        if let Some(failure) = &migration.failure {
            migration.row.state = State::Failed;
            migration.row.cause = Some(failure.cause);
        } else if migration.copy_is_there && written {
            migration.row.state = State::Saving;
        }
    }
    begin(loaded, database).await
}

/// Writes down that a run begins.
pub(super) async fn begin(loaded: &Loaded, database: &Database) -> Result<Uuid, DatabaseError> {
    let plan = &loaded.plan;
    let run = database
        .begin_run(NewRun {
            plan: plan.name.clone(),
            plan_sha256: loaded.sha256,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            regions: regions::as_written(&plan.regions, &plan.folder),
        })
        .await?;
    Ok(run.id)
}

/// Writes down how a run ended.
pub(super) async fn end(database: &Database, run: Uuid, exit: Exit, summary: &Summary) -> Result<(), DatabaseError> {
    let text = serde_json::to_string(summary).expect("a summary serializes");
    database.end_run(run, exit as u8, text).await?;
    Ok(())
}

pub(super) fn reporter(
    global: &Global,
    loaded: &Loaded,
    database: &Database,
    run: Uuid,
    board: Arc<Board>,
) -> Result<Reporter, CommandError> {
    let (plan, database) = (loaded.plan.name.clone(), database.name().to_string());
    let head = Head { plan, database, run, again: open::this_command() };
    Reporter::start(open::style(global), head, board)
        .map_err(|error| CommandError::new(Exit::Internal, "cannot start a thread").caused_by(error))
}

/// The selected migrations, with their parents' new positions: chains are selected whole.
fn only_selected(migrations: Vec<Migration>, selected: &[bool]) -> Vec<Migration> {
    let mut new_positions = Vec::with_capacity(selected.len());
    let mut next = 0;
    for selected in selected {
        new_positions.push(next);
        next += usize::from(*selected);
    }
    let kept = migrations.into_iter().zip(selected).filter(|(_, selected)| **selected);
    kept.map(|(migration, _)| Migration { parent: migration.parent.map(|parent| new_positions[parent]), ..migration })
        .collect()
}

fn board(migrations: &[Migration]) -> Board {
    let item = |migration: &Migration| Item {
        id: migration.row.id,
        name: migration.row.name.clone(),
        source: migration.row.source_region.as_str().into(),
        target: migration.row.region.as_str().into(),
        bytes: migration.row.bytes,
    };
    let copied = |migration: &Migration| match migration.row.state {
        State::Saving | State::Completed => migration.row.bytes.unwrap_or_default(),
        _ => 0,
    };
    // Parents come before their children.
    let mut roots: Vec<u32> = Vec::with_capacity(migrations.len());
    for (position, migration) in (0..).zip(migrations) {
        roots.push(migration.parent.map_or(position, |parent| roots[parent]));
    }
    Board {
        items: migrations.iter().map(item).collect(),
        stored: migrations.iter().map(|migration| AtomicU64::new(copied(migration))).collect(),
        roots,
        done_before: migrations.iter().map(|migration| migration.row.state == State::Completed).collect(),
        bytes_read: AtomicU64::new(0),
    }
}

/// Reads the end of the run from the database, never from memory, and writes it down.
async fn conclude(
    database: &Database,
    plan: &str,
    run: Uuid,
    graph: &Graph,
    selected: &[bool],
    ended: Ended,
) -> Result<(Summary, Exit), DatabaseError> {
    // Behind what the plan wants now come the copies that it only keeps.
    let keys = recorded::lacking_keys(database, plan).await?;
    let ids: Vec<Uuid> = graph.nodes().iter().map(|node| node.id).collect();
    let summary = recorded::summarise(&database.standings_of(plan, &ids).await?, graph, selected, &keys);
    let exit = summary.exit(ended);
    end(database, run, exit, &summary).await?;
    Ok((summary, exit))
}
