//! Listings. The library's own one fails as a whole where a single key is none to it, such as `a//b`, and takes the
//! mark of a folder (`a/`) for an object.

use jiff::Timestamp;
use object_store::path::Path;
use serde::Deserialize;

use super::ask::{Ask, Result, read_xml};
use super::{BucketStore, Cloud, digests};
use crate::id::{Key, KeyError, RESERVED_FOLDER};
use crate::store::{Listed, StoreError};

/// What was found, and names that are no objects to Backhaul, with why.
#[derive(Default)]
pub(super) struct Found {
    pub(super) objects: Vec<Listed>,
    pub(super) left_out: Vec<(String, String)>,
}

/// A page of a listing.
pub(super) struct Page {
    pub(super) objects: Vec<Entry>,
    /// Where the next one begins.
    pub(super) next: Option<String>,
}

pub(super) struct Entry {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: Option<String>,
    pub(super) modified: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct ObjectPage {
    #[serde(rename = "Contents", default)]
    objects: Vec<Object>,
    #[serde(rename = "EncodingType", default)]
    encoding: Option<String>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextContinuationToken", default)]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Object {
    #[serde(rename = "Key")]
    key: String,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "ETag", default)]
    etag: Option<String>,
    #[serde(rename = "LastModified", default)]
    modified: Option<String>,
}

impl BucketStore {
    /// As [`Store::left_out`](crate::store::Store::left_out).
    ///
    /// # Errors
    /// As [`Source::list`](crate::store::Source::list).
    pub async fn left_out(&self) -> std::result::Result<Vec<(String, String)>, StoreError> {
        Ok(self.find("", usize::MAX).await?.left_out)
    }

    /// What lies under a prefix, in the order of its names; of so many pages at most.
    pub(super) async fn find(&self, prefix: &str, pages_max: usize) -> std::result::Result<Found, StoreError> {
        let ours = prefix.starts_with(RESERVED_FOLDER);
        let full = format!("{}{prefix}", self.inner.prefix);
        let mut found = Found::default();
        let mut after: Option<String> = None;
        for _ in 0..pages_max {
            let page = self.call(self.attempt("list", prefix), || self.page(&full, after.as_deref())).await?.value;
            for entry in page.objects {
                if let Some(name) = entry.key.strip_prefix(&*self.inner.prefix) {
                    found.take(name, &entry, ours);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        found.objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        found.left_out.sort_unstable();
        Ok(found)
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        if let Cloud::Azure(_) = self.inner.cloud {
            return self.blob_page(prefix, after).await;
        }
        // Keys may have characters that XML cannot hold, unless they are encoded.
        let mut query = vec![("list-type", "2"), ("encoding-type", "url")];
        if !prefix.is_empty() {
            query.push(("prefix", prefix));
        }
        query.extend(after.map(|after| ("continuation-token", after)));
        let query = query.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let page: ObjectPage = read_xml(&self.ask(Ask::get(&Path::default(), query)).await?.body)?;
        Ok(page.into())
    }
}

impl From<ObjectPage> for Page {
    fn from(page: ObjectPage) -> Self {
        let is_encoded = page.encoding.as_deref() == Some("url");
        let objects = page.objects.into_iter().map(|object| Entry {
            // Some write a space as `+` (AWS, `MinIO`).
            key: if is_encoded { decoded(&object.key.replace('+', " ")) } else { object.key },
            size: object.size,
            etag: object.etag,
            modified: object.modified.and_then(|text| text.parse().ok()),
        });
        Self { objects: objects.collect(), next: page.next.filter(|_| page.is_truncated) }
    }
}

impl Found {
    fn take(&mut self, name: &str, entry: &Entry, ours: bool) {
        let key = match if ours { Key::parse_any(name) } else { Key::parse(name) } {
            Ok(key) => key,
            // The mark of the store's own folder.
            Err(KeyError::Reserved | KeyError::Empty) => return,
            Err(KeyError::EmptyPart) if name.ends_with('/') && entry.size == 0 => {
                self.left_out.push((name.to_owned(), "it is the mark of a folder".to_owned()));
                return;
            }
            Err(error) => {
                self.left_out.push((name.escape_debug().to_string(), format!("its name {error}")));
                return;
            }
        };
        self.objects.push(Listed {
            key,
            size: entry.size,
            etag: entry.etag.as_deref().map(digests::unquoted),
            modified_ms: entry.modified.map(Timestamp::as_millisecond),
        });
    }
}

/// A name as it is, of one that is written by percent.
pub(super) fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_with_and_without_what_is_optional() {
        let page: ObjectPage = read_xml(
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
             <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
             <Contents><Key>a+b%2Bc%C3%BC</Key><LastModified>2026-11-24T18:00:00.500Z</LastModified><ETag>&quot;e&quot;</ETag>\
             <Size>5</Size></Contents><Contents><Key>d</Key><Size>0</Size></Contents></ListBucketResult>",
        )
        .expect("readable");
        let page = Page::from(page);
        assert_eq!(page.next.as_deref(), Some("t"));
        let mut found = Found::default();
        for entry in page.objects {
            found.take(&entry.key, &entry, false);
        }
        let objects: Vec<_> =
            found.objects.iter().map(|object| (object.key.as_str(), object.etag.as_deref())).collect();
        assert_eq!(objects, [("a b+c\u{fc}", Some("e")), ("d", None)]);
        assert_eq!(found.objects[0].modified_ms.map(|ms| ms % 1000), Some(500));
        let none: ObjectPage = read_xml("<ListBucketResult/>").expect("readable");
        assert!(none.objects.is_empty() && !none.is_truncated);
    }

    #[test]
    fn what_is_no_object_is_told_of() {
        let mut found = Found::default();
        let names = ["", "a/", "a//b", "a\nb", ".backhaul/records/x", "a/../b", "good", "half/ "];
        for name in names {
            let entry = Entry { key: String::new(), size: 0, etag: None, modified: None };
            found.take(name, &entry, false);
        }
        let left_out: Vec<_> = found.left_out.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        assert_eq!(
            left_out,
            [
                "a/: it is the mark of a folder",
                "a//b: its name has an empty part (`//`, or `/` at its end)",
                "a\\nb: its name has a control character (`\\u{a}`)",
                "a/../b: its name has a part `..`, which would lead to another folder",
                "half/ : its name has a part that starts or ends with a space",
            ]
        );
        assert_eq!(found.objects.len(), 1);
    }
}
