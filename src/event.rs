//! What happens in a run, as reporters see it. Events are the engine's only output. Pure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use uuid::Uuid;

use crate::failure::Failure;
use crate::id::Sha256Digest;
use crate::state::Step;
use crate::summary::Summary;

/// What does not change about one migration during a run.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The target id.
    pub id: Uuid,
    /// What a person calls it.
    pub name: String,
    /// The region it comes from.
    pub source: Arc<str>,
    /// The region it goes to.
    pub target: Arc<str>,
    /// Size of the object; none before it is known.
    pub bytes: Option<u64>,
}

/// One thing that happened. `item` is a position in [`Board::items`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A copy starts or goes on.
    CopyStarted {
        /// Which migration.
        item: u32,
        /// Counts from 1 in each run.
        attempt: u16,
        /// Bytes that an earlier attempt has stored already.
        resumed: u64,
    },
    /// A copy cannot go on from its checkpoint and starts from its first byte again.
    Restarted {
        /// Which migration.
        item: u32,
        /// Why.
        reason: String,
    },
    /// A step failed and is tried again.
    Retrying {
        /// Which migration.
        item: u32,
        /// Which step.
        step: Step,
        /// The attempt that failed, from 1.
        attempt: u16,
        /// How many there are.
        attempts: u16,
        /// Pause before the next one, in milliseconds.
        delay_ms: u64,
        /// Why.
        failure: Failure,
    },
    /// A copy is whole, verified and published.
    Copied {
        /// Which migration.
        item: u32,
        /// Size of the object.
        bytes: u64,
        /// Digest of the whole object.
        sha256: Sha256Digest,
        /// Whether the same bytes lay there already.
        adopted: bool,
    },
    /// The record is in the target's catalog: the backup can be restored there.
    Registered {
        /// Which migration.
        item: u32,
    },
    /// A step gave up.
    Failed {
        /// Which migration.
        item: u32,
        /// Which step.
        step: Step,
        /// Why.
        failure: Failure,
    },
    /// The lease of this runner ended before it could be renewed: what was under way is cut off, and others may have it by
    /// the time there is a lease again.
    LeaseEnded,
    /// No new copies are started any more.
    Draining {
        /// Why, for a person: `interrupted`, `the window of 4 h is over`.
        reason: String,
    },
    /// The run is over; what the database says.
    Finished(Box<Summary>),
}

/// What reporters look at besides events: the migrations, and how many bytes of each have arrived.
#[derive(Debug, Default)]
pub struct Board {
    /// The migrations of the run, in plan order.
    pub items: Vec<Item>,
    /// Bytes of each that are on their way or stored in the target, by position. Only ever shown, never decided on.
    pub stored: Vec<AtomicU64>,
    /// For each migration, the position of its chain's first link.
    pub roots: Vec<u32>,
    /// Positions that were registered before this run began.
    pub done_before: Vec<bool>,
    /// Bytes read from sources in this run, retries and read-back included.
    pub bytes_read: AtomicU64,
}

impl Board {
    /// Shows that more of a migration is on its way; what is read twice does not count beyond its size.
    pub fn add_moving(&self, item: u32, bytes: u64) {
        let size = self.items[item as usize].bytes.unwrap_or(u64::MAX);
        let more = |stored: u64| Some(stored.saturating_add(bytes).min(size));
        let _ = self.stored[item as usize].fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Sets how much of a migration is stored.
    pub fn set_stored(&self, item: u32, bytes: u64) {
        self.stored[item as usize].store(bytes, Ordering::Relaxed);
    }

    /// How much of a migration is stored.
    #[must_use]
    pub fn stored(&self, item: u32) -> u64 {
        self.stored[item as usize].load(Ordering::Relaxed)
    }
}
