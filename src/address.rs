//! Where an object store is, from texts without references: what may be written, and what makes two places one.
//!
//! A plan is checked with these functions as far as its texts hold no `${…}`, and again when a region is opened.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::id::{Key, KeyError};

/// Why a text cannot be part of an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AddressError {
    /// Completes "`endpoint` …"; never holds a secret.
    pub message: String,
    /// What to write instead.
    pub hint: String,
    /// The bytes of the text that nobody should see.
    pub secret: Option<Range<usize>>,
}

impl AddressError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), secret: None }
    }
}

/// Where a store answers: a scheme, a host and a port, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    /// In lower case; an IPv6 address with its brackets.
    host: String,
    port: u16,
}

impl Endpoint {
    /// Reads `https://host[:port]`. `http://` is for this machine only, unless `insecure` allows it.
    ///
    /// # Errors
    /// [`AddressError`], also for hosts that some programs read as another address (`127.1`, `0x7f000001`).
    pub fn parse(text: &str, insecure: bool) -> Result<Self, AddressError> {
        const FORM: &str = "write it as `https://host` or `https://host:port`";
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(AddressError::new("is no URL", FORM));
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(AddressError::new("has another scheme than `https` and `http`", FORM)),
        };
        let start = scheme.len() + 3;
        refuse_secrets(text, start)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if !matches!(path, "" | "/") {
            let hint = format!("{FORM}; what is behind the host goes to `bucket`, `account` and `prefix`");
            return Err(AddressError::new("has a path", hint));
        }
        let (host, port) =
            split_port(authority).ok_or_else(|| AddressError::new("has no port behind its `:`", FORM))?;
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return Err(AddressError::new("has no valid host name or address", FORM));
        }
        let port = match port {
            None => default_port(https),
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|port| *port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| AddressError::new("has no valid port", "ports go from 1 to 65535"))?,
        };
        let endpoint = Self { https, host: canonical(&host), port };
        if !endpoint.https && !insecure && !endpoint.is_loopback() {
            let message = "is `http://` to another machine: whoever is on the way could read keys and backups";
            let hint = "write `https://`, or allow it for this store with `insecure: true`";
            return Err(AddressError::new(message, hint));
        }
        Ok(endpoint)
    }

    /// Whether what goes there is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether it is this machine, whatever a name server says: `localhost`, `127.0.0.0/8`, `[::1]`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || self.host == "[::1]"
    }

    /// Host and port, the port left out where it is the scheme's own: as in an identity and in the `Host` header.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == default_port(self.https) { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The host alone, an IPv6 address with its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The whole URL, without a `/` at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.https { "https" } else { "http" }, self.authority())
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Refuses a user name, a password, a query: all of them may be secrets, or sent to who should not see them.
fn refuse_secrets(text: &str, start: usize) -> Result<(), AddressError> {
    let hint =
        "remove it here and change it where it is used; keys go to the store's own keys of the plan as `${NAME}`";
    let refused =
        |message: &str, secret| Err(AddressError { secret: Some(secret), ..AddressError::new(message, hint) });
    if let Some(at) = text.rfind('@').filter(|at| *at >= start) {
        return refused("has a user name or a password in it", start..at);
    }
    match text.find(['?', '#']) {
        Some(at) if at + 1 < text.len() => refused("has a query behind its host", at + 1..text.len()),
        Some(_) => Err(AddressError::new("has a query behind its host", "remove the `?`")),
        None => Ok(()),
    }
}

/// Checks the name of a Swift container.
///
/// # Errors
/// [`AddressError`], with the rule.
pub fn check_swift_container(name: &str) -> Result<(), AddressError> {
    let why = match name {
        "" => "it is empty".to_owned(),
        "." | ".." => "`.` and `..` mean something else in URLs".to_owned(),
        name if name.len() > CONTAINER_BYTES_MAX => format!("it has {} bytes", name.len()),
        name if name.contains('/') => "it has a `/`".to_owned(),
        name => match name.chars().find(|c| c.is_control()) {
            Some(bad) => format!("it has the character `{}`", bad.escape_debug()),
            None => return Ok(()),
        },
    };
    Err(AddressError::new(
        format!("is no container name: {why}"),
        "1 to 256 bytes without `/`, as in `database_backups`",
    ))
}

/// Longest name of a Swift container (Swift, `max_container_name_length`).
const CONTAINER_BYTES_MAX: usize = 256;

/// Where a Swift answers: an [`Endpoint`] with a path, which ends in `/v1`; it may be left out where it is only that.
/// The result has no `/` at its end.
///
/// # Errors
/// [`AddressError`], as [`Endpoint::parse`].
pub fn swift_url(text: &str, insecure: bool) -> Result<String, AddressError> {
    let (endpoint, path) = with_path(text, insecure)?;
    match path.trim_end_matches('/') {
        "" => Ok(format!("{}/v1", endpoint.url())),
        path if path.ends_with("/v1") => Ok(format!("{}{path}", endpoint.url())),
        _ => Err(AddressError::new(
            "does not end in `/v1`",
            "write the address of all accounts, as in `https://host/v1`; `account` and `container` say which is meant",
        )),
    }
}

/// An [`Endpoint`] with any path behind it, as those of services are. The result has no `/` at its end.
///
/// # Errors
/// [`AddressError`], as [`Endpoint::parse`].
pub fn service_url(text: &str, insecure: bool) -> Result<String, AddressError> {
    let (endpoint, path) = with_path(text, insecure)?;
    Ok(format!("{}{}", endpoint.url(), path.trim_end_matches('/')))
}

fn with_path(text: &str, insecure: bool) -> Result<(Endpoint, &str), AddressError> {
    let start = text.find("://").map_or(0, |at| at + 3);
    refuse_secrets(text, start)?;
    let (front, path) = text[start..].find('/').map_or((text, ""), |at| text.split_at(start + at));
    Ok((Endpoint::parse(front, insecure)?, path))
}

/// Host and port; none for a `:` without a port.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let after_host = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_host..].find(':') {
        None => Some((authority, None)),
        Some(at) => {
            let (host, port) = (&authority[..after_host + at], &authority[after_host + at + 1..]);
            (!port.is_empty()).then_some((host, Some(port)))
        }
    }
}

/// Whether every program takes this for the same host: a DNS name, or an address in its usual form.
fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len())
            && label.bytes().all(allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_like_a_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    host.len() <= 253 && host.split('.').all(is_label) && (!is_like_a_number || host.parse::<Ipv4Addr>().is_ok())
}

/// One text for each IPv6 address.
fn canonical(host: &str) -> String {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside
        .and_then(|address| address.parse::<Ipv6Addr>().ok())
        .map_or_else(|| host.to_owned(), |address| format!("[{address}]"))
}

/// Checks the name of an S3 bucket.
///
/// # Errors
/// [`AddressError`], with the rule.
pub fn check_s3_bucket(name: &str) -> Result<(), AddressError> {
    check_bucket(name, b"-.", 63)
}

/// Checks the name of a GCS bucket.
///
/// # Errors
/// [`AddressError`], with the rule.
pub fn check_gcs_bucket(name: &str) -> Result<(), AddressError> {
    if name.split('.').any(|part| part.len() > 63) {
        let hint = "a bucket's name has at most 63 characters, with dots at most 222 and 63 between two";
        return Err(AddressError::new("is no bucket name: it is too long", hint));
    }
    check_bucket(name, b"-._", if name.contains('.') { 222 } else { 63 })
}

fn check_bucket(name: &str, marks: &[u8], max: usize) -> Result<(), AddressError> {
    let refused = |why: String| Err(AddressError::new(format!("is no bucket name: {why}"), bucket_hint(marks, max)));
    if let Some(why) = wrong_in(name, marks, max) {
        return refused(why);
    }
    if name.contains("..") {
        return refused("it has two dots in a row".to_owned());
    }
    if name.parse::<Ipv4Addr>().is_ok() {
        return refused("it looks like an IP address".to_owned());
    }
    Ok(())
}

fn bucket_hint(marks: &[u8], max: usize) -> String {
    let marks: Vec<String> = marks.iter().map(|mark| format!("`{}`", char::from(*mark))).collect();
    format!("3 to {max} lower-case letters, digits, {}; the folder in it goes to `prefix`", marks.join(", "))
}

/// Checks the name of an Azure container.
///
/// # Errors
/// [`AddressError`], with the rule.
pub fn check_container(name: &str) -> Result<(), AddressError> {
    let double = name.contains("--").then(|| "it has two `-` in a row".to_owned());
    match wrong_in(name, b"-", 63).or(double) {
        None => Ok(()),
        Some(why) => Err(AddressError::new(format!("is no container name: {why}"), bucket_hint(b"-", 63))),
    }
}

/// Checks the name of an Azure storage account.
///
/// # Errors
/// [`AddressError`], with the rule.
pub fn check_account(name: &str) -> Result<(), AddressError> {
    let hint = "3 to 24 lower-case letters and digits";
    wrong_in(name, b"", 24).map_or(Ok(()), |why| Err(AddressError::new(format!("is no account name: {why}"), hint)))
}

/// Checks the name of an S3 region, which becomes part of a host's name.
///
/// # Errors
/// [`AddressError`], with the rule.
pub fn check_s3_region(name: &str) -> Result<(), AddressError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=63).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(AddressError::new("is no region name", "letters, digits and `-`, as in `eu-central-1`"))
}

/// What is wrong with a name of lower-case letters, digits and some marks that are not at its ends.
fn wrong_in(name: &str, marks: &[u8], max: usize) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_allowed = |c: char| u8::try_from(c).is_ok_and(|byte| is_plain(byte) || marks.contains(&byte));
    let count = name.chars().count();
    if let Some(bad) = name.chars().find(|c| !is_allowed(*c)) {
        Some(format!("it has the character `{}`", bad.escape_debug()))
    } else if !(3..=max).contains(&count) {
        Some(format!("it has {count} characters"))
    } else if !name.bytes().next().is_some_and(is_plain) || !name.bytes().next_back().is_some_and(is_plain) {
        Some("it must start and end with a letter or a digit".to_owned())
    } else {
        None
    }
}

/// The folder in a bucket that a store keeps to, with the `/` at its end that may be left out.
///
/// # Errors
/// [`AddressError`] for what no key may have, and for Backhaul's own folder: that one lies below the prefix.
pub fn prefix(text: &str) -> Result<String, AddressError> {
    let hint = "write the folder as in `backups/orders/`; without the key the whole bucket is meant";
    match Key::parse(text.strip_suffix('/').unwrap_or(text)) {
        Ok(key) => Ok(format!("{key}/")),
        Err(KeyError::Absolute) => Err(AddressError::new("starts with `/`", hint)),
        Err(error) => Err(AddressError::new(format!("is no folder of a bucket: it {error}"), hint)),
    }
}

/// The clouds, with what their public endpoints depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud<'a> {
    /// Amazon S3.
    S3 {
        /// For instance `us-east-1`.
        region: &'a str,
    },
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure {
        /// The storage account.
        account: &'a str,
    },
}

impl Cloud<'_> {
    /// The host of the public endpoint, always by `https`.
    #[must_use]
    pub fn public_host(self) -> String {
        match self {
            Self::S3 { region } => format!("s3.{region}.amazonaws.com"),
            Self::Gcs => "storage.googleapis.com".to_owned(),
            Self::Azure { account } => format!("{account}.blob.core.windows.net"),
        }
    }
}

/// What a bucket is, whatever a plan calls it: `s3://s3.us-east-1.amazonaws.com/bucket/prefix/`. It is part of every
/// target id, so another text for the same place would orphan the copies made so far.
///
/// `authority` is [`Endpoint::authority`], none where the plan names no endpoint; `prefix` is empty or ends with `/`.
/// How the place is reached is no part of it: neither scheme nor credentials, nor the bucket's place in a URL.
#[must_use]
pub fn identity_of(cloud: Cloud<'_>, authority: Option<&str>, bucket: &str, prefix: &str) -> String {
    let authority = authority.map_or_else(|| cloud.public_host(), str::to_owned);
    match cloud {
        Cloud::S3 { .. } => format!("s3://{authority}/{bucket}/{prefix}"),
        Cloud::Gcs => format!("gcs://{authority}/{bucket}/{prefix}"),
        Cloud::Azure { account } => format!("azure://{authority}/{account}/{bucket}/{prefix}"),
    }
}

/// Whether two buckets' identities are one place, or one lies inside the other.
#[must_use]
pub fn overlap(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| {
        let rest = inner.strip_prefix(outer.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    inside(one, other) || inside(other, one)
}

#[cfg(test)]
mod tests;
