//! A folder with plans, and the real binary in it, with the way into a small cloud in its environment.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use backhaul::database::Row;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cloud::{OWN, Object, SmallCloud, etag};
use crate::support::{BACKHAUL, Output, rows_in};

/// A region whose Trove is asked by its API.
pub(crate) fn by_api(name: &str) -> String {
    format!(
        "\n  {name}: {{ store: {{ type: swift, cloud: {name}, account: per-tenant, access: each-project }}, catalog: {{ type: trove-api }} }}"
    )
}

/// Removed when it is dropped.
pub(crate) struct Bed {
    pub(crate) folder: TempDir,
    pub(crate) cloud: SmallCloud,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("small-cloud-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let bed = Self { folder: folder.expect("a folder"), cloud: SmallCloud::new() };
        bed.write("clouds.yaml", bed.cloud.clouds());
        let clouds = bed.folder.path().join("clouds.yaml");
        std::fs::set_permissions(clouds, Permissions::from_mode(0o600)).expect("it has a secret");
        bed
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), text).expect("it can be written");
    }

    /// Writes `plan.yaml`: its regions, each a line of their own, and its entries.
    pub(crate) fn plan(&self, regions: &[&str], entries: &[&str]) {
        self.plan_as("plan.yaml", "small-cloud", regions, entries);
    }

    /// The same under another name.
    pub(crate) fn plan_as(&self, file: &str, name: &str, regions: &[&str], entries: &[&str]) {
        let (regions, entries) = (regions.concat(), entries.join("\n  - "));
        let text = format!(
            "version: 1\nname: {name}\ndatabase: sqlite://state.db\nregions:{regions}\nretry: {{ attempts: 1 }}\nbackups:\n  - {entries}\n"
        );
        self.write(file, text);
    }

    pub(crate) fn backhaul(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BACKHAUL);
        command.args(arguments).current_dir(self.folder.path());
        for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL", "OS_CLOUD"] {
            command.env_remove(name);
        }
        command.env("OS_CLIENT_CONFIG_FILE", self.folder.path().join("clouds.yaml"));
        command.stdin(Stdio::null());
        Output::of(command.output().expect("the binary starts"))
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = rows_in(&self.folder.path().join("state.db")).expect("the database has its tables");
        rows.into_iter().map(|(row, _)| row).collect()
    }

    /// Puts a backup into a region's Trove, and its object into Swift.
    pub(crate) fn backup(&self, region: &str, id: &str, project: &str) {
        let place = place(id, project);
        let container = place.rsplit_once('/').expect("a container").0.to_owned();
        let mut region = self.cloud.region(region);
        region.backups.push(backup(id, project, &format!("http://swift/v1/{place}")));
        let object = Object { bytes: Bytes::from(format!("the bytes of {id}")), headers: [].into() };
        region.containers.entry(container).or_default();
        region.objects.insert(place, object);
    }

    /// What the object of a backup says besides.
    pub(crate) fn object_says(&self, region: &str, id: &str, project: &str, headers: &[(&str, String)]) {
        let mut region = self.cloud.region(region);
        let object = region.objects.get_mut(&place(id, project)).expect("it is there");
        object.headers.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }

    pub(crate) fn etag(&self, region: &str, id: &str, project: &str) -> String {
        etag(&self.cloud.region(region).objects[&place(id, project)])
    }

    /// Trove shows nobody the backups of all projects.
    pub(crate) fn hide_others(&self, region: &str) {
        let why = json!({ "forbidden": { "code": 403, "message": "Policy does not allow this to be performed." } });
        self.cloud.region(region).to_all_projects = Some((403, why));
    }
}

/// Where the object of a backup lies.
fn place(id: &str, project: &str) -> String {
    format!("AUTH_{project}/database_backups/{id}.xbstream.gz")
}

fn backup(id: &str, project: &str, location: &str) -> Value {
    json!({
        "id": id, "name": format!("backup of {project}"), "description": null, "locationRef": location, "size": 0.1,
        "instance_id": "10000000-0000-4000-8000-000000000001", "created": "2026-01-01T00:00:00",
        "updated": "2026-01-01T00:01:00", "status": "COMPLETED", "parent_id": null, "project_id": project,
        "datastore": { "type": "mysql", "version": "8.0", "version_id": "mysql-8" },
    })
}

/// A backup of the user's own project, and one of another's.
pub(crate) const BACKUPS: [(&str, &str); 2] =
    [("20000000-0000-4000-8000-000000000001", OWN), ("20000000-0000-4000-8000-000000000002", "beta")];
