//! A folder with a plan, clouds and users of its own, and the real binary in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use backhaul::database::Row;
use backhaul::state::State;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::by_hand::{Answer, Keystone, ask, token};
use crate::openstack::{Backup, ONE, OpenStack, TWO};
use crate::support::{Audit, BACKHAUL, Cloud, Output, Running, put_watched, rows_in, wait_until};

/// Region-two's Trove by its database.
pub(crate) const DATABASE: &str = "{ type: trove-database, url: \"${TWO_DB}\" }";

/// Region-two's Swift with a token for each project.
pub(crate) const EACH: &str = "cloud: two, account: per-tenant, access: each-project";

/// As the plan names it.
const DATABASE_FILE: &str = "faults.db";

/// What is in a container of the target before anything comes there.
const KEPT: &str = "kept by hand";

/// A user with a password that nobody may see.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// Removed when it is dropped; then no secret may be in any of its files.
pub(crate) struct Bed<'o> {
    pub(crate) openstack: &'o OpenStack,
    folder: TempDir,
    /// A member of all tenants.
    pub(crate) mover: User,
    pub(crate) tenants: Vec<String>,
    environment: BTreeMap<&'static str, String>,
    clouds: RefCell<String>,
    secrets: RefCell<Vec<String>>,
    runs: RefCell<u32>,
}

/// The binary at work; what it says goes to files.
pub(crate) struct AtWork<'b> {
    bed: &'b Bed<'b>,
    running: Running,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl<'o> Bed<'o> {
    /// With new projects, an object in each one's container of the target, and the clouds `one` and `two` of a user who is a
    /// member of all of them.
    pub(crate) fn new(openstack: &'o OpenStack, tenants: &[&str]) -> Self {
        openstack.add_tenants(tenants);
        let folder = tempfile::Builder::new().prefix("faults-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder");
        let environment = BTreeMap::from([
            ("OS_CLIENT_CONFIG_FILE", folder.path().join("clouds.yaml").display().to_string()),
            ("ONE_DB", openstack.database_url(ONE, "source")),
            ("TWO_DB", openstack.database_url(TWO, "target")),
        ]);
        let secrets = ["source-db-pw", "target-db-pw"].map(str::to_owned).to_vec();
        let mut bed = Self {
            openstack,
            folder,
            mover: User { name: String::new(), password: String::new() },
            tenants: tenants.iter().map(|&tenant| tenant.to_owned()).collect(),
            environment,
            clouds: RefCell::new("clouds:\n".to_owned()),
            secrets: RefCell::new(secrets),
            runs: RefCell::default(),
        };
        let grants: Vec<_> = tenants.iter().map(|tenant| (*tenant, "member")).collect();
        bed.mover = bed.user(&grants);
        for (name, region) in [("one", ONE), ("two", TWO)] {
            bed.cloud(name, region, &openstack.auth_url(), &bed.mover, tenants[0]);
        }
        for tenant in tenants {
            let container = format!("{}/database_backups", openstack.account(TWO, tenant));
            for (url, body) in [(container.clone(), ""), (format!("{container}/kept.txt"), KEPT)] {
                assert_eq!(bed.by_operator("PUT", &url, &[], body).status, 201);
            }
        }
        bed.containers(TWO).remember(&bed.path("target.json"));
        put_watched(&bed.path(DATABASE_FILE));
        bed
    }

    /// A user with a random password and roles in projects, by their names.
    pub(crate) fn user(&self, grants: &[(&str, &str)]) -> User {
        let name = format!("user-{}", Uuid::new_v4().simple());
        let password = self.secret();
        let grants: Vec<_> = grants.iter().map(|(project, role)| (self.openstack.project(project), *role)).collect();
        Keystone::new(&self.openstack.auth_url()).add_user(&name, &password, &grants);
        User { name, password }
    }

    /// Sets a variable for the binary.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.insert(name, value.to_owned());
    }

    /// A random word that nobody may see from now on.
    pub(crate) fn secret(&self) -> String {
        let secret = format!("canary-{}", Uuid::new_v4().simple());
        self.hide(&secret);
        secret
    }

    pub(crate) fn hide(&self, secret: &str) {
        self.secrets.borrow_mut().push(secret.to_owned());
    }

    /// Adds an entry to `clouds.yaml`.
    pub(crate) fn cloud(&self, name: &str, region: &str, auth_url: &str, user: &User, project: &str) {
        let User { name: user, password } = user;
        let project = self.openstack.project(project);
        self.cloud_as(
            name,
            &format!(
                "region_name: {region}, auth: {{ auth_url: \"{auth_url}\", username: {user}, password: {password}, \
                 user_domain_id: default, project_id: {project} }}"
            ),
        );
    }

    /// The same, with whatever it says.
    pub(crate) fn cloud_as(&self, name: &str, text: &str) {
        *self.clouds.borrow_mut() += &format!("  {name}: {{ {text} }}\n");
        self.write("clouds.yaml", &self.clouds.borrow());
    }

    pub(crate) fn forget_cloud(&self, name: &str) {
        let is_other = |line: &&str| !line.starts_with(&format!("  {name}: "));
        let others: Vec<String> = self.clouds.borrow().lines().filter(is_other).map(str::to_owned).collect();
        *self.clouds.borrow_mut() = others.join("\n") + "\n";
    }

    pub(crate) fn token(&self, user: &User, project: &str) -> String {
        let scope = json!({ "project": { "id": self.openstack.project(project) } });
        let token = token(&self.openstack.auth_url(), &user.name, &user.password, &scope);
        self.hide(&token);
        token
    }

    /// A request to Swift by who may do everything there.
    #[track_caller]
    pub(crate) fn by_operator(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let scope = json!({ "project": { "name": "operators", "domain": { "id": "default" } } });
        let token = token(&self.openstack.auth_url(), "operator", "operator-pw", &scope);
        ask(method, url, &[headers, &[("X-Auth-Token", &*token)]].concat(), body)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).expect("it can be written");
        // As `clouds.yaml` must be.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
    }

    /// A plan that takes all backups of the tenants from region-one to region-two. `two` is what the store of region-two says
    /// beyond its type, `catalog` its catalog, `more` further lines of the plan.
    pub(crate) fn plan(&self, two: &str, catalog: &str, more: &str) {
        self.plan_from("cloud: one, account: per-tenant, access: each-project", two, catalog, more);
    }

    pub(crate) fn plan_from(&self, one: &str, two: &str, catalog: &str, more: &str) {
        let tenants: Vec<String> = self.tenants.iter().map(|tenant| self.openstack.project(tenant)).collect();
        let tenants = tenants.join(", ");
        self.write(
            "plan.yaml",
            &format!(
                "version: 1\nname: faults\ndatabase: sqlite://faults.db\nregions:\n\
                 \x20 region-one:\n    store: {{ type: swift, {one} }}\n\
                 \x20   catalog: {{ type: trove-database, url: \"${{ONE_DB}}\" }}\n\
                 \x20 region-two:\n    store: {{ type: swift, {two} }}\n    catalog: {catalog}\n{more}\n\
                 backups:\n  - {{ select: {{ from: region-one, tenant: [{tenants}] }}, to: [region-two] }}\n"
            ),
        );
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BACKHAUL);
        command.args(arguments).current_dir(self.folder.path()).envs(&self.environment);
        for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL", "OS_CLOUD"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    pub(crate) fn backhaul(&self, arguments: &[&str]) -> Output {
        self.start(arguments).end()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> AtWork<'_> {
        let number = self.runs.replace_with(|runs| *runs + 1);
        let [stdout, stderr] = ["out", "err"].map(|name| self.path(&format!("{number}.{name}")));
        let file = |path: &Path| File::create_new(path).expect("a new file");
        let mut command = self.command(arguments);
        command.stdout(file(&stdout)).stderr(file(&stderr));
        let mut at_work = AtWork { bed: self, running: Running::start(&mut command), stdout, stderr };
        // There is none for a moment, while the kernel makes a process of the file.
        wait_until("a command line is seen", || at_work.shows_no_secret_to_others() > 0 || at_work.running.has_ended());
        at_work
    }

    /// What a dry run says of the plan, in words.
    #[track_caller]
    pub(crate) fn dry_run(&self, arguments: &[&str]) -> Output {
        self.backhaul(&[&["plan", "plan.yaml"], arguments].concat())
    }

    /// What a dry run says of the plan: its last line of JSON.
    #[track_caller]
    pub(crate) fn forecast(&self, arguments: &[&str]) -> Value {
        let output = self.backhaul(&[&["--json", "plan", "plan.yaml"], arguments].concat());
        let last = output.stdout.lines().last().unwrap_or_else(|| panic!("no forecast: {output}"));
        serde_json::from_str(last).expect("JSON")
    }

    /// Runs the plan to the end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.backhaul(&[&["run", "-v", "plan.yaml"], arguments].concat())
    }

    /// As if nothing had been run so far.
    pub(crate) fn forget_runs(&self) {
        for name in [DATABASE_FILE, "faults.db-wal", "faults.db-shm"] {
            let _ = std::fs::remove_file(self.path(name));
        }
        put_watched(&self.path(DATABASE_FILE));
    }

    /// The tenants' containers of a region.
    fn containers(&self, region: &'static str) -> Cloud {
        let containers: Vec<_> = self.tenants.iter().map(|tenant| (&**tenant, "database_backups")).collect();
        self.openstack.containers(region, &containers)
    }

    /// The audit of its database and of both regions.
    fn audit(&self) -> Audit {
        let audit = Audit::of(&format!("sqlite://{}", self.path(DATABASE_FILE).display())).watched();
        let audit = audit.cloud_source(ONE, &self.path("source.json"), &self.containers(ONE));
        let secrets = self.secrets.borrow();
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        audit.cloud(TWO, &self.path("target.json")).without(&secrets)
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        rows_in(&self.path(DATABASE_FILE)).expect("it has tables").into_iter().map(|(row, _)| row).collect()
    }

    /// All that region-two has of a tenant: what Swift has by name and digest, Trove by id.
    pub(crate) fn there(&self, tenant: &str) -> (BTreeMap<String, String>, BTreeSet<String>) {
        let url = format!("{}/database_backups?format=json", self.openstack.account(TWO, tenant));
        let listed: Value = serde_json::from_str(&self.by_operator("GET", &url, &[], "").body).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let objects = listed.as_array().expect("a list").iter();
        let objects = objects.map(|object| (text(&object["name"]), text(&object["hash"]))).collect();
        let ids = format!("SELECT id FROM backups WHERE tenant_id = '{}'", self.openstack.project(tenant));
        (objects, self.openstack.sql(TWO, &ids).concat().into_iter().collect())
    }

    /// Fails the test unless every backup of these is registered, once, and restores by Trove's own code; what was there
    /// before is there still, and nothing else.
    #[track_caller]
    pub(crate) fn is_complete(&self, tenant: &str, backups: &[&Backup]) {
        let all = self.rows();
        let rows: Vec<&Row> =
            all.iter().filter(|row| row.tenant_id.as_deref() == Some(&*self.openstack.project(tenant))).collect();
        assert_eq!(rows.len(), backups.len());
        for row in &rows {
            assert_eq!((row.state, row.failure()), (State::Completed, None), "{}", row.name);
        }
        let ids: Vec<String> =
            rows.iter().map(|row| row.registered_id.clone().unwrap_or_else(|| row.id.to_string())).collect();
        let (objects, registered) = self.there(tenant);
        assert_eq!(registered, ids.iter().cloned().collect(), "each is registered once");
        let stems: BTreeSet<&str> = objects.keys().filter_map(|name| name.split(['.', '_']).next()).collect();
        assert_eq!(stems.len(), backups.len() + 1, "{objects:?}");
        let kept = format!("{}/database_backups/kept.txt", self.openstack.account(TWO, tenant));
        assert_eq!(self.by_operator("GET", &kept, &[], "").body, KEPT);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let restored = self.openstack.try_restore_all(TWO, tenant, &ids);
        for (row, restored) in rows.iter().zip(restored) {
            let backup = backups.iter().find(|backup| row.source_id.as_deref() == Some(&*backup.id)).expect("planned");
            let links = restored.unwrap_or_else(|why| panic!("{}: {why}", row.name));
            let last = links.last().expect("a link");
            assert_eq!((Some(&last.sha256), Some(last.bytes)), (backup.sha256.as_ref(), backup.bytes), "{}", row.name);
        }
        let is_finished = all.iter().all(|row| row.state == State::Completed);
        let audit = self.audit();
        (if is_finished { audit.finished() } else { audit }).holds(tenant);
    }

    /// Fails the test if a secret stands in a text.
    #[track_caller]
    fn shows_no_secret(&self, what: &str, text: &[u8]) {
        for secret in self.secrets.borrow().iter().map(String::as_str).chain(["gAAAA"]) {
            let is_shown = text.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!is_shown, "{what} shows the secret {secret}");
        }
    }
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // To be looked at.
            self.folder.disable_cleanup(true);
            return;
        }
        let mut files = 0;
        for entry in std::fs::read_dir(self.folder.path()).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.is_file() && path.file_name().is_some_and(|name| name != "clouds.yaml") {
                self.shows_no_secret(&path.display().to_string(), &std::fs::read(&path).expect("readable"));
                files += 1;
            }
        }
        assert!(files > 1, "nothing was looked at");
    }
}

impl AtWork<'_> {
    /// Waits until it has said something on stdout or stderr.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) {
        wait_until(text, || {
            let said = [&self.stdout, &self.stderr].map(|path| std::fs::read_to_string(path).expect("readable"));
            let is_said = said.iter().any(|said| said.contains(text));
            assert!(is_said || !self.running.has_ended(), "it ended before it said {text:?}: {said:?}");
            is_said
        });
    }

    /// Whoever is on the machine sees command lines, its own and its children's. Gives how many there are.
    #[track_caller]
    fn shows_no_secret_to_others(&self) -> usize {
        let pid = self.running.pid();
        let lines = [pid].into_iter().chain(children(pid)).map(|process| {
            // Empty once it has ended.
            let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            self.bed.shows_no_secret("a command line", &line);
            usize::from(!line.is_empty())
        });
        lines.sum()
    }

    /// Waits for its end. What it said shows no secret, nor did the command lines of it and its children at any time.
    #[track_caller]
    pub(crate) fn end(mut self) -> Output {
        while !self.running.has_ended() {
            self.shows_no_secret_to_others();
            std::thread::sleep(Duration::from_millis(5));
        }
        let Output { code, signal, .. } = self.running.wait();
        let [stdout, stderr] = [&self.stdout, &self.stderr].map(|path| std::fs::read_to_string(path).expect("UTF-8"));
        let output = Output { code, signal, stdout, stderr };
        self.bed.shows_no_secret("what it says", output.to_string().as_bytes());
        output
    }
}

fn children(pid: u32) -> Vec<u32> {
    let told = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    told.split(' ').filter_map(|pid| pid.trim().parse().ok()).collect()
}
