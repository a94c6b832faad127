//! Trove's own catalogs: its database, and its API.

mod location;
mod versions;

pub use location::{LOCATION_MAX, Location, LocationError, is_account_of};
pub use versions::{DatastoreVersion, SourceVersion, map};
