//! Database servers as processes of the test: on a free port of this machine, in a folder of their own, ended with it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;

use super::support::wait_until;

/// `nobody`: neither server runs as root.
const NOBODY: u32 = 65_534;

/// What Trove's migrations make (26.0.0), as far as Backhaul uses it, in words that both servers know.
const TABLES: &str = include_str!("tables.sql");

/// The rights that Backhaul's documentation asks for, and no more.
const GRANTS: &[&str] = &[
    "GRANT SELECT ON backups TO {}",
    "GRANT SELECT ON datastores TO {}",
    "GRANT SELECT ON datastore_versions TO {}",
    "GRANT SELECT ON quotas TO {}",
    "GRANT SELECT ON quota_usages TO {}",
];
const GRANTS_TO_REGISTER: &[&str] = &["GRANT INSERT ON backups TO {}", "GRANT INSERT, UPDATE ON quota_usages TO {}"];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    MariaDb,
    PostgreSql,
}

pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    process: Option<Child>,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    pub(crate) fn mariadb() -> Option<Self> {
        let server = program("mariadbd", &["/usr/sbin", "/usr/libexec"])?;
        let install = program("mariadb-install-db", &["/usr/bin"])?;
        let (folder, port) = place();
        let data = folder.path().join("data");
        let made = as_nobody(&install)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .args(["--auth-root-authentication-method=socket", "--skip-test-db", "--skip-name-resolve"])
            .output()
            .expect("mariadb-install-db starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let first = folder.path().join("first.sql");
        let statements = "CREATE DATABASE trove CHARACTER SET utf8mb3;\n\
                          CREATE USER root@'127.0.0.1' IDENTIFIED BY 'root-pw';\n\
                          GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n";
        fs::write(&first, statements).expect("writable");
        let mut command = as_nobody(&server);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", folder.path().join("s").display()))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .arg(format!("--init-file={}", first.display()))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--performance-schema=off"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"])
            .arg(format!("--port={port}"));
        Some(Self::started(Kind::MariaDb, command, port, folder))
    }

    pub(crate) fn postgresql() -> Option<Self> {
        let mut places: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .collect();
        places.sort();
        let places: Vec<&str> = places.iter().rev().filter_map(|path| path.to_str()).collect();
        let server = program("postgres", &places)?;
        let (folder, port) = place();
        let (data, password) = (folder.path().join("data"), folder.path().join("password"));
        fs::write(&password, "root-pw\n").expect("writable");
        let made = as_nobody(&server.with_file_name("initdb"))
            .args(["--username=root", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", data.display()))
            .output()
            .expect("initdb starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = as_nobody(&server);
        command
            .arg("-D")
            .arg(&data)
            .args(["-F", "-h", "127.0.0.1", "-p", &port.to_string()])
            // What the server's own language of dates is must not matter.
            .args(["-c", "datestyle=german", "-c", "timezone=Asia/Tokyo", "-k"])
            .arg(folder.path());
        Some(Self::started(Kind::PostgreSql, command, port, folder))
    }

    fn started(kind: Kind, mut command: Command, port: u16, folder: TempDir) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("writable");
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        let server = Self { kind, port, process: Some(process), _folder: folder };
        wait_until("the database server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(server.fill());
        server
    }

    async fn fill(&self) {
        if self.kind == Kind::PostgreSql {
            let admin = self.connect_admin("postgres").await;
            admin.execute_unprepared("CREATE DATABASE trove").await.expect("made");
            admin.close().await.expect("closed");
        }
        let admin = self.admin().await;
        let tables = match self.kind {
            Kind::MariaDb => TABLES.replace("{DATETIME}", "DATETIME"),
            Kind::PostgreSql => TABLES.replace("{DATETIME}", "TIMESTAMP"),
        };
        for statement in tables.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            admin.execute_unprepared(statement).await.expect(statement);
        }
        for (user, grants) in [("least", [GRANTS, GRANTS_TO_REGISTER].concat()), ("reader", GRANTS.to_vec())] {
            let (create, name) = match self.kind {
                Kind::MariaDb => {
                    (format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{user}-pw'"), format!("{user}@'127.0.0.1'"))
                }
                Kind::PostgreSql => (format!("CREATE USER {user} PASSWORD '{user}-pw'"), user.to_owned()),
            };
            admin.execute_unprepared(&create).await.expect("a user");
            for grant in grants {
                admin.execute_unprepared(&grant.replace("{}", &name)).await.expect("granted");
            }
        }
        admin.close().await.expect("closed");
    }

    /// The URL that `user` has, through `port` of this machine.
    pub(crate) fn url(&self, user: &str, port: u16) -> String {
        let scheme = match self.kind {
            Kind::MariaDb => "mysql+pymysql",
            Kind::PostgreSql => "postgresql",
        };
        format!("{scheme}://{user}:{user}-pw@127.0.0.1:{port}/trove")
    }

    pub(crate) async fn admin(&self) -> DatabaseConnection {
        self.connect_admin("trove").await
    }

    async fn connect_admin(&self, name: &str) -> DatabaseConnection {
        let scheme = if self.kind == Kind::MariaDb { "mysql" } else { "postgres" };
        let url = format!("{scheme}://root:root-pw@127.0.0.1:{}/{name}", self.port);
        Database::connect(url).await.expect("the server lets its root in")
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A folder that the server may write, and a port that is free.
fn place() -> (TempDir, u16) {
    let folder = tempfile::tempdir().expect("a folder");
    if rustix::process::getuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), None).expect("root may");
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    (folder, port)
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
