//! The plan's limits as running parts: memory, rates that follow the time of day, and slots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::copy::Budget;
use crate::plan::{Limits, Plan, Timetable};
use crate::schedule::Slots;
use crate::throttle::{Rate, RequestBucket, Throttle, TokenBucket};

/// Rates are looked up again this often; timetables count in minutes.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Everything of a plan that holds a run back.
#[derive(Debug)]
pub struct RunLimits {
    /// Bytes of parts in memory.
    pub budget: Budget,
    /// Copies at a time.
    pub slots: Slots,
    /// One for each region of the plan, in its order.
    pub throttles: Vec<Throttle>,
    /// Rates to keep up to date.
    timetables: Vec<(Arc<TokenBucket>, Timetable)>,
    time_zone: TimeZone,
}

impl RunLimits {
    /// The limits of a plan, at the rates of `now`.
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
        let minute = minute_of_day(&now.to_zoned(time_zone.clone()));
        let mut timetables = Vec::new();
        let mut bucket = |timetable: &Timetable| {
            let bucket = Arc::new(TokenBucket::new(rate_at(timetable, minute)));
            timetables.push((Arc::clone(&bucket), timetable.clone()));
            bucket
        };
        let total = bucket(&plan.limits.bandwidth);
        let throttles = (0..plan.regions.len())
            .map(|index| {
                let own = plan.limits.regions.iter().find(|(region, _)| usize::from(region.0) == index);
                let Some((_, own)) = own else { return Throttle::new(vec![Arc::clone(&total)], Vec::new(), None) };
                let region = bucket(&own.bandwidth);
                let requests = own.requests_per_second.map(|rate| Arc::new(RequestBucket::new(rate)));
                Throttle::new(vec![Arc::clone(&total), Arc::clone(&region)], vec![region], requests)
            })
            .collect();
        let budget = Budget::new(plan.limits.memory);
        Self { budget, slots: slots(&plan.limits), throttles, timetables, time_zone }
    }

    /// Keeps the rates as the timetables say. Never ends; drop it with the run.
    pub async fn follow_the_clock(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let minute = minute_of_day(&Timestamp::now().to_zoned(self.time_zone.clone()));
            for (bucket, timetable) in self.timetables.iter().filter(|(_, timetable)| !timetable.windows.is_empty()) {
                bucket.set(rate_at(timetable, minute));
            }
        }
    }
}

fn slots(limits: &Limits) -> Slots {
    let ceilings = limits.regions.iter().filter_map(|(region, own)| Some((region.0, own.concurrency?)));
    Slots { total: limits.concurrency, regions: ceilings.collect::<BTreeMap<_, _>>() }
}

fn minute_of_day(now: &Zoned) -> u16 {
    u16::try_from(i32::from(now.hour()) * 60 + i32::from(now.minute())).expect("a day has 1440 minutes")
}

/// The rate that a timetable gives at a minute of the day.
fn rate_at(timetable: &Timetable, minute: u16) -> Rate {
    let window = timetable.windows.iter().find(|window| (window.start_minute..window.end_minute).contains(&minute));
    Rate::from(window.map_or(timetable.default, |window| window.rate))
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
        assert_eq!(rate_at(&timetable, 479), Rate::from(None));
        assert_eq!(rate_at(&timetable, 480), Rate::from(Some(5 << 20)));
        assert_eq!(rate_at(&timetable, 1199), Rate::from(Some(5 << 20)));
        assert_eq!(rate_at(&timetable, 1200), Rate::from(None));
    }
}
