//! Copies as lines of record objects in the target's own store.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Authors, Entered, RecordShelf, Registered};
use crate::catalog::{Catalog, CatalogError, Ledger, Origin, Record, RecordState, StoreCatalog, batch_of};
use crate::database::Row;
use crate::failure::{Cause, Failure};
use crate::id::Sha256Digest;
use crate::store::Store;

/// The catalog of records in a store.
pub(super) fn catalog(store: Store) -> StoreCatalog<RecordShelf> {
    StoreCatalog::new(RecordShelf::new(store))
}

/// Puts the records of verified copies into the target's catalog, as one batch. `ledger` holds all that was in it when
/// the run began. Safe to repeat: a record that is there and says the same is not written again.
///
/// `batch` is in the database before this is called, so that what a crash leaves of it is found again.
///
/// # Errors
/// [`CatalogError`] when the catalog cannot be written: then nothing was registered.
pub(super) async fn register(
    store: &Store,
    ledger: &Ledger,
    batch: Uuid,
    rows: &[&Row],
    now_ms: i64,
) -> Result<Registered, CatalogError> {
    let mut registered = Registered::default();
    let mut new = Vec::new();
    for row in rows {
        match standing(row, ledger) {
            Standing::Recorded => {
                let object = ledger.object(row.id).unwrap_or_default();
                registered.done.insert(row.id, Entered::in_object(batch_of(object)));
            }
            Standing::Refused(failure) => {
                registered.refused.insert(row.id, failure);
            }
            Standing::New => new.push(record(row, now_ms)?),
        }
    }
    if !new.is_empty() {
        let batch = batch.to_string();
        catalog(store.clone()).register(&batch, &new).await?;
        registered.done.extend(new.iter().map(|record| (record.id, Entered::in_object(&batch))));
    }
    Ok(registered)
}

/// Takes away what earlier batches of these rows left unpublished, if a crash ended them. Where whoever began them may
/// still wake up, their names are taken: what comes late finds that it is late. Safe to repeat.
///
/// # Errors
/// As [`register`].
pub(super) async fn settle(
    store: &Store,
    rows: impl IntoIterator<Item = &Row>,
    authors: Authors,
) -> Result<(), CatalogError> {
    let batches: BTreeSet<&str> = rows.into_iter().filter_map(|row| row.record.as_deref()).collect();
    let shelf = RecordShelf::new(store.clone());
    for batch in batches {
        shelf.settle(batch).await.map_err(|error| CatalogError(error.of_target()))?;
        if authors == Authors::MayWakeUp {
            catalog(store.clone()).close(batch).await?;
        }
    }
    Ok(())
}

/// Appends the line that says a registered copy is broken or gone.
///
/// # Errors
/// As [`register`].
pub(super) async fn record_failure(
    store: &Store,
    batch: Uuid,
    row: &Row,
    reason: &str,
    now_ms: i64,
) -> Result<(), CatalogError> {
    let line = Record { state: RecordState::Failed, reason: Some(reason.to_owned()), ..record(row, now_ms)? };
    catalog(store.clone()).register(&batch.to_string(), &[line]).await
}

enum Standing {
    New,
    Recorded,
    Refused(Failure),
}

fn standing(row: &Row, ledger: &Ledger) -> Standing {
    if let Some(conflict) = ledger.conflict(row.id) {
        return Standing::Refused(Failure::new(
            Cause::RecordConflict,
            format!(
                "two records of `{}` differ in {}: {} in `{}`, {} in `{}`",
                row.id,
                conflict.field,
                conflict.values[0],
                conflict.objects[0],
                conflict.values[1],
                conflict.objects[1]
            ),
        ));
    }
    match ledger.get(row.id) {
        Some(there) if there.sha256 != row.sha256 || Some(&there.location) != row.location.as_ref() => {
            Standing::Refused(Failure::new(
                Cause::RecordConflict,
                format!(
                    "the catalog has another record under `{}`: sha256 {} at `{}`; ours is sha256 {} at `{}`",
                    row.id,
                    digest(there.sha256),
                    there.location.escape_debug(),
                    digest(row.sha256),
                    row.location.as_deref().unwrap_or_default()
                ),
            ))
        }
        Some(there) if there.is_restorable() => Standing::Recorded,
        // A `FAILED` line is followed by one that says it is well again.
        Some(_) | None => Standing::New,
    }
}

fn digest(sha256: Option<Sha256Digest>) -> String {
    sha256.map(|digest| digest.to_string()).unwrap_or_default()
}

/// Whether a record says of a copy what its row says. Where the database was lost the row was made anew, for the record
/// that was there: how the copy was proved is another matter then, and a plan may have got other words for it meanwhile.
pub(super) fn says(there: &Record, row: &Row) -> bool {
    let Ok(of_row) = record(row, there.recorded_ms) else { return false };
    let source = |origin: &Origin| (origin.store.clone(), origin.id.clone(), origin.location.clone());
    let same_source = there.source.as_ref().map(source) == of_row.source.as_ref().map(source);
    let of_row = Record {
        state: there.state.clone(),
        reason: there.reason.clone(),
        name: there.name.clone(),
        description: there.description.clone(),
        verified: there.verified.clone(),
        source: there.source.clone(),
        ..of_row
    };
    same_source && of_row == *there
}

/// The record of a verified copy.
fn record(row: &Row, now_ms: i64) -> Result<Record, CatalogError> {
    let unfinished = || {
        CatalogError(Failure::new(Cause::Internal, format!("the row `{}` is registered before it is copied", row.id)))
    };
    Ok(Record {
        id: row.id,
        name: row.name.clone(),
        description: row.description.clone(),
        state: RecordState::Completed,
        reason: None,
        location: row.location.clone().ok_or_else(unfinished)?,
        backup_type: row.backup_type.clone(),
        size: row.size,
        bytes: Some(row.bytes.ok_or_else(unfinished)?),
        sha256: Some(row.sha256.ok_or_else(unfinished)?),
        verified: Some(row.verified.clone().ok_or_else(unfinished)?),
        checksum: row.checksum.clone(),
        tenant_id: row.tenant_id.clone(),
        instance_id: row.instance_id.clone(),
        created: row.created.clone(),
        updated: row.updated.clone(),
        backup_timestamp: row.backup_timestamp.clone(),
        parent_id: row.parent_id,
        datastore: row.datastore.clone(),
        datastore_version: row.datastore_version.clone(),
        metadata: row.metadata.clone(),
        datastore_version_number: row.datastore_version_number.clone(),
        source: Some(Origin {
            region: row.source_region.clone(),
            store: row.source_store.clone(),
            id: row.source_id.clone(),
            location: row.source_location.clone().unwrap_or_default(),
        }),
        recorded_ms: now_ms,
        storage_driver: None,
        location_url: None,
        unusable: None,
    })
}
