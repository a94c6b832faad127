//! One token for all who need it: asked for once, however many wait, and renewed while it is still good.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::{ErrorKind, OpenStackError, Token};

/// A refusal is believed for so long: many tasks that ask with a wrong password would lock the user out.
const REFUSAL_HOLDS: Duration = Duration::from_secs(30);

/// Longest pause after a renewal that failed, while the token is still good.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

type Answer = Result<Arc<Token>, OpenStackError>;

/// The token of one scope.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// A request that is under way.
    flight: Option<Shared<BoxFuture<'static, Answer>>>,
    /// The last refusal, and until when it holds.
    refused: Option<(Instant, OpenStackError)>,
    /// When a renewal that failed is tried again.
    renew_after: Option<Instant>,
}

impl Slot {
    /// The token, from `ask` if there is none that can be used. `ask` goes on when whoever called it does not.
    pub(super) async fn token<F>(self: &Arc<Self>, ask: impl FnOnce() -> F) -> Answer
    where
        F: Future<Output = Result<Token, OpenStackError>> + Send + 'static,
    {
        let flight = {
            let mut state = self.lock();
            let usable = state.token.clone().filter(|token| token.is_usable());
            if let Some(token) = usable {
                let may_renew = state.renew_after.is_none_or(|after| after <= Instant::now());
                if token.is_due() && may_renew && state.flight.is_none() {
                    state.flight = Some(self.take_off(ask()));
                }
                return Ok(token);
            }
            if let Some((until, error)) = &state.refused
                && *until > Instant::now()
            {
                return Err(error.clone());
            }
            if state.flight.is_none() {
                state.flight = Some(self.take_off(ask()));
            }
            state.flight.clone().expect("it just took off")
        };
        flight.await
    }

    /// Forgets `token` if it still is the one.
    pub(super) fn forget(&self, token: &Token) {
        let mut state = self.lock();
        if state.token.as_ref().is_some_and(|own| own.asked == token.asked && own.header == token.header) {
            state.token = None;
        }
    }

    fn take_off<F>(self: &Arc<Self>, ask: F) -> Shared<BoxFuture<'static, Answer>>
    where
        F: Future<Output = Result<Token, OpenStackError>> + Send + 'static,
    {
        let slot = Arc::clone(self);
        let task = tokio::spawn(async move {
            let answer = ask.await.map(Arc::new);
            slot.landed(&answer);
            answer
        });
        let answer = async move {
            let ended = |_| OpenStackError::new(ErrorKind::Unreachable, "asking for a token was cut short");
            task.await.map_err(ended)?
        };
        answer.boxed().shared()
    }

    fn landed(&self, answer: &Answer) {
        let mut state = self.lock();
        state.flight = None;
        match answer {
            Ok(token) => {
                state.token = Some(Arc::clone(token));
                (state.refused, state.renew_after) = (None, None);
            }
            Err(error) => {
                let lifetime = state.token.as_ref().map(|token| token.lifetime());
                let pause = lifetime.map_or(RENEWAL_PAUSE, |lifetime| (lifetime / 20).min(RENEWAL_PAUSE));
                state.renew_after = Some(Instant::now() + pause);
                if error.kind == ErrorKind::Refused {
                    state.refused = Some((Instant::now() + REFUSAL_HOLDS, error.clone()));
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::header::HeaderValue;
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(100);

    fn token(name: &'static str) -> Token {
        let issued = Timestamp::UNIX_EPOCH;
        Token {
            header: HeaderValue::from_static(name),
            project_id: None,
            project_name: None,
            roles: Vec::new(),
            user_id: String::new(),
            user_name: String::new(),
            expires: issued + SignedDuration::try_from(LIFETIME).expect("short"),
            issued,
            catalog: Vec::new(),
            domains: Vec::new(),
            asked: Instant::now(),
            is_renewable: true,
        }
    }

    fn error(kind: ErrorKind) -> OpenStackError {
        OpenStackError::new(kind, "no")
    }

    /// Asks for the token; `asked` counts requests.
    async fn ask(slot: &Arc<Slot>, asked: &Arc<AtomicUsize>, answer: Result<&'static str, ErrorKind>) -> Answer {
        let asked = Arc::clone(asked);
        slot.token(|| async move {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            answer.map(token).map_err(error)
        })
        .await
    }

    /// Lets what was begun come to its end.
    async fn land() {
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    fn new() -> (Arc<Slot>, Arc<AtomicUsize>) {
        (Arc::default(), Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_while_it_is_given_out() {
        let (slot, asked) = new();
        let first = ask(&slot, &asked, Ok("first")).await.expect("a token");
        tokio::time::advance(Duration::from_secs(73)).await;
        assert_eq!(ask(&slot, &asked, Ok("second")).await, Ok(Arc::clone(&first)), "not due");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(Duration::from_secs(2)).await;
        let began = Instant::now();
        for _ in 0..10 {
            assert_eq!(ask(&slot, &asked, Ok("second")).await, Ok(Arc::clone(&first)), "nobody waits");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        land().await;
        assert_eq!(ask(&slot, &asked, Ok("third")).await.expect("a token").header, "second");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_fails_leaves_the_token_until_its_last_tenth() {
        let (slot, asked) = new();
        let first = ask(&slot, &asked, Ok("first")).await.expect("a token");
        for second in 1..89 {
            tokio::time::sleep_until(first.asked + Duration::from_secs(second)).await;
            assert_eq!(ask(&slot, &asked, Err(ErrorKind::Unreachable)).await, Ok(Arc::clone(&first)), "{second} s");
        }
        let renewals = asked.load(Ordering::SeqCst) - 1;
        assert!((2..=3).contains(&renewals), "{renewals} in 14 s, each a second long and 5 s apart");
        tokio::time::sleep_until(first.asked + Duration::from_secs(90)).await;
        assert_eq!(ask(&slot, &asked, Err(ErrorKind::Unreachable)).await, Err(error(ErrorKind::Unreachable)));
        assert_eq!(ask(&slot, &asked, Ok("second")).await.expect("it is back").header, "second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_for_a_while_and_trouble_does_not() {
        let (slot, asked) = new();
        assert_eq!(ask(&slot, &asked, Err(ErrorKind::Unreachable)).await, Err(error(ErrorKind::Unreachable)));
        assert_eq!(ask(&slot, &asked, Err(ErrorKind::Refused)).await, Err(error(ErrorKind::Refused)));
        assert_eq!(ask(&slot, &asked, Ok("right")).await, Err(error(ErrorKind::Refused)));
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        tokio::time::advance(REFUSAL_HOLDS).await;
        assert_eq!(ask(&slot, &asked, Ok("right")).await.expect("a role was given").header, "right");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing_from_those_who_wait() {
        let (slot, asked) = new();
        let impatient = tokio::time::timeout(Duration::from_millis(500), ask(&slot, &asked, Ok("first"))).await;
        impatient.expect_err("it takes a second");
        assert_eq!(ask(&slot, &asked, Ok("second")).await.expect("a token").header, "first");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
