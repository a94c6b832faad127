//! Leases: for how long a runner may take a row as its own, and whose a row is. Pure.
//!
//! A runner asks the database for a lease, which ends by the database's clock. The runner counts by a clock of its own
//! that goes on while the machine sleeps, from before it asked: so it stops before the database can think that it is
//! over, however long the answer took. Times are milliseconds of whatever clock the caller has.

use std::time::Duration;

/// How long leases are, and how often they are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    lease_ms: u64,
    heartbeat_ms: u64,
}

/// Terms that cannot hold: too short, or with no room for a renewal that is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease is 1 s to 1 h, and the time between heartbeats at most a third of it")]
pub struct BadTerms;

impl Terms {
    /// 30 s, renewed every 10 s.
    pub const DEFAULT: Self = Self { lease_ms: 30_000, heartbeat_ms: 10_000 };

    const LEASE_MIN_MS: u64 = 1_000;
    const LEASE_MAX_MS: u64 = 3_600_000;

    /// # Errors
    /// [`BadTerms`].
    pub fn new(lease: Duration, heartbeat: Duration) -> Result<Self, BadTerms> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (lease_ms, heartbeat_ms) = (ms(lease), ms(heartbeat));
        let is_in_range = (Self::LEASE_MIN_MS..=Self::LEASE_MAX_MS).contains(&lease_ms);
        if is_in_range && heartbeat_ms > 0 && heartbeat_ms.saturating_mul(3) <= lease_ms {
            Ok(Self { lease_ms, heartbeat_ms })
        } else {
            Err(BadTerms)
        }
    }

    /// Length of a lease.
    #[must_use]
    pub const fn lease_ms(self) -> u64 {
        self.lease_ms
    }

    /// Between two renewals.
    #[must_use]
    pub const fn heartbeat_ms(self) -> u64 {
        self.heartbeat_ms
    }

    /// What is left of a lease when its holder stops: time for what is on its way to a store to arrive, and for two
    /// clocks that do not go alike.
    const fn margin_ms(self) -> u64 {
        self.lease_ms / 10
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A lease as its holder sees it, by the holder's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    terms: Terms,
    asked_ms: u64,
}

impl Lease {
    /// One that was asked for at `asked_ms`, before the question was sent, and granted.
    #[must_use]
    pub const fn granted(terms: Terms, asked_ms: u64) -> Self {
        Self { terms, asked_ms }
    }

    /// When it is to be renewed.
    #[must_use]
    pub const fn renew_at_ms(self) -> u64 {
        self.asked_ms.saturating_add(self.terms.heartbeat_ms)
    }

    /// When its holder stops writing, if it was not renewed before: earlier than it can end.
    #[must_use]
    pub const fn stop_at_ms(self) -> u64 {
        self.asked_ms.saturating_add(self.terms.lease_ms - self.terms.margin_ms())
    }

    /// Whether its holder may write.
    #[must_use]
    pub const fn holds(self, now_ms: u64) -> bool {
        now_ms < self.stop_at_ms()
    }
}

/// Whether a lease is over for others, by the database's clock: what it was held for is free.
#[must_use]
pub const fn is_over(lease_until_ms: i64, database_now_ms: i64) -> bool {
    lease_until_ms <= database_now_ms
}

/// Whether a row may be claimed: nobody has it, or the claimant itself, or somebody whose lease is over (or who is in no
/// list at all, as every run on a file that was killed).
#[must_use]
pub fn is_free<Id: PartialEq>(claimed_by: Option<&Id>, claimant: &Id, owner_is_live: bool) -> bool {
    claimed_by.is_none_or(|owner| owner == claimant || !owner_is_live)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_defaults_are_terms() {
        let made = Terms::new(Duration::from_secs(30), Duration::from_secs(10));
        assert_eq!(made, Ok(Terms::DEFAULT));
        for (lease, heartbeat) in [(0, 0), (3, 0), (3, 2), (4000, 1), (u64::MAX, u64::MAX)] {
            assert_eq!(Terms::new(Duration::from_secs(lease), Duration::from_secs(heartbeat)), Err(BadTerms));
        }
    }

    #[test]
    fn two_lost_heartbeats_are_survived() {
        let lease = Lease::granted(Terms::DEFAULT, 1_000);
        assert_eq!((lease.renew_at_ms(), lease.stop_at_ms()), (11_000, 28_000));
        assert!(lease.holds(27_999) && !lease.holds(28_000));
    }

    #[test]
    fn a_row_is_free_without_a_live_owner_that_is_another() {
        for owner_is_live in [false, true] {
            assert!(is_free(None, &1, owner_is_live));
            assert!(is_free(Some(&1), &1, owner_is_live), "its own, after a wait between two attempts");
        }
        assert!(is_free(Some(&2), &1, false));
        assert!(!is_free(Some(&2), &1, true));
    }

    proptest! {
        /// The database's clock and the holder's start anywhere and are apart by less than a hundredth; the question
        /// takes any time to arrive.
        #[test]
        fn the_holder_stops_before_anybody_may_take_over(
            lease_s in 1_u64..3_600, on_its_way_ms in 0_u64..100_000, local in 0_u64..1 << 40, database in 0_i64..1 << 40,
            since in 0_u64..4_000_000, drift in -0.01..0.01_f64,
        ) {
            let terms = Terms::new(Duration::from_secs(lease_s), Duration::from_millis(lease_s * 300)).expect("terms");
            let lease = Lease::granted(terms, local);
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "less than 2^52")]
            let by_database = |passed_ms: u64| database + (passed_ms as f64 * (1.0 + drift)) as i64;
            let until = by_database(on_its_way_ms) + i64::try_from(terms.lease_ms()).expect("small");
            if is_over(until, by_database(since)) {
                prop_assert!(!lease.holds(local + since));
            }
        }
    }
}
