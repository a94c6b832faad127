//! The tables as `SeaORM` sees them. Nothing outside `database` uses these.

pub(super) mod backups;
pub(super) mod parts;
pub(super) mod plan_entries;
pub(super) mod runs;
