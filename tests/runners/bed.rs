//! A plan of small and large backups, some in chains, from a folder to a folder, and what a database saw of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backhaul::database::{Database, DatabaseUrl, Holder};
use backhaul::lease::Terms;
use backhaul::state::State;
use sea_orm::{ConnectionTrait, QueryResult};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::database_server::{DatabaseServer, Kind};
use super::support::{Audit, BACKHAUL, Running, files, record_lines, watch};

/// Of every runner here.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

const SMALL: usize = 57;
const LARGE: usize = 3;
const LARGE_BYTES: usize = 4 << 20;

/// A database server, with a runtime to ask it.
pub(crate) struct Server {
    process: Mutex<DatabaseServer>,
    kind: Kind,
    made: AtomicU32,
    runtime: Runtime,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Result<Self, String> {
        let process = Mutex::new(DatabaseServer::start(kind)?);
        let runtime = Runtime::new().expect("a runtime");
        Ok(Self { process, kind, made: AtomicU32::new(0), runtime })
    }

    /// A new database with Backhaul's tables.
    fn new_database(&self) -> String {
        let name = format!("runners_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let process = self.process.lock().expect("no panic meanwhile");
        let (first, url) = (process.url(process.first(), process.port), process.url(&name, process.port));
        self.runtime.block_on(async {
            let connection = sea_orm::Database::connect(first).await.expect("it lets its root in");
            connection.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("made");
            let place = DatabaseUrl::parse(&url).expect("a URL");
            let holder = Holder::this_process("test", None);
            let made = Database::open_writing(&place, &holder, Terms::DEFAULT, false).await.expect("made");
            made.close().await;
        });
        url
    }

    const fn witness(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::MariaDb => &[
                "CREATE TABLE witness (number INTEGER PRIMARY KEY AUTO_INCREMENT, id VARCHAR(36), was VARCHAR(32), \
                 is_now VARCHAR(32), old_claim BIGINT, new_claim BIGINT, old_owner VARCHAR(36), new_owner VARCHAR(36), \
                 old_lease_left BIGINT)",
                "CREATE TRIGGER seen AFTER UPDATE ON backups FOR EACH ROW INSERT INTO witness \
                 (id, was, is_now, old_claim, new_claim, old_owner, new_owner, old_lease_left) VALUES \
                 (OLD.id, OLD.state, NEW.state, OLD.claim, NEW.claim, OLD.claimed_by, NEW.claimed_by, \
                 (SELECT lease_until_ms - CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED) FROM runners \
                 WHERE runners.id = OLD.claimed_by))",
            ],
            Kind::PostgreSql => &[
                "CREATE TABLE witness (number SERIAL, id TEXT, was TEXT, is_now TEXT, old_claim BIGINT, \
                 new_claim BIGINT, old_owner TEXT, new_owner TEXT, old_lease_left BIGINT)",
                "CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN INSERT INTO witness \
                 (id, was, is_now, old_claim, new_claim, old_owner, new_owner, old_lease_left) VALUES \
                 (OLD.id, OLD.state, NEW.state, OLD.claim, NEW.claim, OLD.claimed_by, NEW.claimed_by, \
                 (SELECT lease_until_ms - CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) FROM runners \
                 WHERE runners.id = OLD.claimed_by)); RETURN NULL; END $$",
                "CREATE TRIGGER seen AFTER UPDATE ON backups FOR EACH ROW EXECUTE FUNCTION note()",
            ],
        }
    }
}

/// One change of a row.
#[derive(Debug)]
struct Change {
    id: String,
    states: [State; 2],
    claims: [i64; 2],
    owners: [Option<String>; 2],
    /// What was left of the lease of who had the row before, in milliseconds; none if they have left the list.
    old_lease_left: Option<i64>,
}

impl Change {
    fn read(row: &QueryResult) -> Self {
        let text = |name| row.try_get_by::<String, _>(name).expect("a text");
        let state = |name| text(name).parse().expect("a state");
        let number = |name| row.try_get_by::<i64, _>(name).expect("a number");
        let owner = |name| row.try_get_by::<Option<String>, _>(name).expect("an owner");
        Self {
            id: text("id"),
            states: [state("was"), state("is_now")],
            claims: [number("old_claim"), number("new_claim")],
            owners: [owner("old_owner"), owner("new_owner")],
            old_lease_left: row.try_get_by("old_lease_left").expect("a number"),
        }
    }

    /// Whether somebody else has the row afterwards.
    fn changes_hands(&self) -> bool {
        matches!(&self.owners, [Some(old), Some(new)] if old != new)
    }
}

pub(crate) struct Bed<'a> {
    server: &'a Server,
    backups: usize,
    folder: TempDir,
    url: String,
}

impl<'a> Bed<'a> {
    /// `bandwidth` makes time for what is done to runners.
    pub(crate) fn new(server: &'a Server, bandwidth: &str) -> Self {
        let size = |number| if number < LARGE { LARGE_BYTES + number } else { 3_000 + 17 * number };
        let sizes: Vec<usize> = (0..LARGE + SMALL).map(size).collect();
        Self::of(server, &sizes, &format!("concurrency: 3, bandwidth: {bandwidth}"))
    }

    /// Backups of these sizes, copied within `limits`.
    pub(crate) fn of(server: &'a Server, sizes: &[usize], limits: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("runners-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let bed = Self { server, backups: sizes.len(), folder: folder.expect("a folder"), url: server.new_database() };
        let source = bed.folder.path().join("one");
        std::fs::create_dir_all(&source).expect("writable");
        std::fs::create_dir_all(bed.target()).expect("writable");
        let mut plan = format!(
            "version: 1\nname: shared\nregions:\n  \
             one: {{ store: {{ type: file, path: one, identity: one }} }}\n  \
             two: {{ store: {{ type: file, path: two, identity: two }} }}\n\
             defaults: {{ to: [two], part_size: 1MiB }}\n\
             limits: {{ {limits} }}\n\
             retry: {{ attempts: 3, max_delay: 1s }}\nbackups:\n"
        );
        for (number, size) in sizes.iter().enumerate() {
            let bytes: Vec<u8> = (0..*size).map(|at| (at / 7 * 31 + number).to_le_bytes()[0]).collect();
            std::fs::write(source.join(name(number)), bytes).expect("writable");
            plan += &format!("  - {{ location: {}, from: one", name(number));
            if number % 4 > 0 {
                plan += &format!(", parent: {}", name(number - 1));
            }
            plan += " }\n";
        }
        std::fs::write(bed.plan(), plan).expect("writable");
        for statement in server.witness() {
            bed.execute(statement);
        }
        watch(&bed.url);
        bed
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.folder.path().join("plan.yaml")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("two")
    }

    /// A run that joins others, on a lease of [`LEASE`].
    pub(crate) fn join(&self) -> Running {
        self.run(&["--if-running", "join"])
    }

    /// The same on a host whose clock is wrong by so much, as `faketime` writes it; what counts time itself goes right.
    pub(crate) fn join_at_another_time(&self, offset: &str) -> Running {
        let mut command = Command::new("faketime");
        command.args(["-f", offset, BACKHAUL]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.start(command, &["--if-running", "join"])
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Running {
        self.start(Command::new(BACKHAUL), arguments)
    }

    fn start(&self, mut command: Command, arguments: &[&str]) -> Running {
        let lease = format!("{}s", LEASE.as_secs());
        command.arg("run").arg(self.plan()).args(["--lease", &lease, "--heartbeat", "1s"]).args(arguments);
        command.env("BACKHAUL_DATABASE_URL", &self.url).env_remove("BACKHAUL_FAULT");
        command.current_dir(self.folder.path());
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn execute(&self, sql: &str) {
        self.server.runtime.block_on(async {
            let connection = sea_orm::Database::connect(&self.url).await.expect("it lets its root in");
            connection.execute_unprepared(sql).await.expect(sql);
            connection.close().await.expect("closed");
        });
    }

    fn ask(&self, sql: &str) -> Vec<QueryResult> {
        self.server.runtime.block_on(async {
            let connection = sea_orm::Database::connect(&self.url).await.expect("it lets its root in");
            let question = sea_orm::Statement::from_string(connection.get_database_backend(), sql);
            let answers = connection.query_all_raw(question).await.expect(sql);
            connection.close().await.expect("closed");
            answers
        })
    }

    fn count(&self, sql: &str) -> i64 {
        self.ask(sql)[0].try_get_by_index(0).expect("a number")
    }

    /// Rows that a process has.
    pub(crate) fn rows_of(&self, pid: u32) -> i64 {
        self.count(&format!(
            "SELECT COUNT(*) FROM backups JOIN runners ON runners.id = backups.claimed_by WHERE runners.pid = {pid}"
        ))
    }

    /// Parts stored of what a process has.
    pub(crate) fn parts_of(&self, pid: u32) -> i64 {
        self.count(&format!(
            "SELECT COUNT(*) FROM parts JOIN backups ON backups.id = parts.backup_id JOIN runners \
             ON runners.id = backups.claimed_by WHERE runners.pid = {pid}"
        ))
    }

    /// Copies under way in these processes.
    pub(crate) fn copies_of(&self, pids: &[u32]) -> i64 {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        self.count(&format!(
            "SELECT COUNT(*) FROM backups JOIN runners ON runners.id = backups.claimed_by \
             WHERE backups.state = 'BUILDING' AND runners.pid IN ({})",
            pids.join(", ")
        ))
    }

    fn changes(&self) -> Vec<Change> {
        self.ask("SELECT * FROM witness ORDER BY number").iter().map(Change::read).collect()
    }

    /// Rows that say of anything done to them that it was not today.
    pub(crate) fn rows_of_other_days(&self) -> i64 {
        let now = match self.server.kind {
            Kind::MariaDb => "CAST(UNIX_TIMESTAMP() AS SIGNED) * 1000",
            Kind::PostgreSql => "CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) * 1000",
        };
        let of = |column: &str| format!("ABS({column} - {now}) > 86400000");
        let any = ["planned_ms", "changed_ms", "completed_ms"].map(of).join(" OR ");
        self.count(&format!("SELECT COUNT(*) FROM backups WHERE {any}"))
    }

    /// Everybody who ever claimed a row.
    pub(crate) fn owners(&self) -> BTreeSet<String> {
        self.changes().into_iter().filter_map(|change| change.owners.into_iter().nth(1).flatten()).collect()
    }

    /// How long after the end of their leases the rows of dead runners were claimed by others.
    pub(crate) fn taken_over_after(&self) -> Vec<Duration> {
        let changes = self.changes().into_iter().filter(Change::changes_hands);
        let left = changes.filter_map(|change| change.old_lease_left);
        left.map(|left| Duration::from_millis(u64::try_from(-left).expect("over"))).collect()
    }

    /// All is copied and recorded, once each, and what the database saw is legal. `deaths` runners had what they did
    /// last undone.
    #[track_caller]
    pub(crate) fn is_complete(&self, deaths: u64) {
        let unfinished = self.ask("SELECT id FROM backups WHERE state <> 'COMPLETED' OR claimed_by IS NOT NULL");
        assert!(unfinished.is_empty(), "{} rows are not COMPLETED", unfinished.len());
        assert_eq!(self.count("SELECT COUNT(*) FROM backups"), i64::try_from(self.backups).expect("small"));
        assert_eq!(self.count("SELECT COUNT(*) FROM parts"), 0, "parts are left");
        assert_eq!(
            self.count("SELECT COUNT(*) FROM runners"),
            i64::try_from(deaths_left(deaths, self)).expect("small")
        );

        let (source, target) = (self.folder.path().join("one"), self.target());
        for number in 0..self.backups {
            let same = std::fs::read(source.join(name(number))).ok() == std::fs::read(target.join(name(number))).ok();
            assert!(same, "{} is not what its source is", name(number));
        }
        let objects = files(&target).into_iter().filter(|path| !is_record(&target, path));
        assert_eq!(objects.count(), self.backups, "something else lies in the target");
        let mut records: BTreeMap<String, usize> = BTreeMap::new();
        for (_, record) in record_lines(&target) {
            *records.entry(record.id.to_string()).or_default() += 1;
        }
        assert_eq!(records.len(), self.backups);
        assert!(records.values().all(|count| *count == 1), "recorded twice: {records:?}");
        self.changes_are_legal();

        // Each death costs the parts that were under way, no more: three of each of three copies.
        let read = self.ask("SELECT CAST(SUM(bytes_read) AS CHAR(20)), CAST(SUM(bytes) AS CHAR(20)) FROM backups");
        let number =
            |at| read[0].try_get_by_index::<String>(at).expect("a sum").trim().parse::<u64>().expect("a number");
        let (read, size) = (number(0), number(1));
        assert!(read <= size + deaths * 9 * (1 << 20), "{read} bytes were read of {size}");
        let audit = Audit::of(&self.url).source("one", &source).region("two", &target);
        audit.watched().finished().must(&["I1", "I3", "I4", "I11"]).holds("several runners");
    }

    /// Tokens only grow, states change legally, and only who has a row changes it.
    #[track_caller]
    fn changes_are_legal(&self) {
        let changes = self.changes();
        let mut completed: BTreeMap<&str, usize> = BTreeMap::new();
        let mut copied: BTreeMap<&str, usize> = BTreeMap::new();
        for change in &changes {
            let ([was, is_now], [old, new]) = (change.states, change.claims);
            assert!(new == old || new == old + 1, "{change:?}");
            assert!(was == is_now || was.may_become(is_now), "{change:?}");
            if change.changes_hands() {
                assert_eq!(new, old + 1, "{change:?}");
                assert!(change.old_lease_left.is_none_or(|left| left <= 0), "taken from a live runner: {change:?}");
            }
            match (was, is_now) {
                (State::Building, State::Saving) => *copied.entry(&change.id).or_default() += 1,
                (State::Saving, State::Completed) => *completed.entry(&change.id).or_default() += 1,
                _ => {}
            }
        }
        for done in [copied, completed] {
            assert_eq!(done.len(), self.backups);
            assert!(done.values().all(|times| *times == 1), "{done:?}");
        }
    }
}

/// Runners that were killed stay in the list for people to see; those that slept have left it in the end.
fn deaths_left(deaths: u64, bed: &Bed<'_>) -> usize {
    let live = bed.count("SELECT COUNT(*) FROM runners");
    usize::try_from(live).expect("small").min(usize::try_from(deaths).expect("small"))
}

fn is_record(target: &Path, path: &Path) -> bool {
    path.strip_prefix(target).is_ok_and(|path| path.starts_with(".backhaul"))
}

/// `chain-07-2`: the second link of the seventh chain.
fn name(number: usize) -> String {
    format!("chain-{:02}-{}.xbstream.gz", number / 4, number % 4)
}
