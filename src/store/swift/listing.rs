//! Listings of containers and accounts, page by page. They may be behind, and never decide anything.

use http::{HeaderMap, Method};
use jiff::Timestamp;
use serde::Deserialize;

use super::ask::{Ask, At};
use super::headers::unquoted;
use super::{Account, SwiftStore};
use crate::id::{Key, KeyError, RESERVED_FOLDER};
use crate::store::{Listed, StoreError, StoreErrorKind};

/// What was found, and names that are no objects to Backhaul, with why.
#[derive(Default)]
pub(super) struct Found {
    pub(super) objects: Vec<Listed>,
    pub(super) left_out: Vec<(String, String)>,
}

/// A line of a listing of a container, or of an account.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    slo_etag: Option<String>,
    #[serde(default)]
    last_modified: Option<String>,
}

impl SwiftStore {
    /// As [`Store::left_out`](crate::store::Store::left_out).
    ///
    /// # Errors
    /// As [`Source::list`](crate::store::Source::list).
    pub async fn left_out(&self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(self.find("").await?.left_out)
    }

    /// What lies under a prefix of keys, in the order of its names.
    pub(super) async fn find(&self, prefix: &str) -> Result<Found, StoreError> {
        let (account, rest) = match self.inner.options.account {
            Account::Own => (None, prefix),
            Account::PerTenant(_) => {
                let Some((account, rest)) = prefix.split_once('/') else {
                    let why = "this store has the accounts of many projects, and a listing is of one of them";
                    let error = self.attempt("list", prefix).refused(StoreErrorKind::Refused, why);
                    return Err(error.hint("begin with the account: `AUTH_…/`"));
                };
                (Some(account), rest)
            }
        };
        let before = account.map(|account| format!("{account}/")).unwrap_or_default();
        let ours = prefix.contains(RESERVED_FOLDER);
        let mut found = Found::default();
        let (containers, objects_prefix) = match rest.split_once('/') {
            Some((container, objects)) => (vec![container.to_owned()], objects),
            None => (self.containers(account, rest).await?, ""),
        };
        for container in containers {
            for entry in self.objects(account, &container, objects_prefix).await? {
                found.take(&format!("{before}{container}/{}", entry.name), &entry, ours);
            }
        }
        found.objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        found.left_out.sort_unstable();
        Ok(found)
    }

    /// The containers of an account whose names start with `prefix`; none if there is no such account.
    async fn containers(&self, account: Option<&str>, prefix: &str) -> Result<Vec<String>, StoreError> {
        let entries = self.pages(At::Account(account), prefix).await?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// The objects of a container whose names start with `prefix`; none if there is no such container.
    pub(super) async fn objects(
        &self,
        account: Option<&str>,
        container: &str,
        prefix: &str,
    ) -> Result<Vec<Entry>, StoreError> {
        self.pages(At::Container(account, container), prefix).await
    }

    async fn pages(&self, at: At<'_>, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let name = if let At::Container(_, container) = at { container } else { "" };
        let attempt = self.attempt("list", name);
        let mut entries: Vec<Entry> = Vec::new();
        let limit = self.inner.options.page.map(|page| page.to_string());
        loop {
            let marker = entries.last().map(|entry| entry.name.clone());
            let mut query = vec![("format", "json")];
            query.extend((!prefix.is_empty()).then_some(("prefix", prefix)));
            query.extend(marker.as_deref().map(|marker| ("marker", marker)));
            query.extend(limit.as_deref().map(|limit| ("limit", limit)));
            let answered = match self.ask(attempt, &Ask::new(Method::GET, at, &query, HeaderMap::new())).await? {
                Ok(answered) => answered,
                Err(gave_up) if gave_up.answer.status == Some(404) => return Ok(entries),
                Err(gave_up) => return Err(attempt.given_up(&gave_up)),
            };
            if answered.body.is_empty() {
                // 204, as some answer where there is nothing.
                return Ok(entries);
            }
            let page: Vec<Entry> = serde_json::from_slice(&answered.body)
                .map_err(|error| attempt.refused(StoreErrorKind::Io, format!("its listing cannot be read: {error}")))?;
            if page.is_empty() {
                return Ok(entries);
            }
            // Else a gateway that ignores the marker would be asked for ever.
            if !goes_on(marker.as_deref(), &page) {
                return Err(attempt.refused(StoreErrorKind::Io, "its listing gives the same page again and again"));
            }
            entries.extend(page);
        }
    }
}

/// Whether a page ends elsewhere than the one before it. Not compared by order: that is the cluster's own.
fn goes_on(marker: Option<&str>, page: &[Entry]) -> bool {
    page.last().map(|entry| entry.name.as_str()) != marker
}

impl Found {
    fn take(&mut self, name: &str, entry: &Entry, ours: bool) {
        let key = match if ours { Key::parse_any(name) } else { Key::parse(name) } {
            Ok(key) => key,
            Err(KeyError::Reserved) => return,
            Err(KeyError::EmptyPart) if name.ends_with('/') && entry.bytes == 0 => {
                self.left_out.push((name.to_owned(), "it is the mark of a folder".to_owned()));
                return;
            }
            Err(error) => {
                self.left_out.push((name.escape_debug().to_string(), format!("its name {error}")));
                return;
            }
        };
        // Listings say UTC without its letter.
        let modified = entry.last_modified.as_ref().and_then(|text| format!("{text}Z").parse::<Timestamp>().ok());
        self.objects.push(Listed {
            key,
            size: entry.bytes,
            etag: entry.slo_etag.as_deref().or(entry.hash.as_deref()).map(unquoted),
            modified_ms: modified.map(Timestamp::as_millisecond),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_ends_where_the_last_one_did_does_not_go_on() {
        let page: Vec<Entry> = serde_json::from_str(r#"[{"name": "a"}, {"name": "b"}]"#).expect("readable");
        assert!(goes_on(None, &page));
        assert!(goes_on(Some("a"), &page));
        assert!(!goes_on(Some("b"), &page));
    }

    #[test]
    fn a_line_of_a_manifest_shows_the_whole_objects_tag() {
        let page = r#"[{"bytes": 7, "hash": "5ceac82e", "name": "a.gz", "slo_etag": "\"2e4559c3\"",
            "last_modified": "2026-11-22T10:48:06.500000", "content_type": "a/b"},
            {"bytes": 0, "hash": "d41d8cd9", "name": "d/"}, {"subdir": "x/", "name": "b\u0000"}]"#;
        let entries: Vec<Entry> = serde_json::from_str(page).expect("readable");
        let mut found = Found::default();
        for entry in &entries {
            found.take(&format!("c/{}", entry.name), entry, false);
        }
        assert_eq!(found.objects.len(), 1);
        assert_eq!((found.objects[0].key.as_str(), found.objects[0].etag.as_deref()), ("c/a.gz", Some("2e4559c3")));
        assert_eq!(found.objects[0].modified_ms.map(|ms| ms % 1000), Some(500));
        assert_eq!(found.left_out.len(), 2);
    }
}
