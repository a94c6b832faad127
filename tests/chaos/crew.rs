//! Three runners on one plan: who is gone is replaced until one of them says that all is done.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::bed::{Bed, Object, Options, Route, SECRETS};
use super::database_server::DatabaseServer;
use super::s3;
use super::support::Running;
use super::witnessed::Witnessed;

/// Of every runner here.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// Runners of a plan.
pub(crate) const SLOTS: usize = 3;

/// A key of the target for each runner of a plan, by the order in which they are started, and more than are.
static KEYS: LazyLock<Vec<(&str, &str)>> = LazyLock::new(|| {
    let key = |number: usize| -> &'static str { format!("AKIDTARGET{number}").leak() };
    (0..4096).map(|number| (key(number), SECRETS[1])).collect()
});

/// One plan.
pub(crate) struct Work {
    pub(crate) number: usize,
    pub(crate) objects: Vec<Object>,
    /// Of all its runners together: makes time for what is done to them.
    pub(crate) bytes_per_second: u64,
    /// What no source gives away until all is done to its runners that is to be done.
    pub(crate) held: Option<&'static str>,
}

/// A runner that ended.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) pid: u32,
    pub(crate) code: Option<i32>,
    pub(crate) was_killed: bool,
    pub(crate) said: String,
}

/// What keeps a runner from its database for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// By SIGSTOP.
    Stopped,
    /// Its packets to the database are lost, and the database's to it.
    Parted,
}

/// When a runner was kept from its database, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Away {
    kept: Kept,
    pid: u32,
    from_ms: i64,
    until_ms: i64,
}

struct Runner {
    running: Running,
    log: PathBuf,
    was_killed: bool,
    kept: Option<(Kept, Instant)>,
}

/// Who works on a plan, and where.
pub(crate) struct Crew {
    pub(crate) bed: Bed,
    pub(crate) database: Witnessed,
    pub(crate) began: Instant,
    /// The same, in milliseconds since 1970.
    pub(crate) began_ms: i64,
    pub(crate) gone: Vec<Gone>,
    number: usize,
    slots: [Option<Runner>; SLOTS],
    started: usize,
    /// Of all that were started.
    pids: Vec<u32>,
    away: Vec<Away>,
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

impl Crew {
    pub(crate) fn new(server: &DatabaseServer, work: &Work) -> Self {
        let database = Witnessed::make(server, &Self::name(work.number));
        let limits = format!("limits: {{ concurrency: 6, bandwidth: {}KiB/s }}", work.bytes_per_second >> 10);
        let of_target = s3::Options { more_keys: KEYS.clone(), ..Options::default().target };
        let options = Options {
            target: of_target,
            attempts: 10,
            timeout: "1m",
            limits: limits.leak(),
            database: Some(database.url.clone()),
            ..Options::default()
        };
        Self {
            bed: Bed::with(Route::Between, work.objects.clone(), options),
            database,
            began: Instant::now(),
            began_ms: now_ms(),
            gone: Vec::new(),
            number: work.number,
            slots: [const { None }; SLOTS],
            started: 0,
            pids: Vec::new(),
            away: Vec::new(),
        }
    }

    fn name(number: usize) -> String {
        format!("chaos_{number}")
    }

    /// What its database is called.
    pub(crate) fn database_name(&self) -> String {
        Self::name(self.number)
    }

    /// Where runners in that place look for the database: an address of the loopback that nobody else uses.
    fn address(&self, slot: usize) -> String {
        format!("127.0.{}.{}", 1 + self.number % 250, 2 + slot)
    }

    /// Of runners that are parted from their database now.
    pub(crate) fn parted(&self) -> BTreeSet<String> {
        let parted = (0..SLOTS).filter(|at| self.kept(*at) == Some(Kept::Parted));
        parted.map(|at| self.address(at)).collect()
    }

    fn kept(&self, slot: usize) -> Option<Kept> {
        self.slots[slot].as_ref()?.kept.map(|(kept, _)| kept)
    }

    fn start(&mut self, slot: usize) -> Runner {
        self.started += 1;
        let log = self.log(self.started);
        let said = File::create(&log).expect("writable");
        let lease = format!("{}s", LEASE.as_secs());
        let arguments = ["-v", "--if-running", "join", "--lease", &lease, "--heartbeat", "1s"];
        let mut command = self.bed.command("run", &arguments);
        command.env("BACKHAUL_DATABASE_URL", self.database.url.replace("127.0.0.1", &self.address(slot)));
        command.stdout(said.try_clone().expect("writable")).stderr(said);
        // By which the target's log tells who has asked.
        command.env("TARGET_ID", KEYS[self.started].0);
        let running = Running::start(&mut command);
        self.pids.push(running.pid());
        Runner { running, log, was_killed: false, kept: None }
    }

    /// Whether anything is copied.
    pub(crate) fn has_begun(&self) -> bool {
        !self.bed.copies().is_empty()
    }

    /// Whether somebody has said that all is done.
    pub(crate) fn is_done(&self) -> bool {
        self.gone.iter().any(|gone| gone.code == Some(0))
    }

    /// Looks who has ended and puts others in their places, and lets those go on who were kept long enough; false when
    /// all is done and all are gone.
    pub(crate) fn goes_on(&mut self) -> bool {
        for slot in &mut self.slots {
            let Some(runner) = slot.take_if(|runner| runner.running.has_ended()) else { continue };
            let pid = runner.running.pid();
            let output = runner.running.wait();
            let said = std::fs::read_to_string(&runner.log).expect("its log");
            self.gone.push(Gone { pid, code: output.code, was_killed: runner.was_killed, said });
        }
        for runner in self.slots.iter_mut().flatten() {
            if let Some((Kept::Stopped, _)) = runner.kept.take_if(|(_, until)| *until <= Instant::now()) {
                runner.running.signal(Signal::CONT);
                let pid = runner.running.pid();
                let away = self.away.iter_mut().rev().find(|away| away.pid == pid);
                away.expect("it was put to sleep").until_ms = now_ms();
            }
        }
        let is_done = self.is_done();
        for at in 0..SLOTS {
            if self.slots[at].is_none() && !is_done {
                self.slots[at] = Some(self.start(at));
            }
        }
        self.slots.iter().any(Option::is_some)
    }

    /// All that its runners said.
    pub(crate) fn said(&self) -> String {
        let logs = (1..=self.started).map(|number| {
            let log = std::fs::read_to_string(self.log(number)).unwrap_or_default();
            format!("--- runner {number}\n{log}")
        });
        logs.collect()
    }

    fn log(&self, number: usize) -> PathBuf {
        self.bed.path().join(format!("runner-{number}.log"))
    }

    /// The runner in the first place.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.slots[0].as_ref().map(|runner| runner.running.pid())
    }

    /// Places whose runners nothing is done to now.
    pub(crate) fn at_large(&self) -> Vec<usize> {
        (0..SLOTS).filter(|at| self.slots[*at].as_ref().is_some_and(|runner| runner.kept.is_none())).collect()
    }

    /// Kills the runner in that place.
    pub(crate) fn kill(&mut self, slot: usize) {
        let runner = self.slots[slot].as_mut().expect("one that is at large");
        runner.running.signal(Signal::KILL);
        runner.was_killed = true;
    }

    /// Keeps the runner in that place from its database. (That it is parted takes rules in the network.)
    pub(crate) fn keep(&mut self, slot: usize, kept: Kept, time: Duration) {
        let runner = self.slots[slot].as_mut().expect("one that is at large");
        if kept == Kept::Stopped {
            runner.running.signal(Signal::STOP);
        }
        runner.kept = Some((kept, Instant::now() + time));
        let (pid, from_ms) = (runner.running.pid(), now_ms());
        let until_ms = from_ms + i64::try_from(time.as_millis()).expect("short");
        self.away.push(Away { kept, pid, from_ms, until_ms });
    }

    /// Whether a runner was kept from its database at any time between the two.
    pub(crate) fn was_away(&self, pid: u32, from_ms: i64, until_ms: i64) -> bool {
        self.away.iter().any(|away| away.pid == pid && away.from_ms <= until_ms && from_ms <= away.until_ms)
    }

    /// Who has signed with which key, and when they were stopped, for the audit.
    pub(crate) fn signers(&self) -> Value {
        let signers = self.pids.iter().zip(&KEYS[1..]).map(|(pid, (key, _))| {
            let slept = self.away.iter().filter(|away| away.pid == *pid && away.kept == Kept::Stopped);
            let slept: Vec<_> = slept.map(|away| [away.from_ms, away.until_ms]).collect();
            json!({ "access_key_id": key, "pid": pid, "slept": slept })
        });
        signers.collect()
    }

    /// How often something was done to its runners.
    pub(crate) fn disturbances(&self) -> u64 {
        (self.gone.iter().filter(|gone| gone.was_killed).count() + self.away.len()) as u64
    }
}
