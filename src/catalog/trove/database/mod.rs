//! Trove's own database as a catalog: its backups are read, and copies registered, by SQL.
//!
//! The user needs SELECT on `backups`, `datastores`, `datastore_versions`, `quotas` and `quota_usages`; to register
//! also INSERT on `backups`, and INSERT and UPDATE on `quota_usages`. No row of another's is ever changed.

mod beside;
mod connect;
mod error;
mod read;
mod register;

use std::sync::Arc;

use sea_orm::DatabaseConnection;

use super::new_backup::check_texts;
use crate::failure::Failure;
use crate::sql::Kind;

use connect::Schema;

pub use crate::sql::{Address, AddressError};

/// Whether Trove's quotas hold for copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotaRule {
    /// Nobody gets more backups than he may have.
    #[default]
    Respect,
    /// Copies count, but are not stopped: for an evacuation.
    Ignore,
}

/// An open Trove database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct TroveDatabase {
    connection: DatabaseConnection,
    kind: Kind,
    schema: Schema,
    /// The address as shown to people.
    name: Arc<str>,
    quota: QuotaRule,
    default_quota: u32,
}

impl TroveDatabase {
    /// Connects, and looks what this Trove's tables have. `default_quota` is what `trove.conf` says for a tenant without
    /// a quota of his own.
    ///
    /// # Errors
    /// A failure in seconds where nobody answers, and one with a hint where the user may not enter or read.
    pub async fn connect(address: &Address, quota: QuotaRule, default_quota: u32) -> Result<Self, Failure> {
        let name: Arc<str> = address.to_string().into();
        let opened = async {
            let connection = connect::connect(address).await?;
            let schema = connect::schema(&connection, address.kind()).await?;
            Ok::<_, error::Trouble>((connection, schema))
        };
        let (connection, schema) = opened.await.map_err(|trouble| trouble.of_reading(&name))?;
        Ok(Self { connection, kind: address.kind(), schema, name, quota, default_quota })
    }

    /// What it is, without user and password: the catalog's identity.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its tables can hold a name and a description; to be asked before anything is copied.
    ///
    /// # Errors
    /// As [`check_texts`].
    pub fn holds(&self, name: &str, description: Option<&str>) -> Result<(), Failure> {
        check_texts(name, description, self.schema.narrow)
    }

    /// Closes its connections.
    pub async fn close(&self) {
        // Nothing is lost where that fails: every transaction has ended before.
        let _closed = self.connection.close_by_ref().await;
    }
}
