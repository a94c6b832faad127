//! Among the requests in the log of a store.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{PARENT, names, sql, whole};
use crate::support::{Bed, SOURCE, files};

/// Who signs all requests, by a process that has a lease until an hour from the first of them.
const KEY: &str = "AKIDAUDITED";
const PID: u64 = 4242;
const LEASE_MS: u64 = 3_600_000;

/// More than the object has in all targets.
const MANY: u64 = 100 << 20;

/// Between two requests that come one after the other.
const PAUSE_MS: u64 = 20_000;

struct Log {
    /// When the first request came.
    begun_ms: u64,
    requests: Vec<Value>,
    uploads: Vec<&'static str>,
    deleted: Vec<&'static str>,
}

impl Log {
    /// The requests that a whole bed's target `two` would have got: its copies, and after them its records.
    fn whole(bed: &Bed, begun_ms: u64) -> Self {
        let mut log = Self { begun_ms, requests: Vec::new(), uploads: Vec::new(), deleted: Vec::new() };
        let folder = bed.target("two");
        let name = |path: std::path::PathBuf| path.strip_prefix(&folder).expect("below").display().to_string();
        let (records, copies): (BTreeSet<_>, BTreeSet<_>) =
            files(&folder).into_iter().map(name).partition(|name| name.starts_with(".backhaul/"));
        for name in copies.into_iter().chain(records) {
            log.asks("PutObject", &name, 0);
        }
        log
    }

    /// One request more, some time after the last one.
    fn asks(&mut self, operation: &str, key: &str, bytes: u64) -> &mut Value {
        let at_ms = self.requests.last().map_or(self.begun_ms, |last| time(&last["at_ms"]) + PAUSE_MS);
        self.asks_at(at_ms, operation, key, bytes)
    }

    fn asks_at(&mut self, at_ms: u64, operation: &str, key: &str, bytes: u64) -> &mut Value {
        self.requests.push(json!({
            "operation": operation,
            "key": key,
            "bytes": bytes,
            "status": 200,
            "fault": null,
            "at_ms": at_ms,
            "ended_ms": at_ms + 10,
            "connection": "127.0.0.1:9",
            "access_key_id": KEY,
            "retry_after": null,
        }));
        self.requests.last_mut().expect("just pushed")
    }

    /// Many requests, so long after one another.
    fn asks_often(&mut self, every_ms: u64, times: u64, operation: &str, bytes: u64) {
        for at in 0..times {
            self.asks_at(self.begun_ms + at * every_ms, operation, PARENT, bytes);
        }
    }

    /// Some requests about objects of their own, each on a connection of its own, at one time.
    fn asks_at_once(&mut self, times: u64, operation: &str) {
        for at in 0..times {
            let request = self.asks_at(self.begun_ms + at, operation, &format!("{at}.bin"), 1);
            request["ended_ms"] = json!(time(&request["at_ms"]) + 2_000);
            request["connection"] = json!(format!("127.0.0.1:{at}"));
        }
    }

    /// One that is told to wait for so long, and the next one on its connection.
    fn is_told_to_wait(&mut self, text: &str, next_after_ms: u64) {
        let request = self.asks("HeadObject", PARENT, 0);
        (request["status"], request["retry_after"]) = (json!(503), json!(text));
        let ended_ms = time(&request["ended_ms"]);
        self.asks_at(ended_ms + next_after_ms, "HeadObject", PARENT, 0);
    }
}

fn time(value: &Value) -> u64 {
    value.as_u64().expect("a time")
}

/// As a plant, in the log of a store.
type InLog = (&'static str, &'static str, &'static str, fn(&mut Log));

const IN_LOGS: [InLog; 23] = [
    ("I8", "a source is written", SOURCE, |log| _ = log.asks("PutObject", PARENT, 0)),
    ("I8", "a source's object is deleted", SOURCE, |log| _ = log.asks("DeleteObject", PARENT, 0)),
    ("I5", "an object is read once more", SOURCE, |log| _ = log.asks("GetObject", PARENT, MANY)),
    ("I5", "a part is sent once more", "two", |log| _ = log.asks("UploadPart", PARENT, MANY)),
    ("I15", "an object is replaced", "two", |log| _ = log.asks("PutObject", PARENT, 0)),
    ("I16", "an object is deleted that nobody has stored", "two", |log| log.deleted.push("other")),
    ("I16", "an upload is aborted that nobody has begun", "two", |log| {
        log.asks("AbortMultipartUpload", "other", 0);
    }),
    ("I16", "an object is copied over another", "two", |log| _ = log.asks("CopyObject", PARENT, 0)),
    ("I3", "a copy is recorded before it is stored", "two", |log| log.requests.reverse()),
    ("I6", "an upload is open", "two", |log| log.uploads.push(PARENT)),
    ("I17", "more is read than may be", SOURCE, |log| log.asks_often(100, 60, "GetObject", 1 << 20)),
    ("I17", "a region moves more than it may", "two", |log| log.asks_often(100, 60, "UploadPart", 1 << 20)),
    ("I17", "a region is asked more often than it may be", "two", |log| log.asks_often(50, 120, "HeadObject", 0)),
    ("I18", "three copies at a time", SOURCE, |log| log.asks_at_once(3, "GetObject")),
    ("I18", "two copies at a time to a region", "two", |log| log.asks_at_once(2, "UploadPart")),
    ("I19", "a store is asked too early", "two", |log| log.is_told_to_wait("5", 4_400)),
    ("I19", "a store is asked before the date that it named", "two", |log| {
        log.is_told_to_wait("Fri, 01 Jan 2100 00:00:00 GMT", 200_000);
    }),
    ("I9", "a finished plan is run again, and writes", "two", |log| {
        log.asks_at(log.begun_ms + 3 * LEASE_MS, "PutObject", "new", 0);
    }),
    ("I7", "a dry run asks for an upload", "two", |log| {
        log.asks_at(log.begun_ms + 4 * LEASE_MS, "CreateMultipartUpload", "new", 0);
    }),
    ("I20", "somebody writes after the end of his lease", "two", |log| {
        log.asks_at(log.begun_ms + LEASE_MS + 1_100, "UploadPart", PARENT, 0);
    }),
    ("I20", "somebody deletes after the end of his lease", "two", |log| {
        log.asks_at(log.begun_ms + LEASE_MS + 1_100, "DeleteObject", PARENT, 0);
    }),
    ("I20", "somebody wakes and writes long after he slept", "two", |log| {
        log.asks_at(log.begun_ms + 2 * LEASE_MS + 2_100, "UploadPart", PARENT, 0);
    }),
    ("I20", "somebody writes before he had a lease", "two", |log| {
        log.asks_at(1, "UploadPart", PARENT, 0);
    }),
];

#[test]
fn what_is_planted_among_requests_is_found() {
    let bed = whole();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let begun_ms = u64::try_from(now).expect("this age") + 5_000;
    let lease = format!(
        "INSERT INTO runners (id, command, host, pid, started_ms, lease_until_ms) VALUES ('its', 'run', 'h', {PID}, 1, {})",
        begun_ms + LEASE_MS
    );
    sql(&bed, &[&lease]);
    let [file, limits_file, crew_file] = ["log", "limits", "crew"].map(|name| bed.path().join(format!("{name}.json")));
    let slept = [[begun_ms + 2 * LEASE_MS - 1_000, begun_ms + 2 * LEASE_MS + 1_000]];
    let crew = json!([{ "access_key_id": KEY, "pid": PID, "slept": slept }]);
    let (quiet_since, dry_since) = (u128::from(begun_ms + 3 * LEASE_MS), u128::from(begun_ms + 4 * LEASE_MS));
    let look = |region: &str, log: &Log| {
        let text = json!({ "requests": log.requests, "uploads": log.uploads, "deleted": log.deleted }).to_string();
        std::fs::write(&file, text).expect("writable");
        let of_region = json!({ "bandwidth": 1 << 20, "requests_per_second": 10, "concurrency": 1 });
        let limits = json!({ "bandwidth": 1 << 20, "concurrency": 2, "regions": { region: of_region } });
        let audit = bed.audit().finished().log(region, &file).twice(0);
        let audit = audit.quiet("I9", quiet_since).quiet("I7", dry_since);
        audit.limits(&limits_file, &limits).crew(&crew_file, &crew).findings()
    };
    // What is right beside what is wrong: who waits, comes a little early, had asked before, or wakes and
    // ends what it was doing.
    let mut right = Log::whole(&bed, begun_ms);
    right.is_told_to_wait("5", 4_600);
    right.is_told_to_wait("soon", 1);
    right.asks_often(100, 20, "HeadObject", 0);
    right.asks_at(begun_ms + LEASE_MS + 900, "UploadPart", "a/inc1.xbstream.gz", 0);
    right.asks_at(begun_ms + 5 * LEASE_MS, "HeadObject", PARENT, 0);
    right.asks_at(begun_ms + 2 * LEASE_MS + 1_500, "UploadPart", "a/inc1.xbstream.gz", 0);
    right.is_told_to_wait("5", 2);
    let Some(findings) = look("two", &right) else { return };
    assert_eq!(findings.violations, [""; 0]);
    assert!(["I17", "I18", "I19", "I20", "I7", "I9"].iter().all(|invariant| findings.checked.contains_key(*invariant)));
    for (invariant, what, region, plant) in IN_LOGS {
        let mut log = Log::whole(&bed, begun_ms);
        plant(&mut log);
        let findings = look(region, &log).expect("it could look before");
        names(&findings, invariant, what);
    }
    // Of the database it is all that is written since.
    let planted = "UPDATE backups SET changed_ms = changed_ms + 1";
    sql(&bed, &[planted]);
    let findings = bed.audit().watched().quiet("I7", 0).findings().expect("it could look before");
    names(&findings, "I7", "a dry run changes rows");
}
