//! What a plain scalar would be read as by YAML tools, whichever version of YAML they speak.

/// The kinds of a plain (unquoted) scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing, `~`, `null`.
    Null,
    /// `true`, and YAML 1.1's `yes`, `no`, `on`, `off`.
    Boolean,
    /// `16`, `0123`, `1e3`, `0x1f`, `.inf`.
    Number,
    /// The rest.
    Text,
}

impl Meaning {
    /// What `plain` means.
    pub(super) fn of(plain: &str) -> Self {
        match plain.bytes().next() {
            None | Some(b'~' | b'n' | b'N') if is_null(plain) => Self::Null,
            Some(b't' | b'T' | b'f' | b'F' | b'y' | b'Y' | b'n' | b'N' | b'o' | b'O') if is_boolean(plain) => {
                Self::Boolean
            }
            Some(b'0'..=b'9' | b'+' | b'-' | b'.') if is_number(plain) => Self::Number,
            _ => Self::Text,
        }
    }

    /// "a number", for messages.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean => "a boolean",
            Self::Number => "a number",
            Self::Text => "a text",
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn is_boolean(text: &str) -> bool {
    ["true", "false", "yes", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.replace('_', "");
    if [".inf", ".nan"].iter().any(|word| digits.eq_ignore_ascii_case(word)) {
        return true;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        }
    }
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings() {
        for (text, meaning) in [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("null", Meaning::Null),
            ("nothing", Meaning::Text),
            ("no", Meaning::Boolean),
            ("ON", Meaning::Boolean),
            ("north", Meaning::Text),
            ("0123", Meaning::Number),
            ("-1", Meaning::Number),
            ("1e3", Meaning::Number),
            ("1234e567", Meaning::Number),
            ("1_000", Meaning::Number),
            (".5", Meaning::Number),
            (".NaN", Meaning::Number),
            ("0x1F", Meaning::Number),
            ("0x", Meaning::Text),
            ("-", Meaning::Text),
            (".", Meaning::Text),
            ("0f1c", Meaning::Text),
            ("32MiB", Meaning::Text),
            ("2026-11-23", Meaning::Text),
            ("10.0.0.1", Meaning::Text),
            ("inf", Meaning::Text),
        ] {
            assert_eq!(Meaning::of(text), meaning, "{text}");
        }
    }
}
