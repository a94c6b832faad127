//! A run between real Swifts that dies anywhere: the next one ends with the objects, rows and records of one that was never
//! disturbed, sends at most the segments again that were under way, leaves no segment behind, and touches nothing that
//! is another's. The same where two operators, each with a database of its own, copy one chain to one place.

mod support;

#[path = "swift_kills/account.rs"]
mod account;
#[path = "swift_kills/audit.rs"]
mod audit;
#[path = "swift_kills/bed.rs"]
mod bed;
#[path = "support/openstack.rs"]
mod openstack;
#[path = "swift_kills/operators.rs"]
mod operators;
#[path = "swift_kills/outcome.rs"]
mod outcome;
#[path = "swift_kills/points.rs"]
mod points;
#[path = "swift_kills/random.rs"]
mod random;
#[path = "support/session.rs"]
mod session;
#[path = "swift_kills/traffic.rs"]
mod traffic;
