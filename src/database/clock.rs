//! Which time it is: for a file this machine's, for a database on a server that server's.

use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the machine started. Goes on while it sleeps, and nobody can set it.
pub(super) fn boot_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let ms = now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or_default()
}

/// A server's clock, seen from here: looked at now and then, counted on in between.
#[derive(Debug, Default)]
pub(super) struct ServerClock {
    /// What is to be added to [`boot_ms`].
    ahead_ms: AtomicI64,
}

impl ServerClock {
    /// Takes that it was `server_ms` there at an instant between `before` and `after` here.
    pub(super) fn was(&self, server_ms: i64, before: u64, after: u64) {
        let here = signed(before.midpoint(after));
        self.ahead_ms.store(server_ms.saturating_sub(here), Ordering::Relaxed);
    }

    /// Milliseconds since the epoch.
    pub(super) fn now_ms(&self) -> i64 {
        signed(boot_ms()).saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on_from_what_was_seen() {
        let clock = ServerClock::default();
        let here = boot_ms();
        clock.was(5_000_000, here, here);
        let passed = clock.now_ms() - 5_000_000;
        assert!((0..60_000).contains(&passed), "{passed}");
    }
}
