//! What a schedule is told of rows that other runners have, or had.

use super::{Ready, Schedule};
use crate::state::{State, Step};

/// What a row says that others may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// Another live runner has it.
    Held(State),
    /// Nobody else has it, and it stands here.
    Free(State),
    /// Another runner gave it up.
    Failed,
}

impl Elsewhere {
    /// What to make of a row that is `seen` as it is now and was `known` before, by its state and its claim, and that is
    /// free for this runner or not.
    #[must_use]
    pub fn of(known: (State, i64), seen: (State, i64), is_free: bool) -> Self {
        match seen.0 {
            state if !is_free => Self::Held(state),
            // Of whoever had it under the claim that was known, too: this runner would have ended its own step.
            State::Failed if known != seen => Self::Failed,
            state => Self::Free(state),
        }
    }
}

impl Schedule {
    /// Whether a step of the row is running here, or waits for its next attempt: then the row is this runner's, and what
    /// else is heard of it is old.
    #[must_use]
    pub fn is_busy(&self, position: u32) -> bool {
        let of_row = |step| Ready { position, step };
        [Step::Copy, Step::Register].into_iter().any(|step| self.running.contains(&of_row(step)))
            || self.waits.contains_key(&position)
    }

    /// Takes what a row says that another runner may have changed. Of a row that is busy here nothing is taken.
    pub fn elsewhere(&mut self, position: u32, row: Elsewhere) {
        if self.is_busy(position) {
            return;
        }
        self.dequeue(position);
        self.held.remove(&position);
        let index = position as usize;
        let (Elsewhere::Held(state) | Elsewhere::Free(state)) = row else {
            (self.facts[index].state, self.facts[index].due) = (State::Failed, false);
            return;
        };
        self.facts[index].state = state;
        match (row, state) {
            (_, State::Completed) => self.completed(index),
            (Elsewhere::Held(_), _) if self.facts[index].due => {
                self.held.insert(position);
            }
            (_, State::Saving) => self.copied(index),
            _ => self.enqueue(index),
        }
    }

    /// Rows that other runners have, as far as they are waited for.
    pub fn held(&self) -> impl Iterator<Item = u32> {
        self.held.iter().copied()
    }

    /// Forgets all steps that run or wait, because they were cut off: none of them will be told to have ended. What is
    /// to become of any row has to be told by [`Schedule::elsewhere`] then.
    pub fn cut_off(&mut self) {
        self.running.clear();
        self.waiting.clear();
        self.waits.clear();
        self.without_slot.clear();
        self.copying_total = 0;
        self.copying.clear();
        self.copying_to.clear();
    }

    pub(super) fn dequeue(&mut self, position: u32) {
        let fact = self.facts[position as usize];
        let turn = (self.tries[position as usize], position);
        if let Some(queue) = self.copies.get_mut(&(fact.source, fact.target)) {
            queue.remove(&turn);
        }
        if let Some(queue) = self.registers.get_mut(&fact.target) {
            queue.remove(&turn);
        }
        self.waited_for.remove(&position);
    }
}
