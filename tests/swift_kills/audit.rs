//! What the audit is shown of a bed: its target as it was before the first run and as it is now, and who its source is.

use std::path::PathBuf;

use crate::bed::{Bed, Route};
use crate::openstack::{ONE, TWO};
use crate::support::{Audit, sums};

impl Bed<'_> {
    fn note(&self, of: &str) -> PathBuf {
        self.home(0).join(format!("{of}.json"))
    }

    /// Takes down what there is before the first run.
    pub(crate) fn remember(&self) {
        if self.options.route == Route::ToFile {
            std::fs::write(self.note("target"), sums(&self.vault())).expect("writable");
        } else {
            let target = self.ground.openstack.containers(TWO, &[(&self.target_tenant(), &self.name)]);
            target.remember(&self.note("target"));
        }
    }

    /// The audit of an operator's database, and of its source and target.
    pub(crate) fn audit(&self, operator: usize) -> Audit {
        let audit = Audit::of(&format!("sqlite://{}", self.database(operator).display())).watched();
        let audit = if let Some(vault) = self.options.vault {
            audit.source("vault", &vault.vault())
        } else {
            let source = self.ground.openstack.containers(ONE, &[(self.options.tenant, "database_backups")]);
            audit.cloud_source("one", &self.note("source"), &source)
        };
        if self.options.route == Route::ToFile {
            let vault = self.vault();
            return audit.region("vault", &vault).others("vault", &self.note("target")).must(&["I1", "I16"]);
        }
        audit.cloud("two", &self.note("target")).must(&["I3"])
    }
}
