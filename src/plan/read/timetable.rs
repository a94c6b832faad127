//! Rates by time of day: `{ "08:00-20:00": 50MiB/s, default: unlimited }`.

use super::{Fields, Node, Place, Problem, Reader, Value};
use crate::plan::unit;
use crate::plan::{Timetable, Window};

const DAY_MINUTES: u16 = 24 * 60;

/// A window and where it stands.
struct Written {
    window: Window,
    place: Place,
}

impl<'s> Reader<'s> {
    /// A rate or a timetable; unlimited if the key is not there.
    pub(super) fn timetable(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Timetable {
        let Some((node, _)) = fields.get(name) else { return Timetable::default() };
        if let Value::Sequence(_) = &node.value {
            let problem =
                Problem::error(node.place, format!("`{name}` must be a rate or a mapping, and this is a list"));
            self.problems.push(
                problem.hint("write `200MiB/s`, or a timetable `{ \"08:00-20:00\": 50MiB/s, default: unlimited }`"),
            );
            return Timetable::default();
        }
        let Value::Mapping(pairs) = &node.value else {
            return Timetable { default: self.rate(node, name), windows: Vec::new() };
        };
        let mut default: Option<(Place, Option<u64>)> = None;
        let mut windows: Vec<Written> = Vec::new();
        for (key, value) in pairs.iter() {
            let rate = self.rate(value, name);
            if key.scalar() == Some("default") {
                if let Some((first, _)) = default.replace((key.place, rate)) {
                    let problem = Problem::error(key.place, "`default` stands twice in this timetable");
                    self.problems.push(problem.related(first, "the first one").hint("remove one of the two"));
                }
            } else if let Some(parts) = self.window(key) {
                let window = |(start_minute, end_minute)| Window { start_minute, end_minute, rate };
                windows.extend(parts.into_iter().map(|part| Written { window: window(part), place: key.place }));
            }
        }
        windows.sort_by_key(|written| (written.window.start_minute, written.place.start));
        self.check_overlap(&windows);
        let windows = windows.into_iter().map(|written| written.window).collect();
        Timetable { default: default.and_then(|(_, rate)| rate), windows }
    }

    /// A rate; unlimited if it is wrong, which is a problem of the plan.
    fn rate(&mut self, node: &Node<'s>, name: &str) -> Option<u64> {
        let text = self.unit_text(node, name)?;
        unit::parse_rate(text).unwrap_or_else(|error| {
            self.unit_problem(node, name, text, error);
            None
        })
    }

    /// `20:00-08:00` as the stretches of one day that it covers: one, or two if it goes over midnight.
    fn window(&mut self, key: &Node<'s>) -> Option<Vec<(u16, u16)>> {
        let text = self.scalar(key, "a window of a timetable")?;
        let ends = text.split_once('-').and_then(|(start, end)| Some((minute(start.trim())?, minute(end.trim())?)));
        let problem = match ends {
            None => format!("`{text}` is no window of a timetable"),
            Some((start, end)) if start == end => format!("the window `{text}` is empty"),
            Some((DAY_MINUTES, _)) => format!("the window `{text}` starts at the end of the day"),
            Some((start, end)) if start < end => return Some(vec![(start, end)]),
            Some((start, 0)) => return Some(vec![(start, DAY_MINUTES)]),
            Some((start, end)) => return Some(vec![(start, DAY_MINUTES), (0, end)]),
        };
        let hint = "write windows like `\"08:00-20:00\"` or `\"22:00-06:00\"`, and `default` for the rest of the day";
        self.problems.push(Problem::error(key.place, problem).hint(hint));
        None
    }

    /// Names each window that starts before the one before it has ended.
    fn check_overlap(&mut self, sorted: &[Written]) {
        let mut reaches_furthest: Option<&Written> = None;
        for second in sorted {
            let before = reaches_furthest;
            if before.is_none_or(|first| first.window.end_minute < second.window.end_minute) {
                reaches_furthest = Some(second);
            }
            let overlaps =
                |first: &&Written| second.window.start_minute < first.window.end_minute && first.place != second.place;
            let Some(first) = before.filter(overlaps) else { continue };
            let (earlier, later) = if first.place.start < second.place.start {
                (first.place, second.place)
            } else {
                (second.place, first.place)
            };
            let minute = second.window.start_minute;
            self.problems.push(
                Problem::error(
                    later,
                    format!("two windows overlap: both hold at {:02}:{:02}", minute / 60, minute % 60),
                )
                .related(earlier, "the other one")
                .hint("let one end where the other starts"),
            );
        }
    }
}

/// `HH:MM` as the minute of the day; `24:00` is its end.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_right = text.len() <= 2 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_right.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute).filter(|_| minute.len() == 2)?);
    (minute < 60 && (hour < 24 || (hour == 24 && minute == 0))).then_some(hour * 60 + minute)
}
