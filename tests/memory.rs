//! Memory stays within the plan's budget however large the objects are, and however many are copied at once.
//!
//! The source's bytes are made by a formula and of the target's only digests are kept, so the test needs no room either.
//! `BACKHAUL_MEMORY_GIB=20 cargo test --release --test memory` is the size of a real database.

#[path = "support/s3/mod.rs"]
mod s3;

use std::process::{Command, Stdio};

use s3::{Operation, Options, S3Server};

const MIB: u64 = 1 << 20;

/// The plan's budget, and what the process may have beside it.
const BUDGET_MIB: u64 = 192;
const BESIDE_MIB: u64 = 64;

fn size_gib() -> u64 {
    std::env::var("BACKHAUL_MEMORY_GIB").map_or(2, |text| text.parse().expect("a number of GiB"))
}

#[test]
fn one_large_object() {
    let size = size_gib() << 30;
    let peak = peak_of_copying(&[("dumps/large", size)], "concurrency: 4");
    assert!(peak <= BUDGET_MIB + BESIDE_MIB, "{peak} MiB");
}

#[test]
fn sixty_four_copies_at_once() {
    let names: Vec<String> = (0..64).map(|number| format!("dumps/{number:02}")).collect();
    let objects: Vec<(&str, u64)> = names.iter().map(|name| (&**name, 24 * MIB)).collect();
    let peak = peak_of_copying(&objects, "concurrency: 64");
    assert!(peak <= BUDGET_MIB + BESIDE_MIB, "{peak} MiB");
}

/// Copies objects from one server to another and gives the highest resident memory of the process, in MiB.
fn peak_of_copying(objects: &[(&str, u64)], limits: &str) -> u64 {
    let (source, target) = (S3Server::start(Options::default()), S3Server::start(Options::default()));
    target.keep_digests_only("backups");
    for (number, (name, size)) in objects.iter().enumerate() {
        source.put_made("backups", name, *size, number as u64);
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let region = |server: &S3Server| {
        format!(
            "{{ store: {{ type: s3, bucket: backups, endpoint: \"{}\", access_key_id: {}, secret_access_key: \"${{SECRET}}\" }} }}",
            server.endpoint(),
            server.access_key_id()
        )
    };
    let entry = |(name, _): &(&str, u64)| format!("  - {{ location: {name}, from: one, to: [two] }}");
    let entries = objects.iter().map(entry).collect::<Vec<_>>().join("\n");
    let plan = format!(
        "version: 1\nname: memory\ndatabase: sqlite://memory.db\nregions:\n  one: {}\n  two: {}\n\
         limits: {{ memory: {BUDGET_MIB}MiB, {limits} }}\nbackups:\n{entries}\n",
        region(&source),
        region(&target)
    );
    let path = folder.path().join("plan.yaml");
    std::fs::write(&path, plan).expect("the plan can be written");
    let child = Command::new(env!("CARGO_BIN_EXE_backhaul"))
        .args(["-q", "run"])
        .arg(&path)
        .env("SECRET", source.secret_access_key())
        .stdout(Stdio::null())
        .spawn();
    let mut child = child.expect("the binary starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        // The kernel's own high-water mark; gone once the process has ended.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let read = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak_kib = peak_kib.max(read.unwrap_or(0));
        if let Some(ended) = child.try_wait().expect("a child") {
            break ended;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    assert!(ended.success(), "{ended}");
    for (name, _) in objects {
        let (there, here) = (source.get("backups", name), target.get("backups", name));
        assert_eq!(here.expect("a copy").sha256(), there.expect("a source").sha256(), "{name}");
    }
    assert!(target.open_uploads("backups").is_empty());
    let read: u64 = source.count(Operation::GetObject).bytes_out;
    assert_eq!(read, objects.iter().map(|(_, size)| size).sum::<u64>(), "each byte is read once");
    peak_kib / 1024
}
