//! Renews a lease from a thread and a connection of its own, so that busy copies do not hold it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::{ServerClock, boot_ms};
use super::connect::Connector;
use super::{runner, server};
use crate::lease::{self, Terms};

/// Longest time without a look at the clock: a machine that slept is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for the server to let this process out.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// The lease of this process, as everybody in it may look at it.
#[derive(Debug)]
pub(super) struct Lease {
    /// By [`boot_ms`].
    stop_at_ms: AtomicU64,
    /// Whether it holds, for who waits for a change.
    holds: watch::Sender<bool>,
}

impl Lease {
    fn granted(lease: lease::Lease) -> Self {
        Self { stop_at_ms: AtomicU64::new(lease.stop_at_ms()), holds: watch::Sender::new(true) }
    }

    /// Whether this process may write to stores and catalogs, at this very instant.
    pub(super) fn holds(&self) -> bool {
        boot_ms() < self.stop_at_ms.load(Ordering::Acquire)
    }

    /// Comes back when it does not hold any more.
    pub(super) async fn lapsed(&self) {
        // The sender is here, so this cannot end otherwise.
        let mut holds = self.holds.subscribe();
        let _changed = holds.wait_for(|holds| !holds).await;
    }

    fn renewed(&self, lease: lease::Lease) {
        self.stop_at_ms.store(lease.stop_at_ms(), Ordering::Release);
        self.holds.send_if_modified(|holds| !std::mem::replace(holds, true));
    }

    fn lapse(&self) {
        self.stop_at_ms.store(0, Ordering::Release);
        self.holds.send_if_modified(|holds| std::mem::replace(holds, false));
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Heartbeat {
    lease: Arc<Lease>,
    ending: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl Heartbeat {
    pub(super) fn start(
        connector: Connector,
        id: Uuid,
        terms: Terms,
        granted: lease::Lease,
        clock: Arc<ServerClock>,
    ) -> std::io::Result<Self> {
        let lease = Arc::new(Lease::granted(granted));
        let ending = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let beat = Beat { connector, id, terms, clock, lease: Arc::clone(&lease), granted, connection: None };
        let until = ending.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            runtime.block_on(beat.run(until));
            // Who does not wait for the end does not want to know.
            let _unheard = done.send(());
        })?;
        Ok(Self { lease, ending, ended })
    }

    pub(super) fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }

    /// Gives the lease back.
    pub(super) async fn end(mut self) {
        self.ending.cancel();
        // The thread ends by itself; were it gone already, there would be nothing to wait for.
        let _ended = (&mut self.ended).await;
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

struct Beat {
    connector: Connector,
    id: Uuid,
    terms: Terms,
    clock: Arc<ServerClock>,
    lease: Arc<Lease>,
    granted: lease::Lease,
    connection: Option<DatabaseConnection>,
}

impl Beat {
    async fn run(mut self, ending: CancellationToken) {
        let mut next_try_ms = self.granted.renew_at_ms();
        while !ending.is_cancelled() {
            if boot_ms() >= next_try_ms {
                let asked_ms = boot_ms();
                match self.renew().await {
                    Ok(true) => {
                        self.granted = lease::Lease::granted(self.terms, asked_ms);
                        self.lease.renewed(self.granted);
                        next_try_ms = self.granted.renew_at_ms();
                    }
                    // It is over: others may have come.
                    Ok(false) => {
                        self.lease.lapse();
                        ending.cancelled().await;
                    }
                    Err(_) => {
                        self.connection = None;
                        next_try_ms = boot_ms() + self.terms.heartbeat_ms() / 10;
                    }
                }
            }
            let now = boot_ms();
            if !self.granted.holds(now) {
                self.lease.lapse();
            }
            let mut wait = LOOK_EVERY.min(Duration::from_millis(next_try_ms.saturating_sub(now)));
            if self.granted.holds(now) {
                wait = wait.min(Duration::from_millis(self.granted.stop_at_ms() - now));
            }
            tokio::select! {
                () = ending.cancelled() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
        self.lease.lapse();
        // Best effort: a lease that is not given back ends by itself.
        if let Ok(connection) = self.connection().await {
            let _removed = tokio::time::timeout(LEAVE_PATIENCE, runner::remove(&connection, self.id)).await;
        }
    }

    async fn connection(&mut self) -> Result<DatabaseConnection, DbErr> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connector.writing().await?,
        };
        Ok(self.connection.insert(connection).clone())
    }

    async fn renew(&mut self) -> Result<bool, DbErr> {
        let connection = self.connection().await?;
        let patience = Duration::from_millis(self.terms.heartbeat_ms()).min(server::CONNECT_PATIENCE);
        let renewed = async {
            let renewed = runner::renew(&connection, self.id, self.terms).await?;
            runner::look_at_clock(&connection, &self.clock).await?;
            Ok(renewed)
        };
        tokio::time::timeout(patience, renewed).await.unwrap_or_else(|_| Err(server::late(patience)))
    }
}
