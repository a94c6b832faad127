//! What the plan's entries come to: one source backup each, with its targets. Entries that overlap are united.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use crate::catalog::{Ledger, Record, RecordState};
use crate::id::Key;
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

/// One source backup that the plan wants somewhere.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Number of the source region.
    pub(super) region: usize,
    pub(super) source: Source,
    /// Numbers of the target regions, in the order first named.
    pub(super) targets: Vec<usize>,
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

/// The wanted backups in plan order, each once.
#[derive(Debug, Default)]
pub(super) struct WantedList {
    pub(super) items: Vec<Wanted>,
    positions: HashMap<(String, Source), usize>,
}

/// Two selects that want one backup and say different things of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disagreement {
    pub(super) source: String,
    pub(super) field: &'static str,
    pub(super) places: [Place; 2],
}

impl WantedList {
    /// Adds one backup, or unites it with the same one: targets are united, and what an explicit entry says beats
    /// what a select says.
    ///
    /// # Errors
    /// [`Disagreement`] when two selects differ in name or description. Explicit entries were compared by the reader.
    pub(super) fn add(&mut self, store: &str, wanted: Wanted) -> Result<(), Disagreement> {
        let identity = (store.to_owned(), wanted.source.clone());
        let Some(&position) = self.positions.get(&identity) else {
            self.positions.insert(identity, self.items.len());
            self.items.push(wanted);
            return Ok(());
        };
        let there = &mut self.items[position];
        for target in &wanted.targets {
            if !there.targets.contains(target) {
                there.targets.push(*target);
            }
        }
        if there.explicit && !wanted.explicit {
            return Ok(());
        }
        if !there.explicit && !wanted.explicit {
            let field = if there.name != wanted.name {
                "name"
            } else if there.description != wanted.description {
                "description"
            } else {
                return Ok(());
            };
            let source = wanted.source.text().to_owned();
            return Err(Disagreement { source, field, places: [there.place, wanted.place] });
        }
        let targets = std::mem::take(&mut there.targets);
        *there = Wanted { targets, ..wanted };
        Ok(())
    }

    /// Position of a source backup, if it is wanted.
    pub(super) fn position(&self, store: &str, source: &Source) -> Option<usize> {
        self.positions.get(&(store.to_owned(), source.clone())).copied()
    }
}

/// The wanted backup of an explicit entry; none for a select.
pub(super) fn explicit(entry: &Entry) -> Option<Wanted> {
    let (source, known, parent) = match &entry.subject {
        Subject::Id { id, known } => (Source::Id(id.clone()), known, None),
        Subject::Location { key, parent, known } => (Source::Location(key.clone()), known, parent.clone()),
        Subject::Select(_) => return None,
    };
    Some(Wanted { known: known.clone(), parent, explicit: true, ..blank(entry, source) })
}

/// The wanted backup of a record that a select found.
pub(super) fn selected(entry: &Entry, record: &Record) -> Wanted {
    blank(entry, Source::Id(record.id.to_string()))
}

fn blank(entry: &Entry, source: Source) -> Wanted {
    Wanted {
        region: usize::from(entry.from.0),
        source,
        targets: entry.to.iter().map(|target| usize::from(target.0)).collect(),
        name: entry.name.clone(),
        description: entry.description.clone(),
        known: Known::default(),
        parent: None,
        explicit: false,
        place: entry.place,
    }
}

/// What a select answers.
#[derive(Debug, Default)]
pub(super) struct Selected<'a> {
    pub(super) records: Vec<&'a Record>,
    /// Matched but for `except`.
    pub(super) excepted: u64,
    /// Matched but not restorable: their records say `FAILED`.
    pub(super) failed: u64,
}

/// Asks a select of a catalog's records. `except` counts first, then the filters, `latest` last. Newest first.
pub(super) fn select<'a>(select: &Select, ledger: &'a Ledger, now: Timestamp) -> Selected<'a> {
    let mut answer = Selected::default();
    let any = |list: &[String], value: Option<&str>| {
        list.is_empty() || value.is_some_and(|value| list.iter().any(|wanted| wanted == value))
    };
    let oldest = select.newer_than.and_then(|age| now.checked_sub(age).ok());
    for record in ledger.records() {
        let id = record.id.to_string();
        if select.except.iter().any(|except| except.id == id) {
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
            RecordState::Completed => answer.records.push(record),
            RecordState::Failed => answer.failed += 1,
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

fn created(record: &Record) -> Option<Timestamp> {
    record.created.as_deref().and_then(|text| text.parse().ok())
}

/// The record that an `id` names.
pub(super) fn find<'a>(ledger: &'a Ledger, id: &str) -> Option<&'a Record> {
    ledger.get(id.parse::<Uuid>().ok()?)
}
