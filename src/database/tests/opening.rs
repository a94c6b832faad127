//! Opening: what is created, who may, and what is refused untouched.

use std::os::unix::fs::PermissionsExt;

use sea_orm::ConnectionTrait;

use super::super::lock::Holder;
use super::super::{Database, DatabaseError, OpenError};
use super::{Fixture, PLAN, Place, file, holder, row, start, url_in};
use crate::lease::Terms;

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_new_database_is_its_owners_alone() {
    let fixture = Fixture::new(Place::File).await;
    fixture.database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    assert_eq!(mode(file(&fixture.url).parent().expect("a folder")), 0o700);
    for beside in ["", "-wal", "-shm", ".lock"] {
        let path = format!("{}{beside}", file(&fixture.url).display());
        assert_eq!(mode(path.as_ref()), 0o600, "{path}");
    }
}

#[tokio::test]
async fn the_second_writer_is_told_who_the_first_is() {
    let fixture = Fixture::new(Place::File).await;
    let error = Database::open_writing(&fixture.url, &holder(), Terms::DEFAULT, false).await.expect_err("held");
    let OpenError::Held { holder: text, .. } = &error else { panic!("{error}") };
    let first: Holder = serde_json::from_str(text).expect("one JSON line");
    assert_eq!((first.pid, first.plan.as_deref()), (std::process::id(), Some(PLAN)));
    let start = format!("the database `{}` is in use by `backhaul run` of plan `nightly` (pid ", fixture.url);
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn two_links_to_one_database_have_one_lock() {
    let fixture = Fixture::new(Place::File).await;
    let link = url_in(&fixture.folder, "link.db");
    std::os::unix::fs::symlink(file(&fixture.url), file(&link)).expect("a link");
    let error = Database::open_writing(&link, &holder(), Terms::DEFAULT, false).await.expect_err("held");
    assert!(matches!(error, OpenError::Held { .. }), "{error}");
}

#[tokio::test]
async fn a_writer_that_waits_gets_it_when_the_first_closes() {
    let fixture = Fixture::new(Place::File).await;
    let (url, me) = (fixture.url.clone(), holder());
    let (second, ()) = tokio::join!(Database::open_writing(&url, &me, Terms::DEFAULT, true), async {
        fixture.database.save_plan(PLAN, &[row("a")]).await.expect("saved");
        fixture.database.close().await;
    });
    let second = second.expect("free now");
    assert_eq!(second.planned_rows(PLAN).await.expect("readable").len(), 1);
}

#[tokio::test]
async fn closing_leaves_one_file_and_later_calls_fail() {
    let fixture = Fixture::new(Place::File).await;
    fixture.database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    fixture.database.close().await;
    fixture.database.close().await;
    assert!(!std::path::Path::new(&format!("{}-wal", file(&fixture.url).display())).exists());
    let error = fixture.database.save_plan::<crate::database::Row>(PLAN, &[]).await.expect_err("closed");
    assert!(error.is_unreachable(), "{error}");
    let reader = Database::open_reading(&fixture.url).await.expect("readable");
    assert_eq!(reader.planned_rows(PLAN).await.expect("readable").len(), 1);
}

#[tokio::test]
async fn a_reader_needs_no_lock_sees_what_is_committed_and_cannot_write() {
    let fixture = Fixture::new(Place::File).await;
    let reader = Database::open_reading(&fixture.url).await.expect("no lock needed");
    fixture.database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let open = fixture.other_connection().await;
    open.execute_unprepared("BEGIN IMMEDIATE; UPDATE backups SET name = 'uncommitted'")
        .await
        .expect("open transaction");
    let rows = reader.planned_rows(PLAN).await.expect("not blocked");
    assert_eq!(rows[0].name, row("a").name);
    let error = reader.claim_copy(&rows[0], super::run(), &start("t")).await.expect_err("read only");
    assert!(matches!(error, DatabaseError::NotWriting { .. }), "{error}");
    let raw = super::super::connect::Connector::new(fixture.url.place().clone(), "raw".into());
    let raw = raw.reading().await.expect("a reader");
    assert!(raw.execute_unprepared("DELETE FROM backups").await.is_err());
}

/// What kill -9 leaves: database and WAL as they were, and a lock file that nobody holds.
#[tokio::test]
async fn what_a_killed_run_left_can_be_read_and_written() {
    let fixture = Fixture::new(Place::File).await;
    fixture.database.save_plan(PLAN, &[row("a")]).await.expect("saved");
    let left = url_in(&fixture.folder, "left.db");
    for beside in ["", "-wal", ".lock"] {
        let from = format!("{}{beside}", file(&fixture.url).display());
        std::fs::copy(from, format!("{}{beside}", file(&left).display())).expect("copied");
    }
    let reader = Database::open_reading(&left).await.expect("readable");
    assert_eq!(reader.planned_rows(PLAN).await.expect("readable").len(), 1);
    let writer = Database::open_writing(&left, &holder(), Terms::DEFAULT, false).await.expect("free");
    assert_eq!(writer.planned_rows(PLAN).await.expect("readable").len(), 1);
}

#[tokio::test]
async fn reading_creates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url_in(&folder, "x.db");
    let error = Database::open_reading(&url).await.expect_err("absent");
    assert!(matches!(error, OpenError::Absent { .. }), "{error}");
    assert_eq!(folder.path().read_dir().expect("there").count(), 0);
}

#[tokio::test]
async fn an_empty_file_is_unfinished_to_a_reader_and_new_to_a_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url_in(&folder, "x.db");
    std::fs::write(file(&url), "").expect("written");
    let error = Database::open_reading(&url).await.expect_err("no tables");
    assert!(matches!(error, OpenError::Unfinished { .. }), "{error}");
    Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect("made");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_by_both() {
    let fixture = Fixture::new(Place::File).await;
    fixture.sql("INSERT INTO seaql_migrations VALUES ('m20990101_000009_more', 0)").await;
    fixture.database.close().await;
    let reading = Database::open_reading(&fixture.url).await.expect_err("newer");
    let writing = Database::open_writing(&fixture.url, &holder(), Terms::DEFAULT, false).await.expect_err("newer");
    assert!(matches!(reading, OpenError::Newer { .. }), "{reading}");
    assert!(matches!(writing, OpenError::Newer { .. }), "{writing}");
    let again = Database::open_writing(&fixture.url, &holder(), Terms::DEFAULT, false).await.expect_err("newer");
    assert!(matches!(again, OpenError::Newer { .. }), "the lock was given back: {again}");
}

#[tokio::test]
async fn files_that_are_not_ours_are_refused_and_stay_as_they_are() {
    let fixture = Fixture::new(Place::File).await;
    fixture.database.close().await;
    let text = url_in(&fixture.folder, "text.db");
    std::fs::write(file(&text), "no database, but long enough to have a header: ".repeat(40)).expect("written");
    let foreign = url_in(&fixture.folder, "foreign.db");
    let other = super::super::connect::Connector::new(foreign.place().clone(), "x".into());
    let other = other.writing().await.expect("a connection");
    other.execute_unprepared("PRAGMA journal_mode = DELETE; CREATE TABLE backups (id TEXT)").await.expect("made");
    other.close().await.expect("closed");

    for url in [text, foreign] {
        let before = std::fs::read(file(&url)).expect("there");
        let errors = [
            Database::open_reading(&url).await.expect_err("not ours"),
            Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect_err("not ours"),
        ];
        for error in errors {
            assert!(matches!(error, OpenError::NotADatabase { .. } | OpenError::Foreign { .. }), "{error}");
        }
        assert!(before == std::fs::read(file(&url)).expect("there"), "{url} was touched");
    }
}

#[tokio::test]
async fn folders_are_no_databases() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url_in(&folder, "x.db");
    std::fs::create_dir(file(&url)).expect("made");
    for error in [
        Database::open_reading(&url).await.expect_err("a folder"),
        Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect_err("a folder"),
    ] {
        assert!(matches!(error, OpenError::NotAFile { .. }), "{error}");
    }
}

#[tokio::test]
async fn nobody_joins_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = url_in(&folder, "x.db");
    let error = Database::open_joining(&url, &holder(), Terms::DEFAULT, true).await.expect_err("a file");
    let path = folder.path().join("x.db");
    assert_eq!(
        error.to_string(),
        format!(
            "the database `sqlite://{}` is a file, which one run at a time may write: nobody can join it",
            path.display()
        )
    );
    assert_eq!(
        error.hint(),
        Some("name a PostgreSQL or MySQL database with `--database URL`, or write `if_running: wait`")
    );
    assert!(!path.exists(), "nothing was made");
}
