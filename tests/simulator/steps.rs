//! The steps of a simulated runner: what each has sent, and what it does with the answer.

use std::time::Duration;

use backhaul::engine::retry;
use backhaul::schedule::{Outcome, Ready, Slots};
use backhaul::state::{State, Step};
use fastrand::Rng;

use crate::case::{Case, Migration};
use crate::database::{Row, Write};
use crate::runner::Sent;
use crate::world::{PART, Request, Said};
use crate::writer::Writer;

/// Longest pause between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(8);

pub(crate) type Ended = (Ready, Outcome);

#[derive(Debug, Clone, Copy)]
struct Running {
    /// None for a claim that is given back while nothing runs.
    ready: Option<Ready>,
    parts: u32,
    /// Its copy uses a slot.
    has_slot: bool,
    /// What was asked of a store or catalog.
    asked: Request,
    /// The write that gives the claim up is on its way: it may be made already.
    is_ending: bool,
    /// The claim is given back between two attempts; a next attempt begins afterwards.
    gives_back: bool,
}

impl Running {
    fn new(ready: Option<Ready>) -> Self {
        let has_slot = ready.is_some_and(|ready| ready.step == Step::Copy);
        Self { ready, parts: 0, has_slot, asked: Request::Part, is_ending: false, gives_back: false }
    }
}

pub(crate) struct Steps {
    /// Grows when all steps are cut off.
    pub(crate) generation: u32,
    rng: Rng,
    attempts_max: u16,
    parts: Vec<u32>,
    /// As far as is known.
    pub(crate) rows: Vec<Row>,
    attempts: Vec<u16>,
    /// By row.
    running: Vec<Option<Running>>,
    /// Tokens, of steps that run or wait for their next attempt.
    claims: Vec<Option<i64>>,
}

impl Steps {
    pub(crate) fn new(case: &Case, seed: u64) -> Self {
        let rows = case.plan.len();
        Self {
            generation: 0,
            rng: Rng::with_seed(seed),
            attempts_max: case.attempts,
            parts: case.plan.iter().map(|migration| migration.parts).collect(),
            rows: Vec::new(),
            attempts: vec![0; rows],
            running: vec![None; rows],
            claims: vec![None; rows],
        }
    }

    pub(crate) fn are_idle(&self) -> bool {
        self.running.iter().all(Option::is_none)
    }

    /// Whether nothing runs on a row, and it is not had for later.
    pub(crate) fn is_idle(&self, row: usize) -> bool {
        self.running[row].is_none() && self.claims[row].is_none()
    }

    /// Whether it works on a row as its own, or will.
    pub(crate) fn owns(&self, row: usize) -> bool {
        self.claims[row].is_some() && self.running[row].is_none_or(|running| !running.is_ending)
    }

    /// Ends all steps as they are, and forgets all claims.
    pub(crate) fn cut_off(&mut self) {
        self.generation += 1;
        self.running.fill(None);
        self.claims.fill(None);
    }

    /// Rows whose copies use a slot.
    pub(crate) fn copying(&self) -> impl Iterator<Item = usize> {
        (0..self.running.len()).filter(|row| self.running[*row].is_some_and(|running| running.has_slot))
    }

    /// Whether no more copies run than these slots allow.
    pub(crate) fn fit(&self, plan: &[Migration], slots: &Slots) -> bool {
        let touching = |region: u16| {
            self.copying().filter(|row| plan[*row].source == region || plan[*row].target == region).count()
        };
        self.copying().count() <= usize::from(slots.total)
            && slots.regions.iter().all(|(region, most)| touching(*region) <= usize::from(*most))
    }

    pub(crate) fn has_moved(&self, row: usize) -> bool {
        self.running[row].is_some_and(|running| !running.has_slot && running.asked == Request::Publish)
    }

    pub(crate) fn begin(&mut self, ready: Ready, writer: &mut Writer, out: &mut Vec<Sent>) {
        let row = ready.position as usize;
        if let Some(running) = &mut self.running[row] {
            *running = Running { is_ending: true, gives_back: true, ..Running::new(Some(ready)) };
            return;
        }
        self.attempts[row] += 1;
        self.running[row] = Some(Running::new(Some(ready)));
        if self.claims[row].is_some() {
            self.work(row, out);
        } else {
            let Row { state, claim, .. } = self.rows[row];
            writer.add(self.generation, Write::Claim { row, seen: state, claim });
        }
    }

    /// Goes on with a row that it has.
    fn work(&mut self, row: usize, out: &mut Vec<Sent>) {
        let running = self.running[row].as_mut().expect("it runs");
        running.asked = match running.ready.map(|ready| ready.step) {
            Some(Step::Copy) if running.parts < self.parts[row] => Request::Part,
            Some(Step::Copy) => Request::Publish,
            _ => Request::Record,
        };
        out.push(Sent::Store(row, running.asked));
    }

    /// Gives a claim back that is held between two attempts, if there is one.
    pub(crate) fn give_back_waiting(&mut self, row: usize, writer: &mut Writer) {
        if self.claims[row].is_some() && self.running[row].is_none() {
            self.running[row] = Some(Running { gives_back: true, ..Running::new(None) });
            self.give_back(row, writer);
        }
    }

    /// Gives the claims back of steps that wait for a slot where there is none any more: others have them all.
    pub(crate) fn give_back_without_slots(&mut self, plan: &[Migration], slots: &Slots, writer: &mut Writer) {
        for (row, migration) in plan.iter().enumerate() {
            let none = |region: u16| slots.regions.get(&region) == Some(&0);
            let is_copy = self.rows[row].state == State::Building;
            if slots.total == 0 || is_copy && (none(migration.source) || none(migration.target)) {
                self.give_back_waiting(row, writer);
            }
        }
    }

    /// Gives back what a step had that was cut off, and gives the row as it is then.
    pub(crate) fn give_back_old(row: usize, seen: Row, writer: &mut Writer) -> Row {
        let to = if seen.state == State::Building { State::New } else { seen.state };
        // Nothing waits for the answer.
        writer.add(u32::MAX, Write::End { row, from: seen.state, claim: seen.claim, to });
        Row { state: to, claimed_by: None, ..seen }
    }

    fn give_back(&mut self, row: usize, writer: &mut Writer) {
        let state = self.rows[row].state;
        let to = if state == State::Building { State::New } else { state };
        self.end(row, to, writer);
    }

    fn end(&mut self, row: usize, to: State, writer: &mut Writer) {
        let claim = self.claims[row].expect("it has the row");
        self.running[row].as_mut().expect("it runs").is_ending = true;
        writer.add(self.generation, Write::End { row, from: self.rows[row].state, claim, to });
    }

    /// Takes what a store or catalog says.
    pub(crate) fn said(
        &mut self,
        row: usize,
        said: Said,
        now: u64,
        is_draining: bool,
        writer: &mut Writer,
    ) -> Option<Ended> {
        let running = self.running[row].as_mut().expect("it runs");
        match (said, running.asked) {
            (Said::Done, Request::Part) => {
                let claim = self.claims[row].expect("it has the row");
                writer.add(self.generation, Write::Count { row, state: State::Building, claim, bytes: PART });
            }
            (Said::Done, Request::Publish) => {
                running.has_slot = false;
                self.end(row, State::Saving, writer);
            }
            (Said::Done, Request::Record) => self.end(row, State::Completed, writer),
            (Said::Busy, _) if is_draining => self.give_back(row, writer),
            (Said::Busy, _) if self.attempts[row] < self.attempts_max => {
                let ready = running.ready.expect("a step runs");
                self.running[row] = None;
                let delay = retry::delay(self.attempts[row], MAX_DELAY, self.rng.f64());
                let delay = u64::try_from(delay.as_millis()).expect("short");
                return Some((ready, Outcome::RetryAt(now + delay)));
            }
            (Said::Busy | Said::Refused, _) => self.end(row, State::Failed, writer),
        }
        None
    }

    /// Takes what became of a write.
    pub(crate) fn wrote(
        &mut self,
        write: Write,
        changed: bool,
        writer: &mut Writer,
        out: &mut Vec<Sent>,
    ) -> Option<Ended> {
        let row = write.row();
        let mut outcome = Outcome::Held;
        match write {
            Write::Claim { seen, claim, .. } if changed => {
                let state = if seen == State::Saving { State::Saving } else { State::Building };
                let known = &mut self.rows[row];
                (known.state, known.claim) = (state, claim + 1);
                self.claims[row] = Some(claim + 1);
                self.work(row, out);
                return None;
            }
            Write::Count { .. } if changed => {
                self.running[row].as_mut().expect("it runs").parts += 1;
                self.work(row, out);
                return None;
            }
            Write::End { from, to, .. } if changed => {
                self.rows[row].state = to;
                outcome = match to {
                    State::Failed => Outcome::Failed,
                    State::Completed => Outcome::Done,
                    State::Saving if from == State::Building => Outcome::Done,
                    _ => Outcome::Stopped,
                };
                // Each step has its own attempts.
                if outcome == Outcome::Done {
                    self.attempts[row] = 0;
                }
            }
            // The row is somebody else's, or not what it was thought to be.
            _ => {}
        }
        self.claims[row] = None;
        let ended = self.running[row].take().expect("it runs");
        if ended.gives_back {
            if let Some(ready) = ended.ready {
                self.begin(ready, writer, out);
            }
            return None;
        }
        ended.ready.map(|ready| (ready, outcome))
    }
}
