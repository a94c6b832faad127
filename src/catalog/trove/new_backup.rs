//! A copy that is to be registered in Trove. Pure.

use uuid::Uuid;

use super::location::LOCATION_MAX;
use crate::failure::{Cause, Failure};

/// Longest name that Trove's table can hold, in characters.
pub const NAME_MAX: usize = 255;

/// Longest description that Trove's table can hold, in characters.
pub const DESCRIPTION_MAX: usize = 512;

/// Longest id of a project, in characters.
const TENANT_MAX: usize = 36;

/// A copy that is to be registered in Trove, as Trove describes it. Times are RFC 3339.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBackup {
    /// Its id; Trove's API gives one of its own instead.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// Its owner's words.
    pub description: Option<String>,
    /// URL of the object in the target's own Swift.
    pub location: String,
    /// `full` or `incremental`, where known.
    pub backup_type: Option<String>,
    /// GB of the volume it was made from; as in the source's row.
    pub size: Option<f64>,
    /// The target's project.
    pub tenant_id: String,
    /// The target object's `ETag` without quotes.
    pub checksum: String,
    /// The point in time it restores to.
    pub backup_timestamp: Option<String>,
    /// When the backup was made.
    pub created: Option<String>,
    /// When its record was last changed at the source.
    pub updated: Option<String>,
    /// Id of the parent in the target's catalog.
    pub parent_id: Option<String>,
    /// The target's datastore version.
    pub datastore_version_id: String,
}

/// Whether Trove can hold a name and a description; known before anything is copied. `narrow` tables have no characters
/// of four bytes, and are what Trove makes by itself.
///
/// # Errors
/// A failure that says what is too much.
pub fn check_texts(name: &str, description: Option<&str>, narrow: bool) -> Result<(), Failure> {
    if name.is_empty() {
        return Err(refused("the name is empty"));
    }
    let texts = [("name", name, NAME_MAX), ("description", description.unwrap_or_default(), DESCRIPTION_MAX)];
    for (what, text, most) in texts {
        let length = text.chars().count();
        if length > most {
            return Err(refused(&format!("the {what} has {length} characters, at most {most} are possible")));
        }
        if let Some(wide) = text.chars().find(|c| c.len_utf8() == 4).filter(|_| narrow) {
            return Err(refused(&format!(
                "the {what} has `{wide}`, and Trove's tables hold no characters of four bytes"
            )));
        }
        if text.contains('\0') {
            return Err(refused(&format!("the {what} has a zero byte")));
        }
    }
    Ok(())
}

impl NewBackup {
    /// Whether Trove's table can hold it.
    ///
    /// # Errors
    /// As [`check_texts`].
    pub fn check(&self, narrow: bool) -> Result<(), Failure> {
        check_texts(&self.name, self.description.as_deref(), narrow)?;
        let length = self.location.chars().count();
        if length > LOCATION_MAX {
            return Err(refused(&format!("the location has {length} characters, at most {LOCATION_MAX} are possible")));
        }
        if self.tenant_id.is_empty() || self.tenant_id.len() > TENANT_MAX {
            return Err(refused(&format!("`{}` is no id of a project", self.tenant_id.escape_debug())));
        }
        let is_md5 = self.checksum.len() == 32 && self.checksum.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_md5 {
            let checksum = self.checksum.escape_debug();
            return Err(refused(&format!("`{checksum}` is no checksum of Trove's, which are an MD5 in hex digits")));
        }
        if let Some(size) = self.size.filter(|size| !is_size(*size)) {
            return Err(refused(&format!("the size of {size} GB makes no sense")));
        }
        Ok(())
    }
}

/// Whether a number can be the GB of a volume.
pub(super) fn is_size(size: f64) -> bool {
    (0.0..1e9).contains(&size)
}

fn refused(why: &str) -> Failure {
    Failure::new(Cause::TargetUnwritable, format!("Trove cannot hold the record: {why}"))
        .hint("give the entry another `name` or `description`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_cannot_hold_is_refused_before() {
        let fits = |name: &str, description: &str, narrow| check_texts(name, Some(description), narrow).is_ok();
        assert!(fits(&"ü".repeat(255), &"日".repeat(512), true));
        assert!(fits("'; DROP TABLE backups;--", "%_\\", true));
        assert!(!fits(&"n".repeat(256), "", true) && !fits("n", &"d".repeat(513), true) && !fits("", "", true));
        assert!(!fits("🦀", "", true) && !fits("n", "🦀", true) && fits("🦀", "🦀", false));
    }
}
