//! Plans over buckets: what a dry run asks and saves, what `init` and `select` make of what lies there, and whether
//! targets can be written.

#[path = "support/s3/mod.rs"]
mod s3;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use s3::{Headers, On, Operation, Options, Request, S3Server, What};
use serde_json::Value;
use support::{BACKHAUL, Output};
use tempfile::TempDir;

/// A chain of three, and one backup of several parts.
const FILES: [(&str, usize); 4] =
    [("a/full.xbstream.gz", 70_000), ("a/inc1.xbstream.gz", 900), ("a/inc2.xbstream.gz", 1), ("big.bin", 12 << 20)];

/// A folder with a source region and a server with two buckets.
struct Bed {
    folder: TempDir,
    server: S3Server,
}

impl Bed {
    fn new() -> Self {
        Self::with(Options { buckets: vec!["one-bucket", "two-bucket"], ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bed = Self { folder, server: S3Server::start(options) };
        for (name, size) in FILES {
            let path = bed.path("here").join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
            fs::write(path, bytes(name, size)).expect("writable");
        }
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().expect("there").join(name)
    }

    /// The keys of a bucket, as in a plan.
    fn store(&self, bucket: &str, prefix: &str) -> String {
        let endpoint = self.server.endpoint();
        let prefix = if prefix.is_empty() { String::new() } else { format!(", prefix: {prefix}") };
        format!(
            "{{ type: s3, bucket: {bucket}{prefix}, endpoint: \"{endpoint}\", access_key_id: \"${{KEY_ID}}\", \
             secret_access_key: \"${{SECRET}}\" }}"
        )
    }

    /// The same as an argument of `init`.
    fn url(&self, bucket: &str, prefix: &str) -> String {
        let endpoint = self.server.endpoint();
        format!("s3://{bucket}/{prefix}?endpoint={endpoint}&access_key_id=${{KEY_ID}}&secret_access_key=${{SECRET}}")
    }

    /// Writes a plan over the folders `here` and `there` and the two buckets under their prefixes.
    fn plan(&self, name: &str, prefixes: [&str; 2], backups: &str) {
        let text = format!(
            "version: 1\nname: {name}\ndatabase: sqlite://{name}.db\nregions:\n  here: {{ store: {{ type: file, path: here }} }}\n  \
             there: {{ store: {{ type: file, path: there }} }}\n  one: {{ store: {} }}\n  two: {{ store: {} }}\n\
             defaults: {{ part_size: 5MiB }}\nretry: {{ attempts: 1, max_delay: 1s }}\nbackups:\n{backups}",
            self.store("one-bucket", prefixes[0]),
            self.store("two-bucket", prefixes[1]),
        );
        fs::write(self.path(&format!("{name}.yaml")), text).expect("writable");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BACKHAUL);
        command.args(words).current_dir(self.path("")).stdin(Stdio::null());
        for name in ["BACKHAUL_DATABASE_URL", "AWS_REGION", "AWS_DEFAULT_REGION"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", self.path("state"));
        command.env("KEY_ID", self.server.access_key_id()).env("SECRET", self.server.secret_access_key());
        command
    }

    /// What a command says, its words split at spaces. No secret is ever in it.
    #[track_caller]
    fn backhaul(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split(' ').collect();
        let output = Output::of(self.command(&words).output().expect("the binary starts"));
        assert!(!output.to_string().contains(self.server.secret_access_key()), "a secret: {output}");
        output
    }

    /// Copies all of `here` to the first bucket, and forgets what was asked for it.
    fn fill(&self, prefix: &str) {
        self.plan("fill", [prefix, ""], &backups("here", "[one]"));
        self.backhaul("run fill.yaml").expect(0);
        self.server.clear_log();
    }

    /// All objects and open uploads of both buckets.
    fn contents(&self) -> Vec<(String, Vec<String>, usize)> {
        ["one-bucket", "two-bucket"]
            .map(|bucket| (bucket.to_owned(), self.server.keys(bucket), self.server.open_uploads(bucket).len()))
            .to_vec()
    }
}

fn bytes(name: &str, size: usize) -> Vec<u8> {
    name.bytes().cycle().take(size).collect()
}

/// Entries for all files as a chain of three and one beside it.
fn backups(from: &str, to: &str) -> String {
    let parent = |name: &str| match name {
        "a/inc1.xbstream.gz" => ", parent: a/full.xbstream.gz",
        "a/inc2.xbstream.gz" => ", parent: a/inc1.xbstream.gz",
        _ => "",
    };
    FILES.map(|(name, _)| format!("- {{ location: {name}, from: {from}, to: {to}{} }}\n", parent(name))).concat()
}

fn lines(output: &Output, kind: &str) -> Vec<Value> {
    let lines = output.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["type"] == kind).collect()
}

/// Ids and names of what a dry run or a run tells of.
fn ids(output: &Output, kind: &str) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    lines(output, kind).iter().map(|line| (text(&line["id"]), text(&line["name"]))).collect()
}

/// Reads and lists, and no more.
#[track_caller]
fn only_looked(requests: &[Request]) {
    let looks = [Operation::HeadObject, Operation::GetObject, Operation::ListObjects];
    for request in requests {
        assert!(looks.contains(&request.operation) && matches!(request.method.as_str(), "GET" | "HEAD"), "{request:?}");
    }
    assert!(!requests.is_empty(), "nobody was asked");
}

/// The bytes of all files below a folder by name, records left out.
fn contents_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = support::files(folder).into_iter().map(|path| {
        let name = path.strip_prefix(folder).expect("below it").to_str().expect("UTF-8").to_owned();
        (name, fs::read(path).expect("readable"))
    });
    files.filter(|(name, _)| !name.starts_with(".backhaul")).collect()
}

fn sources() -> BTreeMap<String, Vec<u8>> {
    FILES.iter().map(|(name, size)| ((*name).to_owned(), bytes(name, *size))).collect()
}

#[test]
fn a_dry_run_reads_and_lists_and_changes_nothing() {
    let bed = Bed::new();
    bed.plan("up", ["", "p"], &backups("here", "[one, two]"));
    let before = bed.contents();
    bed.backhaul("plan up.yaml").expect(0);
    only_looked(&bed.server.requests());
    assert_eq!(bed.contents(), before);
    bed.fill("q");
    let before = bed.contents();
    bed.plan("next", ["q", "p/r"], "- select: { from: one }\n  to: [two, there]\n");
    for command in ["plan next.yaml", "plan --out saved.yaml next.yaml", "graph next.yaml"] {
        bed.backhaul(command).expect(0);
    }
    only_looked(&bed.server.requests());
    assert_eq!(bed.contents(), before);
    assert!(!bed.path("there").exists() && !bed.path("next.db").exists());
}

#[test]
fn a_vault_in_a_bucket_describes_itself_and_is_restored_from_its_records() {
    let bed = Bed::new();
    bed.fill("vault/a");
    // What lies beside the prefix is none of the store's.
    bed.server.put("one-bucket", "vault/ab/other", "not in the store", Headers::default());
    fs::remove_dir_all(bed.path("here")).expect("gone");
    fs::remove_file(bed.path("fill.db")).expect("gone");
    let from = bed.url("one-bucket", "vault/a");
    let said = bed.backhaul(&format!("init --from {from} --to there -o back.yaml")).expect(0);
    assert_eq!(said.stderr, "wrote back.yaml with 4 backups from records; look at it, then: backhaul plan back.yaml\n");
    only_looked(&bed.server.requests());
    let text = fs::read_to_string(bed.path("back.yaml")).expect("written");
    assert!(text.contains("secret_access_key: ${SECRET}\n") && text.contains("prefix: vault/a\n"), "{text}");
    bed.backhaul("run back.yaml").expect(0);
    assert_eq!(
        contents_of(&bed.path("there")).into_values().collect::<BTreeSet<_>>(),
        sources().into_values().collect::<BTreeSet<_>>()
    );
    // Chains are in the records: a parent comes before its children, and they know it.
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("- id: ")).collect();
    assert_eq!(ids.len(), FILES.len());
    let records = support::record_lines(&bed.path("there"));
    assert_eq!(records.iter().filter(|(_, record)| record.parent_id.is_some()).count(), 2);
}

#[test]
fn what_lies_in_a_bucket_without_records_becomes_locations() {
    let bed = Bed::new();
    for (key, content) in [
        ("p/dumps/full.gz", "full"),
        ("p/dumps/inc 1.gz", "an increment"),
        ("p/\u{fc}ber/\u{65e5}\u{672c}+%41.gz", "letters"),
        ("other/full.gz", "beside the prefix"),
        ("pq", "beside the prefix"),
    ] {
        bed.server.put("one-bucket", key, content, Headers::default());
    }
    let odd = ["p/folder/", "p/a//b", "p/${HOME}", "p/dumps/../x", "p//", "p/ends "];
    for key in odd {
        bed.server.put("one-bucket", key, "", Headers::default());
    }
    let said = bed.backhaul(&format!("init --from {} --to there -o found.yaml", bed.url("one-bucket", "p"))).expect(0);
    only_looked(&bed.server.requests());
    for name in odd {
        let name = name.strip_prefix("p/").expect("below the prefix");
        assert!(said.stderr.contains(&format!("warning: left out: `{name}`: ")), "{name}: {said}");
    }
    assert!(said.stderr.contains("with 3 backups from objects without records"), "{said}");
    bed.backhaul("run found.yaml").expect(0);
    let names = contents_of(&bed.path("there")).into_keys().collect::<Vec<_>>();
    assert_eq!(names, ["dumps/full.gz", "dumps/inc 1.gz", "\u{fc}ber/\u{65e5}\u{672c}+%41.gz"]);
    bed.backhaul(&format!("init --from {} --to there", bed.url("two-bucket", ""))).expect(3);
    let said = bed.backhaul(&format!("init --from {} --to there", bed.url("no-bucket", ""))).expect(6);
    assert!(said.stderr.contains("NoSuchBucket") && said.stderr.contains("create it, or correct its name"), "{said}");
}

#[test]
fn init_takes_no_secret_and_no_bad_bucket() {
    let bed = Bed::new();
    let endpoint = bed.server.endpoint();
    let secret =
        format!("s3://one-bucket?endpoint={endpoint}&access_key_id=${{KEY_ID}}&secret_access_key=hunter2hunter2");
    let said = bed.backhaul(&format!("init --from {secret} --to there")).expect(2);
    assert!(said.stderr.contains("`secret_access_key` holds a secret in plain text"), "{said}");
    assert!(!said.to_string().contains("hunter2"), "{said}");
    for (from, why) in [
        ("s3://One_Bucket", "it has the character `O`"),
        ("gcs://one-bucket/a//b", "it has an empty part"),
        ("s3://one-bucket?endpoint=http://example.com", "is `http://` to another machine"),
        ("s3://one-bucket?bukcet=x", "unknown key `bukcet`"),
        ("tape://one", "there are no stores of type `tape`"),
    ] {
        let said = bed.backhaul(&format!("init --from {from} --to there")).expect(2);
        assert!(said.stderr.contains(why), "{from}: {said}");
    }
    assert!(bed.server.requests().is_empty());
}

#[test]
fn a_select_takes_the_records_of_a_bucket_and_keeps_to_its_prefixes() {
    let bed = Bed::new();
    bed.fill("a");
    bed.plan("next", ["a", "deep/down"], "- select: { from: one }\n  to: [two]\n");
    bed.backhaul("run next.yaml").expect(0);
    let keys = bed.server.keys("two-bucket");
    assert!(keys.iter().all(|key| key.starts_with("deep/down/")), "{keys:?}");
    assert_eq!(keys.iter().filter(|key| !key.contains("/.backhaul/")).count(), FILES.len());
    assert!(bed.server.open_uploads("two-bucket").is_empty());
    // The next run asks nothing but what the select takes now.
    bed.server.clear_log();
    bed.backhaul("run next.yaml").expect(0);
    only_looked(&bed.server.requests());
    // Without the plan the database knows where the copies are.
    let said = bed.backhaul("--database sqlite://next.db verify").expect(0);
    assert!(said.stdout.contains("4 of 4 copies read and hashed"), "{said}");
    bed.backhaul("--database sqlite://next.db gc").expect(0);
}

#[test]
fn a_saved_plan_over_buckets_takes_what_was_seen() {
    let bed = Bed::new();
    bed.fill("a");
    bed.plan("next", ["a", "b"], "- select: { from: one }\n  to: [two]\n");
    let planned = bed.backhaul("plan --json --out saved.yaml next.yaml").expect(0);
    let text = fs::read_to_string(bed.path("saved.yaml")).expect("written");
    assert!(!text.contains("select:") && text.matches("etag: ").count() == FILES.len(), "{text}");
    assert!(text.contains("secret_access_key: ${SECRET}\n"), "{text}");
    let changed = bed
        .server
        .keys("one-bucket")
        .into_iter()
        .find(|key| bed.server.get("one-bucket", key).is_some_and(|object| object.content.size() == 900));
    let changed = changed.expect("the first increment");
    bed.server.rewrite("one-bucket", &changed, bytes("another", 900));
    let ran = bed.backhaul("run --json saved.yaml").expect(3);
    let failed = lines(&ran, "failed");
    assert_eq!(failed.len(), 2, "the increment and what builds on it: {ran}");
    assert!(ran.stdout.contains("is not what the plan pins"), "{ran}");
    bed.server.rewrite("one-bucket", &changed, bytes("a/inc1.xbstream.gz", 900));
    bed.backhaul("run --retry-failed saved.yaml").expect(0);
    assert_eq!(ids(&bed.backhaul("plan --json saved.yaml").expect(0), "planned"), ids(&planned, "planned"));
}

#[test]
fn one_bucket_by_two_references_is_no_source_and_target() {
    let bed = Bed::new();
    let region = |name: &str, bucket: &str| format!("  {name}: {{ store: {} }}\n", bed.store(bucket, "${P}"));
    let text = format!(
        "version: 1\nname: same\ndatabase: sqlite://same.db\nregions:\n{}{}backups: [{{ location: x, from: one, to: [two] }}]\n",
        region("one", "\"${A}\"").replace("${P}", "\"${P}\""),
        region("two", "\"${B}\"").replace("${P}", "\"${Q}\""),
    );
    fs::write(bed.path("same.yaml"), text).expect("writable");
    let run = |a: &str, b: &str, p: &str, q: &str| {
        let mut command = bed.command(&["plan", "same.yaml"]);
        Output::of(command.env("A", a).env("B", b).env("P", p).env("Q", q).output().expect("the binary starts"))
    };
    for (p, q) in [("p", "p/"), ("p", "p/q")] {
        let said = run("one-bucket", "one-bucket", p, q).expect(2);
        assert!(said.stderr.contains("or one lies inside the other"), "{said}");
    }
    assert!(bed.server.requests().is_empty());
    run("one-bucket", "one-bucket", "p", "q").expect(3);
    let said = run("One_Bucket", "one-bucket", "p", "q").expect(6);
    assert!(said.stderr.contains("is no bucket name: it has the character `O`"), "{said}");
}

#[test]
fn targets_are_tried_by_a_write_that_leaves_nothing() {
    let bed = Bed::new();
    bed.plan("up", ["", "p"], &backups("here", "[one, two, there]"));
    let before = bed.contents();
    let said = bed.backhaul("plan --probe-writes up.yaml").expect(0);
    for region in ["one", "two", "there"] {
        assert!(said.stdout.contains(&format!("region `{region}` can be written\n")), "{said}");
    }
    assert!(said.stdout.contains("nothing was changed; what was written to test it was removed; asked in "), "{said}");
    assert_eq!(bed.contents(), before);
    assert!(!bed.path("there").exists() && !bed.path("up.db").exists());
    let names: BTreeSet<String> = support::files(&bed.path(""))
        .iter()
        .map(|path| path.strip_prefix(bed.path("")).expect("below it").display().to_string())
        .collect();
    assert_eq!(names.len(), FILES.len() + 1, "only the sources and the plan: {names:?}");
    let (writes, looks): (Vec<Request>, Vec<Request>) = bed.server.requests().into_iter().partition(|request| {
        matches!(request.operation, Operation::CreateMultipartUpload | Operation::AbortMultipartUpload)
    });
    only_looked(&looks);
    assert_eq!(writes.len(), 4, "{writes:?}");
    for (bucket, prefix) in [("one-bucket", ""), ("two-bucket", "p/")] {
        let [begun, aborted] = [Operation::CreateMultipartUpload, Operation::AbortMultipartUpload].map(|operation| {
            writes.iter().find(|write| write.bucket == bucket && write.operation == operation).expect("a write")
        });
        assert!(begun.key.starts_with(&format!("{prefix}.backhaul/probe-")), "{begun:?}");
        assert_eq!(begun.key, aborted.key);
    }
    // What is done already is not written again.
    bed.backhaul("run up.yaml").expect(0);
    bed.server.clear_log();
    let said = bed.backhaul("plan --json --probe-writes up.yaml").expect(0);
    assert_eq!(lines(&said, "forecast")[0]["write_permission"], serde_json::json!([]));
    assert!(bed.server.requests().iter().all(|request| request.operation != Operation::CreateMultipartUpload));
}

#[test]
fn a_target_that_cannot_be_written_is_predicted_to_fail() {
    let bed = Bed::new();
    bed.plan("up", ["", "p"], &backups("here", "[one, two]"));
    let denied = On::the(Operation::CreateMultipartUpload).bucket("two-bucket");
    let fault = bed.server.fault(denied, What::status(403, "AccessDenied"));
    // Without the flag nobody knows.
    let said = bed.backhaul("plan up.yaml").expect(0);
    assert!(said.stdout.contains("write permission was not tested"), "{said}");
    assert_eq!(bed.server.strikes(fault), 0);
    let said = bed.backhaul("plan --probe-writes up.yaml").expect(3);
    for text in [
        "region `one` can be written\n",
        "region `two` cannot be written: cannot write `.backhaul/probe-",
        "answered 403 AccessDenied",
        "4 failed: the target cannot be written",
        "nothing else was changed; asked in ",
    ] {
        assert!(said.stdout.contains(text), "not said: {text}: {said}");
    }
    assert!(said.stdout.contains("here -> one: 4 copies") && !said.stdout.contains("here -> two: "), "{said}");
    let said = bed.backhaul("plan --json --probe-writes up.yaml").expect(3);
    let forecast = &lines(&said, "forecast")[0];
    let probed = forecast["write_permission"].as_array().expect("a list");
    assert_eq!((&probed[0]["region"], &probed[0]["can_be_written"]), (&"one".into(), &true.into()));
    assert_eq!((&probed[1]["region"], &probed[1]["can_be_written"]), (&"two".into(), &false.into()));
    assert_eq!(probed[1]["failure"]["cause"], "target-unwritable");
    // Only what is selected is tried.
    bed.server.clear_log();
    bed.plan("one", ["", "p"], &backups("here", "[one]"));
    bed.backhaul("plan --probe-writes one.yaml").expect(0);
    assert_eq!(bed.server.count(Operation::CreateMultipartUpload).requests, 1);
    assert!(bed.contents().iter().all(|(_, keys, open)| keys.is_empty() && *open == 0));
}

#[test]
fn an_upload_that_cannot_be_aborted_is_told_of() {
    let bed = Bed::new();
    bed.plan("up", ["", ""], &backups("here", "[one]"));
    bed.server.fault(On::the(Operation::AbortMultipartUpload), What::status(403, "AccessDenied"));
    let said = bed.backhaul("plan --probe-writes up.yaml").expect(3);
    let text = "region `one` cannot be written: cannot abort the upload of `.backhaul/probe-";
    assert!(said.stdout.contains(text), "{said}");
    assert_eq!(bed.server.open_uploads("one-bucket").len(), 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_predicted_to_fail() {
    let bed = Bed::new();
    let text = "version: 1\nname: up\nregions:\n  here: { store: { type: file, path: here } }\n  \
                system: { store: { type: file, path: /sys/backhaul } }\n\
                backups: [{ location: big.bin, from: here, to: [system] }]\n";
    fs::write(bed.path("up.yaml"), text).expect("writable");
    bed.backhaul("plan up.yaml").expect(3);
    let said = bed.backhaul("plan --probe-writes up.yaml").expect(3);
    assert!(said.stdout.contains("region `system` cannot be written: cannot write"), "{said}");
}

#[test]
fn a_target_that_does_not_answer_is_predicted_to_fail() {
    let mut bed = Bed::new();
    bed.plan("up", ["", ""], &backups("here", "[one]"));
    bed.server.close();
    let said = bed.backhaul("plan --probe-writes up.yaml").expect(6);
    assert!(said.stdout.contains("4 failed: a store or catalog cannot be reached"), "{said}");
    assert!(said.stdout.contains("there is nothing to write, so nothing was tried"), "{said}");
}
