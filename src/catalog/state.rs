//! Whether a recorded backup can be restored. Pure.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether a recorded backup can be restored, in the words of its catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordState {
    /// Finished; can be restored.
    Completed,
    /// Finished as well; Trove's word for a backup that was registered from an object. Deleting it keeps the object.
    Restored,
    /// Not finished yet, or a word that this version does not know; as the catalog says it.
    Running(String),
    /// Found broken or gone by `verify`, or failed in Trove.
    Failed,
    /// Deleted by its owner; only Trove keeps such rows.
    Deleted,
}

impl RecordState {
    /// Whether its catalog says that it is finished and there.
    #[must_use]
    pub const fn is_restorable(&self) -> bool {
        matches!(self, Self::Completed | Self::Restored)
    }

    /// The state of a row of Trove's that is not deleted.
    #[must_use]
    pub fn of_trove(word: &str) -> Self {
        match word {
            "COMPLETED" => Self::Completed,
            "RESTORED" => Self::Restored,
            // What Trove could not delete may have lost segments.
            "FAILED" | "DELETE_FAILED" => Self::Failed,
            _ => Self::Running(word.to_owned()),
        }
    }

    /// The catalog's word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Restored => "RESTORED",
            Self::Running(word) => word,
            Self::Failed => "FAILED",
            Self::Deleted => "DELETED",
        }
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Serialize for RecordState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for RecordState {
    /// Lines in a store have two states, and everything else is an error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "COMPLETED" => Ok(Self::Completed),
            "FAILED" => Ok(Self::Failed),
            other => Err(serde::de::Error::unknown_variant(other, &["COMPLETED", "FAILED"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_store_have_two_states() {
        let read = |word: &str| serde_json::from_str::<RecordState>(&format!("\"{word}\""));
        assert_eq!(read("COMPLETED").expect("a state"), RecordState::Completed);
        assert_eq!(read("FAILED").expect("a state"), RecordState::Failed);
        for word in ["RESTORED", "DELETED", "NEW", "completed", ""] {
            assert!(read(word).is_err(), "{word}");
        }
    }

    #[test]
    fn words_of_trove() {
        for (word, restorable) in [
            ("NEW", false),
            ("BUILDING", false),
            ("SAVING", false),
            ("COMPLETED", true),
            ("FAILED", false),
            ("DELETE_FAILED", false),
            ("RESTORED", true),
            ("MIGRATING", false),
        ] {
            assert_eq!(RecordState::of_trove(word).is_restorable(), restorable, "{word}");
        }
        assert_eq!(RecordState::of_trove("SAVING"), RecordState::Running("SAVING".into()));
        assert_eq!(RecordState::of_trove("DELETE_FAILED"), RecordState::Failed);
    }
}
