//! What the steps of a migration tell the database.

use std::collections::BTreeMap;

use crate::id::Sha256Digest;

/// What a copy is about to do, written before anything is made in the target store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyStart {
    /// Of this run, from 1.
    pub attempt: u32,
    /// Names the upload in the target store.
    pub upload_token: String,
    /// In bytes.
    pub part_size: u64,
    /// Version of the source object that will be read.
    pub source_etag: String,
    /// Size of the source object.
    pub bytes: u64,
    /// Object key in the target store.
    pub location: String,
    /// Whether it starts from nothing: the rows of earlier parts go.
    pub fresh: bool,
}

/// One part that is hashed and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRow {
    /// From 0.
    pub number: u32,
    /// In bytes.
    pub size: u64,
    /// The store's own name for it, where it gives one.
    pub reference: Option<String>,
    /// State of the whole object's SHA-256 after this part; opaque here.
    pub sha256_state: Vec<u8>,
}

/// What is known once a copy is whole, published and proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Size of the object.
    pub bytes: u64,
    /// Bytes read from the source that no `Database::part_done` has counted yet; added.
    pub bytes_read: u64,
    /// Digest of the whole object.
    pub sha256: Sha256Digest,
    /// How the target's bytes were proved.
    pub verified: String,
    /// The target store's own.
    pub etag: Option<String>,
    /// What travelled with the object; empty leaves the row's as it is.
    pub metadata: BTreeMap<String, String>,
    /// Whether it was copied in parts. What was copied whole has none: those of another attempt went when it was claimed.
    pub in_parts: bool,
}

/// Where the record of a copy is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordPlace {
    /// The record object, where records lie in the store.
    pub object: Option<String>,
    /// The record's id, where the catalog gave it one of its own.
    pub id: Option<String>,
}

impl RecordPlace {
    /// In a record object.
    #[must_use]
    pub fn object(name: &str) -> Self {
        Self { object: Some(name.to_owned()), id: None }
    }
}
