//! The links of incremental chains that Trove's restore follows: metadata of an incremental's object that names the
//! object of its parent, in the same region.

use crate::catalog::Record;
use crate::database::Row;
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::store::{
    Metadata, PARENT_CHECKSUM, PARENT_LOCATION, Source, StoreError, StoreErrorKind, SwiftStore, object_of,
};

/// Longest value of metadata that Swift takes by default (`max_meta_value_length`).
const VALUE_MAX: usize = 256;

/// The copy that an incremental builds on, as it is registered in the same target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its record's id in the target's catalog.
    pub record: String,
    /// Its object in the target's store.
    pub location: String,
    /// That object's `ETag`.
    pub etag: String,
}

/// Makes a copy name its parent, if it does not yet, and makes sure that it still is the copy that was proved. Safe to
/// repeat.
///
/// # Errors
/// A failure of the step: the copy or its parent changed or is gone, or the store does not take the metadata.
pub(super) async fn link(store: &SwiftStore, row: &Row, parent: Option<&Parent>) -> Result<(), Failure> {
    let key = location(row)?;
    let facts = store.head(&key).await.map_err(|error| gone(error, &key))?;
    if row.etag.as_ref() != Some(&facts.etag) {
        let proved = row.etag.as_deref().unwrap_or_default();
        let message = format!("the copy `{key}` is version {} now, and was {proved} when it was proved", facts.etag);
        return Err(Failure::new(Cause::CopyMissing, message));
    }
    let Some(parent) = parent else { return Ok(()) };
    let parent_key = Key::parse(&parent.location).map_err(|error| {
        Failure::new(Cause::RecordConflict, format!("the parent's name `{}` {error}", parent.location))
    })?;
    let parent_facts = store.head(&parent_key).await.map_err(|error| gone(error, &parent_key))?;
    if parent_facts.etag != parent.etag {
        let message = format!(
            "the parent's copy `{parent_key}` is version {} now, and was {} when it was registered",
            parent_facts.etag, parent.etag
        );
        return Err(Failure::new(Cause::ParentMissing, message).hint("backhaul verify tells which copies are sound"));
    }
    let url = store.location_url(&parent_key).await.map_err(StoreError::of_target)?;
    if names(&facts.metadata, &url, &parent.etag) {
        return Ok(());
    }
    // Nothing is ever written to the source's own object.
    if row.is_the_source_itself() {
        return same_object(&facts.metadata, &url, &key);
    }
    if url.len() > VALUE_MAX {
        let message =
            format!("the parent's URL has {} bytes, and Swift's metadata holds {VALUE_MAX}: {url}", url.len());
        return Err(Failure::new(Cause::TargetUnwritable, message)
            .hint("give the target store a shorter `container`, or its Swift a shorter address"));
    }
    store
        .update_metadata(&key, &[(PARENT_LOCATION, &url), (PARENT_CHECKSUM, &parent.etag)])
        .await
        .map_err(StoreError::of_target)?;
    Ok(())
}

fn names(metadata: &Metadata, url: &str, etag: &str) -> bool {
    let says = |name: &str, value: &str| metadata.get(name).is_some_and(|there| there == value);
    says(PARENT_LOCATION, url) && says(PARENT_CHECKSUM, etag)
}

/// Whether a copy names its parent, as it was made to.
///
/// # Errors
/// [`Cause::Integrity`] if it does not.
pub(super) async fn check(store: &SwiftStore, row: &Row, metadata: &Metadata, parent: &Parent) -> Result<(), Failure> {
    let key = location(row)?;
    let parent_key = Key::parse(&parent.location).map_err(|error| {
        Failure::new(Cause::RecordConflict, format!("the parent's name `{}` {error}", parent.location))
    })?;
    let url = store.location_url(&parent_key).await.map_err(StoreError::of_target)?;
    if names(metadata, &url, &parent.etag) || (row.is_the_source_itself() && same_object(metadata, &url, &key).is_ok())
    {
        return Ok(());
    }
    let there = metadata.get(PARENT_LOCATION).map_or_else(|| "nothing".to_owned(), |there| format!("`{there}`"));
    let message = format!(
        "`{key}` in region `{}` names {there} as its parent, and should name `{url}` with checksum {}",
        row.region, parent.etag
    );
    Err(Failure::new(Cause::Integrity, message))
}

/// Whether the object of a record names the object of its parent's record, by container and name: Trove looks at nothing
/// else.
///
/// # Errors
/// [`Cause::Integrity`] if it does not.
pub(super) async fn check_record(
    store: &SwiftStore,
    key: &Key,
    metadata: &Metadata,
    parent: &Record,
) -> Result<(), Failure> {
    let url = store.location_url(&parent.key()?).await.map_err(StoreError::of_target)?;
    let there = metadata.get(PARENT_LOCATION).map_or("nothing", String::as_str);
    let checksum = metadata.get(PARENT_CHECKSUM);
    let other_checksum = parent.checksum.as_ref().is_some_and(|of_parent| checksum.is_some_and(|own| own != of_parent));
    if object_of(there) == object_of(&url) && !other_checksum {
        return Ok(());
    }
    let message = format!("`{key}` names `{there}` as its parent, and should name `{url}`");
    Err(Failure::new(Cause::Integrity, message))
}

/// The source's link is as good if it names the same container and object: Trove looks at nothing else.
fn same_object(metadata: &Metadata, url: &str, key: &Key) -> Result<(), Failure> {
    match metadata.get(PARENT_LOCATION) {
        Some(there) if object_of(there) == object_of(url) => Ok(()),
        there => Err(Failure::new(
            Cause::ParentMissing,
            format!(
                "`{key}` is the source's own object and names {} as its parent, not `{url}`; the source is not changed",
                there.map_or_else(|| "nothing".to_owned(), |there| format!("`{there}`"))
            ),
        )),
    }
}

pub(super) fn location(row: &Row) -> Result<Key, Failure> {
    let text = row.location.as_deref().unwrap_or_default();
    Key::parse(text)
        .map_err(|error| Failure::new(Cause::Internal, format!("the row `{}` has no location: it {error}", row.id)))
}

fn gone(error: StoreError, key: &Key) -> Failure {
    if error.kind == StoreErrorKind::Missing {
        return Failure::new(Cause::CopyMissing, format!("the copy `{key}` went away before it was registered"));
    }
    error.of_target()
}
