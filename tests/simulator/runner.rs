//! A simulated runner: what `src/engine` and `src/database` do with the pure core, without doing any of it. It is told what
//! happens, and says what it sends.

mod watch;

use backhaul::lease::{Lease, Terms};
use backhaul::schedule::{Schedule, Slots};
use backhaul::share::Share;

use crate::case::{Case, Migration, Mutant};
use crate::database::{Answer, Id, Question, Write};
use crate::shares::Shares;
use crate::steps::{Ended, Steps};
use crate::world::{Request, Said};
use crate::writer::{Learned, Writer};

use watch::Watch;

/// The clocks of its machine.
#[expect(clippy::struct_field_names, reason = "all are milliseconds")]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// Goes on by itself, asleep or not.
    pub(crate) boot_ms: u64,
    /// Is set by people.
    pub(crate) wall_ms: u64,
    /// What it takes for the database's.
    pub(crate) database_ms: i64,
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
    /// It is not in the list.
    Unknown,
}

pub(crate) struct Runner {
    pub(crate) id: Id,
    mutant: Option<Mutant>,
    terms: Terms,
    plan: Vec<Migration>,
    limits: Slots,
    /// None before it is in the list, and after its lease was over.
    lease: Option<Lease>,
    /// Grows when everything is cut off: answers to what was asked before are not waited for.
    pub(crate) generation: u32,
    /// When the lease that is asked for was asked for.
    asked: Option<Clock>,
    next_beat_ms: u64,
    shares: Shares,
    /// The share that the schedule knows.
    slots_of: Share,
    writer: Writer,
    pub(crate) steps: Steps,
    /// None until the rows are read for the first time.
    schedule: Option<Schedule>,
    watch: Watch,
    /// The rows are to be read before anything is done under a new lease.
    begins_anew: bool,
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
            generation: 0,
            asked: None,
            next_beat_ms: 0,
            shares: Shares::new(case.limits.total, mutant),
            slots_of: Share::NONE,
            writer: Writer::default(),
            steps: Steps::new(case, seed),
            schedule: None,
            watch: Watch::new(case.plan.len()),
            begins_anew: false,
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

    /// Cuts everything off if its lease may be over. Looked at before anything else that it does.
    fn look_at_lease(&mut self, clock: Clock) {
        let looks = self.mutant != Some(Mutant::LeaseIgnored);
        if looks && self.lease.is_some() && !self.may_write(clock) {
            self.lapse(clock.boot_ms);
        }
    }

    fn lapse(&mut self, now: u64) {
        self.generation += 1;
        (self.lease, self.asked, self.next_beat_ms) = (None, None, now);
        self.steps.cut_off();
        if self.mutant == Some(Mutant::ShareOutlivesLease) {
            self.shares.lose_question();
        } else {
            self.shares.lose();
        }
        if let Some(schedule) = &mut self.schedule {
            schedule.cut_off();
        }
        self.watch.stop();
        self.begins_anew = self.schedule.is_some();
    }

    /// SIGTERM.
    pub(crate) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Does what it is time for.
    pub(crate) fn poll(&mut self, clock: Clock) {
        if self.ending.is_some() {
            return;
        }
        self.look_at_lease(clock);
        let now = clock.boot_ms;
        if self.asked.is_none() && now >= self.next_beat_ms {
            self.asked = Some(clock);
            let question = match (self.lease, self.generation) {
                (Some(_), _) => Question::Renew,
                (None, 0) => Question::Enter,
                (None, _) => Question::EnterAgain,
            };
            self.out.push(Sent::Ask(Channel::Heartbeat, question));
        }
        if self.lease.is_some() {
            self.share(now);
            self.look(clock);
            if self.schedule.is_some() && !self.begins_anew {
                self.go(clock);
            } else if self.is_stopping {
                self.ending = Some(Ending::Stopped);
            }
        }
        if let Some(question) = self.writer.ask(now, clock.database_ms) {
            self.out.push(Sent::Ask(Channel::Writer, question));
        }
    }

    /// When it has something to do although nothing happens.
    pub(crate) fn next_wake_ms(&self) -> Option<u64> {
        let beat = self.asked.is_none().then_some(self.next_beat_ms);
        let writer = self.writer.next_ms();
        if self.lease.is_none() {
            return [beat, writer].into_iter().flatten().min();
        }
        let look = self.may_look().then_some(self.watch.next_ms);
        let due = self.schedule.as_ref().filter(|_| !self.begins_anew).and_then(Schedule::next_due_ms);
        [beat, writer, look, due, self.shares.next_ms()].into_iter().flatten().min()
    }

    fn slots(&self) -> Slots {
        let share = self.shares.used();
        let of = |total: u16| u16::try_from(share.of(u64::from(total))).expect("at most the total");
        let regions = self.limits.regions.iter().map(|(region, total)| (*region, of(*total)));
        Slots { total: of(self.limits.total), regions: regions.collect() }
    }

    fn share(&mut self, now: u64) {
        if self.shares.makes_room() || self.slots_of != self.shares.used() {
            let slots = self.slots();
            self.shares.fits(self.steps.fit(&self.plan, &slots));
            self.slots_of = self.shares.used();
            if let Some(schedule) = &mut self.schedule {
                schedule.set_slots(slots);
            }
        }
        if let Some(question) = self.shares.ask(now) {
            self.out.push(Sent::Ask(Channel::Shares, question));
        }
    }

    fn go(&mut self, clock: Clock) {
        let now = clock.boot_ms;
        let schedule = self.schedule.as_mut().expect("rows were read");
        if self.is_stopping && !self.is_draining {
            self.is_draining = true;
            for ready in schedule.drain() {
                self.steps.give_back_waiting(ready.position as usize, &mut self.writer);
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
            self.ending = Some(if self.is_stopping { Ending::Stopped } else { Ending::Finished });
        }
        if self.slots_of != Share::WHOLE && self.mutant != Some(Mutant::ClaimWithoutSlot) {
            let slots = self.slots();
            self.steps.give_back_without_slots(&self.plan, &slots, &mut self.writer);
        }
    }

    /// Takes an answer of the database, or the news that there is none.
    pub(crate) fn answered(
        &mut self,
        (channel, generation): (Channel, u32),
        answer: Option<Answer>,
        statements: Option<Vec<bool>>,
        clock: Clock,
    ) {
        self.look_at_lease(clock);
        let now = clock.boot_ms;
        if channel == Channel::Writer {
            match self.writer.answered(answer, statements, now, self.mutant) {
                Learned::Nothing => {}
                Learned::Behind => self.ending = Some(Ending::Unknown),
                Learned::Wrote(writes) => self.wrote(&writes),
            }
        } else if generation == self.generation {
            match channel {
                Channel::Heartbeat => self.beaten(answer.as_ref(), now),
                Channel::Shares => {
                    if !self.shares.answered(self.id, answer, now) {
                        self.lapse(now);
                    }
                }
                Channel::Reader | Channel::Writer => self.saw(answer, now),
            }
        }
    }

    fn beaten(&mut self, answer: Option<&Answer>, now: u64) {
        let asked = self.asked.take().expect("it was asked");
        match answer {
            Some(Answer::Done | Answer::Renewed(true)) => {
                self.lease = Some(Lease::granted(self.terms, self.lease_clock(asked)));
                self.next_beat_ms = Lease::granted(self.terms, asked.boot_ms).renew_at_ms();
                if self.begins_anew {
                    self.watch.next_ms = now;
                }
            }
            None if self.lease.is_some() || self.generation > 0 => {
                self.next_beat_ms = now + self.terms.heartbeat_ms() / 10;
            }
            Some(_) if self.lease.is_some() => self.lapse(now),
            _ => self.ending = Some(Ending::Unknown),
        }
    }

    fn wrote(&mut self, writes: &[(u32, Write, bool)]) {
        for (generation, write, changed) in writes {
            if *generation == self.steps.generation {
                let ended = self.steps.wrote(*write, *changed, &mut self.writer, &mut self.out);
                self.ended(ended);
            }
        }
    }

    /// Takes what a store or catalog says to a step.
    pub(crate) fn said(&mut self, row: usize, generation: u32, said: Said, clock: Clock) {
        self.look_at_lease(clock);
        if generation != self.generation {
            return;
        }
        let ended = self.steps.said(row, said, clock.boot_ms, self.is_draining, &mut self.writer);
        if self.steps.has_moved(row)
            && let Some(schedule) = &mut self.schedule
        {
            schedule.moved(u32::try_from(row).expect("few rows"));
        }
        self.ended(ended);
    }

    fn ended(&mut self, ended: Option<Ended>) {
        if let (Some((ready, outcome)), Some(schedule)) = (ended, &mut self.schedule) {
            self.watch.touched[ready.position as usize] = true;
            schedule.ended(ready, outcome);
        }
    }
}
