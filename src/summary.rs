//! What the database says about a plan, in numbers: states, restorable chains, failures grouped by cause. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use crate::exit::Exit;
use crate::failure::Cause;
use crate::state::State;

/// What a summary needs of one row.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// The target id.
    pub id: Uuid,
    /// What a person calls it.
    pub name: &'a str,
    /// Where it stands.
    pub state: State,
    /// Size of the object; 0 while unknown.
    pub bytes: u64,
    /// Whose it is, if the catalog says.
    pub tenant: Option<&'a str>,
    /// Why it failed, or why its last attempt did.
    pub cause: Option<Cause>,
    /// The failure's text.
    pub error: Option<&'a str>,
    /// The failure's hint.
    pub hint: Option<&'a str>,
    /// Position of its chain's first link.
    pub root: usize,
    /// Position of the failed ancestor that blocks it.
    pub blocked_by: Option<usize>,
    /// Whether `--only` and `--limit` leave it in.
    pub selected: bool,
    /// Whether it is encrypted, and nobody has said that the target's guests have the key.
    pub lacks_key: bool,
}

/// Migrations by state; blocked ones are counted here and not under their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// Registered: restorable in the target region.
    pub registered: u64,
    /// Gave up.
    pub failed: u64,
    /// Wait for a failed ancestor.
    pub blocked: u64,
    /// Copied, not yet registered.
    pub copied: u64,
    /// Begun, not yet copied.
    pub copying: u64,
    /// Not begun, or drained.
    pub waiting: u64,
}

/// Failures with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureGroup {
    /// What they have in common.
    pub cause: Cause,
    /// How many.
    pub count: u64,
    /// Different tenants among them.
    pub tenants: u64,
    /// Bytes of their objects.
    pub bytes: u64,
    /// Chains that cannot be restored because of them.
    pub chains_lost: u64,
    /// The first of them.
    pub example: FailureExample,
}

/// One failure of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureExample {
    /// The target id.
    pub id: Uuid,
    /// What a person calls it.
    pub name: String,
    /// What, where, why.
    pub message: String,
    /// The next command or edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Everything a person or a script wants to know at the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The selected migrations.
    pub selected: Counts,
    /// Those that `--only` or `--limit` left out.
    pub left_out: Counts,
    /// Chains, each to each target, among the selected.
    pub chains: u64,
    /// Those of them of which every link is registered.
    pub chains_restorable: u64,
    /// Those of which every link is registered, and that restore only with a key that nobody has said to be there.
    #[serde(skip_serializing_if = "is_none")]
    pub chains_unknown: u64,
    /// Bytes of the selected objects, as far as known.
    pub bytes: u64,
    /// Bytes of those that are registered.
    pub bytes_registered: u64,
    /// Largest group first.
    pub failures: Vec<FailureGroup>,
}

/// How a run ended, besides what the rows say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// A signal or the end of its window stopped it.
    pub stopped: bool,
    /// Any step was started.
    pub started: bool,
    /// What could not be reached from here, and was left to other runners, which the rows do not say.
    pub withheld: bool,
}

impl Summary {
    /// Counts what `lines` say. Failures are those of the selected.
    #[must_use]
    pub fn of(lines: &[Line<'_>]) -> Self {
        let mut summary = Self {
            selected: Counts::default(),
            left_out: Counts::default(),
            chains: 0,
            chains_restorable: 0,
            chains_unknown: 0,
            bytes: 0,
            bytes_registered: 0,
            failures: Vec::new(),
        };
        // Whether every link is registered, and whether none lacks its key.
        let mut chains: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
        for line in lines {
            let counts = if line.selected { &mut summary.selected } else { &mut summary.left_out };
            count(counts, line);
            if line.selected {
                summary.bytes += line.bytes;
                let registered = line.state == State::Completed;
                summary.bytes_registered += if registered { line.bytes } else { 0 };
                let (whole, known) = chains.entry(line.root).or_insert((true, true));
                *whole &= registered;
                *known &= !line.lacks_key;
            }
        }
        summary.chains = chains.len() as u64;
        summary.chains_restorable = chains.values().filter(|chain| **chain == (true, true)).count() as u64;
        summary.chains_unknown = chains.values().filter(|chain| **chain == (true, false)).count() as u64;
        summary.failures = groups(lines);
        summary
    }

    /// The exit code of a run that ended like this, with perhaps nothing left to do.
    ///
    /// In the order of the design: 6 where nothing could start because nothing answered, 7 for an integrity failure,
    /// 3 for any other failure, 4 for work that is left, 0 for none.
    #[must_use]
    pub fn exit(&self, ended: Ended) -> Exit {
        let counts = &self.selected;
        let unreachable: u64 = self.of_cause(Cause::Unreachable);
        if unreachable > 0 && unreachable == counts.failed && !ended.started {
            return Exit::Unreachable;
        }
        if self.of_cause(Cause::Integrity) > 0 {
            return Exit::Integrity;
        }
        if counts.failed > 0 || counts.blocked > 0 {
            return Exit::Failed;
        }
        match (counts.registered == counts.total, ended.stopped) {
            (true, _) => Exit::Done,
            (false, _) if ended.withheld && ended.started => Exit::Failed,
            (false, _) if ended.withheld => Exit::Unreachable,
            (false, true) => Exit::Stopped,
            (false, false) => Exit::Internal,
        }
    }

    fn of_cause(&self, cause: Cause) -> u64 {
        self.failures.iter().filter(|group| group.cause == cause).map(|group| group.count).sum()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

fn count(counts: &mut Counts, line: &Line<'_>) {
    counts.total += 1;
    let part = match line.state {
        State::Completed => &mut counts.registered,
        State::Failed => &mut counts.failed,
        _ if line.blocked_by.is_some() => &mut counts.blocked,
        State::Saving => &mut counts.copied,
        State::Building => &mut counts.copying,
        State::New => &mut counts.waiting,
    };
    *part += 1;
}

fn groups(lines: &[Line<'_>]) -> Vec<FailureGroup> {
    let mut groups: BTreeMap<Cause, (FailureGroup, BTreeSet<&str>, BTreeSet<usize>)> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.selected && line.state == State::Failed) {
        let cause = line.cause.unwrap_or(Cause::Internal);
        let (group, tenants, chains) = groups.entry(cause).or_insert_with(|| {
            let example = FailureExample {
                id: line.id,
                name: line.name.to_owned(),
                message: line.error.unwrap_or("no reason was recorded").to_owned(),
                hint: line.hint.map(str::to_owned),
            };
            let group = FailureGroup { cause, count: 0, tenants: 0, bytes: 0, chains_lost: 0, example };
            (group, BTreeSet::new(), BTreeSet::new())
        });
        group.count += 1;
        group.bytes += line.bytes;
        tenants.extend(line.tenant);
        chains.insert(line.root);
    }
    let mut groups: Vec<FailureGroup> = groups
        .into_values()
        .map(|(group, tenants, chains)| FailureGroup {
            tenants: tenants.len() as u64,
            chains_lost: chains.len() as u64,
            ..group
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: State, cause: Option<Cause>, root: usize, blocked_by: Option<usize>) -> Line<'static> {
        Line {
            id: Uuid::nil(),
            name: "orders",
            state,
            bytes: 10,
            tenant: Some("t1"),
            cause,
            error: Some("why"),
            hint: None,
            root,
            blocked_by,
            selected: true,
            lacks_key: false,
        }
    }

    #[test]
    fn counts_chains_and_groups() {
        let lines = [
            line(State::Completed, None, 0, None),
            line(State::Completed, None, 0, None),
            line(State::Failed, Some(Cause::SourceMissing), 2, None),
            line(State::Saving, None, 2, Some(2)),
            line(State::Failed, Some(Cause::NoSpace), 4, None),
            line(State::Failed, Some(Cause::NoSpace), 5, None),
            Line { selected: false, ..line(State::New, None, 6, None) },
        ];
        let summary = Summary::of(&lines);
        assert_eq!((summary.selected.total, summary.selected.registered, summary.selected.blocked), (6, 2, 1));
        assert_eq!(summary.left_out.waiting, 1);
        assert_eq!((summary.chains, summary.chains_restorable), (4, 1));
        assert_eq!((summary.bytes, summary.bytes_registered), (60, 20));
        let groups: Vec<_> =
            summary.failures.iter().map(|group| (group.cause, group.count, group.chains_lost)).collect();
        assert_eq!(groups, [(Cause::NoSpace, 2, 2), (Cause::SourceMissing, 1, 1)]);
    }

    #[test]
    fn a_chain_that_needs_a_key_is_not_called_restorable() {
        let with_key = line(State::Completed, None, 0, None);
        let lines = [with_key.clone(), Line { lacks_key: true, ..with_key.clone() }, Line { root: 2, ..with_key }];
        let summary = Summary::of(&lines);
        assert_eq!((summary.chains, summary.chains_restorable, summary.chains_unknown), (2, 1, 1));
        assert_eq!(summary.exit(Ended { stopped: false, started: true, ..Ended::default() }), Exit::Done);
    }

    #[test]
    fn exit_codes_in_their_order() {
        let exit = |lines: &[Line<'_>], stopped| {
            Summary::of(lines).exit(Ended { stopped, started: false, ..Ended::default() })
        };
        let done = line(State::Completed, None, 0, None);
        let gone = line(State::Failed, Some(Cause::Unreachable), 1, None);
        let differs = line(State::Failed, Some(Cause::Integrity), 2, None);
        let left = line(State::New, None, 3, None);
        assert_eq!(exit(&[], false), Exit::Done);
        assert_eq!(exit(std::slice::from_ref(&done), true), Exit::Done);
        assert_eq!(exit(std::slice::from_ref(&gone), false), Exit::Unreachable);
        assert_eq!(exit(&[gone.clone(), done.clone()], false), Exit::Unreachable);
        let started = Ended { stopped: false, started: true, ..Ended::default() };
        assert_eq!(Summary::of(&[gone.clone(), done.clone()]).exit(started), Exit::Failed);
        assert_eq!(exit(&[gone, differs, left.clone()], true), Exit::Integrity);
        assert_eq!(exit(&[done.clone(), left.clone()], true), Exit::Stopped);
        let withheld =
            |started| Summary::of(&[done.clone(), left.clone()]).exit(Ended { stopped: true, started, withheld: true });
        assert_eq!((withheld(false), withheld(true)), (Exit::Unreachable, Exit::Failed));
        assert_eq!(Summary::of(std::slice::from_ref(&done)).exit(Ended { withheld: true, ..started }), Exit::Done);
        assert_eq!(exit(&[done, left], false), Exit::Internal);
    }
}
