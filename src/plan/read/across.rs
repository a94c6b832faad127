//! What must hold between entries: no cycle of parents, and no two copies under one name.

use std::hash::{DefaultHasher, Hash, Hasher};

use unicode_normalization::UnicodeNormalization;

use super::{Problem, Reader};
use crate::id::{KEY_BYTES_MAX, Key};
use crate::plan::{Entry, RegionIndex, StoreSpec, Subject};

/// Names of a cycle that are printed; longer ones are cut in the middle of the message.
const CYCLE_SHOWN_MAX: usize = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Not,
    OnPath,
    Done,
}

impl Reader<'_> {
    /// Names each cycle of parents once, in full.
    pub(super) fn check_cycles(&mut self, entries: &[Entry]) {
        let location = |at: usize| location(&entries[at]).map(|(key, _)| (entries[at].from, key));
        let mut sorted: Vec<usize> = (0..entries.len()).filter(|at| location(*at).is_some()).collect();
        sorted.sort_by_key(|at| location(*at));
        let parent = |at: usize| {
            let (_, parent) = self::location(&entries[at])?;
            let wanted = Some((entries[at].from, parent?));
            sorted.binary_search_by(|other| location(*other).cmp(&wanted)).ok().map(|found| sorted[found])
        };
        let mut visits = vec![Visit::Not; entries.len()];
        for start in 0..entries.len() {
            let mut path = Vec::new();
            let mut next = Some(start);
            while let Some(at) = next.filter(|at| visits[*at] == Visit::Not) {
                visits[at] = Visit::OnPath;
                path.push(at);
                next = parent(at);
            }
            if let Some(first) = next.and_then(|at| path.iter().position(|other| *other == at)) {
                self.problems.push(cycle(entries, &path[first..]));
            }
            for at in path {
                visits[at] = Visit::Done;
            }
        }
    }

    /// Names two locations whose copies would get the same name in the same target store: also names that differ
    /// only in how Unicode writes the same letters, which some file systems take for one.
    pub(super) fn check_collisions(&mut self, entries: &[Entry]) {
        let mut hashed: Vec<(u64, usize)> =
            (0..entries.len()).filter_map(|at| Some((hash(location(&entries[at])?.0), at))).collect();
        hashed.sort_unstable();
        for group in hashed.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1) {
            for (position, (_, second)) in group.iter().enumerate().skip(1) {
                let collision =
                    group[..position].iter().find_map(|(_, first)| self.collision(&entries[*first], &entries[*second]));
                if let Some(problem) = collision {
                    self.problems.push(problem);
                }
            }
        }
    }

    /// Names a location that has no room behind the prefix of a bucket that it is read from or copied to.
    pub(super) fn check_lengths(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Some((key, _)) = location(entry) else { continue };
            let mut regions = [entry.from].into_iter().chain(entry.to.iter().copied());
            let bytes = |region: RegionIndex| key.as_str().len() + self.prefix_bytes(region);
            let Some(region) = regions.find(|region| bytes(*region) > KEY_BYTES_MAX) else { continue };
            let message = format!(
                "`{key}` is too long for region `{}`: {} bytes with its prefix, at most {KEY_BYTES_MAX} are possible",
                self.name_of(region),
                bytes(region)
            );
            self.problems.push(Problem::error(entry.place, message).hint("give the region a shorter `prefix`"));
        }
    }

    /// Bytes of a bucket's prefix, as far as its text tells.
    fn prefix_bytes(&self, region: RegionIndex) -> usize {
        let prefix = match &self.regions[usize::from(region.0)].store {
            StoreSpec::File { .. } | StoreSpec::Swift(_) => None,
            StoreSpec::S3(s3) => s3.prefix.as_ref(),
            StoreSpec::Gcs(gcs) => gcs.prefix.as_ref(),
            StoreSpec::Azure(azure) => azure.prefix.as_ref(),
        };
        prefix.filter(|prefix| prefix.variables().next().is_none()).map_or(0, |prefix| prefix.as_str().len())
    }

    fn collision(&self, first: &Entry, second: &Entry) -> Option<Problem> {
        let (one, _) = location(first)?;
        let (other, _) = location(second)?;
        let is_same_name = one == other || one.as_str().nfc().eq(other.as_str().nfc());
        let target =
            second.to.iter().find(|target| first.to.iter().any(|other| self.is_same_store(**target, *other)))?;
        if !is_same_name || (first.from == second.from && one == other) {
            return None;
        }
        let (target, sources) = (self.name_of(*target), [self.name_of(first.from), self.name_of(second.from)]);
        let message = if one == other {
            format!(
                "`{other}` of region `{}` and of region `{}` would be one object in region `{target}`",
                sources[0], sources[1]
            )
        } else {
            format!(
                "two names that look the same and differ in their Unicode form would be one object in region `{target}`: `{}`",
                escaped(other)
            )
        };
        let hint = "a copy keeps its location's name: send one of them to another region, or rename it in its source";
        Some(Problem::error(second.place, message).related(first.place, "the first one").hint(hint))
    }
}

/// Shows which letters of a name are not what they look like.
fn escaped(key: &Key) -> String {
    let show = |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
    key.as_str().chars().map(show).collect()
}

/// The object of an entry that names one, and its parent.
fn location(entry: &Entry) -> Option<(&Key, Option<&Key>)> {
    match &entry.subject {
        Subject::Location { key, parent, .. } => Some((key, parent.as_ref())),
        _ => None,
    }
}

fn hash(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    if key.as_str().is_ascii() {
        key.as_str().bytes().for_each(|byte| u32::from(byte).hash(&mut hasher));
    } else {
        key.as_str().nfc().for_each(|c| u32::from(c).hash(&mut hasher));
    }
    hasher.finish()
}

/// `members` builds each on the next, and the last on the first.
fn cycle(entries: &[Entry], members: &[usize]) -> Problem {
    let names = members.iter().chain(members.first()).filter_map(|at| location(&entries[*at]));
    let mut names: Vec<String> = names.map(|(key, _)| format!("`{key}`")).collect();
    if names.len() > CYCLE_SHOWN_MAX {
        let cut = names.len() - CYCLE_SHOWN_MAX;
        names.splice(CYCLE_SHOWN_MAX / 2..CYCLE_SHOWN_MAX / 2 + cut, [format!("… {cut} more …")]);
    }
    let place = entries[members[0]].place;
    let mut problem = Problem::error(place, format!("these backups build on each other: {}", names.join(" → ")))
        .hint("the full backup of a chain has no `parent`; remove the one that is wrong");
    for at in members.iter().skip(1).take(CYCLE_SHOWN_MAX) {
        problem = problem.related(entries[*at].place, "also in the cycle");
    }
    problem
}
