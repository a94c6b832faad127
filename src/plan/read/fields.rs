//! One mapping against its shape: unknown, duplicate, missing and empty keys, and literal secrets.

use super::{Kind, Node, Place, Problem, Reader, Value};
use crate::plan::reference::Reference;
use crate::plan::scalar::Meaning;
use crate::plan::shape::{KEYS_MAX, Key, PLAN, Shape};
use crate::suggest;

/// A mapping whose keys are known.
pub(super) struct Fields<'n, 's> {
    pub(super) shape: &'static Shape,
    pub(super) place: Place,
    /// By the position of the key in the shape: the key's place and the value.
    found: [Option<(Place, &'n Node<'s>)>; KEYS_MAX],
}

impl<'n, 's> Fields<'n, 's> {
    /// The value of a key, and what the shape says of it; none if the key is not there or is empty.
    pub(super) fn get(&self, name: &str) -> Option<(&'n Node<'s>, &'static Key)> {
        let (at, key) = self.shape.find(name)?;
        self.found[at].map(|(_, node)| (node, key)).filter(|(node, _)| !node.is_null())
    }

    /// Where a key stands.
    pub(super) fn key(&self, name: &str) -> Option<Place> {
        self.shape.find(name).and_then(|(at, _)| self.found[at]).map(|(place, _)| place)
    }
}

impl<'s> Reader<'s> {
    /// Takes `node` as a mapping of this shape; none if it is no mapping.
    pub(super) fn fields<'n>(&mut self, node: &'n Node<'s>, shape: &'static Shape) -> Option<Fields<'n, 's>> {
        let pairs = self.pairs(node, shape.what)?;
        let mut fields = Fields { shape, place: node.place, found: [None; KEYS_MAX] };
        for (key, value) in pairs {
            let Some(name) = self.key_text(key) else { continue };
            let Some((at, known)) = shape.find(name) else {
                self.unknown_key(key, name, value, shape);
                continue;
            };
            if let Some((first, _)) = fields.found[at] {
                self.problems.push(
                    Problem::error(key.place, format!("`{name}` stands twice in {}", shape.what))
                        .related(first, "the first one")
                        .hint("remove one of the two"),
                );
                continue;
            }
            fields.found[at] = Some((key.place, value));
            self.check_empty(key, value, known);
        }
        // A file of regions alone has neither name nor backups.
        let may_lack =
            |key: &Key| self.regions_alone && shape.what == PLAN.what && matches!(key.name, "name" | "backups");
        let missing: Vec<_> = shape
            .keys
            .iter()
            .enumerate()
            .filter(|(at, key)| key.required && fields.found[*at].is_none() && !may_lack(key))
            .collect();
        for (_, key) in missing {
            let problem = Problem::error(node.place, format!("{} has no `{}`", shape.what, key.name));
            self.problems.push(problem.hint(format!("add `{}:` ({})", key.name, first_sentence(key.doc))));
        }
        Some(fields)
    }

    /// The pairs of a mapping; the borrow is the node's.
    pub(super) fn pairs<'n>(&mut self, node: &'n Node<'s>, what: &str) -> Option<&'n [(Node<'s>, Node<'s>)]> {
        if let Value::Mapping(pairs) = &node.value {
            return Some(pairs);
        }
        let message = format!("{what} must be a mapping, and this is {}", node.what());
        self.problems.push(Problem::error(node.place, message).hint("a mapping is lines of `key: value`"));
        None
    }

    /// A key of fixed name as text.
    fn key_text<'n>(&mut self, key: &'n Node<'s>) -> Option<&'n str> {
        match key.scalar() {
            Some("<<") => {
                let problem = Problem::error(key.place, "the merge key `<<` is not read");
                self.problems.push(problem.hint("write the keys out, or use `defaults`"));
                None
            }
            Some(text) => Some(text),
            None => {
                let problem = Problem::error(key.place, format!("a key must be a text, and this is {}", key.what()));
                self.problems.push(problem.hint("write it as `key: value`"));
                None
            }
        }
    }

    fn unknown_key(&mut self, key: &Node<'s>, name: &str, value: &Node<'s>, shape: &Shape) {
        if self.refuse_secret(name, value) {
            return;
        }
        let known = shape.keys.iter().map(|key| key.name);
        let problem = Problem::error(key.place, format!("unknown key `{name}` in {}", shape.what));
        self.problems.push(problem.hint(suggest::hint(name, "known keys", known)));
    }

    /// Refuses a literal secret under a key that looks like one. It must never be shown.
    pub(super) fn refuse_secret(&mut self, name: &str, value: &Node<'s>) -> bool {
        let Some(text) = value.scalar().filter(|_| is_secret(name) && !value.is_null()) else { return false };
        let is_reference = Reference::parse(text).is_ok_and(|reference| reference.variables().next().is_some());
        if !is_reference {
            self.secret_in_plain_text(name, value);
        }
        !is_reference
    }

    fn secret_in_plain_text(&mut self, name: &str, value: &Node<'s>) {
        self.problems.push(
            Problem::error(value.place, format!("`{name}` holds a secret in plain text"))
                .secret(value.place)
                .hint("remove it here and change it where it is used; secrets come from the environment as `${NAME}`"),
        );
    }

    /// The value of a key of kind secret: one reference, and nothing beside it.
    pub(super) fn secret(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<Reference> {
        let (node, _) = fields.get(name)?;
        // What is no text at all may hold a secret somewhere inside.
        let reference = node.scalar().and_then(|text| Reference::parse(text).ok());
        let Some(reference) = reference.filter(Reference::is_variable) else {
            self.secret_in_plain_text(name, node);
            return None;
        };
        Some(reference.at(node.place))
    }

    /// Names a key without a value, except where an empty mapping means the same as none.
    fn check_empty(&mut self, key: &Node<'s>, value: &Node<'s>, known: &Key) {
        let may_be_empty = matches!(known.kind, Kind::Map(_) | Kind::Named(_) | Kind::Typed(_)) && !known.required;
        if !value.is_null() || may_be_empty {
            return;
        }
        let problem = Problem::error(key.place, format!("`{}` has no value", known.name));
        let is_word =
            matches!(&value.value, Value::Plain(text) if text.len() > 1 && Meaning::of(text) == Meaning::Null);
        let may_be_a_word =
            matches!(known.kind, Kind::Text { .. } | Kind::Texts { .. } | Kind::Name | Kind::Region | Kind::ObjectKey);
        self.problems.push(match value.scalar() {
            Some(word) if is_word && may_be_a_word => {
                problem.hint(format!("YAML reads `{word}` as nothing; put it in quotes if it is a name: `\"{word}\"`"))
            }
            _ => problem.hint("give it a value, or remove the key"),
        });
    }
}

/// The first sentence of a text, to be put into another one.
fn first_sentence(doc: &str) -> String {
    let sentence = doc.split(". ").next().unwrap_or(doc).trim_end_matches('.');
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// Whether a key of this name holds what nobody should read.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 10] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "api_key",
        "private_key",
        "access_key",
        "account_key",
        "connection_string",
    ];
    let name = name.to_ascii_lowercase().replace('-', "_");
    WORDS.iter().any(|word| name.contains(word)) || name == "apikey"
}
