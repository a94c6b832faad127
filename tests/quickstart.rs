//! The committed quickstart, run as a user would: the copied chain restores in a `MariaDB` server from the target
//! alone, and again from a third region after database and source are gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `tests/restore.sh` prints of the whole chain; see `plans/quickstart/README.md`.
const WHOLE_CHAIN: &str = "orders=39900 last=40000 cents=3074603260 checksum=909cefda8e99a628\n";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn backhaul(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_backhaul"))
        .args(arguments)
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env_remove("BACKHAUL_DATABASE_URL")
        .output()
        .expect("backhaul starts")
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = backhaul(folder, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "backhaul {arguments:?}: {} {stderr}", output.status);
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

fn restore(region: &Path, links: &[String]) -> String {
    let output = Command::new(repository().join("tests/restore.sh")).arg(region).args(links).output().expect("starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "restore.sh: {} {stderr}", output.status);
    String::from_utf8(output.stdout).expect("stdout is UTF-8")
}

/// A copy of the quickstart without its bandwidth limit.
fn quickstart(folder: &Path) -> PathBuf {
    let plans = repository().join("plans");
    fs::create_dir(folder.join("quickstart")).expect("a new folder");
    for entry in fs::read_dir(plans.join("quickstart")).expect("the quickstart is there") {
        let path = entry.expect("readable").path();
        fs::copy(&path, folder.join("quickstart").join(path.file_name().expect("a file"))).expect("copied");
    }
    let plan = fs::read_to_string(plans.join("quickstart.yaml")).expect("the plan is there");
    let unlimited: Vec<&str> = plan.lines().filter(|line| !line.starts_with("limits:")).collect();
    assert!(unlimited.len() < plan.lines().count(), "the quickstart has a limit of its own");
    fs::write(folder.join("quickstart.yaml"), unlimited.join("\n")).expect("written");
    folder.join("quickstart.yaml")
}

/// The objects of a region by the names of their records, the oldest link first.
fn chain_in(region: &Path) -> Vec<String> {
    let mut links = Vec::new();
    for entry in fs::read_dir(region.join(".backhaul/records")).expect("records are there") {
        let text = fs::read_to_string(entry.expect("readable").path()).expect("UTF-8");
        for line in text.lines() {
            let record: serde_json::Value = serde_json::from_str(line).expect("a record");
            let text = |key: &str| record[key].as_str().expect("a text").to_owned();
            links.push((text("name"), text("location")));
        }
    }
    links.sort();
    assert_eq!(links.len(), 3, "{links:?}");
    links.into_iter().map(|(_, location)| location).collect()
}

#[test]
fn the_copied_chain_restores_from_each_target_alone_and_from_a_copy_of_the_copy() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    quickstart(folder);
    succeed(folder, &["run", "quickstart.yaml"]);
    fs::remove_dir_all(folder.join("quickstart")).expect("the source is gone");
    let copies = folder.join("quickstart-copies");
    for region in ["region-two", "region-three"] {
        let region = copies.join(region);
        assert_eq!(restore(&region, &chain_in(&region)), WHOLE_CHAIN);
    }

    // The database is gone, the plan is gone: the vault describes itself.
    for name in ["backhaul.db", "backhaul.db.lock"] {
        fs::remove_file(copies.join(name)).expect("it was there");
    }
    fs::remove_file(folder.join("quickstart.yaml")).expect("it was there");
    succeed(folder, &["init", "--from", "quickstart-copies/region-two", "--to", "vault", "-o", "again.yaml"]);
    succeed(folder, &["run", "again.yaml"]);
    fs::remove_dir_all(&copies).expect("the second region is gone");
    let vault = folder.join("vault");
    let chain = chain_in(&vault);
    assert_eq!(restore(&vault, &chain), WHOLE_CHAIN);
    assert_eq!(
        restore(&vault, &chain[..2]),
        "orders=36000 last=36000 cents=2773999005 checksum=6c057d563781b54a\n",
        "the chain without its last link is the state before it"
    );
}

#[test]
fn a_flipped_bit_in_a_copy_is_found_and_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    quickstart(folder);
    succeed(folder, &["run", "quickstart.yaml"]);
    let damaged = folder.join("quickstart-copies/region-two/orders-inc1.xbstream.gz");
    let mut bytes = fs::read(&damaged).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).expect("written");

    assert_eq!(backhaul(folder, &["verify", "--depth", "quick", "quickstart.yaml"]).status.code(), Some(0));
    let verify = backhaul(folder, &["verify", "quickstart.yaml"]);
    assert_eq!(verify.status.code(), Some(7));
    let stderr = String::from_utf8_lossy(&verify.stderr);
    assert!(stderr.contains("`orders-inc1.xbstream.gz`") && stderr.contains("and had 4898fa7417"), "{stderr}");

    // The next run does not overwrite it; once it is moved away, the copy is made anew.
    let run = backhaul(folder, &["run", "--retry-failed", "quickstart.yaml"]);
    assert_eq!(run.status.code(), Some(3));
    fs::remove_file(&damaged).expect("moved away");
    succeed(folder, &["run", "--retry-failed", "quickstart.yaml"]);
    succeed(folder, &["verify", "quickstart.yaml"]);
}
