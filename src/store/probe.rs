//! Whether a store lets us write, tried.

use super::{Key, Store, StoreError};

impl Store {
    /// Tries whether an object can be written, by a write beside it that leaves nothing behind.
    ///
    /// # Errors
    /// As [`Target::begin`](super::Target::begin).
    pub async fn probe(&self, key: &Key) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.probe().await,
            Self::Bucket(store) => store.probe().await,
            Self::Swift(store) => store.probe(key).await,
        }
    }

    /// The part of a key whose objects are all written by one right; empty where that is the whole store.
    #[must_use]
    pub fn container_of<'k>(&self, key: &'k Key) -> &'k str {
        match self {
            Self::File(_) | Self::Bucket(_) => "",
            Self::Swift(store) => store.container_of(key),
        }
    }
}
