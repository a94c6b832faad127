//! Trove's own database on a server of the test: Trove's tables, and users with the rights that Backhaul asks for.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::ops::{Deref, DerefMut};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, QueryResult, Statement};

use super::database_server::{DatabaseServer, Kind};

/// What Trove's migrations make (26.0.0), as far as Backhaul uses it, in words that both servers know.
const TABLES: &str = include_str!("trove_tables.sql");

/// The rights that Backhaul's documentation asks for, and no more.
const RIGHTS: &[&str] = &[
    "SELECT ON backups",
    "SELECT ON datastores",
    "SELECT ON datastore_versions",
    "SELECT ON quotas",
    "SELECT ON quota_usages",
];
const RIGHTS_TO_REGISTER: &[&str] = &["INSERT ON backups", "INSERT, UPDATE ON quota_usages"];

pub(crate) struct TroveServer(DatabaseServer);

impl Deref for TroveServer {
    type Target = DatabaseServer;

    fn deref(&self) -> &DatabaseServer {
        &self.0
    }
}

impl DerefMut for TroveServer {
    fn deref_mut(&mut self) -> &mut DatabaseServer {
        &mut self.0
    }
}

impl TroveServer {
    /// One with a Trove that has no backups; or what is missing here.
    pub(crate) fn start(kind: Kind) -> Result<Self, String> {
        let server = Self(DatabaseServer::start(kind)?);
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(server.fill());
        Ok(server)
    }

    async fn fill(&self) {
        let first = Database::connect(self.0.url(self.first(), self.port)).await.expect("the server lets its root in");
        let made = match self.kind {
            Kind::MariaDb => "CREATE DATABASE trove CHARACTER SET utf8mb3",
            Kind::PostgreSql => "CREATE DATABASE trove",
        };
        first.execute_unprepared(made).await.expect("made");
        first.close().await.expect("closed");
        let admin = self.admin().await;
        let tables = match self.kind {
            Kind::MariaDb => TABLES.replace("{DATETIME}", "DATETIME"),
            Kind::PostgreSql => TABLES.replace("{DATETIME}", "TIMESTAMP"),
        };
        for statement in tables.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            admin.execute_unprepared(statement).await.expect(statement);
        }
        for (user, rights) in [("least", [RIGHTS, RIGHTS_TO_REGISTER].concat()), ("reader", RIGHTS.to_vec())] {
            let word = if self.kind == Kind::MariaDb { "IDENTIFIED BY" } else { "PASSWORD" };
            let create = format!("CREATE USER {} {word} '{user}-pw'", self.name_of(user));
            admin.execute_unprepared(&create).await.expect("a user");
            for rights in rights {
                admin.execute_unprepared(&self.grant(rights, user)).await.expect("granted");
            }
        }
        admin.close().await.expect("closed");
    }

    fn name_of(&self, user: &str) -> String {
        match self.kind {
            Kind::MariaDb => format!("{user}@'127.0.0.1'"),
            Kind::PostgreSql => user.to_owned(),
        }
    }

    /// The statement that gives a user rights on a table.
    pub(crate) fn grant(&self, rights: &str, user: &str) -> String {
        format!("GRANT {rights} TO {}", self.name_of(user))
    }

    /// The URL that `user` has, through `port` of this machine, as it stands in `trove.conf`.
    pub(crate) fn url_of(&self, user: &str, port: u16) -> String {
        let scheme = match self.kind {
            Kind::MariaDb => "mysql+pymysql",
            Kind::PostgreSql => "postgresql",
        };
        format!("{scheme}://{user}:{user}-pw@127.0.0.1:{port}/trove")
    }

    /// What a statement of its owner gives; each column is a text, `NULL` is empty.
    pub(crate) fn texts(&self, statement: &str) -> Vec<Vec<String>> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let rows = runtime.block_on(async {
            let admin = self.admin().await;
            let rows = admin.query_all_raw(Statement::from_string(admin.get_database_backend(), statement)).await;
            admin.close().await.expect("closed");
            rows.expect(statement)
        });
        let text =
            |row: &QueryResult, at| row.try_get_by_index::<Option<String>>(at).expect("a text").unwrap_or_default();
        rows.iter().map(|row| (0..row.column_names().len()).map(|at| text(row, at)).collect()).collect()
    }

    pub(crate) async fn admin(&self) -> DatabaseConnection {
        Database::connect(self.0.url("trove", self.port)).await.expect("the server lets its root in")
    }
}
