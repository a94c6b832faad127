//! The keys of a plan: the one table behind reading, unknown keys, the JSON Schema and the commented plan.

mod regions;
mod stores;

pub(super) use regions::REGION;

/// Keys that a mapping can have.
pub(super) const KEYS_MAX: usize = 17;

/// What one mapping may hold.
pub(super) struct Shape {
    /// "a region", for messages.
    pub(super) what: &'static str,
    /// What it is for, in the schema.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
    /// Sets of keys of which exactly one must be there, for the schema.
    pub(super) one_of: &'static [&'static [&'static str]],
}

/// A mapping whose `type` says what its other keys are.
pub(super) struct Typed {
    /// "a store", for messages.
    pub(super) what: &'static str,
    /// By type.
    pub(super) shapes: &'static [(&'static str, Shape)],
}

/// One key of a mapping.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// One or two sentences: meaning, unit.
    pub(super) doc: &'static str,
    pub(super) required: bool,
    pub(super) default: Option<&'static str>,
}

/// What a key's value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A whole number in a range.
    Integer { min: u64, max: u64 },
    /// A text of at most so many characters.
    Text { max: usize },
    /// Letters, digits, `-`, `_`, `.`.
    Name,
    /// A text that may hold `${NAME}`.
    Reference,
    /// `${NAME}` and nothing else.
    Secret,
    /// `true` or `false`.
    Boolean,
    /// An object's name in a store.
    ObjectKey,
    /// 64 hex digits.
    Sha256,
    /// A name of [`crate::plan::Plan::regions`].
    Region,
    /// A list of such names.
    Regions,
    /// Bytes with a unit, in a range.
    Size { min: u64, max: u64 },
    /// Bytes, without a unit.
    Bytes,
    /// A duration with a unit.
    Duration,
    /// A rate, or rates by time of day.
    Timetable,
    /// One of a few words; the second list comes with later versions.
    Choice(&'static [&'static str], &'static [&'static str]),
    /// A template of names.
    Template,
    /// A cron line.
    Cron,
    /// An IANA name.
    TimeZone,
    /// A text, or a list of texts.
    Texts { max: usize },
    /// Pairs of tenants, or a file of them.
    Tenants,
    /// Pairs of `datastore/version`.
    Versions,
    /// A mapping with fixed keys.
    Map(&'static Shape),
    /// A mapping whose `type` says what its other keys are.
    Typed(&'static Typed),
    /// A mapping from names to mappings with fixed keys.
    Named(&'static Shape),
    /// A list of mappings with fixed keys.
    List(&'static Shape),
}

impl Shape {
    /// The key of this name, and its position.
    pub(super) fn find(&self, name: &str) -> Option<(usize, &'static Key)> {
        self.keys.iter().enumerate().find(|(_, key)| key.name == name)
    }
}

const fn shape(what: &'static str, doc: &'static str, keys: &'static [Key]) -> Shape {
    Shape { what, doc, keys, one_of: &[] }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, required: false, default: None }
}

impl Key {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn default(self, text: &'static str) -> Self {
        Self { default: Some(text), ..self }
    }
}

/// Lengths of Trove's own columns, in characters.
pub(super) const NAME_CHARS_MAX: usize = 255;
const DESCRIPTION_CHARS_MAX: usize = 512;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Placeholders of `defaults.name`.
pub(super) const PLACEHOLDERS: [&str; 5] = ["name", "created", "instance_id", "source_region", "source_id"];

pub(super) static PLAN: Shape = shape(
    "the plan",
    "A migration plan of Backhaul: which backups go from which region to which.",
    &[
        key("version", Kind::Integer { min: 1, max: 1 }, "Version of the plan format: 1.").required(),
        key("name", Kind::Name, "The plan's identity: its work is found again under this name. Letters, digits, `-`, `_`, `.`; at most 100.").required(),
        key("database", Kind::Reference, "Where checkpoints are kept: `sqlite://FILE`, relative to the plan file, or, for many runners, `postgres://USER:${PASSWORD}@HOST/NAME` or `mysql://…`; may hold `${NAME}`.")
            .default("$XDG_STATE_HOME/backhaul/<plan name>.db"),
        key("regions", Kind::Named(&REGION), "The regions by name. Each is a store and a catalog.").required(),
        key("defaults", Kind::Map(&DEFAULTS), "What holds for every backup that does not say otherwise."),
        key("limits", Kind::Map(&LIMITS), "Ceilings, as totals of the plan."),
        key("retry", Kind::Map(&RETRY), "How often and how patiently a step is tried in one run."),
        key("schedule", Kind::Map(&SCHEDULE), "When the plan runs, and for how long."),
        key("backups", Kind::List(&ENTRY), "What is copied: single backups by `id` or `location`, many by `select`.").required(),
    ],
);

pub(super) static DEFAULTS: Shape = shape(
    "`defaults`",
    "What holds for every backup that does not say otherwise.",
    &[
        key("to", Kind::Regions, "The target regions."),
        key("part_size", Kind::Size { min: MIB, max: 5 * GIB }, "Size of the parts in which objects are copied and checkpointed.").default("32MiB"),
        key("verify", Kind::Choice(&["store", "read-back"], &[]), "How copies are proved: by a digest that the target store shows, where it has one (`store`), or always by reading them back (`read-back`).").default("store"),
        key("name", Kind::Template, "Name of the copies, made of `{name}`, `{created}`, `{instance_id}`, `{source_region}`, `{source_id}`.").default("{name}"),
    ],
);

pub(super) static LIMITS: Shape = shape(
    "`limits`",
    "Ceilings, as totals of the plan.",
    &[
        key("concurrency", Kind::Integer { min: 1, max: 256 }, "Copies at a time.").default("16"),
        key(
            "memory",
            Kind::Size { min: MIB, max: 1024 * GIB },
            "Bytes of parts that a process holds at a time; one part must fit.",
        )
        .default("192MiB"),
        key("bandwidth", Kind::Timetable, "Bytes per second read from all sources: a rate, or rates by time of day.")
            .default("unlimited"),
        key("regions", Kind::Named(&REGION_LIMITS), "Ceilings of single regions, as source and as target together."),
    ],
);

pub(super) static REGION_LIMITS: Shape = shape(
    "the limits of a region",
    "Ceilings of one region, as source and as target together.",
    &[
        key("concurrency", Kind::Integer { min: 1, max: 256 }, "Copies from or to the region at a time.")
            .default("only the total counts"),
        key(
            "bandwidth",
            Kind::Timetable,
            "Bytes per second in and out of the region: a rate, or rates by time of day.",
        )
        .default("unlimited"),
        key(
            "requests_per_second",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Requests to the region's store, per second.",
        )
        .default("unlimited"),
    ],
);

pub(super) static RETRY: Shape = shape(
    "`retry`",
    "How often and how patiently a step is tried in one run.",
    &[
        key("attempts", Kind::Integer { min: 1, max: 100 }, "Attempts of one step in one run.").default("10"),
        key("max_delay", Kind::Duration, "Longest pause between two attempts.").default("2m"),
    ],
);

pub(super) static SCHEDULE: Shape = shape(
    "`schedule`",
    "When the plan runs, and for how long.",
    &[
        key("cron", Kind::Cron, "When it runs: minute, hour, day, month, weekday."),
        key("time_zone", Kind::TimeZone, "Of the cron line and of timetables: an IANA name such as Europe/Berlin.").default("UTC"),
        key("stop_after", Kind::Duration, "A run drains and ends after this time; the next one goes on.").default("never"),
        key("if_running", Kind::Choice(&["skip", "wait", "fail", "join"], &[]), "What a second run does: leave with exit code 5 (`skip`), wait for the first to end (`wait`), fail with exit code 1 (`fail`), or work beside runs of the same plan (`join`; PostgreSQL and MySQL only).").default("skip"),
    ],
);

pub(super) static ENTRY: Shape = Shape {
    one_of: &[&["id", "from"], &["location", "from"], &["select"]],
    ..shape(
        "a backup",
        "One backup by `id` or `location`, or many by `select`.",
        &[
            key("id", Kind::Text { max: NAME_CHARS_MAX }, "Id of a record in the source region's catalog."),
            key(
                "location",
                Kind::ObjectKey,
                "Name of an object in the source region's store that has no record; the copy keeps it.",
            ),
            key(
                "select",
                Kind::Map(&SELECT),
                "All finished backups of a region's catalog that pass a filter, asked anew at each run.",
            ),
            key("from", Kind::Region, "The source region; with `select` it stands inside the select."),
            key("to", Kind::Regions, "The target regions.").default("`to` of `defaults`"),
            key("name", Kind::Text { max: NAME_CHARS_MAX }, "Name of the copies.").default("`name` of `defaults`"),
            key("description", Kind::Text { max: DESCRIPTION_CHARS_MAX }, "Description of the copies.")
                .default("the source's own"),
            key(
                "parent",
                Kind::ObjectKey,
                "Only with `location`: the location in the same region that this incremental builds on.",
            ),
            key("sha256", Kind::Sha256, "SHA-256 of the whole object, if it is known: other bytes fail."),
            key("pin", Kind::Map(&PIN), "The version that was planned: another one fails. Saved plans have it."),
        ],
    )
};

pub(super) static SELECT: Shape = shape(
    "`select`",
    "All finished backups of a region's catalog that pass a filter. Ancestors are added by themselves.",
    &[
        key("from", Kind::Region, "The source region.").required(),
        key("tenant", Kind::Texts { max: NAME_CHARS_MAX }, "Tenant ids: one, or a list.").default("any"),
        key("instance", Kind::Texts { max: NAME_CHARS_MAX }, "Instance ids: one, or a list.").default("any"),
        key("datastore", Kind::Text { max: NAME_CHARS_MAX }, "Name of the datastore.").default("any"),
        key("newer_than", Kind::Duration, "Only backups created less than this before the run's start.")
            .default("any age"),
        key(
            "latest",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Only the newest so many of each instance, of each folder where there is none.",
        )
        .default("all"),
        key("except", Kind::List(&EXCEPT), "Backups that are never taken, even if the rest matches."),
    ],
);

pub(super) static EXCEPT: Shape = shape(
    "an exception",
    "A backup that a select leaves out.",
    &[
        key("id", Kind::Text { max: NAME_CHARS_MAX }, "The record's id.").required(),
        key("reason", Kind::Text { max: DESCRIPTION_CHARS_MAX }, "Shown where exceptions are counted."),
    ],
);

pub(super) static PIN: Shape = shape(
    "`pin`",
    "The version of an object that was planned.",
    &[
        key("etag", Kind::Text { max: 1024 }, "The store's tag of the object.").required(),
        key("size", Kind::Bytes, "Its size, in bytes.").required(),
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mapping below `shape`, itself first.
    fn all(shape: &'static Shape) -> Vec<&'static Shape> {
        let inner = shape.keys.iter().filter_map(|key| match key.kind {
            Kind::Map(inner) | Kind::Named(inner) | Kind::List(inner) => Some(all(inner)),
            Kind::Typed(typed) => Some(typed.shapes.iter().flat_map(|(_, inner)| all(inner)).collect()),
            _ => None,
        });
        [shape].into_iter().chain(inner.flatten()).collect()
    }

    #[test]
    fn keys_are_unique_documented_and_few_enough_for_a_reading() {
        for shape in all(&PLAN) {
            assert!(shape.keys.len() <= KEYS_MAX, "{}", shape.what);
            for (at, key) in shape.keys.iter().enumerate() {
                assert_eq!(shape.find(key.name).map(|(found, _)| found), Some(at), "{} twice", key.name);
                assert!(key.doc.ends_with('.'), "{}: {}", key.name, key.doc);
            }
        }
    }
}
