//! The life of one migration: its states, its two steps, and the one table of legal transitions.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Where a migration stands. The words are Trove's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Planned; or drained before its copy was whole, its finished parts kept.
    New,
    /// Being copied; parts and hash states are checkpointed.
    Building,
    /// Copied and verified, waiting to be registered.
    Saving,
    /// Registered: restorable in the target region.
    Completed,
    /// Gave up, with the reason in the row.
    Failed,
}

impl State {
    /// All states, in the order of a migration's life.
    pub const ALL: [Self; 5] = [Self::New, Self::Building, Self::Saving, Self::Completed, Self::Failed];

    /// Whether a row may go from `self` to `next`. Staying is not a transition.
    ///
    /// `Completed` leaves only by `verify` (`Failed`) or when the plan names another catalog (`Saving`).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        use State::{Building, Completed, Failed, New, Saving};
        matches!(
            (self, next),
            (New, Building | Failed)
                | (Building, Saving | Failed | New)
                | (Saving, Completed | Failed)
                | (Completed, Failed | Saving)
                | (Failed, Saving | Building)
        )
    }

    /// The word in the database and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Building => "BUILDING",
            Self::Saving => "SAVING",
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word in a `state` column that this version does not know: written by another version, or by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown state `{0}`")]
pub struct UnknownState(pub String);

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// The two nodes of the graph that every migration has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Source object to target object, hashed on the way.
    Copy,
    /// The record in the target's catalog.
    Register,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Copy => "copy",
            Self::Register => "register",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_parse_as_they_print() {
        for state in State::ALL {
            assert_eq!(state.to_string().parse(), Ok(state));
        }
        assert_eq!("RESTORED".parse::<State>(), Err(UnknownState("RESTORED".into())));
    }

    #[test]
    fn the_whole_table() {
        let legal: Vec<String> = State::ALL
            .into_iter()
            .flat_map(|from| State::ALL.into_iter().map(move |to| (from, to)))
            .filter(|(from, to)| from.may_become(*to))
            .map(|(from, to)| format!("{from} {to}"))
            .collect();
        assert_eq!(
            legal,
            [
                "NEW BUILDING",
                "NEW FAILED",
                "BUILDING NEW",
                "BUILDING SAVING",
                "BUILDING FAILED",
                "SAVING COMPLETED",
                "SAVING FAILED",
                "COMPLETED SAVING",
                "COMPLETED FAILED",
                "FAILED BUILDING",
                "FAILED SAVING",
            ]
        );
    }
}
