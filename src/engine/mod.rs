//! Runs ready steps: asks the schedule what may start, lets each step do its work, and tells the schedule how it
//! ended. Owns all state of a run; prints nothing.

mod attempts;
mod copy_step;
mod limits;
mod others;
mod register_step;
pub mod retry;
mod row_checkpoint;
mod sharing;
mod stop;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::catalog::Ledger;
use crate::copy::Expected;
use crate::database::{Claim, Database, DatabaseError, Row};
use crate::event::{Board, Event};
use crate::id::Key;
use crate::plan::{Retry, Verify};
use crate::regions::Regions;
use crate::schedule::{Fact, Outcome, Ready, Schedule};
use crate::share::Share;
use crate::survey::{Migration, SourceObject};

use others::{Watch, what_is_still_asked};

pub use limits::RunLimits;
pub use sharing::Sharing;
pub use stop::Stop;

/// Most records in one record object: a reader must be able to hold a few of them at once.
const RECORDS_MAX: usize = 1_000;

/// Longest time that a verified copy waits for others to be recorded with it.
const GATHER: Duration = Duration::from_secs(1);

/// Receives events; called from many tasks, must not wait.
pub type Emit = Arc<dyn Fn(Event) + Send + Sync>;

/// What a run works with. Shared by all its steps.
pub struct Engine {
    /// Where every fact is kept.
    pub database: Database,
    /// Who it claims rows as: this process in the database's list of runners, else this run.
    pub claimant: Uuid,
    /// The plan's regions.
    pub regions: Arc<Regions>,
    /// Whose copies go to each target region, as far as tenants are told apart there.
    pub tenants: HashMap<usize, BTreeSet<String>>,
    /// Memory, rates and slots.
    pub limits: Arc<RunLimits>,
    /// Attempts and pauses.
    pub retry: Retry,
    /// Size of a part, in bytes.
    pub part_size: u64,
    /// How copies are proved.
    pub verify: Verify,
    /// What reporters look at.
    pub board: Arc<Board>,
    /// Where events go.
    pub emit: Emit,
    /// How it is told to end early.
    pub stop: Stop,
}

/// One migration of a run.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its row, kept as the database has it.
    pub row: Row,
    /// Number of the source region.
    pub source: usize,
    /// Number of the target region.
    pub target: usize,
    /// Position of the parent's task.
    pub parent: Option<usize>,
    /// The source object; none if the copy is done or cannot be.
    pub object: Option<SourceObject>,
    /// Whether it is worked on in this run.
    pub due: bool,
}

impl Task {
    /// The task of a surveyed migration.
    #[must_use]
    pub fn new(migration: Migration, due: bool) -> Self {
        let Migration { row, source, target, parent, object, .. } = migration;
        Self { row, source, target, parent, object, due }
    }
}

/// How a step ended, and the row as it is now.
struct StepEnd {
    ready: Ready,
    outcome: Outcome,
    row: Row,
    /// Still held between two attempts.
    claim: Option<Claim>,
}

/// A step's own end, or the end of everything: the database does not take facts any more.
type Ended = Result<Vec<StepEnd>, DatabaseError>;

/// A spawned step's end.
struct Joined {
    /// Target region of a batch of registrations.
    batch_of: Option<u16>,
    /// None where it panicked: what was started then.
    ended: Result<Ended, Vec<Ready>>,
}

/// Records of target regions, each read once a run.
type Ledgers = Arc<Mutex<HashMap<usize, Ledger>>>;

/// Runs all tasks that are due to their end, or until it is told to stop. Gives the number of steps that were started.
///
/// # Errors
/// [`DatabaseError`] when a fact could not be stored: all steps are cut off, and what is not in the database will be
/// done again.
pub async fn run(engine: Arc<Engine>, tasks: Vec<Task>, sharing: Sharing) -> Result<u64, DatabaseError> {
    let facts = tasks.iter().map(|task| Fact {
        state: task.row.state,
        parent: task.parent.map(position),
        source: u16::try_from(task.source).expect("fewer than 65,536 regions"),
        target: u16::try_from(task.target).expect("fewer than 65,536 regions"),
        due: task.due,
    });
    let mut siblings: HashMap<(usize, Key), Vec<usize>> = HashMap::new();
    for (position, task) in tasks.iter().enumerate() {
        if let Some(object) = &task.object {
            siblings.entry((task.source, object.key.clone())).or_default().push(position);
        }
    }
    let schedule = Schedule::new(facts.collect(), sharing.slots());
    let (moving, moved) = mpsc::unbounded_channel();
    let mut run = Run {
        engine,
        schedule,
        tasks,
        steps: JoinSet::new(),
        moving,
        moved,
        ledgers: Ledgers::default(),
        started: 0,
        began: Instant::now(),
        gathering: BTreeMap::new(),
        registering: BTreeSet::new(),
        attempts: HashMap::new(),
        claims: HashMap::new(),
        leaving: HashMap::new(),
        siblings,
        draining: false,
        watch: Watch::default(),
        slots_of: sharing.share(),
        sharing,
    };
    // A task of its own, beside the steps on their threads: the main thread would have to be woken for each end of one.
    let running = tokio::spawn(async move {
        let engine = Arc::clone(&run.engine);
        run.watch_others();
        loop {
            tokio::select! {
                ended = run.go() => return ended.map(|()| run.started),
                () = engine.limits.follow_the_clock() => {}
                _ = engine.database.lease_ended() => {}
            }
            // Others may have its work: all steps are cut off, and nothing of theirs is written any more.
            run.begin_anew().await?;
        }
    });
    match running.await {
        Ok(started) => started,
        Err(ended) => std::panic::resume_unwind(ended.into_panic()),
    }
}

struct Run {
    engine: Arc<Engine>,
    schedule: Schedule,
    tasks: Vec<Task>,
    steps: JoinSet<Joined>,
    /// Positions of copies whose bytes are where they should be, although their rows are still to be written: what is
    /// committed last does not hold up what comes next, and both share commits.
    moving: mpsc::UnboundedSender<u32>,
    moved: mpsc::UnboundedReceiver<u32>,
    ledgers: Ledgers,
    began: Instant,
    /// Since when a target region has had something to register.
    gathering: BTreeMap<u16, Instant>,
    /// Target regions with a batch under way: one at a time, so that records gather meanwhile.
    registering: BTreeSet<u16>,
    /// Steps that were started.
    started: u64,
    attempts: HashMap<Ready, u16>,
    /// Claims held between two attempts.
    claims: HashMap<Ready, Claim>,
    /// How each running copy is told to leave its row to others.
    leaving: HashMap<u32, CancellationToken>,
    /// Positions of the tasks that copy the same object.
    siblings: HashMap<(usize, Key), Vec<usize>>,
    draining: bool,
    watch: Watch,
    sharing: Sharing,
    /// The share that the schedule knows.
    slots_of: Share,
}

impl Run {
    async fn go(&mut self) -> Result<(), DatabaseError> {
        loop {
            let stop = self.engine.stop.clone();
            if stop.draining().is_cancelled() && !self.draining {
                self.drain(stop.reason()).await?;
            }
            let cut_off = stop.cut_off().is_cancelled();
            self.take_share().await?;
            if !cut_off {
                self.start_copies();
                self.start_registers();
            }
            self.leave_beyond_slots();
            if self.steps.is_empty() && (cut_off || self.schedule.is_finished()) {
                return Ok(());
            }
            let wake = self.next_wake();
            tokio::select! {
                Some(ended) = self.steps.join_next() => {
                    self.step_ended(ended).await?;
                    // What has ended meanwhile is taken with it: looking for what is next has its price.
                    while let Some(ended) = self.steps.try_join_next() {
                        self.step_ended(ended).await?;
                    }
                }
                Some(position) = self.moved.recv() => {
                    self.schedule.moved(position);
                    while let Ok(position) = self.moved.try_recv() {
                        self.schedule.moved(position);
                    }
                }
                seen = self.watch.seen() => self.saw(seen?),
                shared = self.sharing.next() => shared?,
                () = stop.draining().cancelled(), if !self.draining => {}
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When something is to be looked at again although no step has ended.
    fn next_wake(&self) -> Instant {
        let due = self.schedule.next_due_ms().map(|at| self.began + Duration::from_millis(at));
        let gathered = self.gathering.values().min().map(|since| *since + GATHER);
        due.into_iter().chain(gathered).min().unwrap_or_else(|| Instant::now() + Duration::from_mins(1))
    }

    fn start_copies(&mut self) {
        for ready in self.schedule.start_copies(self.now_ms()) {
            let task = self.tasks[ready.position as usize].clone();
            let attempt = self.attempt(ready);
            self.claims.remove(&ready);
            let task = self.with_sibling_digest(task);
            let leave = self.engine.stop.draining().child_token();
            self.leaving.insert(ready.position, leave.clone());
            let step = copy_step::run(Arc::clone(&self.engine), task, ready, attempt, self.moving.clone(), leave);
            self.spawn(None, vec![ready], step);
        }
    }

    fn start_registers(&mut self) {
        let now = Instant::now();
        for (target, count, may_wait) in self.schedule.registrable(self.now_ms()) {
            if self.registering.contains(&target) {
                continue;
            }
            let since = *self.gathering.entry(target).or_insert(now);
            if may_wait && !self.draining && count < RECORDS_MAX && now < since + GATHER {
                continue;
            }
            self.gathering.remove(&target);
            let batch: Vec<(Ready, u16, Row)> = self
                .schedule
                .start_registers(self.now_ms(), target, RECORDS_MAX)
                .into_iter()
                .map(|ready| (ready, self.attempt(ready), self.tasks[ready.position as usize].row.clone()))
                .collect();
            self.claims.retain(|claimed, _| batch.iter().all(|(ready, ..)| ready != claimed));
            self.registering.insert(target);
            let started = batch.iter().map(|(ready, ..)| *ready).collect();
            let step =
                register_step::run(Arc::clone(&self.engine), Arc::clone(&self.ledgers), usize::from(target), batch);
            self.spawn(Some(target), started, step);
        }
    }

    /// Starts a step. One that panics is a fault of ours: it has said so, its rows fail and go on from their checkpoints in
    /// the next run, and the others are not held up.
    fn spawn(
        &mut self,
        batch_of: Option<u16>,
        started: Vec<Ready>,
        step: impl Future<Output = Ended> + Send + 'static,
    ) {
        self.started += started.len() as u64;
        self.steps.spawn(async move {
            let ended = AssertUnwindSafe(step).catch_unwind().await.map_err(|_| started);
            Joined { batch_of, ended }
        });
    }

    /// Adds the digest that the copy of the same source to another target has found meanwhile.
    fn with_sibling_digest(&self, mut task: Task) -> Task {
        let Some(object) = &mut task.object else { return task };
        let mut siblings = self.siblings.get(&(task.source, object.key.clone())).into_iter().flatten();
        let digest = siblings.find_map(|sibling| self.tasks[*sibling].row.sha256);
        object.expected.extend(digest.map(|sha256| Expected { sha256, from: "the copy in another region has" }));
        task
    }

    /// Counts an attempt of a step, from 1.
    fn attempt(&mut self, ready: Ready) -> u16 {
        let attempt = self.attempts.entry(ready).or_default();
        *attempt += 1;
        *attempt
    }

    async fn step_ended(&mut self, joined: Result<Joined, tokio::task::JoinError>) -> Result<(), DatabaseError> {
        let Joined { batch_of, ended } = joined.expect("a step's panic is caught, and none is aborted");
        if let Some(target) = batch_of {
            self.registering.remove(&target);
        }
        let ends = match ended {
            Ok(ends) => ends?,
            Err(started) => return self.panicked(started).await,
        };
        for end in ends {
            self.watch.touch(end.ready.position);
            self.leaving.remove(&end.ready.position);
            self.tasks[end.ready.position as usize].row = what_is_still_asked(end.row);
            let outcome = match end.outcome {
                Outcome::RetryAt(delay_ms) if !self.draining => {
                    self.claims.extend(end.claim.map(|claim| (end.ready, claim)));
                    Outcome::RetryAt(self.now_ms() + delay_ms)
                }
                Outcome::Held if !self.engine.is_shared() => Outcome::Stopped,
                Outcome::Held => {
                    // It was none: the row was another's.
                    self.attempts.entry(end.ready).and_modify(|attempts| *attempts = attempts.saturating_sub(1));
                    Outcome::Held
                }
                Outcome::RetryAt(_) => {
                    self.engine.give_back(end.ready.step, end.claim).await?;
                    Outcome::Stopped
                }
                outcome => outcome,
            };
            self.schedule.ended(end.ready, outcome);
        }
        Ok(())
    }

    async fn drain(&mut self, reason: String) -> Result<(), DatabaseError> {
        self.draining = true;
        self.engine.database.hurry();
        (self.engine.emit)(Event::Draining { reason });
        // Steps that wait for their next attempt will not get it: their claims are given back.
        let waiting = self.schedule.drain().into_iter().map(|ready| (ready, self.claims.remove(&ready)));
        let waiting: Vec<_> = waiting.collect();
        // At once, so that they share their commits.
        let given_back = waiting.iter().map(|(ready, claim)| self.engine.give_back(ready.step, *claim));
        try_join_all(given_back).await?;
        Ok(())
    }
}

fn position(position: usize) -> u32 {
    u32::try_from(position).expect("fewer than 2^32 migrations")
}
