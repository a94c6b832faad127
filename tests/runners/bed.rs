//! A plan of small and large backups, some in chains, from a folder to a folder, and what a database saw of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backhaul::database::DatabaseUrl;
use sea_orm::QueryResult;
use tempfile::TempDir;

use super::database_server::{DatabaseServer, Kind};
use super::support::{Audit, BACKHAUL, Running, files, in_full, record_lines, watch};
use super::witnessed::{Change, Witnessed};

/// Of every runner here.
pub(crate) fn lease() -> Duration {
    in_full(Duration::from_secs(3), Duration::from_secs(30))
}

const SMALL: usize = 57;
const LARGE: usize = 3;
const LARGE_BYTES: usize = 4 << 20;

/// A database server.
pub(crate) struct Server {
    process: Mutex<DatabaseServer>,
    made: AtomicU32,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Result<Self, String> {
        Ok(Self { process: Mutex::new(DatabaseServer::start(kind)?), made: AtomicU32::new(0) })
    }

    /// A new database with Backhaul's tables, and a witness in it.
    pub(crate) fn new_database(&self) -> Witnessed {
        let name = format!("runners_{}", self.made.fetch_add(1, Ordering::Relaxed));
        Witnessed::make(&self.process.lock().expect("no panic meanwhile"), &name)
    }
}

pub(crate) struct Bed {
    backups: usize,
    folder: TempDir,
    database: Witnessed,
}

impl Bed {
    /// `bandwidth` makes time for what is done to runners.
    pub(crate) fn new(server: &Server, bandwidth: &str) -> Self {
        let size = |number| if number < LARGE { LARGE_BYTES + number } else { 3_000 + 17 * number };
        let sizes: Vec<usize> = (0..LARGE + SMALL).map(size).collect();
        Self::of(server, &sizes, &format!("concurrency: 3, bandwidth: {bandwidth}"))
    }

    /// Backups of these sizes, copied within `limits`.
    pub(crate) fn of(server: &Server, sizes: &[usize], limits: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("runners-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let (folder, database) = (folder.expect("a folder"), server.new_database());
        let bed = Self { backups: sizes.len(), folder, database };
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
        watch(&bed.database.url);
        bed
    }

    pub(crate) fn plan(&self) -> PathBuf {
        self.folder.path().join("plan.yaml")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("two")
    }

    /// A run that joins others, on a lease of [`lease`].
    pub(crate) fn join(&self) -> Running {
        self.run(&["--if-running", "join"])
    }

    /// The same on a host whose clock is wrong by so much, as `faketime` writes it; what counts time itself goes right.
    pub(crate) fn join_at_another_time(&self, offset: &str) -> Running {
        let mut command = Command::new("faketime");
        command.args(["-f", offset, BACKHAUL]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        self.start(command, &["--if-running", "join"])
    }

    /// The same on a host that has the plan and not the source's folder: there another folder is mounted where the bed is.
    pub(crate) fn join_without_source(&self) -> Running {
        let elsewhere = self.folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).expect("a new folder");
        std::fs::copy(self.plan(), elsewhere.join("plan.yaml")).expect("writable");
        let mut command = Command::new("unshare");
        std::fs::create_dir(elsewhere.join("two")).expect("a new folder");
        let script =
            "mount --bind \"$2/two\" \"$1/two\" && mount --rbind \"$1\" \"$2\" && cd \"$2\" && shift 2 && exec \"$@\"";
        command.args(["--mount", "sh", "-ec", script, "sh"]).args([&elsewhere, self.folder.path()]).arg(BACKHAUL);
        self.start(command, &["--if-running", "join"])
    }

    /// The same on a host whose clock somebody sets: by as much as stands in a file, at any moment.
    pub(crate) fn join_with_the_clock_of(&self, file: &Path) -> Running {
        let mut command = Command::new("faketime");
        command.args(["-f", "+0s", "env", "-u", "FAKETIME", BACKHAUL]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
        self.start(command, &["--if-running", "join"])
    }

    /// A run that joins others, and stops at a point until somebody lets it go on.
    pub(crate) fn join_and_stop_at(&self, point: &str) -> Running {
        let mut command = Command::new("env");
        command.args([&format!("BACKHAUL_FAULT={point}:1:stop"), BACKHAUL]);
        self.start(command, &["--if-running", "join"])
    }

    /// All that lies in the target and what the database says of it, but for the runners' own list.
    pub(crate) fn all(&self) -> (BTreeMap<PathBuf, Vec<u8>>, Vec<String>) {
        let read = |path: PathBuf| (path.clone(), std::fs::read(path).expect("readable"));
        let rows = self.ask("SELECT CONCAT(id, ' ', state, ' ', claim, ' ', location, ' ', sha256, ' ', verified, ' ', record) AS said FROM backups ORDER BY id");
        let said = |row: &QueryResult| row.try_get("", "said").expect("a text");
        (files(&self.target()).into_iter().map(read).collect(), rows.iter().map(said).collect())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Running {
        self.start(Command::new(BACKHAUL), arguments)
    }

    fn start(&self, mut command: Command, arguments: &[&str]) -> Running {
        let [lease, heartbeat] = [lease(), lease() / 3].map(|time| format!("{}s", time.as_secs()));
        command.arg("run").arg(self.plan()).args(["--lease", &lease, "--heartbeat", &heartbeat]).args(arguments);
        command.env("BACKHAUL_DATABASE_URL", &self.database.url).env_remove("BACKHAUL_FAULT");
        command.current_dir(self.folder.path());
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn ask(&self, sql: &str) -> Vec<QueryResult> {
        self.database.ask(sql)
    }

    fn count(&self, sql: &str) -> i64 {
        self.database.count(sql)
    }

    /// Rows that a process has.
    pub(crate) fn rows_of(&self, pid: u32) -> i64 {
        self.count(&format!(
            "SELECT COUNT(*) FROM backups JOIN runners ON runners.id = backups.claimed_by WHERE runners.pid = {pid}"
        ))
    }

    /// Of all that is stored so far.
    pub(crate) fn bytes_read(&self) -> i64 {
        let number = match self.database.kind {
            Kind::MariaDb => "SIGNED",
            Kind::PostgreSql => "BIGINT",
        };
        self.count(&format!("SELECT CAST(COALESCE(SUM(bytes_read), 0) AS {number}) FROM backups"))
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

    /// Rows that say of anything done to them that it was not today.
    pub(crate) fn rows_of_other_days(&self) -> i64 {
        let now = self.now_ms();
        let of = |column: &str| format!("ABS({column} - {now}) > 86400000");
        let any = ["planned_ms", "changed_ms", "completed_ms"].map(of).join(" OR ");
        self.count(&format!("SELECT COUNT(*) FROM backups WHERE {any}"))
    }

    /// Its database as people are shown it.
    pub(crate) fn database_shown(&self) -> DatabaseUrl {
        DatabaseUrl::parse(&self.database.url).expect("a URL")
    }

    /// Whether a process has a connection to the server.
    pub(crate) fn is_asked_by(&self, pid: u32) -> bool {
        let (_, server) = self.database.url.rsplit_once(':').expect("a port");
        let (port, _) = server.split_once('/').expect("a database");
        let port = format!(":{:04X}", port.parse::<u16>().expect("a port"));
        let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
        let sockets = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let inodes: Vec<String> = sockets
            .filter(|socket| socket.get(2).is_some_and(|remote| remote.ends_with(&port)))
            .filter_map(|socket| Some(format!("socket:[{}]", socket.get(9)?)))
            .collect();
        let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        let mut open = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        open.any(|file| inodes.iter().any(|inode| file.as_os_str() == inode.as_str()))
    }

    /// Processes whose leases are not over.
    pub(crate) fn live(&self) -> Vec<i64> {
        let live = self.ask(&format!("SELECT pid FROM runners WHERE lease_until_ms > {}", self.now_ms()));
        live.iter().map(|row| row.try_get("", "pid").expect("a number")).collect()
    }

    /// When the last but one took or renewed a lease for the last time, and the last one for the first, in milliseconds
    /// since 1970.
    pub(crate) fn came_and_went(&self) -> [i64; 2] {
        let leases = self.database.leases();
        let came = leases.iter().rposition(|taken| taken.left_ms.is_none()).expect("a runner");
        [leases[came - 1].at_ms, leases[came].at_ms]
    }

    /// The server's clock, in its own words.
    const fn now_ms(&self) -> &'static str {
        match self.database.kind {
            Kind::MariaDb => "CAST(UNIX_TIMESTAMP() AS SIGNED) * 1000",
            Kind::PostgreSql => "CAST(EXTRACT(EPOCH FROM now()) AS BIGINT) * 1000",
        }
    }

    /// Everybody who ever claimed a row.
    pub(crate) fn owners(&self) -> BTreeSet<String> {
        self.database.owners()
    }

    /// How long after the end of their leases the rows of dead runners were claimed by others.
    pub(crate) fn taken_over_after(&self) -> Vec<Duration> {
        let changes = self.database.changes().into_iter().filter(Change::changes_hands);
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
        self.database.changes_are_legal(self.backups);

        // Each death costs the parts that were under way, no more: three of each of three copies.
        let read = self.ask("SELECT CAST(SUM(bytes_read) AS CHAR(20)), CAST(SUM(bytes) AS CHAR(20)) FROM backups");
        let number =
            |at| read[0].try_get_by_index::<String>(at).expect("a sum").trim().parse::<u64>().expect("a number");
        let (read, size) = (number(0), number(1));
        assert!(read <= size + deaths * 9 * (1 << 20), "{read} bytes were read of {size}");
        let audit = Audit::of(&self.database.url).source("one", &source).region("two", &target);
        audit.watched().finished().must(&["I1", "I3", "I4", "I11"]).holds("several runners");
    }
}

/// Runners that were killed stay in the list for people to see; those that slept have left it in the end.
fn deaths_left(deaths: u64, bed: &Bed) -> usize {
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
