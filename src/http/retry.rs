//! Tries one request again while another try may help: a handful of times, with growing pauses, and as long as the
//! store's gate lets it through. What goes on for longer is the step's next attempt, which does not hold a place.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use super::answer::{Answer, Trouble};
use crate::throttle::Gate;

/// Tries of one request.
const TRIES: u32 = 4;

/// Pause after the first try, before jitter; doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Longest `Retry-After` that one request waits for itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How requests to one store are tried again. Clones share the gate.
#[derive(Debug, Clone, Default)]
pub(crate) struct Patience {
    gate: Gate,
}

/// A call that succeeded.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) value: T,
    pub(crate) answer: Answer,
    /// Whether an earlier try may have done its work without our seeing the answer.
    pub(crate) repeated: bool,
}

/// A call that failed for good, or too often.
#[derive(Debug)]
pub(crate) struct GaveUp {
    /// The library's word for it, for what is no answer of a store: bad configuration, no credentials.
    pub(crate) error: String,
    pub(crate) answer: Answer,
    pub(crate) tries: u32,
    /// Whether another try, later, may help.
    pub(crate) transient: bool,
    /// As [`Done::repeated`].
    pub(crate) repeated: bool,
}

impl Patience {
    /// How requests behind `gate` are tried again.
    pub(crate) const fn new(gate: Gate) -> Self {
        Self { gate }
    }

    /// Makes a call until it succeeds, fails for good, or has failed often enough.
    pub(crate) async fn call<T, E, F, C>(&self, call: C) -> Result<Done<T>, GaveUp>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
        C: FnMut() -> F,
    {
        self.tried(TRIES, call).await
    }

    /// Makes a call once: one that must not be repeated before somebody has looked what it did.
    pub(crate) async fn once<T, E, F>(&self, call: impl FnOnce() -> F) -> Result<Done<T>, GaveUp>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
    {
        let mut call = Some(call);
        self.tried(1, || call.take().expect("a single try")()).await
    }

    async fn tried<T, E, F, C>(&self, most: u32, mut call: C) -> Result<Done<T>, GaveUp>
    where
        E: Display,
        F: Future<Output = Result<T, E>>,
        C: FnMut() -> F,
    {
        let mut tries = 0;
        let mut repeated = false;
        loop {
            let pass = match self.gate.pass().await {
                Ok(pass) => pass,
                Err(closed) => {
                    let error = format!("{}; it is left alone for {} s", closed.why, closed.time.as_secs().max(1));
                    let answer = Answer::default();
                    return Err(GaveUp { error, answer, tries, transient: true, repeated });
                }
            };
            tries += 1;
            // All that ask are as large as what is called, and calls are nested in calls.
            let call = Box::pin(call());
            let (result, answer) = Answer::during(self.gate.within(&pass, call)).await;
            let error = match result {
                Ok(value) => {
                    self.gate.well(pass);
                    return Ok(Done { value, answer, repeated });
                }
                Err(error) => error,
            };
            if answer.trouble == Some(Trouble::HeldBack) {
                // Nothing was sent: that is no try, and says nothing new. What can be made once only is not made again.
                tries -= 1;
                if most > 1 {
                    continue;
                }
                let error = answer.in_words().unwrap_or_default();
                return Err(GaveUp { error, answer: Answer::default(), tries, transient: true, repeated });
            }
            let transient = is_transient(&answer);
            if is_illness(&answer) {
                self.gate.ill(pass, answer.retry_after, answer.in_words().unwrap_or_default());
            } else if answer.status.is_some() {
                self.gate.well(pass);
            } else {
                drop(pass);
            }
            let too_long = answer.retry_after.is_some_and(|wait| wait > LONGEST_PAUSE);
            if !transient || tries == most || too_long {
                return Err(GaveUp { error: error.to_string(), answer, tries, transient, repeated });
            }
            repeated |= !matches!(answer.trouble, Some(Trouble::Connect(_)));
            let pause = FIRST_PAUSE.saturating_mul(1 << (tries - 1)).mul_f64(0.5 + 0.5 * fastrand::f64());
            tokio::time::sleep(answer.retry_after.unwrap_or(pause)).await;
        }
    }
}

/// Whether another try may have another outcome.
fn is_transient(answer: &Answer) -> bool {
    if answer.trouble.is_some() {
        return true;
    }
    match (answer.status, answer.code.as_deref()) {
        // Nothing was sent: bad configuration, or no credentials.
        (None, _) => false,
        // The answer was cut short, damaged on its way, or is a proxy's and not the store's.
        (Some(200..=299), _)
        // What was damaged on its way *to* the store, a slow connection, keys that were replaced just now.
        | (
            Some(400),
            Some(
                "BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch"
                | "RequestTimeout" | "IncompleteBody" | "ExpiredToken" | "Md5Mismatch" | "Crc64Mismatch",
            ),
        )
        | (Some(409), Some("OperationAborted" | "ConditionalRequestConflict")) => true,
        // Trove's word for too many requests; without a time it means a quota, which waiting does not raise.
        (Some(413), _) => answer.retry_after.is_some(),
        (Some(status), _) => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
    }
}

/// Whether it says something about the store as a whole, and not about one request.
fn is_illness(answer: &Answer) -> bool {
    answer.trouble.is_some() || matches!(answer.status, Some(429 | 500 | 502 | 503 | 504))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::has_closed_since;

    fn error() -> object_store::Error {
        object_store::Error::Generic { store: "test", source: "it failed".into() }
    }

    async fn tries_of(status: u16, code: Option<&str>) -> (u32, bool) {
        let patience = Patience::default();
        let gave_up = patience
            .call(|| async {
                Answer { status: Some(status), code: code.map(str::to_owned), ..Answer::default() }.keep();
                Err::<(), _>(error())
            })
            .await
            .expect_err("it always fails");
        (gave_up.tries, gave_up.transient)
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_pass_is_tried_again() {
        for status in [429, 500, 502, 503, 504, 408, 200] {
            assert_eq!(tries_of(status, None).await, (TRIES, true), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 412, 416, 501] {
            assert_eq!(tries_of(status, None).await, (1, false), "{status}");
        }
        assert_eq!(tries_of(400, Some("BadDigest")).await, (TRIES, true));
        assert_eq!(tries_of(413, None).await, (1, false), "a quota");
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_requests_is_waited_out_and_a_single_try_stays_one() {
        let patience = Patience::default();
        let slow_down = || async {
            let retry_after = Some(Duration::from_secs(1));
            Answer { status: Some(413), retry_after, ..Answer::default() }.keep();
            Err::<(), _>(error())
        };
        let began = tokio::time::Instant::now();
        let gave_up = patience.call(slow_down).await.expect_err("it always fails");
        assert_eq!((gave_up.tries, gave_up.transient, began.elapsed()), (TRIES, true, Duration::from_secs(3)));
        let gave_up = patience.once(slow_down).await.expect_err("it always fails");
        assert_eq!((gave_up.tries, gave_up.transient), (1, true));
    }

    /// A call that waits for its turn while the store asks another one to leave it alone.
    #[tokio::test(start_paused = true)]
    async fn what_waits_while_the_gate_closes_is_not_sent() {
        let patience = Patience::default();
        let other = std::cell::Cell::new(Some(patience.gate.pass().await.expect("open")));
        let call = || async {
            if let Some(other) = other.take() {
                patience.gate.ill(other, Some(Duration::from_secs(1)), "503".to_owned());
            }
            if has_closed_since() {
                Answer { trouble: Some(Trouble::HeldBack), ..Answer::default() }.keep();
                return Err(error());
            }
            Ok(())
        };
        let began = tokio::time::Instant::now();
        assert!(!patience.call(call).await.expect("the second time").repeated);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        other.set(Some(patience.gate.pass().await.expect("open")));
        let gave_up = patience.once(call).await.expect_err("once");
        assert_eq!((gave_up.tries, gave_up.transient, gave_up.repeated), (0, true, false));
    }

    #[tokio::test(start_paused = true)]
    async fn many_tasks_in_a_storm_ask_seldom() {
        let patience = Patience::default();
        let asked = std::cell::Cell::new(0);
        let began = tokio::time::Instant::now();
        let step = async || {
            while began.elapsed() < Duration::from_mins(10) {
                let call = || async {
                    asked.set(asked.get() + 1);
                    Answer { status: Some(503), ..Answer::default() }.keep();
                    Err::<(), _>(error())
                };
                patience.call(call).await.expect_err("a storm");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        futures::future::join_all((0..64).map(|_| step())).await;
        // At first all 64 are under way; then one at a time, every 15 to 30 s.
        assert!(asked.get() < 64 * 2 + 100, "{} requests in 10 minutes", asked.get());
    }
}
