//! Entries that name the same backup: those that agree become one, those that do not are an error.

use std::sync::Arc;

use super::{Problem, Reader};
use crate::plan::{Entry, Known, RegionIndex, Subject};

impl Reader<'_> {
    /// Entries of which no two name the same backup for the same target; their `to` are united. The order of the
    /// plan stays.
    pub(super) fn unite(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let mut order: Vec<usize> = (0..entries.len()).filter(|at| name(&entries[*at]).is_some()).collect();
        order.sort_by(|a, b| name(&entries[*a]).cmp(&name(&entries[*b])));
        let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
        for group in order
            .chunk_by(|a, b| same_backup(entries[*a].as_ref(), entries[*b].as_ref()))
            .map(<[usize]>::to_vec)
            .filter(|group| group.len() > 1)
            .collect::<Vec<_>>()
        {
            self.unite_group(&mut entries, &group);
        }
        entries.into_iter().flatten().collect()
    }

    fn unite_group(&mut self, entries: &mut [Option<Entry>], group: &[usize]) {
        let mut kept: Vec<usize> = Vec::new();
        for at in group {
            let Some(second) = entries[*at].take() else { continue };
            let mut fate = Fate::Apart;
            for earlier in &kept {
                let Some(first) = entries[*earlier].as_mut() else { continue };
                fate = join(first, &second);
                match &fate {
                    Fate::Apart => {}
                    Fate::Joined => break,
                    Fate::Disagrees(field) => {
                        self.problems.push(disagreement(first, &second, field));
                        break;
                    }
                }
            }
            if matches!(fate, Fate::Apart) {
                entries[*at] = Some(second);
                kept.push(*at);
            }
        }
    }
}

/// What becomes of the second of two entries for one backup.
enum Fate {
    /// The first one now means both.
    Joined,
    /// They name their copies differently, and have no target in common: both stay.
    Apart,
    /// They contradict each other in this key.
    Disagrees(&'static str),
}

fn disagreement(first: &Entry, second: &Entry, field: &str) -> Problem {
    let (_, _, subject) = name(first).unwrap_or((first.from, Kind::Id, ""));
    Problem::error(second.place, format!("backup `{subject}` is named twice, with different `{field}`"))
        .related(first.place, "the first one")
        .hint(format!("give both the same `{field}`, or remove one of them"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Id,
    Location,
}

/// What an entry names; selects name nothing in particular.
fn name(entry: &Entry) -> Option<(RegionIndex, Kind, &str)> {
    match &entry.subject {
        Subject::Id { id, .. } => Some((entry.from, Kind::Id, id)),
        Subject::Location { key, .. } => Some((entry.from, Kind::Location, key.as_str())),
        Subject::Select(_) => None,
    }
}

fn same_backup(a: Option<&Entry>, b: Option<&Entry>) -> bool {
    a.and_then(name) == b.and_then(name)
}

fn join(first: &mut Entry, second: &Entry) -> Fate {
    if let Some(field) = contradiction(first, second) {
        return Fate::Disagrees(field);
    }
    let label = [("name", first.name != second.name), ("description", first.description != second.description)];
    if let Some((field, _)) = label.into_iter().find(|(_, differs)| *differs) {
        let in_common = second.to.iter().any(|target| first.to.contains(target));
        return if in_common { Fate::Disagrees(field) } else { Fate::Apart };
    }
    let new: Vec<RegionIndex> = second.to.iter().copied().filter(|target| !first.to.contains(target)).collect();
    if !new.is_empty() {
        first.to = first.to.iter().copied().chain(new).collect::<Arc<_>>();
    }
    let (mine, other) = (known_mut(&mut first.subject), known(&second.subject));
    if let (Some(mine), Some(other)) = (mine, other) {
        mine.sha256 = mine.sha256.or(other.sha256);
        mine.pin = mine.pin.take().or_else(|| other.pin.clone());
    }
    Fate::Joined
}

/// The key in which two entries say different things about one source.
fn contradiction(first: &Entry, second: &Entry) -> Option<&'static str> {
    if let (Subject::Location { parent: one, .. }, Subject::Location { parent: other, .. }) =
        (&first.subject, &second.subject)
        && one != other
    {
        return Some("parent");
    }
    let (one, other) = (known(&first.subject)?, known(&second.subject)?);
    if one.sha256.zip(other.sha256).is_some_and(|(one, other)| one != other) {
        return Some("sha256");
    }
    if one.pin.as_ref().zip(other.pin.as_ref()).is_some_and(|(one, other)| one != other) {
        return Some("pin");
    }
    None
}

fn known(subject: &Subject) -> Option<&Known> {
    match subject {
        Subject::Id { known, .. } | Subject::Location { known, .. } => Some(known),
        Subject::Select(_) => None,
    }
}

fn known_mut(subject: &mut Subject) -> Option<&mut Known> {
    match subject {
        Subject::Id { known, .. } | Subject::Location { known, .. } => Some(known),
        Subject::Select(_) => None,
    }
}
