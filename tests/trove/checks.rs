//! What registering in Trove's database promises, whichever server it is.

use std::time::{Duration, Instant};

use backhaul::catalog::trove::database::{Address, QuotaRule};
use backhaul::catalog::trove::{NewBackup, TroveDatabase};
use backhaul::failure::{Cause, Failure};
use futures::future::join_all;
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait, Func, Query};
use uuid::Uuid;

use super::cutter::Cutter;
use super::database_server::Kind;
use super::trove_database::TroveServer;

pub(crate) async fn open(server: &TroveServer, user: &str, rule: QuotaRule, default: u32) -> TroveDatabase {
    let address = Address::parse(&server.url_of(user, server.port)).expect("an address");
    TroveDatabase::connect(&address, rule, default).await.expect("it connects")
}

pub(crate) fn backup(tenant: &str) -> NewBackup {
    let id = Uuid::new_v4();
    NewBackup {
        id,
        name: "'; DROP TABLE backups;-- %_\\ ü日".to_owned(),
        description: Some("Backup from a different region".to_owned()),
        location: format!("http://127.0.0.1:28081/v1/AUTH_{tenant}/database_backups/{id}.xbstream.gz"),
        backup_type: Some("full".to_owned()),
        size: Some(0.1),
        tenant_id: tenant.to_owned(),
        checksum: "f562860128421fdd6609e068d233da6c".to_owned(),
        backup_timestamp: Some("2026-11-22T10:49:34Z".to_owned()),
        created: Some("2026-11-22T10:49:34.25Z".to_owned()),
        updated: Some("2026-11-22T12:49:35+01:00".to_owned()),
        parent_id: None,
        datastore_version_id: "v-mysql-8".to_owned(),
    }
}

/// Live rows of a tenant, and what Trove counts for it.
async fn count(server: &TroveServer, tenant: &str) -> (i64, Option<i32>) {
    let admin = server.admin().await;
    let rows = Query::select()
        .expr(Func::count(Expr::col("id")))
        .from("backups")
        .and_where(Expr::col("tenant_id").eq(tenant).and(Expr::col("deleted").eq(false)))
        .to_owned();
    let rows = admin.query_one(&rows).await.expect("counted").expect("a row").try_get_by_index(0).expect("a number");
    let usage =
        Query::select().column("in_use").from("quota_usages").and_where(Expr::col("tenant_id").eq(tenant)).to_owned();
    let usage = admin.query_all(&usage).await.expect("read");
    assert!(usage.len() < 2, "two counts of one tenant");
    let usage = usage.first().map(|row| row.try_get_by_index(0).expect("a number"));
    admin.close().await.expect("closed");
    (rows, usage)
}

pub(crate) async fn run(server: &TroveServer, statement: &str) {
    let admin = server.admin().await;
    admin.execute_unprepared(statement).await.expect(statement);
    admin.close().await.expect("closed");
}

async fn limit(server: &TroveServer, tenant: &str, limit: i32) {
    let id = Uuid::new_v4();
    let statement = format!(
        "INSERT INTO quotas (id, tenant_id, resource, hard_limit) VALUES ('{id}', '{tenant}', 'backups', {limit})"
    );
    run(server, &statement).await;
}

fn cause(result: &Result<(), Failure>) -> Option<Cause> {
    result.as_ref().err().map(|failure| failure.cause)
}

pub(crate) async fn registers_once_however_often(server: &TroveServer) {
    let trove = open(server, "least", QuotaRule::Respect, 50).await;
    let parent = backup("once");
    let child = NewBackup {
        parent_id: Some(parent.id.to_string()),
        backup_type: Some("incremental".into()),
        description: None,
        size: None,
        ..backup("once")
    };
    for _ in 0..3 {
        trove.register(&parent).await.expect("registered");
        trove.register(&child).await.expect("registered");
    }
    // Where the Swift is reached may change.
    let moved = parent.location.replace("http://127.0.0.1:28081", "https://swift.example");
    trove.register(&NewBackup { location: moved, ..parent.clone() }).await.expect("the same object");
    assert_eq!(count(server, "once").await, (2, Some(2)));

    let ledger = trove.ledger(Some(&["once".to_owned()])).await.expect("read");
    let record = ledger.get(parent.id).expect("it is there");
    assert_eq!((record.name.as_str(), record.unusable.as_ref()), (parent.name.as_str(), None));
    assert_eq!(record.created.as_deref(), Some("2026-11-22T10:49:34Z"));
    assert_eq!(record.updated.as_deref(), Some("2026-11-22T11:49:35Z"));
    assert_eq!((record.size, record.storage_driver.as_deref()), (Some(0.1), Some("swift")));
    assert_eq!(record.checksum.as_deref(), Some(parent.checksum.as_str()));
    assert_eq!(ledger.get(child.id).and_then(|record| record.parent_id), Some(parent.id));
}

pub(crate) async fn keeps_other_rows(server: &TroveServer) {
    let trove = open(server, "least", QuotaRule::Respect, 50).await;
    let ours = backup("other");
    trove.register(&ours).await.expect("registered");
    let others = [
        NewBackup { checksum: "0".repeat(32), ..ours.clone() },
        NewBackup { location: ours.location.replace("database_backups", "elsewhere"), ..ours.clone() },
        NewBackup { parent_id: Some(Uuid::new_v4().to_string()), ..ours.clone() },
        NewBackup { datastore_version_id: "v-maria-10".into(), ..ours.clone() },
    ];
    for other in others {
        assert_eq!(cause(&trove.register(&other).await), Some(Cause::RecordConflict));
    }
    run(server, &format!("UPDATE backups SET deleted = TRUE WHERE id = '{}'", ours.id)).await;
    let failure = trove.register(&ours).await.expect_err("its owner deleted it");
    assert!(failure.cause == Cause::RecordConflict && failure.message.contains("its owner deleted it"), "{failure:?}");
    assert_eq!(count(server, "other").await, (0, Some(1)));
    let nowhere = NewBackup { datastore_version_id: "v-nowhere".into(), ..backup("other") };
    assert_eq!(cause(&trove.register(&nowhere).await), Some(Cause::NoCounterpart));
    assert_eq!(count(server, "other").await, (0, Some(1)));
}

pub(crate) async fn keeps_to_quotas(server: &TroveServer) {
    let trove = open(server, "least", QuotaRule::Respect, 2).await;
    limit(server, "quota-one", 1).await;
    let first = backup("quota-one");
    trove.register(&first).await.expect("the first");
    let failure = trove.register(&backup("quota-one")).await.expect_err("the second");
    assert_eq!(failure.cause, Cause::Quota);
    assert!(failure.message.contains("`quota-one` may have 1 backup in Trove, and has as many"), "{failure:?}");
    trove.register(&first).await.expect("what is there needs no place");
    assert_eq!(count(server, "quota-one").await, (1, Some(1)));
    let quota = trove.quota("quota-one").await.expect("read");
    assert_eq!((quota.limit, quota.in_use, quota.live), (Some(1), 1, 1));
    // What Trove has promised to somebody counts.
    run(server, "UPDATE quota_usages SET in_use = 0, reserved = 1 WHERE tenant_id = 'quota-one'").await;
    assert_eq!(cause(&trove.register(&backup("quota-one")).await), Some(Cause::Quota));

    limit(server, "quota-none", -1).await;
    for _ in 0..3 {
        trove.register(&backup("quota-none")).await.expect("no limit");
        trove.register(&backup("quota-ignored")).await.unwrap_or(());
    }
    assert_eq!(trove.quota("quota-none").await.expect("read").limit, None);
    assert_eq!(count(server, "quota-ignored").await, (2, Some(2)), "the plan's default holds");
    let evacuation = open(server, "least", QuotaRule::Ignore, 2).await;
    evacuation.register(&backup("quota-ignored")).await.expect("quotas are ignored");
    assert_eq!(count(server, "quota-ignored").await, (3, Some(3)), "and counted");
    let asked = trove.quota("quota-of-nobody").await.expect("read");
    assert_eq!((asked.limit, asked.in_use, asked.live), (Some(2), 0, 0));
    assert_eq!(count(server, "quota-of-nobody").await, (0, None), "asking makes no rows");
}

pub(crate) async fn starts_the_count_with_what_is_there(server: &TroveServer) {
    let trove = open(server, "least", QuotaRule::Respect, 5).await;
    for deleted in ["FALSE", "FALSE", "FALSE", "TRUE"] {
        let id = Uuid::new_v4();
        let columns = "id, name, tenant_id, state, deleted";
        let values = format!("'{id}', 'theirs', 'uncounted', 'COMPLETED', {deleted}");
        run(server, &format!("INSERT INTO backups ({columns}) VALUES ({values})")).await;
    }
    assert_eq!(trove.quota("uncounted").await.expect("read").in_use, 3);
    for there in [4, 5] {
        trove.register(&backup("uncounted")).await.expect("registered");
        assert_eq!(count(server, "uncounted").await, (i64::from(there), Some(there)));
    }
    assert_eq!(cause(&trove.register(&backup("uncounted")).await), Some(Cause::Quota));
    assert_eq!(count(server, "uncounted").await, (5, Some(5)));
}

pub(crate) async fn counts_right_when_many_register(server: &TroveServer) {
    limit(server, "many", 15).await;
    let mut troves = Vec::new();
    for _ in 0..3 {
        troves.push(open(server, "least", QuotaRule::Respect, 50).await);
    }
    for tenant in ["many", "many-first", "many-second"] {
        let backups: Vec<NewBackup> = (0..20).map(|_| backup(tenant)).collect();
        // Each of them by two at once.
        let tasks = backups.iter().enumerate().flat_map(|(at, backup)| {
            [0, 1].map(|second| {
                let (trove, backup) = (troves[(at + second) % troves.len()].clone(), backup.clone());
                tokio::spawn(async move { trove.register(&backup).await })
            })
        });
        let ends: Vec<Result<(), Failure>> =
            join_all(tasks.collect::<Vec<_>>()).await.into_iter().map(|end| end.expect("no panic")).collect();
        let wanted = if tenant == "many" { 15 } else { 20 };
        assert_eq!(count(server, tenant).await, (i64::from(wanted), Some(wanted)), "{ends:?}");
        let refused: Vec<_> = ends.iter().filter_map(cause).collect();
        assert!(refused.iter().all(|cause| *cause == Cause::Quota), "{ends:?}");
        assert_eq!(refused.is_empty(), tenant != "many");
    }
}

pub(crate) async fn looks_again_when_no_reply_came(server: &TroveServer) {
    let way = Cutter::before(server.port, b"COMMIT").await;
    let address = Address::parse(&server.url_of("least", way.port)).expect("an address");
    let trove = TroveDatabase::connect(&address, QuotaRule::Respect, 50).await.expect("it connects");
    trove.register(&backup("cut")).await.expect("it is there after all");
    assert!(way.has_cut(), "the reply was to be lost");
    assert_eq!(count(server, "cut").await, (1, Some(1)));
}

pub(crate) async fn refuses_what_does_not_fit(server: &TroveServer) {
    let trove = open(server, "least", QuotaRule::Respect, 50).await;
    let long = NewBackup { name: "n".repeat(256), ..backup("fits") };
    let quoted = NewBackup { checksum: format!("\"{}\"", backup("fits").checksum), ..backup("fits") };
    for bad in [long, quoted] {
        assert_eq!(cause(&trove.register(&bad).await), Some(Cause::TargetUnwritable));
    }
    let crab = NewBackup { name: "🦀".into(), ..backup("fits") };
    match server.kind {
        Kind::MariaDb => {
            assert!(trove.holds("🦀", None).is_err());
            let failure = trove.register(&crab).await.expect_err("utf8mb3");
            assert!(failure.message.contains("no characters of four bytes"), "{failure:?}");
            assert_eq!(count(server, "fits").await, (0, None));
        }
        Kind::PostgreSql => {
            trove.register(&crab).await.expect("UTF-8 is UTF-8");
            let ledger = trove.ledger(None).await.expect("read");
            assert_eq!(ledger.get(crab.id).map(|record| record.name.as_str()), Some("🦀"));
        }
    }
}

pub(crate) async fn needs_no_more_than_it_says(server: &TroveServer) {
    let reader = open(server, "reader", QuotaRule::Respect, 50).await;
    reader.ledger(None).await.expect("reading is enough to read");
    let failure = reader.register(&backup("rights")).await.expect_err("it may not write");
    assert_eq!(failure.cause, Cause::TargetUnwritable);
    assert!(failure.hint.is_some_and(|hint| hint.contains("INSERT on backups")));
    assert_eq!(count(server, "rights").await, (0, None));
    let wrong = server.url_of("reader", server.port).replace("reader-pw", "hunter2");
    let wrong = Address::parse(&wrong).expect("an address");
    let failure = TroveDatabase::connect(&wrong, QuotaRule::Respect, 50).await.expect_err("a wrong password");
    assert_eq!(failure.cause, Cause::SourceUnreadable, "{failure:?}");
    assert!(!format!("{failure:?}").contains("hunter2"));
}

pub(crate) async fn says_at_once_that_nobody_answers(server: &TroveServer) {
    // One that is off, and one that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    for port in [server.port, silent.local_addr().expect("an address").port()] {
        let began = Instant::now();
        let address = Address::parse(&server.url_of("least", port)).expect("an address");
        let failure = TroveDatabase::connect(&address, QuotaRule::Respect, 50).await.expect_err("nobody answers");
        assert_eq!(failure.cause, Cause::Unreachable, "{failure:?}");
        assert!(failure.message.contains(&format!("127.0.0.1:{port}/trove")), "{failure:?}");
        assert!(!format!("{failure:?}").contains("least-pw"));
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    }
}
