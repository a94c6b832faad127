//! `backhaul gc`: removes what dead runs left unpublished in target regions. Only what a row of ours names.

use serde_json::json;

use super::recorded::Recorded;
use super::{Outcome, complain, open, print, print_json};
use crate::cli::{GcArgs, Global};
use crate::database::Row;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::regions::records_in;
use crate::register::{Authors, Registry};
use crate::report::printable;
use crate::state::State;
use crate::store::{Target, Upload};

pub(super) async fn gc(global: &Global, args: &GcArgs) -> Outcome {
    let recorded = Recorded::open_writing(global, args.plan.as_deref(), "gc").await?;
    let outcome = collect(global, args, &recorded).await;
    recorded.database.close().await;
    outcome
}

async fn collect(global: &Global, args: &GcArgs, recorded: &Recorded) -> Outcome {
    let unwanted = recorded.database.wanted_by_no_plan().await.map_err(|error| open::database_error(&error))?;
    let mut rows = recorded.rows().await?;
    let known: std::collections::BTreeSet<_> = rows.iter().map(|row| row.id).collect();
    let unwanted_ids: std::collections::BTreeSet<_> = unwanted.iter().map(|row| row.id).collect();
    rows.extend(unwanted.into_iter().filter(|row| !known.contains(&row.id)));
    let (mut removed, mut kept, mut unreachable) = (0_u64, 0_u64, 0_u64);
    for row in rows {
        let unpublished_record = row.completed_ms.is_none() && row.record.is_some();
        if row.upload_token.is_none() && !unpublished_record {
            continue;
        }
        if !unwanted_ids.contains(&row.id) && goes_on(&row) {
            kept += 1;
            continue;
        }
        if args.dry_run {
            removed += 1;
            tell(global, &row, "would be removed")?;
            continue;
        }
        recorded.database.check_lease().map_err(|error| open::database_error(&error))?;
        match remove(recorded, &row).await? {
            Ok(()) => {
                removed += 1;
                tell(global, &row, "removed")?;
            }
            Err(failure) => {
                unreachable += 1;
                complain(&format!("skipped: `{}`: {}", printable(&row.name), printable(&failure.message)));
            }
        }
    }
    tell_end(global, args, removed, kept, unreachable)?;
    Ok(if unreachable > 0 { Exit::Unreachable } else { Exit::Done })
}

/// Whether the next run goes on from what it has of a copy that its plan wants. What failed for a cause that may pass has
/// kept its parts for that.
fn goes_on(row: &Row) -> bool {
    row.state != State::Failed || row.cause.is_none_or(Cause::is_transient)
}

/// Removes what lies staged for a row, then forgets it. A published object is never touched.
async fn remove(recorded: &Recorded, row: &Row) -> Result<Result<(), Failure>, CommandError> {
    let store = match recorded.store(row).await {
        Ok(store) => store,
        Err(failure) => return Ok(Err(failure)),
    };
    let staged = row.upload_token.as_ref().filter(|_| !row.is_the_source_itself());
    if let (Some(token), Some(Ok(key))) = (staged, row.location.as_deref().map(Key::parse)) {
        let upload = Upload { key, token: token.clone(), upload_id: row.upload_id.clone(), parts: row.parts() };
        if let Err(error) = store.abandon(&upload).await {
            return Ok(Err(error.of_target()));
        }
    }
    // In Trove nothing of a batch can be left, and its name is none of an object there.
    let authors = Authors::of(&recorded.database);
    if row.target_catalog == records_in(&row.target_store)
        && let Err(error) = Registry::records_in(store).settle(std::slice::from_ref(row), authors).await
    {
        return Ok(Err(error.0));
    }
    crate::fault::point("gc-after-abandon");
    recorded.database.upload_gone(row).await.map_err(|error| open::database_error(&error))?;
    Ok(Ok(()))
}

fn tell(global: &Global, row: &Row, what: &str) -> Result<(), CommandError> {
    if global.json {
        print_json(&json!({"type": "debris", "id": row.id, "name": row.name, "region": row.region, "what": what}))?;
    } else if !global.quiet {
        print(&format!(
            "{what}: unfinished copy of `{}` in region `{}`\n",
            printable(&row.name),
            printable(&row.region)
        ))?;
    }
    Ok(())
}

fn tell_end(global: &Global, args: &GcArgs, removed: u64, kept: u64, unreachable: u64) -> Result<(), CommandError> {
    if global.json {
        print_json(&json!({
            "type": "gc", "version": 1, "dry_run": args.dry_run, "removed": removed, "kept": kept,
            "unreachable": unreachable,
        }))?;
    } else if !global.quiet {
        let verb = if args.dry_run { "would be removed" } else { "removed" };
        let mut text = format!("{removed} unfinished copies {verb}");
        if kept > 0 {
            text.push_str(&format!(", {kept} kept: running their plan goes on from what they have"));
        }
        print(&format!("{text}\n"))?;
    }
    Ok(())
}
