//! Servers that are there and take nothing: all connections are taken, or nothing may be written.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};

use super::database_server::{DatabaseServer, Kind};
use super::support::{Bed, Output, Running, wait_until};
use super::{NAME, SLOWLY, bed, block_on, in_the_middle, on_both, server, server_with, told, went_well};

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
    let mut told = None;
    let began = Instant::now();
    take_connections_until(server, || {
        if told.is_none() {
            told = Some(ask()).filter(|told: &Output| told.code != Some(0));
        }
        began.elapsed() >= CLOSED
    })
    .await;
    told.expect("all connections were taken")
}

/// Takes all connections again and again, those of the runner too, until it is enough.
async fn take_connections_until(server: &DatabaseServer, mut is_enough: impl FnMut() -> bool) {
    let mut taken = vec![connect(server).await.expect("room for one")];
    loop {
        end_all(server.kind, &taken[0]).await;
        while let Ok(connection) = connect(server).await {
            taken.push(connection);
        }
        if is_enough() {
            return;
        }
    }
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

async fn refuse_writes(server: &DatabaseServer) {
    for statement in refusing_writes(server.kind) {
        server.execute(NAME, statement).await;
    }
}

async fn take_writes(server: &DatabaseServer) {
    server.execute(NAME, "UPDATE closed SET is_so = false").await;
}

fn is_read_only_on(kind: Kind) {
    let Some(server) = server(kind, "a server that is read-only for a while") else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    block_on(refuse_writes(&server));
    std::thread::sleep(CLOSED);
    block_on(take_writes(&server));
    went_well(&bed, running, &format!("{kind:?} read-only for {CLOSED:?}"));
}

#[test]
fn a_server_is_read_only_for_a_while() {
    on_both(is_read_only_on);
}

/// A run whose database stays closed, until it ends: by itself after a quarter of an hour, or because it is told to stop
/// after some seconds, which are longer than its lease.
struct Waiting {
    running: Running,
    began: Instant,
    is_to_be_told: bool,
    longest: Duration,
}

impl Waiting {
    fn new(running: Running, end: End) -> Self {
        let is_to_be_told = end == End::Told;
        let longest = if is_to_be_told { Duration::from_mins(1) } else { Duration::from_mins(20) };
        Self { running, began: Instant::now(), is_to_be_told, longest }
    }

    fn is_over(&mut self) -> bool {
        if self.is_to_be_told && self.began.elapsed() > CLOSED {
            // Told twice it would end at once.
            self.is_to_be_told = false;
            self.running.signal(Signal::TERM);
        }
        assert!(self.began.elapsed() < self.longest, "it does not end");
        self.running.has_ended()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    ByItself,
    Told,
}

/// It ends with a clear word, and the next run does the rest.
fn ends_well(bed: &Bed, waiting: Waiting, said: &[&str]) {
    let output = waiting.running.wait().expect(6);
    for said in said {
        assert!(output.stderr.contains(said), "{output}");
    }
    for step in ["retrying", "failed"] {
        assert!(!told(&output).contains(&step.to_owned()), "{step}: {output}");
    }
    wait_until("its lease is over", || bed.run().code == Some(0));
    bed.is_complete(1, "after a database that stayed closed");
}

const SHORT_LEASE: [&str; 6] = ["--bandwidth", SLOWLY, "--lease", "3s", "--heartbeat", "1s"];

fn stays_read_only(kind: Kind, end: End) {
    let Some(server) = server(kind, "a server that stays read-only") else { return };
    let bed = bed(&server, server.port);
    let mut waiting = Waiting::new(in_the_middle(&bed, &SHORT_LEASE), end);
    block_on(refuse_writes(&server));
    while !waiting.is_over() {
        std::thread::sleep(Duration::from_millis(20));
    }
    block_on(take_writes(&server));
    let text = format!("error: the database `{}` takes no writes\ncaused by: ", bed.database_url());
    ends_well(&bed, waiting, &[&text, "hint: is it a replica? name the primary"]);
}

fn stays_without_a_free_connection(kind: Kind, end: End) {
    let Some(server) = server_with(kind, "a server that stays without a free connection", crowded(kind)) else {
        return;
    };
    let bed = bed(&server, server.port);
    let mut waiting = Waiting::new(in_the_middle(&bed, &SHORT_LEASE), end);
    block_on(take_connections_until(&server, || waiting.is_over()));
    let text = format!("error: the database `{}` cannot be reached\ncaused by: ", bed.database_url());
    ends_well(&bed, waiting, &[&text]);
}

fn stays_closed(kind: Kind, end: End) {
    std::thread::scope(|scope| {
        scope.spawn(move || stays_read_only(kind, end));
        scope.spawn(move || stays_without_a_free_connection(kind, end));
    });
}

#[test]
fn a_run_is_told_to_stop_while_its_server_stays_closed() {
    on_both(|kind| stays_closed(kind, End::Told));
}

#[test]
#[ignore = "a run waits for its database for a quarter of an hour"]
fn a_server_stays_closed_for_longer_than_a_run_waits() {
    on_both(|kind| stays_closed(kind, End::ByItself));
}
