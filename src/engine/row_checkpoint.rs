//! A copy's checkpoints as rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Engine;
use crate::copy::{Checkpoint, Part};
use crate::database::{Claim, DatabaseError, PartRow};
use crate::store::Upload;

/// What a copy has done, written down under its claim.
pub(super) struct RowCheckpoint<'a> {
    engine: &'a Engine,
    item: u32,
    claim: Claim,
    /// Bytes read from the source that no row counts yet.
    unrecorded: AtomicU64,
    /// As the row has it.
    upload_id: Mutex<Option<String>>,
}

impl<'a> RowCheckpoint<'a> {
    pub(super) const fn new(engine: &'a Engine, item: u32, claim: Claim, upload_id: Option<String>) -> Self {
        Self { engine, item, claim, unrecorded: AtomicU64::new(0), upload_id: Mutex::new(upload_id) }
    }

    pub(super) fn upload_id(&self) -> Option<String> {
        self.upload_id.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_upload_id(&self, upload: &Upload) {
        self.upload_id.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&upload.upload_id);
    }

    pub(super) fn unrecorded(&self) -> u64 {
        self.unrecorded.swap(0, Ordering::Relaxed)
    }
}

impl Checkpoint for RowCheckpoint<'_> {
    type Error = DatabaseError;

    async fn begun(&self, upload: &Upload) -> Result<bool, DatabaseError> {
        self.set_upload_id(upload);
        match &upload.upload_id {
            Some(upload_id) => self.engine.database.upload_begun(self.claim, upload_id).await,
            None => Ok(true),
        }
    }

    async fn part_done(&self, part: &Part, upload: &Upload) -> Result<bool, DatabaseError> {
        let row = PartRow {
            number: part.number,
            size: part.stored.size,
            reference: part.stored.reference.is_some().then(|| part.stored.to_text()),
            sha256_state: part.state.clone(),
        };
        self.set_upload_id(upload);
        let upload_id = upload.upload_id.as_deref();
        self.engine.database.part_done(self.claim, row, upload_id, self.unrecorded()).await
    }

    fn stored(&self, bytes: u64) {
        self.engine.board.set_stored(self.item, bytes);
    }

    fn read(&self, bytes: u64) {
        self.unrecorded.fetch_add(bytes, Ordering::Relaxed);
        self.engine.board.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.engine.board.add_moving(self.item, bytes);
    }
}
