//! The grants for the checkpoints' database, executed by the servers' own clients on real servers.

use std::process::{Command, Stdio};

use super::database_server::{DatabaseServer, Kind};
use super::image::runs_on_a_root_that_is_read_only;
use super::read;
use super::support::{Bed, Layout, Options, Output, skip};

const ROLES: [&str; 2] = ["backhaul_owner", "backhaul"];

/// What the working role must not do.
const FORBIDDEN: [&str; 4] = [
    "CREATE TABLE more (id INT)",
    "DROP TABLE backups",
    "ALTER TABLE backups ADD COLUMN more INT",
    "DROP TABLE commits",
];

const HINT: &str = "hint: the user needs SELECT, INSERT, UPDATE and DELETE on Backhaul's tables, and CREATE for the \
                    first run and after an upgrade\n";

struct Granted(DatabaseServer);

impl Granted {
    fn start(kind: Kind) -> Option<Self> {
        let file = match kind {
            Kind::MariaDb => "sql/mariadb.sql",
            Kind::PostgreSql => "sql/postgresql.sql",
        };
        match DatabaseServer::start(kind) {
            Ok(server) => {
                let granted = Self(server);
                granted.says("root", "root-pw", granted.0.first(), &read(file)).expect(0);
                Some(granted)
            }
            Err(why) => {
                skip("the grants", &why);
                None
            }
        }
    }

    /// What the server's own client says of SQL that it reads.
    fn says(&self, user: &str, password: &str, database: &str, sql: &str) -> Output {
        let port = self.0.port.to_string();
        let mut client = match self.0.kind {
            Kind::MariaDb => {
                let mut client = Command::new("mariadb");
                client.args(["--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-P", &port, "-u", user, database]);
                client
            }
            Kind::PostgreSql => {
                let mut client = Command::new("psql");
                client.args(["-X", "-q", "--set=ON_ERROR_STOP=1", "-h127.0.0.1", "-p", &port, "-U", user, database]);
                client
            }
        };
        client.env("MYSQL_PWD", password).env("PGPASSWORD", password);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().expect("it is installed with its server");
        let mut stdin = client.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, sql.as_bytes()).expect("it reads");
        drop(stdin);
        Output::of(client.wait_with_output().expect("a child"))
    }

    fn is_let_in(&self, user: &str) -> bool {
        self.says(user, "role-pw", "backhaul", "SELECT 1;").code == Some(0)
    }

    fn let_in(&self, user: &str) {
        let sql = match self.0.kind {
            Kind::MariaDb => format!("ALTER USER '{user}'@'%' IDENTIFIED BY 'role-pw' ACCOUNT UNLOCK;"),
            Kind::PostgreSql => format!("ALTER ROLE {user} PASSWORD 'role-pw';"),
        };
        self.says("root", "root-pw", self.0.first(), &sql).expect(0);
    }

    /// `user` of the database `backhaul`.
    fn url(&self, user: &str) -> String {
        self.0.url("backhaul", self.0.port).replace("root:root-pw", &format!("{user}:role-pw"))
    }

    /// Grants or revokes the right to change rows, `ON` what the file grants it on.
    fn update(&self, verb: &str) {
        let (what, whom) = match self.0.kind {
            Kind::MariaDb => ("backhaul.*", "'backhaul'@'%'"),
            Kind::PostgreSql => ("backups", "backhaul"),
        };
        let direction = if verb == "GRANT" { "TO" } else { "FROM" };
        let sql = format!("{verb} UPDATE ON {what} {direction} {whom};");
        self.says("root", "root-pw", "backhaul", &sql).expect(0);
    }
}

/// Ends with what the server said and what would help; no step fails for it.
#[track_caller]
fn is_refused(run: Output) {
    let refused = run.expect(6);
    let (_, error) = refused.stderr.split_once("error: the database `").unwrap_or_else(|| panic!("{refused}"));
    let (first, cause) = error.split_once('\n').unwrap_or_else(|| panic!("{refused}"));
    assert!(first.ends_with("/backhaul` refuses"), "{refused}");
    assert!(cause.starts_with("caused by: ") && cause.contains("denied") && cause.ends_with(HINT), "{refused}");
    assert!(!refused.stderr.contains("failed: "), "{refused}");
}

fn suffice(kind: Kind) {
    let Some(granted) = Granted::start(kind) else { return };
    for role in ROLES {
        assert!(!granted.is_let_in(role), "{role} has no password and is let in");
        granted.let_in(role);
        assert!(granted.is_let_in(role), "{role} is not let in");
    }
    let bed = Bed::with(Layout::Small, Options { database: Some(granted.url("backhaul")), ..Options::default() });

    // The tables are the owner's to make.
    is_refused(bed.run());
    let mut first = bed.run_command(&["--limit", "1"]);
    Output::of(first.env("BED_DATABASE", granted.url("backhaul_owner")).output().expect("it starts")).expect(0);

    granted.update("REVOKE");
    is_refused(bed.run());
    granted.update("GRANT");

    runs_on_a_root_that_is_read_only(&bed);
    bed.is_complete(1, "as the working role");
    for command in ["status", "verify", "gc"] {
        Output::of(bed.command(&[command]).arg(bed.plan()).output().expect("it starts")).expect(0);
    }
    for sql in FORBIDDEN {
        let refused = granted.says("backhaul", "role-pw", "backhaul", &format!("{sql};"));
        assert!(refused.code != Some(0) && !refused.stderr.is_empty(), "{sql}: {refused}");
    }
}

#[test]
fn grants_on_postgresql_suffice_and_are_not_more() {
    suffice(Kind::PostgreSql);
}

#[test]
fn grants_on_mariadb_suffice_and_are_not_more() {
    suffice(Kind::MariaDb);
}
