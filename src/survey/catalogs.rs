//! The catalogs that a survey asks, each once.

use std::collections::{BTreeSet, HashMap};

use super::Surveyor;
use super::wanted::find;
use crate::catalog::{Ledger, Record, RecordState};
use crate::failure::{Cause, Failure};
use crate::regions::Access;
use crate::register::Registry;

/// What a region is to the plan where its catalog is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Its folder must be there.
    Source,
    /// A folder that is not there yet has no records.
    Target,
}

/// The catalogs that were asked, each once.
pub(super) struct Catalogs<'a> {
    surveyor: &'a Surveyor<'a>,
    ledgers: HashMap<(usize, Role), Result<Ledger, Failure>>,
    /// Tenants whose records matter, by region; none where nobody has said so.
    tenants: HashMap<(usize, Role), BTreeSet<String>>,
}

impl<'a> Catalogs<'a> {
    /// None asked yet.
    pub(super) fn of(surveyor: &'a Surveyor<'a>) -> Self {
        Self { surveyor, ledgers: HashMap::new(), tenants: HashMap::new() }
    }

    /// Says whose records matter in a region, where it is asked for the first time: a catalog of many tenants need not be
    /// read whole.
    pub(super) fn only(&mut self, region: usize, role: Role, tenants: BTreeSet<String>) {
        if !tenants.is_empty() {
            self.tenants.entry((region, role)).or_default().extend(tenants);
        }
    }

    /// The records of a region. As a source it must be there: a region that went away is not an empty one.
    pub(super) async fn ledger(&mut self, region: usize, role: Role) -> Result<&Ledger, Failure> {
        if !self.ledgers.contains_key(&(region, role)) {
            let regions = self.surveyor.regions;
            let registry = match role {
                Role::Source => Registry::of_source(regions, region).await,
                Role::Target => Registry::of_target(regions, region, Access::Look).await,
            };
            let tenants = self.tenants.get(&(region, role));
            let ledger = match registry {
                Ok(registry) => registry.ledger(tenants).await.map_err(|error| error.0),
                Err(failure) => Err(failure),
            };
            self.ledgers.insert((region, role), ledger);
        }
        self.ledgers[&(region, role)].as_ref().map_err(Clone::clone)
    }

    /// What source regions did not show of what was asked for.
    pub(super) fn narrowed(&self) -> Vec<String> {
        let mut narrowed: Vec<String> = Vec::new();
        for ((region, role), ledger) in &self.ledgers {
            if let (Role::Source, Ok(ledger)) = (role, ledger) {
                narrowed.extend(ledger.narrowed(&self.surveyor.plan.regions[*region].name));
            }
        }
        narrowed.sort_unstable();
        narrowed
    }

    /// One record of a source region that can be restored.
    pub(super) async fn record(&mut self, region: usize, id: &str) -> Result<Record, Failure> {
        let name = self.surveyor.plan.regions[region].name.clone();
        let ledger = self.ledger(region, Role::Source).await?;
        let Some(record) = find(ledger, id) else {
            let failure = Failure::new(
                Cause::SourceMissing,
                format!("region `{name}` has no record with the id `{}`", id.escape_debug()),
            );
            return Err(failure.hint(format!("backhaul init --from … lists the records of `{name}`")));
        };
        if let Some(conflict) = ledger.conflict(record.id) {
            return Err(Failure::new(
                Cause::RecordConflict,
                format!(
                    "two records of `{id}` in region `{name}` differ in {}: {} in `{}`, {} in `{}`",
                    conflict.field, conflict.values[0], conflict.objects[0], conflict.values[1], conflict.objects[1]
                ),
            ));
        }
        let says = |cause, why: &str| {
            let message = format!("the record `{id}` in region `{name}` says {}: {}", record.state, why.escape_debug());
            Err(Failure::new(cause, message))
        };
        match &record.state {
            RecordState::Completed | RecordState::Restored => Ok(record.clone()),
            RecordState::Failed => {
                says(Cause::SourceUnreadable, record.reason.as_deref().unwrap_or("no reason was recorded"))
            }
            RecordState::Running(_) => says(Cause::SourceUnreadable, "it is not finished yet"),
            RecordState::Deleted => says(Cause::SourceMissing, "its owner deleted it"),
        }
    }
}
