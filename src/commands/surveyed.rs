//! What `run` and its dry run have in common: asking, and selecting from the answers.

use std::collections::HashMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::{complain, open, selection};
use crate::cli::Selection;
use crate::database::{Database, Row};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::graph::Graph;
use crate::plan::{Loaded, Plan};
use crate::regions::Regions;
use crate::report::printable;
use crate::state::State;
use crate::survey::{Survey, Surveyor};

/// All rows of a database, by id: other plans may share some of this one's. And the ids that this plan wanted last.
pub(super) async fn known_rows(
    database: &Database,
    plan: &str,
) -> Result<(HashMap<Uuid, Row>, Vec<Uuid>), CommandError> {
    let rows = database.all_rows().await.map_err(|error| open::database_error(&error))?;
    let planned = database.planned_ids(plan).await.map_err(|error| open::database_error(&error))?;
    Ok((rows.into_iter().map(|row| (row.id, row)).collect(), planned))
}

/// Asks stores and catalogs.
pub(super) async fn survey(
    plan: &Plan,
    regions: &Regions,
    rows: &HashMap<Uuid, Row>,
    planned: &[Uuid],
    loaded: &Loaded,
    look_at_targets: bool,
) -> Result<Survey, CommandError> {
    let surveyor = Surveyor { plan, regions, rows, planned, now: Timestamp::now(), look_at_targets };
    surveyor.survey().await.map_err(|error| error.into_command_error(loaded))
}

/// The part of a survey that the command line selects.
pub(super) fn select(selection: &Selection, graph: &Graph, survey: &Survey) -> Result<Vec<bool>, CommandError> {
    let rows: Vec<&Row> = survey.migrations.iter().map(|migration| &migration.row).collect();
    let open: Vec<bool> = survey.migrations.iter().map(|migration| migration.is_due(selection.retry_failed)).collect();
    let selected = selection::select(selection, graph, &rows, &open);
    if !selection.only.is_empty() && selection.limit.is_none() && !selected.contains(&true) {
        return Err(CommandError::new(Exit::Usage, "no backup of the plan matches --only; nothing was touched")
            .hint("`backhaul plan --json` shows ids, `backhaul status` what is there"));
    }
    Ok(selected)
}

/// Shows what lies before a run, and what is left out of it.
pub(super) fn tell(survey: &Survey) {
    for note in &survey.notes {
        complain(&format!("note: {}", printable(note)));
    }
    tell_skipped(survey);
}

/// Shows what could not be asked.
pub(super) fn tell_skipped(survey: &Survey) {
    let skipped = survey.skipped;
    let parts = [
        (skipped.excepted, "left out by `except`"),
        (skipped.failed, "FAILED in the source's records"),
        (skipped.deferred, "not finished yet"),
        (skipped.declined, "deleted in the target by their owners"),
        (skipped.vanished, "gone from the source's records"),
        (
            skipped.elsewhere,
            "begun between stores that no region of the plan is now (`identity` keeps one that has moved)",
        ),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    let shared = survey
        .migrations
        .iter()
        .filter(|migration| migration.row.state != State::Completed && migration.row.is_the_source_itself());
    let shared = shared.count();
    if shared > 0 {
        complain(&format!(
            "note: {shared} copies are the source's own objects, because both regions are one account: only their records are \
             made, and they share the source's fate"
        ));
    }
    if !parts.is_empty() {
        complain(&format!("not taken by selects: {}", parts.join(", ")));
    }
}
