//! `OpenStack` as processes of the test: real Keystone, two regions with Swift and Trove's API, and their databases.
//!
//! `tests/openstack/lab` starts it on free ports in a folder of its own, and ends it when this process does, however that
//! ends. Who there is, is told in `tests/openstack/identities.py`; what a tenant's backups are, in `contents.py`.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::process::{Pid, Signal};
use serde::Deserialize;
use serde_json::Value;

use super::support;

pub(crate) const ONE: &str = "region-one";
pub(crate) const TWO: &str = "region-two";

/// The exit code of `lab` where what it needs is not installed.
const NOT_INSTALLED: i32 = 77;

/// One, ended and removed when it is dropped, or when this process ends.
pub(crate) struct OpenStack {
    holder: Child,
    folder: PathBuf,
}

/// One that is shared by the tests of a process; they run beside one another unless one asked for it [alone].
///
/// [alone]: OpenStack::alone
pub(crate) struct Shared {
    openstack: &'static OpenStack,
    turn: Turn,
}

enum Turn {
    Beside(#[expect(dead_code, reason = "held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "held")] RwLockWriteGuard<'static, ()>),
}

/// A backup that was seeded, as `seed.json` tells it. Those without an object have none of what an object has.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Backup {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) region: String,
    pub(crate) container: String,
    pub(crate) datastore: String,
    pub(crate) datastore_version: String,
    pub(crate) parent_id: Option<String>,
    pub(crate) instance_id: String,
    pub(crate) size: f64,
    pub(crate) created: String,
    /// `ok`, or what is wrong with it: see `contents.py`.
    pub(crate) expect: String,
    pub(crate) location: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) object: Option<String>,
    pub(crate) sha256: Option<String>,
    pub(crate) bytes: Option<u64>,
    pub(crate) lsn: Option<String>,
    pub(crate) slo: Option<bool>,
    /// What a server on it has, for those of the real mariadb-backup.
    pub(crate) rows: Option<String>,
}

/// All that were seeded so far.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Seeds {
    backups: BTreeMap<String, Backup>,
    latest: BTreeMap<String, String>,
}

impl Seeds {
    /// `alpha/a-inc2`
    #[track_caller]
    pub(crate) fn backup(&self, name: &str) -> &Backup {
        &self.backups[self.latest.get(name).unwrap_or_else(|| panic!("{name} was not seeded"))]
    }

    /// The latest ones of a tenant, by name.
    pub(crate) fn of(&self, tenant: &str) -> Vec<&Backup> {
        let own = self.latest.iter().filter(|(name, _)| name.split_once('/').is_some_and(|(of, _)| of == tenant));
        own.map(|(_, id)| &self.backups[id]).collect()
    }

    /// It and its ancestors, the full backup first.
    pub(crate) fn chain(&self, of: &Backup) -> Vec<&Backup> {
        let mut chain = Vec::from_iter(self.backups.get(&of.id));
        while let Some(parent) = chain.last().and_then(|link| link.parent_id.as_ref()) {
            chain.push(&self.backups[parent]);
        }
        chain.reverse();
        chain
    }
}

/// What Trove's own code read of one link.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Link {
    pub(crate) location: String,
    pub(crate) checksum: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// What became of one backup.
#[derive(Debug, Deserialize)]
struct Restored {
    id: String,
    links: Option<Vec<Link>>,
    rows: Option<String>,
    why: Option<String>,
}

impl Restored {
    fn links(self) -> Result<Vec<Link>, String> {
        self.links.ok_or_else(|| self.why.unwrap_or_default())
    }
}

/// A line of the log of a region's Swift. Bytes that did not flow are 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With its query, as the client wrote it.
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// Set for a request that Swift made itself to answer another one: `SLO`, `SSC`.
    pub(crate) source: Option<String>,
    pub(crate) agent: String,
}

impl Request {
    fn of(line: &str) -> Option<Self> {
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let fields: Vec<&str> = line.split(' ').collect();
        let [method, path, status, received, sent, source, agent, _, _] = fields[..] else { return None };
        Some(Self {
            method: method.to_owned(),
            path: decoded(path),
            status: status.parse().ok()?,
            received: received.parse().unwrap_or(0),
            sent: sent.parse().unwrap_or(0),
            source: (source != "-").then(|| source.to_owned()),
            agent: decoded(agent),
        })
    }

    /// Whether Backhaul asked.
    pub(crate) fn is_ours(&self) -> bool {
        self.agent.starts_with("backhaul/")
    }

    /// Whether it asks for a change.
    pub(crate) fn writes(&self) -> bool {
        !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS")
    }
}

fn lab() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openstack/lab"));
    command.stdin(Stdio::null());
    command
}

static SHARED: OnceLock<Option<OpenStack>> = OnceLock::new();
static TURNS: RwLock<()> = RwLock::new(());

impl OpenStack {
    /// The one of this process, for a test that leaves its services alone. Without it the test is skipped, or fails
    /// where it must run.
    pub(crate) fn shared(test: &str) -> Option<Shared> {
        // A test that has failed may have left a lock poisoned; its successors are not to fail with it.
        let turn = Turn::Beside(TURNS.read().unwrap_or_else(PoisonError::into_inner));
        Self::of_process(test).map(|openstack| Shared { openstack, turn })
    }

    /// The same one, for a test that stops its services: no other test uses it meanwhile. Afterwards all run again.
    pub(crate) fn alone(test: &str) -> Option<Shared> {
        let turn = Turn::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner));
        Self::of_process(test).map(|openstack| Shared { openstack, turn })
    }

    fn of_process(test: &str) -> Option<&'static Self> {
        let openstack = SHARED.get_or_init(|| Self::start(test, &[])).as_ref();
        if openstack.is_none() {
            skip(test);
        }
        openstack
    }

    /// One with settings of its own, as the file `lab` names them: `("TOKEN_SECONDS", "20")`.
    pub(crate) fn start(test: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("openstack-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder").keep();
        let mut command = lab();
        command.arg("hold").arg(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.envs(settings.iter().map(|(name, value)| (format!("BACKHAUL_OPENSTACK_{name}"), value)));
        let mut holder = command.spawn().expect("`lab` is a program");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        if line == "ready\n" {
            return Some(Self { holder, folder });
        }
        let status = holder.wait().expect("a child");
        assert_eq!(status.code(), Some(NOT_INSTALLED), "OpenStack did not start; stderr says why");
        std::fs::remove_dir(&folder).expect("nothing was made");
        skip(test);
        None
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        lab().arg(command).arg(&self.folder).args(arguments).output().expect("`lab` is a program")
    }

    #[track_caller]
    fn succeed(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "lab {command} {arguments:?}: {} {errors}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Where `lab.json` is.
    fn file(&self) -> PathBuf {
        self.folder.join("lab.json")
    }

    /// Containers of a region, each of a tenant, for the audit.
    pub(crate) fn containers(&self, region: &'static str, containers: &[(&str, &str)]) -> support::Cloud {
        let name = |(tenant, container): &(&str, &str)| format!("AUTH_{}/{container}", self.project(tenant));
        support::Cloud { lab: self.file(), region, containers: containers.iter().map(name).collect() }
    }

    /// `lab.json`, as it is now.
    pub(crate) fn told(&self) -> Value {
        let text = std::fs::read_to_string(self.file()).expect("it is up");
        serde_json::from_str(&text).expect("JSON")
    }

    fn text(&self, pointer: &str) -> String {
        let told = self.told();
        told.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("lab.json has no {pointer}")).to_owned()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn auth_url(&self) -> String {
        self.text("/auth_url")
    }

    /// Its entries are `REGION-USER-PROJECT`; `REGION-mover` has no project, `REGION-application-credential` has mover's
    /// for alpha.
    pub(crate) fn clouds(&self) -> PathBuf {
        PathBuf::from(self.text("/clouds"))
    }

    /// The id of a project.
    pub(crate) fn project(&self, name: &str) -> String {
        self.text(&format!("/projects/{name}"))
    }

    /// The URL of a tenant's account in a region's Swift.
    pub(crate) fn account(&self, region: &str, tenant: &str) -> String {
        format!("{}/v1/AUTH_{}", self.text(&format!("/regions/{region}/swift")), self.project(tenant))
    }

    /// Where a region's Swift lets the user `test:tester` in by itself, with the key `testing`.
    pub(crate) fn temp_auth_url(&self, region: &str) -> String {
        format!("{}/auth/v1.0", self.text(&format!("/regions/{region}/swift")))
    }

    /// The URL of a region's Trove, without a project.
    pub(crate) fn trove_url(&self, region: &str) -> String {
        format!("{}/v1.0", self.text(&format!("/regions/{region}/trove")))
    }

    /// The URL of a region's Trove database, for `source` (reads) or `target` (reads, and adds backups).
    pub(crate) fn database_url(&self, region: &str, user: &str) -> String {
        self.text(&format!("/regions/{region}/database/{user}_url"))
    }

    /// The same for the owner, who may do everything there.
    pub(crate) fn owners_url(&self, region: &str) -> String {
        let database = |name: &str| self.text(&format!("/regions/{region}/database/{name}"));
        let (user, password) = (database("owner/user"), database("owner/password"));
        let place = self.database_url(region, "source");
        let (_, place) = place.rsplit_once('@').expect("a user");
        format!("mysql://{user}:{password}@{place}")
    }

    /// The id of a datastore's version in a region.
    pub(crate) fn datastore_version(&self, region: &str, datastore: &str, version: &str) -> String {
        let told = self.told();
        let known = told.pointer(&format!("/regions/{region}/datastore_versions")).and_then(Value::as_array);
        let mut known = known.expect("a list").iter();
        let found = known.find(|known| known["datastore"] == datastore && known["name"] == version);
        found.and_then(|known| known["id"].as_str()).expect("a known version").to_owned()
    }

    /// Makes projects with nothing in them, so that tests do not meet; each has its own user of the same name, and mover is a
    /// member.
    #[track_caller]
    pub(crate) fn add_tenants(&self, names: &[&str]) {
        self.succeed("tenant", names);
    }

    /// Makes backups in region-one: `alpha/standard`, `beta/small`, `alpha/many:300`, `alpha/large:40`, `alpha/mariadb`.
    #[track_caller]
    pub(crate) fn seed(&self, what: &[&str]) -> Seeds {
        self.succeed("seed", what);
        let text = std::fs::read_to_string(self.folder.join("seed.json")).expect("it has seeded");
        serde_json::from_str(&text).expect("what was seeded")
    }

    /// What Trove's restore reads of backups in a region, as the tenant, the full backup first; or why it does not.
    #[track_caller]
    pub(crate) fn try_restore_all(&self, region: &str, tenant: &str, ids: &[&str]) -> Vec<Result<Vec<Link>, String>> {
        self.restored(&[&[region, tenant], ids].concat()).into_iter().map(Restored::links).collect()
    }

    /// The same of one.
    #[track_caller]
    pub(crate) fn try_restore(&self, region: &str, tenant: &str, id: &str) -> Result<Vec<Link>, String> {
        self.try_restore_all(region, tenant, &[id]).remove(0)
    }

    /// The same of one that must be restored.
    #[track_caller]
    pub(crate) fn restore(&self, region: &str, tenant: &str, id: &str) -> Vec<Link> {
        self.try_restore(region, tenant, id).unwrap_or_else(|why| panic!("{tenant} cannot restore {id}: {why}"))
    }

    /// Restores a backup of the real mariadb-backup, starts a server on it, and says what rows that has: see
    /// [`Backup::rows`].
    #[track_caller]
    pub(crate) fn restore_in_server(&self, region: &str, tenant: &str, id: &str) -> String {
        let restored = self.restored(&[region, tenant, id, "--server"]).remove(0);
        restored.rows.unwrap_or_else(|| panic!("{tenant} cannot restore {id}: {:?}", restored.why))
    }

    #[track_caller]
    fn restored(&self, arguments: &[&str]) -> Vec<Restored> {
        let output = self.run("restore", arguments);
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        let restored: Vec<Restored> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        let asked = arguments.iter().skip(2).filter(|argument| !argument.starts_with('-'));
        assert!(restored.iter().map(|told| &*told.id).eq(asked.copied()), "restore {arguments:?}: {errors}");
        restored
    }

    /// What a region's Trove answers to a GET of a path below a project: status and body.
    #[track_caller]
    pub(crate) fn ask_trove(&self, region: &str, user: &str, project: &str, path: &str) -> (u64, Value) {
        let answer = self.succeed("ask", &[region, user, project, path]);
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        (answer["status"].as_u64().expect("a status"), answer["body"].take())
    }

    /// A backup as a region's Trove shows it to its tenant.
    #[track_caller]
    pub(crate) fn shown(&self, region: &str, tenant: &str, id: &str) -> Value {
        let (status, mut body) = self.ask_trove(region, tenant, tenant, &format!("/backups/{id}"));
        assert_eq!(status, 200, "{id}: {body}");
        body["backup"].take()
    }

    /// All backups of a tenant that a region's Trove lists.
    #[track_caller]
    pub(crate) fn listed(&self, region: &str, tenant: &str) -> Vec<Value> {
        let (status, body) = self.ask_trove(region, tenant, tenant, "/backups?limit=10000");
        assert_eq!(status, 200, "{body}");
        body["backups"].as_array().expect("a list").clone()
    }

    /// The rows that a statement gives in a region's Trove database, whose owner asks.
    #[track_caller]
    pub(crate) fn sql(&self, region: &str, statement: &str) -> Vec<Vec<String>> {
        let told = self.told();
        let database = &told["regions"][region]["database"];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"]);
        command.args([format!("--host={}", text(&database["host"])), format!("--port={}", database["port"])]);
        command.arg(format!("--user={}", text(&database["owner"]["user"])));
        command.env("MYSQL_PWD", text(&database["owner"]["password"]));
        let output = command.args(["-e", statement, &text(&database["name"])]).output().expect("mariadb starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statement}: {errors}");
        let rows = String::from_utf8(output.stdout).expect("UTF-8");
        rows.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    /// What a region's Swift was asked from outside, the oldest first. Requests are there once they are answered whole.
    pub(crate) fn swift_log(&self, region: &str) -> Vec<Request> {
        let log = std::fs::read_to_string(self.text(&format!("/regions/{region}/requests"))).expect("a log");
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let requests = whole.lines().map(|line| Request::of(line).unwrap_or_else(|| panic!("no request: {line}")));
        requests.filter(|request| request.source.is_none()).collect()
    }

    #[track_caller]
    pub(crate) fn stop_swift(&self, region: &str) {
        self.succeed("stop", &[&format!("swift-{region}")]);
    }

    #[track_caller]
    pub(crate) fn start_swift(&self, region: &str) {
        self.succeed("start", &[&format!("swift-{region}")]);
    }

    #[track_caller]
    pub(crate) fn stop_keystone(&self) {
        self.succeed("stop", &["keystone"]);
    }

    #[track_caller]
    pub(crate) fn start_keystone(&self) {
        self.succeed("start", &["keystone"]);
    }

    #[track_caller]
    pub(crate) fn stop_trove(&self, region: &str) {
        self.succeed("stop", &[&format!("trove-{region}")]);
    }

    #[track_caller]
    pub(crate) fn start_trove(&self, region: &str) {
        self.succeed("start", &[&format!("trove-{region}")]);
    }

    /// Kills the one server of all databases, Keystone's too.
    #[track_caller]
    pub(crate) fn stop_databases(&self) {
        self.succeed("stop", &["mariadb"]);
    }

    #[track_caller]
    pub(crate) fn start_databases(&self) {
        self.succeed("start", &["mariadb"]);
    }

    /// Starts Keystone anew, so that its tokens are good for so long.
    #[track_caller]
    pub(crate) fn give_tokens_of(&self, seconds: u32) {
        self.stop_keystone();
        let path = self.folder.join("keystone/keystone.conf");
        let text = std::fs::read_to_string(&path).expect("its file");
        let lines = text.lines().map(|line| match line.strip_prefix("expiration = ") {
            Some(_) => format!("expiration = {seconds}\n"),
            None => format!("{line}\n"),
        });
        std::fs::write(&path, lines.collect::<String>()).expect("it can be written");
        self.start_keystone();
    }

    /// Sends a signal to a service and its children: `keystone`, `swift-region-one-proxy`, `trove-region-two`.
    #[track_caller]
    pub(crate) fn signal(&self, service: &str, signal: Signal) {
        let kept = std::fs::read_to_string(self.folder.join("run").join(format!("{service}.pid"))).expect("it runs");
        let pid = kept.split(' ').next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        rustix::process::kill_process_group(pid.expect("a process"), signal).expect("it lives");
    }
}

fn skip(test: &str) {
    support::skip(test, "OpenStack is not installed; `tests/run` installs it");
}

impl Drop for OpenStack {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

impl Deref for Shared {
    type Target = OpenStack;

    fn deref(&self) -> &OpenStack {
        self.openstack
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if matches!(self.turn, Turn::Alone(_)) {
            let output = self.openstack.run("start", &["mariadb", "swift", "keystone", "trove"]);
            assert!(output.status.success() || std::thread::panicking(), "{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
