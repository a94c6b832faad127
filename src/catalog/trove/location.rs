//! Where a row of Trove's says its object lies. Pure, and strict: the URL is never fetched. As in Trove itself only
//! its last parts count, looked up in the region's own Swift.

use std::fmt;

/// Longest location that Trove's table can hold, in characters.
pub const LOCATION_MAX: usize = 1024;

/// A location, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Host and port as written. Nobody connects to it; it tells whose region a row was made for.
    pub host: String,
    /// `AUTH_…`; none where a Swift keeps it out of its URLs, as Ceph may.
    pub account: Option<String>,
    /// Trove's container.
    pub container: String,
    /// The object, without `/`.
    pub object: String,
}

/// Why a text is no location of a backup in Swift. Each text completes "the location …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// No location at all: the backup never got that far.
    #[error("is not there")]
    Absent,
    /// More than [`LOCATION_MAX`] characters.
    #[error("has {0} characters, at most {LOCATION_MAX} are possible")]
    TooLong(usize),
    /// Line ends and their like.
    #[error("has a control character (`{0}`)")]
    Control(String),
    /// A snapshot of a volume.
    #[error("is a snapshot in Cinder, which stays in its region; only backups in Swift can be copied")]
    Snapshot,
    /// Neither `http` nor `https`.
    #[error("has the scheme `{0}`; there are `http` and `https`")]
    Scheme(String),
    /// `user:password@`, or a backslash, which some programs read as `/`.
    #[error("has `{0}` in its host, which could lead elsewhere")]
    Host(char),
    /// No host, or a port that cannot be.
    #[error("has no valid host and port")]
    BadHost,
    /// A query or fragment.
    #[error("has `{0}`, as no object of Trove's has")]
    Extra(char),
    /// An empty part, `.` or `..`, also behind percent signs.
    #[error("has a part that is empty or leads to another folder")]
    Part,
    /// Not `…/v1/ACCOUNT/CONTAINER/OBJECT`.
    #[error("is not of the form `…/v1/ACCOUNT/CONTAINER/OBJECT`")]
    Form,
    /// An account that is not the one of the row's owner.
    #[error("is in the account `{account}`, which is not that of its owner, `{tenant}`")]
    OtherTenant {
        /// The location's.
        account: String,
        /// The row's.
        tenant: String,
    },
}

impl Location {
    /// Takes a location apart.
    ///
    /// # Errors
    /// [`LocationError`], one kind for each rule; never [`LocationError::OtherTenant`].
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let length = text.chars().count();
        if length == 0 {
            return Err(LocationError::Absent);
        }
        if length > LOCATION_MAX {
            return Err(LocationError::TooLong(length));
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(LocationError::Control(bad.escape_unicode().to_string()));
        }
        let (scheme, rest) = text.split_once("://").ok_or(LocationError::Form)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {}
            "cinder" => return Err(LocationError::Snapshot),
            _ => return Err(LocationError::Scheme(scheme.escape_debug().to_string())),
        }
        let (host, path) = rest.split_once('/').ok_or(LocationError::Form)?;
        check_host(host)?;
        if let Some(extra) = path.chars().find(|c| matches!(c, '?' | '#' | '\\')) {
            return Err(LocationError::Extra(extra));
        }
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| leads_elsewhere(part)) {
            return Err(LocationError::Part);
        }
        let (account, container, object) = match parts.as_slice() {
            [.., version, account, container, object] if is_version(version) => (Some(*account), container, object),
            [.., version, container, object] if is_version(version) => (None, container, object),
            _ => return Err(LocationError::Form),
        };
        Ok(Self {
            host: host.to_ascii_lowercase(),
            account: account.map(str::to_owned),
            container: (*container).to_owned(),
            object: (*object).to_owned(),
        })
    }

    /// The same where it is known whose row it is in: the account must be that tenant's. Trove would read the owner's
    /// account whatever the location says, and so another object.
    ///
    /// # Errors
    /// [`LocationError`].
    pub fn parse_of(text: &str, tenant: &str) -> Result<Self, LocationError> {
        let location = Self::parse(text)?;
        match &location.account {
            Some(account) if !is_account_of(account, tenant) => {
                Err(LocationError::OtherTenant { account: account.clone(), tenant: tenant.to_owned() })
            }
            Some(_) => Ok(location),
            None => Ok(Self { account: Some(format!("AUTH_{tenant}")), ..location }),
        }
    }
}

/// `ACCOUNT/CONTAINER/OBJECT`, as keys of a store with `account: per-tenant` are.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(account) = &self.account {
            write!(f, "{account}/")?;
        }
        write!(f, "{}/{}", self.container, self.object)
    }
}

/// Whether a Swift account is a project's: its id after a prefix that the operator of the Swift chose (`AUTH_`).
#[must_use]
pub fn is_account_of(account: &str, project: &str) -> bool {
    let prefix = account.strip_suffix(project);
    !project.is_empty() && prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('_'))
}

fn check_host(host: &str) -> Result<(), LocationError> {
    if let Some(bad) = host.chars().find(|c| matches!(c, '@' | '\\' | '%')) {
        return Err(LocationError::Host(bad));
    }
    let (name, port) = match host.rsplit_once(':') {
        // The last colon of `[::1]` is part of the address.
        Some((_, rest)) if rest.ends_with(']') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    if name.is_empty() || !good_port { Err(LocationError::BadHost) } else { Ok(()) }
}

/// Names go into requests as they are; what a server might read as another path is refused.
fn leads_elsewhere(part: &str) -> bool {
    let lower = part.to_ascii_lowercase().replace("%2e", ".");
    lower.is_empty() || lower == "." || lower == ".." || lower.contains("%2f") || lower.contains("%5c")
}

fn is_version(part: &str) -> bool {
    matches!(part, "v1" | "v1.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, LocationError> {
        Location::parse_of(text, "t1").map(|location| location.to_string())
    }

    #[test]
    fn locations_as_troves_are() {
        let key = "AUTH_t1/database_backups/1a46.xbstream.gz";
        for good in [
            "http://127.0.0.1:18081/v1/AUTH_t1/database_backups/1a46.xbstream.gz",
            "https://swift.example/v1/AUTH_t1/database_backups/1a46.xbstream.gz",
            "HTTPS://[::1]:8080/swift/v1/AUTH_t1/database_backups/1a46.xbstream.gz",
            "https://rgw.example/swift/v1/database_backups/1a46.xbstream.gz",
        ] {
            assert_eq!(of(good), Ok(key.to_owned()), "{good}");
        }
        let location = Location::parse("http://Region-One:18081/v1/AUTH_x/box/o").expect("a location");
        assert_eq!((location.host.as_str(), location.account.as_deref()), ("region-one:18081", Some("AUTH_x")));
    }

    #[test]
    fn hosts_are_never_reached_and_odd_ones_are_refused() {
        let path = "v1/AUTH_t1/box/o";
        // Whatever the host: its account, container and object count, and are asked of the region's own Swift.
        for host in ["169.254.169.254", "0x7f000001", "2130706433", "127.1", "localhost.", "[::ffff:127.0.0.1]"] {
            assert_eq!(of(&format!("http://{host}/{path}")), Ok("AUTH_t1/box/o".to_owned()), "{host}");
        }
        for (host, bad) in [("user:pw@host", '@'), ("good@evil", '@'), ("good\\@evil", '\\'), ("a%2eb", '%')] {
            assert_eq!(of(&format!("https://{host}/{path}")), Err(LocationError::Host(bad)), "{host}");
        }
        for host in ["", ":80", "host:0", "host:70000", "host:x"] {
            assert_eq!(of(&format!("https://{host}/{path}")), Err(LocationError::BadHost), "{host}");
        }
    }

    #[test]
    fn other_schemes_are_named() {
        assert_eq!(of("cinder://0b6a"), Err(LocationError::Snapshot));
        for scheme in ["file", "gopher", "ftp", "swift"] {
            assert_eq!(of(&format!("{scheme}://h/v1/AUTH_t1/box/o")), Err(LocationError::Scheme(scheme.into())));
        }
        assert_eq!(of(""), Err(LocationError::Absent));
        assert_eq!(of("box/o"), Err(LocationError::Form));
    }

    #[test]
    fn anything_more_or_less_than_three_parts_is_refused() {
        let base = "http://h/v1/AUTH_t1/box";
        assert_eq!(of(&format!("{base}/o?temp_url_sig=1")), Err(LocationError::Extra('?')));
        assert_eq!(of(&format!("{base}/o#x")), Err(LocationError::Extra('#')));
        assert_eq!(of(&format!("{base}/")), Err(LocationError::Part));
        assert_eq!(of(&format!("{base}/%2e%2E")), Err(LocationError::Part));
        assert_eq!(of(&format!("{base}/a%2Fb")), Err(LocationError::Part));
        assert_eq!(of(&format!("{base}/folder/o")), Err(LocationError::Form));
        assert_eq!(of("http://h/o"), Err(LocationError::Form));
        assert_eq!(of("http://h/v1/o"), Err(LocationError::Form));
        assert!(matches!(of(&format!("{base}/a\r\nb")), Err(LocationError::Control(_))));
        assert_eq!(of(&format!("{base}/{}", "o".repeat(1024))), Err(LocationError::TooLong(1048)));
    }

    #[test]
    fn another_tenants_account_is_refused() {
        let account = "AUTH_t2".to_owned();
        let expected = LocationError::OtherTenant { account, tenant: "t1".to_owned() };
        assert_eq!(of("http://h/v1/AUTH_t2/box/o"), Err(expected));
        assert!(is_account_of("AUTH_t1", "t1") && is_account_of("t1", "t1") && is_account_of("KEY_t1", "t1"));
        assert!(!is_account_of("AUTH_xt1", "t1") && !is_account_of("AUTH_", "") && !is_account_of("AUTH_t1", "t"));
    }
}
