//! Trove by either of its ways.

use super::{DatastoreVersion, NewBackup, Quota, TroveApi, TroveDatabase};
use crate::catalog::{CatalogError, Ledger};
use crate::failure::Failure;

/// A region's Trove. Clones share connections and tokens.
#[derive(Debug, Clone)]
pub enum Trove {
    /// By its database.
    Database(TroveDatabase),
    /// By its API.
    Api(TroveApi),
}

impl Trove {
    /// Waits until what somebody who went away may have asked of it is there to be seen. A database has undone or done it
    /// before it lets others look.
    pub async fn settle(&self) {
        if let Self::Api(api) = self {
            api.settle().await;
        }
    }

    /// All backups, or those of some tenants. Who may not see those of all sees his own project's, and the ledger says so.
    ///
    /// # Errors
    /// The failure of a catalog that cannot be read.
    pub async fn ledger(&self, tenants: Option<&[String]>) -> Result<Ledger, Failure> {
        let ledger = match self {
            Self::Database(database) => database.ledger(tenants).await,
            Self::Api(api) => api.ledger(tenants).await,
        };
        ledger.map_err(|CatalogError(failure)| failure)
    }

    /// All datastore versions. `project` is any that something is to be registered in: whose token is for no project of its
    /// own asks with one of that.
    ///
    /// # Errors
    /// As [`Trove::ledger`].
    pub async fn versions(&self, project: Option<&str>) -> Result<Vec<DatastoreVersion>, Failure> {
        match self {
            Self::Database(database) => database.versions().await,
            Self::Api(api) => api.versions(project).await,
        }
    }

    /// How many backups a tenant may have, and has.
    ///
    /// # Errors
    /// As [`Trove::ledger`].
    pub async fn quota(&self, tenant: &str) -> Result<Quota, Failure> {
        match self {
            Self::Database(database) => database.quota(tenant).await,
            Self::Api(api) => api.quota(tenant).await,
        }
    }

    /// Whether it can hold a name and a description.
    ///
    /// # Errors
    /// A failure that says what is too much.
    pub fn holds(&self, name: &str, description: Option<&str>) -> Result<(), Failure> {
        match self {
            Self::Database(database) => database.holds(name, description),
            Self::Api(_) => super::check_texts(name, description, true),
        }
    }

    /// Registers a copy and gives its record's id. Safe to repeat.
    ///
    /// # Errors
    /// A failure of the step.
    pub async fn register(&self, new: &NewBackup) -> Result<String, Failure> {
        match self {
            Self::Database(database) => database.register(new).await.map(|()| new.id.to_string()),
            Self::Api(api) => api.register(new).await,
        }
    }

    /// What it has that Backhaul does not move, a line each, as far as it can be seen this way.
    pub async fn not_moved(&self) -> Vec<String> {
        match self {
            Self::Database(database) => database.not_moved().await,
            Self::Api(_) => {
                vec!["backup strategies and quotas are not moved; this catalog does not show them".to_owned()]
            }
        }
    }

    /// Whether an object of several segments must be written to its store as one piece, because it could not be registered
    /// else.
    #[must_use]
    pub const fn needs_plain_objects(&self) -> bool {
        matches!(self, Self::Api(_))
    }
}
