//! Whether a registered copy still is what it was when it was registered: object, segments, link and record.

use super::{Parent, Registry, links};
use crate::catalog::{Ledger, Record, RecordState};
use crate::database::Row;
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::store::{Lineage, ObjectFacts, Pin, SaidBy, Source, Store, StoreError, StoreErrorKind};

impl Registry {
    /// Asks for object and segments of a copy, and holds them, its link and its record against its row. Reads no bytes.
    /// `parent` is what it builds on, where a row tells; else its link is not looked at.
    ///
    /// # Errors
    /// A failure of cause `copy-missing`, `integrity` or `record-conflict` for what was seen to be wrong, `declined` for
    /// what its owner has deleted; others for what could not be seen.
    pub async fn look(
        &self,
        ledger: &Ledger,
        row: &Row,
        parent: Option<&Parent>,
    ) -> Result<(Key, ObjectFacts), Failure> {
        let gone = |what: &str| {
            Failure::new(Cause::CopyMissing, format!("{what} of `{}` is gone from region `{}`", row.name, row.region))
        };
        if ledger.copy_of(row.id).is_some_and(|record| record.state == RecordState::Deleted) {
            let message = format!("its owner deleted the record of `{}` in region `{}`", row.name, row.region);
            return Err(Failure::new(Cause::Declined, message));
        }
        let key = Key::parse(row.location.as_deref().unwrap_or_default()).map_err(|_| gone("the object"))?;
        let facts = self.store.head(&key).await.map_err(|error| match error.kind {
            StoreErrorKind::Missing => gone(&format!("the object `{key}`")),
            _ => error.of_target(),
        })?;
        if Some(facts.size) != row.bytes {
            let recorded = row.bytes.unwrap_or_default();
            let message = format!("`{key}` in region `{}` has {} bytes, and had {recorded}", row.region, facts.size);
            return Err(Failure::new(Cause::Integrity, message));
        }
        if let Store::Swift(swift) = &self.store {
            if row.etag.as_ref() != Some(&facts.etag) {
                let had = row.etag.as_deref().unwrap_or_default();
                let message = format!("`{key}` in region `{}` is version {}, and was {had}", row.region, facts.etag);
                return Err(Failure::new(Cause::Integrity, message));
            }
            let pin = Pin { etag: facts.etag.clone(), size: facts.size };
            swift.check_segments(&key, &pin).await.map_err(|error| match error.kind {
                StoreErrorKind::Missing | StoreErrorKind::Changed => {
                    Failure::new(Cause::CopyMissing, format!("region `{}`: {}", row.region, error.message))
                }
                _ => StoreError::of_target(error),
            })?;
            match parent {
                Some(parent) => links::check(swift, row, &facts.metadata, parent).await?,
                None if row.parent_id.is_none() => is_full(&key, &facts)?,
                None => {}
            }
        }
        self.check_record(ledger, row)?;
        Ok((key, facts))
    }

    /// Holds object, segments and link of a recorded copy against its record, and looks for the records that it builds on:
    /// what a region says of itself, with nothing else known. Reads no bytes.
    ///
    /// # Errors
    /// As [`Registry::look`]; of cause `parent-missing` too.
    pub async fn look_at_record(&self, ledger: &Ledger, record: &Record) -> Result<(), Failure> {
        if let Some(parent) = ledger.broken_above(record) {
            let message = format!("it builds on `{parent}`, of which there is no restorable record");
            return Err(Failure::new(Cause::ParentMissing, message));
        }
        let key = record.key()?;
        let facts = self.store.head(&key).await.map_err(|error| match error.kind {
            StoreErrorKind::Missing => Failure::new(Cause::CopyMissing, format!("its object `{key}` is gone")),
            _ => error.of_target(),
        })?;
        let differs = |what: &str, recorded: &str, there: &str| {
            let message = format!("the record of `{key}` says {what} {recorded}, and the object has {there}");
            Err(Failure::new(Cause::Integrity, message))
        };
        if let Some(bytes) = record.bytes.filter(|bytes| *bytes != facts.size) {
            return differs("size", &bytes.to_string(), &facts.size.to_string());
        }
        let Store::Swift(swift) = &self.store else { return Ok(()) };
        if self.trove.is_some()
            && let Some(checksum) = record.checksum.as_deref().filter(|checksum| *checksum != facts.etag)
        {
            return differs("checksum", checksum, &facts.etag);
        }
        swift.check_segments(&key, &Pin { etag: facts.etag.clone(), size: facts.size }).await.map_err(|error| {
            let cause = match error.kind {
                StoreErrorKind::Missing | StoreErrorKind::Changed => Cause::CopyMissing,
                _ => Cause::Unreachable,
            };
            Failure { cause, message: error.message, hint: error.hint }
        })?;
        match record.parent_id.map(|parent| ledger.get(parent)) {
            Some(Some(parent)) => links::check_record(swift, &key, &facts.metadata, parent).await,
            Some(None) => Ok(()),
            None => is_full(&key, &facts),
        }
    }

    fn check_record(&self, ledger: &Ledger, row: &Row) -> Result<(), Failure> {
        let named = |what: &str| format!("the record of `{}` {what} region `{}`", row.name, row.region);
        match ledger.copy_of(row.id) {
            None => Err(Failure::new(Cause::CopyMissing, named("is gone from"))),
            Some(record)
                if !record.is_restorable() || ledger.conflict(record.id).is_some() || !self.says(record, row) =>
            {
                let message =
                    format!("the record of `{}` in region `{}` says something else now", row.name, row.region);
                Err(Failure::new(Cause::RecordConflict, message))
            }
            Some(_) => Ok(()),
        }
    }
}

/// Whether an object that is registered as a full backup names no parent, which a restore would look for.
fn is_full(key: &Key, facts: &ObjectFacts) -> Result<(), Failure> {
    let full = Lineage { parent: None, said_by: SaidBy::Record };
    full.agrees(key, &facts.metadata).map_err(|failure| Failure { cause: Cause::Integrity, hint: None, ..failure })
}
