//! Reading: facts, ranges pinned to one version of an object, and listings.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use object_store::{GetOptions, GetRange};

use super::{BucketStore, Cloud, digests};
use crate::http::{Answer, AsStored};
use crate::id::Key;
use crate::store::{
    KnownDigests, Listed, Metadata, ObjectFacts, Pin, Read, Seen, Source, StoreError, StoreErrorKind, buffers,
};

/// A listing is worth its requests while a page of 1,000 has so many of the objects that are asked for.
const OBJECTS_A_PAGE: usize = 100;

/// Pages that are read however few objects are asked for.
const PAGES_BESIDE: usize = 4;

impl Source for BucketStore {
    async fn head(&self, key: &Key) -> Result<ObjectFacts, StoreError> {
        let path = self.path("read", key)?;
        let reader = self.inner.cloud.reader();
        let options = || GetOptions { head: true, extensions: self.as_stored(), ..GetOptions::default() };
        let done = self
            .call(self.attempt("read", key.as_str()), || async {
                let found = reader.get_opts(&path, options()).await?;
                has_tag(&found.meta)?;
                Ok(found)
            })
            .await?;
        Ok(facts(&done.value.meta, &done.answer))
    }

    /// Pinned by `If-Match`, and by comparing what the answer says: a store may ignore the condition.
    async fn read(&self, key: &Key, range: Range<u64>, pin: &Pin, seen: Seen<'_>) -> Result<Read, StoreError> {
        let path = self.path("read", key)?;
        let attempt = self.attempt("read", key.as_str());
        let reader = self.inner.cloud.reader();
        let whole = range.start == 0 && range.end == pin.size;
        if range.is_empty() && !whole {
            return Ok(Read { bytes: Bytes::new(), facts: None });
        }
        let length = usize::try_from(range.end - range.start).expect("a part fits into memory");
        let done = self
            .call(attempt, || {
                // A weak tag never matches `If-Match` (RFC 9110 §8.8.3.2); then the answer's own is compared.
                let condition = (!pin.etag.starts_with("W/")).then(|| format!("\"{}\"", pin.etag));
                let range = (!whole).then(|| GetRange::Bounded(range.clone()));
                let options =
                    GetOptions { if_match: condition, range, extensions: self.as_stored(), ..GetOptions::default() };
                let path = &path;
                async move {
                    let found = reader.get_opts(path, options).await?;
                    let meta = found.meta.clone();
                    has_tag(&meta)?;
                    let bytes = buffers::collect(found.into_stream(), length, seen, wrong_length).await?;
                    Ok((meta, bytes))
                }
            })
            .await?;
        let (meta, bytes) = done.value;
        let facts = facts(&meta, &done.answer);
        if facts.etag != pin.etag || facts.size != pin.size {
            let why = if facts.size == pin.size {
                format!("it changed: version {} now, {} when it was looked at first", facts.etag, pin.etag)
            } else {
                format!("it changed, from {} to {} bytes", pin.size, facts.size)
            };
            return Err(attempt
                .refused(StoreErrorKind::Changed, why)
                .hint("let the writer finish, then run the same plan again"));
        }
        Ok(Read { bytes, facts: Some(Box::new(facts)) })
    }

    /// Keys that are no [`Key`] are left out, and Backhaul's own folder, unless `prefix` starts with it.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        Ok(self.find(prefix, usize::MAX).await?.objects)
    }
}

impl BucketStore {
    /// What a listing says of those of `keys` that it names; nothing of the others. Many objects of one folder are in
    /// few pages; where they are not, it is given up early.
    pub(crate) async fn glance(&self, keys: &[Key]) -> Result<HashMap<Key, ObjectFacts>, StoreError> {
        let prefix = common_prefix(keys);
        let pages = keys.len() / OBJECTS_A_PAGE + PAGES_BESIDE;
        let wanted: HashSet<&Key> = keys.iter().collect();
        let listed = self.find(&prefix, pages).await?.objects;
        let facts = listed.into_iter().filter(|object| wanted.contains(&object.key)).filter_map(|object| {
            let facts = ObjectFacts {
                size: object.size,
                etag: object.etag?,
                modified_ms: object.modified_ms,
                digests: KnownDigests::default(),
                metadata: Metadata::new(),
                expires: None,
            };
            Some((object.key, facts))
        });
        Ok(facts.collect())
    }

    /// Marks requests that want the bytes as they are stored, where a store would unpack them unasked. Others must not
    /// see it: they, or a proxy before them, would pack what is not.
    fn as_stored(&self) -> http::Extensions {
        let mut extensions = http::Extensions::new();
        if let Cloud::Gcs(_) = self.inner.cloud {
            extensions.insert(AsStored);
        }
        extensions
    }
}

/// The longest text that all keys start with.
fn common_prefix(keys: &[Key]) -> String {
    let Some((first, others)) = keys.split_first() else { return String::new() };
    let mut prefix = first.as_str();
    for key in others {
        let same = prefix.char_indices().zip(key.as_str().chars()).find(|((_, one), other)| one != other);
        let end = same.map_or(prefix.len().min(key.as_str().len()), |((at, _), _)| at);
        prefix = &prefix[..end];
    }
    prefix.to_owned()
}

/// Every such store says which version of an object it answers with; who does not is a proxy, and no store.
fn has_tag(meta: &object_store::ObjectMeta) -> object_store::Result<()> {
    let missing = || object_store::Error::Generic { store: "answer", source: "it has no ETag".into() };
    meta.e_tag.as_ref().map(drop).ok_or_else(missing)
}

/// Another number of bytes than was asked for is an error of the connection.
fn wrong_length(why: String) -> object_store::Error {
    object_store::Error::Generic { store: "body", source: why.into() }
}

pub(super) fn facts(meta: &object_store::ObjectMeta, answer: &Answer) -> ObjectFacts {
    ObjectFacts {
        size: meta.size,
        etag: meta.e_tag.as_deref().map(digests::unquoted).unwrap_or_default(),
        modified_ms: Some(meta.last_modified.timestamp_millis()),
        digests: digests::known(answer),
        metadata: digests::metadata(answer),
        expires: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keys_have_in_common() {
        let common =
            |keys: &[&str]| common_prefix(&keys.iter().map(|key| Key::parse(key).expect("a key")).collect::<Vec<_>>());
        assert_eq!(common(&["a/1", "a/2", "a/10"]), "a/");
        assert_eq!(common(&["a/ä", "a/ö"]), "a/");
        assert_eq!(common(&["a", "ab"]), "a");
        assert_eq!(common(&["a/1"]), "a/1");
        assert_eq!(common(&["a", "b"]), "");
    }
}
