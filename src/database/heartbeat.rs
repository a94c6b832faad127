//! Renews a lease from a thread and a connection of its own, so that busy copies do not hold it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbErr};
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::{ServerClock, boot_ms};
use super::connect::Connector;
use super::lock::Holder;
use super::server::Lock;
use super::{runner, server};
use crate::lease::{self, Terms};

/// Longest time without a look at the clock: a machine that slept is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for the server to let this process out.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);

/// Whether a lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Held,
    /// Until somebody asks for it again.
    Lapsed,
    /// It will not be had again.
    Lost,
}

/// The lease of this process, as everybody in it may look at it.
#[derive(Debug)]
pub(super) struct Lease {
    /// By [`boot_ms`].
    stop_at_ms: AtomicU64,
    /// For who waits for a change.
    standing: watch::Sender<Standing>,
    wanted: Notify,
}

impl Lease {
    fn granted(lease: lease::Lease) -> Self {
        let standing = watch::Sender::new(Standing::Held);
        Self { stop_at_ms: AtomicU64::new(lease.stop_at_ms()), standing, wanted: Notify::new() }
    }

    /// Whether this process may write to stores and catalogs, at this very instant.
    pub(super) fn holds(&self) -> bool {
        boot_ms() < self.stop_at_ms.load(Ordering::Acquire)
    }

    /// Comes back when it does not hold any more.
    pub(super) async fn lapsed(&self) {
        let mut standing = self.standing.subscribe();
        // The sender is here, so this cannot end otherwise.
        let _lapsed = standing.wait_for(|standing| *standing != Standing::Held).await;
    }

    /// Asks for it again, and again if it was over before this could see that it held; whether it holds.
    pub(super) async fn regained(&self) -> bool {
        let mut standing = self.standing.subscribe();
        loop {
            match *standing.borrow_and_update() {
                Standing::Held => return true,
                Standing::Lost => return false,
                Standing::Lapsed => self.wanted.notify_one(),
            }
            if standing.changed().await.is_err() {
                return false;
            }
        }
    }

    fn renewed(&self, lease: lease::Lease) {
        self.stop_at_ms.store(lease.stop_at_ms(), Ordering::Release);
        self.is_now(Standing::Held);
    }

    fn lapse(&self, standing: Standing) {
        self.stop_at_ms.store(0, Ordering::Release);
        self.is_now(standing);
    }

    fn is_now(&self, standing: Standing) {
        self.standing.send_if_modified(|was| std::mem::replace(was, standing) != standing);
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
        holder: Holder,
        terms: Terms,
        granted: lease::Lease,
        clock: Arc<ServerClock>,
    ) -> std::io::Result<Self> {
        let lease = Arc::new(Lease::granted(granted));
        let ending = CancellationToken::new();
        let (done, ended) = oneshot::channel();
        let beat = Beat { connector, id, holder, terms, clock, lease: Arc::clone(&lease), granted, connection: None };
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
    holder: Holder,
    terms: Terms,
    clock: Arc<ServerClock>,
    lease: Arc<Lease>,
    granted: lease::Lease,
    connection: Option<DatabaseConnection>,
}

impl Beat {
    async fn run(mut self, ending: CancellationToken) {
        while !ending.is_cancelled() {
            self.hold(&ending).await;
            self.lease.lapse(Standing::Lapsed);
            tokio::select! {
                () = ending.cancelled() => {}
                () = self.lease.wanted.notified() => self.enter_again(&ending).await,
            }
        }
        self.lease.lapse(Standing::Lost);
        self.leave().await;
    }

    /// Best effort: a lease that is not given back ends by itself.
    async fn leave(&mut self) {
        // The connection may have ended since the last heartbeat, with the server that it led to.
        for _ in 0..2 {
            let Ok(connection) = self.connection().await else { return };
            match tokio::time::timeout(LEAVE_PATIENCE, runner::remove(&connection, self.id)).await {
                Ok(Err(_)) => self.connection = None,
                Ok(Ok(())) | Err(_) => return,
            }
        }
    }

    /// Renews the lease, until it is over.
    async fn hold(&mut self, ending: &CancellationToken) {
        let mut next_try_ms = self.granted.renew_at_ms();
        while !ending.is_cancelled() {
            if boot_ms() >= next_try_ms {
                let asked_ms = boot_ms();
                match self.renew().await {
                    // Who was late for it has been told so, whatever the database says.
                    Ok(true) if self.granted.holds(boot_ms()) => {
                        self.granted = lease::Lease::granted(self.terms, asked_ms);
                        self.lease.renewed(self.granted);
                        next_try_ms = self.granted.renew_at_ms();
                    }
                    // It is over: others may have come.
                    Ok(_) => return,
                    Err(_) => {
                        self.connection = None;
                        next_try_ms = boot_ms() + self.retry_ms();
                    }
                }
            }
            let now = boot_ms();
            if !self.granted.holds(now) {
                return;
            }
            let wait = LOOK_EVERY.min(Duration::from_millis(next_try_ms.saturating_sub(now)));
            let wait = wait.min(Duration::from_millis(self.granted.stop_at_ms() - now));
            tokio::select! {
                () = ending.cancelled() => {}
                () = tokio::time::sleep(wait.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// Takes the lease anew, however long the server stays away.
    async fn enter_again(&mut self, ending: &CancellationToken) {
        while !ending.is_cancelled() {
            let asked_ms = boot_ms();
            let patience = server::CONNECT_PATIENCE;
            let entered = tokio::time::timeout(patience, self.try_to_enter()).await;
            match entered.unwrap_or_else(|_| Err(server::late(patience))) {
                Ok(Some(true)) => {
                    self.granted = lease::Lease::granted(self.terms, asked_ms);
                    return self.lease.renewed(self.granted);
                }
                Ok(Some(false)) => {
                    self.lease.lapse(Standing::Lost);
                    return ending.cancelled().await;
                }
                Ok(None) => {}
                // With the connection goes whatever lock it has.
                Err(_) => self.connection = None,
            }
            tokio::select! {
                () = ending.cancelled() => {}
                () = tokio::time::sleep(Duration::from_millis(self.retry_ms())) => {}
            }
        }
    }

    /// None while another process is at the list.
    async fn try_to_enter(&mut self) -> Result<Option<bool>, DbErr> {
        let connection = self.connection().await?;
        if !server::try_lock(&connection, Lock::Runners).await? {
            return Ok(None);
        }
        let entered = runner::enter_again(&connection, self.id, &self.holder, self.terms).await?;
        runner::look_at_clock(&connection, &self.clock).await?;
        server::unlock(&connection, Lock::Runners).await?;
        Ok(Some(entered))
    }

    const fn retry_ms(&self) -> u64 {
        self.terms.heartbeat_ms() / 10 + 1
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

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_lease_that_was_had_and_over_unseen_is_asked_for_again() {
        let lease = Lease::granted(lease::Lease::granted(Terms::DEFAULT, boot_ms()));
        lease.lapse(Standing::Lapsed);
        let mut regained = std::pin::pin!(lease.regained());
        for _ in 0..3 {
            assert!(poll!(&mut regained).is_pending());
            assert!(poll!(std::pin::pin!(lease.wanted.notified())).is_ready(), "it is not asked for");
            assert!(poll!(std::pin::pin!(lease.wanted.notified())).is_pending(), "asked for twice");
            lease.is_now(Standing::Held);
            lease.lapse(Standing::Lapsed);
        }
        lease.is_now(Standing::Held);
        assert!(regained.await);
    }
}
