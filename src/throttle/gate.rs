//! Stays away from a store that is in trouble, so that many tasks do not make it worse: after several failures in a
//! row one request at a time asks whether it is well again, at growing intervals, and all others wait or give up.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Failures in a row, without a success in between, after which the gate closes.
const FAILURES: u32 = 4;

/// How long the gate is closed at first; doubles while the store stays ill.
const FIRST: Duration = Duration::from_millis(500);

/// How long it is closed at most, unless the store itself asks for longer; and how long one request has to find out whether
/// the store is well before another may ask.
const LONGEST: Duration = Duration::from_secs(30);

/// How long a request waits before a closed gate. Longer waits give the step's place to another one.
const PATIENCE: Duration = Duration::from_secs(2);

/// One for each region. Clones share the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// For who waits for what another finds.
    found: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In a row.
    failures: u32,
    closed_until: Option<Instant>,
    /// When the last request was let through that asks whether the store is well, if nobody knows yet what it finds.
    asked_at: Option<Instant>,
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

/// One request that was let through, as long as it is under way.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Gate,
    closings: u64,
    /// Of one that asks whether the store is well.
    asked_at: Option<Instant>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.asked_at.is_some() {
            let mut state = self.gate.lock();
            state.asked_at = state.asked_at.filter(|_| state.asked_at != self.asked_at);
            drop(state);
            self.gate.shared.found.notify_waiters();
        }
    }
}

tokio::task_local! {
    /// The gate that let the call through which is going on, and how often it had been closed then.
    static PASSED: (Gate, u64);
}

/// Whether the gate that let the call through which is going on was closed since: what has not been sent by then, because
/// a ceiling held it back, is not to be sent.
pub(crate) fn has_closed_since() -> bool {
    let is_closed = |(gate, closings): &(Gate, u64)| {
        let has_closed = gate.lock().closings != *closings;
        has_closed && !gate.closed_for().is_zero()
    };
    PASSED.try_with(is_closed).unwrap_or(false)
}

impl Gate {
    /// Lets a request through, after a wait if that is short.
    ///
    /// # Errors
    /// [`Closed`], if it stays so for longer than a request waits.
    pub(crate) async fn pass(&self) -> Result<Pass, Closed> {
        let came = Instant::now();
        loop {
            let found = self.shared.found.notified();
            let wait = match self.try_pass(came) {
                Ok(pass) => return Ok(pass),
                Err(wait) if wait > PATIENCE => return Err(Closed { time: wait, why: self.lock().why.clone() }),
                Err(wait) => wait,
            };
            // Whoever has asked may know sooner.
            let _elapsed = tokio::time::timeout(wait, found).await;
        }
    }

    /// Lets a request through that came at `came`, or says how long it has to wait.
    fn try_pass(&self, came: Instant) -> Result<Pass, Duration> {
        let mut state = self.lock();
        let (now, closings) = (Instant::now(), state.closings);
        let pass = |asked_at| Ok(Pass { gate: self.clone(), closings, asked_at });
        match (state.closed_until, state.asked_at) {
            (None, _) => pass(None),
            (Some(until), _) if until > now => Err(until - now),
            (_, Some(asked_at)) if asked_at + LONGEST > now => {
                let patience = (came + PATIENCE).saturating_duration_since(now);
                // What does not answer soon is most likely not well.
                let others_turn = (asked_at + LONGEST - now).max(PATIENCE + Duration::from_millis(1));
                Err(if patience.is_zero() { others_turn } else { patience })
            }
            _ => {
                state.asked_at = Some(now);
                pass(Some(now))
            }
        }
    }

    /// Makes a call that was let through.
    pub(crate) async fn within<F: Future>(&self, pass: &Pass, call: F) -> F::Output {
        PASSED.scope((self.clone(), pass.closings), call).await
    }

    /// How long it stays closed; zero when it is open.
    pub(crate) fn closed_for(&self) -> Duration {
        self.lock().closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// The store answered as it should. What was sent before the gate closed does not open it.
    #[expect(clippy::needless_pass_by_value, reason = "the request is over")]
    pub(crate) fn well(&self, pass: Pass) {
        let mut state = self.lock();
        if pass.closings == state.closings {
            (state.failures, state.closed_until, state.asked_at) = (0, None, None);
        }
        drop(state);
        self.shared.found.notify_waiters();
    }

    /// The store did not answer, or said that it cannot now: `why`. `asked` is how long it wants to be left alone.
    #[expect(clippy::needless_pass_by_value, reason = "the request is over")]
    pub(crate) fn ill(&self, pass: Pass, asked: Option<Duration>, why: String) {
        let mut state = self.lock();
        let is_news = pass.closings == state.closings;
        if !is_news && asked.is_none() {
            return;
        }
        state.why = why;
        state.failures = state.failures.saturating_add(u32::from(is_news));
        if state.failures >= FAILURES || asked.is_some() {
            let until = Instant::now() + asked.unwrap_or_else(|| pause(state.failures));
            state.closed_until = Some(state.closed_until.map_or(until, |before| before.max(until)));
            state.closings += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let asking = gate.pass().await.expect("still short");
        let other = gate.clone();
        let waiting = tokio::spawn(async move { other.pass().await.map(|_| Instant::now()) });
        tokio::task::yield_now().await;
        gate.well(asking);
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

    /// A gate that has just closed.
    async fn closed() -> Gate {
        let gate = Gate::default();
        for _ in 0..FAILURES {
            let pass = gate.pass().await.expect("open");
            gate.ill(pass, None, String::new());
        }
        gate
    }

    /// A store that does not say anything: each request takes a minute to find that out.
    #[tokio::test(start_paused = true)]
    async fn one_that_waits_long_for_an_answer_is_the_only_one() {
        let gate = closed().await;
        let asking = gate.pass().await.expect("a short wait");
        let began = Instant::now();
        for _ in 0..3 {
            gate.pass().await.expect_err("nobody knows yet");
        }
        assert_eq!(began.elapsed(), 3 * PATIENCE, "nobody waits longer");
        tokio::time::advance(LONGEST.saturating_sub(3 * PATIENCE)).await;
        let second = gate.pass().await.expect("a big answer may take its time: another may look");
        gate.pass().await.expect_err("but no third");
        gate.ill(asking, None, String::new());
        assert_eq!(gate.closed_for(), FIRST * 2);
        gate.ill(second, None, String::new());
        assert_eq!(gate.closed_for(), FIRST * 2, "it had asked before that");
        let asking = gate.pass().await.expect("a short wait");
        gate.ill(asking, None, String::new());
        assert_eq!(gate.closed_for(), FIRST * 4, "it waits longer each time");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_cut_off_lets_another_ask() {
        let gate = closed().await;
        let asking = gate.pass().await.expect("a short wait");
        let other = gate.clone();
        let waiting = tokio::spawn(async move { other.pass().await.map(|pass| pass.asked_at.is_some()) });
        tokio::task::yield_now().await;
        let began = Instant::now();
        drop(asking);
        assert_eq!(waiting.await.expect("no panic"), Ok(true));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_the_gate_closed_does_not_open_it() {
        let gate = Gate::default();
        let (one, other) = (gate.pass().await.expect("open"), gate.pass().await.expect("open"));
        gate.ill(one, Some(Duration::from_secs(20)), String::new());
        gate.well(other);
        assert_eq!(gate.closed_for(), Duration::from_secs(20));
        tokio::time::advance(Duration::from_secs(20)).await;
        gate.well(gate.pass().await.expect("it asks"));
        assert_eq!(gate.closed_for(), Duration::ZERO);
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
