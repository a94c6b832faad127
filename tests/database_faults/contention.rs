//! Others in the way: transactions that the server undoes, and rows that somebody holds.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DatabaseConnection, TransactionTrait};

use super::database_server::{DatabaseServer, Kind};
use super::support::wait_until;
use super::{NAME, SLOWLY, bed, block_on, in_the_middle, on_both, server, went_well};

/// `InnoDB` shows the same transactions again to who looks more often than every 100 ms.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// For how long a statement of Backhaul's waits for a lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

const HELD: Duration = Duration::from_secs(12);

/// Every third transaction of the runner is refused, with the codes for a conflict in turn.
fn refusing(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::PostgreSql => vec![
            "CREATE SEQUENCE refusals",
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE n BIGINT := nextval('refusals');
             BEGIN
               IF n % 9 = 0 THEN RAISE 'could not serialize access' USING ERRCODE = '40001'; END IF;
               IF n % 9 = 3 THEN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END IF;
               IF n % 9 = 6 THEN RAISE 'lock timeout' USING ERRCODE = '55P03'; END IF;
               RETURN NEW;
             END $$",
            "CREATE TRIGGER refuse BEFORE UPDATE ON commits FOR EACH ROW EXECUTE FUNCTION refuse()",
        ],
        Kind::MariaDb => vec![
            "CREATE SEQUENCE refusals",
            "CREATE TRIGGER refuse BEFORE UPDATE ON commits FOR EACH ROW
             BEGIN
               DECLARE n BIGINT DEFAULT NEXTVAL(refusals);
               IF n % 9 = 0 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF;
               IF n % 9 = 3 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1205; END IF;
               IF n % 9 = 6 THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1020; END IF;
             END",
        ],
    }
}

fn transactions_are_refused_on(kind: Kind) {
    let Some(server) = server(kind, "transactions that are refused") else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    for statement in refusing(kind) {
        block_on(server.execute(NAME, statement));
    }
    went_well(&bed, running, &format!("{kind:?} refuses every third transaction"));
    let next = match kind {
        Kind::PostgreSql => "SELECT nextval('refusals')",
        Kind::MariaDb => "SELECT NEXTVAL(refusals)",
    };
    let asked = block_on(server.number(NAME, next)).expect("a number");
    assert!(asked > 30, "only {asked} transactions came by the trigger");
}

#[test]
fn transactions_are_refused() {
    on_both(transactions_are_refused_on);
}

/// Real ones: the runner is the victim of a deadlock, then waits for rows in vain until its patience with locks ends.
fn rows_are_held_on(kind: Kind) {
    let Some(server) = server(kind, "rows that somebody holds") else { return };
    let bed = bed(&server, server.port);
    let running = in_the_middle(&bed, &["--bandwidth", SLOWLY]);
    block_on(hold(&server));
    // PostgreSQL's figures come a little late.
    wait_until("the server has counted a deadlock", || deadlocks(&server) > 0);
    went_well(&bed, running, &format!("{kind:?}: rows held by another"));
}

#[test]
fn rows_are_held() {
    on_both(rows_are_held_on);
}

/// The runner takes its rows first and counts its commit last; the other way round one gets into its way for sure.
async fn hold(server: &DatabaseServer) {
    let other: DatabaseConnection = sea_orm::Database::connect(server.url(NAME, server.port)).await.expect("let in");
    other.execute_unprepared("CREATE TABLE ballast (n INT)").await.expect("made");
    let transaction = other.begin().await.expect("begun");
    // MariaDB ends the lighter of two, PostgreSQL who has looked first.
    for _ in 0..50 {
        transaction
            .execute_unprepared("INSERT INTO ballast VALUES (1), (2), (3), (4), (5), (6), (7), (8)")
            .await
            .expect("added");
    }
    if server.kind == Kind::PostgreSql {
        transaction.execute_unprepared("SET deadlock_timeout = '1h'").await.expect("root may");
    }
    transaction.execute_unprepared("SELECT * FROM commits FOR UPDATE").await.expect("held");
    let waiting = match server.kind {
        Kind::PostgreSql => "SELECT count(*) FROM pg_locks WHERE NOT granted",
        Kind::MariaDb => "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    };
    let waits = async || server.number(NAME, waiting).await.expect("a number") > 0;
    while !waits().await {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let all = "SELECT * FROM backups FOR UPDATE";
    transaction.execute_unprepared(all).await.expect("the other one is the victim");
    // Now the runner waits for all of them, in vain, until the server ends its statement, and tries again.
    let (began, mut waited) = (Instant::now(), Duration::ZERO);
    while began.elapsed() < HELD {
        if waits().await {
            waited = began.elapsed();
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    assert!(waited > LOCK_PATIENCE, "nobody waited after {waited:?}");
    transaction.rollback().await.expect("undone");
    other.close().await.expect("closed");
}

fn deadlocks(server: &DatabaseServer) -> i64 {
    let question = match server.kind {
        Kind::PostgreSql => "SELECT sum(deadlocks)::bigint FROM pg_stat_database",
        Kind::MariaDb => {
            "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status \
             WHERE variable_name = 'INNODB_DEADLOCKS'"
        }
    };
    block_on(server.number(NAME, question)).expect("a number")
}
