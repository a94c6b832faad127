//! How many backups a tenant may have.

use crate::failure::{Cause, Failure};
use crate::number::counted;

/// How many backups a tenant may have and has, as Trove counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// None: as many as there are.
    pub limit: Option<u64>,
    /// What Trove counts against the limit.
    pub in_use: u64,
    /// Backups that are there. Trove's own count may be another one: it is not kept under a lock.
    pub live: u64,
}

/// The failure of one backup too many. The limit is not always told.
pub(super) fn reached(tenant: &str, limit: Option<u64>) -> Failure {
    let number = limit.map_or_else(|| "only so many backups".to_owned(), |limit| counted(limit, "backup"));
    let message = format!("the tenant `{tenant}` may have {number} in Trove, and has as many");
    Failure::new(Cause::Quota, message).hint(format!(
        "raise it: openstack database quota update {tenant} backups NUMBER; or register in Trove's database with \
         `quota: ignore`"
    ))
}
