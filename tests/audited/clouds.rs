//! In a region whose store is Swift and whose catalog is Trove's database, with others' things beside ours.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::by_hand::{ask, token};
use crate::openstack::{Backup, ONE, OpenStack, Seeds, TWO};
use crate::support::{Audit, BACKHAUL, Findings, Output, put_watched};

const TENANT: &str = "audited";
const CONTAINER: &str = "copies";

/// A tenant's backups, copied from region-one to region-two by a run that nobody disturbs.
struct Region {
    openstack: OpenStack,
    seeds: Seeds,
    folder: TempDir,
    token: String,
}

impl Region {
    fn whole() -> Option<Self> {
        let openstack = OpenStack::start("the audit of Swift and Trove", &[])?;
        openstack.add_tenants(&[TENANT]);
        let seeds = openstack.seed(&["audited/small"]);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let scope = json!({ "project": { "name": "operators", "domain": { "id": "default" } } });
        let token = token(&openstack.auth_url(), "operator", "operator-pw", &scope);
        let region = Self { openstack, seeds, folder, token };
        region.by_operator("PUT", "", &[], "");
        region.by_operator("PUT", "kept.txt", &[], "kept");
        region.openstack.containers(TWO, &[(TENANT, CONTAINER)]).remember(&region.path("two.json"));
        put_watched(&region.path("copies.db"));
        region.run();
        Some(region)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) {
        let region = |of: &str, more: &str| {
            format!(
                "  {of}:\n    store: {{ type: swift, cloud: region-{of}-operator-operators, account: per-tenant, access: \
                 reseller{more} }}\n    catalog: {{ type: trove-database, url: \"${{TROVE_{of}}}\" }}\n"
            )
        };
        let (one, two) = (region("one", ""), region("two", ", container: copies"));
        let plan = format!(
            "version: 1\nname: audited\ndatabase: sqlite://copies.db\nregions:\n{one}{two}backups:\n  - {{ select: \
             {{ from: one, tenant: [{}] }}, to: [two] }}\n",
            self.openstack.project(TENANT)
        );
        std::fs::write(self.path("plan.yaml"), plan).expect("writable");
        let mut command = Command::new(BACKHAUL);
        command.args(["run", "plan.yaml"]).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("OS_CLIENT_CONFIG_FILE", self.openstack.clouds());
        command.env("TROVE_one", self.openstack.database_url(ONE, "source"));
        command.env("TROVE_two", self.openstack.database_url(TWO, "target"));
        Output::of(command.output().expect("the binary starts")).expect(0);
    }

    fn look(&self) -> Option<Findings> {
        let audit = Audit::of(&format!("sqlite://{}", self.path("copies.db").display())).watched().finished();
        let source = self.openstack.containers(ONE, &[(TENANT, "database_backups")]);
        audit.cloud_source("one", &self.path("one.json"), &source).cloud("two", &self.path("two.json")).findings()
    }

    /// A request about an object by somebody who may do everything.
    fn by_operator(&self, method: &str, object: &str, headers: &[(&str, &str)], body: &str) {
        let url = format!("{}/{CONTAINER}/{object}", self.openstack.account(TWO, TENANT));
        let answer =
            ask(method, url.trim_end_matches('/'), &[headers, &[("X-Auth-Token", &*self.token)]].concat(), body);
        assert!(answer.status < 300, "{method} {object}: {answer:?}");
    }

    /// Lets it look as if Backhaul had asked a region's Swift for that.
    fn asked(&self, region: &str, method: &str, status: u16, object: &str) {
        let log = self.openstack.told()["regions"][region]["requests"].as_str().expect("a path").to_owned();
        let path = format!("/v1/AUTH_{}/{CONTAINER}/{object}", self.openstack.project(TENANT));
        // Long after all that was.
        let line = format!("{method} {path} {status} - - - backhaul/9 9999999999.0 9999999999.1\n");
        let mut file = std::fs::File::options().append(true).open(log).expect("a log");
        file.write_all(line.as_bytes()).expect("writable");
    }

    /// Changes the row of a copy in region-two's Trove.
    fn row(&self, name: &str, set: &str) {
        self.openstack.sql(TWO, &format!("UPDATE backups SET {set} WHERE location LIKE '%/{}'", self.copy(name)));
    }

    fn backup(&self, name: &str) -> &Backup {
        self.seeds.backup(&format!("{TENANT}/{name}"))
    }

    /// The name of a copy's object.
    fn copy(&self, name: &str) -> String {
        let rows = crate::support::rows_in(&self.path("copies.db")).expect("it has tables");
        let row = rows.into_iter().find(|(row, _)| row.source_id.as_deref() == Some(&*self.backup(name).id));
        let location = row.expect("a row").0.location.expect("a location");
        location.rsplit('/').next().expect("a name").to_owned()
    }

    /// Registers a copy once more, under another id.
    fn registered_again(&self, id: &str, location: &str, parent: &str) {
        let columns = "name, size, tenant_id, state, checksum, deleted, storage_driver";
        let copy = self.copy("a-full");
        self.openstack.sql(
            TWO,
            &format!(
                "INSERT INTO backups (id, location, parent_id, {columns}) SELECT '{id}', {location}, {parent}, {columns} \
                 FROM backups WHERE location LIKE '%/{copy}' LIMIT 1"
            ),
        );
    }
}

/// An invariant, what of its violation is told, and what is done against it. One comes after the other, and none is undone.
type Plant = (&'static str, &'static str, fn(&Region));

const PLANTS: [Plant; 19] = [
    ("I8", "got PUT of", |region| region.asked(ONE, "PUT", 201, "new")),
    ("I15", "was replaced", |region| region.asked(TWO, "PUT", 201, &region.copy("plain"))),
    ("I15", "was replaced", |region| region.asked(TWO, "PUT", 201, "kept.txt")),
    ("I15", "was changed, and is not ours", |region| region.asked(TWO, "POST", 202, "kept.txt")),
    ("I16", "was deleted, and nobody had stored it", |region| region.asked(TWO, "DELETE", 204, "other.txt")),
    ("I16", "kept.txt in two was", |region| region.by_operator("PUT", "kept.txt", &[], "other")),
    ("I6", "was left behind", |region| region.by_operator("PUT", "fresh.txt", &[], "x")),
    ("I6", "_00000000 in two was left behind", |region| {
        region.by_operator("PUT", "an-id_0123456789abcdef0123456789abcdef_00000000", &[], "x");
    }),
    ("I13", "says that its parent is", |region| {
        let (child, elsewhere) = (region.copy("a-inc1"), "http://127.0.0.1:1/v1/AUTH_x/copies/full.gz");
        let links = [("X-Object-Meta-Parent-Location", elsewhere), ("X-Object-Meta-Parent-Checksum", "none")];
        region.by_operator("POST", &child, &links, "");
    }),
    ("I13", "has 00000000000000000000000000000000", |region| region.row("a-inc1", &format!("checksum = '{:032}'", 0))),
    ("I13", "is of nobody", |region| region.row("a-inc1", "tenant_id = 'nobody'")),
    ("I3", "names None, its row", |region| region.row("a-inc2", "parent_id = NULL")),
    ("I4", "was registered as", |region| {
        // Gone before anybody looks.
        region.registered_again("for-a-moment", "location", "NULL");
        region.openstack.sql(TWO, "DELETE FROM backups WHERE id = 'for-a-moment'");
    }),
    ("I4", "is registered as", |region| region.registered_again("again", "location", "NULL")),
    ("I4", "is registered, and no row's", |region| {
        region.registered_again("stray", "CONCAT(location, '.old')", "NULL");
    }),
    ("I3", "was there without its parent nobody", |region| {
        region.registered_again("orphan", "CONCAT(location, '.new')", "'nobody'");
    }),
    ("I3", "is registered without its parent", |region| region.row("a-full", "deleted = 1")),
    ("I1", "has size and SHA-256", |region| region.by_operator("PUT", &region.copy("plain"), &[], "other bytes")),
    ("I1", "is not there", |region| region.by_operator("DELETE", &region.copy("plain"), &[], "")),
];

#[test]
fn what_is_planted_in_a_cloud_is_found() {
    let Some(region) = Region::whole() else { return };
    let Some(findings) = region.look() else { return };
    assert_eq!(findings.violations, [""; 0]);
    for invariant in ["I1", "I3", "I4", "I6", "I8", "I13", "I15", "I16"] {
        assert!(findings.checked.get(invariant).is_some_and(|times| *times > 0), "{invariant}: {findings:?}");
    }
    let mut before = Vec::new();
    for (invariant, what, plant) in PLANTS {
        plant(&region);
        let after = region.look().expect("it could look before").violations;
        let mut new = after.iter().filter(|violation| !before.contains(*violation));
        let is_it = |violation: &String| violation.starts_with(&format!("{invariant}: ")) && violation.contains(what);
        assert!(new.any(is_it), "{invariant}: `{what}` is not told: {after:#?}");
        before = after;
    }
}
