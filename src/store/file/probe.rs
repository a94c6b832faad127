//! A try whether the folder can be written, which leaves nothing behind.

use uuid::Uuid;

use super::FileStore;
use super::root::Root;
use super::write::{abandon, begin, part};
use crate::id::Key;
use crate::store::StoreError;

impl FileStore {
    /// As [`Store::probe`](crate::store::Store::probe): a temporary file of one byte is made and removed. Of a folder
    /// that is not there yet the nearest one above is asked, in which it would be made.
    ///
    /// # Errors
    /// As [`Target::begin`](crate::store::Target::begin).
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.blocking(|root| match root.nearest()? {
            Some(above) => probe(&above),
            None => probe(root),
        })
        .await
    }
}

fn probe(root: &Root) -> Result<(), StoreError> {
    let key = Key::parse_any(".backhaul-probe").expect("a key of our own");
    let upload = begin(root, &key, &Uuid::new_v4().simple().to_string(), 1)?;
    let written = part(root, &upload, 0, b"?");
    abandon(root, &upload)?;
    written
}
