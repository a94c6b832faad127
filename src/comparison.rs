//! Whether everything that lives in one region can be restored in another, backup by backup. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

/// Where one live backup of the source region stands in the target region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", content = "why", rename_all = "kebab-case")]
pub enum Standing {
    /// Object and record are there as they should be. Its ancestors are looked at apart.
    Restorable,
    /// The plan has it, and no run has begun it.
    Planned,
    /// A run has begun it, and it is not done yet: how far it is.
    InFlight(String),
    /// A step gave up, or what lies in the target is not what it should be: why.
    Failed(String),
    /// Left out by `except`, and why that is.
    Excluded(String),
    /// No entry of the plan takes it.
    NeverPlanned,
    /// It is not finished in the source region: the state that its record says.
    Unfinished(String),
    /// What Backhaul does not move: a volume snapshot.
    NotMoved(String),
}

/// One live backup of the source region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its id there.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Whose it is.
    pub tenant: Option<String>,
    /// What it was made from.
    pub instance: Option<String>,
    /// Position of what it builds on; none for a full backup.
    #[serde(skip)]
    pub parent: Option<usize>,
    /// Where it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

/// Backups by where they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Live in the source region.
    pub live: u64,
    /// Restorable in the target region, every ancestor included.
    pub restorable: u64,
    /// In the plan, and not begun.
    pub planned: u64,
    /// Under way.
    pub in_flight: u64,
    /// Gave up, or unsound in the target.
    pub failed: u64,
    /// Left out by `except`.
    pub excluded: u64,
    /// In no entry of the plan.
    pub never_planned: u64,
    /// Not finished in the source region.
    pub unfinished: u64,
    /// Volume snapshots.
    pub not_moved: u64,
}

impl Tally {
    /// Live backups that the target region could not restore now and that nobody has given up on purpose.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.live - self.restorable - self.excluded
    }

    fn count(&mut self, standing: &Standing) {
        self.live += 1;
        *match standing {
            Standing::Restorable => &mut self.restorable,
            Standing::Planned => &mut self.planned,
            Standing::InFlight(_) => &mut self.in_flight,
            Standing::Failed(_) => &mut self.failed,
            Standing::Excluded(_) => &mut self.excluded,
            Standing::NeverPlanned => &mut self.never_planned,
            Standing::Unfinished(_) => &mut self.unfinished,
            Standing::NotMoved(_) => &mut self.not_moved,
        } += 1;
    }
}

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// In the order of the source region's catalog; what builds on something that is not restorable has failed.
    pub lines: Vec<Line>,
    /// All of them.
    pub total: Tally,
    /// By tenant and instance; empty where a record names none.
    pub groups: BTreeMap<(String, String), Tally>,
}

impl Comparison {
    /// Counts, after taking the restorable backups away whose chain is not whole.
    #[must_use]
    pub fn of(mut lines: Vec<Line>) -> Self {
        let whole: Vec<Option<usize>> = (0..lines.len()).map(|position| broken_above(&lines, position)).collect();
        for (position, broken) in whole.into_iter().enumerate() {
            if let (Standing::Restorable, Some(ancestor)) = (&lines[position].standing, broken) {
                let why = format!("it builds on `{}`, which is not restorable there", lines[ancestor].name);
                lines[position].standing = Standing::Failed(why);
            }
        }
        let mut total = Tally::default();
        let mut groups: BTreeMap<(String, String), Tally> = BTreeMap::new();
        for line in &lines {
            total.count(&line.standing);
            let group = (line.tenant.clone().unwrap_or_default(), line.instance.clone().unwrap_or_default());
            groups.entry(group).or_default().count(&line.standing);
        }
        Self { lines, total, groups }
    }
}

/// The nearest ancestor that is not restorable. A circle of parents has one: no full backup is in it.
fn broken_above(lines: &[Line], position: usize) -> Option<usize> {
    let mut at = lines[position].parent;
    for _ in 0..lines.len() {
        let ancestor = at?;
        if lines[ancestor].standing != Standing::Restorable {
            return Some(ancestor);
        }
        at = lines[ancestor].parent;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, parent: Option<usize>, standing: Standing) -> Line {
        let text = || Some("t".to_owned());
        Line { id: id.into(), name: id.into(), tenant: text(), instance: text(), parent, standing }
    }

    #[test]
    fn a_chain_is_restorable_as_far_as_every_link_above_is() {
        let comparison = Comparison::of(vec![
            line("full", None, Standing::Restorable),
            line("inc1", Some(0), Standing::InFlight("copying".into())),
            line("inc2", Some(1), Standing::Restorable),
            line("other", None, Standing::Restorable),
        ]);
        assert_eq!((comparison.total.restorable, comparison.total.failed, comparison.total.missing()), (2, 1, 2));
        let Standing::Failed(why) = &comparison.lines[2].standing else { panic!("{:?}", comparison.lines[2]) };
        assert_eq!(why, "it builds on `inc1`, which is not restorable there");
    }

    #[test]
    fn only_what_is_restorable_or_given_up_on_purpose_is_not_missing() {
        let standings = [
            (Standing::Restorable, 0),
            (Standing::Excluded("known bad".into()), 0),
            (Standing::Planned, 1),
            (Standing::InFlight("copying".into()), 1),
            (Standing::Failed("gone".into()), 1),
            (Standing::NeverPlanned, 1),
            (Standing::Unfinished("BUILDING".into()), 1),
            (Standing::NotMoved("cinder".into()), 1),
        ];
        for (standing, missing) in standings {
            let comparison = Comparison::of(vec![line("a", None, standing.clone())]);
            assert_eq!(comparison.total.missing(), missing, "{standing:?}");
            assert_eq!(comparison.groups.len(), 1);
        }
    }

    #[test]
    fn a_circle_of_parents_is_not_restorable() {
        let lines = vec![line("a", Some(1), Standing::Restorable), line("b", Some(0), Standing::Restorable)];
        assert_eq!(Comparison::of(lines).total.restorable, 0);
    }
}
