//! `backhaul verify`: looks at the copies again, with or without the plan file, and with the source gone.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::recorded::Recorded;
use super::{Outcome, print, print_json};
use crate::catalog::Ledger;
use crate::cli::{Depth, Global, VerifyArgs};
use crate::copy;
use crate::database::{Database, Row};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::failure::{Cause, Failure};
use crate::register::{Authors, Parent, Registry};
use crate::report::printable;
use crate::state::State;
use crate::store::{Pin, StoreError};

/// Copies looked at at a time: each holds one buffer of a few MiB.
const LOOKS: usize = 8;

pub(super) async fn verify(global: &Global, args: &VerifyArgs) -> Outcome {
    let recorded = Recorded::open_writing(global, args.plan.as_deref(), "verify").await?;
    let outcome = verify_open(global, args, &recorded).await;
    recorded.database.close().await;
    outcome
}

async fn verify_open(global: &Global, args: &VerifyArgs, recorded: &Recorded) -> Outcome {
    let rows = recorded.rows().await?;
    if rows.is_empty() {
        recorded.must_have_run(args.plan.as_deref()).await?;
    }
    let today = Timestamp::now().as_second() / 86_400;
    let (known_bad, rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_known_bad);
    let chosen: Vec<Row> = rows
        .into_iter()
        .filter(|row| row.state == State::Completed)
        .filter(|row| args.sample.is_none_or(|percent| is_sampled(row, percent, today)))
        .collect();
    let all: HashMap<Uuid, Parent> = chosen.iter().filter_map(|row| Some((row.id, Registry::parent(row)?))).collect();
    let mut targets = BTreeMap::new();
    let mut tally = Tally { looked_at: chosen.len() + known_bad.len(), ..Tally::default() };
    // What was found before and not mended since is told again: a second look must not say that all is well.
    for row in &known_bad {
        if let Some(failure) = row.failure() {
            tell(global, row, &failure)?;
            tally.count(Finding::of(&failure));
        }
    }
    for row in &chosen {
        if let Entry::Vacant(target) = targets.entry(target_of(row)) {
            target.insert(open_target(recorded, row, &chosen).await);
        }
    }
    let all = &all;
    let looks = stream::iter(chosen)
        .map(|row| {
            let target = &targets[&target_of(&row)];
            async move {
                let found = match target {
                    Ok((registry, ledger)) => look(registry, ledger, &row, parent(all, &row), args.depth).await,
                    Err(failure) => Err(Failure { cause: Cause::Unreachable, ..failure.clone() }),
                };
                (row, found)
            }
        })
        .buffer_unordered(LOOKS);
    let mut looks = std::pin::pin!(looks);
    while let Some((row, found)) = looks.next().await {
        if let Err(failure) = found {
            let finding = Finding::of(&failure);
            if finding != Finding::Declined {
                tell(global, &row, &failure)?;
            }
            // Only what was seen is written down: a copy that could not be looked at is not a bad one.
            if let (Ok((registry, _)), true) =
                (&targets[&target_of(&row)], !matches!(finding, Finding::NotSeen | Finding::Declined))
            {
                write_down(&recorded.database, registry, &row, &failure).await?;
            }
            tally.count(finding);
        }
    }
    tell_end(global, args, &tally)?;
    Ok(tally.exit())
}

/// A registered copy that an earlier `verify` found gone or changed.
fn is_known_bad(row: &Row) -> bool {
    let found = matches!(row.cause, Some(Cause::Integrity | Cause::CopyMissing | Cause::RecordConflict));
    row.state == State::Failed && row.completed_ms.is_some() && found
}

/// Evenly spread over the rows, and other ones each day.
fn is_sampled(row: &Row, percent: f64, day: i64) -> bool {
    let mut hasher = DefaultHasher::new();
    (row.id, day).hash(&mut hasher);
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 64 bits")]
    let share = hasher.finish() as f64 / u64::MAX as f64;
    share * 100.0 < percent
}

/// What a copy lies in and what it is registered in: one store may have had several catalogs.
fn target_of(row: &Row) -> (String, String) {
    (row.target_store.clone(), row.target_catalog.clone())
}

/// Store and records of the region that a row's copy was made in.
async fn open_target(recorded: &Recorded, row: &Row, rows: &[Row]) -> Result<(Registry, Ledger), Failure> {
    let registry = recorded.registry(row).await?;
    let here = rows.iter().filter(|other| target_of(other) == target_of(row));
    let tenants: BTreeSet<String> = here.filter_map(|row| row.tenant_id.clone()).collect();
    let tenants = Some(tenants).filter(|tenants| !tenants.is_empty());
    let ledger = registry.ledger(tenants.as_ref()).await.map_err(|error| error.0)?;
    if ledger.records().next().is_none() {
        let message = format!("region `{}` has none of the records that were registered there", row.region);
        return Err(Failure::new(Cause::Unreachable, message).hint("is its disk mounted?"));
    }
    Ok((registry, ledger))
}

/// The copy that a row's copy builds on.
fn parent(all: &HashMap<Uuid, Parent>, row: &Row) -> Option<Parent> {
    row.parent_id.and_then(|id| all.get(&id)).cloned()
}

/// Whether object and record are what the row says.
async fn look(
    registry: &Registry,
    ledger: &Ledger,
    row: &Row,
    parent: Option<Parent>,
    depth: Depth,
) -> Result<(), Failure> {
    let (key, facts) = registry.look(ledger, row, parent.as_ref()).await?;
    if depth == Depth::Quick {
        return Ok(());
    }
    let pin = Pin { etag: facts.etag, size: facts.size };
    let digest = copy::digest(registry.store(), &key, &pin, &|_| ()).await.map_err(StoreError::of_target)?;
    if Some(digest) == row.sha256 {
        return Ok(());
    }
    let expected = row.sha256.map(|digest| digest.to_string()).unwrap_or_default();
    let message = format!("`{key}` in region `{}` has sha256 {digest}, and had {expected}", row.region);
    Err(Failure::new(Cause::Integrity, message)
        .hint("move the damaged object away, then run the plan with --retry-failed while the source is still there"))
}

/// Catalog and row say that this copy is not what it was: the catalog first, so that a `select` never takes for good
/// what the row knows to be bad. The batch is in the row before anything of it is in the store.
async fn write_down(
    database: &Database,
    registry: &Registry,
    row: &Row,
    failure: &Failure,
) -> Result<(), CommandError> {
    database.check_lease().map_err(|error| super::open::database_error(&error))?;
    // What a `verify` that was killed here has left is named by the row only until the next batch is.
    if let Err(error) = registry.settle(std::slice::from_ref(row), Authors::AreGone).await {
        super::complain(&format!("warning: the catalog still says COMPLETED: {error}"));
        return Ok(());
    }
    let batch = Uuid::now_v7();
    let intended = database.intend_record(row, &batch.to_string()).await;
    if !intended.map_err(|error| super::open::database_error(&error))? {
        return Ok(());
    }
    let now_ms = Timestamp::now().as_millisecond();
    if let Err(error) = registry.record_failure(batch, row, &failure.message, now_ms).await {
        super::complain(&format!("warning: the catalog still says COMPLETED: {error}"));
    }
    crate::fault::point("verify-between");
    database.verify_failed(row, failure).await.map_err(|error| super::open::database_error(&error))?;
    Ok(())
}

fn tell(global: &Global, row: &Row, failure: &Failure) -> Result<(), CommandError> {
    if global.json {
        print_json(&json!({
            "type": "bad_copy", "id": row.id, "name": row.name, "region": row.region,
            "cause": failure.cause, "message": failure.message,
        }))?;
    } else {
        super::complain(&format!("failed: `{}`: {}", printable(&row.name), printable(&failure.message)));
        if let Some(hint) = &failure.hint {
            super::complain(&format!("  hint: {}", printable(hint)));
        }
    }
    Ok(())
}

fn tell_end(global: &Global, args: &VerifyArgs, tally: &Tally) -> Result<(), CommandError> {
    let depth = if args.depth == Depth::Quick { "asked for" } else { "read and hashed" };
    if global.json {
        print_json(&json!({
            "type": "verified", "version": 1, "depth": format!("{:?}", args.depth).to_lowercase(),
            "copies": tally.looked_at, "differing": tally.differing, "missing": tally.missing, "declined": tally.declined,
            "unreachable": tally.unreachable, "exit_code": tally.exit() as u8,
        }))?;
    } else if !global.quiet {
        let good = tally.looked_at - tally.differing - tally.missing - tally.declined - tally.unreachable;
        let mut text = match tally.looked_at {
            0 => "no copy is registered yet, so none was looked at; backhaul run makes them\n".to_owned(),
            all => format!("{good} of {all} copies {depth}: as recorded\n"),
        };
        let parts = [
            (tally.differing, "differ"),
            (tally.missing, "are gone"),
            (tally.declined, "were deleted by their owners"),
            (tally.unreachable, "could not be looked at"),
        ];
        for (count, what) in parts.into_iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!("{count} {what}\n"));
        }
        print(&text)?;
    }
    Ok(())
}

/// What a failed look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Differs,
    Gone,
    /// Its owner does not want it there: nothing is wrong.
    Declined,
    /// The store or the catalog did not let it be seen.
    NotSeen,
}

impl Finding {
    const fn of(failure: &Failure) -> Self {
        match failure.cause {
            Cause::Integrity | Cause::RecordConflict => Self::Differs,
            Cause::CopyMissing => Self::Gone,
            Cause::Declined => Self::Declined,
            _ => Self::NotSeen,
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    looked_at: usize,
    differing: usize,
    missing: usize,
    declined: usize,
    unreachable: usize,
}

impl Tally {
    const fn count(&mut self, finding: Finding) {
        match finding {
            Finding::Differs => self.differing += 1,
            Finding::Gone => self.missing += 1,
            Finding::Declined => self.declined += 1,
            Finding::NotSeen => self.unreachable += 1,
        }
    }

    /// What was seen counts before what was not: an alarm on damage must not miss it for a region that is away.
    const fn exit(&self) -> Exit {
        if self.differing > 0 {
            Exit::Integrity
        } else if self.missing > 0 {
            Exit::Failed
        } else if self.unreachable > 0 {
            Exit::Unreachable
        } else {
            Exit::Done
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_that_was_seen_counts_before_a_region_that_was_not() {
        let tally = |differing, missing, unreachable| Tally { differing, missing, unreachable, ..Tally::default() };
        assert_eq!(tally(1, 1, 1).exit(), Exit::Integrity);
        assert_eq!(tally(0, 1, 1).exit(), Exit::Failed);
        assert_eq!(tally(0, 0, 1).exit(), Exit::Unreachable);
        assert_eq!(tally(0, 0, 0).exit(), Exit::Done);
    }
}
