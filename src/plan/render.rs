//! Problems as text: `error: …`, ` --> file:line:column`, the line underlined, `hint: …`.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level as Title, Origin, Renderer, Snippet};

use super::problem::{Level, Place, Problem, Refused};

/// Problems that are shown in full; the rest is counted.
pub const PROBLEMS_SHOWN_MAX: usize = 100;

/// Bytes of a line that are shown before and after a place, so that a plan in one line does not fill the screen.
const CONTEXT_BYTES: usize = 400;

/// Bytes between two places that are still shown as one stretch of the text.
const NEAR_BYTES: usize = 16 << 10;

/// Shows problems of the plan at `path` whose text is `source`, with terminal colours if `coloured`.
///
/// At most [`PROBLEMS_SHOWN_MAX`] are shown, then `… and n more problems`. Ends with a newline, unless there are none.
#[must_use]
pub fn render(problems: &[Problem], source: &str, path: &Path, coloured: bool) -> String {
    render_all(problems, 0, source, path, coloured)
}

impl Refused {
    /// As [`render`], for all problems of the plan.
    #[must_use]
    pub fn render(&self, coloured: bool) -> String {
        render_all(&self.problems, self.omitted, &self.source, &self.path, coloured)
    }
}

fn render_all(problems: &[Problem], omitted: usize, source: &str, path: &Path, coloured: bool) -> String {
    let renderer = if coloured { Renderer::styled() } else { Renderer::plain() };
    let secrets: Vec<Place> = problems.iter().filter_map(|problem| problem.secret).collect();
    let text = Text { source, path: path.display().to_string(), secrets };
    let mut out = String::new();
    for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) {
        out.push_str(&text.show(problem, &renderer));
        out.push_str("\n\n");
    }
    match problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) + omitted {
        0 => {}
        1 => out.push_str("… and 1 more problem\n\n"),
        more => out.extend(["… and ", &more.to_string(), " more problems\n\n"]),
    }
    out
}

/// What all problems are shown against.
struct Text<'a> {
    source: &'a str,
    path: String,
    secrets: Vec<Place>,
}

/// A stretch of whole lines, with what is underlined in it.
struct Block<'a> {
    number: usize,
    bytes: Range<usize>,
    /// Whether its first line is cut, so that columns cannot be counted in it.
    is_cut: bool,
    marks: Vec<(Place, AnnotationKind, Option<&'a str>)>,
}

impl<'a> Text<'a> {
    fn show(&'a self, problem: &'a Problem, renderer: &Renderer) -> String {
        let level = match problem.level {
            Level::Error => Title::ERROR,
            Level::Warning => Title::WARNING,
        };
        let hint = problem.hint.as_deref();
        let hint = hint.map(|hint| Group::with_title(Title::HELP.with_name("hint").secondary_title(hint)));
        let Some(place) = problem.place else {
            let title = Group::with_title(level.primary_title(format!("{}: {}", self.path, problem.message)));
            // Each by itself: between two groups stands a gutter, and here is no line that it could belong to.
            let lines: Vec<String> = [title].into_iter().chain(hint).map(|group| renderer.render(&[group])).collect();
            return lines.join("\n");
        };
        let elements = self.blocks(place, &problem.related).into_iter().flat_map(|block| self.elements(&block));
        let group = level.primary_title(problem.message.as_str()).elements(elements);
        renderer.render(&[group].into_iter().chain(hint).collect::<Vec<_>>())
    }

    /// The problem's own line, with what is near it; then what is far away.
    fn blocks(&self, place: Place, related: &'a [(Place, String)]) -> Vec<Block<'a>> {
        let mut blocks = vec![self.block(place, AnnotationKind::Primary, None)];
        for (place, label) in related {
            let other = self.block(*place, AnnotationKind::Context, Some(label));
            let is_near = |block: &Block<'_>| {
                let gap = other
                    .bytes
                    .start
                    .saturating_sub(block.bytes.end)
                    .max(block.bytes.start.saturating_sub(other.bytes.end));
                gap <= NEAR_BYTES && !(block.is_cut || other.is_cut)
            };
            match blocks.iter_mut().find(|block| is_near(block)) {
                Some(block) => block.join(other),
                None => blocks.push(other),
            }
        }
        blocks
    }

    fn block(&self, place: Place, kind: AnnotationKind, label: Option<&'a str>) -> Block<'a> {
        let at = floor(self.source, place.start as usize);
        let first = floor(self.source, at.saturating_sub(CONTEXT_BYTES));
        let last = floor(self.source, at.saturating_add(CONTEXT_BYTES));
        let line_start = self.source[first..at].rfind(is_break).map(|found| first + found + 1);
        let end = self.source[at..last].find(is_break).map_or(last, |found| at + found);
        Block {
            number: place.line as usize,
            bytes: line_start.unwrap_or(first)..end,
            is_cut: line_start.is_none() && first > 0,
            marks: vec![(place, kind, label)],
        }
    }

    fn elements(&'a self, block: &Block<'a>) -> Vec<Element<'a>> {
        let mut bytes = self.source.as_bytes()[block.bytes.clone()].to_vec();
        for secret in &self.secrets {
            let inside = |at: u32| (at as usize).clamp(block.bytes.start, block.bytes.end) - block.bytes.start;
            bytes[inside(secret.start)..inside(secret.end)].fill(b'*');
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let annotations: Vec<Annotation<'a>> = block
            .marks
            .iter()
            .map(|(place, kind, label)| kind.span(underlined(&text, *place, block.bytes.start)).label(*label))
            .collect();
        let snippet = Snippet::source(text).line_start(block.number).annotations(annotations);
        if !block.is_cut {
            return vec![snippet.path(self.path.as_str()).into()];
        }
        let place = block.marks[0].0;
        let origin = Origin::path(self.path.as_str()).line(place.line as usize).char_column(place.column as usize);
        vec![origin.into(), snippet.into()]
    }
}

impl<'a> Block<'a> {
    fn join(&mut self, other: Block<'a>) {
        self.number = self.number.min(other.number);
        self.bytes = self.bytes.start.min(other.bytes.start)..self.bytes.end.max(other.bytes.end);
        self.marks.extend(other.marks);
    }
}

/// Where `place` lies in a text that starts at byte `start`; what reaches into the next lines is left out.
fn underlined(text: &str, place: Place, start: usize) -> Range<usize> {
    let from = floor(text, (place.start as usize).saturating_sub(start));
    let to = floor(text, (place.end as usize).saturating_sub(start)).max(from);
    let to = text[from..to].find(is_break).map_or(to, |found| from + found);
    from..from + text[from..to].trim_end().len()
}

fn is_break(c: char) -> bool {
    c == '\n' || c == '\r'
}

/// The character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}
