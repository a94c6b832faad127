//! `backhaul backup-copy`: the blueprint's subcommand. One backup of another region, and its record when it is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Outcome, complain, open, print, run};
use crate::cli::{BackupCopyArgs, Global, LimitArgs, RecordFormat, RunArgs, Selection};
use crate::database::{Database, Row};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::plan::{Entry, Known, Place, Plan, RegionIndex, Subject};
use crate::register::Registry;
use crate::report::printable;

/// Under this name the work is found again when the same command is given twice.
const PLAN_NAME: &str = "backup-copy";

pub(super) async fn backup_copy(global: &Global, args: &BackupCopyArgs) -> Outcome {
    let path = regions_file(args.regions.as_deref())?;
    let mut loaded = open::regions_file(global, &path)?;
    let entry = entry(&loaded.plan, args)?;
    PLAN_NAME.clone_into(&mut loaded.plan.name);
    loaded.plan.entries = vec![entry];
    let regions = open::unlimited_regions(&loaded.plan);
    open::warn_of_clouds(global, &regions, open::used_regions(&loaded.plan)).await;
    // What a run has to tell is told on stderr; stdout is for the record alone.
    let quiet = Global { quiet: true, json: false, database: global.database.clone(), verbose: 0, ..*global };
    let exit = run::run_loaded(&quiet, &once(path), loaded.clone()).await?;
    if exit != Exit::Done {
        return Ok(exit);
    }
    let row = copied(global, &loaded.plan, &args.backup).await?;
    if let Some(kept) = kept_words(&row, args) {
        complain(&format!("warning: {}", printable(&kept)));
    }
    let fields = fields(&row, &loaded.plan).await?;
    match args.format {
        _ if global.json => print(&format!("{}\n", Value::Object(fields)))?,
        RecordFormat::Json => print(&format!("{:#}\n", Value::Object(fields)))?,
        RecordFormat::Table => print(&table(&fields))?,
    }
    Ok(exit)
}

/// The file that says where regions are: the flag's, the environment's, or the one under `$XDG_CONFIG_HOME`.
fn regions_file(named: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("backhaul/regions.yaml")).ok_or_else(|| {
        CommandError::new(
            Exit::Usage,
            "no place for regions.yaml: neither `XDG_CONFIG_HOME` nor `HOME` is an absolute path",
        )
        .hint("name a plan or a regions file with --regions")
    })
}

/// The one entry of the plan: `--region` and `--to` may be left out where there is no choice.
fn entry(plan: &Plan, args: &BackupCopyArgs) -> Result<Entry, CommandError> {
    let to = match &args.to {
        Some(name) => vec![open::region(plan, name)?],
        None => plan.default_to.clone(),
    };
    let [to] = to[..] else {
        return Err(CommandError::new(Exit::Usage, "it is not said which region gets the backup")
            .hint(format!("add --to; the regions are: {}", open::region_names(plan))));
    };
    let from = match &args.region {
        Some(name) => open::region(plan, name)?,
        None => only_other(plan, to)?,
    };
    if from == to {
        return Err(CommandError::new(Exit::Usage, format!("`{}` cannot be copied to itself", plan.region(to).name)));
    }
    for (index, open, direction) in [(from, plan.region(from).copy_from, "from"), (to, plan.region(to).copy_to, "to")] {
        if !open {
            let name = &plan.region(index).name;
            return Err(CommandError::new(
                Exit::Usage,
                format!("region `{name}` is closed for copying {direction} it"),
            )
            .hint(format!("it says `copy_{direction}: false`")));
        }
    }
    Ok(Entry {
        place: Place::default(),
        subject: Subject::Id { id: args.backup.clone(), known: Known::default() },
        from,
        to: Arc::new([to]),
        name: Some(args.name.clone()),
        description: args.description.clone(),
    })
}

fn only_other(plan: &Plan, to: RegionIndex) -> Result<RegionIndex, CommandError> {
    let others: Vec<u16> = (0..).take(plan.regions.len()).filter(|index| *index != to.0).collect();
    match others[..] {
        [other] => Ok(RegionIndex(other)),
        _ => Err(CommandError::new(Exit::Usage, "it is not said which region has the backup")
            .hint(format!("add --region; the regions are: {}", open::region_names(plan)))),
    }
}

/// A run with nothing special about it.
fn once(plan: PathBuf) -> RunArgs {
    RunArgs {
        plan,
        dry_run: false,
        selection: Selection { retry_failed: true, ..Selection::default() },
        limits: LimitArgs::default(),
        stop_after: None,
        if_running: None,
        // Each of these commands wants one backup, and what another has begun goes on when that is given again.
        accept_changes: true,
    }
}

/// The row of the copy, from the database that the run has written.
async fn copied(global: &Global, plan: &Plan, backup: &str) -> Result<Row, CommandError> {
    let url = open::database_url(global, plan)?;
    let database: Database = open::reading(&url).await?;
    let rows = database.planned_rows(PLAN_NAME).await;
    database.close().await;
    let rows = rows.map_err(|error| open::database_error(&error))?;
    let named = |row: &Row| row.source_id.as_deref().is_some_and(|id| id.eq_ignore_ascii_case(backup));
    rows.into_iter().find(named).ok_or_else(|| {
        CommandError::new(
            Exit::Internal,
            format!("the copy of `{backup}` is not in the database that was just written"),
        )
    })
}

/// What to say where the copy was registered before, under other words than those that are given now.
fn kept_words(row: &Row, args: &BackupCopyArgs) -> Option<String> {
    let other_name = row.name != args.name;
    let other_description = args.description.is_some() && row.description != args.description;
    let given = match (other_name, other_description) {
        (false, false) => return None,
        (true, false) => "name is",
        (false, true) => "description is",
        (true, true) => "name and description are",
    };
    let description = row.description.as_ref().map(|text| format!(", description `{text}`")).unwrap_or_default();
    Some(format!(
        "the backup was copied before and stays registered as `{}`{description}: the {given} not changed",
        row.name
    ))
}

/// What the target's catalog shows of the copy, in the alphabet's order as Trove's client does. Its own words count, not
/// ours: a copy that was registered before has the name that it was given then.
async fn fields(row: &Row, plan: &Plan) -> Result<Map<String, Value>, CommandError> {
    let not_shown = |failure: Failure| {
        let message = format!("the copy is registered in region `{}`, and its record cannot be shown", row.region);
        let error = CommandError::new(Exit::Failed, message).caused_by(failure.message);
        CommandError { hint: failure.hint, ..error }
    };
    let regions = open::unlimited_regions(plan);
    let target = plan.regions.iter().position(|region| *region.name == *row.region).unwrap_or_default();
    let registry = Registry::of_source(&regions, target).await.map_err(not_shown)?;
    let tenants: BTreeSet<String> = row.tenant_id.iter().cloned().collect();
    let ledger = registry.ledger(Some(&tenants).filter(|tenants| !tenants.is_empty())).await;
    let ledger = ledger.map_err(|error| not_shown(error.0))?;
    let Some(record) = ledger.copy_of(row.id) else {
        let message = format!("region `{}` shows no record of the copy that was just registered there", row.region);
        return Err(CommandError::new(Exit::Failed, message).hint("backhaul verify tells what is wrong"));
    };
    let fields = json!({
        "created": record.created, "datastore": record.datastore, "datastore_version": record.datastore_version,
        "description": record.description, "id": record.id,
        "instance_id": if registry.trove().is_some() { None } else { record.instance_id.as_deref() },
        "locationRef": record.location_url.as_deref().unwrap_or(&record.location), "name": record.name,
        "parent_id": record.parent_id, "project_id": record.tenant_id, "size": record.size,
        "status": record.state.word(), "updated": record.updated,
    });
    Ok(match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    })
}

/// Fields and values in a frame, as the `openstack` command draws it.
fn table(fields: &Map<String, Value>) -> String {
    let text = |value: &Value| match value {
        Value::Null => "None".to_owned(),
        Value::String(text) => printable(text).to_string(),
        other => other.to_string(),
    };
    let rows: Vec<(String, String)> = fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    let width = |of: fn(&(String, String)) -> &String, least: usize| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default().max(least)
    };
    let (names, values) = (width(|row| &row.0, "Field".len()), width(|row| &row.1, "Value".len()));
    let line = format!("+{}+{}+\n", "-".repeat(names + 2), "-".repeat(values + 2));
    let row = |name: &str, value: &str| format!("| {name:<names$} | {value:<values$} |\n");
    let body: String = rows.iter().map(|(name, value)| row(name, value)).collect();
    format!("{line}{}{line}{body}{line}", row("Field", "Value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_framed_as_the_openstack_client_does() {
        let fields = json!({"id": "aeb6", "instance_id": null, "size": 2.0});
        let Value::Object(fields) = fields else { panic!("an object") };
        let drawn = "+-------------+-------+\n\
                     | Field       | Value |\n\
                     +-------------+-------+\n\
                     | id          | aeb6  |\n\
                     | instance_id | None  |\n\
                     | size        | 2.0   |\n\
                     +-------------+-------+\n";
        assert_eq!(table(&fields), drawn);
    }
}
