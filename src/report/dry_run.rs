//! What a dry run shows: what a run would do, in what order, how long it would take at least, and what would fail.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{failure_lines, printable};
use crate::exit::Exit;
use crate::graph::Graph;
use crate::number::{counted, format_bytes, format_duration};
use crate::plan::Plan;
use crate::state::State;
use crate::summary::{Ended, Line, Summary};
use crate::survey::{Migration, Probed, Survey};

/// Steps that are listed without `-v`.
const STEPS_SHOWN: usize = 20;

/// What a run would do with the selected migrations.
#[derive(Debug, Clone)]
pub struct Forecast {
    /// Copies and bytes for each pair of regions, in the order of the plan.
    pub pairs: Vec<Pair>,
    /// Migrations of which only the record is missing.
    pub registers_only: u64,
    /// Copies that go on from what is stored.
    pub resumed: u64,
    /// Objects that lie in their place already, to be read and adopted.
    pub adopted: u64,
    /// `FAILED` for good: left alone without `--retry-failed`.
    pub left_alone: u64,
    /// Bytes to copy.
    pub bytes: u64,
    /// Requests to stores, roughly: for each copy a look and a read a part at the source, a begin, a write a part
    /// and a publish at the target.
    pub requests: u64,
    /// Least time under the plan's limits, if there is any limit.
    pub seconds_at_least: Option<u64>,
    /// The rows as they would be if everything that is predicted to fail had failed, and nothing else ran.
    pub summary: Summary,
    /// Things in the way that belong to no single migration.
    pub warnings: u64,
}

/// What goes from one region to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The source region.
    pub source: String,
    /// The target region.
    pub target: String,
    /// Copies.
    pub copies: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Forecast {
    /// Counts what a run would do.
    #[must_use]
    pub fn new(plan: &Plan, survey: &Survey, graph: &Graph, selected: &[bool], retry_failed: bool) -> Self {
        let mut forecast = Self {
            pairs: Vec::new(),
            registers_only: 0,
            resumed: 0,
            adopted: 0,
            left_alone: 0,
            bytes: 0,
            requests: 0,
            seconds_at_least: None,
            summary: summary(survey, graph, selected),
            warnings: survey.warnings.len() as u64,
        };
        let mut pairs: BTreeMap<(usize, usize), Pair> = BTreeMap::new();
        for (migration, _) in survey.migrations.iter().zip(selected).filter(|(_, selected)| **selected) {
            if migration.failure.is_none() && migration.row.state == State::Failed && !migration.is_due(retry_failed) {
                forecast.left_alone += 1;
            }
            if !migration.is_due(retry_failed) {
                continue;
            }
            if migration.row.state == State::Saving || migration.copy_is_there {
                forecast.registers_only += 1;
                continue;
            }
            let bytes = migration.object.as_ref().map_or(0, |object| object.pin.size);
            let parts = bytes.div_ceil(plan.part_size).max(1);
            forecast.resumed += u64::from(migration.row.upload_token.is_some());
            forecast.adopted += u64::from(migration.exists);
            forecast.bytes += bytes;
            forecast.requests += 2 * parts + 4;
            let pair = pairs.entry((migration.source, migration.target)).or_insert_with(|| Pair {
                source: migration.row.source_region.clone(),
                target: migration.row.region.clone(),
                copies: 0,
                bytes: 0,
            });
            pair.copies += 1;
            pair.bytes += bytes;
        }
        forecast.seconds_at_least = least_seconds(plan, &pairs, forecast.bytes);
        forecast.pairs = pairs.into_values().collect();
        forecast
    }

    /// 3 where a failure is predicted, 7 where it is one of integrity, 6 where nothing can be reached, else 0.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let started = !self.pairs.is_empty() || self.registers_only > 0;
        match self.summary.exit(Ended { stopped: true, started, ..Ended::default() }) {
            Exit::Stopped if self.warnings > 0 => Exit::Failed,
            Exit::Stopped => Exit::Done,
            exit => exit,
        }
    }
}

/// The time that the slowest limit alone would take. Timetables count with the highest of their rates; what is
/// written to a folder is read back, and that counts too.
fn least_seconds(plan: &Plan, pairs: &BTreeMap<(usize, usize), Pair>, bytes: u64) -> Option<u64> {
    let highest = |timetable: &crate::plan::Timetable| {
        let mut rates = timetable.windows.iter().map(|window| window.rate).chain([timetable.default]);
        rates.try_fold(0, |highest: u64, rate| rate.map(|rate| highest.max(rate)))
    };
    let total = highest(&plan.limits.bandwidth).map(|rate| (2 * bytes).div_ceil(rate.max(1)));
    let regions = plan.limits.regions.iter().filter_map(|(region, own)| {
        let index = usize::from(region.0);
        let times = |(source, target): &(usize, usize)| u64::from(*source == index) + 2 * u64::from(*target == index);
        let through: u64 = pairs.iter().map(|(regions, pair)| times(regions) * pair.bytes).sum();
        highest(&own.bandwidth).map(|rate| through.div_ceil(rate.max(1)))
    });
    regions.chain(total).max()
}

fn summary(survey: &Survey, graph: &Graph, selected: &[bool]) -> Summary {
    let states: Vec<State> = survey
        .migrations
        .iter()
        .map(|migration| if migration.failure.is_some() { State::Failed } else { migration.row.state })
        .collect();
    let blocked = graph.blocked_by(&states);
    let lines = survey.migrations.iter().enumerate().map(|(position, migration)| {
        let failure = migration.failure.as_ref();
        let tried_again = failure.is_none() && states[position] == State::Failed && migration.is_due(false);
        Line {
            id: migration.row.id,
            name: &migration.row.name,
            state: if tried_again { State::New } else { states[position] },
            bytes: migration.row.bytes.unwrap_or_default(),
            tenant: migration.row.tenant_id.as_deref(),
            cause: failure.map(|failure| failure.cause).or(migration.row.cause),
            error: failure.map(|failure| failure.message.as_str()).or(migration.row.error.as_deref()),
            hint: failure.map_or(migration.row.hint.as_deref(), |failure| failure.hint.as_deref()),
            root: graph.root(position),
            blocked_by: blocked[position],
            selected: selected[position],
            lacks_key: migration.lacks_key,
        }
    });
    Summary::of(&lines.collect::<Vec<_>>())
}

/// What one migration would go through, in words.
fn step(migration: &Migration) -> &'static str {
    match migration.row.state {
        State::Completed => "registered already",
        _ if migration.failure.is_some() => "would fail",
        state if state == State::Saving || migration.copy_is_there => "register",
        _ if migration.exists => "read what is there, register",
        _ if migration.row.upload_token.is_some() => "go on copying, register",
        _ => "copy, register",
    }
}

/// The forecast for a person.
#[must_use]
pub fn forecast_text(
    forecast: &Forecast,
    survey: &Survey,
    graph: &Graph,
    selected: &[bool],
    database: &str,
    took: Duration,
    verbose: bool,
) -> String {
    let mut text = format!("database {database}\n");
    let counts = forecast.summary.selected;
    for pair in &forecast.pairs {
        let copies = counted(pair.copies, "copy");
        text += &format!(
            "{} -> {}: {copies}, {}\n",
            printable(&pair.source),
            printable(&pair.target),
            format_bytes(pair.bytes)
        );
    }
    let notes = [
        (counts.registered, "registered already"),
        (forecast.registers_only, "copied already, to be registered"),
        (forecast.resumed, "go on from what is stored"),
        (forecast.adopted, "lie in their place already, to be read and adopted"),
        (forecast.left_alone, "failed for good before, left alone without --retry-failed"),
        (forecast.summary.left_out.total, "left out by --only or --limit"),
    ];
    for (count, what) in notes.into_iter().filter(|(count, _)| *count > 0) {
        text += &format!("{count} {what}\n");
    }
    text += &steps_text(survey, graph, selected, verbose);
    text += &format!("about {} requests", forecast.requests);
    match forecast.seconds_at_least {
        Some(seconds) => {
            text += &format!("; at least {} under the limits\n", format_duration(Duration::from_secs(seconds)));
        }
        None => text += "; no bandwidth limit\n",
    }
    for note in &survey.notes {
        text += &format!("note: {}\n", printable(note));
    }
    for warning in &survey.warnings {
        text += &format!("warning: {}\n", printable(&warning.message));
        if let Some(hint) = &warning.hint {
            text += &format!("  hint: {}\n", printable(hint));
        }
    }
    text += &failure_lines(&forecast.summary);
    text += &probed_text(survey.probed.as_deref());
    text += &format!("; asked in {} ms\n", took.as_millis());
    text
}

/// What is known of write permission, and that nothing was changed to learn it.
fn probed_text(probed: Option<&[Probed]>) -> String {
    let Some(probed) = probed else { return "nothing was changed; write permission was not tested".to_owned() };
    let lines = probed.iter().map(|Probed { region, failure }| match failure {
        None => format!("region `{}` can be written\n", printable(region)),
        Some(failure) => {
            format!("region `{}` cannot be written: {}\n", printable(region), printable(&failure.message))
        }
    });
    let end = if probed.is_empty() {
        "nothing was changed; there is nothing to write, so nothing was tried"
    } else if probed.iter().all(|probed| probed.failure.is_none()) {
        "nothing was changed; what was written to test it was removed"
    } else {
        "nothing else was changed"
    };
    lines.chain([end.to_owned()]).collect()
}

fn steps_text(survey: &Survey, graph: &Graph, selected: &[bool], verbose: bool) -> String {
    let mut text = String::new();
    let open = graph
        .order()
        .iter()
        .filter(|position| selected[**position] && survey.migrations[**position].row.state != State::Completed);
    let open: Vec<usize> = open.copied().collect();
    let shown = if verbose { open.len() } else { STEPS_SHOWN };
    for &position in open.iter().take(shown) {
        let migration = &survey.migrations[position];
        let indent = if migration.parent.is_some() { "  └ " } else { "  " };
        text += &format!(
            "{indent}{}  {} -> {}  {}  {}\n",
            printable(&migration.row.name),
            printable(&migration.row.source_region),
            printable(&migration.row.region),
            migration.row.bytes.map(format_bytes).unwrap_or_default(),
            step(migration)
        );
    }
    if open.len() > shown {
        text += &format!("  … and {} more, shown with -v\n", open.len() - shown);
    }
    text
}

fn write_permission(probed: Option<&[Probed]>) -> Value {
    let Some(probed) = probed else { return json!("not tested") };
    let region = |Probed { region, failure }: &Probed| json!({"region": region, "can_be_written": failure.is_none(), "failure": failure});
    probed.iter().map(region).collect()
}

/// The forecast for a script: a line a migration, then the totals.
#[must_use]
pub fn forecast_json(forecast: &Forecast, survey: &Survey, graph: &Graph, selected: &[bool]) -> Vec<Value> {
    let mut lines = Vec::new();
    for &position in graph.order().iter().filter(|position| selected[**position]) {
        let migration = &survey.migrations[position];
        lines.push(json!({
            "type": "planned", "id": migration.row.id, "name": migration.row.name,
            "source_region": migration.row.source_region, "region": migration.row.region,
            "location": migration.row.location, "parent_id": migration.row.parent_id,
            "bytes": migration.row.bytes, "state": migration.row.state, "step": step(migration),
            "failure": migration.failure,
        }));
    }
    let pairs: Vec<Value> = forecast
        .pairs
        .iter()
        .map(|pair| json!({"source": pair.source, "target": pair.target, "copies": pair.copies, "bytes": pair.bytes}))
        .collect();
    lines.push(json!({
        "type": "forecast", "version": 1, "pairs": pairs, "bytes": forecast.bytes, "requests": forecast.requests,
        "seconds_at_least": forecast.seconds_at_least, "registers_only": forecast.registers_only,
        "resumed": forecast.resumed, "adopted": forecast.adopted, "left_alone": forecast.left_alone,
        "skipped": survey.skipped, "notes": survey.notes, "warnings": survey.warnings, "write_permission": write_permission(survey.probed.as_deref()),
        "summary": forecast.summary, "exit_code": forecast.exit() as u8,
    }));
    lines
}
