//! Regions as they are written, but for their stores: in plans, and in the `runs` table.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::store::{reference, text};
use super::{BadStore, WrittenCloud, WrittenStore};
use crate::plan::{CatalogSpec, DEFAULT_QUOTA, Place, QuotaRule, Region, Tenants, TroveApiSpec, TroveDatabaseSpec};

/// One region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WrittenRegion {
    /// Its store.
    pub store: WrittenStore,
    /// The rest.
    #[serde(flatten)]
    pub records: WrittenRecords,
}

/// What a region says beside its store; left out where it is what holds anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenRecords {
    /// None for the store's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<WrittenCatalog>,
    /// As [`Region::tenants`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<WrittenTenants>,
    /// As [`Region::datastore_versions`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub datastore_versions: BTreeMap<String, String>,
    /// As [`Region::backup_key_present`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub backup_key_present: bool,
    /// As [`Region::copy_from`], where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_from: Option<bool>,
    /// As [`Region::copy_to`], where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_to: Option<bool>,
}

/// A catalog, by its type; references unexpanded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WrittenCatalog {
    /// Trove's database.
    TroveDatabase(WrittenTroveDatabase),
    /// Trove's API.
    TroveApi(WrittenTroveApi),
}

/// As [`TroveDatabaseSpec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenTroveDatabase {
    /// As [`TroveDatabaseSpec::url`].
    pub url: String,
    /// `ignore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<String>,
    /// Left out where it is [`DEFAULT_QUOTA`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_quota: Option<u32>,
}

/// As [`TroveApiSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenTroveApi {
    /// As [`TroveApiSpec::cloud`].
    #[serde(flatten)]
    pub cloud: WrittenCloud,
    /// As [`TroveApiSpec::endpoint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// As [`Tenants`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WrittenTenants {
    /// A path.
    File(String),
    /// Source and target.
    Map(BTreeMap<String, String>),
}

impl WrittenRegion {
    /// A region whose records lie in its store.
    #[must_use]
    pub fn with_store(store: WrittenStore) -> Self {
        Self { store, records: WrittenRecords::default() }
    }

    /// The region as it would be written.
    #[must_use]
    pub fn of(region: &Region) -> Self {
        Self { store: WrittenStore::of(&region.store), records: WrittenRecords::of(region) }
    }

    /// The region as meant; nothing of it is checked but what it takes to read it.
    ///
    /// # Errors
    /// [`BadStore`].
    pub fn to_spec(&self, name: Arc<str>) -> Result<Region, BadStore> {
        let records = &self.records;
        let catalog = match &records.catalog {
            None => CatalogSpec::Store,
            Some(WrittenCatalog::TroveDatabase(database)) => CatalogSpec::TroveDatabase(TroveDatabaseSpec {
                url: database.url.parse()?,
                quota: match database.quota.as_deref() {
                    Some("ignore") => QuotaRule::Ignore,
                    _ => QuotaRule::Respect,
                },
                default_quota: database.default_quota.unwrap_or(DEFAULT_QUOTA),
            }),
            Some(WrittenCatalog::TroveApi(api)) => CatalogSpec::TroveApi(TroveApiSpec {
                cloud: api.cloud.to_spec()?,
                endpoint: reference(api.endpoint.as_ref())?,
            }),
        };
        let tenants = match &records.tenants {
            None => None,
            Some(WrittenTenants::File(path)) => Some(Tenants::File(path.parse()?)),
            Some(WrittenTenants::Map(pairs)) => Some(Tenants::Map(pairs.clone().into_iter().collect())),
        };
        Ok(Region {
            name,
            store: self.store.to_spec()?,
            catalog,
            tenants,
            datastore_versions: records.datastore_versions.clone().into_iter().collect(),
            backup_key_present: records.backup_key_present,
            copy_from: records.copy_from.unwrap_or(true),
            copy_to: records.copy_to.unwrap_or(true),
            place: Place::default(),
        })
    }
}

impl WrittenRecords {
    fn of(region: &Region) -> Self {
        Self {
            catalog: match &region.catalog {
                CatalogSpec::Store => None,
                CatalogSpec::TroveDatabase(database) => Some(WrittenCatalog::TroveDatabase(WrittenTroveDatabase {
                    url: database.url.to_string(),
                    quota: (database.quota == QuotaRule::Ignore).then(|| "ignore".to_owned()),
                    default_quota: Some(database.default_quota).filter(|quota| *quota != DEFAULT_QUOTA),
                })),
                CatalogSpec::TroveApi(api) => Some(WrittenCatalog::TroveApi(WrittenTroveApi {
                    cloud: WrittenCloud::of(&api.cloud),
                    endpoint: text(api.endpoint.as_ref()),
                })),
            },
            tenants: region.tenants.as_ref().map(|tenants| match tenants {
                Tenants::File(path) => WrittenTenants::File(path.to_string()),
                Tenants::Map(pairs) => WrittenTenants::Map(pairs.iter().cloned().collect()),
            }),
            datastore_versions: region.datastore_versions.iter().cloned().collect(),
            backup_key_present: region.backup_key_present,
            copy_from: (!region.copy_from).then_some(false),
            copy_to: (!region.copy_to).then_some(false),
        }
    }
}
