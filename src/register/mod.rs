//! Copies put into the target's catalog. The only place that uses a store and a catalog together.

mod links;
mod records;
mod shelf;
mod sound;
mod trove;

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::catalog::trove::Trove;
use crate::catalog::{Catalog, CatalogError, Ledger, Record};
use crate::database::{Database, Row};
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::regions::{Access, Regions};
use crate::store::{Store, StoreError};

pub use links::Parent;
pub use shelf::RecordShelf;

/// A region's catalog, with the store that its records speak of.
#[derive(Debug, Clone)]
pub struct Registry {
    store: Store,
    /// None where records lie in the store itself.
    trove: Option<Trove>,
}

/// Whether those who began a batch may still write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authors {
    /// The database was theirs alone, and is ours now.
    AreGone,
    /// A runner that was stopped, or a request that a store got late.
    MayWakeUp,
}

impl Authors {
    /// Of batches that rows of this database name.
    #[must_use]
    pub fn of(database: &Database) -> Self {
        if database.runner().is_some() { Self::MayWakeUp } else { Self::AreGone }
    }
}

/// One copy that its catalog has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entered {
    /// The batch that its record is in, where records lie in the store.
    pub record: Option<String>,
    /// The record's id, where the catalog gave it one of its own.
    pub registered_id: Option<String>,
}

impl Entered {
    fn in_object(batch: &str) -> Self {
        Self { record: Some(batch.to_owned()), registered_id: None }
    }
}

/// What registering a batch came to.
#[derive(Debug, Default)]
pub struct Registered {
    /// What is in the catalog now.
    pub done: HashMap<Uuid, Entered>,
    /// Ids that are not registered, and why.
    pub refused: HashMap<Uuid, Failure>,
}

impl Registry {
    /// The catalog of region number `index`, as that of a source: what is not there is an error.
    ///
    /// # Errors
    /// A failure of cause `unreachable`.
    pub async fn of_source(regions: &Regions, index: usize) -> Result<Self, Failure> {
        Ok(Self { store: regions.source(index).await?, trove: regions.trove(index).await? })
    }

    /// The catalog of region number `index`, as that of a target.
    ///
    /// # Errors
    /// As [`Registry::of_source`].
    pub async fn of_target(regions: &Regions, index: usize, access: Access) -> Result<Self, Failure> {
        Ok(Self { store: regions.target(index, access).await?, trove: regions.trove(index).await? })
    }

    /// The records in a store itself.
    #[must_use]
    pub const fn records_in(store: Store) -> Self {
        Self { store, trove: None }
    }

    /// The region's store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Trove, where it is the catalog.
    #[must_use]
    pub const fn trove(&self) -> Option<&Trove> {
        self.trove.as_ref()
    }

    /// All records, or those of some tenants where the catalog can tell; with locations as the store has them.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub async fn ledger(&self, tenants: Option<&BTreeSet<String>>) -> Result<Ledger, CatalogError> {
        let Some(trove) = &self.trove else { return records::catalog(self.store.clone()).ledger().await };
        let tenants = tenants.map(|tenants| tenants.iter().cloned().collect::<Vec<_>>());
        let ledger = trove.ledger(tenants.as_deref()).await.map_err(CatalogError)?;
        let Store::Swift(swift) = &self.store else { return Ok(ledger) };
        if swift.is_per_tenant() {
            return Ok(ledger);
        }
        let own = swift.own_account().await.map_err(|error| CatalogError(error.of_source()))?;
        Ok(ledger.map(|record| in_own_account(record, &own)))
    }

    /// Puts the records of verified copies into the catalog. `ledger` holds all that was in it when the run began, which
    /// is enough: a run registers each row once. Safe to repeat: a record that is there and says the same is not written
    /// again. `parents` are those of incrementals, by the parents' target ids.
    ///
    /// In a store they are one batch, all or none, and `batch` is in the database before this is called, so that what
    /// a crash leaves of it is found again. In Trove each stands for itself.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be written: then nothing was registered.
    pub async fn register(
        &self,
        ledger: &Ledger,
        batch: Uuid,
        rows: &[&Row],
        parents: &HashMap<Uuid, Parent>,
        now_ms: i64,
    ) -> Result<Registered, CatalogError> {
        if let (Store::Swift(swift), Some(trove)) = (&self.store, &self.trove) {
            return Ok(trove::register(swift, trove, ledger, rows, parents).await);
        }
        let (linked, refused) = linked(&self.store, rows, parents).await;
        let mut registered = records::register(&self.store, ledger, batch, &linked, now_ms).await?;
        registered.refused.extend(refused);
        Ok(registered)
    }

    /// Takes away what earlier batches of these rows left unpublished, if a crash ended them; or waits, where it cannot be
    /// seen, until it is done. Whatever their `authors` write of these batches afterwards registers nothing. Safe to repeat.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub async fn settle(&self, rows: impl IntoIterator<Item = &Row>, authors: Authors) -> Result<(), CatalogError> {
        match &self.trove {
            Some(trove) => {
                let is_begun = |row: &Row| row.completed_ms.is_none() && row.record.is_some();
                if rows.into_iter().any(is_begun) {
                    trove.settle().await;
                }
                Ok(())
            }
            None => records::settle(&self.store, rows, authors).await,
        }
    }

    /// Appends the line that says a registered copy is broken or gone. Rows of Trove's are its owners' and stay.
    ///
    /// # Errors
    /// As [`Registry::register`].
    pub async fn record_failure(&self, batch: Uuid, row: &Row, reason: &str, now_ms: i64) -> Result<(), CatalogError> {
        match self.trove {
            Some(_) => Ok(()),
            None => records::record_failure(&self.store, batch, row, reason, now_ms).await,
        }
    }

    /// Whether a record says of a copy what its row says.
    #[must_use]
    pub fn says(&self, there: &Record, row: &Row) -> bool {
        match self.trove {
            Some(_) => trove::says(there, row),
            None => records::says(there, row),
        }
    }

    /// The copy `row` as a parent of others.
    #[must_use]
    pub fn parent(row: &Row) -> Option<Parent> {
        Some(Parent {
            record: row.registered_id.clone().unwrap_or_else(|| row.id.to_string()),
            location: row.location.clone()?,
            etag: row.etag.clone().unwrap_or_default(),
        })
    }

    /// The registered copy `id` as a parent of others, where no row tells.
    ///
    /// # Errors
    /// A failure of the step, where the copy's object cannot be seen; [`Cause::ParentMissing`] where it is not what its
    /// record says.
    pub async fn recorded_parent(&self, ledger: &Ledger, id: Uuid) -> Result<Option<Parent>, Failure> {
        let Some(record) = ledger.copy_of(id).filter(|record| record.is_restorable()) else { return Ok(None) };
        let key: Key = record.key()?;
        let facts = crate::store::Source::head(&self.store, &key).await.map_err(StoreError::of_target)?;
        let other_size = record.bytes.is_some_and(|bytes| bytes != facts.size);
        // Only Trove's records have the `ETag` of the object in this store.
        let other_etag = self.trove.is_some() && record.checksum.as_ref().is_some_and(|etag| *etag != facts.etag);
        if other_size || other_etag {
            let message = format!("the parent's copy `{key}` is not what its record `{}` says", record.id);
            return Err(Failure::new(Cause::ParentMissing, message));
        }
        Ok(Some(Parent { record: record.id.to_string(), location: key.to_string(), etag: facts.etag }))
    }
}

/// Writes the links of incrementals where the store keeps links, before a record says that they can be restored. Gives
/// those whose parents, and links, stand.
async fn linked<'a>(
    store: &Store,
    rows: &[&'a Row],
    parents: &HashMap<Uuid, Parent>,
) -> (Vec<&'a Row>, HashMap<Uuid, Failure>) {
    let (mut linked, mut refused) = (Vec::with_capacity(rows.len()), HashMap::new());
    for row in rows {
        let link = match (row.parent_id.map(|parent| parents.get(&parent)), store) {
            (Some(None), _) => Err(without_parent(row)),
            (Some(parent), Store::Swift(swift)) => links::link(swift, row, parent).await,
            _ => Ok(()),
        };
        match link {
            Ok(()) => linked.push(*row),
            Err(failure) => {
                refused.insert(row.id, failure);
            }
        }
    }
    (linked, refused)
}

/// An incremental alone cannot be restored.
fn without_parent(row: &Row) -> Failure {
    let message = format!(
        "the parent of `{}` is not registered in region `{}`, or its copy is gone or is not what its record says",
        row.name, row.region
    );
    Failure::new(Cause::ParentMissing, message)
        .hint("put the parent into the plan; backhaul verify tells which copies are sound")
}

/// A store of one account names objects without it.
fn in_own_account(mut record: Record, own: &str) -> Record {
    match record.location.split_once('/') {
        Some((account, rest)) if account == own => record.location = rest.to_owned(),
        Some((account, _)) if record.unusable.is_none() => {
            let message = format!(
                "the object of backup `{}` lies in account `{account}`, and the region's store is `{own}` alone",
                record.id
            );
            record.unusable = Some(
                Failure::new(Cause::SourceUnreadable, message)
                    .hint("write `account: per-tenant` for the region's store"),
            );
        }
        _ => {}
    }
    record
}
