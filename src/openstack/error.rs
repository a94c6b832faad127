//! What goes wrong with a cloud.

use crate::http::GaveUp;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nobody answers, or the service cannot now: later it may.
    Unreachable,
    /// A password, a role or a token that does not suffice.
    Refused,
    /// What was asked for is not there.
    NotFound,
    /// Configuration that cannot work, or an answer that cannot be read.
    Bad,
}

/// An error with what, where and why, and what to do about it. No text of it has a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OpenStackError {
    /// Decides whether to try again.
    pub kind: ErrorKind,
    /// One line: what, where, why; no final period.
    pub message: String,
    /// The next edit or command.
    pub hint: Option<String>,
}

impl OpenStackError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Why a request got no answer that helps, in words: `127.0.0.1:5000 answered 503`.
pub(super) fn reason(gave_up: &GaveUp) -> String {
    match gave_up.answer.status {
        Some(status) if (200..300).contains(&status) && gave_up.answer.trouble.is_none() => {
            format!("{}: {}", gave_up.answer.host, gave_up.error)
        }
        _ => gave_up.answer.in_words().unwrap_or_else(|| gave_up.error.clone()),
    }
}
