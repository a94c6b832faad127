//! One attempt to register a batch of verified copies in one target region.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use futures::future::try_join_all;
use uuid::Uuid;

use super::{Ended, Engine, Ledgers, StepEnd};
use crate::catalog::Ledger;
use crate::database::{Claim, DatabaseError, RecordPlace, Row};
use crate::event::Event;
use crate::failure::Failure;
use crate::regions::Access;
use crate::register::{Authors, Entered, Parent, Registered, Registry};
use crate::schedule::{Outcome, Ready};
use crate::state::State;

/// One copy of a batch.
struct Entry {
    ready: Ready,
    attempt: u16,
    row: Row,
    target: usize,
    claim: Option<Claim>,
}

pub(super) async fn run(engine: Arc<Engine>, ledgers: Ledgers, target: usize, batch: Vec<(Ready, u16, Row)>) -> Ended {
    let mut entries: Vec<Entry> =
        batch.into_iter().map(|(ready, attempt, row)| Entry { ready, attempt, row, target, claim: None }).collect();
    let registry = match Registry::of_target(&engine.regions, target, Access::Write).await {
        Ok(registry) => registry,
        Err(failure) => return failed(&engine, entries, &failure).await,
    };
    let elsewhere = match of_other_catalogs(&engine, target, &mut entries).await {
        Ok(elsewhere) => elsewhere,
        Err(failure) => return failed(&engine, entries, &failure).await,
    };
    let mut ends = claimed(&engine, &ledgers, target, &registry, entries).await?;
    ends.extend(elsewhere);
    Ok(ends)
}

/// Claims a batch, and registers it.
async fn claimed(
    engine: &Engine,
    ledgers: &Ledgers,
    target: usize,
    registry: &Registry,
    mut entries: Vec<Entry>,
) -> Ended {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let authors = Authors::of(&engine.database);
    if let Err(error) = registry.settle(entries.iter().map(|entry| &entry.row), authors).await {
        return failed(engine, entries, &error.0).await;
    }
    // One batch a target at a time: nobody else wants this ledger meanwhile. What was to be recorded before, by another
    // runner perhaps, may be in the catalog since.
    let known = ledgers.lock().unwrap_or_else(PoisonError::into_inner).remove(&target);
    let known = known.filter(|_| entries.iter().all(|entry| entry.row.record.is_none()));
    let ledger = match known {
        Some(ledger) => ledger,
        None => match registry.ledger(engine.tenants.get(&target)).await {
            Ok(ledger) => ledger,
            Err(error) => return failed(engine, entries, &error.0).await,
        },
    };
    crate::fault::point("after-settle");
    let batch = Uuid::now_v7();
    claim(engine, &mut entries, batch).await?;
    crate::fault::point("before-register");
    let ends = registered(engine, registry, &ledger, batch, entries).await?;
    // After a batch that failed the catalog is asked again.
    if ends.iter().any(|end| end.outcome == Outcome::Done) {
        ledgers.lock().unwrap_or_else(PoisonError::into_inner).insert(target, ledger);
    }
    Ok(ends)
}

/// Registers what was claimed.
async fn registered(engine: &Engine, registry: &Registry, ledger: &Ledger, batch: Uuid, entries: Vec<Entry>) -> Ended {
    let mine = entries.iter().filter(|entry| entry.claim.is_some());
    let rows: Vec<&Row> = mine.map(|entry| &entry.row).collect();
    let parents = match parents(engine, registry, ledger, &rows).await? {
        Ok(parents) => parents,
        Err(failure) => return failed(engine, entries, &failure).await,
    };
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let registered = tokio::select! {
        registered = registry.register(ledger, batch, &rows, &parents, now_ms) => registered,
        () = engine.stop.cut_off().cancelled() => return stopped(engine, entries).await,
    };
    let Registered { done: mut recorded, mut refused } = match registered {
        Ok(registered) => registered,
        Err(error) => return failed(engine, entries, &error.0).await,
    };
    crate::fault::point("after-register");
    let mut done = Vec::new();
    let mut ends = Vec::new();
    for entry in entries {
        match (recorded.remove(&entry.row.id), refused.remove(&entry.row.id)) {
            (Some(record), _) => done.push((entry, record)),
            (None, Some(failure)) => ends.push(failed_one(engine, entry, &failure).await?),
            // Not ours any more when it was to be claimed.
            (None, None) => ends.push(end(entry, Outcome::Held)),
        }
    }
    ends.extend(completed(engine, done).await?);
    Ok(ends)
}

/// Takes those out that are to be registered in another catalog than this run's: another runner's version of the plan says
/// so, and it, or the next run, does that.
async fn of_other_catalogs(engine: &Engine, target: usize, entries: &mut Vec<Entry>) -> Result<Vec<StepEnd>, Failure> {
    if !engine.is_shared() {
        return Ok(Vec::new());
    }
    let catalog = engine.regions.catalog_identity(target).await?;
    let elsewhere = entries.extract_if(.., |entry| entry.row.target_catalog != catalog);
    Ok(elsewhere.map(|entry| end(entry, Outcome::Stopped)).collect())
}

/// The copies that those of a batch build on: as their rows say, else as the catalog does. What is found nowhere, or is not
/// what its record says, is left out. The inner error is one of the store.
async fn parents(
    engine: &Engine,
    registry: &Registry,
    ledger: &Ledger,
    rows: &[&Row],
) -> Result<Result<HashMap<Uuid, Parent>, Failure>, DatabaseError> {
    let mut parents = HashMap::new();
    let mut ids: Vec<Uuid> = rows.iter().filter_map(|row| row.parent_id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Ok(parents));
    }
    for row in engine.database.rows(&ids).await? {
        if row.state == State::Completed {
            parents.extend(Registry::parent(&row).map(|parent| (row.id, parent)));
        }
    }
    for id in ids {
        if parents.contains_key(&id) {
            continue;
        }
        match registry.recorded_parent(ledger, id).await {
            Ok(parent) => parents.extend(parent.map(|parent| (id, parent))),
            Err(failure) if failure.cause.is_transient() => return Ok(Err(failure)),
            Err(_) => {}
        }
    }
    Ok(Ok(parents))
}

fn end(entry: Entry, outcome: Outcome) -> StepEnd {
    StepEnd { ready: entry.ready, outcome, row: entry.row, claim: None }
}

/// The drain took too long: claims are given back, and the next run looks whether the records are there.
async fn stopped(engine: &Engine, entries: Vec<Entry>) -> Ended {
    try_join_all(entries.iter().map(|entry| engine.give_back(entry.ready.step, entry.claim))).await?;
    Ok(entries.into_iter().map(|entry| end(entry, Outcome::Stopped)).collect())
}

/// The intent: the name of the record object is in the rows before anything of it is in the store.
async fn claim(engine: &Engine, entries: &mut [Entry], batch: Uuid) -> Result<(), DatabaseError> {
    let seen: Vec<(Uuid, i64)> = entries.iter().map(|entry| (entry.row.id, entry.row.claim)).collect();
    let record = batch.to_string();
    let claims = engine.database.claim_register(&seen, engine.claimant, &record).await?;
    for (entry, claim) in entries.iter_mut().zip(claims) {
        entry.claim = claim;
        if let Some(claim) = claim {
            entry.row.claim = claim.token();
            entry.row.record = Some(record.clone());
        }
    }
    Ok(())
}

async fn completed(engine: &Engine, entries: Vec<(Entry, Entered)>) -> Ended {
    let place = |entered: &Entered| RecordPlace { object: entered.record.clone(), id: entered.registered_id.clone() };
    let claims: Vec<(Claim, RecordPlace)> =
        entries.iter().filter_map(|(entry, entered)| Some((entry.claim?, place(entered)))).collect();
    let completed = engine.database.registered(&claims).await?;
    crate::fault::point("after-completed");
    let ends = entries.into_iter().zip(completed).map(|((mut entry, entered), completed)| {
        if !completed {
            return end(entry, Outcome::Held);
        }
        entry.row.state = State::Completed;
        entry.row.record = entered.record;
        entry.row.registered_id = entered.registered_id;
        engine.tell(Event::Registered { item: entry.ready.position });
        end(entry, Outcome::Done)
    });
    Ok(ends.collect())
}

/// The whole batch failed: each of its rows is tried again, or gives up. All at once, so that they share commits.
async fn failed(engine: &Engine, entries: Vec<Entry>, failure: &Failure) -> Ended {
    try_join_all(entries.into_iter().map(|entry| failed_one(engine, entry, failure))).await
}

async fn failed_one(engine: &Engine, entry: Entry, failure: &Failure) -> Result<StepEnd, DatabaseError> {
    let delay = engine.next_attempt_in(entry.attempt, failure.cause, &[entry.target]);
    if let (Some(_), Some(claim)) = (delay, entry.claim) {
        engine.database.attempt_failed(claim, State::Saving, u32::from(entry.attempt), failure).await?;
    }
    match delay {
        Some(delay_ms) => {
            engine.tell_retry(entry.ready, entry.attempt, delay_ms, failure);
            let Entry { ready, row, claim, .. } = entry;
            Ok(StepEnd { ready, outcome: Outcome::RetryAt(delay_ms), row, claim })
        }
        None if failure.cause.is_transient() && engine.stop.draining().is_cancelled() => {
            engine.give_back(entry.ready.step, entry.claim).await?;
            Ok(end(entry, Outcome::Stopped))
        }
        None => gave_up(engine, entry, failure.clone()).await,
    }
}

async fn gave_up(engine: &Engine, mut entry: Entry, failure: Failure) -> Result<StepEnd, DatabaseError> {
    let gave_up = match entry.claim {
        Some(claim) => engine.database.failed(claim, State::Saving, &failure, false).await?,
        None => engine.database.cannot_start(&entry.row, &failure).await?,
    };
    if !gave_up {
        return Ok(end(entry, Outcome::Held));
    }
    entry.row.state = State::Failed;
    engine.tell_failure(entry.ready, failure);
    Ok(end(entry, Outcome::Failed))
}
