//! The tables as `SeaORM` sees them. Nothing outside `database` uses these.

pub(super) mod backups;
pub(super) mod commits;
pub(super) mod parts;
pub(super) mod plan_entries;
pub(super) mod runners;
pub(super) mod runs;
