//! Against real `SQLite` files, and most of it against real servers, too.

mod claims;
mod commits;
mod opening;
mod planning;
mod sequences;
mod servers;
mod steps;

use std::collections::BTreeMap;
use std::path::Path;

use sea_orm::{ConnectionTrait, DatabaseConnection};
use tempfile::TempDir;
use uuid::Uuid;

use super::connect::Connector;
use super::url::Place as UrlPlace;
use super::{Claim, Copied, CopyStart, Database, DatabaseUrl, Holder, PartRow, RecordPlace, Row};
use crate::failure::{Cause, Failure};
use crate::id::Sha256Digest;
use crate::lease::Terms;
use crate::state::State;

const PLAN: &str = "nightly";

/// Where a test makes its databases.
#[derive(Clone, Copy)]
enum Place {
    /// In a folder of its own.
    File,
    /// As a database of its own.
    Server(&'static servers::Server),
}

/// Makes tests of functions: each in a file, and all of them once a server.
macro_rules! on_all_databases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[(&str, super::servers::Case)] =
            &[$((stringify!($name), |on| Box::pin($name(on)))),*];
        mod in_a_file {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::Place::File).await;
            })*
        }
    };
}
use on_all_databases;

/// A new database.
struct Fixture {
    folder: TempDir,
    url: DatabaseUrl,
    database: Database,
}

impl Fixture {
    async fn new(on: Place) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match on {
            Place::File => url_in(&folder, "state/x.db"),
            Place::Server(server) => server.new_database().await,
        };
        let database = Database::open_writing(&url, &holder(), Terms::DEFAULT, false).await.expect("a new database");
        Self { folder, url, database }
    }

    /// What another program might do to it.
    async fn sql(&self, sql: &str) {
        let connection = self.other_connection().await;
        connection.execute_unprepared(sql).await.expect(sql);
        connection.close().await.expect("closed");
    }

    async fn other_connection(&self) -> DatabaseConnection {
        Connector::new(self.url.place().clone(), "other".into()).writing().await.expect("a connection")
    }

    async fn row(&self, id: Uuid) -> Row {
        self.database.rows(&[id]).await.expect("readable").pop().expect("the row")
    }

    /// A planned row brought to `state` by the writes that a run would do, and the last claim on it.
    async fn in_state(&self, state: State) -> (Row, Claim) {
        let row = row(&format!("of {state}"));
        self.database.save_plan(PLAN, std::slice::from_ref(&row)).await.expect("saved");
        let claim = self.database.claim_copy(&row, run(), &start("t1")).await.expect("written").expect("free");
        let done = match state {
            State::New => self.database.drained(claim).await,
            State::Building => Ok(true),
            State::Saving => self.database.copied(claim, copied()).await,
            State::Completed => {
                assert!(self.database.copied(claim, copied()).await.expect("written"));
                Ok(self.database.registered(&[(claim, RecordPlace::object("r"))]).await.expect("written")[0])
            }
            State::Failed => self.database.failed(claim, State::Building, &failure(), true).await,
        };
        assert!(done.expect("written"), "{state}");
        (self.row(row.id).await, claim)
    }
}

fn url_in(folder: &TempDir, name: &str) -> DatabaseUrl {
    DatabaseUrl::parse(&format!("sqlite:{}", folder.path().join(name).display())).expect("a URL")
}

fn file(url: &DatabaseUrl) -> &Path {
    match url.place() {
        UrlPlace::File(path) => path,
        UrlPlace::Server(_) => panic!("{url} is no file"),
    }
}

fn holder() -> Holder {
    Holder::this_process("run", Some(PLAN))
}

fn run() -> Uuid {
    Uuid::from_u128(7)
}

/// A row as planning makes it, with something in every column that planning fills.
fn row(name: &str) -> Row {
    let text = |what: &str| Some(format!("{what} of {name}"));
    Row {
        name: format!("{name}'; DROP TABLE backups;-- 🦀"),
        description: text("description"),
        location: text("location"),
        backup_type: text("type"),
        size: Some(2.5),
        tenant_id: text("tenant"),
        instance_id: text("instance"),
        checksum: text("checksum"),
        backup_timestamp: text("backup_timestamp"),
        created: text("created"),
        updated: text("updated"),
        parent_id: Some(Uuid::from_u128(99)),
        datastore_version_id: text("datastore_version_id"),
        storage_driver: text("driver"),
        region: "region-two".into(),
        target_store: "file:/two".into(),
        target_catalog: "store:file:/two".into(),
        source_region: "region-one".into(),
        source_store: "file:/one".into(),
        source_id: text("source id"),
        source_location: text("source location"),
        source_etag: text("source etag"),
        bytes: Some(1 << 40),
        datastore: text("datastore"),
        datastore_version: text("datastore_version"),
        source_tenant_id: text("source_tenant_id"),
        datastore_version_number: text("datastore_version_number"),
        expected_sha256: Some(Sha256Digest([0xab; 32])),
        metadata: BTreeMap::from([("key".into(), "välue".into())]),
        ..Row::new(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }
}

fn start(token: &str) -> CopyStart {
    CopyStart {
        attempt: 1,
        upload_token: token.into(),
        part_size: 1 << 20,
        source_etag: "etag-1".into(),
        bytes: 3 << 20,
        location: "two/x.gz".into(),
        fresh: false,
    }
}

fn part(number: u32) -> PartRow {
    PartRow { number, size: 1 << 20, reference: Some(format!("ref-{number}")), sha256_state: vec![7; 105] }
}

fn copied() -> Copied {
    Copied {
        metadata: std::collections::BTreeMap::new(),
        bytes: 3 << 20,
        bytes_read: 5,
        sha256: Sha256Digest([0xcd; 32]),
        verified: "read back".into(),
        etag: Some("target-etag".into()),
        in_parts: true,
    }
}

fn failure() -> Failure {
    Failure::new(Cause::SourceError, "reading `x` failed: I/O error").hint("look at the disk")
}
