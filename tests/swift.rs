//! The store `swift` against real Swifts with real Keystone, as `tests/openstack/lab` starts them; and against a server
//! that answers as a test tells it, for what a healthy Swift never says.

mod support;

#[path = "swift/access.rs"]
mod access;
#[path = "swift/bed.rs"]
mod bed;
#[path = "swift/containers.rs"]
mod containers;
#[path = "swift/large.rs"]
mod large;
#[path = "support/openstack.rs"]
mod openstack;
#[path = "swift/plain.rs"]
mod plain;
#[path = "swift/scripted.rs"]
mod scripted;
#[path = "support/session.rs"]
mod session;
