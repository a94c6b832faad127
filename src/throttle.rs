//! Ceilings on what stores do: bytes and requests per second, shared fairly, changeable while a run is going on.
//!
//! governor counts, and three of its traps are taken care of here. Its interval per cell is whole nanoseconds, so a
//! cell is one KiB (at one byte a cell, 600 MB/s would be 67 % too much). It refuses at once what exceeds the burst,
//! so takes are split. And its waiters race one another, so that a large taker starves among small ones: a FIFO
//! lock stands before it, and nobody holds the lock for more than one slice (256 KiB).

mod gate;

use std::fmt;
use std::future::Future;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

pub(crate) use gate::{Gate, has_closed_since};

/// Bytes that one taker gets before the next one has its turn.
pub(crate) const SLICE: u64 = 256 * 1024;

/// What one of governor's cells stands for in a bucket of bytes.
const BYTES_PER_CELL: u64 = 1024;

/// How much may be saved up while nobody takes: this part of a second's worth.
const BURSTS_PER_SECOND: u64 = 10;

/// A waiter looks again after this time at the latest, so that a rate set meanwhile counts.
const LONGEST_NAP: Duration = Duration::from_millis(250);

/// How many bytes may pass per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Anything, at once.
    Unlimited,
    /// So many bytes; up to 1 TiB/s, which more counts as.
    PerSecond(NonZeroU64),
}

impl From<Option<u64>> for Rate {
    /// The rate as plans have it: none is unlimited; 0 counts as 1.
    fn from(amount: Option<u64>) -> Self {
        amount.map_or(Self::Unlimited, |amount| Self::PerSecond(NonZeroU64::new(amount).unwrap_or(NonZeroU64::MIN)))
    }
}

/// A ceiling on bytes per second, shared by all who hold it. Takers are served in the order in which they came.
pub struct TokenBucket {
    pace: Pace<MonotonicClock>,
}

impl TokenBucket {
    /// A bucket with a burst of 100 ms. What is taken is rounded up to whole KiB a take.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { pace: Pace::new(BYTES_PER_CELL, SLICE / BYTES_PER_CELL, rate, MonotonicClock) }
    }

    /// Changes the rate, also from and to unlimited; whoever is waiting now waits by the new one. The rate that
    /// already holds changes nothing; another one brings a fresh burst of 100 ms.
    pub fn set(&self, rate: Rate) {
        if self.rate() != rate {
            self.pace.set(rate);
        }
    }

    /// The rate that holds now.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.pace.allowance.load().rate
    }

    /// Whether a take may have to wait.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.rate() != Rate::Unlimited
    }

    /// Waits until `amount` may pass. Any amount is possible; 0 costs nothing. Dropping the future gives up the
    /// place in the queue, and what it had been granted so far.
    pub async fn take(&self, amount: u64) {
        self.pace.take(amount).await;
    }
}

impl fmt::Debug for TokenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenBucket").field("rate", &self.rate()).finish_non_exhaustive()
    }
}

/// A ceiling on requests per second, shared and served as a [`TokenBucket`].
pub struct RequestBucket {
    pace: Pace<MonotonicClock>,
}

impl RequestBucket {
    /// A bucket with a burst of 100 ms, at least one request; 0 counts as 1.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        Self { pace: Pace::new(1, 1, Rate::from(Some(per_second.into())), MonotonicClock) }
    }

    /// Changes the rate, as [`TokenBucket::set`]; 0 counts as 1.
    pub fn set(&self, per_second: u64) {
        let rate = Rate::from(Some(per_second));
        if self.pace.allowance.load().rate != rate {
            self.pace.set(rate);
        }
    }

    /// Waits until one more request may be made.
    pub async fn take(&self) {
        self.pace.take(1).await;
    }
}

impl fmt::Debug for RequestBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBucket").field("rate", &self.pace.allowance.load().rate).finish_non_exhaustive()
    }
}

/// A clock that can also be waited on; a test has one whose time passes only in `sleep`.
trait Time: Clock + Clone + Send + Sync {
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

impl Time for MonotonicClock {
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// The bucket for any cell and any clock.
struct Pace<T: Time> {
    cell: u64,
    cells_per_turn: u64,
    time: T,
    turn: tokio::sync::Mutex<()>,
    allowance: ArcSwap<Allowance<T>>,
}

/// The rate that holds, and who counts for it. governor's limiters cannot change their rate, so they are replaced.
struct Allowance<T: Time> {
    rate: Rate,
    limiter: Option<(Limiter<T>, NonZeroU32)>,
}

type Limiter<T> = RateLimiter<NotKeyed, InMemoryState, T, NoOpMiddleware<<T as Clock>::Instant>>;

impl<T: Time> Allowance<T> {
    fn new(rate: Rate, cell: u64, time: T) -> Self {
        let Rate::PerSecond(amount) = rate else { return Self { rate, limiter: None } };
        // Rounded up: the true rate may be a trace below the one asked for, never above.
        let nanoseconds = u128::from(cell * 1_000_000_000).div_ceil(u128::from(amount.get()));
        let interval = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let burst = u32::try_from(amount.get() / BURSTS_PER_SECOND / cell).unwrap_or(u32::MAX);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(interval).expect("rounded up, so at least a nanosecond").allow_burst(burst);
        Self { rate, limiter: Some((RateLimiter::direct_with_clock(quota, time), burst)) }
    }
}

impl<T: Time> Pace<T> {
    fn new(cell: u64, cells_per_turn: u64, rate: Rate, time: T) -> Self {
        let allowance = ArcSwap::from_pointee(Allowance::new(rate, cell, time.clone()));
        Self { cell, cells_per_turn, time, turn: tokio::sync::Mutex::new(()), allowance }
    }

    fn set(&self, rate: Rate) {
        self.allowance.store(Arc::new(Allowance::new(rate, self.cell, self.time.clone())));
    }

    async fn take(&self, amount: u64) {
        let mut cells = amount.div_ceil(self.cell);
        while cells > 0 && self.allowance.load().limiter.is_some() {
            let turn = self.turn.lock().await;
            let granted = cells.min(self.cells_per_turn);
            self.grant(granted).await;
            drop(turn);
            cells -= granted;
        }
    }

    /// Waits for `cells`; the caller has its turn, so nobody else asks the limiter meanwhile.
    async fn grant(&self, mut cells: u64) {
        while cells > 0 {
            let allowance = self.allowance.load_full();
            let Some((limiter, burst)) = &allowance.limiter else { return };
            let asked = u32::try_from(cells).ok().and_then(NonZeroU32::new).map_or(*burst, |all| all.min(*burst));
            match limiter.check_n(asked).expect("never more than the burst") {
                Ok(()) => cells -= u64::from(asked.get()),
                Err(not_yet) => {
                    let wait = not_yet.wait_time_from(self.time.now());
                    self.time.sleep(wait.min(LONGEST_NAP)).await;
                }
            }
        }
    }
}

/// What passed through a [`Throttle`] so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls to the store.
    pub requests: AtomicU64,
    /// Bytes read, those read back for proof included.
    pub bytes_read: AtomicU64,
    /// Bytes written.
    pub bytes_written: AtomicU64,
}

/// All ceilings that hold for one store, and what passed through them. Clones share both.
#[derive(Debug, Clone, Default)]
pub struct Throttle {
    reads: Vec<Arc<TokenBucket>>,
    writes: Vec<Arc<TokenBucket>>,
    requests: Option<Arc<RequestBucket>>,
    counters: Arc<Counters>,
    gate: Gate,
}

impl Throttle {
    /// Every byte read passes all of `reads`, every byte written all of `writes`, every call `requests`.
    #[must_use]
    pub fn new(
        reads: Vec<Arc<TokenBucket>>,
        writes: Vec<Arc<TokenBucket>>,
        requests: Option<Arc<RequestBucket>>,
    ) -> Self {
        Self { reads, writes, requests, counters: Arc::default(), gate: Gate::default() }
    }

    /// No ceiling; counts only.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// What passed so far; each counted when it was let pass.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How long the store is left alone because it is in trouble; zero when it is well.
    #[must_use]
    pub fn closed_for(&self) -> Duration {
        self.gate.closed_for()
    }

    /// What keeps requests from a store in trouble.
    pub(crate) fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Waits until one more call may be made.
    pub async fn request(&self) {
        if let Some(bucket) = &self.requests {
            bucket.take().await;
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until `bytes` may be read.
    pub async fn read(&self, bytes: u64) {
        pass(&self.reads, bytes, &self.counters.bytes_read).await;
    }

    /// Waits until `bytes` may be written.
    pub async fn write(&self, bytes: u64) {
        pass(&self.writes, bytes, &self.counters.bytes_written).await;
    }

    /// Whether [`Throttle::read`] may have to wait *now*: false only while every ceiling is unlimited.
    #[must_use]
    pub fn limits_reads(&self) -> bool {
        self.reads.iter().any(|bucket| bucket.is_limited())
    }

    /// As [`Throttle::limits_reads`], for [`Throttle::write`].
    #[must_use]
    pub fn limits_writes(&self) -> bool {
        self.writes.iter().any(|bucket| bucket.is_limited())
    }
}

async fn pass(buckets: &[Arc<TokenBucket>], bytes: u64, counter: &AtomicU64) {
    for bucket in buckets {
        bucket.take(bytes).await;
    }
    counter.fetch_add(bytes, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
