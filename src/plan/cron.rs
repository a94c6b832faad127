//! Cron lines: whether one is right, and when it fires, across daylight saving time.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use super::Schedule;

/// Transitions of a time zone that are looked at between two times of a cron line; more lie only decades apart.
const TRANSITIONS_MAX: usize = 64;

const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT; 0 and 7 are Sunday"),
];

/// A time at which a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextTime {
    /// In the schedule's time zone.
    pub at: Zoned,
    /// What daylight saving time does to it, in a few words.
    pub note: Option<String>,
}

/// Why a text is no cron line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CronProblem {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

const EXAMPLE: &str = "a cron line is `minute hour day month weekday`, for instance `0 1 * * *` for 01:00 each day";

/// Checks a cron line of five fields, and that it ever fires.
pub(super) fn check(line: &str) -> Result<(), CronProblem> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        let message = format!("a cron line has 5 fields, and this one has {}", fields.len());
        return Err(CronProblem { message, hint: EXAMPLE });
    }
    for (at, (field, (name, range))) in fields.iter().zip(FIELDS).enumerate() {
        let mut alone = ["*"; 5];
        alone[at] = field;
        let known = field.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '*' | ',' | '-' | '/'));
        if !known || parse(&alone.join(" ")).is_none() {
            let message = format!("the {name} of this cron line cannot be `{field}`: {range}");
            return Err(CronProblem { message, hint: EXAMPLE });
        }
    }
    let never = || CronProblem {
        message: "this cron line never fires".to_owned(),
        hint: "no year has a day that fits its day and month",
    };
    let cron = parse(line).ok_or(CronProblem { message: "this is no cron line".to_owned(), hint: EXAMPLE })?;
    // A leap year first, so that the 29th of February is near.
    let start = jiff::civil::date(2024, 1, 1).at(0, 0, 0, 0);
    cron.find_next_occurrence(&start, true).map(|_| ()).map_err(|_| never())
}

fn parse(line: &str) -> Option<Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(line).ok()
}

/// The next `n` times after `after` at which the schedule fires; none without a cron line.
#[must_use]
pub fn next_times(schedule: &Schedule, after: Timestamp, n: usize) -> Vec<NextTime> {
    let Some(cron) = schedule.cron.as_deref().and_then(parse) else { return Vec::new() };
    let zone = schedule.time_zone.as_deref().map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok());
    let Some(zone) = zone else { return Vec::new() };
    let mut last = after.to_zoned(zone);
    let mut times = Vec::with_capacity(n);
    while times.len() < n {
        let Ok(next) = cron.find_next_occurrence(&last, false) else { break };
        // The library promises a later time; this loop must end even if it is wrong once.
        if next.timestamp() <= last.timestamp() {
            break;
        }
        let note = gap_note(&cron, &last, &next).or_else(|| repeat_note(&cron, &next));
        times.push(NextTime { at: next.clone(), note });
        last = next;
    }
    times
}

/// What became of times of the cron line that the clock jumps over between `last` and `next`.
fn gap_note(cron: &Cron, last: &Zoned, next: &Zoned) -> Option<String> {
    let zone = next.time_zone();
    let transitions = zone.following(last.timestamp()).take(TRANSITIONS_MAX);
    for transition in transitions.take_while(|transition| transition.timestamp() <= next.timestamp()) {
        let before = transition.timestamp().checked_sub(1.second()).ok()?.to_zoned(zone.clone());
        let gap_start = before.datetime().checked_add(1.second()).ok()?;
        let gap_end = transition.timestamp().to_zoned(zone.clone()).datetime();
        let Some(missed) = first_match(cron, gap_start, gap_end) else { continue };
        let missed = missed.strftime("%H:%M does not exist on %Y-%m-%d");
        return Some(match cron.is_time_matching(&next.datetime()) {
            Ok(false) => format!("{missed}: runs at {}", next.strftime("%H:%M")),
            _ => format!("{missed}: skipped"),
        });
    }
    None
}

/// The first minute from `start` to before `end` that fits the cron line.
fn first_match(cron: &Cron, start: DateTime, end: DateTime) -> Option<DateTime> {
    let first = cron.find_next_occurrence(&start, true).ok()?;
    (first < end).then_some(first)
}

/// What happens at a time that the clock shows twice.
fn repeat_note(cron: &Cron, next: &Zoned) -> Option<String> {
    let ambiguous = next.time_zone().to_ambiguous_zoned(next.datetime());
    if !matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Fold { .. }) {
        return None;
    }
    let twice = next.strftime("%H:%M comes twice on %Y-%m-%d");
    let (earlier, later) = (ambiguous.clone().earlier().ok()?, ambiguous.later().ok()?);
    if next.timestamp() == later.timestamp() {
        return Some(format!("{twice}: the second one"));
    }
    let before_later = later.timestamp().checked_sub(1.second()).ok()?.to_zoned(later.time_zone().clone());
    let again =
        cron.find_next_occurrence(&before_later, false).is_ok_and(|again| again.timestamp() == later.timestamp());
    debug_assert_eq!(next.timestamp(), earlier.timestamp(), "a repeated time is one of two");
    Some(format!("{twice}: {}", if again { "runs at both" } else { "runs at the first" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::IfRunning;

    fn times(cron: &str, zone: &str, after: &str, n: usize) -> Vec<String> {
        let schedule = Schedule {
            cron: Some(cron.to_owned()),
            time_zone: Some(zone.to_owned()),
            stop_after: None,
            if_running: IfRunning::Skip,
        };
        let show = |time: &NextTime| {
            let note = time.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
            format!("{}{note}", time.at.strftime("%Y-%m-%d %H:%M %Z"))
        };
        next_times(&schedule, after.parse().expect("a time"), n).iter().map(show).collect()
    }

    #[test]
    fn a_fixed_time_in_the_gap_moves_behind_it() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00Z", 3),
            [
                "2027-03-27 02:30 CET",
                "2027-03-28 03:00 CEST (02:30 does not exist on 2027-03-28: runs at 03:00)",
                "2027-03-29 02:30 CEST",
            ]
        );
    }

    #[test]
    fn a_fixed_time_that_comes_twice_runs_once() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2027-10-30T01:00:00Z", 2),
            ["2027-10-31 02:30 CEST (02:30 comes twice on 2027-10-31: runs at the first)", "2027-11-01 02:30 CET",]
        );
    }

    #[test]
    fn an_hourly_line_skips_the_gap_and_runs_in_both_repeated_hours() {
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", 2),
            ["2027-03-28 01:30 CET", "2027-03-28 03:30 CEST (02:30 does not exist on 2027-03-28: skipped)"]
        );
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2027-10-31T00:00:00Z", 3),
            [
                "2027-10-31 02:30 CEST (02:30 comes twice on 2027-10-31: runs at both)",
                "2027-10-31 02:30 CET (02:30 comes twice on 2027-10-31: the second one)",
                "2027-10-31 03:30 CET",
            ]
        );
    }

    #[test]
    fn a_weekly_line_looks_over_the_transition() {
        assert_eq!(
            times("0 4 * * MON", "America/New_York", "2027-03-08T12:00:00Z", 2),
            ["2027-03-15 04:00 EDT", "2027-03-22 04:00 EDT"]
        );
    }

    #[test]
    fn without_a_time_zone_it_is_utc_and_without_a_line_it_is_never() {
        let schedule = Schedule {
            cron: Some("0 1 * * *".to_owned()),
            time_zone: None,
            stop_after: None,
            if_running: IfRunning::Skip,
        };
        let after: Timestamp = "2026-11-23T02:00:00Z".parse().expect("a time");
        assert_eq!(next_times(&schedule, after, 1)[0].at.to_string(), "2026-11-24T01:00:00+00:00[UTC]");
        assert_eq!(next_times(&Schedule { cron: None, ..schedule }, after, 1), []);
    }

    #[test]
    fn leap_days_fire_and_the_thirtieth_of_february_does_not() {
        assert_eq!(check("0 0 29 2 *"), Ok(()));
        assert!(check("0 0 30 2 *").expect_err("never").message.contains("never fires"));
        assert!(check("0 0 31 4,6,9,11 *").expect_err("never").message.contains("never fires"));
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        for (line, message) in [
            ("61 * * * *", "the minute of this cron line cannot be `61`: 0 to 59"),
            ("* 24 * * *", "the hour of this cron line cannot be `24`: 0 to 23"),
            ("* * 0 * *", "the day of the month of this cron line cannot be `0`: 1 to 31"),
            ("* * * FOO *", "the month of this cron line cannot be `FOO`: 1 to 12 or JAN to DEC"),
            (
                "* * * * 8",
                "the day of the week of this cron line cannot be `8`: 0 to 7 or SUN to SAT; 0 and 7 are Sunday",
            ),
            ("* * * *", "a cron line has 5 fields, and this one has 4"),
            ("0 0 1 * * * *", "a cron line has 5 fields, and this one has 7"),
            ("@daily", "a cron line has 5 fields, and this one has 1"),
            ("*/0 * * * *", "the minute of this cron line cannot be `*/0`: 0 to 59"),
        ] {
            assert_eq!(check(line).expect_err("refused").message, message);
        }
        for good in ["0 1 * * *", "*/15 0-6,22 1 JAN-MAR MON-FRI", "0 0 * * 7"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }
}
