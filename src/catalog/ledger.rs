//! All records of a store, merged: per id the newest line counts. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::Record;

/// The records of one catalog, by id.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    records: BTreeMap<Uuid, Line>,
    conflicts: BTreeMap<Uuid, Conflict>,
    unreadable: Vec<UnreadableLine>,
    /// Records by the id that their objects are named by, where that is not their own.
    stems: BTreeMap<Uuid, BTreeSet<Uuid>>,
    /// The one project whose records were shown, where those of all were asked for.
    only: Option<String>,
}

/// The id that an object is named by: its file name up to the first dot.
fn stem(location: &str) -> Option<Uuid> {
    let name = location.rsplit('/').next()?;
    name.split('.').next()?.parse().ok()
}

/// A record and the record object it is in.
#[derive(Debug, Clone)]
struct Line {
    record: Record,
    object: Arc<str>,
}

/// Two lines under one id that cannot both be true: the id counts as broken until someone looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The record objects the lines are in, older first.
    pub objects: [String; 2],
    /// `digest` or `location`.
    pub field: &'static str,
    /// What the two lines say, in the same order.
    pub values: [String; 2],
}

/// A line that is no record of this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLine {
    /// The record object.
    pub object: String,
    /// Counts from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl Ledger {
    /// Adds the lines of one record object. Objects must come oldest first: their names sort by time.
    pub fn add(&mut self, object: &str, text: &[u8]) {
        let object: Arc<str> = object.into();
        for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
            if line.is_empty() {
                continue;
            }
            let read = serde_json::from_slice::<Record>(line).map_err(|error| error.to_string());
            match read.and_then(|record| match record.missing() {
                None => Ok(record),
                Some(field) => Err(format!("missing field `{field}`")),
            }) {
                Ok(record) => self.insert(&object, record),
                Err(reason) => {
                    self.unreadable.push(UnreadableLine { object: object.to_string(), line: number, reason });
                }
            }
        }
    }

    /// Adds one record: the newest line of its id.
    pub fn insert(&mut self, object: &Arc<str>, record: Record) {
        let id = record.id;
        if let Some(older) = self.records.get(&id) {
            let digest = |record: &Record| record.sha256.map_or_else(|| "none".to_owned(), |sha256| sha256.to_string());
            let difference = if older.record.sha256 != record.sha256 {
                Some(("digest", [digest(&older.record), digest(&record)]))
            } else if older.record.location != record.location {
                Some(("location", [older.record.location.clone(), record.location.clone()]))
            } else {
                None
            };
            if let Some((field, values)) = difference {
                let objects = [older.object.to_string(), object.to_string()];
                self.conflicts.insert(id, Conflict { objects, field, values });
            }
        }
        if let Some(stem) = stem(&record.location).filter(|stem| *stem != id) {
            self.stems.entry(stem).or_default().insert(id);
        }
        self.records.insert(id, Line { record, object: Arc::clone(object) });
    }

    /// The record of the copy with the target id `id`: the one under that id, else one whose object has the id as its
    /// name up to the first dot, which is how a copy is found again in a catalog that gives ids of its own. Where several
    /// are of that object, one that can be restored is preferred, then the one that changed last.
    #[must_use]
    pub fn copy_of(&self, id: Uuid) -> Option<&Record> {
        let own = self.get(id);
        if own.is_some() {
            return own;
        }
        let of_object = self.stems.get(&id)?.iter().filter_map(|id| self.get(*id));
        of_object
            .filter(|record| stem(&record.location) == Some(id))
            .max_by_key(|record| (record.is_restorable(), record.recorded_ms, record.id))
    }

    /// The same with every record as `change` makes it; ids stay.
    #[must_use]
    pub fn map(mut self, change: impl Fn(Record) -> Record) -> Self {
        let records = std::mem::take(&mut self.records);
        self.stems.clear();
        for (_, Line { record, object }) in records {
            self.insert(&object, change(record));
        }
        self
    }

    /// The same as the records of one project alone, because the catalog does not show all.
    #[must_use]
    pub fn narrowed_to(self, project: String) -> Self {
        Self { only: Some(project), ..self }
    }

    /// What is to be said where not all records that were asked for were shown: whoever counts them counts too few.
    #[must_use]
    pub fn narrowed(&self, region: &str) -> Option<String> {
        self.only.as_ref().map(|project| {
            format!(
                "Trove in region `{region}` shows the backups of project `{project}` alone: those of all projects take the role \
                 `admin`"
            )
        })
    }

    /// The record object that the newest line under `id` is in.
    #[must_use]
    pub fn object(&self, id: Uuid) -> Option<&str> {
        self.records.get(&id).map(|line| &*line.object)
    }

    /// The newest line under `id`.
    #[must_use]
    pub fn get(&self, id: Uuid) -> Option<&Record> {
        self.records.get(&id).map(|line| &line.record)
    }

    /// The contradiction under `id`, if there is one.
    #[must_use]
    pub fn conflict(&self, id: Uuid) -> Option<&Conflict> {
        self.conflicts.get(&id)
    }

    /// The nearest of those that a record builds on which cannot be restored: it is not there, says so itself, or contradicts
    /// itself. A circle has one.
    #[must_use]
    pub fn broken_above(&self, record: &Record) -> Option<Uuid> {
        let mut at = record.parent_id;
        for _ in 0..self.records.len() {
            let id = at?;
            let there = self.get(id).filter(|there| there.is_restorable() && self.conflict(id).is_none());
            let Some(there) = there else { return Some(id) };
            at = there.parent_id;
        }
        at
    }

    /// All records, by id.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(|line| &line.record)
    }

    /// Adds a line or row that could not be read.
    pub fn add_unreadable(&mut self, line: UnreadableLine) {
        self.unreadable.push(line);
    }

    /// Lines that could not be read; never silently dropped.
    #[must_use]
    pub fn unreadable(&self) -> &[UnreadableLine] {
        &self.unreadable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Origin, RecordState};
    use crate::id::Sha256Digest;

    fn record(id: u128, location: &str, digest: u8, state: RecordState) -> Record {
        Record {
            id: Uuid::from_u128(id),
            name: "orders".into(),
            description: None,
            state,
            reason: None,
            location: location.into(),
            backup_type: None,
            size: None,
            bytes: Some(5),
            sha256: Some(Sha256Digest([digest; 32])),
            verified: Some("read back".into()),
            checksum: None,
            tenant_id: None,
            instance_id: None,
            created: None,
            updated: None,
            backup_timestamp: None,
            parent_id: None,
            datastore: None,
            datastore_version: None,
            datastore_version_number: None,
            metadata: BTreeMap::new(),
            source: Some(Origin {
                region: "one".into(),
                store: "file:/one".into(),
                id: None,
                location: location.into(),
            }),
            recorded_ms: 7,
            storage_driver: None,
            location_url: None,
            unusable: None,
        }
    }

    fn ledger(objects: &[(&str, Vec<Record>)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (name, records) in objects {
            let lines: Vec<_> =
                records.iter().map(|record| serde_json::to_string(record).expect("serializes")).collect();
            ledger.add(name, lines.join("\n").as_bytes());
        }
        ledger
    }

    #[test]
    fn the_newest_line_of_an_id_counts() {
        let ledger = ledger(&[
            ("1", vec![record(1, "a", 1, RecordState::Completed), record(2, "b", 2, RecordState::Completed)]),
            ("2", vec![record(1, "a", 1, RecordState::Failed)]),
        ]);
        assert_eq!(ledger.get(Uuid::from_u128(1)).map(|record| record.state.clone()), Some(RecordState::Failed));
        assert_eq!(ledger.records().count(), 2);
        assert_eq!(ledger.conflict(Uuid::from_u128(1)), None);
    }

    #[test]
    fn lines_that_contradict_each_other_are_an_error() {
        let ledger = ledger(&[
            ("1", vec![record(1, "a", 1, RecordState::Completed)]),
            ("2", vec![record(1, "a", 9, RecordState::Completed)]),
        ]);
        let conflict = ledger.conflict(Uuid::from_u128(1)).expect("a conflict");
        assert_eq!((conflict.field, conflict.objects.clone()), ("digest", ["1".to_owned(), "2".to_owned()]));
    }

    #[test]
    fn a_record_is_broken_by_whatever_it_builds_on() {
        let id = Uuid::from_u128;
        let child_of = |own: u128, parent: u128, state| Record {
            parent_id: Some(id(parent)),
            ..record(own, &own.to_string(), 1, state)
        };
        let broken = |full: &[Record]| {
            let chain = vec![child_of(2, 1, RecordState::Completed), child_of(3, 2, RecordState::Completed)];
            let ledger = ledger(&[("1", full.to_vec()), ("2", chain)]);
            ledger.broken_above(ledger.get(id(3)).expect("there"))
        };
        assert_eq!(broken(&[record(1, "1", 1, RecordState::Completed)]), None);
        assert_eq!(broken(&[]), Some(id(1)));
        assert_eq!(broken(&[record(1, "1", 1, RecordState::Deleted)]), Some(id(1)));
        let twice = [record(1, "1", 1, RecordState::Completed), record(1, "1", 2, RecordState::Completed)];
        assert_eq!(broken(&twice), Some(id(1)));
        assert!(broken(&[child_of(1, 3, RecordState::Completed)]).is_some(), "a circle");
    }

    #[test]
    fn lines_that_are_no_record_are_named() {
        let mut ledger = Ledger::default();
        ledger.add("1", b"{\"id\": 5}\n\nnot json\n");
        assert_eq!(ledger.unreadable().iter().map(|line| line.line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn records_parse_as_they_print() {
        let mut full = record(1, "a", 1, RecordState::Failed);
        full.metadata.insert("lsn".into(), "5".into());
        full.size = Some(0.125);
        let text = serde_json::to_string(&full).expect("serializes");
        assert_eq!(serde_json::from_str::<Record>(&text).expect("parses"), full);
    }

    #[test]
    fn records_of_a_store_must_have_what_a_receipt_has() {
        let line = serde_json::to_value(record(1, "a", 1, RecordState::Completed)).expect("serializes");
        for field in ["bytes", "sha256", "verified", "source", "state", "location", "name", "recorded_ms"] {
            for gone in [true, false] {
                let mut line = line.clone();
                if gone {
                    line.as_object_mut().expect("an object").remove(field);
                } else {
                    line[field] = serde_json::Value::Null;
                }
                let mut ledger = Ledger::default();
                ledger.add("1", line.to_string().as_bytes());
                assert_eq!((ledger.unreadable().len(), ledger.records().count()), (1, 0), "{field}");
            }
        }
    }

    #[test]
    fn lines_are_written_as_ever() {
        let text = serde_json::to_string(&record(1, "a", 1, RecordState::Completed)).expect("serializes");
        let expected = format!(
            r#"{{"id":"{}","name":"orders","state":"COMPLETED","location":"a","bytes":5,"sha256":"{}","verified":"read back","source":{{"region":"one","store":"file:/one","location":"a"}},"recorded_ms":7}}"#,
            Uuid::from_u128(1),
            "01".repeat(32)
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn copies_are_found_by_id_or_by_the_name_of_their_object() {
        let id = Uuid::from_u128;
        let named =
            |own: u128, object: u128, state| record(own, &format!("AUTH_t/box/{}.xbstream.gz", id(object)), 1, state);
        let mut late = named(12, 2, RecordState::Completed);
        late.recorded_ms = 9;
        let all = vec![
            named(1, 1, RecordState::Completed),
            named(10, 2, RecordState::Failed),
            named(11, 2, RecordState::Completed),
            late,
            named(13, 3, RecordState::Failed),
            record(14, "AUTH_t/box/orders.gz", 1, RecordState::Completed),
        ];
        let ledger = ledger(&[("1", all)]);
        let found = |wanted| ledger.copy_of(id(wanted)).map(|record| record.id);
        assert_eq!(found(1), Some(id(1)));
        assert_eq!(found(2), Some(id(12)));
        assert_eq!(found(3), Some(id(13)));
        assert_eq!(found(10), Some(id(10)));
        assert_eq!(found(4), None);
    }
}
