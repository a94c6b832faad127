//! Whose records matter: catalogs of many tenants need not be read whole. And what their owners have deleted since.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::Surveyor;
use super::catalogs::{Catalogs, Role};
use super::placing::Placing;
use super::wanted::{Source, WantedList};
use crate::catalog::RecordState;
use crate::plan::{CatalogSpec, Subject};

impl Surveyor<'_> {
    /// A catalog of many tenants is read whole only where the plan does not say which of them it means.
    pub(super) fn narrow_sources(&self, catalogs: &mut Catalogs<'_>) {
        let mut tenants: BTreeMap<usize, Option<BTreeSet<String>>> = BTreeMap::new();
        for entry in &self.plan.entries {
            let of_region = tenants.entry(usize::from(entry.from.0)).or_insert_with(|| Some(BTreeSet::new()));
            match (&entry.subject, of_region) {
                (Subject::Select(select), Some(named)) if !select.tenants.is_empty() => {
                    named.extend(select.tenants.iter().cloned());
                }
                (Subject::Location { .. }, _) => {}
                (_, of_region) => *of_region = None,
            }
        }
        for (region, tenants) in tenants {
            catalogs.only(region, Role::Source, tenants.unwrap_or_default());
        }
    }

    /// Of a target's catalog the records of those tenants matter whom copies go to.
    pub(super) async fn narrow_targets(
        &self,
        catalogs: &mut Catalogs<'_>,
        placing: &mut Placing<'_>,
        list: &WantedList,
    ) {
        for wanted in &list.items {
            if self.plan.regions[wanted.target].catalog == CatalogSpec::Store {
                continue;
            }
            let Source::Id(id) = &wanted.source else { continue };
            let tenant = match self.rows.get(&wanted.id) {
                Some(row) if row.tenant_id.is_some() => row.tenant_id.clone(),
                _ => match catalogs.record(wanted.region, id).await {
                    // What cannot be placed is told of with its migration.
                    Ok(record) => placing.tenant(wanted.region, wanted.target, record.tenant_id).await.ok().flatten(),
                    Err(_) => None,
                },
            };
            catalogs.only(wanted.target, Role::Target, tenant.into_iter().collect());
        }
    }

    /// Leaves out what a select takes and whose copy was registered once and deleted by its owner in the target: he does
    /// not want it there. Gives their number. What an entry names by its id is not left out.
    pub(super) async fn leave_declined(&self, catalogs: &mut Catalogs<'_>, list: &mut WantedList) -> u64 {
        let mut declined = HashSet::new();
        for wanted in list.items.iter().filter(|wanted| !wanted.explicit) {
            if self.plan.regions[wanted.target].catalog == CatalogSpec::Store || self.is_completed(wanted.id) {
                continue;
            }
            // A catalog that cannot be read is told of when something is registered in it.
            let Ok(ledger) = catalogs.ledger(wanted.target, Role::Target).await else { continue };
            if ledger.get(wanted.id).is_some_and(|record| record.state == RecordState::Deleted) {
                declined.insert(wanted.id);
            }
        }
        list.remove(&declined);
        declined.len() as u64
    }
}
