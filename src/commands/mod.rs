//! One file a command. The only place where plans, stores, catalogs, database, engine and reporters are wired
//! together.

mod backup_copy;
mod check;
mod compare;
mod dry_run;
mod edited;
mod gc;
mod graph;
mod init;
mod open;
mod place;
mod recorded;
mod run;
mod saved;
mod selection;
mod settled;
mod sharing;
mod status;
mod surveyed;
mod verify;

use std::io::Write;

use crate::cli::{Cli, Command, DryRunArgs, Global, RunArgs};
use crate::error::CommandError;
use crate::exit::Exit;

/// How a command ends: with an exit code of its own, or with an error to be shown.
pub type Outcome = Result<Exit, CommandError>;

/// Does what the command line says.
///
/// # Errors
/// [`CommandError`], to be shown on stderr; its exit code is the process's.
pub async fn dispatch(cli: Cli) -> Outcome {
    let global = &cli.global;
    match cli.command {
        Command::Check(args) => check::check(global, &args).await,
        Command::Plan(args) => dry_run::dry_run(global, &args).await,
        Command::Run(RunArgs { dry_run: true, plan, selection, limits, accept_changes, .. }) => {
            let args = DryRunArgs { plan, selection, limits, accept_changes, probe_writes: false, out: None };
            dry_run::dry_run(global, &args).await
        }
        Command::Run(args) => run::run(global, &args).await,
        Command::Status(args) => status::status(global, &args).await,
        Command::Verify(args) => verify::verify(global, &args).await,
        Command::Init(args) => init::init(global, &args).await,
        Command::Graph(args) => graph::graph(global, &args).await,
        Command::Gc(args) => gc::gc(global, &args).await,
        Command::Compare(args) => compare::compare(global, &args).await,
        Command::BackupCopy(args) => backup_copy::backup_copy(global, &args).await,
    }
}

/// Data on stdout. A reader that went away is no reason to fail; a full disk is.
fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::new(Exit::Internal, "cannot write to stdout").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// Talk on stderr, unless quiet.
fn say(global: &Global, text: &str) {
    if !global.quiet {
        complain(text);
    }
}

/// What must be told on stderr even when quiet.
fn complain(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{text}");
}

/// One NDJSON line on stdout.
fn print_json(value: &serde_json::Value) -> Result<(), CommandError> {
    print(&format!("{value}\n"))
}
