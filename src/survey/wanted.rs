//! What the plan's entries come to: one source backup to one target each. Entries that overlap are united.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use crate::catalog::{Ledger, Record, RecordState};
use crate::id::{Key, Sha256Digest, target_id};
use crate::plan::{Entry, Known, Place, Select, Subject};

/// How a source backup is named in its region.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Source {
    /// By its record.
    Id(String),
    /// By its object, without a record.
    Location(Key),
}

impl Source {
    /// The text that goes into target ids.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Id(id) => id,
            Self::Location(key) => key.as_str(),
        }
    }
}

/// One source backup that the plan wants in one target: a migration to be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The target id: what makes two wishes one.
    pub(super) id: Uuid,
    /// Number of the source region.
    pub(super) region: usize,
    pub(super) source: Source,
    /// Number of the target region.
    pub(super) target: usize,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) known: Known,
    /// Parent that a `location` entry names.
    pub(super) parent: Option<Key>,
    /// Named by `id` or `location`, not only found by a select or as an ancestor.
    pub(super) explicit: bool,
    /// The entry that wanted it first.
    pub(super) place: Place,
}

/// The wanted migrations in plan order, each once.
#[derive(Debug, Default)]
pub(super) struct WantedList {
    pub(super) items: Vec<Wanted>,
    positions: HashMap<Uuid, usize>,
}

/// Two entries that want one migration and say different things of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) source: String,
    pub(super) field: &'static str,
    pub(super) places: [Place; 2],
}

impl WantedList {
    /// Adds one migration, or unites it with the same one: what an explicit entry says beats what a select says, and
    /// no digest or version that anybody names is forgotten.
    ///
    /// # Errors
    /// [`Disagreement`] when two explicit entries, or two selects, say different things. The reader has compared
    /// entries by the names of their regions; here two names may turn out to be one store.
    pub(super) fn add(&mut self, wanted: Wanted) -> Result<(), Disagreement> {
        let Some(&position) = self.positions.get(&wanted.id) else {
            self.positions.insert(wanted.id, self.items.len());
            self.items.push(wanted);
            return Ok(());
        };
        let there = &mut self.items[position];
        if there.explicit == wanted.explicit
            && let Some(field) = difference(there, &wanted)
        {
            let source = wanted.source.text().to_owned();
            return Err(Disagreement { source, field, places: [there.place, wanted.place] });
        }
        if wanted.explicit && !there.explicit {
            *there = wanted;
        } else if wanted.explicit {
            there.known.sha256 = there.known.sha256.or(wanted.known.sha256);
            there.known.pin = there.known.pin.take().or(wanted.known.pin);
        }
        Ok(())
    }

    /// Takes out what is not to be copied after all.
    pub(super) fn remove(&mut self, ids: &HashSet<Uuid>) {
        self.items.retain(|wanted| !ids.contains(&wanted.id));
        self.positions = self.items.iter().enumerate().map(|(position, wanted)| (wanted.id, position)).collect();
    }

    /// Whether a migration is wanted.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.positions.contains_key(&id)
    }
}

/// What two wishes for one migration say differently.
fn difference(one: &Wanted, other: &Wanted) -> Option<&'static str> {
    let both_differ = |one: Option<Sha256Digest>, other: Option<Sha256Digest>| {
        one.zip(other).is_some_and(|(one, other)| one != other)
    };
    if one.name != other.name {
        Some("name")
    } else if one.description != other.description {
        Some("description")
    } else if one.parent != other.parent {
        Some("parent")
    } else if both_differ(one.known.sha256, other.known.sha256) {
        Some("sha256")
    } else {
        None
    }
}

/// The wanted migrations of an explicit entry, or of one record that a select found.
pub(super) fn of_entry<'a>(
    entry: &'a Entry,
    source: &'a Source,
    stores: &'a [String],
) -> impl Iterator<Item = Wanted> + 'a {
    let (known, parent, explicit) = match &entry.subject {
        Subject::Id { known, .. } => (known.clone(), None, true),
        Subject::Location { parent, known, .. } => (known.clone(), parent.clone(), true),
        Subject::Select(_) => (Known::default(), None, false),
    };
    let region = usize::from(entry.from.0);
    entry.to.iter().map(move |target| {
        let target = usize::from(target.0);
        Wanted {
            id: target_id(&stores[region], source.text(), &stores[target]),
            region,
            source: source.clone(),
            target,
            name: entry.name.clone(),
            description: entry.description.clone(),
            known: known.clone(),
            parent: parent.clone(),
            explicit,
            place: entry.place,
        }
    })
}

/// What an explicit entry names; none for a select.
pub(super) fn named(entry: &Entry) -> Option<Source> {
    match &entry.subject {
        Subject::Id { id, .. } => Some(Source::Id(plain_id(id))),
        Subject::Location { key, .. } => Some(Source::Location(key.clone())),
        Subject::Select(_) => None,
    }
}

/// An id as catalogs print it: one backup must not get two target ids for two ways to write its own.
fn plain_id(id: &str) -> String {
    id.parse::<Uuid>().map_or_else(|_| id.to_owned(), |id| id.to_string())
}

/// What a select answers.
#[derive(Debug, Default)]
pub(super) struct Selected<'a> {
    pub(super) records: Vec<&'a Record>,
    /// Matched but for `except`.
    pub(super) excepted: u64,
    /// Matched but not restorable: their records say `FAILED`.
    pub(super) failed: u64,
    /// Matched but not finished yet.
    pub(super) deferred: u64,
}

/// Asks a select of a catalog's records. `except` counts first, then the filters, `latest` last. Newest first.
pub(super) fn select<'a>(select: &Select, ledger: &'a Ledger, now: Timestamp) -> Selected<'a> {
    let mut answer = Selected::default();
    let any = |list: &[String], value: Option<&str>| {
        list.is_empty() || value.is_some_and(|value| list.iter().any(|wanted| wanted == value))
    };
    let excepted: BTreeSet<String> = select.except.iter().map(|except| plain_id(&except.id)).collect();
    let oldest = select.newer_than.and_then(|age| now.checked_sub(age).ok());
    for record in ledger.records() {
        let id = record.id.to_string();
        // What builds on a backup that is never to be taken could not be restored.
        if excepted.contains(&id) || ancestors(ledger, record).any(|above| excepted.contains(&above.id.to_string())) {
            answer.excepted += 1;
            continue;
        }
        let matches = any(&select.tenants, record.tenant_id.as_deref())
            && any(&select.instances, record.instance_id.as_deref())
            && select.datastore.as_ref().is_none_or(|wanted| record.datastore.as_ref() == Some(wanted))
            && oldest.is_none_or(|oldest| created(record).is_some_and(|created| created >= oldest));
        if !matches {
            continue;
        }
        match record.state {
            RecordState::Completed | RecordState::Restored => answer.records.push(record),
            RecordState::Failed => answer.failed += 1,
            RecordState::Running(_) => answer.deferred += 1,
            // Not there any more.
            RecordState::Deleted => {}
        }
    }
    answer.records.sort_by_key(|record| std::cmp::Reverse((created(record), record.id)));
    if let Some(latest) = select.latest {
        let mut kept: BTreeMap<&str, u32> = BTreeMap::new();
        answer.records.retain(|record| {
            let count = kept.entry(group(record)).or_default();
            *count += 1;
            *count <= latest
        });
    }
    answer
}

/// What `latest` counts by: the instance, or the folder where there is none.
fn group(record: &Record) -> &str {
    record.instance_id.as_deref().unwrap_or_else(|| record.location.rsplit_once('/').map_or("", |(folder, _)| folder))
}

/// When the backup was made; when it was recorded, where nobody knows.
fn created(record: &Record) -> Option<Timestamp> {
    let created = record.created.as_deref().and_then(|text| text.parse().ok());
    created.or_else(|| Timestamp::from_millisecond(record.recorded_ms).ok())
}

/// The records that a record builds on, nearest first; each once, also where somebody made a circle of them.
fn ancestors<'a>(ledger: &'a Ledger, record: &'a Record) -> impl Iterator<Item = &'a Record> {
    let mut seen = BTreeSet::from([record.id]);
    std::iter::successors(Some(record), move |record| {
        let parent = record.parent_id?;
        seen.insert(parent).then(|| ledger.get(parent)).flatten()
    })
    .skip(1)
}

/// The ids of a record and of all that builds on it, as far as they are there.
pub(super) fn with_descendants(ledger: &Ledger, id: &str) -> Vec<String> {
    let id = plain_id(id);
    let below = ledger.records().filter(|record| ancestors(ledger, record).any(|above| above.id.to_string() == id));
    std::iter::once(id.clone()).chain(below.map(|record| record.id.to_string())).collect()
}

/// The record that an `id` names.
pub(super) fn find<'a>(ledger: &'a Ledger, id: &str) -> Option<&'a Record> {
    ledger.get(id.parse::<Uuid>().ok()?)
}
