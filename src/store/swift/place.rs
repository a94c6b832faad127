//! Keys as accounts, containers and objects, and the names that are made of them.

use reqwest::Url;

use super::{Account, SwiftStore};
use crate::id::{Key, KeyError};
use crate::store::{StoreError, StoreErrorKind};

/// Longest name of a container, in bytes.
const CONTAINER_BYTES_MAX: usize = 256;

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// None is the account of the store's own token.
    pub(super) account: Option<String>,
    pub(super) container: String,
    pub(super) object: String,
}

impl Place {
    /// Another object in the same container.
    pub(super) fn beside(&self, object: String) -> Self {
        Self { object, ..self.clone() }
    }

    /// An object that a manifest of this account names: `/container/object`.
    pub(super) fn named(&self, path: &str) -> Option<Self> {
        let (container, object) = path.trim_start_matches('/').split_once('/')?;
        (!container.is_empty() && !object.is_empty()).then(|| Self {
            account: self.account.clone(),
            container: container.to_owned(),
            object: object.to_owned(),
        })
    }

    /// As manifests name it.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.container, self.object)
    }

    /// What the names of the segments of one attempt start with: the object's own name up to its first dot, and the
    /// attempt's token, as Trove has it but for the token.
    pub(super) fn segments_prefix(&self, token: &str) -> String {
        let (folder, name) = self.object.rsplit_once('/').map_or(("", &*self.object), |(folder, name)| (folder, name));
        let stem = name.char_indices().skip(1).find(|(_, c)| *c == '.').map_or(name, |(at, _)| &name[..at]);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}{stem}_{token}_")
    }

    /// A segment of one attempt.
    pub(super) fn segment(&self, token: &str, number: u32) -> Self {
        self.beside(format!("{}{number:08}", self.segments_prefix(token)))
    }
}

/// The number of a segment, of a name that is exactly one of an attempt's.
pub(super) fn segment_number(prefix: &str, object: &str) -> Option<u32> {
    let digits = object.strip_prefix(prefix)?;
    (digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// A URL below the one that ends in the API's version.
pub(super) fn url(base: &Url, parts: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(parts.iter().flat_map(|part| part.split('/')));
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
        // A space as `+` is for forms; a literal plus is `%2B` by now.
        let text = url.query().unwrap_or_default().replace('+', "%20");
        url.set_query(Some(&text));
    }
    url
}

/// A storage URL as what ends in the API's version, and the account: `https://host/v1` and `AUTH_x`.
pub(super) fn split_storage_url(url: &Url) -> Option<(Url, String)> {
    let mut base = url.clone();
    base.set_query(None);
    base.set_fragment(None);
    let account = url.path_segments()?.rfind(|part| !part.is_empty())?.to_owned();
    base.path_segments_mut().ok()?.pop_if_empty().pop();
    let is_version = account.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if is_version {
        return None;
    }
    let account = percent_encoding::percent_decode_str(&account).decode_utf8().ok()?.into_owned();
    (base.path().len() > 1).then_some((base, account))
}

impl SwiftStore {
    /// Where an object of that name lies.
    pub(super) fn place(&self, doing: &'static str, key: &Key) -> Result<Place, StoreError> {
        let (form, parts) = match self.inner.options.account {
            Account::Own => ("container/object", key.as_str().split_once('/').map(|rest| (None, rest))),
            Account::PerTenant(_) => {
                let parts = key.as_str().split_once('/').and_then(|(account, rest)| {
                    let rest = rest.split_once('/')?;
                    Some((Some(account.to_owned()), rest))
                });
                ("account/container/object", parts)
            }
        };
        let refused = |why: String| self.attempt(doing, key.as_str()).refused(StoreErrorKind::Refused, why);
        match parts {
            Some((_, (container, _))) if container.len() > CONTAINER_BYTES_MAX => {
                Err(refused(format!("its container's name has more than {CONTAINER_BYTES_MAX} bytes")))
            }
            Some((account, (container, object))) => {
                Ok(Place { account, container: container.to_owned(), object: object.to_owned() })
            }
            None => Err(refused(format!("names in this store have the form `{form}`"))
                .hint("write the container before the object's name")),
        }
    }

    /// The name, in this store, of an object that lies in an account of its cluster.
    ///
    /// # Errors
    /// [`KeyError`]: what is no name of an object to Backhaul.
    pub fn key_of(&self, account: &str, container: &str, object: &str) -> Result<Key, KeyError> {
        match self.inner.options.account {
            Account::Own => Key::parse(&format!("{container}/{object}")),
            Account::PerTenant(_) => Key::parse(&format!("{account}/{container}/{object}")),
        }
    }

    /// The URL that Trove keeps for an object: the last two parts are its container and its name, as they are.
    ///
    /// # Errors
    /// [`StoreError`]: no way into the cloud, or a name without a container.
    pub async fn location_url(&self, key: &Key) -> Result<String, StoreError> {
        let place = self.place("locate", key)?;
        let granted = self.granted(self.attempt("locate", key.as_str()), place.account.as_deref()).await?;
        let base = granted.listed.as_str().trim_end_matches('/');
        Ok(format!("{base}/{}/{}/{}", granted.account, place.container, place.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(object: &str) -> Place {
        Place { account: None, container: "c".to_owned(), object: object.to_owned() }
    }

    #[test]
    fn segments_are_named_after_the_object_and_the_attempt() {
        assert_eq!(place("0f-1.xbstream.gz").segment("ab", 7).object, "0f-1_ab_00000007");
        assert_eq!(place("d.e/f.gz").segment("ab", 0).object, "d.e/f_ab_00000000");
        assert_eq!(place(".hidden").segment("ab", 1).object, ".hidden_ab_00000001");
        let prefix = place("x.gz").segments_prefix("ab");
        assert_eq!(segment_number(&prefix, "x_ab_00000012"), Some(12));
        for other in ["x_ab_0000001", "x_ab_000000012", "x_ab_0000001a", "x_cd_00000001", "x_ab_+0000001"] {
            assert_eq!(segment_number(&prefix, other), None, "{other}");
        }
    }

    #[test]
    fn urls_hold_any_name() {
        let base: Url = "http://127.0.0.1:8080/v1".parse().expect("a URL");
        let made = url(&base, &["AUTH_x", "a b", "ä/%+?.gz"], &[("multipart-manifest", "get"), ("marker", "a b+")]);
        assert_eq!(
            made.as_str(),
            "http://127.0.0.1:8080/v1/AUTH_x/a%20b/%C3%A4/%25+%3F.gz?multipart-manifest=get&marker=a%20b%2B"
        );
    }

    #[test]
    fn a_storage_url_is_what_stays_and_the_account() {
        let split = |text: &str| split_storage_url(&text.parse().expect("a URL"));
        let both = |base: &str, account: &str| Some((base.parse().expect("a URL"), account.to_owned()));
        assert_eq!(split("https://h/v1/AUTH_x"), both("https://h/v1", "AUTH_x"));
        assert_eq!(split("https://h/swift/v1/AUTH_x/"), both("https://h/swift/v1", "AUTH_x"));
        for without in ["https://h/v1", "https://h/swift/v1", "https://h/v1.0/", "https://h/"] {
            assert_eq!(split(without), None, "{without}");
        }
    }
}
