//! One row for each migration, keyed by its target id. [`Row`](super::super::Row) says what the columns mean.

use sea_orm::entity::prelude::{
    ActiveModelBehavior, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait,
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "backups")]
pub(in crate::database) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub location: Option<String>,
    pub backup_type: Option<String>,
    pub size: Option<f64>,
    pub tenant_id: Option<String>,
    pub state: String,
    pub instance_id: Option<String>,
    pub checksum: Option<String>,
    pub backup_timestamp: Option<String>,
    pub deleted: bool,
    pub created: Option<String>,
    pub updated: Option<String>,
    pub deleted_at: Option<String>,
    pub parent_id: Option<String>,
    pub datastore_version_id: Option<String>,
    pub storage_driver: Option<String>,
    pub region: String,
    pub target_store: String,
    pub target_catalog: String,
    pub source_region: String,
    pub source_store: String,
    pub source_id: Option<String>,
    pub source_location: Option<String>,
    pub source_etag: Option<String>,
    pub bytes: Option<i64>,
    pub bytes_read: i64,
    pub datastore: Option<String>,
    pub datastore_version: Option<String>,
    pub registered_id: Option<String>,
    pub sha256: Option<String>,
    pub expected_sha256: Option<String>,
    pub etag: Option<String>,
    pub verified: Option<String>,
    pub attempt: i32,
    pub upload_token: Option<String>,
    pub upload_id: Option<String>,
    pub part_size: Option<i64>,
    pub record: Option<String>,
    pub claim: i64,
    pub claimed_by: Option<String>,
    pub cause: Option<String>,
    pub error: Option<String>,
    pub hint: Option<String>,
    pub error_ms: Option<i64>,
    pub metadata: Option<String>,
    pub planned_ms: i64,
    pub changed_ms: i64,
    pub copied_ms: Option<i64>,
    pub completed_ms: Option<i64>,
    pub source_tenant_id: Option<String>,
    pub datastore_version_number: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub(in crate::database) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
