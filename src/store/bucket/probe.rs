//! A try whether the bucket can be written, which leaves nothing behind.

use bytes::Bytes;
use uuid::Uuid;

use super::{BucketStore, Cloud};
use crate::id::Key;
use crate::store::{Layout, Metadata, Shape, StoreError, Target};

impl BucketStore {
    /// As [`Store::probe`](crate::store::Store::probe): an upload of several parts is begun and aborted. Azure knows of
    /// none until a block is stored, which nobody ever sees and which vanishes after a week.
    ///
    /// # Errors
    /// As [`Target::begin`]; that of aborting names the upload, which then is still there.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let token = Uuid::new_v4().simple().to_string();
        let key = Key::parse_any(&format!(".backhaul/probe-{token}")).expect("a key of our own");
        let upload = self
            .begin(&key, &token, Shape { layout: &Layout::Equal { size: 2, part_size: 1 }, metadata: &Metadata::new() })
            .await?;
        if let Cloud::Azure(_) = self.inner.cloud {
            self.part(&upload, 0, 0, Bytes::from_static(b"?")).await?;
        }
        self.abandon(&upload).await
    }
}
