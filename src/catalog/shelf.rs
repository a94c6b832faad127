//! The catalog `store`: records are NDJSON objects in the region's own store, so that a vault describes itself.

use std::future::Future;

use bytes::Bytes;

use super::{Catalog, CatalogError, Ledger, Record};
use crate::failure::{Cause, Failure};
use crate::id::Sha256Digest;

/// Where record objects lie in a store.
pub const RECORDS_FOLDER: &str = ".backhaul/records/";

/// How names of record objects end.
const RECORDS_EXTENSION: &str = ".ndjson";

/// What a [`Shelf`] could not do.
#[derive(Debug, Clone)]
pub enum ShelfError {
    /// Another object lies under the name.
    Exists,
    /// No object lies under the name.
    Missing,
    /// Anything else.
    Failed(Failure),
}

/// The little that a catalog of records needs of a store. Stores and catalogs do not know each other; `register`
/// joins them.
pub trait Shelf {
    /// Names under a prefix, in byte order.
    ///
    /// # Errors
    /// [`ShelfError::Failed`].
    fn names(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, ShelfError>> + Send;

    /// A whole small object.
    ///
    /// # Errors
    /// [`ShelfError::Missing`] or [`ShelfError::Failed`].
    fn get(&self, name: &str) -> impl Future<Output = Result<Bytes, ShelfError>> + Send;

    /// Stores a whole small object durably; never replaces one. What a crash left of an earlier call with the same
    /// name is taken away.
    ///
    /// # Errors
    /// [`ShelfError::Exists`] or [`ShelfError::Failed`].
    fn create(&self, name: &str, bytes: Bytes) -> impl Future<Output = Result<(), ShelfError>> + Send;
}

/// The records in one store.
#[derive(Debug, Clone)]
pub struct StoreCatalog<S> {
    shelf: S,
}

/// The name of the record object of a batch.
#[must_use]
pub fn record_object(batch: &str) -> String {
    format!("{RECORDS_FOLDER}{batch}{RECORDS_EXTENSION}")
}

/// The batch of a record object.
#[must_use]
pub fn batch_of(object: &str) -> &str {
    let name = object.strip_prefix(RECORDS_FOLDER).unwrap_or(object);
    name.strip_suffix(RECORDS_EXTENSION).unwrap_or(name)
}

impl<S: Shelf + Sync> StoreCatalog<S> {
    /// The records on a shelf.
    pub const fn new(shelf: S) -> Self {
        Self { shelf }
    }
}

impl<S: Shelf + Sync> Catalog for StoreCatalog<S> {
    async fn ledger(&self) -> Result<Ledger, CatalogError> {
        let mut ledger = Ledger::default();
        let mut names = self.shelf.names(RECORDS_FOLDER).await.map_err(said)?;
        // What file managers and NFS leave in a folder is no record of ours.
        names.retain(|name| name.ends_with(RECORDS_EXTENSION));
        for name in names {
            let text = self.shelf.get(&name).await.map_err(said)?;
            ledger.add(&name, &text);
        }
        match ledger.unreadable().first() {
            None => Ok(ledger),
            Some(line) => Err(CatalogError(
                Failure::new(
                    Cause::RecordConflict,
                    format!("cannot read record object `{}`, line {}: {}", line.object, line.line, line.reason),
                )
                .hint("it was damaged, or written by a newer Backhaul; move it away to go on without its records"),
            )),
        }
    }

    async fn register(&self, batch: &str, records: &[Record]) -> Result<(), CatalogError> {
        let name = record_object(batch);
        let mut text = Vec::new();
        for record in records {
            serde_json::to_writer(&mut text, record).expect("a record has only text keys");
            text.push(b'\n');
        }
        match self.shelf.create(&name, text.into()).await {
            Ok(()) => Ok(()),
            // Ours, from before a crash: the name is a fresh UUID that only the database knew.
            Err(ShelfError::Exists) => self.check_batch(&name, records).await,
            Err(error) => Err(said(error)),
        }
    }
}

impl<S: Shelf + Sync> StoreCatalog<S> {
    /// Makes sure that nothing is registered in a batch any more: its record object is there afterwards, empty if nobody
    /// has written it before. (No line is lost by that, and whoever comes later finds its name taken.)
    ///
    /// # Errors
    /// [`CatalogError`] when the store cannot be written.
    pub async fn close(&self, batch: &str) -> Result<(), CatalogError> {
        match self.shelf.create(&record_object(batch), Bytes::new()).await {
            Ok(()) | Err(ShelfError::Exists) => Ok(()),
            Err(error) => Err(said(error)),
        }
    }

    /// Makes sure that the record object that is there says what `records` say.
    async fn check_batch(&self, name: &str, records: &[Record]) -> Result<(), CatalogError> {
        let text = self.shelf.get(name).await.map_err(said)?;
        let mut there = Ledger::default();
        there.add(name, &text);
        let same = |record: &Record| {
            there.get(record.id).is_some_and(|other| -> bool {
                let facts =
                    |record: &Record| -> (Option<Sha256Digest>, String) { (record.sha256, record.location.clone()) };
                facts(other) == facts(record)
            })
        };
        match records.iter().find(|record| !same(record)) {
            None => Ok(()),
            Some(record) => Err(CatalogError(Failure::new(
                Cause::RecordConflict,
                format!("record object `{name}` is there and does not hold the record of `{}`", record.id),
            ))),
        }
    }
}

fn said(error: ShelfError) -> CatalogError {
    CatalogError(match error {
        ShelfError::Failed(failure) => failure,
        ShelfError::Missing => Failure::new(Cause::SourceError, "a record object went away while it was read"),
        ShelfError::Exists => Failure::new(Cause::RecordConflict, "a record object with that name is there already"),
    })
}
