//! How long to wait before the next attempt. Pure.

use std::time::Duration;

/// Pause after the first failed attempt, before jitter.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The pause after attempt number `attempt` (from 1): doubling, at most `max`, then spread by `jitter` (0 to 1)
/// over its upper half, so that what failed together does not come back together.
#[must_use]
pub fn delay(attempt: u16, max: Duration, jitter: f64) -> Duration {
    let doubled = FIRST_DELAY.saturating_mul(1 << u32::from(attempt.saturating_sub(1)).min(20));
    doubled.min(max).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::Retry;

    #[test]
    fn doubles_up_to_the_longest() {
        let max = Duration::from_mins(2);
        let seconds: Vec<f64> = (1..=10).map(|attempt| delay(attempt, max, 1.0).as_secs_f64()).collect();
        assert_eq!(seconds, [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 120.0, 120.0]);
        assert_eq!(delay(3, max, 0.0), Duration::from_secs(1));
    }

    #[test]
    fn the_default_outlives_two_minutes_however_the_pauses_fall() {
        let Retry { attempts, max_delay } = Retry::DEFAULT;
        let shortest: Duration = (1..attempts).map(|attempt| delay(attempt, max_delay, 0.0)).sum();
        assert!((120..=130).contains(&shortest.as_secs()), "{shortest:?}");
    }

    proptest! {
        #[test]
        fn never_longer_than_the_longest(attempt in 0..u16::MAX, max_ms in 0..10_000_000_u64, jitter in 0.0..1.0) {
            let max = Duration::from_millis(max_ms);
            prop_assert!(delay(attempt, max, jitter) <= max);
        }
    }
}
