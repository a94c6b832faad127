//! A bed: a source region, two target regions, a plan and a database in a folder of their own, and the real binary.
//!
//! Regions have a fixed `identity:`, so two beds of one layout plan the same ids: whatever was done to a bed, its
//! [`State`] must in the end be the one of a bed that nobody disturbed.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, reason = "each test binary uses its part of it")]

mod audit;
mod layout;
mod process;
mod state;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backhaul::database::DatabaseUrl;
use tempfile::TempDir;

pub use audit::{Audit, Cloud, Findings, make, put_watched, sums, watch};
pub use layout::bytes;
pub use layout::{Layout, PART, SOURCE};
pub use process::{Running, Trace, is_stopped, wait_until};
pub use state::{
    State, bytes_read_at_most, completed_is_true, digest, files, is_true, parts_are_true, record_lines, rows, rows_at,
    rows_in, rows_with_parts, temporaries,
};

/// The program under test.
pub const BACKHAUL: &str = env!("CARGO_BIN_EXE_backhaul");

/// The names of the target regions, and of their folders in the bed.
pub const TARGETS: [&str; 2] = ["two", "three"];

/// What a command came to.
#[derive(Debug)]
pub struct Output {
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn of(output: std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }

    /// Fails the test, with all that was said, unless the command ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert!(!self.stderr.contains("panicked at"), "a panic: {self}");
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { code, signal, stdout, stderr } = self;
        write!(f, "code {code:?}, signal {signal:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// What differs from one bed to the next.
#[derive(Debug, Clone)]
pub struct Options {
    /// Lines put at the end of the plan.
    pub limits: String,
    pub attempts: u16,
    /// `store` or `read-back`.
    pub verify: &'static str,
    /// The URL of a database on a server; else it is a file of the bed.
    pub database: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: String::new(), attempts: 2, verify: "store", database: None }
    }
}

/// One bed, removed when it is dropped.
pub struct Bed {
    pub layout: Layout,
    path: PathBuf,
    options: Options,
    is_watched: Cell<bool>,
    _folder: Option<TempDir>,
}

impl Bed {
    pub fn new(layout: Layout) -> Self {
        Self::with(layout, Options::default())
    }

    pub fn with(layout: Layout, options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("bed-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder");
        let bed = Self::at(folder.path(), layout, options);
        Self { _folder: Some(folder), ..bed }
    }

    /// A bed in a folder that somebody else removes; nothing in it is touched but the plan.
    pub fn at(path: &Path, layout: Layout, options: Options) -> Self {
        let bed = Self { layout, path: path.to_owned(), options, is_watched: Cell::new(false), _folder: None };
        bed.write_plan();
        bed
    }

    /// Writes the whole plan, as it was at the beginning.
    pub fn write_plan(&self) {
        std::fs::write(self.plan(), self.plan_text(&self.layout.source())).expect("the plan can be written");
    }

    fn plan_text(&self, source: &Path) -> String {
        let Options { limits, attempts, verify, database } = &self.options;
        let database = database.as_ref().map_or("sqlite://state/bed.db", |_| "${BED_DATABASE}");
        let source = source.display();
        let mut text = format!(
            "version: 1\n\
             name: bed\n\
             database: \"{database}\"\n\
             regions:\n  \
               {SOURCE}: {{ store: {{ type: file, path: {source}, identity: bed-{SOURCE} }} }}\n",
        );
        for target in TARGETS {
            text += &format!("  {target}: {{ store: {{ type: file, path: {target}, identity: bed-{target} }} }}\n");
        }
        text += &format!(
            "defaults: {{ to: [{}], part_size: 1MiB, verify: {verify} }}\n\
             retry: {{ attempts: {attempts}, max_delay: 1s }}\n{limits}\n\
             backups:\n",
            TARGETS.join(", ")
        );
        for object in self.layout.objects() {
            text += &format!("  - {{ location: {}, from: {SOURCE}", object.name);
            if let Some(parent) = object.parent {
                text += &format!(", parent: {parent}");
            }
            text += " }\n";
        }
        text
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn plan(&self) -> PathBuf {
        self.path().join("plan.yaml")
    }

    /// In a folder of its own, so that it can be a file system of its own.
    pub fn database(&self) -> PathBuf {
        self.path().join("state/bed.db")
    }

    /// The same, or the one on a server.
    pub fn database_url(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.database_text()).expect("a URL")
    }

    pub(crate) fn database_text(&self) -> String {
        let file = || format!("sqlite://{}", self.database().display());
        self.options.database.clone().unwrap_or_else(file)
    }

    pub fn target(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The binary with `arguments`, before it is started: stdin empty, the environment without anything of ours.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BACKHAUL);
        command.args(arguments);
        self.settle(&mut command);
        command
    }

    /// `backhaul run PLAN` and more arguments.
    pub fn run_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(&["run"]);
        command.arg(self.plan()).args(arguments);
        command
    }

    /// As [`Bed::run`], with more arguments.
    pub fn run_with(&self, arguments: &[&str]) -> Output {
        Output::of(self.run_command(arguments).output().expect("the binary starts"))
    }

    pub(crate) fn settle(&self, command: &mut Command) {
        for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL"] {
            command.env_remove(name);
        }
        if let Some(url) = &self.options.database {
            command.env("BED_DATABASE", url);
        }
        command.current_dir(self.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Runs the plan to the end of the process.
    pub fn run(&self) -> Output {
        Output::of(self.run_command(&["-v"]).output().expect("the binary starts"))
    }

    /// Runs the plan, which ends at the n-th passage of a point.
    pub fn run_until(&self, point: &str, n: usize) -> Output {
        self.run_until_fault(&format!("{point}:{n}"))
    }

    /// Runs the plan with a value of `BACKHAUL_FAULT`.
    pub fn run_until_fault(&self, fault: &str) -> Output {
        let mut command = self.run_command(&["-v"]);
        Output::of(command.env("BACKHAUL_FAULT", fault).output().expect("the binary starts"))
    }

    /// `backhaul status`, which must work whatever happened before, and its answer.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let mut command = self.command(&["status", "--json"]);
        let output = Output::of(command.arg(self.plan()).output().expect("the binary starts")).expect(0);
        serde_json::from_str(&output.stdout).expect("one line of JSON")
    }

    /// Runs the plan again, undisturbed, and holds the bed against one that never was disturbed; `kills` runs were
    /// killed before.
    #[track_caller]
    pub fn completes(&self, kills: u64, what: &str) {
        let output = self.run();
        assert_eq!(output.code, Some(0), "{what}: the next run did not complete: {output}");
        self.is_complete(kills, what);
    }

    /// Holds the bed against one that never was disturbed; `kills` runs were killed before.
    #[track_caller]
    pub fn is_complete(&self, kills: u64, what: &str) {
        let state = State::of(self);
        let undisturbed = self.layout.undisturbed();
        assert_eq!(state.rows, undisturbed.rows, "{what}: other rows than undisturbed");
        assert_eq!(state.files, undisturbed.files, "{what}: other bytes than undisturbed");
        assert_eq!(state.records, undisturbed.records, "{what}: other records than undisturbed");
        assert_eq!(temporaries(self), Vec::<PathBuf>::new(), "{what}: left behind");
        bytes_read_at_most(self, kills, what);
        self.final_audit().holds(what);
    }
}

/// Says loudly that a test could not run here; where it must (`BACKHAUL_TESTS_MUST_RUN=1`, as in CI), it fails.
pub fn skip(test: &str, why: &str) {
    let must = std::env::var("BACKHAUL_TESTS_MUST_RUN").is_ok_and(|value| value == "1");
    assert!(!must, "{test} must run here, and cannot: {why}");
    // Past the test harness, which keeps what a passing test prints to itself.
    let text = format!("\n*** SKIPPED: {test}: {why} ***\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}

/// Faults last as long as CI has time for; with `BACKHAUL_FAULTS_IN_FULL=1` as long as they do for operators.
pub fn in_full<T>(scaled: T, full: T) -> T {
    if std::env::var("BACKHAUL_FAULTS_IN_FULL").is_ok_and(|value| value == "1") { full } else { scaled }
}

/// Whether this process may mount.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
