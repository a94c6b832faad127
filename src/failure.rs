//! Why a step did not succeed: a cause that groups and decides, and texts for a person.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $kind:ident, $text:literal;)*) => {
        /// What went wrong, coarse enough to group thousands of failures by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Cause { $($(#[$doc])* $name,)* }

        impl Cause {
            /// All causes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The stable word in rows, JSON and metrics.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// One line for a group of failures.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether another attempt may succeed with nothing changed by anybody.
            #[must_use]
            pub const fn is_transient(self) -> bool {
                match self { $(Self::$name => matches!(Kind::$kind, Kind::Transient),)* }
            }
        }
    };
}

enum Kind {
    Transient,
    Permanent,
}

causes! {
    /// The source store has no object under the key, or no record under the id.
    SourceMissing = "source-missing", Permanent, "the source is not there";
    /// The source is no longer what was planned, or changed while it was read.
    SourceChanged = "source-changed", Permanent, "the source changed";
    /// The source is there and cannot be read: permission, or not a regular file.
    SourceUnreadable = "source-unreadable", Permanent, "the source cannot be read";
    /// A device or file system error while reading.
    SourceError = "source-error", Transient, "reading the source failed";
    /// Other bytes lie under the target's final name.
    TargetDiffers = "target-differs", Permanent, "other bytes lie under the target's name";
    /// The target store refuses: permission, not a folder, a symlink in the way.
    TargetUnwritable = "target-unwritable", Permanent, "the target cannot be written";
    /// The target store is full.
    NoSpace = "no-space", Transient, "no space left on the target";
    /// A device or file system error while writing.
    TargetError = "target-error", Transient, "writing the target failed";
    /// A digest differs from one that is known.
    Integrity = "integrity", Permanent, "an integrity check failed";
    /// The parent of an incremental cannot be had.
    ParentMissing = "parent-missing", Permanent, "the parent backup cannot be had";
    /// The copy that was registered is gone or was changed since.
    CopyMissing = "copy-missing", Permanent, "the copy is gone from the target";
    /// Another record lies under the id in the target's catalog, two lines disagree, or one makes no sense.
    RecordConflict = "record-conflict", Permanent, "a record is damaged, or contradicts another";
    /// One part does not fit into `memory`, or another limit of the plan.
    TooLarge = "too-large", Permanent, "too large for the plan's limits";
    /// The target region has nothing that stands for a datastore version or tenant of the source.
    NoCounterpart = "no-counterpart", Permanent, "the target region has no counterpart";
    /// Nobody can tell whose the copy is in the target, or the target has no such project.
    TenantUnknown = "tenant-unknown", Permanent, "the target has no such tenant";
    /// The copy's record was deleted by its owner in the target's catalog.
    Declined = "declined", Permanent, "the copy was deleted by its owner";
    /// A quota of the target is reached: as many backups as the tenant may have, or as many bytes.
    Quota = "quota", Permanent, "a quota of the target is reached";
    /// The store, the catalog or the database cannot be reached.
    Unreachable = "unreachable", Transient, "a store or catalog cannot be reached";
    /// A fault of Backhaul itself.
    Internal = "internal", Transient, "an internal error";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Cause {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|cause| cause.code() == text).ok_or(())
    }
}

impl Serialize for Cause {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// One failure, ready to be stored in a row and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Groups it and decides whether it is tried again.
    pub cause: Cause,
    /// What, where, why: one line or a few, lower case, no final period.
    pub message: String,
    /// The next command or edit, if there is a good one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), hint: None }
    }

    /// The same with the next command or edit.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_parse_as_they_print_and_are_unique() {
        for cause in Cause::ALL {
            assert_eq!(cause.code().parse(), Ok(*cause));
        }
    }
}
