//! Servers that are there and take nothing: all connections are taken, or nothing may be written.

use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

use super::database_server::{DatabaseServer, Kind};
use super::support::Output;
use super::{NAME, SLOWLY, bed, block_on, in_the_middle, on_both, server, server_with, went_well};

/// Shorter than the lease, which is 30 s: the runner keeps its work.
const CLOSED: Duration = Duration::from_secs(8);

const CONNECTIONS: usize = 12;

/// Room for no more than [`CONNECTIONS`].
fn crowded(kind: Kind) -> Vec<String> {
    match kind {
        Kind::PostgreSql => vec!["-c".to_owned(), format!("max_connections={CONNECTIONS}")],
        Kind::MariaDb => vec![format!("--max-connections={CONNECTIONS}")],
    }
}

async fn connect(server: &DatabaseServer) -> Result<DatabaseConnection, sea_orm::DbErr> {
    let mut options = ConnectOptions::new(server.url(server.first(), server.port));
    options.max_connections(1).connect_timeout(Duration::from_secs(2)).sqlx_logging(false);
    Database::connect(options).await
}

/// Ends the connections of everybody who uses the bed's database.
async fn end_all(kind: Kind, connection: &DatabaseConnection) {
    let find = match kind {
        Kind::PostgreSql => {
            format!(
                "SELECT pg_terminate_backend(pid), CAST(pid AS BIGINT) AS id FROM pg_stat_activity WHERE datname = '{NAME}'"
            )
        }
        Kind::MariaDb => {
            format!("SELECT CAST(id AS SIGNED) AS id FROM information_schema.processlist WHERE db = '{NAME}'")
        }
    };
    let found = connection.query_all_raw(Statement::from_string(connection.get_database_backend(), find)).await;
    for row in found.expect("a list") {
        let id: i64 = row.try_get("", "id").expect("a number");
        if kind == Kind::MariaDb {
            // It may have ended by itself.
            let _ = connection.execute_unprepared(&format!("KILL {id}")).await;
        }
    }
}

/// Takes all connections, those of the runner too, for a while; says what another command is told meanwhile.
async fn take_all_connections(server: &DatabaseServer, ask: impl Fn() -> Output) -> Output {
    let mut taken = vec![connect(server).await.expect("room for one")];
    let began = Instant::now();
    let mut told = None;
    while began.elapsed() < CLOSED {
        end_all(server.kind, &taken[0]).await;
        while let Ok(connection) = connect(server).await {
            taken.push(connection);
        }
        if told.is_none() {
            told = Some(ask()).filter(|told: &Output| told.code != Some(0));
        }
    }
    told.expect("all connections were taken")
}

fn all_connections_are_taken_on(kind: Kind) {
    let Some(server) = server_with(kind, "a server whose connections are all taken", crowded(kind)) else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    let status = || Output::of(bed.command(&["status"]).arg(bed.plan()).output().expect("the binary starts"));
    let told = block_on(take_all_connections(&server, status)).expect(6);
    assert!(told.stderr.contains("cannot be reached\ncaused by: "), "{told}");
    assert!(
        told.stderr.to_lowercase().contains("too many") || told.stderr.contains("remaining connection slots"),
        "{told}"
    );
    went_well(&bed, running, &format!("{kind:?} without a free connection for {CLOSED:?}"));
}

#[test]
fn all_connections_are_taken() {
    on_both(all_connections_are_taken_on);
}

/// As a server answers that is a replica for a while, or was set so by its operator.
fn refusing_writes(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::PostgreSql => vec![
            "CREATE TABLE closed AS SELECT true AS is_so",
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF (SELECT is_so FROM closed) THEN RAISE 'cannot execute UPDATE in a read-only transaction' USING ERRCODE = '25006'; END IF;
               RETURN NEW;
             END $$",
            "CREATE TRIGGER refuse BEFORE UPDATE ON commits FOR EACH ROW EXECUTE FUNCTION refuse()",
        ],
        Kind::MariaDb => vec![
            "CREATE TABLE closed AS SELECT true AS is_so",
            "CREATE TRIGGER refuse BEFORE UPDATE ON commits FOR EACH ROW
             BEGIN
               IF (SELECT is_so FROM closed) THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290; END IF;
             END",
        ],
    }
}

fn is_read_only_on(kind: Kind) {
    let Some(server) = server(kind, "a server that is read-only for a while") else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    for statement in refusing_writes(kind) {
        block_on(server.execute(NAME, statement));
    }
    std::thread::sleep(CLOSED);
    block_on(server.execute(NAME, "UPDATE closed SET is_so = false"));
    went_well(&bed, running, &format!("{kind:?} read-only for {CLOSED:?}"));
}

#[test]
fn a_server_is_read_only_for_a_while() {
    on_both(is_read_only_on);
}
