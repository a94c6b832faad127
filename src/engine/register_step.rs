//! One attempt to register a batch of verified copies in one target region.

use std::sync::Arc;

use uuid::Uuid;

use super::{Ended, Engine, StepEnd, Task};
use crate::database::{Claim, DatabaseError, Row};
use crate::event::Event;
use crate::failure::Failure;
use crate::regions::Access;
use crate::register;
use crate::schedule::{Outcome, Ready};
use crate::state::State;

/// One copy of a batch.
struct Entry {
    ready: Ready,
    attempt: u16,
    row: Row,
    claim: Option<Claim>,
}

pub(super) async fn run(engine: Arc<Engine>, target: usize, batch: Vec<(Ready, u16, Task)>) -> Ended {
    let mut entries: Vec<Entry> =
        batch.into_iter().map(|(ready, attempt, task)| Entry { ready, attempt, row: task.row, claim: None }).collect();
    let before: Vec<Row> = entries.iter().map(|entry| entry.row.clone()).collect();
    let store = match engine.regions.target(target, Access::Write) {
        Ok(store) => store,
        Err(failure) => return failed(&engine, entries, &failure).await,
    };
    if let Err(error) = register::settle(&store, &before).await {
        return failed(&engine, entries, &error.0).await;
    }
    let batch = Uuid::now_v7();
    claim(&engine, &mut entries, batch).await?;
    crate::fault::point("before-register");
    let mine = before.into_iter().zip(&entries).filter(|(_, entry)| entry.claim.is_some());
    let rows: Vec<Row> = mine.map(|(row, _)| row).collect();
    let registered = match register::register(&store, batch, &rows, jiff::Timestamp::now().as_millisecond()).await {
        Ok(registered) => registered,
        Err(error) => return failed(&engine, entries, &error.0).await,
    };
    crate::fault::point("after-register");
    let (done, refused): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| registered.done.contains(&entry.row.id));
    let mut ends = completed(&engine, done).await?;
    for entry in refused {
        let failure = registered.refused.iter().find(|(id, _)| *id == entry.row.id).map(|(_, failure)| failure.clone());
        ends.push(match failure {
            Some(failure) => gave_up(&engine, entry, failure).await?,
            None => StepEnd { ready: entry.ready, outcome: Outcome::Stopped, row: entry.row, claim: None },
        });
    }
    Ok(ends)
}

/// The intent: the name of the record object is in the rows before anything of it is in the store.
async fn claim(engine: &Engine, entries: &mut [Entry], batch: Uuid) -> Result<(), DatabaseError> {
    let seen: Vec<(Uuid, i64)> = entries.iter().map(|entry| (entry.row.id, entry.row.claim)).collect();
    let record = batch.to_string();
    let claims = engine.database.claim_register(&seen, engine.run, &record).await?;
    for (entry, claim) in entries.iter_mut().zip(claims) {
        entry.claim = claim;
        if let Some(claim) = claim {
            entry.row.claim = claim.token();
            entry.row.record = Some(record.clone());
        }
    }
    Ok(())
}

async fn completed(engine: &Engine, entries: Vec<Entry>) -> Ended {
    let claims: Vec<Claim> = entries.iter().filter_map(|entry| entry.claim).collect();
    let completed = engine.database.registered(&claims).await?;
    crate::fault::point("after-completed");
    let ends = entries.into_iter().zip(completed).map(|(mut entry, completed)| {
        let outcome = if completed {
            entry.row.state = State::Completed;
            engine.tell(Event::Registered { item: entry.ready.position });
            Outcome::Done
        } else {
            Outcome::Stopped
        };
        StepEnd { ready: entry.ready, outcome, row: entry.row, claim: None }
    });
    Ok(ends.collect())
}

/// The whole batch failed: each of its rows is tried again, or gives up.
async fn failed(engine: &Engine, entries: Vec<Entry>, failure: &Failure) -> Ended {
    let mut ends = Vec::new();
    for entry in entries {
        let delay = engine.next_attempt_in(entry.attempt, failure.cause);
        if let (Some(_), Some(claim)) = (delay, entry.claim) {
            engine.database.attempt_failed(claim, State::Saving, u32::from(entry.attempt), failure).await?;
        }
        ends.push(match delay {
            Some(delay_ms) => {
                engine.tell_retry(entry.ready, entry.attempt, delay_ms, failure);
                StepEnd { ready: entry.ready, outcome: Outcome::RetryAt(delay_ms), row: entry.row, claim: entry.claim }
            }
            None if failure.cause.is_transient() && engine.stop.draining().is_cancelled() => {
                engine.give_back(entry.ready.step, entry.claim).await?;
                StepEnd { ready: entry.ready, outcome: Outcome::Stopped, row: entry.row, claim: None }
            }
            None => gave_up(engine, entry, failure.clone()).await?,
        });
    }
    Ok(ends)
}

async fn gave_up(engine: &Engine, mut entry: Entry, failure: Failure) -> Result<StepEnd, DatabaseError> {
    match entry.claim {
        Some(claim) => engine.database.failed(claim, State::Saving, &failure, false).await?,
        None => engine.database.cannot_start(&entry.row, &failure).await?,
    };
    entry.row.state = State::Failed;
    engine.tell_failure(entry.ready, failure);
    Ok(StepEnd { ready: entry.ready, outcome: Outcome::Failed, row: entry.row, claim: None })
}
