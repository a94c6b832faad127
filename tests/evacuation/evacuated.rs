//! Evacuations that several tests ask about: each is done once in a process, by its way into Swift and Trove.

use std::sync::OnceLock;

use backhaul::database::Row;
use backhaul::state::State;

use crate::bed::{Bed, Forecast, READ_ALL, READ_EACH, WRITE_ALL, WRITE_API, WRITE_EACH, answered, asked, select};
use crate::openstack::{Backup, ONE, OpenStack, Request, Seeds, TWO};
use crate::support::Output;

/// What is wrong with a backup that its select takes and that must not be copied.
pub(crate) const WRONG: [&str; 7] =
    ["bad-checksum", "gone-object", "gone-segment", "c-full", "c-inc1", "old-version", "snapshot"];

/// Backups of a standard tenant that must arrive.
pub(crate) const RIGHT: [&str; 11] =
    ["plain", "slo", "slo-empty-end", "a-full", "a-inc1", "a-inc2", "b-full", "b-inc1", "b-inc2", "maria", "encrypted"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// One token for all accounts, registered in Trove's database.
    Reseller,
    /// A token for each project, registered in Trove's database.
    EachProject,
    /// A token for each project, registered by Trove's API.
    Api,
}

pub(crate) struct Evacuated {
    pub(crate) way: Way,
    pub(crate) bed: Bed,
    pub(crate) seeds: Seeds,
    pub(crate) dry_run: Forecast,
    /// What the dry run asked of both Swifts, and the rows that Trove had of the tenants after it.
    pub(crate) asked_by_dry_run: [Vec<Request>; 2],
    pub(crate) rows_after_dry_run: usize,
    pub(crate) database_after_dry_run: bool,
    pub(crate) run: Output,
    /// What the database knew after the run.
    pub(crate) rows: Vec<Row>,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Reseller, Self::EachProject, Self::Api];

    pub(crate) const fn tenants(self) -> [&'static str; 2] {
        match self {
            Self::Reseller => ["alpha", "beta"],
            Self::EachProject => ["each-one", "each-two"],
            Self::Api => ["api-one", "api-two"],
        }
    }

    pub(crate) const fn regions(self) -> [&'static str; 2] {
        match self {
            Self::Reseller => [READ_ALL, WRITE_ALL],
            Self::EachProject => [READ_EACH, WRITE_EACH],
            Self::Api => [READ_EACH, WRITE_API],
        }
    }

    /// The first tenant has everything there is; gamma's are there to be left alone.
    fn seed(self, openstack: &OpenStack) -> Seeds {
        match self {
            Self::Reseller => openstack.seed(&["alpha/standard", "alpha/mariadb", "beta/standard", "gamma/small"]),
            Self::EachProject => openstack.seed(&["each-one/standard", "each-two/small"]),
            Self::Api => openstack.seed(&["api-one/standard", "api-two/small"]),
        }
    }

    /// The evacuation by this way, done now if it is not yet.
    pub(crate) fn evacuated(self, openstack: &OpenStack) -> &'static Evacuated {
        static DONE: [OnceLock<Evacuated>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
        DONE[self as usize].get_or_init(|| self.evacuate(openstack))
    }

    fn evacuate(self, openstack: &OpenStack) -> Evacuated {
        let tenants = self.tenants();
        if self != Self::Reseller {
            openstack.add_tenants(&tenants);
        }
        let seeds = self.seed(openstack);
        let bed = Bed::new(openstack);
        bed.plan(&self.regions(), &[select(openstack, &tenants)]);
        let before = [ONE, TWO].map(|region| answered(openstack, region));
        let dry_run = bed.forecast(&[]);
        let asked_by_dry_run =
            [(ONE, before[0]), (TWO, before[1])].map(|(region, since)| asked(openstack, region, &tenants, since));
        let rows_after_dry_run = in_trove(openstack, &tenants);
        let database_after_dry_run = bed.database().exists();
        let run = bed.run();
        let (way, rows) = (self, bed.rows());
        Evacuated { way, bed, seeds, dry_run, asked_by_dry_run, rows_after_dry_run, database_after_dry_run, run, rows }
    }
}

impl Evacuated {
    /// Source backups of a tenant that must have arrived.
    pub(crate) fn right(&self, tenant: &str) -> Vec<&Backup> {
        self.seeds.of(tenant).into_iter().filter(|backup| backup.expect == "ok").collect()
    }

    /// The row of the copy of a source backup.
    #[track_caller]
    pub(crate) fn row(&self, of: &Backup) -> &Row {
        let found = self.rows.iter().find(|row| row.source_id.as_deref() == Some(&of.id));
        let row = found.unwrap_or_else(|| panic!("{} of {} has no row", of.name, of.tenant));
        assert_eq!(row.state, State::Completed, "{} of {}: {:?}", of.name, of.tenant, row.error);
        row
    }

    /// Its id in Trove.
    #[track_caller]
    pub(crate) fn copy(&self, of: &Backup) -> String {
        copy_id(self.row(of))
    }
}

/// The id that a copy has in Trove.
pub(crate) fn copy_id(row: &Row) -> String {
    row.registered_id.clone().unwrap_or_else(|| row.id.to_string())
}

/// How many rows of tenants region-two's Trove has, in `backups` and in `quota_usages`.
pub(crate) fn in_trove(openstack: &OpenStack, tenants: &[&str]) -> usize {
    let ids: Vec<String> = tenants.iter().map(|tenant| format!("'{}'", openstack.project(tenant))).collect();
    let ids = ids.join(", ");
    let count = |table: &str| openstack.sql(TWO, &format!("SELECT id FROM {table} WHERE tenant_id IN ({ids})")).len();
    count("backups") + count("quota_usages")
}
