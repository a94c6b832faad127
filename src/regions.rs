//! Regions that are contacted: references resolved, stores opened, each once and only when it is needed.

mod open;
mod openstack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

pub use self::openstack::records_in;

use self::open::Opener;
use crate::catalog::trove::Trove;
use crate::failure::Failure;
use crate::openstack::{Cloud, Session};
use crate::plan::{CatalogSpec, Region, StoreSpec, WrittenRecords, WrittenRegion, WrittenStore};
use crate::store::{Store, Takes};
use crate::throttle::Throttle;

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
    // What starts with a reference may be absolute once it is resolved, and then `join` lets it be.
    let stored = regions.iter().map(|region| {
        let WrittenRegion { store, records } = WrittenRegion::of(region);
        StoredRegion { name: region.name.to_string(), folder: folder.to_string_lossy().into_owned(), store, records }
    });
    serde_json::to_string(&stored.collect::<Vec<_>>()).expect("texts serialize")
}

/// The regions of a recorded run, to be looked at only, without limits.
///
/// # Errors
/// When the text is not what [`as_written`] of this version or of an earlier one writes.
pub fn recorded(text: &str, environment: &Environment) -> Result<Regions, serde_json::Error> {
    let mut stored: Vec<Map<String, Value>> = serde_json::from_str(text)?;
    for region in &mut stored {
        // Before there were others than folders, the type's name was this.
        if let Some(kind) = region.remove("store") {
            region.insert("type".to_owned(), kind);
        }
    }
    let stored: Vec<StoredRegion> = serde_json::from_value(stored.into_iter().map(Value::Object).collect())?;
    let folder = stored.first().map(|region| PathBuf::from(&region.folder)).unwrap_or_default();
    let specs = stored.into_iter().map(|region| {
        let written = WrittenRegion { store: region.store, records: region.records };
        written.to_spec(region.name.as_str().into()).map_err(serde::de::Error::custom)
    });
    let specs: Vec<Region> = specs.collect::<Result<_, serde_json::Error>>()?;
    let throttles = specs.iter().map(|_| Throttle::unlimited()).collect();
    Ok(Regions::new(&folder, environment.clone(), specs, throttles))
}

/// One region in the `runs` table.
#[derive(Serialize, Deserialize)]
struct StoredRegion {
    name: String,
    folder: String,
    #[serde(flatten)]
    store: WrittenStore,
    #[serde(flatten)]
    records: WrittenRecords,
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

/// Source and target of each line of a tenant map.
pub type Pairs = Arc<[(String, String)]>;

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
    sessions: Vec<OnceCell<Session>>,
    troves: Vec<OnceCell<Option<Trove>>>,
    tenants: Vec<OnceCell<Option<Pairs>>>,
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
        fn closed<T>(specs: &[Region]) -> Vec<T>
        where
            T: Default,
        {
            specs.iter().map(|_| T::default()).collect()
        }
        let (opened, sessions) = (closed(&specs), closed(&specs));
        let (troves, tenants) = (closed(&specs), closed(&specs));
        Self { folder: folder.to_owned(), environment, specs, throttles, opened, sessions, troves, tenants }
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

    /// The way into the cloud of region number `index`; none where its store is no Swift. One for all who ask, so that
    /// they share its tokens.
    ///
    /// # Errors
    /// A failure of cause `unreachable`: no such cloud, or an unset variable.
    pub async fn session(&self, index: usize) -> Result<Option<Session>, Failure> {
        let StoreSpec::Swift(spec) = &self.specs[index].store else { return Ok(None) };
        let cell = &self.sessions[index];
        let session = cell.get_or_try_init(|| async { self.opener(index).session(spec) }).await?;
        Ok(Some(session.clone()))
    }

    /// The clouds of region number `index` whose certificates are not checked. Contacts nothing; what cannot be opened is
    /// told by whoever opens it.
    pub async fn unchecked_clouds(&self, index: usize) -> Vec<Cloud> {
        match self.session(index).await {
            Ok(Some(session)) => self.opener(index).unchecked(&session),
            _ => Vec::new(),
        }
    }

    /// Whether the store of region number `index` can be used at all: its cloud lets us in, and has its Swift. Other stores
    /// are asked for their objects alone.
    ///
    /// # Errors
    /// A failure of cause `unreachable`: no single backup is at fault.
    pub async fn enter(&self, index: usize) -> Result<(), Failure> {
        match (&self.specs[index].store, self.session(index).await?) {
            (StoreSpec::Swift(spec), Some(session)) => self.opener(index).enter(spec, &session).await,
            _ => Ok(()),
        }
    }

    /// Trove of region number `index`; none where records lie in the store itself.
    ///
    /// # Errors
    /// A failure of cause `unreachable`.
    pub async fn trove(&self, index: usize) -> Result<Option<Trove>, Failure> {
        let session = self.session(index).await?;
        let opener = self.opener(index);
        let opened = self.troves[index].get_or_try_init(|| opener.trove(session.as_ref()));
        Ok(opened.await?.clone())
    }

    /// What the catalog of region number `index` is, whatever a plan calls it. Trove is not contacted.
    ///
    /// # Errors
    /// As [`Regions::identity`].
    pub async fn catalog_identity(&self, index: usize) -> Result<String, Failure> {
        let store = self.identity(index).await?;
        self.opener(index).catalog_identity(&store, self.session(index).await?.as_ref())
    }

    /// Which tenants of region number `index` stand for those of a source; none where it has no map.
    ///
    /// # Errors
    /// A failure: of cause `tenant-unknown` for a file that cannot be read or is wrong.
    pub async fn tenants(&self, index: usize) -> Result<Option<Pairs>, Failure> {
        let read = self.tenants[index].get_or_try_init(|| async { self.opener(index).tenants() });
        read.await.cloned()
    }

    /// Size of the parts in which an object of `size` bytes is copied into a region, in bytes: `wanted` by the plan, at
    /// least what the store takes, and so many MiB more that there are at most 10,000 parts. For a store that takes
    /// streams, size of the reads that feed them.
    #[must_use]
    pub fn part_size(&self, index: usize, wanted: u64, size: u64) -> u64 {
        let least = match self.specs[index].store {
            StoreSpec::Swift(_) => return wanted,
            StoreSpec::File { .. } => 0,
            // AWS and GCS, "Multipart upload limits": 5 MiB, but for the last part.
            _ => 5 * MIB,
        };
        wanted.max(least).max(size.div_ceil(PARTS_MAX).next_multiple_of(MIB))
    }

    /// How a region takes an object of `size` bytes, of which the plan wants parts of `wanted` bytes.
    #[must_use]
    pub fn takes(&self, index: usize, wanted: u64, size: u64) -> Takes {
        let region = &self.specs[index];
        match &region.store {
            StoreSpec::Swift(swift) => Takes::Pieces {
                segment_size: swift.segment_size,
                flat: matches!(region.catalog, CatalogSpec::TroveApi(_)),
            },
            _ => Takes::Parts { part_size: self.part_size(index, wanted, size) },
        }
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

    async fn open_now(&self, index: usize, role: Role) -> Result<Store, Failure> {
        let session = self.session(index).await?;
        self.opener(index).open(role, session.as_ref()).await
    }

    fn opener(&self, index: usize) -> Opener<'_> {
        let (region, throttle) = (&self.specs[index], self.throttles[index].clone());
        Opener { folder: &self.folder, environment: &self.environment, region, throttle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::parse;

    const PLAN: &str = "version: 1
name: t
regions:
  here: { store: { type: file, path: ./here, identity: /old } }
  vault: { store: { type: s3, bucket: dr-vault, prefix: a, access_key_id: AKIA, secret_access_key: \"${S}\", timeout: 5m } }
  box: { store: { type: azure, account: acct, container: box, sas_token: \"${T}\", ca_file: ca.pem } }
  pail: { store: { type: gcs, bucket: pail, endpoint: \"http://127.0.0.1:4443\" } }
  cloud: { store: { type: swift, cloud: two, account: per-tenant }, catalog: { type: trove-database, url: \"${DB}\" }, tenants: t.csv, copy_from: false }
backups: [{ id: x, from: here, to: [vault, box, pail, cloud] }]
";

    fn environment() -> Environment {
        Arc::new(|_| panic!("nothing is resolved"))
    }

    #[test]
    fn recorded_regions_are_those_of_the_plan() {
        let plan = parse(PLAN.as_bytes(), Path::new("/plans/t.yaml")).expect("accepted").plan;
        let text = as_written(&plan.regions, &plan.folder);
        assert_eq!(
            text,
            r#"[{"name":"here","folder":"/plans","type":"file","path":"./here","identity":"/old"},"#.to_owned()
                + r#"{"name":"vault","folder":"/plans","type":"s3","bucket":"dr-vault","prefix":"a/","access_key_id":"AKIA","secret_access_key":"${S}","timeout":"5m"},"#
                + r#"{"name":"box","folder":"/plans","type":"azure","account":"acct","container":"box","sas_token":"${T}","ca_file":"ca.pem"},"#
                + r#"{"name":"pail","folder":"/plans","type":"gcs","bucket":"pail","endpoint":"http://127.0.0.1:4443"},"#
                + r#"{"name":"cloud","folder":"/plans","type":"swift","cloud":"two","account":"per-tenant","access":"each-project","catalog":{"type":"trove-database","url":"${DB}"},"tenants":"t.csv","copy_from":false}]"#
        );
        let regions = recorded(&text, &environment()).expect("readable");
        assert_eq!(regions.folder, plan.folder);
        for (recorded, planned) in regions.specs().iter().zip(&plan.regions) {
            let planned = Region { place: crate::plan::Place::default(), ..planned.clone() };
            assert_eq!(recorded, &planned);
        }
        assert_eq!(regions.specs().len(), 5);
    }

    #[test]
    fn regions_recorded_before_there_were_buckets_are_read() {
        let text = r#"[{"name":"here","store":"file","folder":"/plans","path":"${HERE}/x","identity":"/old"},
                       {"name":"there","store":"file","folder":"/plans","path":"there"}]"#;
        let regions = recorded(text, &environment()).expect("readable");
        let store = |path: &str, identity: Option<&str>| StoreSpec::File {
            path: path.parse().expect("a reference"),
            identity: identity.map(str::to_owned),
        };
        assert_eq!(regions.folder, Path::new("/plans"));
        assert_eq!(regions.specs()[0].store, store("${HERE}/x", Some("/old")));
        assert_eq!(regions.specs()[1].store, store("there", None));
        assert!(recorded(r#"[{"name":"here","folder":"/","type":"tape"}]"#, &environment()).is_err());
    }
}
