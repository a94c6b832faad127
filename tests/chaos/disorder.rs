//! What is done to runners and their database, by a seed.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::crew::{Crew, Kept, LEASE, Work};
use super::database_server::DatabaseServer;
use super::outcome::{Leases, is_right};
use super::own_network::Network;
use super::s3::{Gate, On, Operation};
use super::sentry::Sentry;
use super::support::wait_until;
use super::tell;

/// Between two looks.
const TICK: Duration = Duration::from_millis(20);

/// A plan that takes longer is stuck.
const PATIENCE: Duration = Duration::from_mins(10);

/// What can be done to one runner, or to the database of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Keep(Kept),
    Restart,
}

/// What each plan has to bear, in any order.
const FAULTS: [Fault; 6] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Keep(Kept::Stopped),
    Fault::Keep(Kept::Parted),
    Fault::Keep(Kept::Parted),
    Fault::Restart,
];

/// What was done, and what came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) plans: usize,
    pub(crate) kills: usize,
    pub(crate) stops: usize,
    pub(crate) partitions: usize,
    pub(crate) restarts: usize,
    /// Longest time in which the database let nobody in.
    pub(crate) longest_restart: Duration,
    pub(crate) leases: Leases,
    pub(crate) violations: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plans, kills, stops, partitions, restarts, longest_restart, leases, violations } = self;
        let Leases { renewed, lost, lost_in_silence, lost_under_load } = leases;
        write!(
            f,
            "plans {plans}, kills {kills}, stops {stops}, partitions {partitions}, restarts of the database {restarts} \
             (the longest {} ms), leases renewed {renewed}, lost by who was kept from the database {lost}, by others \
             while it answered nobody {lost_in_silence} and while it answered {lost_under_load}, violations {violations}",
            longest_restart.as_millis()
        )
    }
}

/// A crew, and what it still has to bear.
struct Beset {
    crew: Crew,
    faults: Vec<Fault>,
    /// Open once it has borne all: however slow the machine is, it is not done before.
    gate: Option<Gate>,
    /// None until something is copied: who has not begun has nothing to lose.
    next_at: Option<Instant>,
    /// It bears more and more, less often; its oldest runner is never killed.
    lasts: bool,
}

pub(crate) struct Disorder<'network> {
    network: &'network Network,
    server: DatabaseServer,
    /// Addresses at which the database cannot be reached now.
    parted: BTreeSet<String>,
    sentry: Sentry,
    runtime: Runtime,
    random: fastrand::Rng,
    all: Vec<Beset>,
    is_calm: bool,
    tally: Tally,
}

impl<'network> Disorder<'network> {
    pub(crate) fn on(server: DatabaseServer, network: &'network Network) -> Self {
        let seed = match std::env::var("BACKHAUL_TESTS_SEED") {
            Ok(seed) => seed.parse().expect("BACKHAUL_TESTS_SEED is a number"),
            Err(_) => fastrand::u64(..),
        };
        tell(&format!("BACKHAUL_TESTS_SEED={seed}"));
        let sentry = Sentry::at(server.url(server.first(), server.port));
        Self {
            network,
            server,
            parted: BTreeSet::new(),
            sentry,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
            random: fastrand::Rng::with_seed(seed),
            all: Vec::new(),
            is_calm: false,
            tally: Tally::default(),
        }
    }

    pub(crate) const fn tally(&self) -> Tally {
        self.tally
    }

    /// Lets crews work on plans, some at a time, until all are finished.
    pub(crate) fn finishes(&mut self, plans: impl IntoIterator<Item = Work>, at_once: usize) {
        let mut waiting: VecDeque<Work> = plans.into_iter().collect();
        while !waiting.is_empty() || !self.all.is_empty() {
            while self.all.len() < at_once
                && let Some(work) = waiting.pop_front()
            {
                self.begins(&work, false);
            }
            self.goes_on();
        }
    }

    /// Does nothing to anybody any more.
    pub(crate) const fn calms(&mut self) {
        self.is_calm = true;
    }

    /// Plans that are worked on.
    pub(crate) const fn under_way(&self) -> usize {
        self.all.len()
    }

    /// Who works on the plan that lasts.
    pub(crate) fn lasting(&self) -> Option<&Crew> {
        self.all.iter().find(|one| one.lasts).map(|one| &one.crew)
    }

    /// Lets a crew work on one plan more.
    pub(crate) fn begins(&mut self, work: &Work, lasts: bool) {
        let (crew, faults) = (Crew::new(&self.server, work), self.faults());
        let gate = work.held.map(|key| crew.bed.source.hold(On::the(Operation::GetObject).key(key)));
        self.all.push(Beset { crew, faults, gate, next_at: None, lasts });
    }

    /// Lets a moment pass.
    pub(crate) fn goes_on(&mut self) {
        for mut one in std::mem::take(&mut self.all) {
            if one.crew.goes_on() {
                self.strike(&mut one);
                self.all.push(one);
            } else {
                self.ended(&one.crew);
            }
        }
        self.part(self.all.iter().flat_map(|one| one.crew.parted()).collect());
        std::thread::sleep(TICK);
    }

    fn faults(&mut self) -> Vec<Fault> {
        let mut faults = FAULTS.to_vec();
        self.random.shuffle(&mut faults);
        faults
    }

    fn pause(&mut self, ms: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(ms))
    }

    /// Does the next thing to one of them, if it is time.
    fn strike(&mut self, one: &mut Beset) {
        assert!(one.lasts || one.crew.began.elapsed() < PATIENCE, "stuck:\n{}", one.crew.said());
        if self.is_calm || one.faults.is_empty() {
            one.gate = None;
        }
        if self.is_calm || one.crew.is_done() {
            return;
        }
        let Some(next_at) = one.next_at else {
            one.next_at = one.crew.has_begun().then(|| Instant::now() + self.pause(200..600));
            return;
        };
        if Instant::now() < next_at {
            return;
        }
        if one.lasts && one.faults.is_empty() {
            one.faults = self.faults();
        }
        let Some(fault) = one.faults.pop() else { return };
        let mut slots = one.crew.at_large();
        slots.retain(|slot| *slot > 0 || !one.lasts || fault != Fault::Kill);
        let Some(slot) = self.random.choice(slots) else { return one.faults.push(fault) };
        match fault {
            Fault::Kill => {
                one.crew.kill(slot);
                self.tally.kills += 1;
            }
            Fault::Keep(Kept::Stopped) => {
                one.crew.keep(slot, Kept::Stopped, LEASE + self.pause(500..2_000));
                self.tally.stops += 1;
            }
            // Some end before the lease does.
            Fault::Keep(Kept::Parted) => {
                one.crew.keep(slot, Kept::Parted, self.pause(1_000..6_000));
                self.tally.partitions += 1;
            }
            Fault::Restart => self.restart(),
        }
        one.next_at = Some(Instant::now() + self.pause(if one.lasts { 3_000..8_000 } else { 300..900 }));
    }

    /// Lets the network lose what goes to the database by these addresses, and what comes back.
    fn part(&mut self, parted: BTreeSet<String>) {
        if parted == self.parted {
            return;
        }
        let port = self.server.port;
        let rules = parted.iter().map(|address| {
            format!("ip daddr {address} tcp dport {port} drop\nip saddr {address} tcp sport {port} drop\n")
        });
        self.network.load(&format!(
            "flush ruleset\ntable ip parted {{\nchain arriving {{\ntype filter hook input priority 0; policy accept;\n{}}}\n}}\n",
            rules.collect::<String>()
        ));
        self.parted = parted;
    }

    /// Ends the database in the middle of whatever it does, and starts it again.
    fn restart(&mut self) {
        let began = Instant::now();
        self.server.stop();
        self.server.resume();
        let asked = || self.runtime.block_on(self.server.number(self.server.first(), "SELECT CAST(1 AS BIGINT)"));
        wait_until("the database is there again", || asked().is_some());
        self.tally.restarts += 1;
        self.tally.longest_restart = self.tally.longest_restart.max(began.elapsed());
    }

    /// Looks at what a crew leaves, and takes its database away.
    fn ended(&mut self, crew: &Crew) {
        self.judge(crew);
        let drop = format!("DROP DATABASE {} WITH (FORCE)", crew.database_name());
        self.runtime.block_on(self.server.execute(self.server.first(), &drop));
    }

    fn judge(&mut self, crew: &Crew) {
        self.tally.plans += 1;
        let mut silences = self.sentry.silences();
        silences.retain(|(_, until_ms)| *until_ms >= crew.began_ms);
        let Ok(leases) = catch_unwind(AssertUnwindSafe(|| is_right(crew, &silences))) else {
            self.tally.violations += 1;
            return tell(&crew.said());
        };
        self.tally.leases.add(leases);
    }
}
