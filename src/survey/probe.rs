//! Tries whether targets can be written, where the operator asks for it: the one thing that looking does not tell.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt;
use futures::stream;

use super::chain::refuse_below_failures;
use super::{Migration, Survey};
use crate::failure::Failure;
use crate::id::Key;
use crate::regions::{Access, Regions};
use crate::state::State;
use crate::store::{Store, StoreError};

/// Places that are tried at a time.
const PROBES: usize = 8;

/// Whether a region can be written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Probed {
    /// Its name.
    pub region: String,
    /// What it said; none if it can be written.
    pub failure: Option<Failure>,
}

/// What came of trying one container of a region.
struct Tried {
    target: usize,
    /// None where the region itself cannot be reached.
    container: Option<String>,
    failure: Option<Failure>,
}

impl Survey {
    /// Tries each place that the selected migrations would be written to, by a write that leaves nothing behind. Where it
    /// fails, every migration to that place is predicted to fail.
    pub async fn probe_writes(&mut self, regions: &Regions, selected: &[bool], retry_failed: bool) {
        let due = self
            .migrations
            .iter()
            .zip(selected)
            .filter(|(migration, selected)| **selected && migration.is_due(retry_failed));
        let mut keys: BTreeMap<usize, Vec<Key>> = BTreeMap::new();
        for (migration, _) in due {
            let key = migration.row.location.as_deref().and_then(|location| Key::parse(location).ok());
            keys.entry(migration.target).or_default().extend(key);
        }
        let mut stores = BTreeMap::new();
        let mut places = Vec::new();
        let mut tried = Vec::new();
        for (target, keys) in keys {
            match regions.target(target, Access::Look).await {
                Ok(store) => {
                    places.extend(one_each(&store, keys).map(|(name, key)| (target, store.clone(), name, key)));
                    stores.insert(target, store);
                }
                Err(failure) => tried.push(Tried { target, container: None, failure: Some(failure) }),
            }
        }
        let probes = stream::iter(places).map(|(target, store, container, key)| async move {
            let failure = store.probe(&key).await.map_err(StoreError::of_target).err();
            Tried { target, container: Some(container), failure }
        });
        tried.extend(probes.buffered(PROBES).collect::<Vec<_>>().await);
        self.fail(&tried, &stores);
        refuse_below_failures(&mut self.migrations);
        self.probed = Some(by_region(tried, regions));
    }

    /// Predicts that what goes where nothing can be written will fail.
    fn fail(&mut self, tried: &[Tried], stores: &BTreeMap<usize, Store>) {
        let failed: HashMap<(usize, Option<&str>), &Failure> = tried
            .iter()
            .filter_map(|tried| Some(((tried.target, tried.container.as_deref()), tried.failure.as_ref()?)))
            .collect();
        if failed.is_empty() {
            return;
        }
        let open = |migration: &&mut Migration| migration.row.state != State::Completed && migration.failure.is_none();
        for migration in self.migrations.iter_mut().filter(open) {
            let key = migration.row.location.as_deref().and_then(|location| Key::parse(location).ok());
            let store = stores.get(&migration.target);
            let container = store.zip(key.as_ref()).map(|(store, key)| store.container_of(key));
            let failure = failed.get(&(migration.target, container));
            migration.failure = failure.map(|failure| (*failure).clone());
        }
    }
}

/// One key of each container, with the container's name.
fn one_each(store: &Store, keys: Vec<Key>) -> impl Iterator<Item = (String, Key)> {
    let named = keys.into_iter().map(|key| (store.container_of(&key).to_owned(), key));
    named.collect::<BTreeMap<_, _>>().into_iter()
}

/// A region can be written if every place in it can.
fn by_region(tried: Vec<Tried>, regions: &Regions) -> Vec<Probed> {
    let mut failures: BTreeMap<usize, Option<Failure>> = BTreeMap::new();
    for Tried { target, failure, .. } in tried {
        let known = failures.entry(target).or_default();
        *known = known.take().or(failure);
    }
    let named = |(target, failure): (usize, _)| Probed { region: regions.specs()[target].name.to_string(), failure };
    failures.into_iter().map(named).collect()
}
