//! What databases on servers have in common, whoever's they are.

mod address;
mod distrust;

pub use address::{Address, AddressError, Kind};
pub use distrust::Distrust;
