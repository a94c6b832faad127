use governor::clock::FakeRelativeClock;

use super::*;

const MIB: u64 = 1024 * 1024;

/// Time passes only here, and only one taker of a bucket sleeps at a time.
impl Time for FakeRelativeClock {
    async fn sleep(&self, time: Duration) {
        self.advance(time);
        tokio::task::yield_now().await;
    }
}

fn bytes_at(rate: u64) -> (Arc<Pace<FakeRelativeClock>>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    let rate = Rate::from(Some(rate));
    (Arc::new(Pace::new(BYTES_PER_CELL, SLICE / BYTES_PER_CELL, rate, clock.clone())), clock)
}

fn passed(clock: &FakeRelativeClock) -> Duration {
    clock.now().into()
}

/// Lets takers of the given sizes take over and over for a minute; what each one was granted.
async fn compete(pace: &Arc<Pace<FakeRelativeClock>>, clock: &FakeRelativeClock, sizes: &[u64]) -> Vec<u64> {
    let end = passed(clock) + Duration::from_mins(1);
    let takers: Vec<_> = sizes
        .iter()
        .map(|size| {
            let (pace, clock, size) = (Arc::clone(pace), clock.clone(), *size);
            tokio::spawn(async move {
                let mut granted = 0;
                while passed(&clock) < end {
                    pace.take(size).await;
                    granted += size;
                }
                granted
            })
        })
        .collect();
    let mut granted = Vec::new();
    for taker in takers {
        granted.push(taker.await.expect("takers do not panic"));
    }
    granted
}

#[tokio::test]
async fn sixteen_equal_takers_get_equal_shares() {
    let (pace, clock) = bytes_at(20 * MIB);
    let granted = compete(&pace, &clock, &[SLICE; 16]).await;
    let (least, most) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
    let burst = 2 * MIB; // goes to the taker that starts first
    assert!(most - least <= burst + SLICE, "{granted:?}");
}

#[tokio::test]
async fn a_large_taker_gets_its_share_among_small_ones() {
    let (pace, clock) = bytes_at(10 * MIB);
    let mut sizes = [SLICE; 9];
    sizes[4] = 8 * MIB;
    let granted = compete(&pace, &clock, &sizes).await;
    let fair = granted.iter().sum::<u64>() / 9;
    assert!(granted[4].abs_diff(fair) <= 8 * MIB, "{granted:?}");
    assert!(granted[0].abs_diff(fair) <= MIB, "{granted:?}");
}

#[tokio::test]
async fn any_rate_is_kept_within_one_percent() {
    for rate in [10 * 1024, 1_000 * 1024, 20 * MIB, 600_000_000, 3_000_000_000] {
        let (pace, clock) = bytes_at(rate);
        pace.take(rate / 10).await; // the burst
        let start = passed(&clock);
        pace.take(rate * 10).await;
        let seconds = passed(&clock).as_secs_f64() - start.as_secs_f64();
        assert!((9.9..=10.1).contains(&seconds), "{rate}: {seconds} s instead of 10");
    }
}

#[tokio::test]
async fn nothing_costs_nothing_and_little_costs_a_cell() {
    let (pace, clock) = bytes_at(1024);
    for _ in 0..1000 {
        pace.take(0).await;
    }
    assert_eq!(passed(&clock), Duration::ZERO);
    pace.take(1).await;
    assert_eq!(passed(&clock), Duration::ZERO, "the burst holds one cell");
    pace.take(1).await;
    assert_eq!(passed(&clock), Duration::from_secs(1));
}

#[tokio::test]
async fn requests_are_counted_one_by_one() {
    let clock = FakeRelativeClock::default();
    let pace = Pace::new(1, 1, Rate::from(Some(50)), clock.clone());
    for _ in 0..105 {
        pace.take(1).await;
    }
    assert_eq!(passed(&clock), Duration::from_secs(2), "5 at once, then 50 a second");
}

#[tokio::test]
async fn a_rate_set_meanwhile_frees_those_who_wait() {
    let bucket = Arc::new(TokenBucket::new(Rate::from(Some(1))));
    let takers: Vec<_> = (0..4)
        .map(|_| {
            let bucket = Arc::clone(&bucket);
            tokio::spawn(async move { bucket.take(64 * MIB).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(takers.iter().all(|taker| !taker.is_finished()), "two thousand years have passed");
    bucket.set(Rate::Unlimited);
    for taker in takers {
        taker.await.expect("takers do not panic");
    }
    bucket.set(Rate::from(Some(5)));
    assert_eq!(bucket.rate(), Rate::PerSecond(NonZeroU64::new(5).unwrap()));
}

#[tokio::test]
async fn a_taker_that_gives_up_leaves_the_queue() {
    let bucket = Arc::new(TokenBucket::new(Rate::from(Some(1))));
    let gone = tokio::spawn({
        let bucket = Arc::clone(&bucket);
        async move { bucket.take(MIB).await }
    });
    tokio::task::yield_now().await;
    gone.abort();
    assert!(gone.await.is_err());
    assert!(bucket.pace.turn.try_lock().is_ok());
}

#[tokio::test]
async fn a_throttle_counts_and_knows_whether_it_limits() {
    let bucket = Arc::new(TokenBucket::new(Rate::Unlimited));
    let throttle = Throttle::new(vec![Arc::clone(&bucket)], Vec::new(), Some(Arc::new(RequestBucket::new(1000))));
    assert!(!throttle.limits_reads());
    throttle.request().await;
    throttle.read(5).await;
    throttle.clone().write(7).await;
    bucket.set(Rate::from(Some(1)));
    assert!(throttle.limits_reads() && !throttle.limits_writes());
    let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(counted(&throttle.counters().requests), 1);
    assert_eq!(counted(&throttle.counters().bytes_read), 5);
    assert_eq!(counted(&throttle.counters().bytes_written), 7);
}
