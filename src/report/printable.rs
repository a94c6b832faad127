//! Names and messages from outside, made harmless: a terminal obeys what it reads.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character escaped that a terminal would obey or a reader could not see: control characters,
/// line ends, and those that turn the direction of the text. `\n` for a newline, `\u{1b}` for ESC.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => safe.extend(c.escape_default()),
            _ if is_unsafe(c) => safe.extend(c.escape_unicode()),
            _ => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// A message of one line or a few: line ends stay, each followed by `indent`, so that no line of it can pass for
/// a line of ours.
pub(super) fn printable_lines(text: &str, indent: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.lines().map(printable).collect();
    lines.join(&format!("\n{indent}"))
}

/// JSON text with what [`printable`] would escape as `\uXXXX`: the same data, and harmless if it is only looked at.
pub(super) fn printable_json(json: String) -> String {
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(safe, "\\u{unit:04x}").expect("a String takes everything");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

/// At most `most` characters: the middle is left out, since ends of names tell more.
pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= most || most < 3 {
        return Cow::Borrowed(text);
    }
    let tail = (most - 1) / 2;
    let head: String = text.chars().take(most - 1 - tail).collect();
    let tail: String = text.chars().skip(count - tail).collect();
    Cow::Owned(format!("{head}…{tail}"))
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_obeys_is_left() {
        assert_eq!(printable("a\u{1b}[31mred\nb\tc"), "a\\u{1b}[31mred\\nb\\tc");
        assert_eq!(printable("csi \u{9b}2J, del \u{7f}, turn \u{202e}"), "csi \\u{9b}2J, del \\u{7f}, turn \\u{202e}");
        assert!(matches!(printable("orders ü 日本 \"q\" \\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn lines_stay_lines_but_never_at_the_left() {
        assert_eq!(printable_lines("one\nfailed: no\u{7}", "  "), "one\n  failed: no\\u{7}");
    }

    #[test]
    fn json_keeps_its_data() {
        let name = "c1 \u{9b}2J \u{202e} del \u{7f} esc \u{1b} ü";
        let json = printable_json(serde_json::to_string(name).unwrap());
        assert!(!json.contains(is_unsafe), "{json:?}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), name);
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shortened("orders-2025-full", 9), "orde…full");
        assert_eq!(shortened("äöü", 3), "äöü");
    }
}
