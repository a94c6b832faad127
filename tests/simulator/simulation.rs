//! Runs a case by a virtual clock: what is sent arrives later, or never, and its answer later still, or never.

use std::fmt::Write as _;

use fastrand::Rng;

use crate::case::{Case, Fault, Mutant};
use crate::database::{Answer, Database, Id, Question};
use crate::invariants::{Invariants, Violation};
use crate::machine::{DATABASE_MS, Machine};
use crate::queue::Queue;
use crate::runner::{Channel, Ending, Runner, Sent};
use crate::tally::Tally;
use crate::world::{Request, Said, World};

/// Runs that are begun one after the other when nothing goes wrong any more, each by somebody who sees that not all is done.
const LAST_RUNS: u32 = 4;

#[derive(Debug)]
enum Event {
    Fault(Fault),
    /// The outage is over.
    DatabaseIsBack,
    Timer(Id),
    Wakes(Id),
    /// Something arrives at the database or a store that a generation of a runner has sent.
    Arrives(Id, u32, Sent),
    Reply(Id, Reply),
    /// The operator looks whether all is done.
    Look,
}

#[derive(Debug)]
enum Reply {
    Database((Channel, u32), Option<Answer>, Option<Vec<bool>>),
    Store(usize, u32, Said),
}

pub(crate) struct Simulation {
    rng: Rng,
    case: Case,
    mutant: Option<Mutant>,
    now: u64,
    queue: Queue<Event>,
    database: Database,
    world: World,
    invariants: Invariants,
    machines: Vec<Machine<Event>>,
    outage_until: u64,
    last_runs: u32,
    /// What happened, for who asks for it.
    pub(crate) trace: Option<String>,
    pub(crate) tally: Tally,
}

impl Simulation {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, with_trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let case = Case::new(&mut rng);
        let database = Database::new(case.plan.len(), case.terms, mutant);
        let world = World::new(case.plan.iter().map(|migration| migration.gone).collect(), mutant);
        let invariants = Invariants::new(case.plan.clone(), case.limits.clone());
        let trace = with_trace.then(|| format!("{case:#?}\n"));
        let mut simulation = Self {
            rng,
            case,
            mutant,
            now: 0,
            queue: Queue::new(),
            database,
            world,
            invariants,
            machines: Vec::new(),
            outage_until: 0,
            last_runs: 0,
            trace,
            tally: Tally::default(),
        };
        for (at, fault) in std::mem::take(&mut simulation.case.faults) {
            simulation.at(at, Event::Fault(fault));
        }
        simulation.at(simulation.case.quiet_ms, Event::Look);
        simulation
    }

    fn at(&mut self, at: u64, event: Event) {
        self.queue.plan(at, event);
    }

    /// Times are counted from the first run, and the database's clock has its own zero.
    fn database_ms(&self) -> i64 {
        DATABASE_MS + i64::try_from(self.now).expect("short")
    }

    /// By then all must be done: what is claimed is free when its lease is over, and then there is work for a while.
    fn deadline_ms(&self) -> u64 {
        let work = 10_000 * self.case.plan.len() as u64;
        self.case.quiet_ms + self.case.terms.lease_ms() + 20_000 + work
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        while let Some((at, event)) = self.queue.next() {
            self.now = at;
            self.tally.events += 1;
            if at > self.deadline_ms() {
                let rows = &self.database.rows;
                return Err(format!("nothing has gone wrong for a long time, and not all is done: {rows:?}"));
            }
            if let Some(trace) = &mut self.trace {
                writeln!(trace, "{at:>7} {event:?}").expect("memory");
            }
            if self.happens(event)? {
                self.tally.completed += 1;
                return self.invariants.ended(&self.database, &self.world);
            }
        }
        unreachable!("the operator looks until all is done")
    }

    /// Whether all is done.
    fn happens(&mut self, event: Event) -> Result<bool, Violation> {
        match event {
            Event::Fault(fault) => self.goes_wrong(fault)?,
            Event::DatabaseIsBack => {}
            Event::Look => return Ok(self.look()),
            Event::Arrives(by, of, Sent::Ask(channel, question)) => self.asked(by, (channel, of), &question)?,
            Event::Arrives(by, of, Sent::Store(row, request)) => self.requested(by, (row, of), request)?,
            Event::Wakes(id) => {
                self.machines[id].paused_until = None;
                for event in std::mem::take(&mut self.machines[id].held) {
                    self.happens(event)?;
                }
                self.polled(id)?;
            }
            Event::Timer(id) | Event::Reply(id, _) if self.machines[id].is_gone => {}
            Event::Timer(id) | Event::Reply(id, _) if self.machines[id].paused_until.is_some() => {
                self.machines[id].held.push(event);
            }
            Event::Timer(id) => {
                if self.machines[id].timer_at.is_some_and(|at| at <= self.now) {
                    self.machines[id].timer_at = None;
                }
                self.polled(id)?;
            }
            Event::Reply(id, reply) => {
                let clock = self.machines[id].clock(self.now);
                let runner = &mut self.machines[id].runner;
                match reply {
                    Reply::Database(channel, answer, statements) => {
                        runner.answered(channel, answer, statements, clock);
                    }
                    Reply::Store(row, of, said) => runner.said(row, of, said, clock),
                }
                self.polled(id)?;
            }
        }
        Ok(false)
    }

    /// Begins another run if nobody works and not all is done.
    fn look(&mut self) -> bool {
        let is_idle = self.machines.iter().all(|machine| !machine.is_there());
        if is_idle {
            if self.invariants.is_complete(&self.database.rows) || self.last_runs == LAST_RUNS {
                return true;
            }
            self.last_runs += 1;
            self.comes();
        }
        self.at(self.now + 1_000, Event::Look);
        false
    }

    fn comes(&mut self) {
        let id = self.machines.len();
        let runner = Runner::new(id, &self.case, self.mutant, self.rng.u64(..));
        self.machines.push(Machine {
            runner,
            boot_offset: self.rng.u64(0..1_000_000_000),
            drift_ppm: self.rng.i64(-5_000..5_000),
            wall_offset: 1_600_000_000_000 + self.rng.i64(-1_000_000..1_000_000),
            database_offset: self.rng.i64(-1_000..1_000),
            paused_until: None,
            held: Vec::new(),
            is_gone: false,
            generation: 0,
            timer_at: None,
        });
        self.at(self.now, Event::Timer(id));
    }

    fn goes_wrong(&mut self, fault: Fault) -> Result<(), Violation> {
        let there: Vec<Id> = (0..self.machines.len()).filter(|id| self.machines[*id].is_there()).collect();
        let one = |who: usize| (!there.is_empty()).then(|| there[who % there.len()]);
        match fault {
            Fault::Runner if there.len() < self.case.runners.max(2) => self.comes(),
            Fault::Outage(length) => {
                self.outage_until = (self.now + length).min(self.case.quiet_ms);
                self.at(self.outage_until, Event::DatabaseIsBack);
            }
            Fault::Crash(who) => {
                if let Some(id) = one(who) {
                    self.machines[id].is_gone = true;
                    self.tally.crashes += 1;
                    // Somebody starts it again.
                    let at = self.now + self.rng.u64(100..8_000);
                    self.at(at, Event::Fault(Fault::Runner));
                }
            }
            Fault::Pause { who, length, with_clock } => {
                if let Some(id) = one(who).filter(|id| self.machines[*id].paused_until.is_none()) {
                    let until = (self.now + length).min(self.case.quiet_ms);
                    self.machines[id].paused_until = Some(until);
                    if with_clock {
                        self.machines[id].wall_offset -= i64::try_from(until - self.now).expect("short");
                    }
                    self.at(until, Event::Wakes(id));
                }
            }
            Fault::Drain(who) => {
                if let Some(id) = one(who).filter(|id| self.machines[*id].paused_until.is_none()) {
                    self.machines[id].runner.stop();
                    self.polled(id)?;
                }
            }
            Fault::ClockSet(who, by) => {
                if let Some(id) = one(who) {
                    self.machines[id].wall_offset += by;
                }
            }
            Fault::Runner => {}
        }
        Ok(())
    }

    /// Lets a runner do what it is time for, and takes what it sends.
    fn polled(&mut self, id: Id) -> Result<(), Violation> {
        let now = self.now;
        let machine = &mut self.machines[id];
        if machine.is_gone || machine.paused_until.is_some() {
            return Ok(());
        }
        machine.runner.poll(machine.clock(now));
        let has_lapsed = machine.runner.generation > machine.generation;
        machine.generation = machine.runner.generation;
        self.tally.leases_ended += u64::from(has_lapsed);
        if has_lapsed && now > self.case.quiet_ms + self.case.terms.lease_ms() {
            return Err(format!("runner {id} lost its lease, and nothing had gone wrong"));
        }
        let sent = std::mem::take(&mut machine.runner.out);
        let ending = machine.runner.ending;
        if let Some(at) = machine.runner.next_wake_ms().map(|at| machine.when(at, now))
            && ending.is_none()
            && machine.timer_at.is_none_or(|timer| timer > at)
        {
            machine.timer_at = Some(at);
            self.at(at, Event::Timer(id));
        }
        if !sent.is_empty() {
            self.checks_slots()?;
        }
        for sent in sent {
            if let Sent::Store(row, request) = sent {
                let is_live = self.database.is_live(id, self.database_ms());
                Invariants::started(id, row, request, is_live)?;
                self.checks_owners(row)?;
            }
            self.send(id, sent);
        }
        if let Some(ending) = ending {
            self.ends(id, ending)?;
        }
        Ok(())
    }

    fn ends(&mut self, id: Id, ending: Ending) -> Result<(), Violation> {
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "{:>7} runner {id} ends: {ending:?}", self.now).expect("memory");
        }
        self.machines[id].is_gone = true;
        match ending {
            Ending::Finished => self.invariants.left(id, &self.database)?,
            Ending::Stopped | Ending::Unknown => {}
        }
        if self.now >= self.outage_until && self.rng.u8(0..8) > 0 {
            let leaves = Sent::Ask(Channel::Heartbeat, Question::Leave);
            let at = self.now + self.rng.u64(1..50);
            self.at(at, Event::Arrives(id, 0, leaves));
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        self.now >= self.case.quiet_ms
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        !self.is_quiet() && per_mille > 0 && self.rng.u32(0..1_000) < per_mille
    }

    fn send(&mut self, id: Id, sent: Sent) {
        let takes = match &sent {
            Sent::Ask(..) => self.rng.u64(1..30),
            Sent::Store(..) => self.rng.u64(5..1_500),
        };
        let mut at = self.now + takes;
        if self.chance(self.case.odds.late) {
            let lease_ms = self.case.terms.lease_ms();
            at = (self.now + self.rng.u64(0..2 * lease_ms)).min(self.case.quiet_ms).max(at);
        }
        let generation = self.machines[id].runner.generation;
        self.at(at, Event::Arrives(id, generation, sent));
    }

    /// A question arrives at the database.
    fn asked(&mut self, by: Id, channel: (Channel, u32), question: &Question) -> Result<(), Violation> {
        let back = self.now + self.rng.u64(1..30);
        if self.now < self.outage_until || self.chance(self.case.odds.lost) {
            self.at(back, Event::Reply(by, Reply::Database(channel, None, None)));
            return Ok(());
        }
        let mut changes = Vec::new();
        let now_ms = self.database_ms();
        if matches!(question, Question::Rows) {
            self.invariants.surveyed(by, now_ms);
        }
        let answer = self.database.take(by, question, now_ms, &mut changes);
        if let Some(trace) = &mut self.trace {
            writeln!(trace, "        answers {answer:?}").expect("memory");
        }
        for change in &changes {
            self.invariants.changed(change, &self.world, now_ms)?;
            let owner = change.before.claimed_by;
            self.tally.takeovers += u64::from(change.after.claim > change.before.claim && owner.is_some());
        }
        let mut statements = None;
        if let Answer::Wrote(changed) = &answer {
            self.tally.refused_writes += changed.iter().filter(|changed| !**changed).count() as u64;
            statements = Some(changed.clone());
        }
        let answer = if self.chance(self.case.odds.unheard) {
            self.tally.unheard += u64::from(statements.is_some());
            None
        } else {
            Some(answer)
        };
        self.at(back, Event::Reply(by, Reply::Database(channel, answer, statements)));
        Ok(())
    }

    /// A request arrives at a store or catalog.
    fn requested(&mut self, by: Id, (row, of): (usize, u32), request: Request) -> Result<(), Violation> {
        let (is_busy, is_refused) = (self.chance(self.case.odds.busy), self.chance(self.case.odds.refused));
        let mut said = if is_refused { Said::Refused } else { Said::Busy };
        // Who is told to try again does not know whether it was done.
        if !is_refused && (!is_busy || self.rng.bool()) {
            let did = self.world.take(row, request);
            self.invariants.done(row, request, &self.world)?;
            said = if is_busy { said } else { did };
            self.tally.late += u64::from(!self.database.is_live(by, self.database_ms()));
        }
        let back = self.now + self.rng.u64(1..100);
        self.at(back, Event::Reply(by, Reply::Store(row, of, said)));
        Ok(())
    }

    /// Those whose leases are live, as others see it.
    fn live(&self) -> impl Iterator<Item = &Machine<Event>> {
        let now_ms = self.database_ms();
        let is_live =
            move |machine: &&Machine<Event>| machine.is_there() && self.database.is_live(machine.runner.id, now_ms);
        self.machines.iter().filter(is_live)
    }

    fn checks_slots(&mut self) -> Result<(), Violation> {
        let copying: Vec<usize> = self.live().flat_map(|machine| machine.runner.steps.copying()).collect();
        let copiers = self.live().filter(|machine| machine.runner.steps.copying().next().is_some()).count();
        self.tally.together += u64::from(copiers > 1);
        self.invariants.copying(&copying)
    }

    fn checks_owners(&self, row: usize) -> Result<(), Violation> {
        let owns = |machine: &&Machine<Event>| {
            machine.is_there() && machine.runner.steps.owns(row) && machine.runner.may_write(machine.clock(self.now))
        };
        let owners: Vec<Id> = self.machines.iter().filter(owns).map(|machine| machine.runner.id).collect();
        Invariants::owned(row, &owners)
    }
}
