//! How a run is told to end early: first politely, then at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// How long parts under way may take after a drain began, before they are cut off.
const GRACE: Duration = Duration::from_secs(5);

/// Shared by everything that can stop, and everything that can be stopped.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    drain: CancellationToken,
    cut: CancellationToken,
    reason: Arc<Mutex<String>>,
}

impl Stop {
    /// Starts nothing new, lets parts under way reach their checkpoint, and cuts them off after a few seconds.
    pub fn drain(&self, reason: impl Into<String>) {
        if self.drain.is_cancelled() {
            return;
        }
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.into();
        self.drain.cancel();
        let cut = self.cut.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GRACE).await;
            cut.cancel();
        });
    }

    /// Cancelled when a drain begins.
    #[must_use]
    pub const fn draining(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when the grace after it is over.
    #[must_use]
    pub const fn cut_off(&self) -> &CancellationToken {
        &self.cut
    }

    /// Why the drain began; empty before.
    #[must_use]
    pub fn reason(&self) -> String {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Drains at the first SIGINT, SIGTERM or SIGHUP; a second SIGINT or SIGTERM ends the process at once, which
    /// is safe: what is not checkpointed is done again.
    ///
    /// # Errors
    /// When the process cannot install signal handlers.
    pub fn on_signals(&self) -> std::io::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let stop = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "interrupted",
                    _ = terminate.recv() => "terminated",
                    _ = hangup.recv() => "the terminal hung up",
                };
                if stop.drain.is_cancelled() && name != "the terminal hung up" {
                    std::process::exit(i32::from(Exit::Stopped as u8));
                }
                stop.drain(name);
            }
        });
        Ok(())
    }

    /// Drains when the window is over.
    pub fn after(&self, window: Duration, reason: String) {
        let stop = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(window).await;
            stop.drain(reason);
        });
    }
}
