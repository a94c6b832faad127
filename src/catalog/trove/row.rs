//! A backup as Trove's table or API has it, as a record. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::location::{Location, LocationError};
use super::new_backup::is_size;
use crate::catalog::{Record, RecordState};
use crate::failure::{Cause, Failure};

/// A backup as Trove has it, names of the datastore and its version with it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BackupRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) location: Option<String>,
    pub(super) backup_type: Option<String>,
    pub(super) size: Option<f64>,
    pub(super) tenant_id: Option<String>,
    pub(super) state: String,
    pub(super) instance_id: Option<String>,
    pub(super) checksum: Option<String>,
    /// Whether the checksum was asked for at all: the API never shows it.
    pub(super) shows_checksum: bool,
    pub(super) backup_timestamp: Option<String>,
    pub(super) deleted: Option<bool>,
    pub(super) created: Option<String>,
    pub(super) updated: Option<String>,
    pub(super) parent_id: Option<String>,
    pub(super) storage_driver: Option<String>,
    pub(super) datastore: Option<String>,
    pub(super) version: Option<String>,
    pub(super) number: Option<String>,
}

impl BackupRow {
    /// The record of the row.
    ///
    /// # Errors
    /// Why it is none at all: the id is no UUID.
    pub(super) fn record(self) -> Result<Record, String> {
        let Ok(id) = self.id.parse::<Uuid>() else {
            return Err(format!("the id `{}` is no UUID", self.id.escape_debug()));
        };
        // Trove shows a row only where `deleted` is 0.
        let state = if self.deleted == Some(false) { RecordState::of_trove(&self.state) } else { RecordState::Deleted };
        let described = self.described();
        let unusable = match &described {
            Err(why) if state.is_restorable() => {
                Some(Failure::new(Cause::SourceUnreadable, format!("the row `{id}` is of no use: {why}")))
            }
            _ => None,
        };
        let reason = (state == RecordState::Failed).then(|| format!("Trove says {}", self.state));
        let location = described.map(|location| location.to_string());
        let changed = self.updated.as_deref().or(self.created.as_deref()).and_then(timestamp);
        Ok(Record {
            id,
            name: self.name,
            description: self.description,
            state,
            reason,
            location: location.or(self.location.clone().ok_or(String::new())).unwrap_or_default(),
            backup_type: self.backup_type,
            size: self.size,
            bytes: None,
            sha256: None,
            verified: None,
            checksum: self.checksum.as_deref().and_then(|checksum| md5(checksum).ok()),
            tenant_id: self.tenant_id,
            instance_id: self.instance_id,
            created: self.created.as_deref().and_then(rfc3339),
            updated: self.updated.as_deref().and_then(rfc3339),
            backup_timestamp: self.backup_timestamp.as_deref().and_then(rfc3339),
            parent_id: self.parent_id.and_then(|parent| parent.parse().ok()),
            datastore: self.datastore,
            datastore_version: self.version,
            datastore_version_number: self.number,
            metadata: BTreeMap::new(),
            source: None,
            recorded_ms: changed.map_or(0, Timestamp::as_millisecond),
            storage_driver: self.storage_driver,
            location_url: self.location,
            unusable,
        })
    }

    /// Where the object lies, if all is there that a copy needs.
    fn described(&self) -> Result<Location, String> {
        if self.storage_driver.as_deref() == Some("cinder") {
            return Err(format!("the location {}", LocationError::Snapshot));
        }
        let tenant = self.tenant_id.as_deref().filter(|tenant| !tenant.is_empty()).ok_or("it has no tenant")?;
        let location = Location::parse_of(self.location.as_deref().unwrap_or_default(), tenant)
            .map_err(|error| format!("the location {error}"))?;
        if self.shows_checksum {
            md5(self.checksum.as_deref().unwrap_or_default())?;
        }
        match self.size {
            None => return Err("it has no size".to_owned()),
            Some(size) if !is_size(size) => return Err(format!("the size of {size:?} GB makes no sense")),
            Some(_) => {}
        }
        if let Some(parent) = &self.parent_id
            && parent.parse::<Uuid>().is_err()
        {
            return Err(format!("the parent `{}` is no UUID", parent.escape_debug()));
        }
        Ok(location)
    }
}

/// An `ETag` as Trove's column has it, and as some have it who wrote rows by hand: with quotes, or in capitals.
fn md5(checksum: &str) -> Result<String, String> {
    let bare = checksum.trim_matches('"').to_ascii_lowercase();
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if bare.is_empty() {
        Err("it has no checksum".to_owned())
    } else if bare.len() == 32 && is_hex(&bare) {
        Ok(bare)
    } else {
        let kind = match bare.split_once('-') {
            Some(_) => "an S3 multipart ETag, which Swift cannot have",
            None if bare.len() == 64 && is_hex(&bare) => "a SHA-256",
            None => "no MD5",
        };
        Err(format!("the checksum `{}` is {kind}", checksum.escape_debug()))
    }
}

/// Times in Trove's tables are UTC without saying so.
fn timestamp(text: &str) -> Option<Timestamp> {
    let time: DateTime = text.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn rfc3339(text: &str) -> Option<String> {
    timestamp(text).map(|time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> BackupRow {
        BackupRow {
            id: "1a46b3c0-0000-4000-8000-000000000001".into(),
            name: "orders".into(),
            location: Some("http://h:8080/v1/AUTH_t1/database_backups/1a46.xbstream.gz".into()),
            size: Some(0.1),
            tenant_id: Some("t1".into()),
            state: "COMPLETED".into(),
            checksum: Some("f562860128421fdd6609e068d233da6c".into()),
            shows_checksum: true,
            deleted: Some(false),
            created: Some("2026-11-22T10:49:34".into()),
            updated: Some("2026-11-22T10:49:35.250000".into()),
            storage_driver: Some("swift".into()),
            ..BackupRow::default()
        }
    }

    fn unusable(change: impl FnOnce(&mut BackupRow)) -> String {
        let mut row = row();
        change(&mut row);
        let record = row.record().expect("a record");
        assert!(record.key().is_err());
        record.unusable.map(|failure| failure.message).unwrap_or_default()
    }

    #[test]
    fn a_row_as_trove_writes_it() {
        let record = row().record().expect("a record");
        assert_eq!((record.state.clone(), record.unusable.clone()), (RecordState::Completed, None));
        assert_eq!(record.key().expect("a key").as_str(), "AUTH_t1/database_backups/1a46.xbstream.gz");
        assert_eq!(record.created.as_deref(), Some("2026-11-22T10:49:34Z"));
        assert_eq!(record.updated.as_deref(), Some("2026-11-22T10:49:35.25Z"));
        assert_eq!(record.recorded_ms, 1_795_344_575_250);
    }

    #[test]
    fn checksums_are_brought_into_one_form_or_named() {
        let plain = Ok("f562860128421fdd6609e068d233da6c".to_owned());
        assert_eq!(md5("\"f562860128421fdd6609e068d233da6c\""), plain);
        assert_eq!(md5("F562860128421FDD6609E068D233DA6C"), plain);
        for (bad, why) in [
            ("", "no checksum"),
            ("\"\"", "no checksum"),
            ("f562860128421fdd6609e068d233da6c-3", "multipart"),
            (&"ab".repeat(32), "a SHA-256"),
            ("hello", "no MD5"),
        ] {
            assert!(md5(bad).is_err_and(|said| said.contains(why)), "{bad}");
        }
    }

    #[test]
    fn bad_rows_are_told_one_by_one() {
        assert!(unusable(|row| row.location = None).contains("the location is not there"));
        assert!(unusable(|row| row.checksum = None).contains("no checksum"));
        assert!(unusable(|row| row.size = None).contains("no size"));
        for size in [f64::NAN, -1.0, 1e308, f64::INFINITY] {
            assert!(unusable(|row| row.size = Some(size)).contains("makes no sense"));
        }
        assert!(unusable(|row| row.tenant_id = None).contains("no tenant"));
        assert!(unusable(|row| row.tenant_id = Some("t2".into())).contains("not that of its owner, `t2`"));
        assert!(unusable(|row| row.parent_id = Some("7".into())).contains("the parent `7`"));
        assert!(unusable(|row| row.storage_driver = Some("cinder".into())).contains("Cinder"));
        assert!(unusable(|row| row.location = Some("cinder://x".into())).contains("Cinder"));
        let no_uuid = BackupRow { id: "7".into(), ..row() };
        assert!(no_uuid.record().is_err());
    }

    #[test]
    fn what_is_not_finished_needs_no_location() {
        let state = |state: &str, deleted| {
            let unfinished = BackupRow { state: state.into(), deleted, location: None, checksum: None, ..row() };
            let record = unfinished.record().expect("a record");
            assert_eq!((record.unusable, record.location.as_str()), (None, ""), "{state}");
            record.state
        };
        assert_eq!(state("SAVING", Some(false)), RecordState::Running("SAVING".into()));
        assert_eq!(state("FAILED", Some(false)), RecordState::Failed);
        assert_eq!(state("COMPLETED", Some(true)), RecordState::Deleted);
        assert_eq!(state("COMPLETED", None), RecordState::Deleted);
    }
}
