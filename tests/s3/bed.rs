//! A bed whose regions are S3 servers of this process, folders, or one of each; and the real binary between them.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "as the support of all tests")]

#[path = "audit.rs"]
mod audit;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backhaul::catalog::Record;
use backhaul::copy::PARTS_IN_FLIGHT;
use backhaul::database::{DatabaseUrl, PartRow, Row};
use backhaul::state::State;
use bytes::Bytes;
use tempfile::TempDir;

use super::s3::{self, Content, Digests, Headers, Made, Operation, Request, S3Server};
use super::support::{self, BACKHAUL, Output, Running};

pub const MIB: u64 = 1 << 20;

/// Bytes of a part in a bucket, the least that S3 takes.
pub const PART: u64 = 5 * MIB;

/// The bucket of every server.
pub const BUCKET: &str = "backups";

/// The secret of the source's keys; nothing that the binary says may have it.
pub const SECRETS: [&str; 2] = ["source+secret/of=the tests", "target+secret/of=the tests"];

/// Between which kinds of stores copies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Between,
    ToS3,
    FromS3,
}

/// One source object.
#[derive(Debug, Clone)]
pub struct Object {
    pub name: String,
    pub size: u64,
    pub parent: Option<String>,
}

impl Object {
    pub fn new(name: &str, size: u64) -> Self {
        Self { name: name.to_owned(), size, parent: None }
    }

    pub fn child_of(self, parent: &str) -> Self {
        Self { parent: Some(parent.to_owned()), ..self }
    }

    pub fn bytes(&self) -> Bytes {
        let seed = self.name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Content::from(Made::new(self.size, seed)).bytes()
    }

    pub fn is_large(&self) -> bool {
        self.size > PART
    }
}

/// Objects of one part: an empty one, a byte, a chain of two, exactly a part.
pub fn small() -> Vec<Object> {
    vec![
        Object::new("empty.bin", 0),
        Object::new("byte.bin", 1),
        Object::new("a/full.xbstream.gz", 300_001),
        Object::new("a/inc1.xbstream.gz", 70_000).child_of("a/full.xbstream.gz"),
    ]
}

/// Objects of two to five parts, in a chain, and a small one.
pub fn large() -> Vec<Object> {
    vec![
        Object::new("b/full.xbstream.gz", 4 * PART + 12_345),
        Object::new("b/inc1.xbstream.gz", 2 * PART).child_of("b/full.xbstream.gz"),
        Object::new("alone.bin", 50_000),
    ]
}

/// One object of one part, or of several.
pub fn one(size: u64) -> Vec<Object> {
    vec![Object::new("only.xbstream.gz", size)]
}

/// What differs from one bed to the next.
#[derive(Debug, Clone)]
pub struct Options {
    pub verify: &'static str,
    pub attempts: u16,
    /// After which a region gives a request up that shows no sign of life.
    pub timeout: &'static str,
    /// Lines at the end of the plan.
    pub limits: &'static str,
    pub source: s3::Options,
    pub target: s3::Options,
    /// The target speaks TLS, and only the plan's `ca_file` vouches for it.
    pub tls: bool,
    /// The URL of a database on a server, which has its tables; else it is a file of the bed.
    pub database: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let keys = |access_key_id, secret_access_key| s3::Options {
            access_key_id,
            secret_access_key,
            ..s3::Options::default()
        };
        Self {
            verify: "store",
            attempts: 3,
            timeout: "2s",
            limits: "",
            source: keys("AKIDSOURCE", SECRETS[0]),
            target: keys("AKIDTARGET", SECRETS[1]),
            tls: false,
            database: None,
        }
    }
}

/// A bed, removed when it is dropped.
pub struct Bed {
    pub objects: Vec<Object>,
    pub source: S3Server,
    pub target: S3Server,
    pub route: Route,
    options: Options,
    folder: TempDir,
}

impl Bed {
    /// Between two servers.
    pub fn new(objects: Vec<Object>) -> Self {
        Self::with(Route::Between, objects, Options::default())
    }

    pub fn with(route: Route, objects: Vec<Object>, options: Options) -> Self {
        let folder = tempfile::Builder::new().prefix("s3-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let folder = folder.expect("a folder");
        let source = S3Server::start(options.source.clone());
        let start_target = if options.tls { S3Server::start_tls } else { S3Server::start };
        let target = start_target(options.target.clone());
        if options.tls {
            std::fs::write(folder.path().join("target-ca.pem"), target.ca_pem()).expect("it can be written");
        }
        let bed = Self { objects, source, target, route, options, folder };
        for object in &bed.objects {
            if route == Route::ToS3 {
                let path = bed.path().join("source").join(&object.name);
                std::fs::create_dir_all(path.parent().expect("below the bed")).expect("a folder");
                std::fs::write(path, object.bytes()).expect("a source object");
            } else {
                let metadata = BTreeMap::from([("made-by".to_owned(), "a test".to_owned())]);
                let headers = Headers { metadata, ..Headers::default() };
                bed.source.put(BUCKET, &object.name, object.bytes(), headers);
            }
        }
        bed.write_plan();
        match &bed.options.database {
            Some(url) => support::watch(url),
            None => support::put_watched(&bed.database()),
        }
        bed
    }

    fn region(&self, name: &str, server: &S3Server, is_bucket: bool) -> String {
        if !is_bucket {
            return format!("  {name}: {{ store: {{ type: file, path: {name}, identity: bed-{name} }} }}\n");
        }
        let (endpoint, keys, timeout) = (server.endpoint(), name.to_uppercase(), self.options.timeout);
        let ca = if endpoint.starts_with("https") { ", ca_file: target-ca.pem" } else { "" };
        format!(
            "  {name}:\n    store: {{ type: s3, bucket: {BUCKET}, endpoint: \"{endpoint}\", region: eu-1, timeout: {timeout}, \
             access_key_id: \"${{{keys}_ID}}\", secret_access_key: \"${{{keys}_SECRET}}\", identity: bed-{name}{ca} }}\n"
        )
    }

    /// Writes the whole plan, as it was at the beginning.
    pub fn write_plan(&self) {
        let Options { verify, attempts, limits, database, .. } = &self.options;
        let database = if database.is_some() { "" } else { "database: sqlite://state/bed.db\n" };
        let mut text = format!(
            "version: 1\nname: bed\n{database}regions:\n{}{}defaults: {{ to: [target], part_size: \
             5MiB, verify: {verify} }}\nretry: {{ attempts: {attempts}, max_delay: 1s }}\n{limits}\nbackups:\n",
            self.region("source", &self.source, self.route != Route::ToS3),
            self.region("target", &self.target, self.route != Route::FromS3),
        );
        for object in &self.objects {
            text += &format!("  - {{ location: {}, from: source", object.name);
            if let Some(parent) = &object.parent {
                text += &format!(", parent: {parent}");
            }
            text += " }\n";
        }
        std::fs::write(self.plan(), text).expect("the plan can be written");
    }

    pub fn database_text(&self) -> String {
        let file = || format!("sqlite://{}", self.database().display());
        self.options.database.clone().unwrap_or_else(file)
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn plan(&self) -> PathBuf {
        self.path().join("plan.yaml")
    }

    pub fn database(&self) -> PathBuf {
        self.path().join("state/bed.db")
    }

    /// `backhaul COMMAND PLAN` and more arguments, before it is started.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut process = Command::new(BACKHAUL);
        process.arg(command).arg(self.plan()).args(arguments);
        for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL", "http_proxy", "HTTP_PROXY"] {
            process.env_remove(name);
        }
        process.envs(self.options.database.iter().map(|url| ("BACKHAUL_DATABASE_URL", url)));
        for (name, server) in [("SOURCE", &self.source), ("TARGET", &self.target)] {
            process.env(format!("{name}_ID"), server.access_key_id());
            process.env(format!("{name}_SECRET"), server.secret_access_key());
        }
        process.current_dir(self.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }

    /// Runs a command to its end; nothing secret is ever said.
    #[track_caller]
    pub fn call(&self, command: &str, arguments: &[&str]) -> Output {
        honest(Output::of(self.command(command, arguments).output().expect("the binary starts")))
    }

    #[track_caller]
    pub fn run(&self) -> Output {
        self.call("run", &["-v"])
    }

    pub fn start(&self) -> Running {
        Running::start(&mut self.command("run", &["-v"]))
    }

    /// Runs the plan, which ends at the n-th passage of a point.
    pub fn run_until(&self, point: &str, n: usize) -> Output {
        let mut command = self.command("run", &["-v"]);
        Output::of(command.env("BACKHAUL_FAULT", format!("{point}:{n}")).output().expect("the binary starts"))
    }

    pub fn rows(&self) -> Vec<(Row, Vec<PartRow>)> {
        if let Some(url) = &self.options.database {
            return support::rows_at(&DatabaseUrl::parse(url).expect("a URL")).unwrap_or_default();
        }
        let database = self.database();
        database.exists().then(|| support::rows_in(&database)).flatten().unwrap_or_default()
    }

    /// What lies in the target under a name.
    pub fn copy_of(&self, name: &str) -> Option<Bytes> {
        if self.route == Route::FromS3 {
            return std::fs::read(self.path().join("target").join(name)).ok().map(Bytes::from);
        }
        self.target.get(BUCKET, name).map(|object| object.bytes())
    }

    /// All names in the target, Backhaul's own ones left out.
    pub fn copies(&self) -> Vec<String> {
        self.names().into_iter().filter(|name| !name.starts_with(".backhaul/")).collect()
    }

    fn names(&self) -> Vec<String> {
        if self.route != Route::FromS3 {
            return self.target.keys(BUCKET);
        }
        let folder = self.path().join("target");
        let files = support::files(&folder).into_iter();
        files.map(|path| path.strip_prefix(&folder).expect("below").to_string_lossy().into_owned()).collect()
    }

    /// All lines of all record objects in the target.
    pub fn records(&self) -> Vec<Record> {
        let names = self.names().into_iter().filter(|name| name.starts_with(".backhaul/records/"));
        names
            .flat_map(|name| {
                let text = self.copy_of(&name).expect("a record object");
                let text = String::from_utf8(text.to_vec()).expect("UTF-8");
                text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect::<Vec<Record>>()
            })
            .collect()
    }

    /// Bytes that were sent to the target for one object, retries included.
    pub fn sent(&self, name: &str) -> u64 {
        self.sent_of_each().remove(name).unwrap_or_default()
    }

    fn sent_of_each(&self) -> BTreeMap<String, u64> {
        let mut sent = BTreeMap::new();
        for request in transfers(&self.target, &[Operation::PutObject, Operation::UploadPart]) {
            *sent.entry(request.key).or_default() += request.bytes_in;
        }
        sent
    }

    /// What must be true at any time, whatever happened: what lies under a final name is what its source is, a row that
    /// says COMPLETED has its object and its record, nothing was overwritten, nothing was written to the source.
    #[track_caller]
    pub fn is_true(&self, what: &str) -> usize {
        for name in self.copies().into_iter().filter(|name| !name.contains(".backhaul-")) {
            let object = self.objects.iter().find(|object| object.name == name);
            let object = object.unwrap_or_else(|| panic!("{what}: `{name}` is nobody's"));
            assert!(self.copy_of(&name) == Some(object.bytes()), "{what}: `{name}` is not what its source is");
        }
        let records = self.records();
        let mut completed = 0;
        let is_copied = |row: &Row| row.region == "target" && row.state == State::Completed;
        for (row, _) in self.rows().into_iter().filter(|(row, _)| is_copied(row)) {
            let copy = self.copy_of(row.location.as_deref().expect("a location"));
            let copy = copy.unwrap_or_else(|| panic!("{what}: `{}` is COMPLETED and not there", row.name));
            let digest = Digests::of(&Content::from(copy)).sha256;
            assert_eq!(row.sha256.map(|sha256| sha256.0), Some(digest), "{what}: `{}`", row.name);
            let recorded = records.iter().any(|record| record.id == row.id && record.sha256 == row.sha256);
            assert!(recorded, "{what}: `{}` is COMPLETED and has no record", row.name);
            completed += 1;
        }
        assert_eq!(self.overwritten(), [] as [String; 0], "{what}: objects were overwritten");
        self.source_is_untouched(what);
        completed
    }

    /// Keys in the target that were overwritten, but for the one by which Backhaul asks whether that can be.
    pub fn overwritten(&self) -> Vec<String> {
        let keys = self.target.overwritten().into_iter().map(|(_, key)| key);
        keys.filter(|key| key != ".backhaul/create-only").collect()
    }

    #[track_caller]
    fn source_is_untouched(&self, what: &str) {
        for request in self.source.requests() {
            let reads = [Operation::GetObject, Operation::HeadObject, Operation::ListObjects, Operation::HeadBucket];
            assert!(reads.contains(&request.operation), "{what}: the source was written: {request:?}");
        }
    }

    /// All objects are copied and registered, and nothing is left behind.
    #[track_caller]
    pub fn is_complete(&self, what: &str) {
        assert_eq!(self.is_true(what), self.objects.len(), "{what}: COMPLETED rows");
        let rows = self.rows();
        assert!(rows.iter().all(|(_, parts)| parts.is_empty()), "{what}: rows of parts are left");
        assert_eq!(self.copies().len(), self.objects.len(), "{what}: {:?}", self.copies());
        self.has_no_debris(what);
        let ids: BTreeSet<_> = self.records().into_iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), self.objects.len(), "{what}: records");
        self.audit().watched().finished().must(&["I1", "I4", "I11"]).holds(what);
    }

    /// No open upload, no temporary.
    #[track_caller]
    pub fn has_no_debris(&self, what: &str) {
        assert_eq!(self.target.open_uploads(BUCKET), [], "{what}: open uploads");
        let temporaries: Vec<_> = self.names().into_iter().filter(|name| name.contains(".backhaul-")).collect();
        assert!(temporaries.is_empty(), "{what}: left behind: {temporaries:?}");
    }

    /// Runs the plan again, undisturbed, to its end.
    #[track_caller]
    pub fn completes(&self, what: &str) {
        self.source.clear_faults();
        self.target.clear_faults();
        let output = self.run();
        assert_eq!(output.code, Some(0), "{what}: the next run did not complete: {output}");
        self.is_complete(what);
    }

    /// As [`Bed::completes`], also what failed for good.
    #[track_caller]
    pub fn completes_when_retried(&self, what: &str) {
        self.source.clear_faults();
        self.target.clear_faults();
        let output = self.call("run", &["-v", "--retry-failed"]);
        assert_eq!(output.code, Some(0), "{what}: the next run did not complete: {output}");
        self.is_complete(what);
    }

    /// No object was sent or read more often than once, but for the parts that were under way at each of `kills`.
    #[track_caller]
    pub fn bytes_at_most(&self, kills: u64, what: &str) {
        let (sent, mut read): (_, BTreeMap<String, u64>) = (self.sent_of_each(), BTreeMap::new());
        for request in transfers(&self.source, &[Operation::GetObject]) {
            *read.entry(request.key).or_default() += request.bytes_out;
        }
        let of = |bytes: &BTreeMap<String, u64>, name: &str| bytes.get(name).copied().unwrap_or_default();
        for object in &self.objects {
            let in_flight = if object.is_large() { PARTS_IN_FLIGHT as u64 * PART } else { object.size };
            let most = object.size + kills * in_flight;
            let (read, sent) = (of(&read, &object.name), of(&sent, &object.name));
            assert!(sent <= most, "{what}: `{}`: {sent} bytes sent, at most {most}", object.name);
            assert!(read <= most, "{what}: `{}`: {read} bytes read, at most {most}", object.name);
        }
    }
}

/// The requests of some kinds that a server got, but for those about Backhaul's own objects.
pub fn transfers(server: &S3Server, operations: &[Operation]) -> Vec<Request> {
    let mut requests = server.requests();
    requests.retain(|request| operations.contains(&request.operation) && !request.key.starts_with(".backhaul/"));
    requests
}

/// Fails if a secret, or a URL with a signature, was said.
#[track_caller]
pub fn honest(output: Output) -> Output {
    for secret in SECRETS.into_iter().chain(["X-Amz-Signature", "X-Amz-Credential"]) {
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "a secret was said: {output}");
    }
    assert!(!output.stderr.contains("panicked at"), "a panic: {output}");
    output
}
