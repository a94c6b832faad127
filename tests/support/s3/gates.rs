//! Requests that wait until the test lets them go.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use super::faults::On;
use super::log::Request;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(1);

struct Held {
    on: On,
    state: Mutex<(bool, usize)>,
    arrived: Condvar,
    released: Notify,
}

/// A gate before some requests; open once it is released or dropped.
pub struct Gate(Arc<Held>);

impl Gate {
    /// Waits until at least `requests` stand before it.
    #[track_caller]
    pub fn wait_for(&self, requests: usize) {
        let state = self.0.state.lock().expect("whole");
        let (state, timeout) =
            self.0.arrived.wait_timeout_while(state, PATIENCE, |state| state.1 < requests).expect("whole");
        assert!(!timeout.timed_out(), "{} of {requests} requests came", state.1);
    }

    pub fn release(&self) {
        self.0.state.lock().expect("whole").0 = true;
        self.0.released.notify_waiters();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.release();
    }
}

#[derive(Default)]
pub struct Gates(Mutex<Vec<Arc<Held>>>);

impl Gates {
    pub fn hold(&self, on: On) -> Gate {
        let held = Held { on, state: Mutex::default(), arrived: Condvar::new(), released: Notify::new() };
        let held = Arc::new(held);
        self.0.lock().expect("whole").push(Arc::clone(&held));
        Gate(held)
    }

    pub async fn pass(&self, request: &Request) {
        let before: Vec<_> =
            self.0.lock().expect("whole").iter().filter(|held| held.on.matches(request)).cloned().collect();
        for held in before {
            let mut released = std::pin::pin!(held.released.notified());
            released.as_mut().enable();
            {
                let mut state = held.state.lock().expect("whole");
                if state.0 {
                    continue;
                }
                state.1 += 1;
            }
            held.arrived.notify_all();
            released.await;
        }
    }
}
