use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn fact(state: State, parent: Option<u32>, source: u16, target: u16) -> Fact {
    Fact { state, parent, source, target, due: true }
}

fn slots(total: u16) -> Slots {
    Slots { total, regions: BTreeMap::new() }
}

fn copy(position: u32) -> Ready {
    Ready { position, step: Step::Copy }
}

fn register(position: u32) -> Ready {
    Ready { position, step: Step::Register }
}

#[test]
fn a_chain_copies_at_once_and_registers_in_order() {
    let facts = vec![fact(State::New, None, 0, 1), fact(State::New, Some(0), 0, 1)];
    let mut schedule = Schedule::new(facts, slots(8));
    assert_eq!(schedule.start_copies(0), [copy(0), copy(1)]);
    schedule.ended(copy(1), Outcome::Done);
    assert_eq!(schedule.registrable(0), []);
    schedule.ended(copy(0), Outcome::Done);
    assert_eq!(schedule.registrable(0), [(1, 1, false)]);
    assert_eq!(schedule.start_registers(0, 1, 100), [register(0)]);
    assert_eq!(schedule.start_registers(0, 1, 100), []);
    schedule.ended(register(0), Outcome::Done);
    assert_eq!(schedule.start_registers(0, 1, 100), [register(1)]);
    schedule.ended(register(1), Outcome::Done);
    assert!(schedule.is_finished());
}

#[test]
fn a_region_at_its_ceiling_holds_up_nobody_else() {
    let facts = vec![
        fact(State::New, None, 0, 1),
        fact(State::New, None, 0, 1),
        fact(State::New, None, 2, 3),
        fact(State::New, None, 3, 1),
    ];
    let mut schedule = Schedule::new(facts, Slots { total: 3, regions: BTreeMap::from([(1, 1)]) });
    assert_eq!(schedule.start_copies(0), [copy(0), copy(2)]);
    schedule.ended(copy(0), Outcome::Failed);
    assert_eq!(schedule.start_copies(0), [copy(1)]);
}

#[test]
fn a_copy_that_has_moved_its_bytes_gives_its_slot_back_once() {
    let mut schedule = Schedule::new(vec![fact(State::New, None, 0, 1); 3], slots(1));
    assert_eq!(schedule.start_copies(0), [copy(0)]);
    schedule.moved(0);
    schedule.moved(0);
    assert_eq!(schedule.start_copies(0), [copy(1)]);
    assert_eq!(schedule.start_copies(0), []);
    assert!(!schedule.is_finished());
    schedule.ended(copy(0), Outcome::Done);
    schedule.moved(0);
    assert_eq!(schedule.start_copies(0), []);
    // The other copies may still be recorded together with it.
    assert_eq!(schedule.registrable(0), [(1, 1, true)]);
    schedule.ended(copy(1), Outcome::Done);
    assert_eq!(schedule.start_copies(0), [copy(2)]);
}

#[test]
fn a_step_that_is_tried_again_goes_to_the_end_of_the_queue() {
    let facts = vec![fact(State::New, None, 0, 1); 3];
    let mut schedule = Schedule::new(facts, slots(1));
    assert_eq!(schedule.start_copies(0), [copy(0)]);
    schedule.ended(copy(0), Outcome::RetryAt(50));
    assert_eq!(schedule.next_due_ms(), Some(50));
    assert_eq!(schedule.start_copies(60), [copy(1)]);
    schedule.ended(copy(1), Outcome::Done);
    assert_eq!(schedule.start_copies(60), [copy(2)]);
    schedule.ended(copy(2), Outcome::Done);
    assert_eq!(schedule.start_copies(60), [copy(0)]);
}

#[test]
fn registrations_gather_while_a_copy_can_add_to_them_and_no_child_waits() {
    let facts = vec![fact(State::Saving, None, 0, 1), fact(State::New, None, 0, 1), fact(State::New, Some(0), 0, 1)];
    let mut schedule = Schedule::new(facts, slots(8));
    schedule.start_copies(0);
    assert_eq!(schedule.registrable(0), [(1, 1, true)]);
    schedule.ended(copy(2), Outcome::Done);
    assert_eq!(schedule.registrable(0), [(1, 1, false)]);
}

#[test]
fn draining_starts_no_copy_and_still_registers() {
    let facts = vec![fact(State::New, None, 0, 1), fact(State::New, None, 0, 1), fact(State::Saving, None, 0, 1)];
    let mut schedule = Schedule::new(facts, slots(1));
    schedule.start_copies(0);
    schedule.drain();
    schedule.ended(copy(0), Outcome::Stopped);
    assert_eq!(schedule.start_copies(9), []);
    assert!(!schedule.is_finished());
    assert_eq!(schedule.start_registers(9, 1, 9), [register(2)]);
    schedule.ended(register(2), Outcome::Done);
    assert!(schedule.is_finished());
}

#[test]
fn rows_that_are_not_due_are_left_alone() {
    let facts = vec![Fact { due: false, ..fact(State::Failed, None, 0, 1) }];
    let mut schedule = Schedule::new(facts, slots(1));
    assert_eq!(schedule.start_copies(0), []);
    assert!(schedule.is_finished());
}

/// What a step does in one simulated world: the outcomes of its attempts, the last one repeated.
type Script = Vec<u8>;

/// A world drawn by proptest: parents point backwards or forwards but never in a circle.
#[derive(Debug, Clone)]
struct World {
    facts: Vec<Fact>,
    slots: Slots,
    scripts: Vec<(Script, Script)>,
    picks: Vec<u8>,
}

fn world() -> impl Strategy<Value = World> {
    let node = (
        prop::option::weighted(0.6, 0..1000_u32),
        0..3_u16,
        0..3_u16,
        prop::collection::vec(0..6_u8, 1..4),
        prop::collection::vec(0..6_u8, 1..4),
    );
    (
        prop::collection::vec(node, 1..30),
        1..6_u16,
        prop::option::of(1..3_u16),
        prop::collection::vec(any::<u8>(), 1..50),
    )
        .prop_map(|(nodes, total, ceiling, picks)| {
            let mut facts = Vec::new();
            let mut scripts = Vec::new();
            for (position, (parent, source, target, copies, registers)) in (0_u32..).zip(nodes) {
                let parent = parent.filter(|_| position > 0).map(|parent| parent % position);
                facts.push(fact(State::New, parent, source, target));
                scripts.push((copies, registers));
            }
            let regions = ceiling.into_iter().map(|max| (1, max)).collect();
            World { facts, slots: Slots { total, regions }, scripts, picks }
        })
}

impl World {
    /// What attempt `nth` of a step ends with: 0 failed, 1 tried again (at most twice), else done.
    fn outcome(&self, step: Ready, nth: usize, now: u64) -> Outcome {
        let scripts = &self.scripts[step.position as usize];
        let script = if step.step == Step::Copy { &scripts.0 } else { &scripts.1 };
        match script[nth.min(script.len() - 1)] {
            0 => Outcome::Failed,
            1 if nth < 2 => Outcome::RetryAt(now + 7),
            _ => Outcome::Done,
        }
    }

    /// Whether a step may start, by the rows alone; starts it in them.
    fn start(&self, step: Ready, states: &mut [State]) -> Result<(), TestCaseError> {
        let state = states[step.position as usize];
        match step.step {
            Step::Copy => {
                prop_assert!(state == State::Building || state.may_become(State::Building), "{:?} in {}", step, state);
                states[step.position as usize] = State::Building;
            }
            Step::Register => {
                prop_assert_eq!(state, State::Saving);
                let parent = self.facts[step.position as usize].parent.map(|parent| states[parent as usize]);
                prop_assert!(parent.is_none_or(|parent| parent == State::Completed), "{:?} before its parent", step);
            }
        }
        Ok(())
    }

    fn check_slots(&self, running: &BTreeSet<Ready>) -> Result<(), TestCaseError> {
        let copies: Vec<Fact> = running
            .iter()
            .filter(|step| step.step == Step::Copy)
            .map(|step| self.facts[step.position as usize])
            .collect();
        prop_assert!(copies.len() <= usize::from(self.slots.total));
        for (region, max) in &self.slots.regions {
            let of_region = copies.iter().filter(|fact| fact.source == *region || fact.target == *region).count();
            prop_assert!(of_region <= usize::from(*max));
        }
        Ok(())
    }

    /// Runs to the end, at most `stop_after` outcomes, and gives the rows as a database would hold them. Counts the
    /// attempts of each step in `tries`. Checks on the way that nothing starts too early, twice or over a limit.
    fn run(
        &self,
        facts: &[Fact],
        tries: &mut BTreeMap<Ready, usize>,
        stop_after: usize,
    ) -> Result<Vec<State>, TestCaseError> {
        let mut schedule = Schedule::new(facts.to_vec(), self.slots.clone());
        let mut states: Vec<State> = facts.iter().map(|fact| fact.state).collect();
        let mut running: BTreeSet<Ready> = BTreeSet::new();
        let mut now = 0;
        for round in 0..stop_after {
            let mut started = schedule.start_copies(now);
            for (target, _, _) in schedule.registrable(now) {
                started.extend(schedule.start_registers(now, target, 5));
            }
            for step in started {
                prop_assert!(running.insert(step), "{:?} runs twice at a time", step);
                self.start(step, &mut states)?;
            }
            self.check_slots(&running)?;
            let pick = usize::from(self.picks[round % self.picks.len()]) % running.len().max(1);
            let Some(step) = running.iter().nth(pick).copied() else {
                let Some(at) = schedule.next_due_ms() else { break };
                now = at;
                continue;
            };
            running.remove(&step);
            let nth = tries.entry(step).or_default();
            let outcome = self.outcome(step, *nth, now);
            *nth += 1;
            let before = states[step.position as usize];
            let after = match (outcome, step.step) {
                (Outcome::Failed, _) => State::Failed,
                (Outcome::Done, Step::Copy) => State::Saving,
                (Outcome::Done, Step::Register) => State::Completed,
                _ => before,
            };
            prop_assert!(after == before || before.may_become(after), "{} -> {}", before, after);
            states[step.position as usize] = after;
            schedule.ended(step, outcome);
            prop_assert!(after == before || schedule.state(step.position) == after);
        }
        prop_assert!(!running.is_empty() || stop_after < usize::MAX || schedule.is_finished());
        Ok(states)
    }

    /// What must be true at the end, computed without the schedule.
    fn expected(&self) -> Vec<State> {
        let ends_done = |position: usize, step| {
            let ready = Ready { position: u32::try_from(position).expect("small"), step };
            (0..4).map(|nth| self.outcome(ready, nth, 0)).find(|outcome| !matches!(outcome, Outcome::RetryAt(_)))
                == Some(Outcome::Done)
        };
        let mut states: Vec<State> = Vec::new();
        for (position, fact) in self.facts.iter().enumerate() {
            // Parents have lower positions in these worlds.
            states.push(if !ends_done(position, Step::Copy) {
                State::Failed
            } else if fact.parent.is_some_and(|parent| states[parent as usize] != State::Completed) {
                State::Saving
            } else if ends_done(position, Step::Register) {
                State::Completed
            } else {
                State::Failed
            });
        }
        states
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_graph_and_any_failures_run_to_their_one_end(world in world()) {
        let states = world.run(&world.facts, &mut BTreeMap::new(), usize::MAX)?;
        prop_assert_eq!(states, world.expected());
    }

    /// A run that is cut anywhere leaves rows from which the next run reaches the end of an uncut one.
    #[test]
    fn resuming_from_any_prefix_equals_the_whole(world in world(), cut in 0..200_usize) {
        let mut tries = BTreeMap::new();
        let cut_states = world.run(&world.facts, &mut tries, cut)?;
        let resumed = |(fact, state): (&Fact, &State)| Fact { state: *state, due: *state != State::Failed, ..*fact };
        let facts: Vec<Fact> = world.facts.iter().zip(&cut_states).map(resumed).collect();
        prop_assert_eq!(world.run(&facts, &mut tries, usize::MAX)?, world.expected());
    }
}

#[test]
fn what_another_runner_has_is_waited_for() {
    let facts = vec![fact(State::New, None, 0, 1), fact(State::New, Some(0), 0, 1)];
    let mut schedule = Schedule::new(facts, slots(8));
    assert_eq!(schedule.start_copies(0), [copy(0), copy(1)]);
    // The claim of the parent was refused.
    schedule.ended(copy(0), Outcome::Held);
    schedule.ended(copy(1), Outcome::Done);
    assert!(!schedule.is_finished(), "the other may die");
    assert_eq!(schedule.held().collect::<Vec<_>>(), [0]);
    assert_eq!(schedule.start_copies(0), []);
    assert_eq!(schedule.registrable(0), [], "a child is registered after its parent");

    schedule.elsewhere(0, Elsewhere::Held(State::Saving));
    assert_eq!(schedule.registrable(0), []);
    schedule.elsewhere(0, Elsewhere::Free(State::Completed));
    assert_eq!(schedule.start_registers(0, 1, 100), [register(1)]);
    schedule.ended(register(1), Outcome::Done);
    assert!(schedule.is_finished());
}

#[test]
fn what_a_dead_runner_had_is_taken_over_and_what_it_gave_up_is_not() {
    let facts = vec![fact(State::New, None, 0, 1); 4];
    let mut schedule = Schedule::new(facts, slots(8));
    for position in 0..4 {
        schedule.elsewhere(position, Elsewhere::Held(State::Building));
    }
    assert_eq!(schedule.start_copies(0), []);
    schedule.elsewhere(0, Elsewhere::Free(State::Building));
    schedule.elsewhere(1, Elsewhere::Free(State::New));
    schedule.elsewhere(2, Elsewhere::Free(State::Saving));
    schedule.elsewhere(3, Elsewhere::Failed);
    assert_eq!(schedule.start_copies(0), [copy(0), copy(1)]);
    assert_eq!(schedule.start_registers(0, 1, 100), [register(2)]);
    assert_eq!(schedule.held().count(), 0);
    for ready in [copy(0), copy(1)] {
        schedule.ended(ready, Outcome::Failed);
    }
    schedule.ended(register(2), Outcome::Done);
    assert!(schedule.is_finished());
}

#[test]
fn what_another_gave_up_is_told_from_what_failed_here_or_before() {
    let of = Elsewhere::of;
    assert_eq!(of((State::New, 0), (State::Building, 1), false), Elsewhere::Held(State::Building));
    assert_eq!(of((State::Building, 1), (State::Building, 1), true), Elsewhere::Free(State::Building));
    assert_eq!(of((State::New, 0), (State::Failed, 1), true), Elsewhere::Failed);
    assert_eq!(of((State::Building, 1), (State::Failed, 1), true), Elsewhere::Failed, "it was seen at work");
    assert_eq!(of((State::Failed, 1), (State::Failed, 2), true), Elsewhere::Failed, "after one more try");
    assert_eq!(of((State::Failed, 1), (State::Failed, 1), true), Elsewhere::Free(State::Failed));
    assert_eq!(of((State::Failed, 1), (State::Failed, 1), false), Elsewhere::Held(State::Failed));
}

#[test]
fn of_what_is_busy_here_nothing_is_heard() {
    let mut schedule = Schedule::new(vec![fact(State::New, None, 0, 1); 2], slots(1));
    assert_eq!(schedule.start_copies(0), [copy(0)]);
    schedule.elsewhere(0, Elsewhere::Free(State::New));
    schedule.ended(copy(0), Outcome::RetryAt(50));
    schedule.elsewhere(0, Elsewhere::Held(State::Building));
    assert!(schedule.is_busy(0) && !schedule.is_busy(1));
    assert_eq!(schedule.held().count(), 0);
    assert_eq!(schedule.start_copies(50), [copy(1)]);
    schedule.ended(copy(1), Outcome::Done);
    assert_eq!(schedule.start_copies(50), [copy(0)]);
}

#[test]
fn steps_that_were_cut_off_start_again_from_what_their_rows_say() {
    let facts = vec![fact(State::New, None, 0, 1), fact(State::Saving, None, 0, 1), fact(State::New, None, 0, 1)];
    let mut schedule = Schedule::new(facts, slots(1));
    assert_eq!(schedule.start_copies(0), [copy(0)]);
    assert_eq!(schedule.start_registers(0, 1, 100), [register(1)]);
    schedule.moved(0);
    assert_eq!(schedule.start_copies(0), [copy(2)]);
    schedule.cut_off();
    // Its copy was whole; another runner has taken what was to be registered; nobody has the third.
    schedule.elsewhere(0, Elsewhere::Free(State::Saving));
    schedule.elsewhere(1, Elsewhere::Held(State::Saving));
    schedule.elsewhere(2, Elsewhere::Free(State::Building));
    assert_eq!(schedule.start_copies(0), [copy(2)], "and its slot is free");
    assert_eq!(schedule.registrable(0), [(1, 1, true)]);
    assert_eq!(schedule.start_registers(0, 1, 100), [register(0)]);
}

#[test]
fn who_drains_does_not_wait_for_others() {
    let mut schedule = Schedule::new(vec![fact(State::New, None, 0, 1)], slots(1));
    schedule.elsewhere(0, Elsewhere::Held(State::Building));
    assert!(!schedule.is_finished());
    schedule.drain();
    assert!(schedule.is_finished());
}
