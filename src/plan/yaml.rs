//! YAML text as a tree whose nodes know their place in the text.
//!
//! Built from parser events rather than through serde: one reading finds every problem, each with its place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::problem::{Place, Problem, Problems};
use super::scalar::Meaning;

/// Collections within collections.
const DEPTH_MAX: usize = 64;

/// Nodes that aliases may add to the text's own: more than any plan needs, and no bomb.
const REPLAYED_NODES_MAX: usize = 100_000;

/// Nodes in all; 48 bytes each, and some 12 for a backup.
const NODES_MAX: usize = 50_000_000;

/// A value and where it is.
#[derive(Debug, Clone)]
pub(super) struct Node<'s> {
    pub(super) place: Place,
    pub(super) value: Value<'s>,
}

/// Shared, so that an alias costs no memory.
#[derive(Debug, Clone)]
pub(super) enum Value<'s> {
    /// A scalar without quotes, whose meaning is still open.
    Plain(Cow<'s, str>),
    /// A scalar that is a text whatever it looks like.
    Quoted(Cow<'s, str>),
    Sequence(Rc<Vec<Node<'s>>>),
    Mapping(Rc<Vec<(Node<'s>, Node<'s>)>>),
}

impl Node<'_> {
    /// Whether it is nothing: `key:`, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Plain(text) if Meaning::of(text) == Meaning::Null)
    }

    /// The text of a scalar.
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Plain(text) | Value::Quoted(text) => Some(text),
            _ => None,
        }
    }

    /// "a list", for messages.
    pub(super) fn what(&self) -> &'static str {
        match &self.value {
            Value::Plain(text) => Meaning::of(text).name(),
            Value::Quoted(_) => "a text",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// The only document of `source`; none if it is empty or if an error was found that ends the reading.
pub(super) fn parse<'s>(source: &'s str, problems: &mut Problems) -> Option<Node<'s>> {
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut tree = Tree {
        source,
        problems,
        nodes: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        count: 0,
        replayed: 0,
        documents: 0,
    };
    for event in Parser::new_from_str_with_options(source, options) {
        let taken = match event {
            Ok((event, span)) => tree.take(event, span),
            Err(error) => Err(syntax(source, &error)),
        };
        if let Err(problem) = taken {
            tree.problems.push(problem);
            return None;
        }
    }
    tree.nodes.pop()
}

/// A collection that is not closed yet.
struct Open {
    place: Place,
    anchor: usize,
    is_mapping: bool,
    /// Where its children start in [`Tree::nodes`].
    first: usize,
    /// Where its own nodes start to count.
    counted: usize,
}

struct Tree<'s, 'p> {
    source: &'s str,
    problems: &'p mut Problems,
    /// Finished nodes whose collection is still open.
    nodes: Vec<Node<'s>>,
    open: Vec<Open>,
    /// Anchored nodes, and of how many nodes each is made.
    anchors: HashMap<usize, (Node<'s>, usize)>,
    count: usize,
    replayed: usize,
    documents: usize,
}

impl<'s> Tree<'s, '_> {
    fn take(&mut self, event: Event<'s>, span: Span) -> Result<(), Problem> {
        let place = place_of(self.source, span);
        match event {
            Event::DocumentStart(..) => return self.document(place),
            Event::Scalar(text, style, anchor, tag) => {
                let place = tag_place(self.source, &span).map_or(place, |tag| Place { end: place.end, ..tag });
                let quoted = self.tag(tag.as_deref(), place) || style != ScalarStyle::Plain;
                let value = if quoted { Value::Quoted(text) } else { Value::Plain(text) };
                return self.add(Node { place, value }, anchor, 1);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), tag_place(self.source, &span).unwrap_or(place));
                self.open(place, anchor, false)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tag(tag.as_deref(), tag_place(self.source, &span).unwrap_or(place));
                self.open(place, anchor, true)?;
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(place),
            Event::Alias(anchor) => return self.alias(anchor, place),
            _ => {}
        }
        Ok(())
    }

    fn document(&mut self, place: Place) -> Result<(), Problem> {
        self.documents += 1;
        if self.documents < 2 {
            return Ok(());
        }
        Err(Problem::error(place, "a second YAML document starts here: a plan is one document")
            .hint("remove the line `---`, or put what follows into a plan file of its own"))
    }

    fn open(&mut self, place: Place, anchor: usize, is_mapping: bool) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            return Err(too_deep(place));
        }
        self.open.push(Open { place, anchor, is_mapping, first: self.nodes.len(), counted: self.count });
        Ok(())
    }

    fn close(&mut self, end: Place) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let children = self.nodes.drain(open.first..);
        let value = if open.is_mapping {
            let mut pairs = Vec::with_capacity(children.len() / 2);
            let mut children = children;
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                pairs.push((key, value));
            }
            Value::Mapping(Rc::new(pairs))
        } else {
            Value::Sequence(Rc::new(children.collect()))
        };
        let place = Place { end: end.end.max(open.place.end), ..open.place };
        let weight = self.count - open.counted + 1;
        self.add(Node { place, value }, open.anchor, weight)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Problem> {
        let Some((node, weight)) = self.anchors.get(&anchor) else {
            return Err(
                Problem::error(place, "this alias stands inside the value it repeats").hint("write the value out")
            );
        };
        let node = Node { place, value: node.value.clone() };
        let weight = *weight;
        self.replayed += weight;
        if self.replayed > REPLAYED_NODES_MAX {
            return Err(Problem::error(
                place,
                format!("aliases repeat too much: more than {REPLAYED_NODES_MAX} values would be added to the plan"),
            )
            .hint("write the repeated values out"));
        }
        self.count += weight - 1;
        self.add(node, 0, weight)
    }

    /// Puts a finished node into the collection that is open.
    fn add(&mut self, node: Node<'s>, anchor: usize, weight: usize) -> Result<(), Problem> {
        self.count += 1;
        if self.count > NODES_MAX {
            return Err(Problem::error(node.place, format!("the plan has more than {NODES_MAX} values"))
                .hint("split it into several plans, or name many backups by one `select`"));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        self.nodes.push(node);
        Ok(())
    }

    /// Whether `tag` makes a text of a scalar. Tags that are not YAML's own are a problem.
    fn tag(&mut self, tag: Option<&Tag>, place: Place) -> bool {
        let Some(tag) = tag else { return false };
        match tag.core_suffix() {
            Some("str") => return true,
            Some("int" | "float" | "bool" | "null" | "seq" | "map") => return false,
            _ if tag.original() == "!" => return true,
            _ => {}
        }
        let end = place.start.saturating_add(u32::try_from(tag.original().len()).unwrap_or(0)).min(place.end);
        self.problems.push(
            Problem::error(Place { end, ..place }, format!("unknown tag `{}`", tag.original()))
                .hint("a plan needs no tags, and nothing is included or constructed from one; remove it"),
        );
        false
    }
}

fn too_deep(place: Place) -> Problem {
    Problem::error(place, format!("nested too deeply: more than {DEPTH_MAX} levels"))
        .hint("a plan needs 6 levels; a bracket may be missing before this line")
}

/// The parser's own errors, in words for somebody who did not write a parser.
fn syntax(source: &str, error: &ScanError) -> Problem {
    let mark = *error.marker();
    let place = place_of(source, Span::new(mark, mark));
    let (message, hint) = match error.kind() {
        ErrorKind::RecursionLimitExceeded => return too_deep(place),
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            ("a tab is used as indentation".to_owned(), Some("indent with spaces"))
        }
        ErrorKind::UnknownAnchor => (
            "this alias repeats an anchor that is not defined above it".to_owned(),
            Some("define it first with `&name`, or quote the value if it only starts with `*`"),
        ),
        ErrorKind::MappingValueNotAllowed => (
            "a `:` stands where no key can be".to_owned(),
            Some("quote a value that holds `: `, and check the indentation of this line and the one before"),
        ),
        ErrorKind::DirectiveDisallowed => ("a plan has no `%` directives".to_owned(), Some("remove the line")),
        ErrorKind::UnclosedQuotedScalar => ("a quote is not closed".to_owned(), Some("close it with the same quote")),
        ErrorKind::UnclosedFlowCollection { open } => (
            format!("the bracket `{open}` is not closed"),
            Some("close it, or quote the value if it only starts with a bracket"),
        ),
        other => (other.to_string(), None),
    };
    let problem = Problem::error(place, format!("not valid YAML: {message}"));
    match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

fn tag_place(source: &str, span: &Span) -> Option<Place> {
    span.tag_span().map(|tag| place_of(source, tag))
}

/// Offsets fit 32 bits, because a plan of more than 512 MiB is not read.
fn place_of(source: &str, span: Span) -> Place {
    let narrow = |wide: usize| u32::try_from(wide).unwrap_or(u32::MAX);
    let offset = |mark: granit_parser::Marker| source.floor_char_boundary(mark.byte_offset().unwrap_or(source.len()));
    let start = offset(span.start);
    let end = offset(span.end).max(start);
    Place {
        start: narrow(start),
        end: narrow(end),
        line: narrow(span.start.line().max(1)),
        column: narrow(span.start.col() + 1),
    }
}
