//! What a real `OpenStack` does to an operator, by the real binary: tokens that end, a Keystone that is down, a Swift that
//! is overloaded or full, roles and quotas that do not suffice, a Trove that goes away, and clouds that are written wrong.
//! Each has its exit code and its words; nothing is lost, nothing overwritten, and nothing fails that passes by itself.
//!
//! Every password is a random word of its bed, and no file, no output and no command line may show one.

mod support;

#[path = "openstack_faults/bed.rs"]
mod bed;
#[path = "support/by_hand.rs"]
mod by_hand;
#[path = "openstack_faults/clouds.rs"]
mod clouds;
#[path = "openstack_faults/keystone.rs"]
mod keystone;
#[path = "support/openstack.rs"]
mod openstack;
#[path = "openstack_faults/quotas.rs"]
mod quotas;
#[path = "openstack_faults/roles.rs"]
mod roles;
#[path = "openstack_faults/swift.rs"]
mod swift;
#[path = "openstack_faults/trove.rs"]
mod trove;
#[path = "openstack_faults/way.rs"]
mod way;
