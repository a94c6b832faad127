//! All records of a store, merged: per id the newest line counts. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::Record;

/// The records of one catalog, by id.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    records: BTreeMap<Uuid, Line>,
    conflicts: BTreeMap<Uuid, Conflict>,
    unreadable: Vec<UnreadableLine>,
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
            match serde_json::from_slice::<Record>(line) {
                Ok(record) => self.insert(&object, record),
                Err(error) => self.unreadable.push(UnreadableLine {
                    object: object.to_string(),
                    line: number,
                    reason: error.to_string(),
                }),
            }
        }
    }

    /// Adds one record: the newest line of its id.
    pub fn insert(&mut self, object: &Arc<str>, record: Record) {
        let id = record.id;
        if let Some(older) = self.records.get(&id) {
            let difference = if older.record.sha256 != record.sha256 {
                Some(("digest", [older.record.sha256.to_string(), record.sha256.to_string()]))
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
        self.records.insert(id, Line { record, object: Arc::clone(object) });
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

    /// All records, by id.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values().map(|line| &line.record)
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
            bytes: 5,
            sha256: Sha256Digest([digest; 32]),
            verified: "read back".into(),
            checksum: None,
            tenant_id: None,
            instance_id: None,
            created: None,
            updated: None,
            backup_timestamp: None,
            parent_id: None,
            datastore: None,
            datastore_version: None,
            metadata: BTreeMap::new(),
            source: Origin { region: "one".into(), store: "file:/one".into(), id: None, location: location.into() },
            recorded_ms: 7,
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
        assert_eq!(ledger.get(Uuid::from_u128(1)).map(|record| record.state), Some(RecordState::Failed));
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
}
