//! One migration as the rest of the program sees it: every column typed, no database in it.

use std::collections::BTreeMap;

use sea_orm::{ActiveModelTrait, ActiveValue, Iterable, QueryResult};
use uuid::Uuid;

use super::cells::Cells;
use super::entity::backups::{ActiveModel, Column};
use super::error::DatabaseError;
use crate::failure::{Cause, Failure};
use crate::id::Sha256Digest;
use crate::state::State;

/// A row of `backups`: one source backup to one target store. A snapshot; the database may have moved on.
///
/// Times of the catalogs are RFC 3339 text as the source gave them; times of ours are milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Trove's own columns, under Trove's own names; ours have docs")]
pub struct Row {
    /// The target id, see [`target_id`](crate::id::target_id).
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    /// Object key in the target store.
    pub location: Option<String>,
    pub backup_type: Option<String>,
    pub size: Option<f64>,
    pub tenant_id: Option<String>,
    pub state: State,
    pub instance_id: Option<String>,
    pub checksum: Option<String>,
    pub backup_timestamp: Option<String>,
    pub deleted: bool,
    pub created: Option<String>,
    pub updated: Option<String>,
    pub deleted_at: Option<String>,
    /// Target id of the parent.
    pub parent_id: Option<Uuid>,
    pub datastore_version_id: Option<String>,
    pub storage_driver: Option<String>,
    /// The target region, as the plan names it.
    pub region: String,
    /// Identity of the target store.
    pub target_store: String,
    /// Identity of the catalog that it is or was to be registered in.
    pub target_catalog: String,
    /// The source region, as the plan names it.
    pub source_region: String,
    /// Identity of the source store.
    pub source_store: String,
    /// The source record's id; none for a backup named by its location.
    pub source_id: Option<String>,
    /// Object key in the source store; none where the record could not be had.
    pub source_location: Option<String>,
    /// Version of the source object that parts were read from.
    pub source_etag: Option<String>,
    /// Size of the object; none before it is known.
    pub bytes: Option<u64>,
    /// All bytes ever read from the source for it.
    pub bytes_read: u64,
    /// Datastore by name, such as `mysql`.
    pub datastore: Option<String>,
    /// Datastore version by name, such as `5.7.29`.
    pub datastore_version: Option<String>,
    /// The record's id where the catalog gives its own.
    pub registered_id: Option<String>,
    /// Digest of the bytes that were copied.
    pub sha256: Option<Sha256Digest>,
    /// Digest that `verify` found an earlier copy to have lost: a new copy must have it.
    pub expected_sha256: Option<Sha256Digest>,
    /// The target store's own.
    pub etag: Option<String>,
    /// How the target's bytes were proved; none before they were.
    pub verified: Option<String>,
    /// Attempts of the current step in the run that claimed it last.
    pub attempt: u32,
    /// Names what lies unpublished in the target store; none if there is nothing.
    pub upload_token: Option<String>,
    /// The target store's own id for the upload.
    pub upload_id: Option<String>,
    /// Part size of the upload, in bytes.
    pub part_size: Option<u64>,
    /// Name of the record object that it is or was being registered in.
    pub record: Option<String>,
    /// Fencing token: grows with each claim, never shrinks.
    pub claim: i64,
    /// Who has it, or had it when they died: on a server the runner in the list, else the run.
    pub claimed_by: Option<Uuid>,
    /// Of the last error.
    pub cause: Option<Cause>,
    /// Text of the last error.
    pub error: Option<String>,
    /// Hint of the last error.
    pub hint: Option<String>,
    /// When the last error was.
    pub error_ms: Option<i64>,
    /// The object's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it was first planned. Set by the database.
    pub planned_ms: i64,
    /// When anything of it last changed. Set by the database.
    pub changed_ms: i64,
    /// When the verified copy was whole.
    pub copied_ms: Option<i64>,
    /// When it was registered.
    pub completed_ms: Option<i64>,
    /// Whose it is in its source region; [`Row::tenant_id`] is whose the copy is.
    pub source_tenant_id: Option<String>,
    /// Datastore version by number, where the catalog has one beside the name.
    pub datastore_version_number: Option<String>,
}

impl Row {
    /// How many parts its copy was begun with; 0 if it never was.
    #[must_use]
    pub fn parts(&self) -> u32 {
        match (self.bytes, self.part_size) {
            (Some(bytes), Some(part_size)) if part_size > 0 => {
                u32::try_from(bytes.div_ceil(part_size).max(1)).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }

    /// A row that is new and has nothing but its id, to be filled in.
    #[must_use]
    pub fn new(id: Uuid) -> Self {
        Self {
            id,
            name: String::new(),
            description: None,
            location: None,
            backup_type: None,
            size: None,
            tenant_id: None,
            state: State::New,
            instance_id: None,
            checksum: None,
            backup_timestamp: None,
            deleted: false,
            created: None,
            updated: None,
            deleted_at: None,
            parent_id: None,
            datastore_version_id: None,
            storage_driver: None,
            region: String::new(),
            target_store: String::new(),
            target_catalog: String::new(),
            source_region: String::new(),
            source_store: String::new(),
            source_id: None,
            source_location: None,
            source_etag: None,
            bytes: None,
            bytes_read: 0,
            datastore: None,
            datastore_version: None,
            registered_id: None,
            sha256: None,
            expected_sha256: None,
            etag: None,
            verified: None,
            attempt: 0,
            upload_token: None,
            upload_id: None,
            part_size: None,
            record: None,
            claim: 0,
            claimed_by: None,
            cause: None,
            error: None,
            hint: None,
            error_ms: None,
            metadata: BTreeMap::new(),
            planned_ms: 0,
            changed_ms: 0,
            copied_ms: None,
            completed_ms: None,
            source_tenant_id: None,
            datastore_version_number: None,
        }
    }

    /// Whether its copy is the source's own object, because both regions are one account: copies of records bear their ids.
    #[must_use]
    pub fn is_the_source_itself(&self) -> bool {
        let name = self.location.as_deref().and_then(|location| location.rsplit('/').next());
        self.source_id.is_some() && name.is_some_and(|name| !name.starts_with(&self.id.to_string()))
    }

    /// The same row as one that cannot even start.
    #[must_use]
    pub fn that_failed(mut self, failure: Failure) -> Self {
        self.state = State::Failed;
        self.cause = Some(failure.cause);
        self.error = Some(failure.message);
        self.hint = failure.hint;
        self
    }

    /// The last error, if the row has one.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        Some(Failure { cause: self.cause?, message: self.error.clone().unwrap_or_default(), hint: self.hint.clone() })
    }

    /// Reads a result that has all columns of the table, in the table's order.
    pub(super) fn read(database: &str, result: &QueryResult) -> Result<Self, DatabaseError> {
        let cells = Cells::of(database, result, &[]);
        Ok(Self {
            id: cells.parsed(Column::Id)?,
            name: cells.get(Column::Name)?,
            description: cells.get(Column::Description)?,
            location: cells.get(Column::Location)?,
            backup_type: cells.get(Column::BackupType)?,
            size: cells.get(Column::Size)?,
            tenant_id: cells.get(Column::TenantId)?,
            state: cells.parsed(Column::State)?,
            instance_id: cells.get(Column::InstanceId)?,
            checksum: cells.get(Column::Checksum)?,
            backup_timestamp: cells.get(Column::BackupTimestamp)?,
            deleted: cells.get(Column::Deleted)?,
            created: cells.get(Column::Created)?,
            updated: cells.get(Column::Updated)?,
            deleted_at: cells.get(Column::DeletedAt)?,
            parent_id: cells.parsed_if_any(Column::ParentId)?,
            datastore_version_id: cells.get(Column::DatastoreVersionId)?,
            storage_driver: cells.get(Column::StorageDriver)?,
            region: cells.get(Column::Region)?,
            target_store: cells.get(Column::TargetStore)?,
            target_catalog: cells.get(Column::TargetCatalog)?,
            source_region: cells.get(Column::SourceRegion)?,
            source_store: cells.get(Column::SourceStore)?,
            source_id: cells.get(Column::SourceId)?,
            source_location: cells.get(Column::SourceLocation)?,
            source_etag: cells.get(Column::SourceEtag)?,
            bytes: cells.number_if_any(Column::Bytes)?,
            bytes_read: cells.number(Column::BytesRead)?,
            datastore: cells.get(Column::Datastore)?,
            datastore_version: cells.get(Column::DatastoreVersion)?,
            registered_id: cells.get(Column::RegisteredId)?,
            sha256: cells.parsed_if_any(Column::Sha256)?,
            expected_sha256: cells.parsed_if_any(Column::ExpectedSha256)?,
            etag: cells.get(Column::Etag)?,
            verified: cells.get(Column::Verified)?,
            attempt: cells.small(Column::Attempt)?,
            upload_token: cells.get(Column::UploadToken)?,
            upload_id: cells.get(Column::UploadId)?,
            part_size: cells.number_if_any(Column::PartSize)?,
            record: cells.get(Column::Record)?,
            claim: cells.get(Column::Claim)?,
            claimed_by: cells.parsed_if_any(Column::ClaimedBy)?,
            cause: cells.parsed_if_any(Column::Cause)?,
            error: cells.get(Column::Error)?,
            hint: cells.get(Column::Hint)?,
            error_ms: cells.get(Column::ErrorMs)?,
            metadata: cells.metadata()?,
            planned_ms: cells.get(Column::PlannedMs)?,
            changed_ms: cells.get(Column::ChangedMs)?,
            copied_ms: cells.get(Column::CopiedMs)?,
            completed_ms: cells.get(Column::CompletedMs)?,
            source_tenant_id: cells.get(Column::SourceTenantId)?,
            datastore_version_number: cells.get(Column::DatastoreVersionNumber)?,
        })
    }

    /// What a row that was just planned brings along; all else is as the table's defaults have it, and what it does not
    /// know is left out: thousands of values that say nothing would be bound.
    pub(super) fn to_insert(&self, now_ms: i64) -> ActiveModel {
        use ActiveValue::Set;
        let mut model = ActiveModel {
            planned_ms: Set(now_ms),
            id: Set(self.id.to_string()),
            location: Set(self.location.clone()),
            state: Set(self.state.as_str().to_owned()),
            checksum: Set(self.checksum.clone()),
            storage_driver: Set(self.storage_driver.clone()),
            target_store: Set(self.target_store.clone()),
            source_store: Set(self.source_store.clone()),
            source_id: Set(self.source_id.clone()),
            source_etag: Set(self.source_etag.clone()),
            bytes: Set(self.bytes.map(to_column)),
            cause: Set(self.cause.map(|cause| cause.code().to_owned())),
            error: Set(self.error.clone()),
            hint: Set(self.hint.clone()),
            error_ms: Set(self.cause.is_some().then_some(now_ms)),
            ..self.to_describe(now_ms)
        };
        for column in Column::iter() {
            if matches!(model.get(column), Set(value) if value == value.as_null()) {
                model.not_set(column);
            }
        }
        model
    }

    /// Whether [`Row::to_describe`] of both is the same.
    pub(crate) fn is_described_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.description == other.description
            && self.backup_type == other.backup_type
            && self.size == other.size
            && self.tenant_id == other.tenant_id
            && self.instance_id == other.instance_id
            && self.backup_timestamp == other.backup_timestamp
            && self.created == other.created
            && self.updated == other.updated
            && self.parent_id == other.parent_id
            && self.datastore_version_id == other.datastore_version_id
            && self.region == other.region
            && self.target_catalog == other.target_catalog
            && self.source_region == other.source_region
            && self.source_location == other.source_location
            && self.datastore == other.datastore
            && self.datastore_version == other.datastore_version
            && self.source_tenant_id == other.source_tenant_id
            && self.datastore_version_number == other.datastore_version_number
            && self.expected_sha256 == other.expected_sha256
            && self.metadata == other.metadata
    }

    /// The columns that a plan may change as long as the row is not registered.
    pub(super) fn to_describe(&self, now_ms: i64) -> ActiveModel {
        use ActiveValue::Set;
        ActiveModel {
            name: Set(self.name.clone()),
            description: Set(self.description.clone()),
            backup_type: Set(self.backup_type.clone()),
            size: Set(self.size),
            tenant_id: Set(self.tenant_id.clone()),
            instance_id: Set(self.instance_id.clone()),
            backup_timestamp: Set(self.backup_timestamp.clone()),
            created: Set(self.created.clone()),
            updated: Set(self.updated.clone()),
            parent_id: Set(self.parent_id.map(|id| id.to_string())),
            datastore_version_id: Set(self.datastore_version_id.clone()),
            region: Set(self.region.clone()),
            target_catalog: Set(self.target_catalog.clone()),
            source_region: Set(self.source_region.clone()),
            source_location: Set(self.source_location.clone()),
            datastore: Set(self.datastore.clone()),
            datastore_version: Set(self.datastore_version.clone()),
            source_tenant_id: Set(self.source_tenant_id.clone()),
            datastore_version_number: Set(self.datastore_version_number.clone()),
            expected_sha256: Set(self.expected_sha256.map(|digest| digest.to_string())),
            metadata: Set(metadata_column(&self.metadata)),
            changed_ms: Set(now_ms),
            ..Default::default()
        }
    }
}

/// Sizes and counts fit: nothing has 2^63 bytes.
pub(super) fn to_column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn metadata_column(metadata: &BTreeMap<String, String>) -> Option<String> {
    (!metadata.is_empty()).then(|| serde_json::to_string(metadata).expect("a map of texts is JSON"))
}
