//! Database servers as processes of the test: on a free port of this machine, in a folder of their own, ended with it.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use tempfile::TempDir;

/// `nobody`: neither server runs as root.
const NOBODY: u32 = 65_534;

/// What a server may take to start on a busy machine.
const START: Duration = Duration::from_mins(1);

const ROOT_PASSWORD: &str = "root-pw";

/// What a server of `MariaDB` needs that is to have replicas.
pub(crate) const WITH_A_LOG: [&str; 2] = ["--log-bin=log", "--server-id=1"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    MariaDb,
    PostgreSql,
}

/// A server that runs, or was stopped for a while; what it holds goes with it.
pub(crate) struct DatabaseServer {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    process: Option<Child>,
    folder: TempDir,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Drop for DatabaseServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl DatabaseServer {
    /// One that was just made; or what is missing here.
    pub(crate) fn start(kind: Kind) -> Result<Self, String> {
        Self::start_with(kind, |_| Vec::new())
    }

    /// One with more arguments, which may name files that are put into its folder.
    pub(crate) fn start_with(kind: Kind, arguments: impl FnOnce(&Path) -> Vec<String>) -> Result<Self, String> {
        let program = match kind {
            Kind::MariaDb => program("mariadbd", &["/usr/sbin", "/usr/libexec"]),
            Kind::PostgreSql => {
                let mut places: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
                    .collect();
                places.sort();
                let places: Vec<&str> = places.iter().rev().filter_map(|path| path.to_str()).collect();
                program("postgres", &places)
            }
        };
        let Some(program) = program else { return Err(format!("{kind:?} is not installed")) };
        let folder = tempfile::tempdir().expect("a folder");
        give_to_server(folder.path());
        let arguments = arguments(folder.path());
        let mut server = Self { kind, port: free_port(), process: None, folder, program, arguments };
        server.make();
        server.resume();
        Ok(server)
    }

    /// The URL of one of its databases, through a port of this machine.
    pub(crate) fn url(&self, name: &str, port: u16) -> String {
        let scheme = match self.kind {
            Kind::MariaDb => "mysql",
            Kind::PostgreSql => "postgres",
        };
        format!("{scheme}://root:{ROOT_PASSWORD}@127.0.0.1:{port}/{name}")
    }

    /// The database that is there from the start.
    pub(crate) const fn first(&self) -> &'static str {
        match self.kind {
            Kind::MariaDb => "mysql",
            Kind::PostgreSql => "postgres",
        }
    }

    /// Ends it at once, in the middle of whatever it does.
    pub(crate) fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        match (self.kind, rustix::process::Pid::from_raw(process.id().cast_signed())) {
            // It has children, which a kill would leave behind.
            (Kind::PostgreSql, Some(pid)) => {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
            }
            _ => {
                let _ = process.kill();
            }
        }
        let _ = process.wait();
    }

    /// Ends it and all its children by SIGKILL.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let of = process.id();
        let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).expect("a running process");
        let children: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        process.kill().expect("a child");
        process.wait().expect("a child");
        for pid in &children {
            // It may have gone with its parent.
            let _ = rustix::process::Pid::from_raw(*pid)
                .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
        let is_alive = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
        };
        let began = Instant::now();
        while children.iter().any(is_alive) {
            assert!(began.elapsed() < START, "they do not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A replica that follows it, made of all that it holds now. One of `MariaDB` needs [`WITH_A_LOG`] and follows from the
    /// log's beginning.
    pub(crate) async fn replica(&self) -> Self {
        if self.kind == Kind::MariaDb {
            let arguments = |_: &Path| vec!["--server-id=2".to_owned()];
            let replica = Self::start_with(self.kind, arguments).expect("as the first");
            let follow = format!(
                "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {}, MASTER_USER = 'root', \
                 MASTER_PASSWORD = '{ROOT_PASSWORD}', MASTER_USE_GTID = slave_pos",
                self.port
            );
            for statement in [&*follow, "START SLAVE"] {
                replica.execute(self.first(), statement).await;
            }
            return replica;
        }
        let folder = tempfile::tempdir().expect("a folder");
        give_to_server(folder.path());
        let (program, arguments) = (self.program.clone(), self.arguments.clone());
        let mut replica = Self { kind: self.kind, port: free_port(), process: None, folder, program, arguments };
        let made = as_nobody(&self.program.with_file_name("pg_basebackup"))
            .args(["--host=127.0.0.1", &format!("--port={}", self.port), "--username=root", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync"])
            .arg(format!("--pgdata={}", replica.data().display()))
            .env("PGPASSWORD", ROOT_PASSWORD)
            .output()
            .expect("it starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        replica.resume();
        replica
    }

    /// Cuts a replica off from the one that it follows.
    pub(crate) async fn cut_off(&self) {
        if self.kind == Kind::MariaDb {
            return self.execute(self.first(), "STOP SLAVE").await;
        }
        for statement in ["ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"] {
            self.execute(self.first(), statement).await;
        }
        let following = "SELECT count(*) FROM pg_stat_wal_receiver";
        while self.number(self.first(), following).await != Some(0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes a replica the one that may be written.
    pub(crate) async fn take_over(&self) {
        let statement = match self.kind {
            Kind::MariaDb => "RESET SLAVE ALL",
            Kind::PostgreSql => "SELECT pg_promote()",
        };
        self.execute(self.first(), statement).await;
    }

    /// Starts it again with these arguments in place of those before.
    pub(crate) fn restart_with(&mut self, arguments: Vec<String>) {
        self.stop();
        self.arguments = arguments;
        self.resume();
    }

    /// Makes an empty database.
    pub(crate) async fn create(&self, name: &str) {
        self.execute(self.first(), &format!("CREATE DATABASE {name}")).await;
    }

    /// Runs a statement as the root that may do everything.
    pub(crate) async fn execute(&self, database: &str, statement: &str) {
        let connection = sea_orm::Database::connect(self.url(database, self.port)).await.expect("it lets its root in");
        connection.execute_unprepared(statement).await.expect(statement);
        connection.close().await.expect("closed");
    }

    /// Asks for a number; none if there is no answer.
    pub(crate) async fn number(&self, database: &str, question: &str) -> Option<i64> {
        let connection = sea_orm::Database::connect(self.url(database, self.port)).await.ok()?;
        let question = sea_orm::Statement::from_string(connection.get_database_backend(), question);
        let answer = connection.query_one_raw(question).await.ok()??;
        connection.close().await.ok()?;
        answer.try_get_by_index(0).ok()
    }

    /// Starts it again, on the same port, with what it held.
    pub(crate) fn resume(&mut self) {
        let data = self.data();
        let folder = self.folder.path();
        let mut command = as_nobody(&self.program);
        match self.kind {
            Kind::MariaDb => command
                .arg("--no-defaults")
                .arg(format!("--datadir={}", data.display()))
                .arg(format!("--socket={}", folder.join("s").display()))
                .arg(format!("--pid-file={}", folder.join("pid").display()))
                // Another server of this user would clear what it finds there.
                .arg(format!("--tmpdir={}", folder.display()))
                .arg(format!("--init-file={}", folder.join("first.sql").display()))
                .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--performance-schema=off"])
                .args(["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=2"])
                .arg(format!("--port={}", self.port)),
            Kind::PostgreSql => command
                .arg("-D")
                .arg(&data)
                // What the server's own language of dates is must not matter.
                .args([
                    "-h",
                    "127.0.0.1",
                    "-p",
                    &self.port.to_string(),
                    "-c",
                    "timezone=Asia/Tokyo",
                    "-c",
                    "datestyle=german",
                ])
                // A kill is no loss of power: what was written is there.
                .args(["-c", "fsync=off", "-c", "full_page_writes=off", "-k"])
                .arg(folder),
        };
        command.args(&self.arguments);
        let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("writable");
        let errors = log.try_clone().expect("writable");
        let process = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("it starts");
        self.process = Some(process);
        let began = Instant::now();
        while !self.lets_in() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().expect("a child"));
            assert!(ended.is_none() && began.elapsed() < START, "it does not start: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `PostgreSQL` listens before that, while it looks what a sudden end has left.
    fn lets_in(&self) -> bool {
        if self.kind == Kind::MariaDb {
            return TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        }
        let mut asks = Command::new(self.program.with_file_name("pg_isready"));
        asks.args(["--quiet", "--host=127.0.0.1", &format!("--port={}", self.port)]);
        asks.status().expect("it is beside the server").success()
    }

    fn make(&self) {
        let (data, folder) = (self.data(), self.folder.path());
        let made = match self.kind {
            Kind::MariaDb => {
                let first = format!(
                    "CREATE USER IF NOT EXISTS root@'127.0.0.1' IDENTIFIED BY '{ROOT_PASSWORD}';\n\
                     GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
                );
                fs::write(folder.join("first.sql"), first).expect("writable");
                let install = program("mariadb-install-db", &["/usr/bin"]).expect("beside the server");
                as_nobody(&install)
                    .arg("--no-defaults")
                    .arg(format!("--datadir={}", data.display()))
                    .arg(format!("--tmpdir={}", folder.display()))
                    .args(["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"])
                    .output()
            }
            Kind::PostgreSql => {
                fs::write(folder.join("password"), ROOT_PASSWORD).expect("writable");
                as_nobody(&self.program.with_file_name("initdb"))
                    .args(["--username=root", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"])
                    .arg(format!("--pwfile={}", folder.join("password").display()))
                    .arg(format!("--pgdata={}", data.display()))
                    .output()
            }
        };
        let made = made.expect("it starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// Makes a file the server's own.
pub(crate) fn give_to_server(path: &Path) {
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(path, Some(NOBODY), None).expect("root may");
    }
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY);
    }
    command.current_dir("/");
    command
}

fn program(name: &str, places: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    places.iter().map(|place| Path::new(place).join(name)).chain(on_path).find(|path| path.is_file())
}
