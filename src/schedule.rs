//! Which steps may start now: a pure function from what the rows say to the next claims. Pure.
//!
//! The engine tells it what happened and asks what is next; a simulator can do the same. It holds no clock: times
//! come in as milliseconds of whatever clock the caller has.

mod elsewhere;
mod slots;

use std::collections::{BTreeMap, BTreeSet};

use crate::state::{State, Step};

pub use elsewhere::Elsewhere;

/// What a row says, as far as readiness goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fact {
    /// Where the migration stands.
    pub state: State,
    /// Position of its parent's row; none where nothing has to be registered before it.
    pub parent: Option<u32>,
    /// Number of the source region.
    pub source: u16,
    /// Number of the target region.
    pub target: u16,
    /// Whether a `FAILED` row is tried in this run, or a row is left alone (`--only`, `--limit`).
    pub due: bool,
}

/// Copies at a time.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    /// In all; 0 starts nothing, no registration either.
    pub total: u16,
    /// By region number, as source and target together; a region that is not here has no ceiling of its own.
    pub regions: BTreeMap<u16, u16>,
}

/// How one step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it should.
    Done,
    /// It is tried again, not before this time. State and claim stay.
    RetryAt(u64),
    /// It gave up; the row is `FAILED`.
    Failed,
    /// It was interrupted; the next run goes on.
    Stopped,
    /// Another runner has the row.
    Held,
}

/// A step that may start now; the schedule counts it as running from here on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ready {
    /// Position of the row.
    pub position: u32,
    /// Which of its steps.
    pub step: Step,
}

/// First-come order among ready steps: those tried less often first, then plan order. So a step that failed goes
/// to the end of the queue.
type Turn = (u16, u32);

/// What is ready, running and waiting, kept up to date as steps end.
#[derive(Debug)]
pub struct Schedule {
    facts: Vec<Fact>,
    children: Vec<Vec<u32>>,
    slots: Slots,
    tries: Vec<u16>,
    copies: BTreeMap<(u16, u16), BTreeSet<Turn>>,
    registers: BTreeMap<u16, BTreeSet<Turn>>,
    /// Those among `registers` that a child waits for.
    waited_for: BTreeSet<u32>,
    /// Steps that wait for their next attempt, by time; at most one of a row.
    waiting: BTreeSet<(u64, u32, Step)>,
    /// The same by row.
    waits: BTreeMap<u32, (u64, Step)>,
    running: BTreeSet<Ready>,
    /// Running copies that have given their slot back.
    without_slot: BTreeSet<u32>,
    /// What other runners have: waited for, since they may not bring it to its end.
    held: BTreeSet<u32>,
    copying_total: u16,
    copying: BTreeMap<u16, u16>,
    copying_to: BTreeMap<u16, u16>,
    draining: bool,
}

impl Schedule {
    /// Takes the rows of a plan, in plan order.
    #[must_use]
    pub fn new(facts: Vec<Fact>, slots: Slots) -> Self {
        let mut children = vec![Vec::new(); facts.len()];
        for (position, fact) in (0..).zip(&facts) {
            if let Some(parent) = fact.parent {
                children[parent as usize].push(position);
            }
        }
        let tries = vec![0; facts.len()];
        let mut schedule = Self {
            facts,
            children,
            slots,
            tries,
            copies: BTreeMap::new(),
            registers: BTreeMap::new(),
            waited_for: BTreeSet::new(),
            waiting: BTreeSet::new(),
            waits: BTreeMap::new(),
            running: BTreeSet::new(),
            without_slot: BTreeSet::new(),
            held: BTreeSet::new(),
            copying_total: 0,
            copying: BTreeMap::new(),
            copying_to: BTreeMap::new(),
            draining: false,
        };
        for position in 0..schedule.children.len() {
            schedule.enqueue(position);
        }
        schedule
    }

    /// The step of a row that could run now if there is a slot, and whether it may.
    ///
    /// This is *readiness*: `copy` when the row is `NEW`, `FAILED` and due, or `BUILDING`; `register` when it is
    /// `SAVING` and its parent, and whatever that builds on, `COMPLETED` or absent. Whether another runner has the row
    /// is not known here until a claim is refused, or until it is told by [`Schedule::elsewhere`].
    fn readiness(&self, position: usize) -> Option<Step> {
        let fact = self.facts[position];
        if !fact.due {
            return None;
        }
        match fact.state {
            State::New | State::Building | State::Failed => Some(Step::Copy),
            State::Saving => {
                let mut ancestors = std::iter::successors(fact.parent, |above| self.facts[*above as usize].parent);
                ancestors.all(|above| self.facts[above as usize].state == State::Completed).then_some(Step::Register)
            }
            State::Completed => None,
        }
    }

    fn enqueue(&mut self, position: usize) {
        if let Some(step) = self.readiness(position) {
            self.queue(u32::try_from(position).expect("fewer than 2^32 rows"), step);
        }
    }

    fn queue(&mut self, position: u32, step: Step) {
        let fact = self.facts[position as usize];
        let turn = (self.tries[position as usize], position);
        match step {
            Step::Copy => {
                self.copies.entry((fact.source, fact.target)).or_default().insert(turn);
            }
            Step::Register => {
                self.registers.entry(fact.target).or_default().insert(turn);
                let children = &self.children[position as usize];
                if children.iter().any(|child| self.facts[*child as usize].state == State::Saving) {
                    self.waited_for.insert(position);
                }
            }
        }
    }

    /// Notes that a parent, if it can be registered, has a child that waits for it.
    fn wait_for(&mut self, parent: u32) {
        let turn = (self.tries[parent as usize], parent);
        let target = self.facts[parent as usize].target;
        if self.registers.get(&target).is_some_and(|queue| queue.contains(&turn)) {
            self.waited_for.insert(parent);
        }
    }

    /// Takes the copies that may start now, as many as there are slots, first come first served among those whose
    /// regions have a slot: a region at its ceiling holds up nobody else.
    pub fn start_copies(&mut self, now_ms: u64) -> Vec<Ready> {
        self.wake(now_ms);
        let mut ready = Vec::new();
        while !self.draining && self.copying_total < self.slots.total {
            let free = |region: &u16| {
                self.slots.regions.get(region).is_none_or(|max| self.copying.get(region).unwrap_or(&0) < max)
            };
            let first = self
                .copies
                .iter()
                .filter(|((source, target), _)| free(source) && free(target))
                .filter_map(|(pair, queue)| queue.first().map(|turn| (*turn, *pair)))
                .min();
            let Some((turn, pair)) = first else { break };
            self.copies.get_mut(&pair).expect("just seen").remove(&turn);
            let step = Ready { position: turn.1, step: Step::Copy };
            self.count(pair, true);
            *self.copying_to.entry(pair.1).or_default() += 1;
            self.running.insert(step);
            ready.push(step);
        }
        ready
    }

    /// Takes the registrations that may start now in one target region, at most `max`.
    pub fn start_registers(&mut self, now_ms: u64, target: u16, max: usize) -> Vec<Ready> {
        self.wake(now_ms);
        let mut ready = Vec::new();
        while self.slots.total > 0
            && let Some(queue) = self.registers.get_mut(&target)
            && ready.len() < max
            && let Some((_, position)) = queue.pop_first()
        {
            let step = Ready { position, step: Step::Register };
            self.waited_for.remove(&position);
            self.running.insert(step);
            ready.push(step);
        }
        ready
    }

    /// Target regions that have something to register now, with how much; and whether waiting a moment could
    /// gather more: a copy to that region is running and no child waits for what is there.
    pub fn registrable(&mut self, now_ms: u64) -> Vec<(u16, usize, bool)> {
        self.wake(now_ms);
        let urgent: BTreeSet<u16> =
            self.waited_for.iter().map(|position| self.facts[*position as usize].target).collect();
        self.registers
            .iter()
            .filter(|(_, queue)| self.slots.total > 0 && !queue.is_empty())
            .map(|(target, queue)| {
                let more_comes = self.copying_to.get(target).is_some_and(|copies| *copies > 0);
                (*target, queue.len(), more_comes && !urgent.contains(target))
            })
            .collect()
    }

    /// Gives the slot of a running copy to the next one: its bytes are where they should be, and only its row is still
    /// to be written. Of one that has ended meanwhile nothing is left to give.
    pub fn moved(&mut self, position: u32) {
        let copy = Ready { position, step: Step::Copy };
        if self.running.contains(&copy) && self.without_slot.insert(position) {
            let Fact { source, target, .. } = self.facts[position as usize];
            self.count((source, target), false);
        }
    }

    /// Takes what became of a step that was started.
    ///
    /// # Panics
    /// If the step was not running: an outcome is told once.
    pub fn ended(&mut self, step: Ready, outcome: Outcome) {
        assert!(self.running.remove(&step), "an outcome of a step that is not running");
        let position = step.position as usize;
        let fact = self.facts[position];
        if step.step == Step::Copy {
            if !self.without_slot.remove(&step.position) {
                self.count((fact.source, fact.target), false);
            }
            *self.copying_to.entry(fact.target).or_default() -= 1;
        }
        let state = match (outcome, step.step) {
            (Outcome::Done, Step::Copy) | (Outcome::Stopped, Step::Register) => State::Saving,
            (Outcome::Done, Step::Register) => State::Completed,
            (Outcome::Failed, _) => State::Failed,
            (Outcome::RetryAt(at), _) => {
                self.tries[position] = self.tries[position].saturating_add(1);
                self.waiting.insert((at, step.position, step.step));
                self.waits.insert(step.position, (at, step.step));
                return;
            }
            (Outcome::Stopped, Step::Copy) => State::New,
            (Outcome::Held, _) => {
                self.held.insert(step.position);
                return;
            }
        };
        self.facts[position].state = state;
        match state {
            State::Saving if outcome == Outcome::Done => self.copied(position),
            State::Completed => self.completed(position),
            // What failed or was stopped is not tried again in this run.
            _ => self.facts[position].due = false,
        }
    }

    fn copied(&mut self, position: usize) {
        self.enqueue(position);
        if let Some(parent) = self.facts[position].parent {
            self.wait_for(parent);
        }
    }

    /// What builds on it may be registered now.
    fn completed(&mut self, position: usize) {
        // A link above may have been mended after links below it were registered.
        let mut below = self.children[position].clone();
        while let Some(child) = below.pop() {
            match self.facts[child as usize].state {
                State::Saving if !self.held.contains(&child) => self.enqueue(child as usize),
                State::Completed => below.extend(&self.children[child as usize]),
                _ => {}
            }
        }
    }

    /// Starts no more copies and no more second attempts; what is copied is still registered once. Gives the steps
    /// that were waiting for their next attempt: they will not get it in this run.
    pub fn drain(&mut self) -> Vec<Ready> {
        self.draining = true;
        self.waits.clear();
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().map(|(_, position, step)| Ready { position, step }).collect()
    }

    /// Whether nothing runs, nothing can start, nothing waits for its next attempt, and no other runner has anything.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_idle() && (self.draining || self.held.is_empty())
    }

    /// Whether there is nothing to do here, now or later, unless other runners leave something of what they have.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
            && self.waiting.is_empty()
            && (self.draining || self.copies.values().all(BTreeSet::is_empty))
            && self.registers.values().all(BTreeSet::is_empty)
    }

    /// When the next waiting step is due, if any waits.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        self.waiting.first().map(|(at, _, _)| *at)
    }

    /// The state of a row as the schedule knows it.
    #[must_use]
    pub fn state(&self, position: u32) -> State {
        self.facts[position as usize].state
    }

    fn wake(&mut self, now_ms: u64) {
        while let Some((at, position, step)) = self.waiting.first().copied()
            && at <= now_ms
        {
            self.waiting.pop_first();
            self.waits.remove(&position);
            self.queue(position, step);
        }
    }

    fn count(&mut self, (source, target): (u16, u16), start: bool) {
        let change = |count: &mut u16| *count = if start { *count + 1 } else { *count - 1 };
        change(&mut self.copying_total);
        change(self.copying.entry(source).or_default());
        if target != source {
            change(self.copying.entry(target).or_default());
        }
    }
}

#[cfg(test)]
mod tests;
