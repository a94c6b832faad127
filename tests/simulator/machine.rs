//! A runner and the machine that it is on, with its clocks.

use crate::runner::{Clock, Runner};

/// What the database's clock shows when a story begins.
pub(crate) const DATABASE_MS: i64 = 1_700_000_000_000;

pub(crate) struct Machine<E> {
    pub(crate) runner: Runner,
    pub(crate) boot_offset: u64,
    /// Its clock goes faster or slower than the database's.
    pub(crate) drift_ppm: i64,
    pub(crate) wall_offset: i64,
    /// What it takes for the database's clock is off by so much.
    pub(crate) database_offset: i64,
    pub(crate) paused_until: Option<u64>,
    pub(crate) held: Vec<E>,
    pub(crate) is_gone: bool,
    /// Of its runner, when it was looked at last.
    pub(crate) generation: u32,
    pub(crate) timer_at: Option<u64>,
}

impl<E> Machine<E> {
    pub(crate) fn clock(&self, now: u64) -> Clock {
        let passed = i64::try_from(now).expect("short") * (1_000_000 + self.drift_ppm) / 1_000_000;
        let boot_ms = self.boot_offset + u64::try_from(passed).expect("forward");
        let wall_ms = u64::try_from(i64::try_from(boot_ms).expect("short") + self.wall_offset).expect("after 1970");
        // Looked at now and then.
        let database_ms = DATABASE_MS + i64::try_from(now).expect("short") + self.database_offset;
        Clock { boot_ms, wall_ms, database_ms }
    }

    /// When its clock shows a time.
    pub(crate) fn when(&self, boot_ms: u64, now: u64) -> u64 {
        let left = boot_ms.saturating_sub(self.clock(now).boot_ms);
        now + left + left / 100 + 1
    }

    pub(crate) fn is_there(&self) -> bool {
        !self.is_gone
    }
}
