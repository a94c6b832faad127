//! Trove's own catalogs: its database, and its API.

mod any;
mod api;
pub mod database;
mod location;
mod new_backup;
mod quota;
mod row;
mod versions;

pub use any::Trove;
pub use api::TroveApi;
pub use database::{Address, AddressError, QuotaRule, TroveDatabase};
pub use location::{LOCATION_MAX, Location, LocationError, is_account_of};
pub use new_backup::{DESCRIPTION_MAX, NAME_MAX, NewBackup, check_texts};
pub use quota::Quota;
pub use versions::{DatastoreVersion, SourceVersion, map};
