//! Tokens, what they are for, and what Keystone says beside them.

use std::fmt;
use std::time::Duration;

use http::header::HeaderValue;
use jiff::Timestamp;
use tokio::time::Instant;

/// Longest time before its end for which a token is not given out any more.
const MARGIN: Duration = Duration::from_secs(30);

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// What the cloud's entry says.
    Own,
    /// A project, by its id.
    Project(String),
}

/// A token. Printing it does not show what opens doors.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Marked as sensitive.
    pub(super) header: HeaderValue,
    /// The project that it is for, if it is for one.
    pub project_id: Option<String>,
    /// That project's name.
    pub project_name: Option<String>,
    /// Names of the roles that it carries.
    pub roles: Vec<String>,
    /// Id of the user who got it.
    pub user_id: String,
    /// That user's name.
    pub user_name: String,
    /// When it ends, by the clock of who gave it.
    pub expires: Timestamp,
    /// When it was given, by the same clock.
    pub issued: Timestamp,
    pub(super) catalog: Vec<CatalogEntry>,
    /// Id and name of the domains that it tells of.
    pub(super) domains: Vec<(String, String)>,
    /// By our own clock, before it was asked for: how wrong the other clock is does not matter.
    pub(super) asked: Instant,
    /// Whether a new one would last longer.
    pub(super) is_renewable: bool,
}

/// One address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CatalogEntry {
    pub(super) service: String,
    pub(super) interface: String,
    pub(super) region: Option<String>,
    pub(super) url: String,
}

impl Token {
    /// The value of `X-Auth-Token`.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    pub(super) fn lifetime(&self) -> Duration {
        Duration::try_from(self.expires.duration_since(self.issued)).unwrap_or_default()
    }

    /// Whether a request may still be begun with it. The last tenth is left for requests under way, or half a minute.
    pub(super) fn is_usable(&self) -> bool {
        let lifetime = self.lifetime();
        self.asked.elapsed() < lifetime.saturating_sub((lifetime / 10).min(MARGIN))
    }

    /// Whether a new one should be asked for while this one is still good.
    pub(super) fn is_due(&self) -> bool {
        self.is_renewable && self.asked.elapsed() >= self.lifetime() / 4 * 3
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("project_id", &self.project_id)
            .field("user_name", &self.user_name)
            .field("roles", &self.roles)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
