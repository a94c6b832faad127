//! A copy's checkpoints as rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Engine;
use crate::copy::{Checkpoint, Part};
use crate::database::{Claim, Database, DatabaseError, PartRow};
use crate::store::{Store, Target, Upload};
use crate::task::to_its_end;

/// What a copy has done, written down under its claim.
pub(super) struct RowCheckpoint<'a> {
    engine: &'a Engine,
    item: u32,
    claim: Claim,
    target: &'a Store,
    /// Bytes read from the source that no row counts yet.
    unrecorded: AtomicU64,
    /// As the row has it.
    upload_id: Mutex<Option<String>>,
}

impl<'a> RowCheckpoint<'a> {
    pub(super) const fn new(
        engine: &'a Engine,
        item: u32,
        claim: Claim,
        target: &'a Store,
        upload_id: Option<String>,
    ) -> Self {
        Self { engine, item, claim, target, unrecorded: AtomicU64::new(0), upload_id: Mutex::new(upload_id) }
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
        let Some(upload_id) = upload.upload_id.clone() else { return Ok(true) };
        let (database, claim) = (self.engine.database.clone(), self.claim);
        let (store, upload) = (self.target.clone(), upload.clone());
        // The step may be cut off meanwhile: then this runner is the only one that knows of the upload.
        let written = to_its_end(async move {
            crate::fault::point("before-upload-row");
            let written = database.upload_begun(claim, &upload_id).await;
            if matches!(written, Ok(false) | Err(DatabaseError::LeaseEnded { .. })) {
                tokio::spawn(abort_if_unknown(database, claim, store, upload));
            }
            written
        });
        // None: the process is about to end.
        written.await.unwrap_or(Ok(false))
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

/// Aborts an upload that no row names: whoever took the row over has looked for it before it was there.
async fn abort_if_unknown(database: Database, claim: Claim, store: Store, upload: Upload) {
    if let Ok(rows) = database.rows(&[claim.id()]).await
        && rows.iter().all(|row| row.upload_id != upload.upload_id)
    {
        // Best effort.
        let _aborted = store.abandon(&upload).await;
    }
}
