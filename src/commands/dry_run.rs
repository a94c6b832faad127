//! `backhaul plan`, which is `run --dry-run`: asks every store and catalog, changes nothing, and shows what a run
//! would do and everything that would fail.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::edited::Edit;
use super::saved::{self, Saved};
use super::{Outcome, open, print, print_json, surveyed};
use crate::cli::{DryRunArgs, Global};
use crate::database::{Database, OpenError};
use crate::error::CommandError;
use crate::number::counted;
use crate::plan::Loaded;
use crate::regions::Regions;
use crate::report::dry_run::{Forecast, forecast_json, forecast_text};
use crate::survey::Survey;

pub(super) async fn dry_run(global: &Global, args: &DryRunArgs) -> Outcome {
    let mut loaded = open::plan(global, &args.plan)?;
    open::apply_limits(&mut loaded.plan, &args.limits);
    open::check_references(&loaded.plan)?;
    if let Some(out) = &args.out {
        saved::must_be_new(out)?;
    }
    let began = Instant::now();
    let regions = open::unlimited_regions(&loaded.plan);
    let (mut survey, edit) = look(global, &loaded, &regions, true).await?;
    let graph = survey.graph();
    let selected = surveyed::select(&args.selection, &graph, &survey)?;
    if args.probe_writes {
        survey.probe_writes(&regions, &selected, args.selection.retry_failed).await;
    }
    let url = open::database_url(global, &loaded.plan)?;
    let forecast = Forecast::new(&loaded.plan, &survey, &graph, &selected, args.selection.retry_failed);
    if global.json {
        for line in forecast_json(&forecast, &survey, &graph, &selected) {
            print_json(&line)?;
        }
    } else if !global.quiet {
        let verbose = global.verbose > 0;
        print(&forecast_text(&forecast, &survey, &graph, &selected, &url.to_string(), began.elapsed(), verbose))?;
        surveyed::tell_skipped(&survey);
    }
    if let Some(edit) = edit {
        if !global.quiet {
            edit.tell();
        }
        edit.check(args.accept_changes)?;
    }
    if let Some(out) = &args.out {
        save(global, out, &saved::saved(&loaded, &survey, &selected)?)?;
    }
    Ok(forecast.exit())
}

fn save(global: &Global, out: &Path, saved: &Saved) -> Result<(), CommandError> {
    saved::create(out, &saved.text)?;
    if global.json {
        let Saved { entries, without_pin, .. } = saved;
        return print_json(
            &json!({"type": "saved", "version": 1, "plan": out, "backups": entries, "without_pin": without_pin}),
        );
    }
    if global.quiet {
        return Ok(());
    }
    let backups = counted(saved.entries as u64, "backup");
    let unpinned = match saved.without_pin {
        0 => String::new(),
        count => format!(", {count} of them not pinned because their sources could not be asked"),
    };
    print(&format!(
        "saved to {0} with {backups}{unpinned}; run it: backhaul run {0}\n",
        open::quoted(&out.display().to_string())
    ))
}

/// Surveys a plan against its database as it is, without creating one; and what was edited since its last run.
pub(super) async fn look(
    global: &Global,
    loaded: &Loaded,
    regions: &Regions,
    look_at_targets: bool,
) -> Result<(Survey, Option<Edit>), CommandError> {
    open::warn_of_clouds(global, regions, open::used_regions(&loaded.plan)).await;
    let url = open::database_url(global, &loaded.plan)?;
    match Database::open_reading(&url).await {
        Ok(database) => {
            let looked = look_beside(&database, loaded, regions, look_at_targets).await;
            database.close().await;
            looked
        }
        // The first run will make it.
        Err(OpenError::Absent { .. }) => {
            let nothing = &HashMap::new();
            let survey = surveyed::survey(&loaded.plan, regions, nothing, &[], loaded, look_at_targets).await?;
            Ok((survey, None))
        }
        Err(error) => Err(open::open_error(&error)),
    }
}

async fn look_beside(
    database: &Database,
    loaded: &Loaded,
    regions: &Regions,
    look_at_targets: bool,
) -> Result<(Survey, Option<Edit>), CommandError> {
    let (rows, planned) = surveyed::known_rows(database, &loaded.plan.name).await?;
    let survey = surveyed::survey(&loaded.plan, regions, &rows, &planned, loaded, look_at_targets).await?;
    let edit = Edit::of(loaded, database, &rows, &planned, &survey).await?;
    Ok((survey, edit))
}
