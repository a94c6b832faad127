//! What Trove's API says and is told. Pure.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::catalog::trove::new_backup::NewBackup;
use crate::catalog::trove::row::BackupRow;
use crate::catalog::trove::versions::DatastoreVersion;

/// A page of backups.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Page {
    pub(super) backups: Vec<Backup>,
    #[serde(default)]
    links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
struct Link {
    rel: String,
    href: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) backup: Backup,
}

/// A backup as the API shows it: without checksum, driver, type and point in time.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Backup {
    pub(super) id: String,
    name: Option<String>,
    description: Option<String>,
    #[serde(rename = "locationRef")]
    pub(super) location: Option<String>,
    instance_id: Option<String>,
    created: Option<String>,
    updated: Option<String>,
    /// A number, or nonsense, which must not hold up the rows beside it.
    #[serde(default)]
    size: Value,
    pub(super) status: String,
    pub(super) parent_id: Option<String>,
    /// Not in older releases, which show nobody but the asker's own.
    pub(super) project_id: Option<String>,
    datastore: Option<Datastore>,
}

#[derive(Debug, Clone, Deserialize)]
struct Datastore {
    #[serde(rename = "type")]
    name: Option<String>,
    version: Option<String>,
    version_id: Option<String>,
}

impl Page {
    /// Where the next page starts; none on the last. Of the link only the marker is used: its scheme and host are what
    /// Trove believes to be its own.
    pub(super) fn next(&self) -> Option<String> {
        let link = self.links.iter().find(|link| link.rel == "next")?;
        let (_, query) = link.href.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == "marker").map(|(_, marker)| marker.to_owned()).next_back()
    }
}

impl Backup {
    /// Id of its datastore version.
    pub(super) fn version_id(&self) -> Option<&str> {
        self.datastore.as_ref()?.version_id.as_deref()
    }

    /// The same as a row of Trove's table, of the project `asked` where it does not say.
    pub(super) fn row(self, asked: &str, versions: &[DatastoreVersion]) -> BackupRow {
        let version = versions.iter().find(|version| Some(version.id.as_str()) == self.version_id());
        let number = version.and_then(|version| version.number.clone());
        let (datastore, version) = self.datastore.map_or((None, None), |datastore| (datastore.name, datastore.version));
        BackupRow {
            id: self.id,
            name: self.name.unwrap_or_default(),
            description: self.description,
            location: self.location,
            size: if self.size.is_null() { None } else { Some(self.size.as_f64().unwrap_or(f64::NAN)) },
            tenant_id: Some(self.project_id.unwrap_or_else(|| asked.to_owned())),
            state: self.status,
            instance_id: self.instance_id,
            deleted: Some(false),
            created: self.created,
            updated: self.updated,
            parent_id: self.parent_id,
            datastore,
            version,
            number,
            ..BackupRow::default()
        }
    }
}

/// The datastores of a region with their versions.
#[derive(Debug, Deserialize)]
pub(super) struct Datastores {
    datastores: Vec<DatastoreWithVersions>,
}

#[derive(Debug, Deserialize)]
struct DatastoreWithVersions {
    name: String,
    #[serde(default)]
    versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    id: String,
    name: String,
    #[serde(rename = "version")]
    number: Option<String>,
    /// Shown to administrators, who see those that are switched off; a number where the database has no booleans.
    #[serde(default)]
    active: Value,
}

impl Datastores {
    pub(super) fn versions(self) -> Vec<DatastoreVersion> {
        let of_datastore = |datastore: DatastoreWithVersions| {
            let name = datastore.name;
            datastore.versions.into_iter().map(move |version| DatastoreVersion {
                id: version.id,
                datastore: name.clone(),
                name: version.name,
                number: version.number,
                active: version.active != false && version.active != 0,
            })
        };
        self.datastores.into_iter().flat_map(of_datastore).collect()
    }
}

/// Most backups of a project, from its limits: none where there is no limit.
pub(super) fn max_backups(limits: &Value) -> Result<Option<u64>, &'static str> {
    let absolute = limits["limits"].as_array().into_iter().flatten().find(|limit| limit["verb"] == "ABSOLUTE");
    let most = absolute.and_then(|limit| limit["max_backups"].as_i64()).ok_or("they have no `max_backups`")?;
    Ok(u64::try_from(most).ok())
}

/// The request that registers a copy.
pub(super) fn restore_from(backup: &NewBackup) -> Value {
    let mut members = Map::new();
    members.insert("name".to_owned(), backup.name.as_str().into());
    for (name, value) in [("description", &backup.description), ("parent_id", &backup.parent_id)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            members.insert(name.to_owned(), value.into());
        }
    }
    let from = json!({
        "remote_location": backup.location,
        "local_datastore_version_id": backup.datastore_version_id,
        "size": backup.size.unwrap_or_default(),
    });
    members.insert("restore_from".to_owned(), from);
    json!({ "backup": members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_say_where_the_next_one_starts() {
        let page = |links: &str| {
            let text = format!(r#"{{"backups": [], "links": [{links}]}}"#);
            serde_json::from_str::<Page>(&text).expect("a page").next()
        };
        let next = r#"{"href": "https://h:1/v1.0/p/backups?limit=20&marker=40", "rel": "next"}"#;
        assert_eq!(page(next).as_deref(), Some("40"));
        assert_eq!(page(r#"{"href": "https://h:1/v1.0/p/backups", "rel": "self"}"#), None);
        assert_eq!(serde_json::from_str::<Page>(r#"{"backups": []}"#).expect("a page").next(), None);
    }

    #[test]
    fn a_backup_as_trove_shows_it() {
        let text = r#"{"id": "7ad20142-0000-4000-8000-000000000001", "name": "n", "description": null, "instance_id": null,
            "locationRef": "http://h/v1/AUTH_p/box/1a46.xbstream.gz", "created": "2026-11-22T10:49:34",
            "updated": "2026-11-22T10:49:34", "size": 0.1, "status": "RESTORED", "parent_id": null, "project_id": "p",
            "datastore": {"type": "mysql", "version": "8.0", "version_id": "v"}}"#;
        let versions = [DatastoreVersion {
            id: "v".into(),
            datastore: "mysql".into(),
            name: "8.0".into(),
            number: Some("8.0.36".into()),
            active: true,
        }];
        let backup: Backup = serde_json::from_str(text).expect("a backup");
        let record = backup.row("p", &versions).record().expect("a record");
        assert_eq!((record.location.as_str(), record.unusable.clone()), ("AUTH_p/box/1a46.xbstream.gz", None));
        assert!(record.is_restorable());
        assert_eq!(record.datastore_version_number.as_deref(), Some("8.0.36"));
        assert_eq!(record.created.as_deref(), Some("2026-11-22T10:49:34Z"));
    }

    #[test]
    fn versions_that_are_switched_off_are_told() {
        let active = |said: &str| {
            let text =
                format!(r#"{{"datastores": [{{"name": "mysql", "versions": [{{"id": "v", "name": "8.0"{said}}}]}}]}}"#);
            serde_json::from_str::<Datastores>(&text).expect("datastores").versions()[0].active
        };
        assert!(active("") && active(r#", "active": 1"#) && active(r#", "active": true"#));
        assert!(!active(r#", "active": 0"#) && !active(r#", "active": false"#));
    }

    #[test]
    fn limits_may_be_none() {
        let limits = |most: i64| max_backups(&json!({"limits": [{"verb": "ABSOLUTE", "max_backups": most}]}));
        assert_eq!((limits(50), limits(-1)), (Ok(Some(50)), Ok(None)));
        assert!(max_backups(&json!({"limits": []})).is_err());
    }
}
