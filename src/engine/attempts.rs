//! What steps share: the pause before their next attempt, claims that are given back, and what is told of both.

use super::{Engine, retry};
use crate::database::{Claim, DatabaseError};
use crate::event::Event;
use crate::failure::{Cause, Failure};
use crate::schedule::Ready;
use crate::state::Step;

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

    /// The pause before the attempt after number `attempt`, in milliseconds; none when there is no further one.
    pub(super) fn next_attempt_in(&self, attempt: u16, cause: Cause) -> Option<u64> {
        if !cause.is_transient() || attempt >= self.retry.attempts || self.stop.draining().is_cancelled() {
            return None;
        }
        let delay = retry::delay(attempt, self.retry.max_delay, fastrand::f64());
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
