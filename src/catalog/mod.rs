//! Where backup records lie. Behind one trait, so that Trove's database and API can stand beside the records that
//! lie in a store itself.

mod ledger;
mod shelf;
mod state;
pub mod trove;

use std::collections::BTreeMap;
use std::future::Future;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::{Cause, Failure};
use crate::id::{Key, Sha256Digest};

pub use ledger::{Conflict, Ledger, UnreadableLine};
pub use shelf::{RECORDS_FOLDER, Shelf, ShelfError, StoreCatalog, batch_of, record_object};
pub use state::RecordState;

/// One backup as its catalog describes it. In a store it is a line of a record object and the receipt of a copy, and
/// has all that [`Record::missing`] asks for; Trove knows less.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Digest of the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// How the digest was proved for what lies in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// Checksum of the original catalog, where it had one: for Trove the object's `ETag`, without quotes.
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
    /// Number of the datastore's version (`8.0.36` of the version `8.0`), where the catalog tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore_version_number: Option<String>,
    /// The object's own metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What it is a copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Origin>,
    /// When the line was written, or the row last changed; milliseconds since the epoch.
    pub recorded_ms: i64,
    /// What Trove keeps the backup's bytes with (`swift`, `cinder`), where its catalog tells it. Never in a store.
    #[serde(skip)]
    pub storage_driver: Option<String>,
    /// The location as Trove has it, a URL. Only its account, container and object are ever used, as in Trove itself.
    #[serde(skip)]
    pub location_url: Option<String>,
    /// Why nothing can be done with this backup although its catalog counts it as finished.
    #[serde(skip)]
    pub unusable: Option<Failure>,
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

impl Origin {
    /// The container that it lay in, if it was a backup of Trove's in a Swift.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        // Names of Trove's objects have no `/`, so whatever stands before the container is the account.
        let is_troves = self.id.is_some() && self.store.starts_with("swift:");
        self.location.rsplit('/').nth(1).filter(|container| is_troves && !container.is_empty())
    }
}

impl Record {
    /// Whether its catalog says that it is finished and there.
    #[must_use]
    pub const fn is_restorable(&self) -> bool {
        self.state.is_restorable()
    }

    /// The first field that a line of a store needs and does not have.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let fields = [
            ("bytes", self.bytes.is_some()),
            ("sha256", self.sha256.is_some()),
            ("verified", self.verified.is_some()),
            ("source", self.source.is_some()),
        ];
        fields.into_iter().find(|(_, there)| !there).map(|(name, _)| name)
    }

    /// The object in the catalog's own store.
    ///
    /// # Errors
    /// A failure of the whole record, where a name came in from outside that no store can hold, or where the backup is
    /// [`unusable`](Record::unusable).
    pub fn key(&self) -> Result<Key, Failure> {
        if let Some(failure) = &self.unusable {
            return Err(failure.clone());
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_knows_the_container_of_what_it_has_a_copy_of() {
        let container = |store: &str, id: Option<&str>, location: &str| {
            let id = id.map(str::to_owned);
            let origin = Origin { region: "one".into(), store: store.into(), id, location: location.into() };
            origin.container().map(str::to_owned)
        };
        let swift = "swift:keystone:5000/v3#one";
        assert_eq!(container(swift, Some("1"), "AUTH_a/db57_backups/1.xbstream.gz").as_deref(), Some("db57_backups"));
        assert_eq!(container("swift:k/v3#one/AUTH_a", Some("1"), "backups/1.gz").as_deref(), Some("backups"));
        assert_eq!(container("s3://host/bucket/", Some("1"), "trove/1.xbstream.gz"), None, "a folder is no container");
        assert_eq!(container(swift, None, "AUTH_a/dumps/2026/1.gz"), None, "it was none of Trove's");
        assert_eq!(container(swift, Some("1"), "1.gz"), None);
    }
}
