//! The cases of the other files on real servers, and what only servers have.

#[path = "../../../tests/support/database_proxy.rs"]
mod database_proxy;
#[path = "../../../tests/support/database_server.rs"]
mod database_server;

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use tokio::task::JoinSet;

use super::super::{Database, DatabaseError, DatabaseUrl, Holder, OpenError};
use super::{Fixture, PLAN, Place, claims, commits, copied, holder, part, planning, row, run, sequences, start, steps};
use crate::id::Sha256Digest;
use crate::lease::Terms;
use crate::share::Share;
use crate::state::State;
use database_proxy::Proxy;
use database_server::{DatabaseServer, Kind};

/// A test that runs anywhere.
pub(super) type Case = fn(Place) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Cases at a time.
const AT_A_TIME: usize = 4;

/// A server, until its last test has ended.
pub(super) struct Server {
    process: Mutex<Option<DatabaseServer>>,
    made: AtomicU32,
}

impl Server {
    /// One that lives as long as any test wants it; the process does not outlive the guard.
    fn start(test: &str, kind: Kind) -> Option<(&'static Self, End)> {
        let process = match DatabaseServer::start(kind) {
            Ok(process) => process,
            Err(why) => {
                let must = std::env::var("BACKHAUL_TESTS_MUST_RUN").is_ok_and(|value| value == "1");
                assert!(!must, "{test} must run here, and cannot: {why}");
                let text = format!("\n*** SKIPPED: {test}: {why} ***\n");
                let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
                return None;
            }
        };
        let server: &'static Self =
            Box::leak(Box::new(Self { process: Mutex::new(Some(process)), made: AtomicU32::new(0) }));
        Some((server, End(server)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut DatabaseServer) -> T) -> T {
        act(self.process.lock().expect("no panic meanwhile").as_mut().expect("not ended"))
    }

    pub(super) async fn new_database(&self) -> DatabaseUrl {
        let (name, port) = (self.new_name().await, self.with(|process| process.port));
        self.url(&name, port)
    }

    async fn new_name(&self) -> String {
        let name = format!("backhaul_{}", self.made.fetch_add(1, Ordering::Relaxed));
        let first = self.with(|process| process.url(process.first(), process.port));
        let first = sea_orm::Database::connect(first).await.expect("it lets its root in");
        first.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("made");
        first.close().await.expect("closed");
        name
    }

    fn url(&self, name: &str, port: u16) -> DatabaseUrl {
        self.with(|process| DatabaseUrl::parse(&process.url(name, port))).expect("a URL")
    }
}

struct End(&'static Server);

impl Drop for End {
    fn drop(&mut self) {
        drop(self.0.process.lock().map(|mut process| process.take()));
    }
}

/// Runs all cases on a server of a kind, and says which of them fail.
async fn all_cases_on(kind: Kind) {
    let Some((server, _end)) = Server::start("the database suite", kind) else { return };
    let mut waiting =
        [claims::CASES, commits::CASES, planning::CASES, sequences::CASES, steps::CASES, CASES].concat().into_iter();
    let (mut running, mut failed) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_A_TIME
            && let Some((name, case)) = waiting.next()
        {
            running.spawn(async move {
                let ended = tokio::spawn(case(Place::Server(server))).await;
                (name, ended.is_ok())
            });
        }
        let Some(ended) = running.join_next().await else { break };
        let (name, passed) = ended.expect("panics are caught");
        failed.extend((!passed).then_some(name));
    }
    assert!(failed.is_empty(), "on {kind:?}: {failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_postgresql() {
    all_cases_on(Kind::PostgreSql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_on_mariadb() {
    all_cases_on(Kind::MariaDb).await;
}

const CASES: &[(&str, Case)] = &[
    ("the_second_writer_is_told_who_the_first_is", |on| Box::pin(the_second_writer_is_told_who_the_first_is(on))),
    ("two_that_start_at_once_make_the_tables_once", |on| Box::pin(two_that_start_at_once_make_the_tables_once(on))),
    ("reading_makes_nothing", |on| Box::pin(reading_makes_nothing(on))),
    ("tables_of_others_are_left_alone", |on| Box::pin(tables_of_others_are_left_alone(on))),
    ("a_database_with_views_alone_is_empty", |on| Box::pin(a_database_with_views_alone_is_empty(on))),
    ("a_lease_that_is_over_lets_others_in", |on| Box::pin(a_lease_that_is_over_lets_others_in(on))),
    ("runs_of_one_plan_join_and_nobody_else", |on| Box::pin(runs_of_one_plan_join_and_nobody_else(on))),
    ("a_lease_is_regained_when_it_is_asked_for", |on| Box::pin(a_lease_is_regained_when_it_is_asked_for(on))),
    ("plans_are_written_down_by_one_at_a_time", |on| Box::pin(plans_are_written_down_by_one_at_a_time(on))),
    ("who_has_lost_the_plan_lock_does_no_harm", |on| Box::pin(who_has_lost_the_plan_lock_does_no_harm(on))),
    ("long_texts_and_sizes_come_back", |on| Box::pin(long_texts_and_sizes_come_back(on))),
];

fn server_of(on: Place) -> &'static Server {
    match on {
        Place::Server(server) => server,
        Place::File => panic!("these are cases of servers"),
    }
}

async fn the_second_writer_is_told_who_the_first_is(on: Place) {
    let fixture = Fixture::new(on).await;
    let error = Database::open_writing(&fixture.url, &holder(), Terms::DEFAULT, false).await.expect_err("held");
    let OpenError::Held { holder: text, .. } = &error else { panic!("{error}") };
    let first: Holder = serde_json::from_str(text).expect("JSON");
    assert_eq!((first.pid, first.plan.as_deref()), (std::process::id(), Some(PLAN)));
    let reader = Database::open_reading(&fixture.url).await.expect("readable");
    assert!(reader.writer().await.expect("readable").is_some_and(|writer| writer.contains("`backhaul run`")));

    let (url, me) = (fixture.url.clone(), holder());
    let (second, ()) = tokio::join!(Database::open_writing(&url, &me, Terms::DEFAULT, true), fixture.database.close());
    second.expect("free at once").close().await;
    assert_eq!(reader.writer().await.expect("readable"), None);
}

async fn two_that_start_at_once_make_the_tables_once(on: Place) {
    let url = server_of(on).new_database().await;
    let open = || async {
        let database = Database::open_writing(&url, &holder(), Terms::DEFAULT, true).await.expect("open");
        database.save_plan(PLAN, &[row("a")]).await.expect("saved");
        database.close().await;
    };
    tokio::join!(open(), open(), open(), open());
    let reader = Database::open_reading(&url).await.expect("readable");
    assert_eq!(reader.planned_rows(PLAN).await.expect("readable").len(), 1);
}

async fn reading_makes_nothing(on: Place) {
    let url = server_of(on).new_database().await;
    for _ in 0..2 {
        let error = Database::open_reading(&url).await.expect_err("no tables");
        assert!(matches!(error, OpenError::Absent { .. }), "{error}");
    }
}

async fn tables_of_others_are_left_alone(on: Place) {
    let url = server_of(on).new_database().await;
    let other = super::Connector::new(url.place().clone(), "other".into()).writing().await.expect("a connection");
    other.execute_unprepared("CREATE TABLE backups (id VARCHAR(36))").await.expect("made");
    let writing = Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect_err("not ours");
    let reading = Database::open_reading(&url).await.expect_err("not ours");
    for error in [writing, reading] {
        assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    }
}

async fn a_database_with_views_alone_is_empty(on: Place) {
    let url = server_of(on).new_database().await;
    let other = super::Connector::new(url.place().clone(), "other".into()).writing().await.expect("a connection");
    other.execute_unprepared("CREATE VIEW seen AS SELECT 1 AS one").await.expect("made");
    Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect("it has no tables").close().await;
}

async fn a_lease_that_is_over_lets_others_in(on: Place) {
    let terms = Terms::new(Duration::from_secs(3), Duration::from_secs(1)).expect("terms");
    let url = server_of(on).new_database().await;
    let first = Database::open_writing(&url, &holder(), terms, false).await.expect("open");
    first.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let claim = first.claim_copy(&row("a"), run(), &start("t")).await.expect("written").expect("free");
    assert!(first.check_lease().is_ok());
    let other = super::Connector::new(url.place().clone(), "other".into()).writing().await.expect("a connection");
    other.execute_unprepared("UPDATE runners SET lease_until_ms = lease_until_ms - 60000").await.expect("over");

    let second = Database::open_writing(&url, &holder(), terms, false).await.expect("free");
    let seen = second.rows(&[claim.id()]).await.expect("readable").remove(0);
    second.claim_copy(&seen, run(), &start("t2")).await.expect("written").expect("void");
    let error = first.lease_ended().await;
    assert!(matches!(error, DatabaseError::LeaseEnded { .. }), "{error}");
    assert!(first.check_lease().is_err());
    assert!(!first.copied(claim, copied()).await.expect("written"), "the late one changes nothing");
    assert!(second.check_lease().is_ok());
}

async fn runs_of_one_plan_join_and_nobody_else(on: Place) {
    let url = server_of(on).new_database().await;
    let join = |holder: Holder, accept| {
        let url = url.clone();
        async move { Database::open_joining(&url, &holder, Terms::DEFAULT, accept).await }
    };
    let version = |byte| holder().with_plan_file(Sha256Digest([byte; 32]));
    let first = join(version(1), false).await.expect("the first needs nobody");
    let second = join(version(1), false).await.expect("the same plan");
    assert_ne!(first.runner(), second.runner());
    let edited = join(version(2), false).await.expect_err("another version");
    assert!(matches!(&edited, OpenError::PlanChanged { holder, .. } if holder.pid == std::process::id()), "{edited}");
    let accepted = join(version(2), true).await.expect("it was said that it is known");
    for other in [Holder::this_process("run", Some("another")), Holder::this_process("gc", Some(PLAN))] {
        let held = join(other, true).await.expect_err("not beside runs of this plan");
        assert!(matches!(held, OpenError::Held { .. }), "{held}");
    }
    let alone = Database::open_writing(&url, &version(1), Terms::DEFAULT, false).await.expect_err("not alone");
    assert!(matches!(alone, OpenError::Held { .. }), "{alone}");

    first.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let me = first.runner().expect("in the list");
    let claim = first.claim_copy(&row("a"), me, &start("t")).await.expect("written").expect("free");
    assert_eq!((first.first_share(), second.first_share()), (Share::WHOLE, Share::NONE), "who joins has nothing yet");
    let seen = second.look_at_others(0, &[]).await.expect("readable");
    assert_eq!(seen.live, [first.runner(), accepted.runner()].into_iter().flatten().collect());
    let rows: Vec<_> = seen.changed.iter().map(|seen| (seen.id, seen.state, seen.claim)).collect();
    assert_eq!(rows, [(claim.id(), State::Building, 1)]);
    let asked = second.look_at_others(seen.at_ms + 3_600_000, &[claim.id()]).await.expect("readable");
    assert_eq!(asked.changed, seen.changed, "what is asked for is told however old");
    let later = second.look_at_others(seen.at_ms + 3_600_000, &[]).await.expect("readable");
    assert_eq!(later.changed, []);
    for database in [first, second, accepted] {
        database.close().await;
    }
    Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect("all have left").close().await;
}

async fn a_lease_is_regained_when_it_is_asked_for(on: Place) {
    let terms = Terms::new(Duration::from_secs(3), Duration::from_secs(1)).expect("terms");
    let url = server_of(on).new_database().await;
    let database = Database::open_joining(&url, &holder(), terms, false).await.expect("open");
    database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let me = database.runner().expect("in the list");
    let claim = database.claim_copy(&row("a"), me, &start("t")).await.expect("written").expect("free");
    let other = super::Connector::new(url.place().clone(), "other".into()).writing().await.expect("a connection");
    let end = || other.execute_unprepared("UPDATE runners SET lease_until_ms = lease_until_ms - 60000");

    end().await.expect("over");
    database.lease_ended().await;
    let beside = Database::open_joining(&url, &holder(), terms, false).await.expect("nobody is live");
    let seen = beside.rows(&[claim.id()]).await.expect("readable").remove(0);
    let theirs = beside.take_over_copy(&seen, beside.runner().expect("in it")).await.expect("written").expect("free");
    assert!(database.check_lease().is_err(), "it is not had again before it is asked for");
    database.regain_lease().await.expect("beside a run of the same plan");
    assert!(database.check_lease().is_ok());
    assert!(!database.copied(claim, copied()).await.expect("written"), "what it had is another's");
    let shares = async || {
        let live = beside.participants().await.expect("readable").into_iter();
        live.map(|one| (Some(one.id), one.share)).collect::<Vec<_>>()
    };
    assert_eq!((database.first_share(), beside.first_share()), (Share::WHOLE, Share::WHOLE), "nobody was live");
    assert_eq!(shares().await, [(Some(me), None), (beside.runner(), Some(Share::WHOLE))], "so are the limits");
    let half = Share::of_rank(0, 2, 2);
    assert!(database.announce(Some(half)).await.expect("written"));
    assert!(beside.announce(None).await.expect("written"));
    assert_eq!(shares().await, [(Some(me), Some(half)), (beside.runner(), None)]);
    assert!(beside.copied(theirs, copied()).await.expect("written"));
    beside.close().await;

    // Somebody who needs the database alone has come.
    end().await.expect("over");
    database.lease_ended().await;
    let gc = Holder::this_process("gc", None);
    let alone = Database::open_writing(&url, &gc, terms, false).await.expect("nobody is live");
    let error = database.regain_lease().await.expect_err("not beside it");
    assert!(matches!(error, DatabaseError::LeaseEnded { .. }), "{error}");
    assert!(alone.check_lease().is_ok());
    alone.close().await;

    // Somebody has come with another version of the plan.
    let version = |byte| holder().with_plan_file(Sha256Digest([byte; 32]));
    let old = Database::open_joining(&url, &version(1), terms, false).await.expect("nobody is live");
    end().await.expect("over");
    old.lease_ended().await;
    let new = Database::open_joining(&url, &version(2), terms, false).await.expect("nobody is live");
    let error = old.regain_lease().await.expect_err("not beside it");
    assert!(matches!(error, DatabaseError::LeaseEnded { .. }), "{error}");
    new.close().await;
}

async fn plans_are_written_down_by_one_at_a_time(on: Place) {
    let url = server_of(on).new_database().await;
    let first = Database::open_joining(&url, &holder(), Terms::DEFAULT, false).await.expect("open");
    let second = Database::open_joining(&url, &holder(), Terms::DEFAULT, false).await.expect("open");
    let lock = first.lock_plans().await.expect("free");
    let waiting = second.lock_plans();
    tokio::pin!(waiting);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "the first has it");
    lock.release().await;
    waiting.await.expect("free").release().await;
    let frozen = first.lock_plans().await.expect("free");
    frozen.freeze();
    second.lock_plans().await.expect("free soon").release().await;
    frozen.release().await;
    let rows: Vec<_> = (0..300).map(|number| row(&format!("n{number}"))).collect();
    let save = |database: Database| {
        let rows = rows.clone();
        async move {
            let lock = database.lock_plans().await.expect("free in the end");
            database.save_plan(PLAN, &rows).await.expect("saved");
            lock.release().await;
        }
    };
    tokio::join!(save(first.clone()), save(second.clone()));
    assert_eq!(first.planned_rows(PLAN).await.expect("readable").len(), rows.len());
}

/// A server that restarts frees it while its owner goes on.
async fn who_has_lost_the_plan_lock_does_no_harm(on: Place) {
    let url = server_of(on).new_database().await;
    let open = || async { Database::open_joining(&url, &holder(), Terms::DEFAULT, false).await.expect("open") };
    let (first, second) = (open().await, open().await);
    for round in 0..5 {
        let rows: Vec<_> = (0..50 * (round + 1)).map(|number| row(&format!("n{number}"))).collect();
        let (one, other) = tokio::join!(first.save_plan(PLAN, &rows), second.save_plan(PLAN, &rows));
        one.and(other).expect("both wrote the same");
        let planned = first.planned_rows(PLAN).await.expect("readable");
        assert!(planned.iter().map(|row| &row.name).eq(rows.iter().map(|row| &row.name)), "in the plan's order");
    }
}

async fn long_texts_and_sizes_come_back(on: Place) {
    let fixture = Fixture::new(on).await;
    let planned = super::Row {
        metadata: (0..2_000).map(|n| (format!("key {n}"), "wörd ".repeat(20))).collect(),
        bytes: Some(1 << 62),
        size: Some(0.1 + 0.2),
        ..row("long")
    };
    fixture.database.save_plan(PLAN, std::slice::from_ref(&planned)).await.expect("saved");
    let stored = fixture.row(planned.id).await;
    assert_eq!(stored, super::Row { planned_ms: stored.planned_ms, changed_ms: stored.planned_ms, ..planned });
}

/// Nobody knows whether a write was committed, and who waited was told so: what is written next gets its own answers.
async fn what_is_given_up_answers_nobody_else(server: &Server) {
    let (name, port) = (server.new_name().await, server.with(|process| process.port));
    let proxy = Proxy::to(port);
    let url = server.url(&name, proxy.port);
    let database = Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect("open");
    database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let claim = database.claim_copy(&row("a"), run(), &start("t")).await.expect("written").expect("free");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    for number in [0, 2] {
        proxy.lead_to(silent.local_addr().expect("bound").port());
        proxy.swallow_next_commit();
        database.hurry();
        let error = database.part_done(claim, part(number), None, 1).await.expect_err("nobody knows");
        assert!(error.is_unreachable(), "{error}");
        proxy.lead_to(port);
        assert_eq!(database.claim_copy(&row("a"), run(), &start("u")).await.expect("written"), None, "it is claimed");
        assert!(database.part_done(claim, part(number + 1), None, 1).await.expect("written"));
    }
    let reader = Database::open_reading(&url).await.expect("readable");
    assert_eq!(reader.parts(claim.id()).await.expect("readable"), (0..4).map(part).collect::<Vec<_>>());
    database.close().await;
}

async fn faults_on(kind: Kind) {
    let Some((server, _end)) = Server::start("faults of a database server", kind) else { return };
    what_is_given_up_answers_nobody_else(server).await;
    let name = server.new_name().await;
    let proxy = Proxy::to(server.with(|process| process.port));
    let url = server.url(&name, proxy.port);
    let database = Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect("open");
    database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let claim = database.claim_copy(&row("a"), run(), &start("t")).await.expect("written").expect("free");

    // The server commits, and nobody hears of it: done blindly again, the part would be there already.
    for number in 0..5 {
        proxy.swallow_next_commit();
        assert!(database.part_done(claim, part(number), None, 1).await.expect("written"), "part {number}");
        assert_eq!(proxy.swallowed(), u64::from(number) + 1);
    }
    let reader = Database::open_reading(&url).await.expect("readable");
    // The server is gone in the middle, and comes back.
    for number in 5..8 {
        server.with(DatabaseServer::stop);
        let (written, ()) = tokio::join!(database.part_done(claim, part(number), None, 1), async {
            tokio::task::spawn_blocking(|| server.with(DatabaseServer::resume)).await.expect("it starts");
        });
        assert!(written.expect("written"), "part {number}");
    }
    assert_eq!(reader.parts(claim.id()).await.expect("readable").len(), 8);
    assert_eq!(reader.rows(&[claim.id()]).await.expect("readable")[0].bytes_read, 8);

    // It does not know any more what it confirmed.
    let direct = super::Connector::new(url.place().clone(), "other".into()).writing().await.expect("a connection");
    direct.execute_unprepared("UPDATE commits SET sequence = sequence - 1").await.expect("gone back");
    for _ in 0..2 {
        let error = database.part_done(claim, part(8), None, 1).await.expect_err("not trusted");
        assert!(matches!(error, DatabaseError::WentBack { .. }), "{error}");
    }
    assert_eq!(reader.parts(claim.id()).await.expect("readable").len(), 8);
    assert_eq!(reader.rows(&[claim.id()]).await.expect("readable")[0].state, State::Building);

    // Nobody is there, or somebody who says nothing.
    server.with(DatabaseServer::stop);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    for port in [server.with(|process| process.port), silent.local_addr().expect("bound").port()] {
        let began = Instant::now();
        let error = Database::open_reading(&server.url(&name, port)).await.expect_err("unreachable");
        assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
        let error = Database::open_writing(&server.url(&name, port), &holder(), Terms::DEFAULT, false).await;
        assert!(matches!(error, Err(OpenError::Unreachable { .. })));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_restarts_of_postgresql_are_survived() {
    faults_on(Kind::PostgreSql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_restarts_of_mariadb_are_survived() {
    faults_on(Kind::MariaDb).await;
}
