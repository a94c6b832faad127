//! A store as a shelf for record objects.

use bytes::Bytes;
use uuid::Uuid;

use crate::catalog::{Shelf, ShelfError, record_object};
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::store::{Pin, Source, Store, StoreError, StoreErrorKind, Target, Upload};

/// Puts record objects into a [`Store`] the way copies are put there: staged, proved, published create-only.
#[derive(Debug, Clone)]
pub struct RecordShelf {
    store: Store,
}

impl RecordShelf {
    /// The shelf of `store`.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// Takes away what a crash left of the record object of `batch`; a published one is not touched.
    ///
    /// # Errors
    /// As [`Target::abandon`].
    pub async fn settle(&self, batch: &str) -> Result<(), StoreError> {
        let name = record_object(batch);
        match key(&name) {
            Ok(key) => self.store.abandon(&Upload { token: token(&name), key, upload_id: None }).await,
            Err(_) => Ok(()),
        }
    }
}

impl Shelf for RecordShelf {
    async fn names(&self, prefix: &str) -> Result<Vec<String>, ShelfError> {
        let listed = self.store.list(prefix).await.map_err(|error| ShelfError::Failed(error.of_source()))?;
        Ok(listed.into_iter().map(|object| object.key.to_string()).collect())
    }

    async fn get(&self, name: &str) -> Result<Bytes, ShelfError> {
        let key = key(name)?;
        let read = async {
            let facts = self.store.head(&key).await?;
            self.store.read(&key, 0..facts.size, &Pin { etag: facts.etag, size: facts.size }, &|_| ()).await
        };
        read.await.map_err(|error| match error.kind {
            StoreErrorKind::Missing => ShelfError::Missing,
            _ => ShelfError::Failed(error.of_source()),
        })
    }

    async fn create(&self, name: &str, bytes: Bytes) -> Result<(), ShelfError> {
        let key = key(name)?;
        let size = bytes.len() as u64;
        let upload = self.store.begin(&key, &token(name), 1, false).await.map_err(failed)?;
        self.store.part(&upload, 0, bytes).await.map_err(failed)?;
        crate::fault::point("before-record");
        match self.store.publish(&upload, size).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == StoreErrorKind::Exists => {
                self.store.abandon(&upload).await.map_err(failed)?;
                Err(ShelfError::Exists)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: StoreError) -> ShelfError {
    ShelfError::Failed(error.of_target())
}

fn key(name: &str) -> Result<Key, ShelfError> {
    Key::parse_any(name).map_err(|error| {
        ShelfError::Failed(Failure::new(Cause::RecordConflict, format!("bad record object name `{name}`: it {error}")))
    })
}

/// The temporary of a record object is found again from its name alone.
fn token(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).simple().to_string()
}
