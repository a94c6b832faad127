//! What was being done when a store refused, as the first half of its error.

use super::{StoreError, StoreErrorKind};

/// What was being done, to which object, when the store refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// The store's identity.
    pub(super) store: &'a str,
    /// `read`, `write`, …: completes "cannot …".
    pub(super) doing: &'static str,
    /// The key; empty for the store itself.
    pub(super) name: &'a str,
}

impl Attempt<'_> {
    /// The error with a reason in our own words.
    pub(super) fn refused(self, kind: StoreErrorKind, why: impl std::fmt::Display) -> StoreError {
        let Self { store, doing, name } = self;
        StoreError::new(
            kind,
            match name {
                "" => format!("cannot {doing} `{store}`: {why}"),
                _ => format!("cannot {doing} `{name}` in {store}: {why}"),
            },
        )
    }
}
