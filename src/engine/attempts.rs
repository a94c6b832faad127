//! What steps share: the pause before their next attempt, claims that are given back, and what is told of both.

use std::collections::HashMap;

use futures::future::try_join_all;
use uuid::Uuid;

use super::{Engine, Run, retry, what_is_still_asked};
use crate::database::{Claim, DatabaseError, Row};
use crate::event::Event;
use crate::failure::{Cause, Failure};
use crate::schedule::{Outcome, Ready};
use crate::state::{State, Step};

impl Engine {
    /// Gives the claim of a row back that was between two attempts.
    pub(super) async fn give_back(&self, step: Step, claim: Option<Claim>) -> Result<(), DatabaseError> {
        match (step, claim) {
            (Step::Copy, Some(claim)) => self.database.drained(claim).await?,
            (Step::Register, Some(claim)) => self.database.released(claim).await?,
            (_, None) => true,
        };
        Ok(())
    }

    /// The pause before the attempt after number `attempt`, in milliseconds, not before the stores of all these `regions`
    /// may be asked again; none when there is no further one.
    pub(super) fn next_attempt_in(&self, attempt: u16, cause: Cause, regions: &[usize]) -> Option<u64> {
        if !cause.is_transient() || attempt >= self.retry.attempts || self.stop.draining().is_cancelled() {
            return None;
        }
        let closed = regions.iter().map(|region| self.limits.throttles[*region].closed_for()).max().unwrap_or_default();
        let delay = retry::delay(attempt, self.retry.max_delay, fastrand::f64()).max(closed);
        Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn tell(&self, event: Event) {
        (self.emit)(event);
    }

    /// Tells of a failed attempt that is not the last.
    pub(super) fn tell_retry(&self, ready: Ready, attempt: u16, delay_ms: u64, failure: &Failure) {
        self.tell(Event::Retrying {
            item: ready.position,
            step: ready.step,
            attempt,
            attempts: self.retry.attempts,
            delay_ms,
            failure: failure.clone(),
        });
    }

    pub(super) fn tell_failure(&self, ready: Ready, failure: Failure) {
        self.tell(Event::Failed { item: ready.position, step: ready.step, failure });
    }
}

impl Run {
    /// The rows of steps that panicked fail, but those that were finished before.
    pub(super) async fn panicked(&mut self, started: Vec<Ready>) -> Result<(), DatabaseError> {
        let failure = Failure::new(Cause::Internal, "Backhaul itself failed in this step, and said why on stderr")
            .hint("please report that text; the next run tries the step again");
        let ids: Vec<Uuid> = started.iter().map(|ready| self.tasks[ready.position as usize].row.id).collect();
        let rows = self.engine.database.rows(&ids).await?;
        let mut rows: HashMap<Uuid, Row> = rows.into_iter().map(|row| (row.id, row)).collect();
        let ended = started.into_iter().zip(ids).map(|(ready, id)| {
            let (database, row, failure) = (&self.engine.database, rows.remove(&id), &failure);
            async move {
                let outcome = match &row {
                    Some(row) if is_done(row, ready) => Outcome::Done,
                    Some(row) if database.cannot_start(row, failure).await? => Outcome::Failed,
                    _ => Outcome::Held,
                };
                Ok((ready, row, outcome))
            }
        });
        // At once, so that they share their commits.
        for (ready, row, outcome) in try_join_all(ended).await? {
            self.watch.touch(ready.position);
            match (outcome, row) {
                (Outcome::Done, Some(row)) => self.tasks[ready.position as usize].row = what_is_still_asked(row),
                (Outcome::Failed, _) => self.engine.tell_failure(ready, failure.clone()),
                _ => {}
            }
            let held = if self.engine.is_shared() { Outcome::Held } else { Outcome::Stopped };
            self.schedule.ended(ready, if outcome == Outcome::Held { held } else { outcome });
        }
        Ok(())
    }
}

/// Whether the step was over before it panicked.
fn is_done(row: &Row, ready: Ready) -> bool {
    row.state == State::Completed || (row.state, ready.step) == (State::Saving, Step::Copy)
}
