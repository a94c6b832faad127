//! A try whether the bucket can be written, which leaves nothing behind.

use uuid::Uuid;

use super::BucketStore;
use crate::id::Key;
use crate::store::{Metadata, Shape, StoreError, Target};

impl BucketStore {
    /// As [`Store::probe`](crate::store::Store::probe): an upload of several parts is begun and aborted.
    ///
    /// # Errors
    /// As [`Target::begin`]; that of aborting names the upload, which then is still there.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let token = Uuid::new_v4().simple().to_string();
        let key = Key::parse_any(&format!(".backhaul/probe-{token}")).expect("a key of our own");
        let upload = self.begin(&key, &token, Shape { size: 2, part_size: 1, metadata: &Metadata::new() }).await?;
        self.abandon(&upload).await
    }
}
