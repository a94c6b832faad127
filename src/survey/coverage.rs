//! What a plan takes from one region to another, and what it leaves out on purpose: for comparing two regions.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use super::catalogs::{Catalogs, Role};
use super::{Skipped, SurveyError, Surveyor, chain, wanted};
use crate::plan::Subject;

/// What a plan takes from one region to another.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Target ids of all copies that it means, ancestors included.
    pub wanted: HashSet<Uuid>,
    /// Ids of source records that it leaves out by `except`, and why.
    pub excepted: BTreeMap<String, String>,
    /// What the two stores are.
    pub stores: [String; 2],
}

impl Surveyor<'_> {
    /// What the plan takes from region number `from` to region number `to` now.
    ///
    /// # Errors
    /// [`SurveyError`]: a catalog that selects ask cannot be read, or the plan contradicts itself.
    pub async fn coverage(&self, from: usize, to: usize) -> Result<Coverage, SurveyError> {
        let mut catalogs = Catalogs::of(self);
        let mut stores = self.identities().await?;
        for region in [from, to] {
            stores[region] = self.regions.identity(region).await.map_err(SurveyError::Region)?;
        }
        let mut list = self.wanted(&stores, &mut catalogs, &mut Skipped::default()).await?;
        chain::add_ancestors(self, &stores, &mut catalogs, &mut list).await?;
        let here = list.items.iter().filter(|wanted| wanted.region == from && wanted.target == to);
        let mut coverage = Coverage {
            wanted: here.map(|wanted| wanted.id).collect(),
            excepted: BTreeMap::new(),
            stores: [stores[from].clone(), stores[to].clone()],
        };
        for entry in self.plan.entries.iter().filter(|entry| usize::from(entry.from.0) == from) {
            let Subject::Select(select) = &entry.subject else { continue };
            if select.except.is_empty() || !entry.to.iter().any(|target| usize::from(target.0) == to) {
                continue;
            }
            let ledger = catalogs.ledger(from, Role::Source).await.map_err(SurveyError::Catalog)?;
            for except in &select.except {
                let why = except.reason.clone().unwrap_or_else(|| "left out by `except`".to_owned());
                for id in wanted::with_descendants(ledger, &except.id) {
                    coverage.excepted.entry(id).or_insert_with(|| why.clone());
                }
            }
        }
        Ok(coverage)
    }
}
