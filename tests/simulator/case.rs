//! What one seed stands for: a plan, limits, who runs it, and what goes wrong when.

use std::collections::BTreeMap;
use std::time::Duration;

use backhaul::lease::Terms;
use backhaul::schedule::Slots;
use fastrand::Rng;

/// A bug planted in the model or in the simulated runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// The claim is left out of the WHERE of every write.
    NoClaimInWhere,
    /// Somebody else's claim is taken although its owner is live.
    LiveOwnerRobbed,
    /// A row is taken over under the token that it had.
    TakeoverKeepsToken,
    /// Who wakes up does not look at its lease before it writes.
    LeaseIgnored,
    /// Leases are counted by a clock that people and NTP set.
    LeaseByWallClock,
    /// The catalog takes a second record of a backup.
    RecordedTwice,
    /// A child is registered without a look at its parent.
    ChildDoesNotWait,
    /// A transaction without an answer is sent again without a look whether it was committed.
    BlindRepeat,
    /// A joiner uses its share before the others have made room.
    JoinerTakesAtOnce,
    /// A share is used on after the lease under which it was had is over.
    ShareOutlivesLease,
    /// Who gives slots up says so before the copies in them have ended.
    SharesWhatIsInUse,
    /// A claim that a runner cannot go on with, because others have all slots, is kept.
    ClaimWithoutSlot,
    /// A claim under a lease that was over is kept under the next one, although nothing goes on with it.
    ClaimOutlivesLease,
    /// What another has given up is tried again by who had seen it at work.
    GivenUpIsTriedAgain,
}

impl Mutant {
    pub(crate) const ALL: [Self; 14] = [
        Self::NoClaimInWhere,
        Self::LiveOwnerRobbed,
        Self::TakeoverKeepsToken,
        Self::LeaseIgnored,
        Self::LeaseByWallClock,
        Self::RecordedTwice,
        Self::ChildDoesNotWait,
        Self::BlindRepeat,
        Self::JoinerTakesAtOnce,
        Self::ShareOutlivesLease,
        Self::SharesWhatIsInUse,
        Self::ClaimWithoutSlot,
        Self::ClaimOutlivesLease,
        Self::GivenUpIsTriedAgain,
    ];
}

/// One migration of the plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) parent: Option<usize>,
    pub(crate) source: u16,
    pub(crate) target: u16,
    pub(crate) parts: u32,
    /// The source's object is gone: it can never be copied.
    pub(crate) gone: bool,
}

/// What goes wrong at a time. Who is meant is a number to be taken modulo those that are there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The process is gone, with no word to anybody.
    Crash(usize),
    /// The process stands still for so long, or its whole machine, whose wall clock knows nothing of it then.
    Pause { who: usize, length: u64, with_clock: bool },
    /// SIGTERM: what runs is ended, and nothing more is begun.
    Drain(usize),
    /// The wall clock of a machine is set.
    ClockSet(usize, i64),
    /// No database for so long.
    Outage(u64),
    /// One more runner.
    Runner,
}

/// How often what is sent goes wrong, in per mille.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Odds {
    /// The database never gets it.
    pub(crate) lost: u32,
    /// The database has done it, and nobody hears so.
    pub(crate) unheard: u32,
    /// It is on its way for up to two leases.
    pub(crate) late: u32,
    /// A store or catalog says to try again, having done it or not.
    pub(crate) busy: u32,
    /// A store or catalog says no.
    pub(crate) refused: u32,
}

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) terms: Terms,
    pub(crate) plan: Vec<Migration>,
    pub(crate) limits: Slots,
    pub(crate) attempts: u16,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) odds: Odds,
    /// From here on nothing goes wrong.
    pub(crate) quiet_ms: u64,
    /// Runners at once, at most.
    pub(crate) runners: usize,
}

impl Case {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let plan = plan(rng);
        let mut limits = Slots { total: rng.u16(1..=4), regions: BTreeMap::new() };
        for region in 0..=2 {
            if rng.u8(0..4) == 0 {
                limits.regions.insert(region, rng.u16(1..=2));
            }
        }
        let runners = rng.usize(1..=4);
        let is_calm = rng.u8(0..16) == 0;
        let quiet_ms = if is_calm { 0 } else { rng.u64(2_000..20_000) };
        let per_mille = |rng: &mut Rng, most: u32| if rng.bool() { rng.u32(0..most) } else { 0 };
        let mut case = Self {
            terms: Terms::new(Duration::from_secs(6), Duration::from_secs(2)).expect("a third"),
            plan,
            limits,
            attempts: rng.u16(1..=4),
            faults: Vec::new(),
            odds: Odds::default(),
            quiet_ms,
            runners,
        };
        // The first comes at once, the others at about the same time or later.
        case.faults.push((0, Fault::Runner));
        for _ in 1..runners {
            let at = if rng.bool() { rng.u64(0..1_000) } else { rng.u64(0..=quiet_ms) };
            case.faults.push((at, Fault::Runner));
        }
        if !is_calm {
            case.odds = Odds {
                lost: per_mille(rng, 60),
                unheard: per_mille(rng, 60),
                late: per_mille(rng, 20),
                busy: per_mille(rng, 150),
                refused: per_mille(rng, 20),
            };
            for _ in 0..rng.usize(0..6) {
                let fault = fault(rng);
                case.faults.push((rng.u64(0..quiet_ms), fault));
            }
            case.faults.push((quiet_ms, Fault::Runner));
        }
        case
    }
}

fn plan(rng: &mut Rng) -> Vec<Migration> {
    let length = 1 + rng.usize(0..8).min(rng.usize(0..8));
    let mut plan: Vec<Migration> = Vec::new();
    let mut depths: Vec<u32> = Vec::new();
    for row in 0..length {
        let above = (row > 0 && rng.bool()).then(|| rng.usize(0..row)).filter(|above| depths[*above] < 3);
        let target = above.map_or_else(|| rng.u16(1..=2), |above| plan[above].target);
        depths.push(above.map_or(1, |above| depths[above] + 1));
        let gone = rng.u8(0..24) == 0;
        plan.push(Migration { parent: above, source: 0, target, parts: rng.u32(u32::from(gone)..=2), gone });
    }
    plan
}

fn fault(rng: &mut Rng) -> Fault {
    let who = rng.usize(0..4);
    match rng.u8(0..10) {
        0..3 => Fault::Crash(who),
        3..6 => Fault::Pause { who, length: rng.u64(500..14_000), with_clock: rng.bool() },
        6 => Fault::Drain(who),
        7 => Fault::ClockSet(who, rng.i64(-20_000..20_000)),
        8 => Fault::Outage(rng.u64(200..10_000)),
        _ => Fault::Runner,
    }
}
