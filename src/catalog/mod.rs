//! Where backup records lie. Behind one trait, so that Trove's database and API can stand beside the records that
//! lie in a store itself.

mod ledger;
mod shelf;

use std::collections::BTreeMap;
use std::future::Future;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::{Cause, Failure};
use crate::id::{Key, Sha256Digest};

pub use ledger::{Conflict, Ledger, UnreadableLine};
pub use shelf::{RECORDS_FOLDER, Shelf, ShelfError, StoreCatalog, batch_of, record_object};

/// Whether a recorded backup can be restored, in the words of its catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordState {
    /// Finished; can be restored.
    Completed,
    /// Found broken or gone by `verify`.
    Failed,
}

/// One backup as its catalog describes it: a line of a record object, and the receipt of a copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The record's id in this catalog.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// Its owner's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it can be restored.
    pub state: RecordState,
    /// Why it is `FAILED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The object in the catalog's own store.
    pub location: String,
    /// `full` or `incremental`, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<String>,
    /// GB of the volume it was made from, as Trove counts; not the object's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<f64>,
    /// Size of the object in bytes.
    pub bytes: u64,
    /// Digest of the whole object.
    pub sha256: Sha256Digest,
    /// How the digest was proved for what lies in the store.
    pub verified: String,
    /// Checksum of the original catalog, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// Its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The database instance it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// When the backup was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// When its record was last changed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<String>,
    /// The point in time it restores to, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_timestamp: Option<String>,
    /// The record in this catalog that it builds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<Uuid>,
    /// Name of the datastore (`mysql`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<String>,
    /// Name of the datastore's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore_version: Option<String>,
    /// The object's own metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What it is a copy of.
    pub source: Origin,
    /// When the line was written, milliseconds since the epoch.
    pub recorded_ms: i64,
}

/// What a copy is a copy of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What the plan called the region.
    pub region: String,
    /// Identity of its store.
    pub store: String,
    /// Id of its record, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its object.
    pub location: String,
}

impl Record {
    /// The object in the catalog's own store.
    ///
    /// # Errors
    /// A failure of the whole record, where a name came in from outside that no store can hold.
    pub fn key(&self) -> Result<Key, Failure> {
        Key::parse(&self.location).map_err(|error| {
            Failure::new(
                Cause::RecordConflict,
                format!(
                    "record `{}` names the object `{}`, which is a bad object name: it {error}",
                    self.id,
                    self.location.escape_debug()
                ),
            )
        })
    }
}

/// What a catalog could not do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub struct CatalogError(pub Failure);

/// Reads and writes backup records.
pub trait Catalog {
    /// Reads all records. One call is one look at the catalog: the answer is consistent in itself.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be reached or holds what cannot be read.
    fn ledger(&self) -> impl Future<Output = Result<Ledger, CatalogError>> + Send;

    /// Writes `records` under the batch name `batch`, all or none. Safe to repeat with the same name and ids: what is
    /// there already is not written again.
    ///
    /// # Errors
    /// [`CatalogError`] when nothing was written.
    fn register(&self, batch: &str, records: &[Record]) -> impl Future<Output = Result<(), CatalogError>> + Send;
}
