//! `tests/audit`, which looks from outside at what runs have left, and shares no code with them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use backhaul::database::{Database, DatabaseUrl, Holder};
use backhaul::lease::Terms;
use serde::Deserialize;

use super::{Bed, Output, SOURCE, TARGETS, skip};

/// What it has found.
#[derive(Debug, Deserialize)]
pub struct Findings {
    /// How often each invariant was looked at.
    pub checked: BTreeMap<String, u64>,
    /// Each begins with the invariant's number.
    pub violations: Vec<String>,
}

/// A look that is about to be taken.
#[derive(Debug)]
pub struct Audit {
    command: Option<Command>,
    /// What it is to look at at least once.
    must: BTreeSet<&'static str>,
}

impl Audit {
    /// At a database, by the URL with its password.
    pub fn of(database: &str) -> Self {
        let command = program("check").map(|mut command| {
            command.arg(database);
            command
        });
        Self { command, must: BTreeSet::new() }
    }

    fn with(mut self, option: &str, name: &str, place: &Path) -> Self {
        if let Some(command) = &mut self.command {
            command.arg(option).arg(format!("{name}={}", place.to_str().expect("UTF-8")));
        }
        self
    }

    /// Finding nothing to look at is a violation.
    pub fn must(mut self, invariants: &[&'static str]) -> Self {
        self.must.extend(invariants);
        self
    }

    /// And at a target region.
    pub fn region(self, name: &str, folder: &Path) -> Self {
        self.with("--region", name, folder)
    }

    /// And at what its copies should be.
    pub fn source(self, name: &str, folder: &Path) -> Self {
        self.with("--source", name, folder)
    }

    /// And at what others have put into a target: it is what [`sums`] said of it before the first run.
    pub fn others(self, name: &str, file: &Path) -> Self {
        self.with("--others", name, file)
    }

    /// And at a target in a cloud, of which [`Cloud::remember`] has written a file before the first run.
    pub fn cloud(self, name: &str, file: &Path) -> Self {
        self.with("--cloud", name, file).must(&["I1", "I4", "I6", "I13", "I16"])
    }

    /// And at a source in a cloud, of which `file` says where it is.
    pub fn cloud_source(self, name: &str, file: &Path, cloud: &Cloud) -> Self {
        let Cloud { lab, region, containers } = cloud;
        let text = serde_json::json!({ "lab": lab, "region": region, "containers": containers }).to_string();
        std::fs::write(file, text).expect("writable");
        self.with("--cloud-source", name, file).must(&["I8"])
    }

    /// And at the requests that a store got.
    pub fn log(self, name: &str, file: &Path) -> Self {
        self.with("--log", name, file)
    }

    fn file(mut self, option: &str, file: &Path, text: &serde_json::Value) -> Self {
        if let Some(command) = &mut self.command {
            std::fs::write(file, text.to_string()).expect("writable");
            command.arg(option).arg(file);
        }
        self
    }

    /// And whether the requests in the logs keep limits, which are written to `file`: `bandwidth` and `concurrency` of all
    /// stores, and for `regions` these and `requests_per_second`, over any `window_ms`.
    pub fn limits(self, file: &Path, limits: &serde_json::Value) -> Self {
        self.file("--limits", file, limits).must(&["I17", "I18"])
    }

    /// And whether runners begin to write while they have a lease: of each its `access_key_id`, its `pid`, and in `slept` from
    /// when to when it was stopped.
    pub fn crew(self, file: &Path, crew: &serde_json::Value) -> Self {
        self.file("--crew", file, crew).must(&["I20"])
    }

    /// And whether nothing was written since `ms`, when a dry run (`I7`) or a run of a finished plan (`I9`) began.
    pub fn quiet(mut self, invariant: &'static str, ms: u128) -> Self {
        if let Some(command) = &mut self.command {
            command.arg("--quiet").arg(format!("{invariant}={ms}"));
        }
        self.must(&[invariant])
    }

    /// And whether more of an object was read or sent than there is of it, but for so many bytes.
    pub fn twice(mut self, bytes: u64) -> Self {
        if let Some(command) = &mut self.command {
            command.arg("--twice").arg(bytes.to_string());
        }
        self.must(&["I5"])
    }

    /// And whether one of these lies anywhere.
    pub fn without(mut self, secrets: &[&str]) -> Self {
        if let Some(command) = &mut self.command {
            command.env("AUDIT_SECRETS", secrets.join("\n"));
        }
        self.must(&["I23"])
    }

    /// And whether a place is what it was when [`sums`] were taken of it.
    pub fn sums(self, file: &Path, place: &Path) -> Self {
        let file = file.to_str().expect("UTF-8").to_owned();
        self.with("--sums", &file, place).must(&["I8"])
    }

    /// And at every change of a row: its database was watched from the start.
    pub fn watched(self) -> Self {
        self.must(&["I2", "I12"])
    }

    /// All is done: nothing may be left over.
    pub fn finished(mut self) -> Self {
        if let Some(command) = &mut self.command {
            command.arg("--finished");
        }
        self.must(&["I6", "I21"])
    }

    /// Takes the look; none where there is no Python.
    #[track_caller]
    pub fn findings(self) -> Option<Findings> {
        let output = Output::of(self.command?.output().expect("`python3` starts"));
        assert!(matches!(output.code, Some(0 | 1)), "the audit could not look: {output}");
        let mut findings: Findings = serde_json::from_str(&output.stdout).expect(&output.stdout);
        for invariant in self.must {
            if !findings.checked.contains_key(invariant) {
                findings.violations.push(format!("{invariant}: there was nothing to look at"));
            }
        }
        Some(findings)
    }

    /// Takes the look, and fails the test if anything is not as it must be.
    #[track_caller]
    pub fn holds(self, what: &str) {
        let violations = self.findings().map(|findings| findings.violations).unwrap_or_default();
        assert!(violations.is_empty(), "{what}: the audit found\n{}", violations.join("\n"));
    }
}

/// None where there is no Python.
fn program(subcommand: &str) -> Option<Command> {
    let mut command = Command::new(python()?);
    // Without what a user has installed: it starts in half the time.
    command.args(["-ESsB", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/audit"), subcommand]);
    Some(command)
}

/// The interpreter itself, not a script that looks for one.
fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let find = || {
        let found = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let found = found.ok().filter(|found| found.status.success());
        if found.is_none() {
            skip("the audit", "`python3` is not installed");
        }
        Some(String::from_utf8(found?.stdout).expect("a UTF-8 path").trim().to_owned())
    };
    PYTHON.get_or_init(find).as_deref()
}

/// Lets the database write down every change of a row from now on. It has Backhaul's tables, and nobody writes.
#[track_caller]
pub fn watch(database: &str) {
    if let Some(mut watch) = program("watch") {
        Output::of(watch.arg(database).output().expect("`python3` starts")).expect(0);
    }
}

/// Size and digest of all that lies at a place now, for [`Audit::sums`].
#[track_caller]
pub fn sums(place: &Path) -> String {
    let mut sums = program("sums").expect("`python3`");
    Output::of(sums.arg(place).output().expect("`python3` starts")).expect(0).stdout
}

/// Containers in a region of the tests' `OpenStack`.
#[derive(Debug)]
pub struct Cloud {
    /// Where its `lab.json` is.
    pub lab: PathBuf,
    pub region: &'static str,
    /// Such as `AUTH_ID/database_backups`.
    pub containers: Vec<String>,
}

impl Cloud {
    /// Writes down what lies there now, for [`Audit::cloud`]; from now on its Trove's rows are watched.
    #[track_caller]
    pub fn remember(&self, file: &Path) {
        if let Some(mut remember) = program("remember") {
            let output = remember.arg(&self.lab).arg(self.region).args(&self.containers).output();
            let said = Output::of(output.expect("`python3` starts")).expect(0).stdout;
            std::fs::write(file, said).expect("writable");
        }
    }
}

/// Puts a database where none is yet: it has its tables and no row, and is watched.
pub fn put_watched(database: &Path) {
    static WATCHED: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = WATCHED.get_or_init(|| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let file = folder.path().join("watched.db");
        make(&format!("sqlite://{}", file.display()));
        std::fs::read(file).expect("a database")
    });
    std::fs::create_dir_all(database.parent().expect("a folder")).expect("a folder");
    std::fs::write(database, bytes).expect("a database");
}

/// Makes Backhaul's tables in an empty database, and watches it.
pub fn make(database: &str) {
    let url = DatabaseUrl::parse(database).expect("a URL");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let holder = Holder::this_process("test", None);
        let made = Database::open_writing(&url, &holder, Terms::DEFAULT, false).await.expect("a database");
        made.close().await;
    });
    watch(database);
}

impl Bed {
    /// Gives the bed a database that is watched; the first run makes none then.
    pub fn watch(&self) {
        match &self.options.database {
            Some(url) => make(url),
            None => put_watched(&self.database()),
        }
        self.is_watched.set(true);
    }

    /// The audit of its database, both targets and the source.
    pub fn audit(&self) -> Audit {
        let audit = Audit::of(&self.database_text()).source(SOURCE, &self.layout.source());
        let audit = match self.options.database.as_deref().and_then(password) {
            Some(password) => audit.without(&[password]),
            None => audit,
        };
        TARGETS.iter().fold(audit, |audit, target| audit.region(target, &self.target(target)))
    }

    /// The same after a run that has done all.
    pub fn final_audit(&self) -> Audit {
        let audit = self.audit().finished().must(&["I1", "I3", "I4", "I11"]);
        if self.is_watched.get() { audit.watched() } else { audit }
    }
}

/// The password in the URL of a database.
fn password(url: &str) -> Option<&str> {
    let (user, _) = url.split_once("://")?.1.split_once('@')?;
    Some(user.split_once(':')?.1)
}
