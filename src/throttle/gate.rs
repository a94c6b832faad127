//! Stays away from a store that is in trouble, so that many tasks do not make it worse: after several failures in a
//! row one request at a time asks whether it is well again, at growing intervals, and all others wait or give up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row, without a success in between, after which the gate closes.
const FAILURES: u32 = 4;

/// How long the gate is closed at first; doubles while the store stays ill.
const FIRST: Duration = Duration::from_millis(500);

/// How long it is closed at most, unless the store itself asks for longer.
const LONGEST: Duration = Duration::from_secs(30);

/// How long a request waits before a closed gate. Longer waits give the step's place to another one.
const PATIENCE: Duration = Duration::from_secs(2);

/// One for each region. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    closed_until: Option<Instant>,
    /// Counts closings: what was sent before the last one says nothing new.
    closings: u64,
    /// What the store last said, or did.
    why: String,
}

/// A gate that stays closed for longer than a request waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Closed {
    /// For how long.
    pub(crate) time: Duration,
    /// What the store last said, or did.
    pub(crate) why: String,
}

/// One request that was let through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    closings: u64,
}

impl Gate {
    /// Lets a request through, after a wait if that is short.
    ///
    /// # Errors
    /// [`Closed`], if it stays so for longer than a request waits.
    pub(crate) async fn pass(&self) -> Result<Pass, Closed> {
        loop {
            let wait = {
                let mut state = self.lock();
                let now = Instant::now();
                match state.closed_until {
                    Some(until) if until > now => until - now,
                    Some(_) => {
                        // This one asks; whoever comes meanwhile waits for what it finds.
                        let pause = pause(state.failures);
                        state.closed_until = Some(now + pause);
                        return Ok(Pass { closings: state.closings });
                    }
                    None => return Ok(Pass { closings: state.closings }),
                }
            };
            if wait > PATIENCE {
                return Err(Closed { time: wait, why: self.lock().why.clone() });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// How long it stays closed; zero when it is open.
    pub(crate) fn closed_for(&self) -> Duration {
        self.lock().closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// The store answered as it should.
    pub(crate) fn well(&self) {
        let mut state = self.lock();
        state.failures = 0;
        state.closed_until = None;
    }

    /// The store did not answer, or said that it cannot now: `why`. `asked` is how long it wants to be left alone.
    pub(crate) fn ill(&self, pass: Pass, asked: Option<Duration>, why: String) {
        let mut state = self.lock();
        state.why = why;
        if pass.closings == state.closings {
            state.failures = state.failures.saturating_add(1);
        }
        if state.failures >= FAILURES || asked.is_some() {
            let until = Instant::now() + asked.unwrap_or_else(|| pause(state.failures));
            state.closed_until = Some(state.closed_until.map_or(until, |before| before.max(until)));
            state.closings += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause(failures: u32) -> Duration {
    FIRST.saturating_mul(1 << failures.saturating_sub(FAILURES).min(10)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn closes_after_failures_in_a_row_and_asks_one_at_a_time() {
        let gate = Gate::default();
        for _ in 0..FAILURES {
            let pass = gate.pass().await.expect("open");
            assert_eq!(gate.closed_for(), Duration::ZERO);
            gate.ill(pass, None, String::new());
        }
        assert_eq!(gate.closed_for(), FIRST);
        let began = Instant::now();
        let asking = gate.pass().await.expect("a short wait");
        assert_eq!(began.elapsed(), FIRST);
        gate.ill(asking, None, String::new());
        assert_eq!(gate.closed_for(), FIRST * 2, "it waits longer each time");
        gate.pass().await.expect("still short");
        let other = gate.clone();
        let waiting = tokio::spawn(async move { other.pass().await.map(|_| Instant::now()) });
        tokio::task::yield_now().await;
        gate.well();
        waiting.await.expect("no panic").expect("let through");
        assert_eq!(gate.closed_for(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_the_gate_closed_does_not_close_it_longer() {
        let gate = Gate::default();
        let mut sent = Vec::new();
        for _ in 0..100 {
            sent.push(gate.pass().await.expect("open"));
        }
        for pass in sent {
            gate.ill(pass, None, String::new());
        }
        assert!(gate.closed_for() <= FIRST * 2, "{:?}", gate.closed_for());
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_names_a_time_is_left_alone_for_it() {
        let gate = Gate::default();
        let pass = gate.pass().await.expect("open");
        gate.ill(pass, Some(Duration::from_secs(20)), "503".to_owned());
        let closed = gate.pass().await.expect_err("longer than patience");
        assert_eq!(closed, Closed { time: Duration::from_secs(20), why: "503".to_owned() });
        tokio::time::advance(Duration::from_secs(20)).await;
        assert!(gate.pass().await.is_ok());
    }
}
