//! The metadata by which whoever restores an incremental finds its parent: Trove keeps it with the incremental's object,
//! and looks at nothing else then.

use super::Metadata;
use crate::failure::{Cause, Failure};
use crate::id::Key;

/// URL of the parent's object; Trove looks at its last two parts only, the container and the object.
pub const PARENT_LOCATION: &str = "parent-location";

/// `ETag` of the parent's object, without quotes. Trove compares it before it restores.
pub const PARENT_CHECKSUM: &str = "parent-checksum";

/// Container and object of a URL, or of a name in a Swift store, from behind.
#[must_use]
pub fn object_of(url: &str) -> Vec<&str> {
    url.rsplit('/').take(2).collect()
}

/// What is said of a backup that lies in Swift, besides what its object says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The object that it builds on, in the same store; none for a full backup.
    pub parent: Option<Key>,
    /// Who says so.
    pub said_by: SaidBy,
}

/// Who knows the parent of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaidBy {
    /// The record in the source's catalog.
    Record,
    /// The plan, of an object without a record.
    Plan,
}

impl Lineage {
    /// Why an object cannot be restored as it is said: it names another object as its parent, or one where it is said to
    /// have none. An object that names no parent at all is no contradiction: its copy gets the link that it lacks.
    ///
    /// # Errors
    /// [`Cause::ParentMissing`].
    pub fn agrees(&self, key: &Key, metadata: &Metadata) -> Result<(), Failure> {
        let Some(there) = metadata.get(PARENT_LOCATION) else { return Ok(()) };
        let said = self.parent.as_ref().map(Key::as_str);
        if said.is_some_and(|said| object_of(said) == object_of(there)) {
            return Ok(());
        }
        let (who, hint) = match self.said_by {
            SaidBy::Record => (
                "its record",
                "a restore follows the object: look which is right, and correct the record's parent or leave the backup out",
            ),
            SaidBy::Plan => ("the plan", "a restore follows the object: correct `parent` of its entry"),
        };
        let said = said.map_or_else(|| "none".to_owned(), |said| format!("`{said}`"));
        let message = format!("the chain disagrees: `{key}` names `{there}` as its parent, and {who} names {said}");
        Err(Failure::new(Cause::ParentMissing, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: &str = "https://swift.one/v1/AUTH_x/backups/full.gz";

    fn agrees(parent: Option<&str>, said_by: SaidBy, there: Option<&str>) -> Result<(), String> {
        let key = |text: &str| Key::parse(text).expect("a key");
        let metadata = there.map(|there| (PARENT_LOCATION.to_owned(), there.to_owned()));
        let lineage = Lineage { parent: parent.map(key), said_by };
        lineage.agrees(&key("AUTH_x/backups/inc.gz"), &metadata.into_iter().collect()).map_err(|failure| {
            assert_eq!(failure.cause, Cause::ParentMissing);
            failure.message
        })
    }

    #[test]
    fn container_and_object_are_compared_and_nothing_else() {
        for parent in ["AUTH_x/backups/full.gz", "AUTH_y/backups/full.gz", "backups/full.gz"] {
            assert_eq!(agrees(Some(parent), SaidBy::Record, Some(THERE)), Ok(()));
        }
        for parent in ["AUTH_x/backups/other.gz", "AUTH_x/other/full.gz"] {
            let message = format!(
                "the chain disagrees: `AUTH_x/backups/inc.gz` names `{THERE}` as its parent, and its record names `{parent}`"
            );
            assert_eq!(agrees(Some(parent), SaidBy::Record, Some(THERE)), Err(message));
        }
    }

    #[test]
    fn an_object_with_a_parent_is_no_full_backup() {
        let message = format!(
            "the chain disagrees: `AUTH_x/backups/inc.gz` names `{THERE}` as its parent, and the plan names none"
        );
        assert_eq!(agrees(None, SaidBy::Plan, Some(THERE)), Err(message));
        assert_eq!(agrees(None, SaidBy::Plan, None), Ok(()));
    }

    #[test]
    fn an_object_that_names_nobody_contradicts_nobody() {
        assert_eq!(agrees(Some("backups/full.gz"), SaidBy::Record, None), Ok(()));
    }
}
