//! Single values: texts, numbers, sizes, names, references. Ranges and lengths come from the shape.

use std::time::Duration;

use super::{Fields, Kind, Node, Problem, Reader, Value};
use crate::id::Key as ObjectKey;
use crate::plan::RegionIndex;
use crate::plan::reference::Reference;
use crate::plan::scalar::Meaning;
use crate::plan::unit::{self, UnitError};
use crate::suggest;

/// Longest name of a plan or a region, in characters.
const NAME_MAX: usize = 100;

impl<'s> Reader<'s> {
    /// A scalar that is a text in every version of YAML.
    pub(super) fn scalar<'n>(&mut self, node: &'n Node<'s>, name: &str) -> Option<&'n str> {
        let name = quoted(name);
        let quote = match &node.value {
            Value::Quoted(text) => return Some(text),
            Value::Plain(text) if Meaning::of(text) == Meaning::Text => return Some(text),
            Value::Plain(text) => Some(format!("put it in quotes: `\"{text}\"`")),
            _ => None,
        };
        let problem = Problem::error(node.place, format!("{name} must be a text, and this is {}", node.what()));
        self.problems.push(match quote {
            Some(hint) if !node.is_null() => problem.hint(hint),
            _ => problem.hint("write a single value"),
        });
        None
    }

    /// A text without references and without anything that a terminal or a header would act on.
    pub(super) fn plain_text<'n>(&mut self, node: &'n Node<'s>, name: &str, max: usize) -> Option<&'n str> {
        let text = self.scalar(node, name)?;
        let name = quoted(name);
        let count = text.chars().count();
        let problem = if text.is_empty() {
            Problem::error(node.place, format!("{name} is empty")).hint("give it a value, or remove the key")
        } else if let Some(bad) = text.chars().find(|c| is_control(*c)) {
            Problem::error(node.place, format!("{name} has a control character (`{}`)", bad.escape_unicode()))
                .hint("write it as one line of visible text")
        } else if let Some(at) = text.find("${") {
            let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
            Problem::error(self.place_in(node, at..end), format!("{name} cannot refer to the environment"))
                .hint("only `database` and what a `store` says may hold `${NAME}`")
        } else if count > max {
            Problem::error(node.place, format!("{name} is too long: {count} characters, at most {max} are possible"))
                .hint("shorten it")
        } else if text.starts_with(' ') || text.ends_with(' ') {
            Problem::error(node.place, format!("{name} starts or ends with a space")).hint("remove the space")
        } else {
            return Some(text);
        };
        self.problems.push(problem);
        None
    }

    /// The value of a key of kind text.
    pub(super) fn text(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<String> {
        let (node, key) = fields.get(name)?;
        let max = if let Kind::Text { max } = key.kind { max } else { usize::MAX };
        self.plain_text(node, name, max).map(str::to_owned)
    }

    /// The value of a key of kind texts: one, or a list.
    pub(super) fn texts(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Vec<String> {
        let Some((node, key)) = fields.get(name) else { return Vec::new() };
        let max = if let Kind::Texts { max } = key.kind { max } else { usize::MAX };
        let Value::Sequence(items) = &node.value else {
            return self.plain_text(node, name, max).map(str::to_owned).into_iter().collect();
        };
        if items.is_empty() {
            let problem = Problem::error(node.place, format!("`{name}` is an empty list, which would select nothing"));
            self.problems.push(problem.hint("name at least one, or remove the key to take any"));
        }
        items.iter().filter_map(|item| self.plain_text(item, name, max).map(str::to_owned)).collect()
    }

    /// The value of a key of kind name.
    pub(super) fn name(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<String> {
        let (node, _) = fields.get(name)?;
        self.name_value(node, name).map(str::to_owned)
    }

    /// Letters, digits, `-`, `_`, `.`: safe as a file's name, in a terminal and in a URL.
    pub(super) fn name_value<'n>(&mut self, node: &'n Node<'s>, what: &str) -> Option<&'n str> {
        let text = self.plain_text(node, what, NAME_MAX)?;
        let what = quoted(what);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let problem = if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
            format!("{what} cannot have the character `{bad}`")
        } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            format!("{what} must start with a letter or a digit")
        } else {
            return Some(text);
        };
        self.problems.push(Problem::error(node.place, problem).hint("use letters, digits, `-`, `_` and `.`"));
        None
    }

    /// The value of a whole-number key, in the range that the shape gives.
    pub(super) fn integer(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<u64> {
        let (node, key) = fields.get(name)?;
        let (min, max) = if let Kind::Integer { min, max } = key.kind { (min, max) } else { (0, u64::MAX) };
        let range = match (min, max) {
            (min, u64::MAX) => format!("{min} or more"),
            (min, max) if min == max => format!("{min}"),
            (min, max) => format!("{min} to {max}"),
        };
        let text = match &node.value {
            Value::Plain(text) => text,
            Value::Quoted(text) if text.parse::<u64>().is_ok() => {
                let problem = Problem::error(node.place, format!("`{name}` must be a number, and this is a text"));
                self.problems.push(problem.hint(format!("remove the quotes: `{text}`")));
                return None;
            }
            _ => {
                let message = format!("`{name}` must be a whole number, and this is {}", node.what());
                self.problems.push(Problem::error(node.place, message).hint(format!("write a number: {range}")));
                return None;
            }
        };
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
        match text.parse::<u64>() {
            Ok(number) if is_plain && (min..=max).contains(&number) => return Some(number),
            _ if Meaning::of(text) != Meaning::Number => {
                let message = format!("`{name}` must be a whole number, and this is {}", node.what());
                self.problems.push(Problem::error(node.place, message).hint(format!("write a number: {range}")));
            }
            _ => {
                let message = format!("`{name}` must be a whole number from {min} to {max}");
                let message = if min == max { format!("`{name}` must be {min}") } else { message };
                let message = if max == u64::MAX { format!("`{name}` must be a whole number") } else { message };
                self.problems.push(Problem::error(node.place, message).hint(format!("write a number: {range}")));
            }
        }
        None
    }

    /// One of a few words: its position in the shape's list.
    pub(super) fn choice(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<&'static str> {
        let (node, key) = fields.get(name)?;
        let Kind::Choice(words, later) = key.kind else { return None };
        let text = self.scalar(node, name)?;
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        let problem = if later.contains(&text) {
            let known: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            Problem::error(
                node.place,
                format!("`{name}: {text}` in {} is not in this version of Backhaul", fields.shape.what),
            )
            .hint(format!("this version has {}", known.join(", ")))
        } else {
            Problem::error(node.place, format!("`{name}` cannot be `{text}` in {}", fields.shape.what))
                .hint(suggest::hint(text, "possible values", words.iter().copied()))
        };
        self.problems.push(problem);
        None
    }

    /// A size in the range that the shape gives.
    pub(super) fn size(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<u64> {
        let (node, key) = fields.get(name)?;
        let text = self.unit_text(node, name)?;
        let bytes = unit::parse_bytes(text).map_err(|error| self.unit_problem(node, name, text, error)).ok()?;
        let Kind::Size { min, max } = key.kind else { return Some(bytes) };
        if (min..=max).contains(&bytes) {
            return Some(bytes);
        }
        let (min, max) = (unit::format_bytes(min), unit::format_bytes(max));
        let message = format!("`{name}` must be from {min} to {max}, and this is {}", unit::format_bytes(bytes));
        self.problems.push(Problem::error(node.place, message).hint(format!("write a size from `{min}` to `{max}`")));
        None
    }

    /// A duration.
    pub(super) fn duration(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<Duration> {
        let (node, _) = fields.get(name)?;
        let text = self.unit_text(node, name)?;
        unit::parse_duration(text).map_err(|error| self.unit_problem(node, name, text, error)).ok()
    }

    /// A scalar that carries a unit. A bare number is read on, so that its missing unit is what is named.
    pub(super) fn unit_text<'n>(&mut self, node: &'n Node<'s>, name: &str) -> Option<&'n str> {
        match &node.value {
            Value::Plain(text) if Meaning::of(text) == Meaning::Number => Some(text),
            _ => self.scalar(node, name),
        }
    }

    /// Names a value whose unit or number is wrong.
    pub(super) fn unit_problem(&mut self, node: &Node<'s>, name: &str, text: &str, error: UnitError) {
        let message = format!("`{name}`: `{text}` {}", error.message);
        self.problems.push(Problem::error(node.place, message).hint(error.hint));
    }

    /// An object's name in a store.
    pub(super) fn object_key(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<ObjectKey> {
        let (node, _) = fields.get(name)?;
        let text = self.scalar(node, name)?;
        let problem = match (text.find("${"), ObjectKey::parse(text)) {
            (None, Ok(key)) => return Some(key),
            (Some(_), Ok(_)) => return self.plain_text(node, name, usize::MAX).and(None),
            (_, Err(error)) => Problem::error(node.place, format!("bad object name in `{name}`: it {error}"))
                .hint("write the name as it is inside the region's store, for instance `dumps/orders.xbstream.gz`"),
        };
        self.problems.push(problem);
        None
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<bool> {
        let (node, _) = fields.get(name)?;
        match &node.value {
            Value::Plain(text) if text == "true" => Some(true),
            Value::Plain(text) if text == "false" => Some(false),
            _ => {
                let shown = match &node.value {
                    Value::Plain(text) => format!("`{text}`"),
                    _ => node.what().to_owned(),
                };
                let message = format!("`{name}` must be `true` or `false`, and this is {shown}");
                self.problems
                    .push(Problem::error(node.place, message).hint(format!("write `{name}: true`, or remove the key")));
                None
            }
        }
    }

    /// A text that may refer to the environment.
    pub(super) fn reference(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<Reference> {
        let (node, _) = fields.get(name)?;
        let text = self.scalar(node, name)?;
        if let Some(bad) = text.chars().find(|c| is_control(*c)) {
            let message = format!("`{name}` has a control character (`{}`)", bad.escape_unicode());
            self.problems.push(Problem::error(node.place, message).hint("write it as one line of visible text"));
            return None;
        }
        if text.trim().is_empty() {
            self.problems.push(
                Problem::error(node.place, format!("`{name}` is empty")).hint("give it a value, or remove the key"),
            );
            return None;
        }
        match Reference::parse(text) {
            Ok(reference) => Some(reference.at(node.place)),
            Err((at, error)) => {
                let end = text[at..].find('}').map_or(text.len(), |end| at + end + 1);
                let message = format!("the reference in `{name}` {error}");
                let problem = Problem::error(self.place_in(node, at..end), message);
                self.problems.push(
                    problem
                        .hint("only `${NAME}` is read: an environment variable, without defaults, files or commands"),
                );
                None
            }
        }
    }

    /// The region that a scalar names.
    pub(super) fn region(&mut self, node: &Node<'s>, name: &str) -> Option<RegionIndex> {
        let text = self.scalar(node, name)?;
        if let Some(index) = self.index.get(text) {
            return Some(*index);
        }
        if self.index.is_empty() {
            // There are no regions at all, which is a problem of its own.
            return None;
        }
        let mut known: Vec<&str> = self.index.keys().map(AsRef::as_ref).collect();
        known.sort_unstable();
        let hint = suggest::hint(text, "known regions", known);
        self.problems.push(Problem::error(node.place, format!("unknown region `{text}`")).hint(hint));
        None
    }
}

/// A key's name in backticks; a description in words as it is.
fn quoted(name: &str) -> String {
    if name.contains(' ') { name.to_owned() } else { format!("`{name}`") }
}

/// Characters that act instead of being shown, or that turn the direction of what follows.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
