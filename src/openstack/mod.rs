//! `OpenStack` clouds: which one is meant and how to get in ([`find_cloud`]), and tokens and endpoints ([`Session`]).
//!
//! Entries of `clouds.yaml` are found, merged and read as openstacksdk does it, so that what works for the `openstack`
//! command works here.

mod catalog;
mod cloud;
mod clouds;
mod error;
mod keystone;
mod project;
mod secret;
mod session;
mod slot;
mod tempauth;
mod token;

pub use cloud::{Auth, Cloud, Domain, Interface, OwnScope, Service, User};
pub use clouds::{CloudChoice, find_cloud};
pub use error::{ErrorKind, OpenStackError};
pub use project::{Project, ProjectName};
pub use secret::Secret;
pub use session::Session;
pub use token::{Scope, Token};

#[cfg(test)]
mod tests;
