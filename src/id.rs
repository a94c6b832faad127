//! Names of things: digests, target ids, object keys. No behaviour beyond parsing and printing.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;

/// The namespace of all target ids. Fixed for ever: another value would orphan every copy made so far.
const TARGET_ID_NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_3c1e_58a7_4b0e_9a41_b1d2_7c5e_8f36);

/// The folder of a store that belongs to Backhaul: records lie there, and no `location` may reach into it.
pub const RESERVED_FOLDER: &str = ".backhaul";

/// Longest object key, in bytes: S3's and Swift's own limit (1024).
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest part of a key between two slashes, in bytes: `NAME_MAX` of Linux file systems.
pub const KEY_PART_BYTES_MAX: usize = 255;

/// The id of a copy: the same for the same source object and the same target store, whoever asks and whenever.
///
/// `source` is the source record's id, or the location where there is no record. The three are joined
/// length-prefixed, so that no two triples can run into one another.
#[must_use]
pub fn target_id(source_store: &str, source: &str, target_store: &str) -> Uuid {
    let mut name = Vec::with_capacity(source_store.len() + source.len() + target_store.len() + 24);
    for part in [source_store, source, target_store] {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&TARGET_ID_NAMESPACE, &name)
}

/// A SHA-256, printed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 is 64 hexadecimal digits")]
pub struct NotASha256;

impl FromStr for Sha256Digest {
    type Err = NotASha256;

    fn from_str(text: &str) -> Result<Self, NotASha256> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(NotASha256);
        }
        let nibble = |byte: u8| (byte as char).to_digit(16).ok_or(NotASha256);
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
            *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).map_err(|_| NotASha256)?;
        }
        Ok(Self(digest))
    }
}

impl serde::Serialize for Sha256Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Sha256Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The name of an object inside a store, as the store keeps it: relative, `/` between its parts.
///
/// A value of this type is safe to join to any root: see [`KeyError`] for what is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Key(String);

/// Why a text is no object key. Each text completes "bad object name: it …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The empty text.
    #[error("is empty")]
    Empty,
    /// More than [`KEY_BYTES_MAX`] bytes, or a part of more than [`KEY_PART_BYTES_MAX`].
    #[error("is too long: {bytes} bytes, at most {max} are possible{place}")]
    TooLong {
        /// What it has.
        bytes: usize,
        /// What is allowed.
        max: usize,
        /// "" or " between two slashes".
        place: &'static str,
    },
    /// Starts with `/`.
    #[error("is absolute; names start at the store's own root")]
    Absolute,
    /// `a//b`, or a `/` at the end.
    #[error("has an empty part (`//`, or `/` at its end)")]
    EmptyPart,
    /// `.` or `..`, also behind percent signs, backslashes or wide dots.
    #[error("has a part `{0}`, which would lead to another folder")]
    Dots(String),
    /// A control character, or one that turns the direction of the text.
    #[error("has a control character (`{0}`)")]
    Control(String),
    /// Space at either end of a part.
    #[error("has a part that starts or ends with a space")]
    Space,
    /// Lies in [`RESERVED_FOLDER`], or is named like one of our temporary files.
    #[error("starts with `.backhaul`, which is reserved for Backhaul's own records and temporary files")]
    Reserved,
}

impl Key {
    /// Takes `text` as an object key.
    ///
    /// # Errors
    /// [`KeyError`], one kind for each rule, in the order of its variants.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let key = Self::parse_any(text)?;
        if text.split('/').any(|part| part.starts_with(RESERVED_FOLDER)) {
            return Err(KeyError::Reserved);
        }
        Ok(key)
    }

    /// As [`Key::parse`], for Backhaul's own objects under [`RESERVED_FOLDER`].
    ///
    /// # Errors
    /// As [`Key::parse`], but never [`KeyError::Reserved`].
    pub fn parse_any(text: &str) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { bytes: text.len(), max: KEY_BYTES_MAX, place: "" });
        }
        if text.starts_with('/') {
            return Err(KeyError::Absolute);
        }
        if let Some(bad) = text.chars().find(|c| c.is_control() || breaks_lines(*c)) {
            return Err(KeyError::Control(bad.escape_unicode().to_string()));
        }
        if let Some(dots) = hidden_dots(text) {
            return Err(KeyError::Dots(dots));
        }
        for part in text.split('/') {
            if part.is_empty() {
                return Err(KeyError::EmptyPart);
            }
            if part.len() > KEY_PART_BYTES_MAX {
                return Err(KeyError::TooLong {
                    bytes: part.len(),
                    max: KEY_PART_BYTES_MAX,
                    place: " between two slashes",
                });
            }
            if part.starts_with(' ') || part.ends_with(' ') {
                return Err(KeyError::Space);
            }
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The parts before the last `/`; empty at the store's root.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// All extensions of the file name with their leading dot (`.xbstream.gz`); empty if there are none.
    #[must_use]
    pub fn extensions(&self) -> &str {
        let name = self.file_name();
        name.char_indices().skip(1).find(|(_, c)| *c == '.').map_or("", |(at, _)| &name[at..])
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Line and paragraph separators, and what turns the direction of the text around it.
fn breaks_lines(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The first part of `text` that means `.` or `..` once percent signs, backslashes and wide dots are read as
/// some file system or web server on the way might read them.
fn hidden_dots(text: &str) -> Option<String> {
    // Plans name a million objects, nearly all of them plainly.
    if text.is_ascii() && !text.contains(['%', '\\']) {
        return text.split('/').find(|part| *part == "." || *part == "..").map(str::to_owned);
    }
    let lower = text.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    let plain: String = lower.nfkc().map(|c| if c == '\\' { '/' } else { c }).collect();
    plain.split('/').find(|part| *part == "." || *part == "..").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_ids_are_pinned() {
        let id = |a, b, c| target_id(a, b, c).to_string();
        assert_eq!(id("file:/one", "a.gz", "file:/two"), PINNED[0]);
        assert_eq!(id("file:/one", "a.gz", "file:/three"), PINNED[1]);
        assert_eq!(id("file:/onea", ".gz", "file:/two"), PINNED[2]);
    }

    /// Computed by another program from the namespace and the three texts.
    const PINNED: [&str; 3] = [
        "abd7810f-8293-5685-9824-a4a0a6729c13",
        "c8b190a2-84c6-5b29-b120-96917540b467",
        "301cb61e-9cef-5c8a-9854-8d5386295729",
    ];

    #[test]
    fn digests_parse_what_they_print() {
        let digest = Sha256Digest([0xab; 32]);
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("ABAB".parse::<Sha256Digest>(), Err(NotASha256));
        assert_eq!("zz".repeat(32).parse::<Sha256Digest>(), Err(NotASha256));
    }

    #[test]
    fn keys_that_lead_elsewhere_are_refused() {
        for bad in ["..", "a/../b", "./a", "%2e%2e/a", "%2E%2e%2Fa", "..\\..\\x", "a/．．/b", "a%5c..%5cb"] {
            assert!(matches!(Key::parse(bad), Err(KeyError::Dots(_))), "{bad}: {:?}", Key::parse(bad));
        }
        assert_eq!(Key::parse(""), Err(KeyError::Empty));
        assert_eq!(Key::parse("/a"), Err(KeyError::Absolute));
        assert_eq!(Key::parse("a//b"), Err(KeyError::EmptyPart));
        assert_eq!(Key::parse("a/"), Err(KeyError::EmptyPart));
        assert_eq!(Key::parse("a/ b"), Err(KeyError::Space));
        assert_eq!(Key::parse(".backhaul/records/x"), Err(KeyError::Reserved));
        assert!(matches!(Key::parse("a\u{202e}b"), Err(KeyError::Control(_))));
        assert!(matches!(Key::parse("a\nb"), Err(KeyError::Control(_))));
        assert!(matches!(Key::parse(&"é".repeat(200)), Err(KeyError::TooLong { bytes: 400, .. })));
        assert!(matches!(Key::parse(&"a/".repeat(600)), Err(KeyError::TooLong { bytes: 1200, .. })));
    }

    #[test]
    fn keys_that_only_look_odd_are_kept() {
        for good in ["a", "a/b.c", "...", "a..b", "x#1", "'; DROP TABLE backups;--", "100%", "ü/日本", ".hidden"] {
            assert_eq!(Key::parse(good).map(|key| key.as_str().to_owned()), Ok(good.to_owned()));
        }
    }

    #[test]
    fn extensions_are_all_of_them() {
        let of = |text| Key::parse(text).expect("a key").extensions().to_owned();
        assert_eq!(of("dumps.d/orders-full.xbstream.gz"), ".xbstream.gz");
        assert_eq!(of("dumps.d/orders"), "");
        assert_eq!(of(".hidden"), "");
        assert_eq!(of(".hidden.gz"), ".gz");
    }
}
