//! What is wrong with a plan, and where. Other modules may find problems too, with [`Entry::place`](super::Entry).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Problems that are kept of one plan; the rest is only counted.
pub(super) const PROBLEMS_KEPT_MAX: usize = 1_000;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The plan is not accepted.
    Error,
    /// The plan is accepted; the operator should look.
    Warning,
}

/// A stretch of the plan's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// First byte.
    pub start: u32,
    /// Byte after the last one.
    pub end: u32,
    /// Line of the first byte, from 1.
    pub line: u32,
    /// Column of the first byte, in characters, from 1.
    pub column: u32,
}

/// One thing that is wrong, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the plan is accepted all the same.
    pub level: Level,
    /// One line: what and why; lower case, no final period.
    pub message: String,
    /// Where; none if it is the file as such.
    pub place: Option<Place>,
    /// Other places that have to do with it, each with a few words.
    pub related: Vec<(Place, String)>,
    /// The next edit or command.
    pub hint: Option<String>,
    /// A secret in the plan's text: no rendered line shows it.
    pub secret: Option<Place>,
}

impl Problem {
    /// An error at a place.
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self::new(Level::Error, Some(place), message.into())
    }

    /// A warning at a place.
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, Some(place), message.into())
    }

    /// An error of the file as such.
    pub fn of_file(message: impl Into<String>) -> Self {
        Self::new(Level::Error, None, message.into())
    }

    fn new(level: Level, place: Option<Place>, message: String) -> Self {
        Self { level, message, place, related: Vec::new(), hint: None, secret: None }
    }

    /// The same with the next edit or command.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with another place that has to do with it.
    #[must_use]
    pub fn related(mut self, place: Place, text: impl Into<String>) -> Self {
        self.related.push((place, text.into()));
        self
    }

    /// The same, and the text at `place` is never shown.
    #[must_use]
    pub fn secret(mut self, place: Place) -> Self {
        self.secret = Some(place);
        self
    }
}

/// A plan that is not accepted, with all that is wrong with it.
#[derive(Debug, Clone)]
pub struct Refused {
    /// In the order of the text; errors and warnings.
    pub problems: Vec<Problem>,
    /// Problems that were found and not kept, because there are too many.
    pub omitted: usize,
    /// The plan's text as far as it could be read.
    pub source: Arc<str>,
    /// As given.
    pub path: PathBuf,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the plan `{}` is not valid", self.path.display())
    }
}

// By hand: to thiserror a field `source` would be an error's cause.
impl std::error::Error for Refused {}

/// Gathers problems while a plan is read.
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<Problem>,
    omitted: usize,
    errors: usize,
}

impl Problems {
    /// Keeps `problem`, or only counts it when there are too many.
    pub(super) fn push(&mut self, problem: Problem) {
        self.errors += usize::from(problem.level == Level::Error);
        // A secret is kept whatever the number, because its place must be known to every rendered line.
        if self.kept.len() < PROBLEMS_KEPT_MAX || problem.secret.is_some() {
            self.kept.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    /// Number of errors so far.
    pub(super) fn errors(&self) -> usize {
        self.errors
    }

    /// All that was kept, in the order of the text, and how many were not.
    pub(super) fn into_sorted(mut self) -> (Vec<Problem>, usize) {
        self.kept.sort_by_key(|problem| problem.place.map_or(0, |place| place.start));
        (self.kept, self.omitted)
    }
}
