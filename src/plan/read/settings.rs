//! `defaults:`, `retry:` and `schedule:`.

use std::sync::Arc;

use super::{Fields, Node, Problem, Reader};
use crate::plan::shape::{Kind, NAME_CHARS_MAX, PLACEHOLDERS};
use crate::plan::{IfRunning, RegionIndex, Retry, Schedule, Verify, cron};
use crate::suggest;

/// Size of a part unless the plan says otherwise.
pub(super) const PART_SIZE_DEFAULT: u64 = 32 << 20;

/// What holds for every backup that does not say otherwise.
pub(super) struct Defaults {
    /// None if the plan has none, or a wrong one.
    pub(super) to: Option<Arc<[RegionIndex]>>,
    /// Whether `to` is written, right or wrong.
    pub(super) has_to: bool,
    pub(super) part_size: u64,
    pub(super) verify: Verify,
    pub(super) name_template: String,
}

impl<'s> Reader<'s> {
    /// The fields of an optional mapping.
    pub(super) fn section<'n>(&mut self, fields: &Fields<'n, 's>, name: &'static str) -> Option<Fields<'n, 's>> {
        let (node, key) = fields.get(name)?;
        let Kind::Map(shape) = key.kind else { return None };
        self.fields(node, shape)
    }

    pub(super) fn defaults(&mut self, fields: &Fields<'_, 's>) -> Defaults {
        let mut defaults = Defaults {
            to: None,
            has_to: false,
            part_size: PART_SIZE_DEFAULT,
            verify: Verify::Store,
            name_template: "{name}".to_owned(),
        };
        let Some(fields) = self.section(fields, "defaults") else { return defaults };
        defaults.has_to = fields.key("to").is_some();
        defaults.to = self.targets(&fields).map(Into::into);
        defaults.part_size = self.size(&fields, "part_size").unwrap_or(PART_SIZE_DEFAULT);
        if self.choice(&fields, "verify") == Some("read-back") {
            defaults.verify = Verify::ReadBack;
        }
        if let Some(template) = self.template(&fields) {
            defaults.name_template = template;
        }
        defaults
    }

    fn template(&mut self, fields: &Fields<'_, 's>) -> Option<String> {
        let (node, _) = fields.get("name")?;
        let text = self.plain_text(node, "name", NAME_CHARS_MAX)?;
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let offset = text.len() - rest.len() + at;
            let end = rest[at..].find('}').filter(|_| rest[at..].starts_with('{'));
            let Some(end) = end else {
                let problem = Problem::error(self.place_in(node, offset..offset + 1), "this brace has no partner");
                self.problems.push(problem.hint("placeholders are written like `{name}`"));
                return None;
            };
            let inside = &rest[at + 1..at + end];
            if !PLACEHOLDERS.contains(&inside) {
                let place = self.place_in(node, offset..offset + end + 1);
                let problem = Problem::error(place, format!("unknown placeholder `{{{inside}}}`"));
                self.problems.push(problem.hint(suggest::hint(inside, "placeholders, each in braces", PLACEHOLDERS)));
                return None;
            }
            rest = &rest[at + end + 1..];
        }
        Some(text.to_owned())
    }

    pub(super) fn retry(&mut self, fields: &Fields<'_, 's>) -> Retry {
        let mut retry = Retry::DEFAULT;
        let Some(fields) = self.section(fields, "retry") else { return retry };
        if let Some(attempts) = self.integer(&fields, "attempts") {
            retry.attempts = u16::try_from(attempts).unwrap_or(u16::MAX);
        }
        if let Some(delay) = self.duration(&fields, "max_delay") {
            retry.max_delay = delay;
        }
        retry
    }

    pub(super) fn schedule(&mut self, fields: &Fields<'_, 's>) -> Schedule {
        let mut schedule = Schedule { cron: None, time_zone: None, stop_after: None, if_running: IfRunning::Skip };
        let Some(fields) = self.section(fields, "schedule") else { return schedule };
        schedule.cron = fields.get("cron").and_then(|(node, _)| self.cron(node));
        schedule.time_zone = fields.get("time_zone").and_then(|(node, _)| self.time_zone(node));
        schedule.stop_after = self.duration(&fields, "stop_after");
        schedule.if_running = match self.choice(&fields, "if_running") {
            Some("wait") => IfRunning::Wait,
            Some("fail") => IfRunning::Fail,
            Some("join") => IfRunning::Join,
            _ => IfRunning::Skip,
        };
        schedule
    }

    fn cron(&mut self, node: &Node<'s>) -> Option<String> {
        let text = self.plain_text(node, "cron", NAME_CHARS_MAX)?;
        match cron::check(text) {
            Ok(()) => Some(text.to_owned()),
            Err(error) => {
                self.problems.push(Problem::error(node.place, error.message).hint(error.hint));
                None
            }
        }
    }

    fn time_zone(&mut self, node: &Node<'s>) -> Option<String> {
        let text = self.plain_text(node, "time_zone", NAME_CHARS_MAX)?;
        if jiff::tz::TimeZone::get(text).is_ok() {
            return Some(text.to_owned());
        }
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let near = suggest::nearest(text, names.iter().map(String::as_str));
        let hint = near.map_or_else(
            || "use an IANA name such as `Europe/Berlin` or `UTC`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        self.problems.push(Problem::error(node.place, format!("unknown time zone `{text}`")).hint(hint));
        None
    }
}
