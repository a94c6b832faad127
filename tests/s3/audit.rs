//! What the audit is shown of a bed whose stores are servers: their objects as files, and their requests.

use std::path::{Path, PathBuf};

use super::super::s3::S3Server;
use super::super::support::Audit;
use super::{BUCKET, Bed, Route, SECRETS};

impl Bed {
    /// The audit of its database, its target and its source; of those in buckets as they are now.
    pub(crate) fn audit(&self) -> Audit {
        let audit = Audit::of(&self.database_text()).without(&SECRETS);
        let beside = self.path().join("folder");
        let audit = if beside.is_dir() { audit.region("folder", &beside) } else { audit };
        let folder = self.path().join("audit");
        let audit = if self.route == Route::ToS3 {
            audit.source("source", &self.path().join("source"))
        } else {
            let (objects, log) = write_down(&self.source, &folder.join("source"));
            audit.source("source", &objects).log("source", &log).must(&["I8"])
        };
        if self.route == Route::FromS3 {
            return audit.region("target", &self.path().join("target"));
        }
        let (objects, log) = write_down(&self.target, &folder.join("target"));
        audit.region("target", &objects).log("target", &log)
    }
}

/// Writes down what a server holds, and what it was asked.
fn write_down(server: &S3Server, place: &Path) -> (PathBuf, PathBuf) {
    let objects = place.join("objects");
    // What is there is of an earlier look.
    let _ = std::fs::remove_dir_all(&objects);
    std::fs::create_dir_all(&objects).expect("a folder");
    for key in server.keys(BUCKET) {
        let path = objects.join(&key);
        std::fs::create_dir_all(path.parent().expect("below the bed")).expect("a folder");
        std::fs::write(path, server.get(BUCKET, &key).expect("an object").bytes()).expect("writable");
    }
    let requests = server.requests().into_iter().map(|request| {
        serde_json::json!({
            "operation": format!("{:?}", request.operation),
            "key": request.key,
            "bytes": request.bytes_in.max(request.bytes_out),
            "status": request.status,
            "at_ms": request.at_ms,
            "ended_ms": request.ended_ms,
            "connection": request.peer.to_string(),
            "access_key_id": request.access_key_id,
            "retry_after": request.retry_after,
            "fault": request.fault,
        })
    });
    let uploads = server.open_uploads(BUCKET).into_iter().map(|upload| upload.key);
    let text = serde_json::json!({
        "requests": requests.collect::<Vec<_>>(),
        "uploads": uploads.collect::<Vec<_>>(),
        "deleted": server.deleted(BUCKET),
    });
    let log = place.join("log.json");
    std::fs::write(&log, text.to_string()).expect("writable");
    (objects, log)
}
