//! Real `OpenStack`: Keystone, two Swifts, Trove's database and API, as processes of the test. `tests/run` installs them.

mod support;

#[path = "openstack/lab.rs"]
mod lab;
#[path = "support/openstack.rs"]
mod openstack;
