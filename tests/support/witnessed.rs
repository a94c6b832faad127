//! A database of Backhaul's own tables with a witness in it: triggers, which no runner can avoid, note every change of a
//! row, and every lease that is taken or renewed.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use backhaul::database::{Database, DatabaseUrl, Holder};
use backhaul::lease::Terms;
use backhaul::state::State;
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult};
use tokio::runtime::Runtime;

use super::database_server::{DatabaseServer, Kind};

/// What a server may need to be there again after a crash.
const PATIENCE: Duration = Duration::from_mins(1);

const MARIADB: &[&str] = &[
    "CREATE TABLE witness (number INTEGER PRIMARY KEY AUTO_INCREMENT, id VARCHAR(36), was VARCHAR(32), \
     is_now VARCHAR(32), old_claim BIGINT, new_claim BIGINT, old_owner VARCHAR(36), new_owner VARCHAR(36), \
     begun_ms BIGINT, old_lease_left BIGINT)",
    "CREATE TRIGGER seen AFTER UPDATE ON backups FOR EACH ROW INSERT INTO witness \
     (id, was, is_now, old_claim, new_claim, old_owner, new_owner, begun_ms, old_lease_left) VALUES \
     (OLD.id, OLD.state, NEW.state, OLD.claim, NEW.claim, OLD.claimed_by, NEW.claimed_by, \
     CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED), (SELECT lease_until_ms - CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED) FROM runners \
     WHERE runners.id = OLD.claimed_by))",
    "CREATE TABLE leases (number INTEGER PRIMARY KEY AUTO_INCREMENT, runner VARCHAR(36), pid BIGINT, at_ms BIGINT, \
     lease_left BIGINT)",
    "CREATE TRIGGER entered AFTER INSERT ON runners FOR EACH ROW INSERT INTO leases (runner, pid, at_ms) \
     VALUES (NEW.id, NEW.pid, CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED))",
    "CREATE TRIGGER renewed AFTER UPDATE ON runners FOR EACH ROW INSERT INTO leases (runner, pid, at_ms, lease_left) \
     SELECT NEW.id, NEW.pid, CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED), \
     OLD.lease_until_ms - CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED) FROM DUAL \
     WHERE NEW.lease_until_ms <> OLD.lease_until_ms",
];

const POSTGRESQL: &[&str] = &[
    "CREATE FUNCTION now_ms() RETURNS BIGINT LANGUAGE sql AS \
     $$ SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT) $$",
    "CREATE TABLE witness (number SERIAL, id TEXT, was TEXT, is_now TEXT, old_claim BIGINT, new_claim BIGINT, \
     old_owner TEXT, new_owner TEXT, begun_ms BIGINT, old_lease_left BIGINT)",
    "CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN INSERT INTO witness \
     (id, was, is_now, old_claim, new_claim, old_owner, new_owner, begun_ms, old_lease_left) VALUES \
     (OLD.id, OLD.state, NEW.state, OLD.claim, NEW.claim, OLD.claimed_by, NEW.claimed_by, \
     CAST(EXTRACT(EPOCH FROM statement_timestamp()) * 1000 AS BIGINT), (SELECT lease_until_ms - now_ms() FROM runners WHERE runners.id = OLD.claimed_by)); RETURN NULL; END $$",
    "CREATE TRIGGER seen AFTER UPDATE ON backups FOR EACH ROW EXECUTE FUNCTION note()",
    "CREATE TABLE leases (number SERIAL, runner TEXT, pid BIGINT, at_ms BIGINT, lease_left BIGINT)",
    "CREATE FUNCTION note_entry() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN INSERT INTO leases \
     (runner, pid, at_ms) VALUES (NEW.id, NEW.pid, now_ms()); RETURN NULL; END $$",
    "CREATE TRIGGER entered AFTER INSERT ON runners FOR EACH ROW EXECUTE FUNCTION note_entry()",
    "CREATE FUNCTION note_renewal() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN INSERT INTO leases \
     (runner, pid, at_ms, lease_left) VALUES (NEW.id, NEW.pid, now_ms(), OLD.lease_until_ms - now_ms()); \
     RETURN NULL; END $$",
    "CREATE TRIGGER renewed AFTER UPDATE OF lease_until_ms ON runners FOR EACH ROW EXECUTE FUNCTION note_renewal()",
];

/// One change of a row.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) states: [State; 2],
    pub(crate) claims: [i64; 2],
    pub(crate) owners: [Option<String>; 2],
    /// When the statement began, which looked at the lease of who had the row before it could have the row.
    pub(crate) begun_ms: i64,
    /// What was left of that lease afterwards, in milliseconds; none if they have left the list.
    pub(crate) old_lease_left: Option<i64>,
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
            begun_ms: number("begun_ms"),
            old_lease_left: row.try_get_by("old_lease_left").expect("a number"),
        }
    }

    /// Whether somebody else has the row afterwards.
    pub(crate) fn changes_hands(&self) -> bool {
        matches!(&self.owners, [Some(old), Some(new)] if old != new)
    }
}

/// A lease that a runner took, renewed or took anew.
#[derive(Debug)]
pub(crate) struct LeaseTaken {
    pub(crate) runner: String,
    pub(crate) pid: u32,
    /// Since 1970, by the server's clock.
    pub(crate) at_ms: i64,
    /// What was left of the one before, in milliseconds; none for the first.
    pub(crate) left_ms: Option<i64>,
}

impl LeaseTaken {
    /// Whether the one before was: then this one is taken anew.
    pub(crate) fn was_over(&self) -> bool {
        self.left_ms.is_some_and(|left| left <= 0)
    }

    fn read(row: &QueryResult) -> Self {
        let number = |name| row.try_get_by::<i64, _>(name).expect("a number");
        Self {
            runner: row.try_get_by("runner").expect("a runner"),
            pid: u32::try_from(number("pid")).expect("a pid"),
            at_ms: number("at_ms"),
            left_ms: row.try_get_by("lease_left").expect("a number"),
        }
    }
}

/// The database.
pub(crate) struct Witnessed {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    runtime: Runtime,
}

impl Witnessed {
    /// A new one with this name.
    pub(crate) fn make(server: &DatabaseServer, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let witnessed = Self { kind: server.kind, url: server.url(name, server.port), runtime };
        let first = Self { url: server.url(server.first(), server.port), ..witnessed };
        first.execute(&format!("CREATE DATABASE {name}"));
        let witnessed = Self { url: server.url(name, server.port), ..first };
        witnessed.runtime.block_on(async {
            let place = DatabaseUrl::parse(&witnessed.url).expect("a URL");
            let holder = Holder::this_process("test", None);
            let made = Database::open_writing(&place, &holder, Terms::DEFAULT, false).await;
            let made = made.unwrap_or_else(|error| panic!("it is not made: {error}: {error:?}"));
            made.close().await;
        });
        let statements = match server.kind {
            Kind::MariaDb => MARIADB,
            Kind::PostgreSql => POSTGRESQL,
        };
        for statement in statements {
            witnessed.execute(statement);
        }
        witnessed
    }

    /// Also where the server was just started.
    async fn connect(&self) -> DatabaseConnection {
        let began = Instant::now();
        loop {
            match sea_orm::Database::connect(&self.url).await {
                Ok(connection) => return connection,
                Err(error) => assert!(began.elapsed() < PATIENCE, "it does not let its root in: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn execute(&self, sql: &str) {
        self.runtime.block_on(async {
            let connection = self.connect().await;
            connection.execute_unprepared(sql).await.expect(sql);
            connection.close().await.expect("closed");
        });
    }

    pub(crate) fn ask(&self, sql: &str) -> Vec<QueryResult> {
        self.runtime.block_on(async {
            let connection = self.connect().await;
            let question = sea_orm::Statement::from_string(connection.get_database_backend(), sql);
            let answers = connection.query_all_raw(question).await.expect(sql);
            connection.close().await.expect("closed");
            answers
        })
    }

    pub(crate) fn count(&self, sql: &str) -> i64 {
        self.ask(sql)[0].try_get_by_index(0).expect("a number")
    }

    pub(crate) fn changes(&self) -> Vec<Change> {
        self.ask("SELECT * FROM witness ORDER BY number").iter().map(Change::read).collect()
    }

    pub(crate) fn leases(&self) -> Vec<LeaseTaken> {
        self.ask("SELECT * FROM leases ORDER BY number").iter().map(LeaseTaken::read).collect()
    }

    /// Everybody who ever claimed a row.
    pub(crate) fn owners(&self) -> BTreeSet<String> {
        self.changes().into_iter().filter_map(|change| change.owners.into_iter().nth(1).flatten()).collect()
    }

    /// Tokens only grow, states change legally, nothing is taken from who is alive, and each of so many rows was copied
    /// once and completed once.
    #[track_caller]
    pub(crate) fn changes_are_legal(&self, rows: usize) {
        let (changes, leases) = (self.changes(), self.leases());
        let taken_anew = |runner: &String, since_ms: i64| {
            leases.iter().any(|taken| taken.runner == *runner && taken.was_over() && taken.at_ms >= since_ms)
        };
        let mut completed: BTreeMap<&str, usize> = BTreeMap::new();
        let mut copied: BTreeMap<&str, usize> = BTreeMap::new();
        for change in &changes {
            let ([was, is_now], [old, new]) = (change.states, change.claims);
            assert!(new == old || new == old + 1, "{change:?}");
            assert!(was == is_now || was.may_become(is_now), "{change:?}");
            if change.changes_hands() {
                assert_eq!(new, old + 1, "{change:?}");
                let old_owner = change.owners[0].as_ref().expect("it had one");
                let was_over =
                    change.old_lease_left.is_none_or(|left| left <= 0) || taken_anew(old_owner, change.begun_ms);
                assert!(was_over, "taken from a live runner: {change:?}");
            }
            match (was, is_now) {
                (State::Building, State::Saving) => *copied.entry(&change.id).or_default() += 1,
                (State::Saving, State::Completed) => *completed.entry(&change.id).or_default() += 1,
                _ => {}
            }
        }
        for done in [copied, completed] {
            assert_eq!(done.len(), rows);
            assert!(done.values().all(|times| *times == 1), "{done:?}");
        }
    }
}
