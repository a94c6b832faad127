//! The plan's limits as running parts: memory, and this runner's share of rates, which follow the time of day, and of slots.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::copy::Budget;
use crate::plan::{Limits, Plan, Timetable};
use crate::schedule::Slots;
use crate::share::Share;
use crate::throttle::{Rate, RequestBucket, Throttle, TokenBucket};

/// Rates are looked up again this often; timetables count in minutes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Everything of a plan that holds a run back.
#[derive(Debug)]
pub struct RunLimits {
    /// Bytes of parts in memory: of each process.
    pub budget: Budget,
    /// One for each region of the plan, in its order.
    pub throttles: Vec<Throttle>,
    /// Copies at a time, of all runners together.
    slots: Slots,
    /// Bytes per second, of all runners together.
    timetables: Vec<(Arc<TokenBucket>, Timetable)>,
    /// Requests per second, of all runners together.
    requests: Vec<(Arc<RequestBucket>, u32)>,
    time_zone: TimeZone,
    share: Mutex<Share>,
}

impl RunLimits {
    /// The limits of a plan, at the rates of `now`, for a runner that is alone.
    ///
    /// # Panics
    /// Never: the reader checked the time zone.
    #[must_use]
    pub fn new(plan: &Plan, now: Timestamp) -> Self {
        let time_zone = plan
            .schedule
            .time_zone
            .as_deref()
            .map_or(TimeZone::UTC, |name| TimeZone::get(name).expect("the reader checked the time zone"));
        let (mut timetables, mut requests) = (Vec::new(), Vec::new());
        let mut bucket = |timetable: &Timetable| {
            let bucket = Arc::new(TokenBucket::new(Rate::Unlimited));
            timetables.push((Arc::clone(&bucket), timetable.clone()));
            bucket
        };
        let total = bucket(&plan.limits.bandwidth);
        let throttles = (0..plan.regions.len())
            .map(|index| {
                let own = plan.limits.regions.iter().find(|(region, _)| usize::from(region.0) == index);
                let Some((_, own)) = own else { return Throttle::new(vec![Arc::clone(&total)], Vec::new(), None) };
                let region = bucket(&own.bandwidth);
                let of_requests = own.requests_per_second.map(|rate| (Arc::new(RequestBucket::new(rate)), rate));
                requests.extend(of_requests.clone());
                let requests = of_requests.map(|(bucket, _)| bucket);
                Throttle::new(vec![Arc::clone(&total), Arc::clone(&region)], vec![region], requests)
            })
            .collect();
        let budget = Budget::new(plan.limits.memory);
        let (slots, share) = (slots(&plan.limits), Mutex::new(Share::WHOLE));
        let limits = Self { budget, throttles, slots, timetables, requests, time_zone, share };
        limits.set_rates(now);
        limits
    }

    /// From now on this runner has this share of all rates. Of a share that is nothing a trickle of a byte and
    /// a request a second is left.
    pub fn set_share(&self, share: Share) {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner) = share;
        for (bucket, total) in &self.requests {
            bucket.set(share.of((*total).into()));
        }
        self.set_rates(Timestamp::now());
    }

    /// The copies at a time that a share allows.
    #[must_use]
    pub fn slots(&self, share: Share) -> Slots {
        let mine = |total: u16| u16::try_from(share.of(total.into())).expect("at most the total");
        let regions = self.slots.regions.iter().map(|(region, total)| (*region, mine(*total)));
        Slots { total: mine(self.slots.total), regions: regions.collect() }
    }

    /// Keeps the rates as the timetables say. Never ends; drop it with the run.
    pub async fn follow_the_clock(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.set_rates(Timestamp::now());
        }
    }

    fn set_rates(&self, now: Timestamp) {
        let share = self.share();
        let minute = minute_of_day(&now.to_zoned(self.time_zone.clone()));
        for (bucket, timetable) in &self.timetables {
            bucket.set(Rate::from(rate_at(timetable, minute).map(|total| share.of(total))));
        }
    }

    fn share(&self) -> Share {
        *self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slots(limits: &Limits) -> Slots {
    let ceilings = limits.regions.iter().filter_map(|(region, own)| Some((region.0, own.concurrency?)));
    Slots { total: limits.concurrency, regions: ceilings.collect::<BTreeMap<_, _>>() }
}

fn minute_of_day(now: &Zoned) -> u16 {
    u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).expect("a day has 1440 minutes")
}

/// The bytes per second that a timetable gives at a minute of the day; none is unlimited.
fn rate_at(timetable: &Timetable, minute: u16) -> Option<u64> {
    let window = timetable.windows.iter().find(|window| (window.start_minute..window.end_minute).contains(&minute));
    window.map_or(timetable.default, |window| window.rate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Window;

    #[test]
    fn windows_hold_from_their_first_minute_to_before_their_last() {
        let timetable = Timetable {
            default: None,
            windows: vec![Window { start_minute: 480, end_minute: 1200, rate: Some(5 << 20) }],
        };
        assert_eq!(rate_at(&timetable, 479), None);
        assert_eq!(rate_at(&timetable, 480), Some(5 << 20));
        assert_eq!(rate_at(&timetable, 1199), Some(5 << 20));
        assert_eq!(rate_at(&timetable, 1200), None);
    }
}
