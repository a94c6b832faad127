//! What databases on servers have in common, whoever's they are.

mod address;
mod begin;
mod distrust;

pub use address::{Address, AddressError, Kind};
pub use begin::begin;
pub use distrust::Distrust;
