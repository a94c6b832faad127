//! What a reporter knows of a run: counted from events, with the bytes of running copies read from the board. Pure.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::event::{Board, Event};

/// Rates are means over the time since the newest sample older than this.
const RATE_WINDOW: Duration = Duration::from_secs(20);

/// Samples closer together than this are not kept.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The numbers of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub chains: u64,
    pub chains_restorable: u64,
    /// Chains with a failed link.
    pub chains_lost: u64,
    pub migrations: u64,
    pub registered: u64,
    pub failed: u64,
    pub running: u64,
    /// Bytes in the targets, earlier runs included.
    pub stored: u64,
    /// Bytes of all objects; none while one is unknown.
    pub bytes: Option<u64>,
    /// Bytes a second that arrive in targets; none before anything was measured.
    pub rate: Option<u64>,
    /// Time until all bytes that can still arrive have arrived; none without a rate.
    pub left: Option<Duration>,
}

/// Follows a run.
pub(super) struct Progress {
    board: Arc<Board>,
    /// Links of each chain that are not registered, by the chain's first link.
    links_left: HashMap<u32, u32>,
    chains_lost: BTreeSet<u32>,
    registered: Vec<bool>,
    failed: Vec<bool>,
    /// Size by migration, as known so far.
    sizes: Vec<Option<u64>>,
    /// Bytes in the target of each migration that is not being copied.
    resting: Vec<u64>,
    /// Position, and bytes that were there when it started; oldest first.
    running: Vec<(u32, u64)>,
    /// Sum of `resting` but for those running.
    stored_at_rest: u64,
    /// Bytes that this run has brought by copies that are over.
    gained_at_rest: u64,
    /// Bytes of failed migrations that will not arrive.
    given_up: u64,
    size_total: u64,
    sizes_unknown: u64,
    counted: Figures,
    /// When, and bytes gained until then.
    samples: VecDeque<(Duration, u64)>,
}

impl Progress {
    pub(super) fn new(board: Arc<Board>) -> Self {
        let count = board.items.len();
        let registered: Vec<bool> = (0..count).map(|at| board.done_before.get(at).copied().unwrap_or(false)).collect();
        let sizes: Vec<Option<u64>> = board.items.iter().map(|item| item.bytes).collect();
        let mut links_left = HashMap::new();
        let mut resting = vec![0; count];
        for (at, done) in registered.iter().enumerate() {
            let stored = board.stored.get(at).map_or(0, |stored| stored.load(Ordering::Relaxed));
            resting[at] = if *done { sizes[at].unwrap_or(stored) } else { stored };
            *links_left.entry(root(&board, at)).or_insert(0) += u32::from(!done);
        }
        let mut progress = Self {
            chains_lost: BTreeSet::new(),
            failed: vec![false; count],
            stored_at_rest: resting.iter().sum(),
            resting,
            running: Vec::new(),
            gained_at_rest: 0,
            given_up: 0,
            size_total: sizes.iter().flatten().sum(),
            sizes_unknown: sizes.iter().filter(|size| size.is_none()).count() as u64,
            sizes,
            counted: Figures::default(),
            samples: VecDeque::from([(Duration::ZERO, 0)]),
            links_left,
            registered,
            board,
        };
        progress.counted.migrations = count as u64;
        progress.counted.registered = progress.registered.iter().filter(|done| **done).count() as u64;
        progress.counted.chains = progress.links_left.len() as u64;
        progress.counted.chains_restorable = progress.links_left.values().filter(|left| **left == 0).count() as u64;
        progress
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// Positions of the copies under way, oldest first.
    pub(super) fn running(&self) -> impl ExactSizeIterator<Item = u32> + '_ {
        self.running.iter().map(|(item, _)| *item)
    }

    /// Counts `event`.
    pub(super) fn see(&mut self, event: &Event) {
        match event {
            Event::CopyStarted { item, resumed, .. } => self.started(*item, *resumed),
            Event::Restarted { item, .. } => self.restarted(*item),
            Event::Copied { item, bytes, adopted, .. } => self.copied(*item, *bytes, *adopted),
            Event::Registered { item } => self.registered(*item),
            Event::Failed { item, .. } => self.failed(*item),
            Event::Retrying { .. } | Event::Draining { .. } | Event::LeaseEnded | Event::Finished(_) => {}
        }
    }

    /// The numbers now, without a rate.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            running: self.running.len() as u64,
            stored: self.stored_at_rest + self.running().map(|item| self.board.stored(item)).sum::<u64>(),
            bytes: (self.sizes_unknown == 0).then_some(self.size_total),
            chains_lost: self.chains_lost.len() as u64,
            ..self.counted.clone()
        }
    }

    /// The numbers now, with the rate since earlier calls. `elapsed` must not go back.
    pub(super) fn measure(&mut self, elapsed: Duration) -> Figures {
        let gained = self.gained();
        let figures = self.figures();
        let rate = self.rate(elapsed, gained);
        let missing = figures.bytes.map(|bytes| bytes.saturating_sub(figures.stored).saturating_sub(self.given_up));
        let left = missing.zip(rate).and_then(|(missing, rate)| missing.checked_div(rate)).map(Duration::from_secs);
        Figures { rate, left, ..figures }
    }

    fn rate(&mut self, elapsed: Duration, gained: u64) -> Option<u64> {
        while self.samples.get(1).is_some_and(|(when, _)| elapsed.saturating_sub(*when) >= RATE_WINDOW) {
            self.samples.pop_front();
        }
        let (when, before) = *self.samples.front()?;
        let newest = self.samples.back().map_or(Duration::ZERO, |(when, _)| *when);
        if elapsed.saturating_sub(newest) >= SAMPLE_EVERY {
            self.samples.push_back((elapsed, gained));
        }
        let time = elapsed.saturating_sub(when);
        if time < SAMPLE_EVERY {
            return None;
        }
        let rate = u128::from(gained.saturating_sub(before)) * 1_000 / time.as_millis();
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Bytes that this run has brought. Those found at a copy's start are not among them.
    fn gained(&self) -> u64 {
        let running = self.running.iter().map(|(item, from)| self.board.stored(*item).saturating_sub(*from));
        self.gained_at_rest + running.sum::<u64>()
    }

    fn started(&mut self, item: u32, resumed: u64) {
        // Another attempt of a copy that runs already changes nothing: its bytes count from the first attempt.
        if !self.running().any(|running| running == item) {
            self.rest(item, 0);
            self.running.push((item, resumed));
        }
    }

    fn restarted(&mut self, item: u32) {
        if let Some((_, from)) = self.running.iter_mut().find(|(running, _)| *running == item) {
            *from = 0;
        }
    }

    fn copied(&mut self, item: u32, bytes: u64, adopted: bool) {
        let from = self.stopped(item);
        if !adopted {
            self.gained_at_rest += bytes.saturating_sub(from.unwrap_or(0));
        }
        self.rest(item, bytes);
        if self.sizes[item as usize].replace(bytes).is_none() {
            self.sizes_unknown -= 1;
            self.size_total += bytes;
        }
    }

    fn registered(&mut self, item: u32) {
        if std::mem::replace(&mut self.registered[item as usize], true) {
            return;
        }
        self.counted.registered += 1;
        if let Some(left) = self.links_left.get_mut(&root(&self.board, item as usize)) {
            *left -= 1;
            self.counted.chains_restorable += u64::from(*left == 0);
        }
    }

    fn failed(&mut self, item: u32) {
        if let Some(from) = self.stopped(item) {
            let stored = self.board.stored(item);
            self.gained_at_rest += stored.saturating_sub(from);
            self.rest(item, stored);
        }
        if std::mem::replace(&mut self.failed[item as usize], true) {
            return;
        }
        self.counted.failed += 1;
        self.chains_lost.insert(root(&self.board, item as usize));
        let size = self.sizes[item as usize].unwrap_or(0);
        self.given_up += size.saturating_sub(self.resting[item as usize]);
    }

    /// Takes a copy from those running; how many bytes it started from.
    fn stopped(&mut self, item: u32) -> Option<u64> {
        let at = self.running.iter().position(|(running, _)| *running == item)?;
        Some(self.running.remove(at).1)
    }

    fn rest(&mut self, item: u32, bytes: u64) {
        let before = std::mem::replace(&mut self.resting[item as usize], bytes);
        self.stored_at_rest = self.stored_at_rest - before + bytes;
    }
}

fn root(board: &Board, at: usize) -> u32 {
    // A board without roots has only chains of one.
    board.roots.get(at).copied().unwrap_or_else(|| u32::try_from(at).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
