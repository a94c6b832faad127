//! What a store could not do, and what that means for a step.

use crate::failure::{Cause, Failure};

/// What kind of trouble a store had; decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No object under the key.
    Missing,
    /// The object is not the pinned one any more.
    Changed,
    /// The object ended before the range did.
    Short,
    /// Another object has the final name.
    Exists,
    /// The upload is not there any more.
    Lost,
    /// What was stored is not what was sent.
    Differs,
    /// Permission, a symlink or special file in the way, a name the store cannot hold. Another try will not help.
    Refused,
    /// The store is full, or a quota of it is reached.
    NoSpace,
    /// A quota of the object's owner is reached; waiting does not raise it.
    Quota,
    /// Anything the device may do, or an answer that makes no sense; another try may help.
    Io,
    /// The store does not answer, or says that it cannot now; another try may help.
    Unreachable,
}

/// What a store could not do: which operation, where, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// Decides what happens next.
    pub kind: StoreErrorKind,
    /// One line: what, where, why; lower case, no final period; the system's own error text at its end.
    pub message: String,
    /// The next command or edit.
    pub hint: Option<String>,
}

impl StoreError {
    /// An error without a hint.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// The same with the next command or edit.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure of a step whose source store said this.
    #[must_use]
    pub fn of_source(self) -> Failure {
        let cause = match self.kind {
            StoreErrorKind::Missing => Cause::SourceMissing,
            StoreErrorKind::Changed | StoreErrorKind::Short => Cause::SourceChanged,
            StoreErrorKind::Refused => Cause::SourceUnreadable,
            StoreErrorKind::Unreachable => Cause::Unreachable,
            _ => Cause::SourceError,
        };
        Failure { cause, message: self.message, hint: self.hint }
    }

    /// The failure of a step whose target store said this.
    #[must_use]
    pub fn of_target(self) -> Failure {
        let cause = match self.kind {
            StoreErrorKind::Exists => Cause::TargetDiffers,
            StoreErrorKind::Differs => Cause::Integrity,
            StoreErrorKind::NoSpace => Cause::NoSpace,
            StoreErrorKind::Quota => Cause::Quota,
            StoreErrorKind::Refused => Cause::TargetUnwritable,
            StoreErrorKind::Missing => Cause::CopyMissing,
            StoreErrorKind::Unreachable => Cause::Unreachable,
            _ => Cause::TargetError,
        };
        Failure { cause, message: self.message, hint: self.hint }
    }
}
