//! What others do to the same rows, as a simulated runner comes to know it: as `src/engine/others.rs`.

use backhaul::lease;
use backhaul::schedule::{Elsewhere, Fact, Schedule};
use backhaul::state::State;

use super::{Channel, Clock, Runner, Sent};
use crate::case::Mutant;
use crate::database::{Answer, Id, Question, Row};
use crate::steps::Steps;
use crate::writer::PAUSE_MS;

/// Between two looks.
const LOOK_MS: u64 = 1_000;

#[derive(Debug)]
enum At {
    Pausing,
    /// Who is there, and which rows may have changed.
    Others,
    /// Rows that have, and who was there.
    Rows(Vec<Id>),
}

/// Looks at the database now and then, while steps run.
pub(super) struct Watch {
    at: At,
    pub(super) next_ms: u64,
    /// When this look began, and the last one, by the database's clock.
    looked_at_ms: i64,
    since_ms: i64,
    /// Rows of which a step has ended since this look began: what it sees of them may be older.
    pub(super) touched: Vec<bool>,
}

impl Watch {
    pub(super) fn new(rows: usize) -> Self {
        Self { at: At::Pausing, next_ms: 0, looked_at_ms: 0, since_ms: 0, touched: vec![false; rows] }
    }

    /// What was asked is not waited for.
    pub(super) fn stop(&mut self) {
        self.at = At::Pausing;
        self.touched.fill(false);
    }
}

impl Runner {
    /// What was written under an old lease may still be on its way: rows are read after it.
    pub(super) fn may_look(&self) -> bool {
        matches!(self.watch.at, At::Pausing) && (!self.begins_anew || self.writer.is_idle())
    }

    pub(super) fn look(&mut self, clock: Clock) {
        if !self.may_look() || clock.boot_ms < self.watch.next_ms {
            return;
        }
        let question = match &self.schedule {
            None => Question::Rows,
            Some(schedule) => {
                self.watch.looked_at_ms = clock.database_ms;
                let asked = if self.begins_anew {
                    (0..self.plan.len()).filter(|row| self.steps.rows[*row].state != State::Completed).collect()
                } else {
                    schedule.held().map(|row| row as usize).collect()
                };
                Question::Others { since_ms: self.watch.since_ms, asked }
            }
        };
        self.watch.touched.fill(false);
        self.watch.at = At::Others;
        self.out.push(Sent::Ask(Channel::Reader, question));
    }

    /// Begins with what the rows say. What others had is not tried before it is known whether they are still there.
    fn surveyed(&mut self, rows: Vec<Row>) {
        let number = |row: usize| u32::try_from(row).expect("few rows");
        let facts = self.plan.iter().enumerate().map(|(row, migration)| Fact {
            state: rows[row].state,
            parent: migration.parent.map(number).filter(|_| self.mutant != Some(Mutant::ChildDoesNotWait)),
            source: migration.source,
            target: migration.target,
            due: true,
        });
        let mut schedule = Schedule::new(facts.collect(), self.slots());
        for (row, known) in rows.iter().enumerate() {
            if known.claimed_by.is_some_and(|owner| owner != self.id) {
                schedule.elsewhere(number(row), Elsewhere::Held(known.state));
            }
        }
        self.schedule = Some(schedule);
        self.steps.rows = rows;
    }

    /// What is seen of others.
    pub(super) fn saw(&mut self, answer: Option<Answer>, now: u64) {
        let pause = if answer.is_some() { LOOK_MS } else { PAUSE_MS };
        match (std::mem::replace(&mut self.watch.at, At::Pausing), answer) {
            (_, Some(Answer::Rows(rows))) if self.schedule.is_none() => {
                self.surveyed(rows);
                self.watch.next_ms = now;
                return;
            }
            (At::Others, Some(Answer::Others { live, changed })) => {
                let schedule = self.schedule.as_ref().expect("rows were read");
                let held: Vec<u32> = schedule.held().collect();
                let news = changed.into_iter().filter(|(row, state, claim)| {
                    let (known, position) = (&self.steps.rows[*row], u32::try_from(*row).expect("few rows"));
                    let is_new = known.state != *state || (*state != State::Completed && known.claim != *claim);
                    self.begins_anew || (is_new || held.contains(&position)) && !schedule.is_busy(position)
                });
                let rows: Vec<usize> = news.map(|(row, ..)| row).collect();
                self.watch.since_ms = self.watch.looked_at_ms;
                if !rows.is_empty() {
                    self.watch.at = At::Rows(live);
                    self.out.push(Sent::Ask(Channel::Reader, Question::Read(rows)));
                    return;
                }
                self.begins_anew = false;
            }
            (At::Rows(live), Some(Answer::Read(rows))) => {
                for (row, seen) in rows {
                    self.is_now(row, seen, &live);
                }
                self.begins_anew = false;
            }
            _ => {}
        }
        self.watch.next_ms = now + pause;
    }

    /// Takes a row as the database has it.
    fn is_now(&mut self, row: usize, mut seen: Row, live: &[Id]) {
        let position = u32::try_from(row).expect("few rows");
        let schedule = self.schedule.as_mut().expect("rows were read");
        if schedule.is_busy(position) || self.watch.touched[row] {
            return;
        }
        // A claim of steps that were cut off. While nothing here has it, nobody else may have it, either.
        if seen.claimed_by == Some(self.id)
            && self.steps.is_idle(row)
            && self.mutant != Some(Mutant::ClaimOutlivesLease)
        {
            seen = Steps::give_back_old(row, seen, &mut self.writer);
        }
        let known = std::mem::replace(&mut self.steps.rows[row], seen);
        let known = (known.state, known.claim);
        let is_live = seen.claimed_by.is_some_and(|owner| live.contains(&owner));
        let robs = self.mutant == Some(Mutant::LiveOwnerRobbed);
        let is_free = robs || lease::is_free(seen.claimed_by.as_ref(), &self.id, is_live);
        let known = if self.mutant == Some(Mutant::GivenUpIsTriedAgain) { (seen.state, known.1) } else { known };
        schedule.elsewhere(position, Elsewhere::of(known, (seen.state, seen.claim), is_free));
    }
}
