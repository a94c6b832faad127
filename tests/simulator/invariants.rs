//! What must hold after each event, whatever goes wrong: invariants of order, ownership and progress. It keeps books of its
//! own, by what was really done, and believes no token.

use std::collections::BTreeMap;

use backhaul::schedule::Slots;
use backhaul::state::State;

use crate::case::Migration;
use crate::database::{Change, Database, Id, Row, Write};
use crate::world::{Request, World};

/// What does not hold.
pub(crate) type Violation = String;

pub(crate) struct Invariants {
    plan: Vec<Migration>,
    limits: Slots,
    /// The largest token that each row ever had.
    tokens: Vec<i64>,
    /// Rows that were FAILED at any time: somebody may try them again that others are done with.
    failed: Vec<bool>,
    /// When each row failed last, and when each runner began.
    failed_ms: Vec<i64>,
    began_ms: BTreeMap<Id, i64>,
}

impl Invariants {
    pub(crate) fn new(plan: Vec<Migration>, limits: Slots) -> Self {
        let (tokens, failed) = (vec![0; plan.len()], vec![false; plan.len()]);
        Self { failed_ms: vec![0; plan.len()], began_ms: BTreeMap::new(), plan, limits, tokens, failed }
    }

    /// A runner has read what its plan's rows say.
    pub(crate) fn surveyed(&mut self, by: Id, now_ms: i64) {
        self.began_ms.insert(by, now_ms);
    }

    /// A write was accepted.
    pub(crate) fn changed(&mut self, change: &Change, world: &World, now_ms: i64) -> Result<(), Violation> {
        let Change { by, write, before, after, was_held } = *change;
        let row = write.row();
        if before.state != after.state && !before.state.may_become(after.state) {
            return Err(format!("row {row} went from {} to {}", before.state, after.state));
        }
        if after.state == State::Failed {
            self.failed_ms[row] = now_ms;
        }
        self.failed[row] |= after.state == State::Failed;
        if let Write::Claim { .. } = write {
            if after.claim <= self.tokens[row] {
                return Err(format!("row {row} was claimed under token {}, which is not new", after.claim));
            }
            if was_held {
                return Err(format!("runner {by} claimed row {row} of {before:?}, whose owner is live"));
            }
            self.tokens[row] = after.claim;
            if before.state == State::Failed && self.failed_ms[row] > self.began_ms[&by] {
                return Err(format!("runner {by} tried row {row} again, which was given up while it was there"));
            }
        } else if before.claimed_by != Some(by) {
            return Err(format!("runner {by} changed row {row} of {before:?} by {write:?}"));
        }
        if after.bytes_read > world.read[row] {
            let read = world.read[row];
            return Err(format!("row {row} says that {} bytes were read, and {read} were", after.bytes_read));
        }
        let place = world.places[row];
        match after.state {
            State::Saving | State::Completed if !place.is_published => {
                Err(format!("row {row} is {} without an object", after.state))
            }
            State::Completed if place.records == 0 => Err(format!("row {row} is COMPLETED without a record")),
            _ => Ok(()),
        }
    }

    /// A runner starts a write to a store or catalog.
    pub(crate) fn started(by: Id, row: usize, what: Request, lease_is_live: bool) -> Result<(), Violation> {
        if lease_is_live { Ok(()) } else { Err(format!("runner {by} started {what:?} of row {row} after its lease")) }
    }

    /// A store or catalog has done something.
    pub(crate) fn done(&self, row: usize, what: Request, world: &World) -> Result<(), Violation> {
        if what != Request::Record {
            return Ok(());
        }
        if world.places[row].records != 1 {
            return Err(format!("row {row} has {} records", world.places[row].records));
        }
        match self.plan[row].parent {
            Some(parent) if world.places[parent].records == 0 => {
                Err(format!("row {row} was registered before its parent, row {parent}"))
            }
            _ => Ok(()),
        }
    }

    /// These copies have a slot, at runners whose leases are live.
    pub(crate) fn copying(&self, rows: &[usize]) -> Result<(), Violation> {
        if rows.len() > usize::from(self.limits.total) {
            return Err(format!("{} copies at a time, and {} are allowed", rows.len(), self.limits.total));
        }
        for (region, most) in &self.limits.regions {
            let touches = |row: &&usize| self.plan[**row].source == *region || self.plan[**row].target == *region;
            let copies = rows.iter().filter(touches).count();
            if copies > usize::from(*most) {
                return Err(format!("{copies} copies at a time in region {region}, and {most} are allowed"));
            }
        }
        Ok(())
    }

    /// These runners, who may write by their own clocks, each take a row as their own.
    pub(crate) fn owned(row: usize, owners: &[Id]) -> Result<(), Violation> {
        if owners.len() > 1 { Err(format!("row {row} is taken as their own by runners {owners:?}")) } else { Ok(()) }
    }

    fn above(&self, row: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.plan[row].parent, |above| self.plan[*above].parent)
    }

    /// A runner says that all is done, or failed.
    pub(crate) fn left(&self, by: Id, database: &Database) -> Result<(), Violation> {
        let has_failed = |row: usize| self.failed[row] || self.above(row).any(|above| self.failed[above]);
        let is_done = |row: usize| database.rows[row].state == State::Completed || has_failed(row);
        if (0..database.rows.len()).all(is_done) {
            return Ok(());
        }
        Err(format!("runner {by} left, and there is work to do: {:?}", database.rows))
    }

    /// What the row must be in the end, as if nothing had ever gone wrong.
    fn undisturbed(&self, row: usize) -> State {
        if self.plan[row].gone {
            State::Failed
        } else if self.above(row).any(|above| self.plan[above].gone) {
            State::Saving
        } else {
            State::Completed
        }
    }

    /// Whether all is as if nothing had ever gone wrong.
    pub(crate) fn is_complete(&self, rows: &[Row]) -> bool {
        (0..rows.len()).all(|row| rows[row].state == self.undisturbed(row))
    }

    /// After the last run, which nothing disturbed.
    pub(crate) fn ended(&self, database: &Database, world: &World) -> Result<(), Violation> {
        for (row, is) in database.rows.iter().enumerate() {
            let (place, must) = (world.places[row], self.undisturbed(row));
            let records = u32::from(must == State::Completed);
            let copied = must != State::Failed;
            if is.state != must || is.claimed_by.is_some() || place.records != records || place.is_published != copied {
                return Err(format!("row {row} must be {must} in the end; it is {is:?}, {place:?}"));
            }
        }
        Ok(())
    }
}
