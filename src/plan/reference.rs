//! Texts with `${NAME}` in them: values that come from the environment when they are needed, and not before.

use std::fmt;

use super::problem::Place;

/// A text that may refer to environment variables. Printing it shows the references, never what they stand for.
#[derive(Debug, Clone)]
pub struct Reference {
    text: String,
    parts: Vec<Part>,
    place: Option<Place>,
}

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Variable(String),
}

/// A variable that a text refers to and the environment does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable `{name}` is not set")]
pub struct MissingVariable {
    /// Its name.
    pub name: String,
}

/// Why a text is no reference. Each completes "`${…` …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error("has no closing `}}`")]
    Open,
    #[error("names no variable")]
    Empty,
    #[error("is a form that is not allowed: `{0}`")]
    Form(String),
}

impl std::str::FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        Self::parse(text).map_err(|(_, error)| BadReference(error.to_string()))
    }
}

/// A text whose `${…}` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a `${{…}}` that {0}")]
pub struct BadReference(String);

impl Reference {
    /// Takes `text` apart; the byte offset of the `${` comes with an error.
    pub(super) fn parse(text: &str) -> Result<Self, (usize, ReferenceError)> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find("${").map(|found| at + found) {
            if found > at {
                parts.push(Part::Literal(text[at..found].to_owned()));
            }
            let inside = &text[found + 2..];
            let Some(end) = inside.find('}') else { return Err((found, ReferenceError::Open)) };
            let name = &inside[..end];
            if name.is_empty() {
                return Err((found, ReferenceError::Empty));
            }
            if !is_variable(name) {
                return Err((found, ReferenceError::Form(format!("${{{name}}}"))));
            }
            parts.push(Part::Variable(name.to_owned()));
            at = found + 2 + end + 1;
        }
        if at < text.len() {
            parts.push(Part::Literal(text[at..].to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts, place: None })
    }

    pub(super) fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Where it is in the plan file.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// As written, with its references.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The variables it refers to, in their order; one that is named twice comes twice.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// Whether it is one variable and nothing else.
    pub(super) fn is_variable(&self) -> bool {
        matches!(self.parts[..], [Part::Variable(_)])
    }

    /// The text with every reference replaced by what `environment` has for it. What comes from there is not
    /// looked at again.
    ///
    /// # Errors
    /// [`MissingVariable`], for the first variable that is not set or empty.
    pub fn expand(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, MissingVariable> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Variable(name) => match environment(name).filter(|value| !value.is_empty()) {
                    Some(value) => out.push_str(&value),
                    None => return Err(MissingVariable { name: name.clone() }),
                },
            }
        }
        Ok(out)
    }
}

/// Letters, digits and `_`, not a digit first: what a shell can set.
fn is_variable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(allowed) && !name.starts_with(|c: char| c.is_ascii_digit())
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Reference {}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/op".to_owned()),
            "NESTED" => Some("${HOME}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn expand(text: &str) -> Result<String, MissingVariable> {
        Reference::parse(text).expect("well formed").expand(&environment)
    }

    #[test]
    fn references_expand_once() {
        assert_eq!(expand("plain"), Ok("plain".to_owned()));
        assert_eq!(expand(""), Ok(String::new()));
        assert_eq!(expand("${HOME}/a/${HOME}"), Ok("/home/op/a//home/op".to_owned()));
        assert_eq!(expand("${NESTED}"), Ok("${HOME}".to_owned()));
        assert_eq!(expand("$HOME $$ {x}"), Ok("$HOME $$ {x}".to_owned()));
    }

    #[test]
    fn missing_and_empty_variables_are_named() {
        assert_eq!(expand("a${UNSET}"), Err(MissingVariable { name: "UNSET".to_owned() }));
        assert_eq!(expand("${EMPTY}"), Err(MissingVariable { name: "EMPTY".to_owned() }));
    }

    #[test]
    fn other_forms_are_refused_where_they_start() {
        let error = |text| Reference::parse(text).expect_err("refused");
        assert_eq!(error("ab${HOME"), (2, ReferenceError::Open));
        assert_eq!(error("${}"), (0, ReferenceError::Empty));
        for form in ["${file:/etc/shadow}", "${HOME:-/root}", "${1}", "${A B}", "${${A}}"] {
            assert!(matches!(error(form), (0, ReferenceError::Form(_))), "{form}");
        }
    }

    #[test]
    fn printing_shows_the_reference() {
        let reference = Reference::parse("sqlite://${HOME}/x.db").expect("well formed");
        assert_eq!(reference.to_string(), "sqlite://${HOME}/x.db");
        assert_eq!(reference.variables().collect::<Vec<_>>(), ["HOME"]);
    }
}
