//! A folder with plans, and the real binary in it, with the way into both regions in its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backhaul::database::Row;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::by_hand::{Answer, ask, token};
use crate::openstack::{ONE, OpenStack, Request, TWO};
use crate::support::{BACKHAUL, Output, rows_in};

/// How the requests of the binary are marked.
const AGENT: &str = "backhaul/";

/// Region-one as a source: one token that reads all accounts, and Trove's database.
pub(crate) const READ_ALL: &str = "
  region-one:
    store: { type: swift, cloud: region-one-auditor-operators, account: per-tenant, access: reseller }
    catalog: { type: trove-database, url: \"${ONE_DB}\" }";

/// Region-one as a source: a token for each project.
pub(crate) const READ_EACH: &str = "
  region-one:
    store: { type: swift, cloud: region-one-mover-alpha, account: per-tenant, access: each-project }
    catalog: { type: trove-database, url: \"${ONE_DB}\" }";

/// Region-one as a source: a token for each project, and Trove's API.
pub(crate) const READ_API: &str = "
  region-one:
    store: { type: swift, cloud: region-one-mover-alpha, account: per-tenant, access: each-project }
    catalog: { type: trove-api }";

/// Region-two as a target: one token that writes all accounts, and Trove's database.
pub(crate) const WRITE_ALL: &str = "
  region-two:
    store: { type: swift, cloud: region-two-operator-operators, account: per-tenant, access: reseller }
    catalog: { type: trove-database, url: \"${TWO_DB}\" }";

/// Region-two as a target: a token for each project, and Trove's database.
pub(crate) const WRITE_EACH: &str = "
  region-two:
    store: { type: swift, cloud: region-two-mover-alpha, account: per-tenant, access: each-project }
    catalog: { type: trove-database, url: \"${TWO_DB}\" }";

/// Region-two as a target: a token for each project, and Trove's API.
pub(crate) const WRITE_API: &str = "
  region-two:
    store: { type: swift, cloud: region-two-mover-alpha, account: per-tenant, access: each-project }
    catalog: { type: trove-api }";

/// Removed when it is dropped.
pub(crate) struct Bed {
    folder: TempDir,
    environment: BTreeMap<&'static str, String>,
}

/// What a dry run says, and how it ended.
pub(crate) struct Forecast {
    pub(crate) code: Option<i32>,
    pub(crate) planned: Vec<Value>,
    pub(crate) totals: Value,
}

impl Bed {
    pub(crate) fn new(openstack: &OpenStack) -> Self {
        // It goes with the lab, also where it is of the whole process.
        let folder = tempfile::Builder::new().prefix("evacuation-").tempdir_in(openstack.folder());
        let environment = BTreeMap::from([
            ("OS_CLIENT_CONFIG_FILE", openstack.clouds().display().to_string()),
            ("ONE_DB", openstack.database_url(ONE, "source")),
            ("TWO_DB", openstack.database_url(TWO, "target")),
        ]);
        Self { folder: folder.expect("a folder"), environment }
    }

    /// Sets a variable for the binary.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.insert(name, value.to_owned());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it can be written");
    }

    /// Writes `plan.yaml`: its regions, each a line of their own, and its entries.
    pub(crate) fn plan(&self, regions: &[&str], entries: &[String]) {
        self.plan_as("plan.yaml", regions, entries);
    }

    /// The same under another name. All plans of a bed are one to the database.
    pub(crate) fn plan_as(&self, name: &str, regions: &[&str], entries: &[String]) {
        let entries = entries.join("\n  - ");
        let regions = regions.concat();
        self.write(
            name,
            &format!(
                "version: 1\nname: evacuation\ndatabase: sqlite://evac.db\nregions:{regions}\nbackups:\n  - {entries}\n"
            ),
        );
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("evac.db")
    }

    pub(crate) fn backhaul(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(BACKHAUL);
        command.args(arguments).current_dir(self.folder.path());
        for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL", "OS_CLOUD"] {
            command.env_remove(name);
        }
        command.envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Output::of(command.output().expect("the binary starts"))
    }

    pub(crate) fn run(&self) -> Output {
        self.backhaul(&["run", "-v", "plan.yaml"])
    }

    pub(crate) fn forecast(&self, arguments: &[&str]) -> Forecast {
        let output = self.backhaul(&[&["--json", "plan", "plan.yaml"], arguments].concat());
        let lines = output.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let (planned, mut totals): (Vec<_>, Vec<_>) = lines.partition(|line| line["type"] == "planned");
        let totals = totals.pop().unwrap_or_else(|| panic!("no forecast: {output}"));
        assert_eq!(totals["exit_code"].as_i64(), output.code.map(i64::from), "{output}");
        Forecast { code: output.code, planned, totals }
    }

    /// What the database knows.
    pub(crate) fn rows(&self) -> Vec<Row> {
        rows_of(&self.database())
    }
}

pub(crate) fn rows_of(database: &Path) -> Vec<Row> {
    rows_in(database).expect("it has tables").into_iter().map(|(row, _)| row).collect()
}

/// `select: …` of tenants, all of region-one's backups of theirs.
pub(crate) fn select(openstack: &OpenStack, tenants: &[&str]) -> String {
    let ids: Vec<String> = tenants.iter().map(|tenant| openstack.project(tenant)).collect();
    format!("{{ select: {{ from: region-one, tenant: [{}] }}, to: [region-two] }}", ids.join(", "))
}

/// A request to Swift by who may do everything there.
#[track_caller]
pub(crate) fn by_operator(
    openstack: &OpenStack,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let scope = json!({ "project": { "name": "operators", "domain": { "id": "default" } } });
    let token = token(&openstack.auth_url(), "operator", "operator-pw", &scope);
    let answer = ask(method, url, &[headers, &[("X-Auth-Token", &*token)]].concat(), body);
    assert!((200..300).contains(&answer.status), "{method} {url}: {answer:?}");
    answer
}

/// What the binary asked a region's Swift about tenants, from the `since`th request on.
pub(crate) fn asked(openstack: &OpenStack, region: &str, tenants: &[&str], since: usize) -> Vec<Request> {
    let accounts: BTreeSet<String> =
        tenants.iter().map(|tenant| format!("/v1/AUTH_{}", openstack.project(tenant))).collect();
    let log = openstack.swift_log(region).into_iter().skip(since);
    log.filter(|request| {
        let account = request.path.split(['/', '?']).take(3).collect::<Vec<_>>().join("/");
        request.agent.starts_with(AGENT) && accounts.contains(&account)
    })
    .collect()
}

/// How many requests a region's Swift has answered.
pub(crate) fn answered(openstack: &OpenStack, region: &str) -> usize {
    openstack.swift_log(region).len()
}

/// Whatever the tests of this process did, nobody but Trove's own code has changed anything in region-one, and nobody at all
/// asked for anything of gamma's, or put anything there.
#[track_caller]
pub(crate) fn others_are_untouched(openstack: &OpenStack) {
    let written: Vec<Request> = openstack
        .swift_log(ONE)
        .into_iter()
        .filter(|request| request.agent.starts_with(AGENT) && request.writes())
        .collect();
    assert!(written.is_empty(), "the source was written: {written:#?}");
    for region in [ONE, TWO] {
        let asked = asked(openstack, region, &["gamma"], 0);
        assert!(asked.is_empty(), "{region}: gamma was looked at: {asked:#?}");
    }
    let gamma = openstack.project("gamma");
    let of_gamma =
        |table: &str| openstack.sql(TWO, &format!("SELECT COUNT(*) FROM {table} WHERE tenant_id = '{gamma}'"));
    assert_eq!(
        (of_gamma("backups"), of_gamma("quota_usages")),
        (vec![vec!["0".to_owned()]], vec![vec!["0".to_owned()]])
    );
}
