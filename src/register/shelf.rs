//! A store as a shelf for record objects.

use bytes::Bytes;
use uuid::Uuid;

use crate::catalog::{Shelf, ShelfError, record_object};
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::store::{Metadata, ObjectFacts, Pin, Proof, Source, Store, StoreError, StoreErrorKind, Target, Upload};

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
            Ok(key) => self.store.abandon(&Upload { token: token(&name), key, upload_id: None, parts: 1 }).await,
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
            if facts.size == 0 {
                return Ok(Bytes::new());
            }
            let pin = Pin { etag: facts.etag, size: facts.size };
            self.store.read(&key, 0..facts.size, &pin, &|_| ()).await.map(|read| read.bytes)
        };
        read.await.map_err(|error| match error.kind {
            StoreErrorKind::Missing => ShelfError::Missing,
            _ => ShelfError::Failed(error.of_source()),
        })
    }

    async fn create(&self, name: &str, bytes: Bytes) -> Result<(), ShelfError> {
        let key = key(name)?;
        crate::fault::point("before-record");
        match self.store.put(&key, &token(name), bytes.clone(), &record_type()).await {
            Ok((facts, Proof::None)) => self.read_back(&key, facts, &bytes).await,
            Ok(_) => Ok(()),
            Err(error) if error.kind == StoreErrorKind::Exists => Err(ShelfError::Exists),
            Err(error) => Err(failed(error)),
        }
    }
}

impl RecordShelf {
    /// For stores that show nothing of what they hold.
    async fn read_back(&self, key: &Key, facts: ObjectFacts, bytes: &Bytes) -> Result<(), ShelfError> {
        let pin = Pin { etag: facts.etag, size: bytes.len() as u64 };
        let there = self.store.read(key, 0..pin.size, &pin, &|_| ()).await.map_err(failed)?;
        if there.bytes == *bytes {
            return Ok(());
        }
        self.store.take_back(key, &pin.etag).await.map_err(failed)?;
        let message = format!("the target holds other bytes of the record object `{key}` than were sent");
        Err(ShelfError::Failed(Failure::new(Cause::Integrity, message)))
    }
}

/// Lines of JSON.
fn record_type() -> Metadata {
    Metadata::from([("content-type".to_owned(), "application/x-ndjson".to_owned())])
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
