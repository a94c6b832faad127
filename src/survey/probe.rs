//! Tries whether targets can be written, where the operator asks for it: the one thing that looking does not tell.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream;

use super::chain::refuse_below_failures;
use super::{Migration, Survey};
use crate::failure::Failure;
use crate::regions::{Access, Regions};
use crate::state::State;
use crate::store::StoreError;

/// Regions that are tried at a time.
const PROBES: usize = 8;

/// Whether a region can be written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Probed {
    /// Its name.
    pub region: String,
    /// What it said; none if it can be written.
    pub failure: Option<Failure>,
}

impl Survey {
    /// Tries each region that the selected migrations would be written to, by a write that leaves nothing behind.
    /// Where it fails, every migration to that region is predicted to fail.
    pub async fn probe_writes(&mut self, regions: &Regions, selected: &[bool], retry_failed: bool) {
        let due = self
            .migrations
            .iter()
            .zip(selected)
            .filter(|(migration, selected)| **selected && migration.is_due(retry_failed));
        let targets: BTreeSet<usize> = due.map(|(migration, _)| migration.target).collect();
        let mut probed: Vec<(usize, Option<Failure>)> = stream::iter(targets)
            .map(|target| async move {
                let tried = match regions.target(target, Access::Look).await {
                    Ok(store) => store.probe().await.map_err(StoreError::of_target),
                    Err(failure) => Err(failure),
                };
                (target, tried.err())
            })
            .buffer_unordered(PROBES)
            .collect()
            .await;
        probed.sort_unstable_by_key(|(target, _)| *target);
        for (target, failure) in &probed {
            let Some(failure) = failure else { continue };
            let open = |migration: &&mut Migration| {
                migration.target == *target && migration.row.state != State::Completed && migration.failure.is_none()
            };
            for migration in self.migrations.iter_mut().filter(open) {
                migration.failure = Some(failure.clone());
            }
        }
        refuse_below_failures(&mut self.migrations);
        let named = probed.into_iter().map(|(target, failure)| {
            let region = regions.specs()[target].name.to_string();
            Probed { region, failure }
        });
        self.probed = Some(named.collect());
    }
}
