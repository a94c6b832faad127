//! A bed: backups of a tenant in region-one, a place of its own in a target, others' objects beside it, and the homes of
//! those who copy: a plan and a database each.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use backhaul::database::{PartRow, Row};
use backhaul::id::target_id;
use tempfile::TempDir;
use uuid::Uuid;

use crate::account::Account;
use crate::openstack::{Backup, ONE, OpenStack, Seeds, Shared, TWO};
use crate::support::{self, BACKHAUL, Output, Running};
use crate::traffic::Traffic;

pub(crate) const MIB: u64 = 1 << 20;

/// An attempt of nobody's, whose segments lie beside ours.
const OTHERS: &str = "fedcba9876543210fedcba9876543210";

/// Tenants of region-one, each with its own backups, and those of region-two that stand for them.
const SOURCES: [&str; 4] = ["between", "away", "points", "pair"];
const TARGETS: [&str; 4] = ["between-two", "away-two", "points-two", "pair-two"];

/// The tenants' backups, made once.
static SEEDS: OnceLock<Seeds> = OnceLock::new();

/// The regions and what lies in the first.
pub(crate) struct Ground {
    pub(crate) openstack: Shared,
    pub(crate) seeds: &'static Seeds,
}

impl Ground {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let openstack = OpenStack::shared(test)?;
        let seeds = SEEDS.get_or_init(|| {
            openstack.add_tenants(&[SOURCES, TARGETS].concat());
            openstack.seed(&[
                "between/small",
                "between/large:44",
                "away/small",
                "away/large:20",
                "points/standard",
                "pair/small",
            ])
        });
        Some(Self { openstack, seeds })
    }
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// From region-one to region-two.
    Between,
    /// From region-one to a folder.
    ToFile,
    /// From such a folder to region-two.
    FromFile,
}

/// What a bed is made of.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) route: Route,
    /// The tenant in region-one; in region-two it is this with `-two`.
    pub(crate) tenant: &'static str,
    /// Backups by name; their ancestors come on top.
    pub(crate) backups: &'static [&'static str],
    /// Whether region-two's Trove is written through its API.
    pub(crate) api: bool,
    /// The bed whose target folder is the source.
    pub(crate) vault: Option<&'a Bed<'a>>,
}

/// The chain of an SLO, a plain object and an SLO. Each is named: a parent that is not, and that somebody has registered by
/// then, would not come on top.
pub(crate) const CHAIN: &[&str] = &["a-full", "a-inc1", "a-inc2"];

impl Options<'_> {
    pub(crate) fn between(tenant: &'static str, backups: &'static [&'static str]) -> Self {
        Self { route: Route::Between, tenant, backups, api: false, vault: None }
    }
}

/// Something of somebody else's in the target.
struct Foreign {
    name: String,
    bytes: Vec<u8>,
    /// When it was written.
    timestamp: String,
}

pub(crate) struct Bed<'a> {
    pub(crate) ground: &'a Ground,
    pub(crate) options: Options<'a>,
    /// Its name, also that of its container.
    pub(crate) name: String,
    /// What is copied, with its target id; a parent before its children.
    pub(crate) backups: Vec<(&'static Backup, Uuid)>,
    /// The target's account in region-two.
    pub(crate) account: Account,
    pub(crate) traffic: Mutex<Traffic>,
    homes: Vec<TempDir>,
    foreign: Vec<Foreign>,
}

static NUMBERS: AtomicU32 = AtomicU32::new(1);

impl<'a> Bed<'a> {
    pub(crate) fn new(ground: &'a Ground, options: Options<'a>) -> Self {
        Self::of_operators(ground, options, 1)
    }

    /// With so many homes: plan and database are each operator's own, the target is one.
    pub(crate) fn of_operators(ground: &'a Ground, options: Options<'a>, operators: usize) -> Self {
        let name = format!("bed-{:04}", NUMBERS.fetch_add(1, Ordering::Relaxed));
        let homes = (0..operators).map(|_| {
            let folder = tempfile::Builder::new().prefix(&name).tempdir_in(env!("CARGO_TARGET_TMPDIR"));
            folder.expect("a folder")
        });
        let account = Account::of(&ground.openstack, TWO, &format!("{}-two", options.tenant));
        let mut bed = Self {
            ground,
            options,
            backups: Vec::new(),
            account,
            traffic: Mutex::default(),
            homes: homes.collect(),
            foreign: Vec::new(),
            name,
        };
        for name in options.backups {
            for backup in ground.seeds.chain(ground.seeds.backup(&format!("{}/{name}", options.tenant))) {
                if bed.backups.iter().all(|(known, _)| known.id != backup.id) {
                    bed.backups.push((backup, bed.id_of(backup)));
                }
            }
        }
        bed.lay_beside();
        for home in 0..operators {
            bed.write_plan(home);
            support::put_watched(&bed.database(home));
        }
        bed.traffic = Mutex::new(Traffic::from_now_on(&ground.openstack));
        bed.remember();
        bed
    }

    fn id_of(&self, backup: &Backup) -> Uuid {
        match self.options.vault {
            None => target_id("kills-one", &backup.id, &self.identity()),
            Some(vault) => target_id(&vault.identity(), &vault.id_of(backup).to_string(), &self.identity()),
        }
    }

    /// Of the target store.
    fn identity(&self) -> String {
        if self.options.route == Route::ToFile { format!("file:{}", self.name) } else { self.name.clone() }
    }

    pub(crate) fn target_tenant(&self) -> String {
        format!("{}-two", self.options.tenant)
    }

    pub(crate) fn home(&self, operator: usize) -> &Path {
        self.homes[operator].path()
    }

    /// The folder that is the target of [`Route::ToFile`].
    pub(crate) fn vault(&self) -> PathBuf {
        self.home(0).join("vault")
    }

    /// Puts things next to where ours will be: of names that ours could have, as others' attempts and Trove leave them.
    fn lay_beside(&mut self) {
        let id = self.backups[0].1;
        let names = [
            "notes.txt".to_owned(),
            format!("{id}_00000000"),
            format!("{id}_{OTHERS}_00000000"),
            format!("{id}_{OTHERS}_00000001"),
            format!("{id}.xbstream.gz.old"),
            format!(".backhaul-{OTHERS}.part"),
        ];
        if self.options.route == Route::ToFile {
            std::fs::create_dir_all(self.vault()).expect("a folder");
        } else {
            self.account.put(&self.name, b"");
        }
        for (number, name) in (0..).zip(names) {
            let bytes = vec![number; 1000];
            if self.options.route == Route::ToFile {
                std::fs::write(self.vault().join(&name), &bytes).expect("written");
            } else {
                self.account.put(&format!("{}/{name}", self.name), &bytes);
            }
            let (_, timestamp) = self.look(&name);
            self.foreign.push(Foreign { name, bytes, timestamp });
        }
    }

    /// Bytes of a foreign object and when it was written.
    fn look(&self, name: &str) -> (Vec<u8>, String) {
        if self.options.route == Route::ToFile {
            let path = self.vault().join(name);
            let modified = std::fs::metadata(&path).expect("it is there").modified().expect("a time");
            return (std::fs::read(&path).expect("readable"), format!("{modified:?}"));
        }
        let there = self.account.get(&format!("{}/{name}", self.name));
        let timestamp = there.headers(&["x-timestamp"]).remove("x-timestamp").expect("Swift has it");
        (there.body.to_vec(), timestamp)
    }

    #[track_caller]
    pub(crate) fn foreign_is_untouched(&self, what: &str) {
        for foreign in &self.foreign {
            let (bytes, timestamp) = self.look(&foreign.name);
            assert!(bytes == foreign.bytes, "{what}: {} has other bytes", foreign.name);
            assert_eq!(timestamp, foreign.timestamp, "{what}: {} was written", foreign.name);
        }
    }

    pub(crate) fn foreign(&self) -> impl Iterator<Item = &str> {
        self.foreign.iter().map(|foreign| &*foreign.name)
    }

    /// Writes an operator's plan.
    pub(crate) fn write_plan(&self, operator: usize) {
        self.write(operator, &self.name, self.options.backups);
    }

    /// Writes a plan that wants another backup, in another container, and none of the bed's.
    pub(crate) fn write_plan_of_another(&self, operator: usize) {
        self.write(operator, "elsewhere", &["plain"]);
    }

    fn write(&self, operator: usize, container: &str, backups: &[&str]) {
        let Self { options, name, .. } = self;
        let project = |tenant: &str| self.ground.openstack.project(tenant);
        let one = "  one:\n    store: { type: swift, cloud: region-one-operator-operators, account: per-tenant, access: \
                   reseller, identity: kills-one }\n    catalog: { type: trove-database, url: \"${ONE_TROVE}\" }\n";
        let catalog = if options.api {
            format!("{{ type: trove-api, cloud: region-two-mover-{} }}", self.target_tenant())
        } else {
            "{ type: trove-database, url: \"${TWO_TROVE}\", quota: ignore }".to_owned()
        };
        let two = format!(
            "  two:\n    store: {{ type: swift, cloud: region-two-mover-{tenant}, account: per-tenant, access: each-project, \
             container: {container}, segment_size: 3MiB, identity: {name} }}\n    catalog: {catalog}\n    tenants: {{ {}: {} }}\n",
            project(options.tenant),
            project(&self.target_tenant()),
            tenant = self.target_tenant(),
        );
        let file = |region: &str, of: &Bed<'_>| {
            let path = of.vault();
            format!("  {region}: {{ store: {{ type: file, path: {}, identity: {} }} }}\n", path.display(), of.name)
        };
        let (from, source, to, target) = match (options.route, options.vault) {
            (Route::Between, _) => ("one", one.to_owned(), "two", two),
            (Route::ToFile, _) => ("one", one.to_owned(), "vault", file("vault", self)),
            (Route::FromFile, vault) => ("vault", file("vault", vault.expect("a source")), "two", two),
        };
        let mut text = format!(
            "version: 1\nname: kills\ndatabase: sqlite://state/kills.db\nregions:\n{source}{target}defaults: {{ to: [{to}], \
             part_size: 1MiB }}\nretry: {{ attempts: 3, max_delay: 1s }}\nbackups:\n"
        );
        for backup in backups {
            let backup = self.ground.seeds.backup(&format!("{}/{backup}", options.tenant));
            let id = options.vault.map_or_else(|| backup.id.clone(), |vault| vault.id_of(backup).to_string());
            text += &format!("  - {{ id: {id}, from: {from} }}\n");
        }
        std::fs::write(self.home(operator).join("plan.yaml"), text).expect("written");
    }

    /// `backhaul COMMAND plan.yaml` and more arguments, by an operator, before it is started.
    pub(crate) fn command(&self, operator: usize, command: &str) -> Command {
        let mut process = Command::new(BACKHAUL);
        process.arg(command).arg("plan.yaml").current_dir(self.home(operator));
        for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL", "OS_CLOUD"] {
            process.env_remove(name);
        }
        let openstack = &self.ground.openstack;
        process.env("OS_CLIENT_CONFIG_FILE", openstack.clouds());
        process.env("ONE_TROVE", openstack.database_url(ONE, "source"));
        process.env("TWO_TROVE", openstack.database_url(TWO, "target"));
        process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }

    pub(crate) fn call(&self, operator: usize, command: &str) -> Output {
        Output::of(self.command(operator, command).output().expect("the binary starts"))
    }

    pub(crate) fn run(&self) -> Output {
        self.call(0, "run")
    }

    /// Runs a plan that does not want any more what was begun.
    #[track_caller]
    pub(crate) fn run_of_another(&self, operator: usize) {
        let output = self.command(operator, "run").arg("--accept-changes").output();
        Output::of(output.expect("the binary starts")).expect(0);
    }

    pub(crate) fn start(&self, operator: usize) -> Running {
        Running::start(&mut self.command(operator, "run"))
    }

    /// As [`Bed::call`], ended at the n-th passage of a point.
    pub(crate) fn call_until(&self, operator: usize, command: &str, point: &str, n: usize) -> Output {
        let mut command = self.command(operator, command);
        Output::of(command.env("BACKHAUL_FAULT", format!("{point}:{n}")).output().expect("the binary starts"))
    }

    pub(crate) fn database(&self, operator: usize) -> PathBuf {
        self.home(operator).join("state/kills.db")
    }

    /// Those of the bed's backups.
    pub(crate) fn rows(&self, operator: usize) -> Vec<(Row, Vec<PartRow>)> {
        let database = self.database(operator);
        let mut rows = database.exists().then(|| support::rows_in(&database)).flatten().unwrap_or_default();
        rows.retain(|(row, _)| self.backups.iter().any(|(_, id)| *id == row.id));
        rows
    }

    /// Somebody takes a segment away that has its row.
    pub(crate) fn lose_a_segment(&self) {
        let rows = self.rows(0);
        let begun = rows.iter().find(|(_, parts)| !parts.is_empty());
        let path = segment(&begun.expect("a copy has begun").0, 0);
        self.account.delete(path.split_once('/').expect("below an account").1);
    }
}

/// The path of a segment of the upload that a row names, from its account on.
pub(crate) fn segment(row: &Row, number: u32) -> String {
    let location = row.location.as_deref().expect("a location");
    let stem = location.strip_suffix(".xbstream.gz").expect("as Trove names them");
    format!("{stem}_{}_{number:08}", row.upload_token.as_deref().expect("an upload"))
}
