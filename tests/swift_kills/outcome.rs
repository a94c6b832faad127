//! How a bed ends: rows, records and objects, with everything left out that may differ between two runs of one plan.

use std::collections::BTreeMap;
use std::fmt::Debug;

use backhaul::catalog::Record;
use backhaul::database::Row;
use backhaul::id::Sha256Digest;
use backhaul::state::State;
use http::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::bed::{Bed, Route};
use crate::openstack::{Backup, TWO};
use crate::support;

/// What is said of each thing, by what it is and the backup's name.
pub(crate) type Outcome = BTreeMap<String, String>;

/// The columns of Trove's `backups`; through its API the times are those of the registration.
const COLUMNS: &str = "id, location, name, description, backup_type, size, tenant_id, state, instance_id, checksum, \
                       backup_timestamp, deleted, deleted_at, parent_id, datastore_version_id, storage_driver";
const TIMES: &str = "created, updated";

fn hex(bytes: &[u8]) -> String {
    Sha256Digest(Sha256::digest(bytes).into()).to_string()
}

/// The row without what an interruption may change.
fn without_chance(row: Row) -> Row {
    let verified = row.verified.map(|_| "proved".to_owned());
    let (copied_ms, completed_ms) = (row.copied_ms.map(|_| 0), row.completed_ms.map(|_| 0));
    let registered_id = row.registered_id.map(|_| "of Trove's".to_owned());
    Row {
        verified,
        copied_ms,
        completed_ms,
        registered_id,
        record: None,
        attempt: 0,
        claim: 0,
        claimed_by: None,
        bytes_read: 0,
        planned_ms: 0,
        changed_ms: 0,
        ..row
    }
}

impl Bed<'_> {
    /// Without what makes this bed another than the next: target ids, and the bed's name.
    fn said(&self, thing: &impl Debug) -> String {
        let mut text = format!("{thing:#?}").replace(&self.name, "BED");
        for (backup, id) in &self.backups {
            text = text.replace(&id.to_string(), &backup.name);
        }
        text
    }

    /// Reads how it ended, and holds what must be so whatever happened: every row is COMPLETED, each object has all its
    /// source's bytes, no segment is there but those of manifests, nothing of others was touched, and nothing of the source.
    #[track_caller]
    pub(crate) fn ended(&self, operator: usize, what: &str) -> Outcome {
        let mut outcome = self.rows_ended(operator, what);
        if self.options.route == Route::ToFile {
            outcome.extend(self.folder_ended(what));
        } else {
            outcome.extend(self.objects_ended(what));
            outcome.extend(self.registered(what));
        }
        self.foreign_is_untouched(what);
        self.source_is_untouched(what);
        self.audit(operator).finished().holds(what);
        outcome
    }

    #[track_caller]
    fn rows_ended(&self, operator: usize, what: &str) -> Outcome {
        let rows = self.rows(operator);
        assert_eq!(rows.len(), self.backups.len(), "{what}: rows");
        let ended = rows.into_iter().map(|(row, parts)| {
            assert_eq!(row.state, State::Completed, "{what}: `{}`: {:?}", row.name, row.error);
            assert_eq!((&row.upload_token, parts.len()), (&None, 0), "{what}: `{}` has an upload", row.name);
            // A file's version is that of its inode.
            let etag = row.etag.clone().filter(|_| self.options.route != Route::ToFile);
            (format!("row {}", row.name), self.said(&Row { etag, ..without_chance(row) }))
        });
        ended.collect()
    }

    #[track_caller]
    fn objects_ended(&self, what: &str) -> Outcome {
        let mut outcome = Outcome::new();
        for (backup, id) in &self.backups {
            let path = format!("{}/{id}.xbstream.gz", self.name);
            let there = self.account.get(&path);
            assert_eq!(Some(hex(&there.body)), backup.sha256, "{what}: `{}` has other bytes", backup.name);
            let mut headers = there.headers(&["etag", "content-", "x-object-meta-", "x-static-large-object"]);
            headers.remove("x-object-meta-backhaul-upload");
            let manifest = self.manifest(*id);
            let segments: Vec<_> = manifest.iter().map(|segment| (&segment["bytes"], &segment["hash"])).collect();
            if self.options.route == Route::Between && !self.options.api {
                let etag = headers.get("etag").map(|etag| etag.trim_matches('"'));
                assert_eq!(etag, backup.checksum.as_deref(), "{what}: `{}` has another ETag", backup.name);
            }
            outcome.insert(format!("object {}", backup.name), self.said(&(headers, segments)));
        }
        assert_eq!(self.left_over(), [] as [String; 0], "{what}: left over");
        outcome
    }

    /// What the manifest of a copy refers to; nothing if it is plain, or not there.
    fn manifest(&self, id: Uuid) -> Vec<Value> {
        let path = format!("{}/{id}.xbstream.gz", self.name);
        let is_large = self.account.ask(&Method::HEAD, &path, b"").headers(&["x-static-large-object"]);
        if is_large.is_empty() {
            return Vec::new();
        }
        let manifest = self.account.get(&format!("{path}?multipart-manifest=get"));
        serde_json::from_slice(&manifest.body).expect("a manifest")
    }

    /// Objects in the container that are neither copies, nor of their manifests, nor somebody else's.
    pub(crate) fn left_over(&self) -> Vec<String> {
        let mut known: Vec<String> = self.foreign().map(str::to_owned).collect();
        for (_, id) in &self.backups {
            known.push(format!("{id}.xbstream.gz"));
            let names = self.manifest(*id).into_iter();
            known.extend(names.filter_map(|segment| Some(segment["name"].as_str()?.rsplit('/').next()?.to_owned())));
        }
        let mut names = self.account.names(&self.name);
        names.retain(|name| !known.contains(name));
        names
    }

    #[track_caller]
    fn registered(&self, what: &str) -> Outcome {
        let columns = if self.options.api { COLUMNS.to_owned() } else { format!("{COLUMNS}, {TIMES}") };
        let statement = format!("SELECT {columns} FROM backups WHERE location LIKE '%/{}/%'", self.name);
        let rows = self.ground.openstack.sql(TWO, &statement);
        assert_eq!(rows.len(), self.backups.len(), "{what}: rows in Trove: {rows:#?}");
        let of = |location: &str| -> &Backup {
            let of_it = self.backups.iter().find(|(_, id)| location.contains(&id.to_string()));
            of_it.unwrap_or_else(|| panic!("{what}: {location} is nobody's")).0
        };
        let names: Vec<(&str, &str)> = rows.iter().map(|row| (&*row[0], &*of(&row[1]).name)).collect();
        let ended = rows.iter().map(|row| {
            let text = names.iter().fold(self.said(row), |text, (id, name)| text.replace(id, name));
            (format!("registered {}", of(&row[1]).name), text)
        });
        ended.collect()
    }

    #[track_caller]
    fn folder_ended(&self, what: &str) -> Outcome {
        let vault = self.vault();
        let mut outcome = Outcome::new();
        for (_, record) in support::record_lines(&vault) {
            let name = format!("record {}", record.name);
            let record = Record { recorded_ms: 0, verified: record.verified.map(|_| "proved".to_owned()), ..record };
            let other = outcome.insert(name, self.said(&record));
            assert_eq!(other, None, "{what}: two records of `{}`", record.name);
        }
        assert_eq!(outcome.len(), self.backups.len(), "{what}: records");
        let mut files = Vec::new();
        for path in support::files(&vault) {
            let relative = path.strip_prefix(&vault).expect("below").to_string_lossy().into_owned();
            if relative.starts_with(".backhaul/") || self.foreign().any(|name| name == relative) {
                continue;
            }
            let of_it = self.backups.iter().find(|(_, id)| relative.contains(&id.to_string()));
            let (backup, _) = of_it.unwrap_or_else(|| panic!("{what}: {relative} was left behind"));
            let bytes = std::fs::read(&path).expect("readable");
            assert_eq!(Some(hex(&bytes)), backup.sha256, "{what}: {relative} has other bytes");
            files.push(relative);
        }
        assert_eq!(files.len(), self.backups.len(), "{what}: {files:?}");
        outcome
    }

    /// Runs the plan again, undisturbed, and holds how that ends against a bed that never was disturbed.
    #[track_caller]
    pub(crate) fn completes(&self, undisturbed: &Outcome, what: &str) {
        let output = self.run();
        assert_eq!(output.code, Some(0), "{what}: the next run did not complete: {output}");
        self.is_as(undisturbed, 0, what);
    }

    #[track_caller]
    pub(crate) fn is_as(&self, undisturbed: &Outcome, operator: usize, what: &str) {
        let ended = self.ended(operator, what);
        assert_eq!(ended.keys().collect::<Vec<_>>(), undisturbed.keys().collect::<Vec<_>>(), "{what}");
        for (thing, said) in &ended {
            let lines = said.lines().zip(undisturbed[thing].lines());
            let other: Vec<_> = lines.filter(|(is, was)| is != was).collect();
            assert!(said == &undisturbed[thing], "{what}: {thing} is another than undisturbed: {other:#?}");
        }
    }

    /// Trove's own code reads every chain in region-two.
    #[track_caller]
    pub(crate) fn restores(&self, what: &str) {
        let statement = format!("SELECT id, location FROM backups WHERE location LIKE '%/{}/%'", self.name);
        let rows = self.ground.openstack.sql(TWO, &statement);
        let ids: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
        let restored = self.ground.openstack.try_restore_all(TWO, &self.target_tenant(), &ids);
        for (row, links) in rows.iter().zip(restored) {
            let links = links.unwrap_or_else(|why| panic!("{what}: {} does not restore: {why}", row[1]));
            let (backup, _) =
                self.backups.iter().find(|(_, id)| row[1].contains(&id.to_string())).expect("one of the bed's");
            let chain = self.ground.seeds.chain(backup);
            let read: Vec<Option<&String>> = links.iter().map(|link| Some(&link.sha256)).collect();
            assert_eq!(read, chain.iter().map(|made| made.sha256.as_ref()).collect::<Vec<_>>(), "{what}");
        }
    }

    /// Trove's own count of a tenant's backups is how many there are.
    #[track_caller]
    pub(crate) fn is_counted(&self) {
        let tenant = self.ground.openstack.project(&self.target_tenant());
        // One statement, as others may be registering.
        let statement = format!(
            "SELECT (SELECT in_use FROM quota_usages WHERE tenant_id = '{tenant}' AND resource = 'backups') - \
             (SELECT COUNT(*) FROM backups WHERE tenant_id = '{tenant}' AND deleted = 0)"
        );
        assert_eq!(self.ground.openstack.sql(TWO, &statement), [["0"]], "Trove's count of {}", self.target_tenant());
    }
}
