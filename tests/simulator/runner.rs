//! A simulated runner: what `src/engine` and `src/database` do with the pure core, without doing any of it. It is told what
//! happens, and says what it sends.

use backhaul::lease::{Lease, Terms};
use backhaul::schedule::{Fact, Schedule, Slots};
use backhaul::share::Share;
use backhaul::state::State;

use crate::case::{Case, Migration, Mutant};
use crate::database::{Answer, Id, Question, Row, Write};
use crate::shares::Shares;
use crate::steps::{Ended, Steps};
use crate::world::{Request, Said};
use crate::writer::{Learned, PAUSE_MS, Writer};

/// Between two looks at the rows, while others have what is left.
const LOOK_MS: u64 = 2_000;

/// The clocks of its machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Goes on by itself, asleep or not.
    pub(crate) boot_ms: u64,
    /// Is set by people.
    pub(crate) wall_ms: u64,
}

/// Its connections to the database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Channel {
    Heartbeat,
    Shares,
    Reader,
    Writer,
}

#[derive(Debug, Clone)]
pub(crate) enum Sent {
    Ask(Channel, Question),
    Store(usize, Request),
}

/// Why its process ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ending {
    /// It says that nothing is left to do.
    Finished,
    /// It was told to.
    Stopped,
    /// Its lease is over, or may be.
    LeaseEnded,
    /// It is not in the list.
    Unknown,
}

pub(crate) struct Runner {
    pub(crate) id: Id,
    mutant: Option<Mutant>,
    terms: Terms,
    plan: Vec<Migration>,
    limits: Slots,
    lease: Option<Lease>,
    /// By both clocks, when the lease that is asked for was asked for.
    asked: Option<Clock>,
    next_beat_ms: u64,
    shares: Shares,
    /// The share that the schedule knows.
    slots_of: Share,
    writer: Writer,
    pub(crate) steps: Steps,
    /// Rows that were FAILED before this run, and are tried once more.
    failed_before: Option<Vec<bool>>,
    is_looking: bool,
    next_look_ms: u64,
    schedule: Option<Schedule>,
    began_ms: u64,
    /// What is begun is ended, and the claims of the rest are given back.
    is_draining: bool,
    is_stopping: bool,
    pub(crate) ending: Option<Ending>,
    pub(crate) out: Vec<Sent>,
}

impl Runner {
    pub(crate) fn new(id: Id, case: &Case, mutant: Option<Mutant>, seed: u64) -> Self {
        Self {
            id,
            mutant,
            terms: case.terms,
            plan: case.plan.clone(),
            limits: case.limits.clone(),
            lease: None,
            asked: None,
            next_beat_ms: 0,
            shares: Shares::new(mutant),
            slots_of: Share::NONE,
            writer: Writer::default(),
            steps: Steps::new(case, seed),
            failed_before: None,
            is_looking: false,
            next_look_ms: 0,
            schedule: None,
            began_ms: 0,
            is_draining: false,
            is_stopping: false,
            ending: None,
            out: Vec::new(),
        }
    }

    /// Whether it may write to stores and catalogs, as far as it knows.
    pub(crate) fn may_write(&self, clock: Clock) -> bool {
        self.lease.is_some_and(|lease| lease.holds(self.lease_clock(clock)))
    }

    fn lease_clock(&self, clock: Clock) -> u64 {
        if self.mutant == Some(Mutant::LeaseByWallClock) { clock.wall_ms } else { clock.boot_ms }
    }

    /// Ends if its lease may be over. Looked at before anything else that it does.
    fn has_ended(&mut self, clock: Clock) -> bool {
        let looks = self.mutant != Some(Mutant::LeaseIgnored);
        if self.ending.is_none() && looks && self.lease.is_some() && !self.may_write(clock) {
            self.ending = Some(Ending::LeaseEnded);
        }
        self.ending.is_some()
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Does what it is time for.
    pub(crate) fn poll(&mut self, clock: Clock) {
        if self.has_ended(clock) {
            return;
        }
        let now = clock.boot_ms;
        if self.asked.is_none() && now >= self.next_beat_ms {
            self.asked = Some(clock);
            let question = if self.lease.is_none() { Question::Enter } else { Question::Renew };
            self.out.push(Sent::Ask(Channel::Heartbeat, question));
        }
        if self.lease.is_none() {
            return;
        }
        let fits = self.steps.fit(&self.plan, &self.slots());
        if let Some(question) = self.shares.ask(now, fits) {
            self.out.push(Sent::Ask(Channel::Shares, question));
        }
        if self.schedule.is_some() {
            self.go(now);
        }
        if self.schedule.is_none() {
            self.look(now);
        }
        if let Some(question) = self.writer.ask(now) {
            self.out.push(Sent::Ask(Channel::Writer, question));
        }
    }

    /// When it has something to do although nothing happens.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        let beat = self.asked.is_none().then_some(self.next_beat_ms);
        if self.lease.is_none() {
            return beat;
        }
        let round = match &self.schedule {
            Some(_) if self.steps.are_idle() => Some(self.began_ms + LOOK_MS),
            Some(_) => None,
            None => (!self.is_looking).then_some(self.next_look_ms),
        };
        let due = self.schedule.as_ref().and_then(Schedule::next_due_ms);
        [beat, self.shares.next_ms(), self.writer.next_ms(), round, due].into_iter().flatten().min()
    }

    fn slots(&self) -> Slots {
        let share = self.shares.used();
        let of = |total: u16| u16::try_from(share.of(u64::from(total))).expect("at most the total");
        let regions = self.limits.regions.iter().map(|(region, total)| (*region, of(*total)));
        Slots { total: of(self.limits.total), regions: regions.collect() }
    }

    fn go(&mut self, now: u64) {
        if self.slots_of != self.shares.used() {
            self.slots_of = self.shares.used();
            let slots = self.slots();
            self.schedule.as_mut().expect("a round").set_slots(slots);
        }
        let schedule = self.schedule.as_mut().expect("a round");
        // Nothing runs and nothing waits for its time: what is left has no slot here, and others may have one for it.
        let is_stuck = self.steps.are_idle()
            && schedule.next_due_ms().is_none()
            && !schedule.is_finished()
            && now >= self.began_ms + LOOK_MS;
        if (self.is_stopping || is_stuck) && !self.is_draining {
            self.is_draining = true;
            schedule.drain();
            if self.mutant != Some(Mutant::ClaimWithoutSlot) {
                self.steps.give_back_claims(&mut self.writer);
            }
        }
        let mut started = schedule.start_copies(now);
        for (target, count, _) in schedule.registrable(now) {
            started.extend(schedule.start_registers(now, target, count));
        }
        for ready in started {
            self.steps.begin(ready, &mut self.writer, &mut self.out);
        }
        if schedule.is_finished() && self.steps.are_idle() && self.writer.is_idle() {
            self.schedule = None;
            self.next_look_ms = now + PAUSE_MS;
        }
    }

    fn look(&mut self, now: u64) {
        if self.is_stopping {
            self.ending = Some(Ending::Stopped);
        } else if !self.is_looking && now >= self.next_look_ms {
            self.is_looking = true;
            self.out.push(Sent::Ask(Channel::Reader, Question::Rows));
        }
    }

    /// Begins a round with what the rows say, or ends if nothing is left.
    fn looked(&mut self, rows: &[Row], live: &[Id], now: u64) {
        let failed = || rows.iter().map(|row| row.state == State::Failed).collect::<Vec<_>>();
        let failed_before = &*self.failed_before.get_or_insert_with(failed);
        let untried = |row: usize| failed_before[row] && self.steps.is_untried(row);
        let tries = |row: usize| rows[row].state == State::Failed && untried(row);
        let robs = self.mutant == Some(Mutant::LiveOwnerRobbed);
        let is_free = |row: &Row| row.claimed_by.is_none_or(|owner| owner == self.id || !live.contains(&owner) || robs);
        let above = |row: usize| std::iter::successors(self.plan[row].parent, |above| self.plan[*above].parent);
        let is_settled = |row: usize| match rows[row].state {
            State::Completed => true,
            State::Failed => !tries(row),
            State::Saving => above(row).any(|above| rows[above].state == State::Failed && !tries(above)),
            State::New | State::Building => false,
        };
        if (0..rows.len()).all(is_settled) {
            self.ending = Some(Ending::Finished);
            return;
        }
        let number = |row: usize| u32::try_from(row).expect("few rows");
        let facts = self.plan.iter().enumerate().map(|(row, migration)| Fact {
            state: rows[row].state,
            parent: migration.parent.map(number).filter(|_| self.mutant != Some(Mutant::ChildDoesNotWait)),
            source: migration.source,
            target: migration.target,
            due: if rows[row].state == State::Failed { tries(row) } else { is_free(&rows[row]) },
        });
        self.schedule = Some(Schedule::new(facts.collect(), self.slots()));
        self.slots_of = self.shares.used();
        (self.began_ms, self.is_draining) = (now, false);
        self.steps.rows = rows.to_vec();
    }

    /// Takes an answer of the database, or the news that there is none.
    pub(crate) fn answered(
        &mut self,
        channel: Channel,
        answer: Option<Answer>,
        statements: Option<Vec<bool>>,
        clock: Clock,
    ) {
        if self.has_ended(clock) {
            return;
        }
        let now = clock.boot_ms;
        match channel {
            Channel::Heartbeat => self.beaten(answer.as_ref(), now),
            Channel::Shares => {
                if !self.shares.answered(self.id, answer, now) {
                    self.ending = Some(Ending::Unknown);
                }
            }
            Channel::Reader => {
                self.is_looking = false;
                self.next_look_ms = now + PAUSE_MS;
                if let Some(Answer::Rows(rows, live)) = answer {
                    self.looked(&rows, &live, now);
                }
            }
            Channel::Writer => match self.writer.answered(answer, statements, now, self.mutant) {
                Learned::Nothing => {}
                Learned::Behind => self.ending = Some(Ending::Unknown),
                Learned::Wrote(writes) => self.wrote(&writes),
            },
        }
    }

    fn beaten(&mut self, answer: Option<&Answer>, now: u64) {
        let asked = self.asked.take().expect("it was asked");
        match answer {
            Some(Answer::Done | Answer::Renewed(true)) => {
                self.lease = Some(Lease::granted(self.terms, self.lease_clock(asked)));
                self.next_beat_ms = Lease::granted(self.terms, asked.boot_ms).renew_at_ms();
            }
            None if self.lease.is_some() => self.next_beat_ms = now + self.terms.heartbeat_ms() / 10,
            None => self.ending = Some(Ending::Unknown),
            Some(_) => self.ending = Some(Ending::LeaseEnded),
        }
    }

    fn wrote(&mut self, writes: &[(Write, bool)]) {
        for (write, changed) in writes {
            let ended = self.steps.wrote(*write, *changed, &mut self.out);
            self.ended(ended);
        }
    }

    /// Takes what a store or catalog says to a step.
    pub(crate) fn said(&mut self, row: usize, said: Said, clock: Clock) {
        if self.has_ended(clock) {
            return;
        }
        let now = clock.boot_ms;
        let schedule = self.schedule.as_mut().expect("a step runs");
        let ended = self.steps.said(row, said, now, self.is_draining, &mut self.writer);
        if self.steps.has_moved(row) {
            schedule.moved(u32::try_from(row).expect("few rows"));
        }
        self.ended(ended);
    }

    fn ended(&mut self, ended: Option<Ended>) {
        if let (Some((ready, outcome)), Some(schedule)) = (ended, &mut self.schedule) {
            schedule.ended(ready, outcome);
        }
    }
}
