//! What a command tells a person when it cannot do its work: what, where, why, and the next command.

use std::fmt;

use crate::exit::Exit;
use crate::failure::Failure;

/// The end of a command that did not reach its own end.
#[derive(Debug)]
pub struct CommandError {
    /// The process's exit code.
    pub exit: Exit,
    /// What and where: one line, lower case, no final period.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// The next command or edit.
    pub hint: Option<String>,
}

impl CommandError {
    /// An error with neither cause nor hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hint: None }
    }

    /// The same with why.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// The same with the next command or edit.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<(Exit, Failure)> for CommandError {
    fn from((exit, failure): (Exit, Failure)) -> Self {
        Self { exit, message: failure.message, causes: Vec::new(), hint: failure.hint }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            write!(f, "\ncaused by: {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_its_parts_in_their_places() {
        let error = CommandError::new(Exit::Unreachable, "cannot open the database `x.db`")
            .caused_by("permission denied")
            .hint("run as the user who owns it");
        assert_eq!(
            error.to_string(),
            "error: cannot open the database `x.db`\ncaused by: permission denied\n\nhint: run as the user who owns it"
        );
    }
}
