//! What databases on servers have in common, whoever's they are.

mod address;

pub use address::{Address, AddressError, Kind};
