//! The command line as typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::plan::{parse_bytes, parse_duration, parse_rate};

const EXIT_CODES: &str = "Exit codes: 0 done · 1 internal error · 2 plan or usage invalid · 3 some steps failed or are blocked · \
4 stopped with work left, run again to go on · 5 another run holds the database · 6 nothing could be reached · 7 an integrity check failed";

/// Moves database backups between regions and makes them restorable there.
#[derive(Debug, Parser)]
#[command(name = "backhaul", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Database of checkpoints, such as `sqlite://evacuation.db` or `postgres://me@db/backhaul`; else the plan's, else one under `$XDG_STATE_HOME/backhaul`
    #[arg(long, global = true, value_name = "URL")]
    pub database: Option<String>,
    /// For how long a runner that is not heard of keeps its work, in a database on a server
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "30s", hide_short_help = true)]
    pub lease: std::time::Duration,
    /// How often a runner is heard of; at most a third of the lease
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "10s", hide_short_help = true)]
    pub heartbeat: std::time::Duration,
    /// NDJSON on stdout, an object a line, each with a `type`
    #[arg(long, global = true)]
    pub json: bool,
    /// Only failures and the last error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// A line for each copy and registration
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Validate a plan; touches no store and no database
    Check(PlanArgs),
    /// Show what a run would do, and everything that would fail; changes nothing
    Plan(DryRunArgs),
    /// Execute a plan, or go on where the last run stopped
    Run(RunArgs),
    /// What the database says: restorable chains, failures, the last run
    Status(StatusArgs),
    /// Look at the copies again
    Verify(VerifyArgs),
    /// Write a plan from the records, or from what lies in a region
    Init(InitArgs),
    /// Draw the steps of a plan and what they wait for
    Graph(GraphArgs),
    /// Remove what dead runs left in target regions
    Gc(GcArgs),
    /// Compare two regions whole: which live backups of one the other could not restore
    Compare(CompareArgs),
    /// Copy one backup from another region and show its record, as `openstack database backup show` would
    BackupCopy(BackupCopyArgs),
}

/// A plan file.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The plan file
    pub plan: PathBuf,
}

/// Which part of a plan.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only whole chains with such a backup: tenant=T, instance=I or id=ID (source or target id); may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = only)]
    pub only: Vec<Only>,
    /// Only the first N chains, in plan order, that are not complete yet
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Try again what failed for good, too
    #[arg(long)]
    pub retry_failed: bool,
}

/// One `--only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Only {
    /// Backups of a tenant.
    Tenant(String),
    /// Backups of a database instance.
    Instance(String),
    /// One backup, by its source id, its location or its target id.
    Id(String),
}

fn only(text: &str) -> Result<Only, String> {
    match text.split_once('=') {
        Some(("tenant", value)) if !value.is_empty() => Ok(Only::Tenant(value.into())),
        Some(("instance", value)) if !value.is_empty() => Ok(Only::Instance(value.into())),
        Some(("id", value)) if !value.is_empty() => Ok(Only::Id(value.into())),
        _ => Err("expected tenant=…, instance=… or id=…".into()),
    }
}

/// Limits of the plan, for this run.
#[derive(Debug, Clone, Default, Args)]
pub struct LimitArgs {
    /// Copies at a time, 1 to 256, in place of the plan's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: Option<u16>,
    /// Bytes read per second, e.g. 50MiB/s or unlimited, in place of the plan's
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub bandwidth: Option<Ceiling>,
    /// Memory for parts, e.g. 256MiB, in place of the plan's
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    pub memory: Option<u64>,
}

/// A rate on the command line: none means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling(pub Option<u64>);

fn rate(text: &str) -> Result<Ceiling, String> {
    parse_rate(text).map(Ceiling).map_err(|error| error.to_string())
}

/// As in a plan: at least one part of the smallest size must fit.
fn memory(text: &str) -> Result<u64, String> {
    match parse_bytes(text).map_err(|error| error.to_string())? {
        bytes if bytes < 1 << 20 => Err("at least 1MiB".into()),
        bytes => Ok(bytes),
    }
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// Arguments of `plan`, and of `run --dry-run`.
#[derive(Debug, Args)]
pub struct DryRunArgs {
    /// The plan file
    pub plan: PathBuf,
    /// Which part of it.
    #[command(flatten)]
    pub selection: Selection,
    /// Limits of the plan, for this run.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// As that of run
    #[arg(long)]
    pub accept_changes: bool,
    /// Also try in each target region whether it can be written, by a write that leaves nothing behind
    #[arg(long)]
    pub probe_writes: bool,
    /// Save it as a plan of its own, which must not exist: every select replaced by what it takes now, every source pinned
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The plan file
    pub plan: PathBuf,
    /// The same as `backhaul plan`
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Which part of it.
    #[command(flatten)]
    pub selection: Selection,
    /// Limits of the plan, for this run.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Start nothing after this time, end what runs, exit 4 if work is left; e.g. 4h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub stop_after: Option<std::time::Duration>,
    /// When another run holds the database
    #[arg(long, value_enum)]
    pub if_running: Option<IfRunningArg>,
    /// Leave behind what an edited plan no longer wants; with --if-running join: work beside runs of another version of it
    #[arg(long)]
    pub accept_changes: bool,
}

/// What a run does when another one holds the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IfRunningArg {
    /// Leave with exit code 5
    Skip,
    /// Wait for it to end
    Wait,
    /// Fail with exit code 1
    Fail,
    /// Work beside runs of the same plan, on a database of a server
    Join,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The plan file; without one, all plans of the database, or the default databases
    pub plan: Option<PathBuf>,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The plan file; with --database it may be left out
    pub plan: Option<PathBuf>,
    /// quick asks for every object and record, full reads and hashes every object
    #[arg(long, value_enum, default_value_t = Depth::Full)]
    pub depth: Depth,
    /// Only so many of the copies, evenly chosen, other ones each day
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub sample: Option<f64>,
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent),
        _ => Err("expected a percentage above 0 and up to 100, such as 5%".into()),
    }
}

/// How close `verify` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Depth {
    /// Every object and record by asking for it
    Quick,
    /// Every object read and hashed
    Full,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The source region: a folder, `s3://BUCKET/PREFIX`, `gcs://BUCKET/PREFIX` or `azure://ACCOUNT/CONTAINER/PREFIX`;
    /// keys of a plan's store may follow: `'s3://vault?endpoint=https://s3.example.com&region=eu-1'`; with --regions the
    /// name of a region there
    #[arg(long, value_name = "FOLDER|URL|REGION")]
    pub from: PathBuf,
    /// A target region, as the source; may be repeated
    #[arg(long, value_name = "FOLDER|URL|REGION", required = true)]
    pub to: Vec<PathBuf>,
    /// A plan, or a file of regions, whose regions --from and --to name: the way to Swift and Trove
    #[arg(long, value_name = "FILE")]
    pub regions: Option<PathBuf>,
    /// Only backups of this tenant, by its id; may be repeated; only with --regions
    #[arg(long, value_name = "ID", requires = "regions")]
    pub tenant: Vec<String>,
    /// Name of the plan
    #[arg(long, default_value = "evacuation")]
    pub name: String,
    /// Write the plan here, which must not exist; else to stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// The plan file
    pub plan: PathBuf,
    /// How to draw it
    #[arg(short, long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
}

/// How to draw a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A line a migration, children indented
    Text,
    /// Graphviz
    Dot,
    /// Mermaid
    Mermaid,
}

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// The plan file; with --database it may be left out
    pub plan: Option<PathBuf>,
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The plan file
    pub plan: PathBuf,
    /// The region that may be switched off
    #[arg(long, value_name = "REGION")]
    pub from: String,
    /// The region that must be able to restore everything
    #[arg(long, value_name = "REGION")]
    pub to: String,
}

/// Arguments of `backup-copy`.
#[derive(Debug, Args)]
pub struct BackupCopyArgs {
    /// Name of the copy
    pub name: String,
    /// Id of the backup in its own region
    pub backup: String,
    /// The region that has it; else the only one beside the target
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The region that gets it; else `defaults: { to: … }` of the regions file
    #[arg(long, value_name = "REGION")]
    pub to: Option<String>,
    /// Description of the copy; else the backup's own
    #[arg(long)]
    pub description: Option<String>,
    /// A plan, or a file with nothing but `version`, `regions` and `defaults`; else `$XDG_CONFIG_HOME/backhaul/regions.yaml`
    #[arg(long, value_name = "FILE", env = "BACKHAUL_REGIONS")]
    pub regions: Option<PathBuf>,
    /// How to show the record
    #[arg(short, long, value_enum, default_value_t = RecordFormat::Table)]
    pub format: RecordFormat,
}

/// How to show a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// Fields and values in a frame
    Table,
    /// One JSON object
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn selections_and_percentages() {
        assert_eq!(only("tenant=t"), Ok(Only::Tenant("t".into())));
        assert!(only("tenants=t").is_err());
        assert!(only("id=").is_err());
        assert_eq!(percent("5%"), Ok(5.0));
        assert!(percent("0").is_err() && percent("101%").is_err() && percent("NaN").is_err());
    }
}
