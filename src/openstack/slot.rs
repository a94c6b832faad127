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
