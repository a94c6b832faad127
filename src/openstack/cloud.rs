//! A cloud as resolved: where it is, and how to get in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use reqwest::Url;

use super::{ErrorKind, OpenStackError, Secret};
use crate::address::Endpoint;

/// A cloud: an entry of `clouds.yaml`, the environment's `OS_*`, or a plan's own words. Printing it shows no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    /// Its name in `clouds.yaml`; `envvars` where it is made of `OS_*`.
    pub name: String,
    /// Where it was read: a file, or "the environment".
    pub origin: String,
    /// Keystone's v3 API, without `/` at its end; with [`Auth::V1`] the address that gives tokens.
    pub auth_url: Url,
    /// How to get in.
    pub auth: Auth,
    /// Endpoints of this region are taken from the catalog.
    pub region_name: Option<String>,
    /// Endpoints of this interface are taken from the catalog.
    pub interface: Interface,
    /// A file of certificates (PEM) that are trusted besides the system's.
    pub cacert: Option<PathBuf>,
    /// Whether certificates are checked.
    pub verify: bool,
    /// Whether its services may be asked by `http://` where they are on another machine.
    pub allows_http: bool,
    /// Endpoints that count instead of the catalog's; may hold `%(project_id)s`.
    pub endpoint_overrides: BTreeMap<Service, String>,
}

impl Cloud {
    /// Refuses to send secrets to another machine for all to read, unless that is allowed. `what` is the address's name.
    pub(super) fn check(&self, what: &str, url: &Url) -> Result<(), OpenStackError> {
        let here = || Endpoint::parse(&url.origin().ascii_serialization(), true).is_ok_and(|there| there.is_loopback());
        if self.allows_http || url.scheme() != "http" || here() {
            return Ok(());
        }
        let message = format!(
            "{what} of cloud `{}` is `http://` to another machine, {}: whoever is on the way could read passwords and backups",
            self.name,
            url.origin().ascii_serialization()
        );
        Err(OpenStackError::new(ErrorKind::Bad, message)
            .hint("have it answer by `https://`, or allow it in the region's store of the plan: `insecure: true`"))
    }
}

/// How to get a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// A user of Keystone.
    Password {
        /// Who.
        user: User,
        /// Its password.
        password: Secret,
        /// What [`Scope::Own`](super::Scope::Own) means.
        scope: OwnScope,
    },
    /// What a user left to a program, for one project.
    ApplicationCredential {
        /// Its id; or its name, with the user that it belongs to.
        id: Result<String, (String, User)>,
        /// Its secret.
        secret: Secret,
    },
    /// A token that somebody else got.
    Token {
        /// It.
        token: Secret,
        /// What [`Scope::Own`](super::Scope::Own) means.
        scope: OwnScope,
    },
    /// Swift's own `TempAuth`.
    V1 {
        /// As `account:user`.
        user: String,
        /// The key.
        key: Secret,
    },
}

impl Auth {
    /// What must never be shown.
    pub(super) fn secret(&self) -> &Secret {
        match self {
            Self::Password { password: secret, .. }
            | Self::ApplicationCredential { secret, .. }
            | Self::Token { token: secret, .. }
            | Self::V1 { key: secret, .. } => secret,
        }
    }

    /// "user `demo`", for messages.
    pub(super) fn who(&self) -> String {
        match self {
            Self::Password { user, .. } => user.to_string(),
            Self::ApplicationCredential { id: Ok(id), .. } => format!("application credential `{id}`"),
            Self::ApplicationCredential { id: Err((name, user)), .. } => {
                format!("application credential `{name}` of {user}")
            }
            Self::Token { .. } => "the given token".to_owned(),
            Self::V1 { user, .. } => format!("user `{user}`"),
        }
    }
}

/// A user of Keystone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// By its id.
    Id(String),
    /// By its name within a domain.
    Name(String, Domain),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "user `{id}`"),
            Self::Name(name, domain) => write!(f, "user `{name}` of {domain}"),
        }
    }
}

/// A domain of Keystone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// By its id.
    Id(String),
    /// By its name.
    Name(String),
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Id(text) | Self::Name(text)) = self;
        write!(f, "domain `{text}`")
    }
}

/// What a cloud's entry says its tokens are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnScope {
    /// Nothing in particular: such a token opens little.
    Unscoped,
    /// A project by its id.
    ProjectId(String),
    /// A project by its name within a domain.
    ProjectName(String, Domain),
    /// A domain.
    Domain(Domain),
    /// The whole deployment.
    System,
}

impl fmt::Display for OwnScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unscoped => f.write_str("no project"),
            Self::ProjectId(id) => write!(f, "project `{id}`"),
            Self::ProjectName(name, domain) => write!(f, "project `{name}` of {domain}"),
            Self::Domain(domain) => domain.fmt(f),
            Self::System => f.write_str("the system"),
        }
    }
}

/// Which of a service's addresses is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interface {
    /// For all.
    #[default]
    Public,
    /// Within the cloud's own network.
    Internal,
    /// For operators.
    Admin,
}

impl Interface {
    /// The word in catalogs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

/// A service of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Swift.
    ObjectStore,
    /// Trove.
    Database,
    /// Keystone.
    Identity,
}

impl Service {
    /// The type in catalogs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ObjectStore => "object-store",
            Self::Database => "database",
            Self::Identity => "identity",
        }
    }
}
