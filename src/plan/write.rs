//! A plan as YAML, for `init` and for saved plans. What is written here reads as an equal plan.

mod of;
mod region;
mod saved;
mod store;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::scalar::Meaning;
use crate::id::Sha256Digest;

pub use region::{
    WrittenCatalog, WrittenRecords, WrittenRegion, WrittenTenants, WrittenTroveApi, WrittenTroveDatabase,
};
pub use saved::NotSavable;
pub use store::{BadStore, WrittenAzure, WrittenCloud, WrittenGcs, WrittenHttp, WrittenS3, WrittenStore, WrittenSwift};

/// A plan as it is written: texts and units, in the order of the documentation. Nothing of it is checked; reading
/// the result is the check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Written {
    /// Always 1.
    pub version: u32,
    /// As [`Plan::name`](super::Plan::name).
    pub name: String,
    /// References unexpanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// By name, in order.
    #[serde(serialize_with = "as_mapping")]
    pub regions: Vec<(String, WrittenRegion)>,
    /// Left out where nothing differs from what holds anyway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defaults: Option<WrittenDefaults>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<WrittenLimits>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<WrittenRetry>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<WrittenSchedule>,
    /// In order.
    pub backups: Vec<WrittenEntry>,
}

/// What holds for all entries. A target is written with each entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WrittenDefaults {
    /// Names of regions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// With unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part_size: Option<String>,
    /// `store` or `read-back`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// The template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Ceilings of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenLimits {
    /// Copies at a time.
    pub concurrency: u16,
    /// With unit.
    pub memory: String,
    /// A rate or a timetable.
    pub bandwidth: WrittenTimetable,
    /// By name.
    #[serde(serialize_with = "as_mapping", skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<(String, WrittenRegionLimits)>,
}

/// Ceilings of one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenRegionLimits {
    /// Copies at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u16>,
    /// A rate or a timetable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<WrittenTimetable>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
}

/// A rate, or rates by window with `default` last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum WrittenTimetable {
    /// With unit, or `unlimited`.
    Rate(String),
    /// Window to rate.
    Windows(#[serde(serialize_with = "as_mapping")] Vec<(String, String)>),
}

/// Patience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenRetry {
    /// Attempts of a step in a run.
    pub attempts: u16,
    /// With unit.
    pub max_delay: String,
}

/// When it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WrittenSchedule {
    /// Five fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// An IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// With unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<String>,
    /// `skip`, `wait` or `fail`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub if_running: Option<String>,
}

/// One entry: exactly one of `id`, `location` and `select` is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WrittenEntry {
    /// A record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// An object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// A question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<WrittenSelect>,
    /// The source region; none with `select`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target regions; empty where `defaults` has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Name of the copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Description of the copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Of the whole object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// The version that was planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<WrittenPin>,
}

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenPin {
    /// The store's tag.
    pub etag: String,
    /// In bytes.
    pub size: u64,
}

/// A question to a catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WrittenSelect {
    /// The source region.
    pub from: String,
    /// Tenant ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tenant: Vec<String>,
    /// Instance ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instance: Vec<String>,
    /// Name of the datastore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datastore: Option<String>,
    /// With unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newer_than: Option<String>,
    /// The newest so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest: Option<u32>,
    /// Left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<WrittenExcept>,
}

/// A backup that a select leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenExcept {
    /// The record's id.
    pub id: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The plan file's text, with the line that lets editors complete it.
#[must_use]
pub fn to_yaml(written: &Written) -> String {
    let body = serde_yaml::to_string(written).expect("texts, numbers, lists and mappings with text keys serialize");
    let lines: Vec<String> = body.lines().map(requoted).collect();
    format!("# yaml-language-server: $schema=plan.schema.json\n{}\n", lines.join("\n"))
}

/// A line of the emitter's, with quotes where it leaves out some that older YAML needs: to it `no` and `1_000` are
/// texts, to others, and to our reading, they are not. Each text stands in one line, because none holds a line break.
fn requoted(line: &str) -> String {
    let mut body = line.trim_start_matches(' ');
    while let Some(rest) = body.strip_prefix("- ") {
        body = rest;
    }
    let head = &line[..line.len() - body.len()];
    if body.starts_with(['\'', '"']) {
        return match quoted_key(body).map(|end| body.split_at(end)) {
            Some((key, value)) => format!("{head}{key}: {}", quoted_if_odd(value.trim_start_matches(": "))),
            None => line.to_owned(),
        };
    }
    if let Some((key, value)) = body.split_once(": ") {
        return format!("{head}{}: {}", quoted_if_odd(key), quoted_if_odd(value));
    }
    match body.strip_suffix(':') {
        Some(key) => format!("{head}{}:", quoted_if_odd(key)),
        None => format!("{head}{}", quoted_if_odd(body)),
    }
}

/// Where a key in quotes ends that has a plain value behind it.
fn quoted_key(body: &str) -> Option<usize> {
    let quote = body.chars().next()?;
    let mut chars = body.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => drop(chars.next()),
            c if c == quote => {
                let value = body[at + 1..].strip_prefix(": ")?;
                return (!value.starts_with(['\'', '"'])).then_some(at + 1);
            }
            _ => {}
        }
    }
    None
}

/// Characters that some readers of YAML take for the end of a line, or for nothing.
const SEPARATORS: [char; 4] = ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'];

/// A character inside double quotes.
fn escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        c if SEPARATORS.contains(&c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    }
}

/// Quotes a plain scalar that is a text to the emitter and something else to others. Of booleans the emitter itself
/// writes only two, and texts like them in quotes; numbers have their shortest form.
fn quoted_if_odd(plain: &str) -> String {
    if plain.contains(SEPARATORS) {
        let escaped: String = plain.chars().map(escaped).collect();
        return format!("\"{escaped}\"");
    }
    let is_shortest = || plain.parse::<u64>().is_ok_and(|number| number.to_string() == plain);
    match Meaning::of(plain) {
        Meaning::Boolean if !matches!(plain, "true" | "false") => format!("'{plain}'"),
        Meaning::Number if !is_shortest() => format!("'{plain}'"),
        _ => plain.to_owned(),
    }
}

fn as_mapping<S: Serializer, T: Serialize>(pairs: &[(String, T)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut mapping = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        mapping.serialize_entry(key, value)?;
    }
    mapping.end()
}

#[cfg(test)]
mod tests;
