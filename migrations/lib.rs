//! The database schema, in steps that are never changed once released.

pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::{MigrationTrait, async_trait::async_trait};

mod m20261123_000001_create_tables;
mod m20261125_000001_add_source_tenant;
mod m20261126_000001_create_runners;
mod m20261127_000001_add_plan_version;
mod m20261128_000001_add_shares;
mod m20261129_000001_index_changes;
mod tables;

/// All steps, oldest first. Nothing here guards two processes that migrate at once: hold the database's lock.
#[derive(Debug)]
pub struct Migrator;

#[async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_create_tables::Migration),
            Box::new(m20261125_000001_add_source_tenant::Migration),
            Box::new(m20261126_000001_create_runners::Migration),
            Box::new(m20261127_000001_add_plan_version::Migration),
            Box::new(m20261128_000001_add_shares::Migration),
            Box::new(m20261129_000001_index_changes::Migration),
        ]
    }
}
