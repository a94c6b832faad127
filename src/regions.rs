//! Regions that are contacted: references resolved, stores opened, each once and only when it is needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::failure::{Cause, Failure};
use crate::plan::{CatalogSpec, Place, Reference, Region, StoreSpec};
use crate::store::{FileStore, Store, Throttle};

/// Parts of one object: the least that any store takes (AWS and GCS, "Multipart upload limits").
const PARTS_MAX: u64 = 10_000;

const MIB: u64 = 1024 * 1024;

/// How far a command may go with a target region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only looks. A target folder that is not there yet counts as an empty one.
    Look,
    /// Writes copies and records; a target folder that is not there is made.
    Write,
}

/// Regions as text for the `runs` table, so that later commands need no plan file: paths absolute, `${…}` unexpanded.
///
/// # Panics
/// Never: texts serialize.
#[must_use]
pub fn as_written(regions: &[Region], folder: &Path) -> String {
    let stored = regions.iter().map(|region| {
        let StoreSpec::File { path, identity } = &region.store;
        // What starts with a reference may be absolute once it is resolved, and then `join` lets it be.
        StoredRegion {
            name: region.name.to_string(),
            store: "file".to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            path: path.as_str().to_owned(),
            identity: identity.clone(),
        }
    });
    serde_json::to_string(&stored.collect::<Vec<_>>()).expect("texts serialize")
}

/// The regions of a recorded run, to be looked at only, without limits.
///
/// # Errors
/// When the text is not what [`as_written`] of this version writes.
pub fn recorded(text: &str, environment: &Environment) -> Result<Regions, serde_json::Error> {
    let stored: Vec<StoredRegion> = serde_json::from_str(text)?;
    let folder = stored.first().map(|region| PathBuf::from(&region.folder)).unwrap_or_default();
    let specs = stored.into_iter().map(|region| {
        let path: Reference = region.path.parse().map_err(serde::de::Error::custom)?;
        Ok(Region {
            name: region.name.as_str().into(),
            store: StoreSpec::File { path, identity: region.identity },
            catalog: CatalogSpec::Store,
            place: Place::default(),
        })
    });
    let specs: Vec<Region> = specs.collect::<Result<_, serde_json::Error>>()?;
    let throttles = specs.iter().map(|_| Throttle::unlimited()).collect();
    Ok(Regions::new(&folder, environment.clone(), specs, throttles))
}

/// One region in the `runs` table.
#[derive(Serialize, Deserialize)]
struct StoredRegion {
    name: String,
    store: String,
    folder: String,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
}

/// Why a region is opened.
#[derive(Debug, Clone, Copy)]
enum Role {
    Source,
    Look,
    Target,
}

impl Role {
    const COUNT: usize = 3;
}

/// Looks up an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// The process's own environment; a value that is not UTF-8 counts as unset.
#[must_use]
pub fn process_environment() -> Environment {
    Arc::new(|name| std::env::var(name).ok())
}

/// The regions of a plan, opened on first use.
pub struct Regions {
    folder: PathBuf,
    environment: Environment,
    specs: Vec<Region>,
    throttles: Vec<Throttle>,
    /// By region and role. Only what was opened is kept: what cannot be reached now may be reached later.
    opened: Vec<[OnceCell<Store>; Role::COUNT]>,
}

impl std::fmt::Debug for Regions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Regions").field("specs", &self.specs).finish_non_exhaustive()
    }
}

impl Regions {
    /// Regions as written, with the limits of each, in the same order. Contacts nothing.
    #[must_use]
    pub fn new(folder: &Path, environment: Environment, specs: Vec<Region>, throttles: Vec<Throttle>) -> Self {
        let opened = specs.iter().map(|_| Default::default()).collect();
        Self { folder: folder.to_owned(), environment, specs, throttles, opened }
    }

    /// The store of region number `index`, whose folder must be there: to read from, or to look at recorded work.
    ///
    /// # Errors
    /// A failure of cause `unreachable`: an unset variable, or a folder that is not there.
    pub async fn source(&self, index: usize) -> Result<Store, Failure> {
        self.open(index, Role::Source).await
    }

    /// The store of region number `index`, to write to.
    ///
    /// # Errors
    /// As [`Regions::source`].
    pub async fn target(&self, index: usize, access: Access) -> Result<Store, Failure> {
        self.open(index, if access == Access::Write { Role::Target } else { Role::Look }).await
    }

    /// What the store of a region is, whether its folder is there or not.
    ///
    /// # Errors
    /// As [`Regions::source`], but never because the folder is not there.
    pub async fn identity(&self, index: usize) -> Result<String, Failure> {
        self.target(index, Access::Look).await.map(|store| store.identity().to_owned())
    }

    /// Size of the parts in which an object of `size` bytes is copied into a region, in bytes: `wanted` by the plan, at
    /// least what the store takes, and so many MiB more that there are at most 10,000 parts.
    #[must_use]
    pub fn part_size(&self, index: usize, wanted: u64, size: u64) -> u64 {
        let least = match self.specs[index].store {
            StoreSpec::File { .. } => 0,
            // AWS and GCS, "Multipart upload limits": 5 MiB, but for the last part.
            _ => 5 * MIB,
        };
        wanted.max(least).max(size.div_ceil(PARTS_MAX).next_multiple_of(MIB))
    }

    /// The regions as written.
    #[must_use]
    pub fn specs(&self) -> &[Region] {
        &self.specs
    }

    async fn open(&self, index: usize, role: Role) -> Result<Store, Failure> {
        let cell = &self.opened[index][role as usize];
        cell.get_or_try_init(|| self.open_now(index, role)).await.cloned()
    }

    /// Asks the file system off the async threads: a mount that hangs must not stop the others.
    async fn open_now(&self, index: usize, role: Role) -> Result<Store, Failure> {
        let region = self.specs[index].clone();
        let throttle = self.throttles[index].clone();
        let StoreSpec::File { path, identity } = region.store;
        let unreachable = |message: String, hint: Option<String>| Failure { cause: Cause::Unreachable, message, hint };
        let path = path.expand(&*self.environment).map_err(|missing| {
            let hint = format!("set it: export {}=…", missing.name);
            unreachable(format!("region `{}`: {missing}", region.name), Some(hint))
        })?;
        let path = self.folder.join(path);
        let opened = tokio::task::spawn_blocking(move || match role {
            Role::Source => FileStore::open(&path, identity.as_deref(), throttle),
            Role::Look => FileStore::absent(&path, identity.as_deref(), throttle),
            Role::Target => FileStore::create(&path, identity.as_deref(), throttle),
        });
        opened.await.expect("opening a folder does not panic").map(Store::File).map_err(|error| {
            unreachable(format!("region `{}` cannot be reached: {}", region.name, error.message), error.hint)
        })
    }
}
