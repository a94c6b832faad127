//! What becomes of a schedule whose slots change while it runs.

use std::collections::BTreeSet;

use super::{Fact, Ready, Schedule, Slots};
use crate::state::Step;

impl Schedule {
    /// Changes how many copies may run at a time, from the next one that would start: of those that run
    /// [`Schedule::beyond_slots`] tells.
    pub fn set_slots(&mut self, slots: Slots) {
        self.slots = slots;
    }

    /// Whether no more runs than the slots allow; without any slot nothing does, no registration either.
    #[must_use]
    pub fn fits(&self) -> bool {
        let regions = self.slots.regions.iter();
        self.copying_total <= self.slots.total
            && regions.clone().all(|(region, most)| self.copying.get(region).unwrap_or(&0) <= most)
            && (self.slots.total > 0 || self.running.iter().all(|step| step.step == Step::Copy))
    }

    /// Copies that run beyond what the slots allow: the last ones of the plan.
    #[must_use]
    pub fn beyond_slots(&self) -> Vec<u32> {
        let (mut total, mut regions) = (self.copying_total, self.copying.clone());
        let copies = self.running.iter().rev().filter(|step| step.step == Step::Copy);
        let with_slot = copies.map(|step| step.position).filter(|position| !self.without_slot.contains(position));
        let mut beyond = Vec::new();
        for position in with_slot {
            let Fact { source, target, .. } = self.facts[position as usize];
            let is_over = |region| self.slots.regions.get(&region).is_some_and(|most| regions[&region] > *most);
            if total > self.slots.total || is_over(source) || is_over(target) {
                beyond.push(position);
                total -= 1;
                for region in BTreeSet::from([source, target]) {
                    *regions.get_mut(&region).expect("counted") -= 1;
                }
            }
        }
        beyond
    }

    /// Whether a step can be started at all, once what runs before it has ended.
    #[must_use]
    pub fn has_slot(&self, step: Ready) -> bool {
        let fact = self.facts[step.position as usize];
        let has = |region| self.slots.regions.get(&region).is_none_or(|most| *most > 0);
        self.slots.total > 0 && (step.step == Step::Register || has(fact.source) && has(fact.target))
    }

    /// Leaves a row to others whose next attempt waits here: it is waited for as if another had it, until it is told
    /// by [`Schedule::elsewhere`] what became of it.
    pub fn leave(&mut self, step: Ready) {
        if let Some((at, waiting)) = self.waits.remove(&step.position) {
            self.waiting.remove(&(at, step.position, waiting));
        }
        self.dequeue(step.position);
        self.held.insert(step.position);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::schedule::{Elsewhere, Outcome};
    use crate::state::State;

    fn schedule(rows: usize, state: State, slots: Slots) -> Schedule {
        Schedule::new(vec![Fact { state, parent: None, source: 0, target: 1, due: true }; rows], slots)
    }

    fn slots(total: u16) -> Slots {
        Slots { total, regions: BTreeMap::new() }
    }

    fn step(position: u32, step: Step) -> Ready {
        Ready { position, step }
    }

    #[test]
    fn copies_that_have_no_slot_any_more_are_the_last_ones() {
        let mut schedule = schedule(5, State::New, slots(4));
        assert_eq!(schedule.start_copies(0).len(), 4);
        assert!(schedule.fits());
        schedule.moved(3);
        schedule.set_slots(slots(2));
        assert!(!schedule.fits());
        assert_eq!(schedule.beyond_slots(), [2], "one has given its slot back already");
        schedule.set_slots(Slots { total: 3, regions: BTreeMap::from([(1, 1)]) });
        assert_eq!(schedule.beyond_slots(), [2, 1], "of a region");
        schedule.set_slots(slots(2));
        schedule.ended(step(2, Step::Copy), Outcome::Held);
        assert!(schedule.fits());
        assert_eq!(schedule.beyond_slots(), [0; 0]);
        assert_eq!(schedule.start_copies(0), []);
    }

    #[test]
    fn without_a_slot_nothing_is_registered_either() {
        let mut schedule = schedule(2, State::Saving, slots(1));
        assert_eq!(schedule.start_registers(0, 1, 1), [step(0, Step::Register)]);
        schedule.set_slots(slots(0));
        assert!(!schedule.fits());
        assert_eq!(schedule.registrable(0), []);
        assert_eq!(schedule.start_registers(0, 1, 9), []);
        schedule.ended(step(0, Step::Register), Outcome::Done);
        assert!(schedule.fits());
        assert!(!schedule.is_finished() && !schedule.is_idle(), "somebody has to do it");
    }

    #[test]
    fn what_waits_for_a_slot_that_others_have_is_left_to_them() {
        let mut schedule = schedule(2, State::New, slots(2));
        assert_eq!(schedule.start_copies(0).len(), 2);
        // One waits for its time, the other for its turn.
        schedule.ended(step(0, Step::Copy), Outcome::RetryAt(9));
        schedule.ended(step(1, Step::Copy), Outcome::RetryAt(5));
        schedule.set_slots(Slots { total: 1, regions: BTreeMap::from([(1, 0)]) });
        assert_eq!(schedule.start_copies(6), []);
        for position in [0, 1] {
            assert!(!schedule.has_slot(step(position, Step::Copy)));
            assert!(schedule.has_slot(step(position, Step::Register)));
            schedule.leave(step(position, Step::Copy));
        }
        assert_eq!(schedule.held().collect::<Vec<_>>(), [0, 1]);
        assert!(schedule.is_idle() && !schedule.is_finished());
        schedule.elsewhere(0, Elsewhere::Free(State::New));
        schedule.elsewhere(1, Elsewhere::Held(State::Saving));
        schedule.set_slots(slots(2));
        assert_eq!(schedule.start_copies(6), [step(0, Step::Copy)], "it came back, and waits no longer");
    }
}
