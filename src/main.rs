//! Parses the command line, runs the command, and turns its end into an exit code.

use std::io::Write;
use std::process::ExitCode;

use backhaul::cli::Cli;
use backhaul::report::printable;
use backhaul::{commands, exit::Exit};
use clap::Parser;

/// Threads for disk and hash. Small objects would else start hundreds, which then mostly wake each other; fewer would
/// let one folder that hangs hold up the others.
const BLOCKING_THREADS: usize = 128;

/// Threads for the network, for each core: the other half of them hashes, and two threads that hand small objects to
/// each other spend more on waking one another than the second one brings.
fn network_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn main() -> ExitCode {
    // What is written is for its owner alone: databases, copies, records.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let cli = Cli::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().worker_threads(network_threads()).max_blocking_threads(BLOCKING_THREADS);
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("error: cannot start the runtime\ncaused by: {error}"), Exit::Internal),
    };
    let outcome = runtime.block_on(commands::dispatch(cli));
    // A blocked disk must not hold up the end: what is not checkpointed is done again.
    runtime.shutdown_background();
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => fail(&error.to_string(), error.exit),
    }
}

fn fail(text: &str, exit: Exit) -> ExitCode {
    // Names and what servers say are in it, and a terminal obeys what it reads.
    let lines: Vec<_> = text.lines().map(printable).collect();
    // Nobody may be there to read it.
    let _ = writeln!(std::io::stderr(), "{}", lines.join("\n"));
    exit.into()
}
