//! Any number of runners on one plan, by a virtual clock and without IO: the project's own schedule, states, leases, pauses
//! and shares, driven by simulated runners against a model of the database, stores and catalogs, through crashes, pauses
//! longer than a lease, clocks that are set, answers that are lost and errors of stores. Each seed is one such story, and
//! the same each time:
//!
//! `BACKHAUL_SIMULATOR_SEED=123 cargo test --test simulator one_seed -- --nocapture` tells all of it.

#[path = "simulator/case.rs"]
mod case;
#[path = "simulator/database.rs"]
mod database;
#[path = "simulator/invariants.rs"]
mod invariants;
#[path = "simulator/machine.rs"]
mod machine;
#[path = "simulator/queue.rs"]
mod queue;
#[path = "simulator/runner.rs"]
mod runner;
#[path = "simulator/shares.rs"]
mod shares;
#[path = "simulator/simulation.rs"]
mod simulation;
#[path = "simulator/steps.rs"]
mod steps;
#[path = "simulator/tally.rs"]
mod tally;
#[path = "simulator/world.rs"]
mod world;
#[path = "simulator/writer.rs"]
mod writer;

use case::Mutant;
use simulation::Simulation;
use tally::Tally;

/// Stories that are told each time that the tests run. `BACKHAUL_SIMULATOR_SEEDS` is another number.
const SEEDS: u64 = 50_000;

/// A planted bug is found within so many.
const SEEDS_OF_A_MUTANT: u64 = 5_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn replay(seed: u64) -> String {
    format!("BACKHAUL_SIMULATOR_SEED={seed} cargo test --test simulator one_seed -- --nocapture")
}

#[test]
fn whatever_goes_wrong_the_plan_is_done_once() {
    let mut sum = Tally::default();
    for seed in 0..number("BACKHAUL_SIMULATOR_SEEDS").unwrap_or(SEEDS) {
        let mut simulation = Simulation::new(seed, None, false);
        if let Err(violation) = simulation.run() {
            panic!("seed {seed}: {violation}\n{}", replay(seed));
        }
        sum.add(&simulation.tally);
    }
    println!("{sum:?}");
    assert!(sum.has_met_everything(), "{sum:?}");
}

#[test]
fn one_seed() {
    let seed = number("BACKHAUL_SIMULATOR_SEED").unwrap_or_default();
    let mut simulation = Simulation::new(seed, None, true);
    let ended = simulation.run();
    println!("{}", simulation.trace.unwrap_or_default());
    assert_eq!(ended, Ok(()), "seed {seed}");
}

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let found = (0..SEEDS_OF_A_MUTANT).find_map(|seed| {
            let violation = Simulation::new(seed, Some(mutant), false).run().err()?;
            Some((seed, violation))
        });
        println!("{mutant:?}: {found:?}");
        if found.is_none() {
            missed.push(mutant);
        }
    }
    assert_eq!(missed, []);
}
