//! Texts that nobody should read.

use std::fmt;

use zeroize::Zeroizing;

/// A password, a key or a token. It prints as `***`, and is wiped from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

/// Shortest piece of a secret that is looked for in texts of others.
const PIECE_MIN: usize = 12;

impl Secret {
    /// Takes a text into custody.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for a request.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without this secret: also without a long word of it, where a service cut its message short.
    pub(super) fn redact(&self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        let without = text.replace(self.reveal(), "***");
        let mut out = String::with_capacity(without.len());
        for word in without.split_inclusive(' ') {
            let bare = word.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '=')));
            if bare.len() >= PIECE_MIN && self.reveal().contains(bare) {
                out.push_str(&word.replace(bare, "***"));
            } else {
                out.push_str(word);
            }
        }
        out
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn texts_of_others_lose_the_secret_and_long_pieces_of_it() {
        let token = Secret::from("gAAAAABrBsC4cYckbDNO-ZTjdsKNVYmS4vpzeMr2O6aM");
        let whole = format!("This is not a recognized Fernet token {}", token.reveal());
        assert_eq!(token.redact(&whole), "This is not a recognized Fernet token ***");
        assert_eq!(token.redact("no token \"gAAAAABrBsC4cYckb\", sorry"), "no token \"***\", sorry");
        assert_eq!(token.redact("nothing of it"), "nothing of it");
        assert_eq!(Secret::from("").redact("a text"), "a text");
    }
}
