//! The figures of the README and of closing notes, each beside a peer in the same run where there is one.
//!
//! `cargo bench` runs all of them; `cargo bench -- copy memory` only those named. Needs 30 GiB of free disk for `memory`.
//! Nothing here can fail for being slow: these are measurements, not tests.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement"
)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use backhaul::database::{CopyStart, Database, DatabaseUrl, Holder, PartRow, Row};
use backhaul::schedule::{Fact, Outcome, Schedule, Slots};
use backhaul::state::State;
use uuid::Uuid;

const BACKHAUL: &str = env!("CARGO_BIN_EXE_backhaul");
const MIB: u64 = 1 << 20;

type Measure = fn(&Path);

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let all: [(&str, Measure); 7] = [
        ("copy", copy_large),
        ("small", copy_small),
        ("again", again),
        ("schedule", schedule),
        ("checkpoints", checkpoints),
        ("check", check),
        ("memory", memory),
    ];
    for (name, measure) in all {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            let folder = tempfile::tempdir().unwrap();
            measure(folder.path());
        }
    }
}

/// What one process cost.
struct Cost {
    wall: Duration,
    peak_kib: u64,
}

/// Runs a command to its successful end; the peak is the kernel's own high-water mark, read until the end.
fn cost(command: &mut Command) -> Cost {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let exit = loop {
        if let Ok(text) = fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let read = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak_kib = peak_kib.max(read.unwrap_or(0));
        }
        if let Some(exit) = child.try_wait().unwrap() {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let wall = began.elapsed();
    assert!(exit.success(), "{command:?}: {exit} {}", std::io::read_to_string(child.stderr.take().unwrap()).unwrap());
    Cost { wall, peak_kib }
}

fn shell(script: &str, folder: &Path) -> Cost {
    cost(Command::new("bash").args(["-euc", script]).current_dir(folder))
}

fn run_plan(folder: &Path) -> Cost {
    cost(Command::new(BACKHAUL).args(["-q", "--database", "sqlite://job.db", "run", "plan.yaml"]).current_dir(folder))
}

fn write_plan(folder: &Path, entries: &str) {
    let text = format!(
        "version: 1\nname: bench\nregions:\n  a: {{ store: {{ type: file, path: a }} }}\n  b: {{ store: {{ type: file, path: b }} }}\nbackups:\n{entries}"
    );
    fs::write(folder.join("plan.yaml"), text).unwrap();
}

fn fresh(folder: &Path) {
    for name in ["b", "job.db", "job.db-wal", "job.db-shm"] {
        let path = folder.join(name);
        let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Bytes that no disk or file system can make smaller.
fn random_file(path: &Path, mib: u64) {
    let mut file = File::create(path).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0_u8; MIB as usize];
    for _ in 0..mib {
        for word in block.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
}

/// Three rounds of one command against a shell line, interleaved.
fn against(title: &str, bytes: u64, folder: &Path, peer: &str) {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0;
    for _ in 0..5 {
        fresh(folder);
        let cost = run_plan(folder);
        peak = peak.max(cost.peak_kib);
        fresh(folder);
        let other = shell(peer, folder).wall.as_secs_f64();
        ours.push(cost.wall.as_secs_f64());
        theirs.push(other);
        ratios.push(cost.wall.as_secs_f64() / other);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{title}: backhaul {ours:.2} s ({:.2} GB/s, peak {} MiB) · cp + sha256sum + sync {theirs:.2} s ({:.2} GB/s) · ratio {:.2}",
        bytes as f64 / ours / 1e9,
        peak / 1024,
        bytes as f64 / theirs / 1e9,
        median(ratios),
    );
}

/// One large file: read, hashed, written, synced and read back, beside `cp`, `sha256sum` and `sync`.
fn copy_large(folder: &Path) {
    fs::create_dir(folder.join("a")).unwrap();
    random_file(&folder.join("a/big"), 2048);
    write_plan(folder, "  - { location: big, from: a, to: [b] }\n");
    against("copy 1 × 2 GiB", 2048 * MIB, folder, "mkdir b; cp a/big b/; sha256sum b/big; sync -f b");
}

/// Many small files: what one object costs.
fn copy_small(folder: &Path) {
    fs::create_dir(folder.join("a")).unwrap();
    random_file(&folder.join("seed"), 125);
    let seed = fs::read(folder.join("seed")).unwrap();
    let mut entries = String::new();
    for (number, bytes) in seed.chunks(64 << 10).enumerate() {
        fs::write(folder.join(format!("a/{number:04}")), bytes).unwrap();
        writeln!(entries, "  - {{ location: \"{number:04}\", from: a, to: [b] }}").unwrap();
    }
    write_plan(folder, &entries);
    against("copy 2,000 × 64 KiB", 125 * MIB, folder, "cp -r a b; (cd b && sha256sum *); sync -f b");
}

/// A plan of 10,000 that has nothing left to do.
fn again(folder: &Path) {
    fs::create_dir(folder.join("a")).unwrap();
    let mut entries = String::new();
    for number in 0..10_000 {
        fs::write(folder.join(format!("a/{number:05}")), number.to_string()).unwrap();
        writeln!(entries, "  - {{ location: \"{number:05}\", from: a, to: [b] }}").unwrap();
    }
    write_plan(folder, &entries);
    let first = run_plan(folder).wall.as_secs_f64();
    let again: Vec<f64> = (0..5).map(|_| run_plan(folder).wall.as_secs_f64()).collect();
    println!("10,000 tiny files: {first:.2} s · the same again, all there: {:.3} s", median(again));
}

/// The pure schedule alone: 100,000 steps of chains of five.
fn schedule(_: &Path) {
    let facts: Vec<Fact> = (0..50_000_u32)
        .map(|position| Fact {
            state: State::New,
            parent: (position % 5 > 0).then(|| position - 1),
            source: 0,
            target: 1,
            due: true,
        })
        .collect();
    let began = Instant::now();
    let mut schedule = Schedule::new(facts, Slots { total: 16, ..Slots::default() });
    let mut steps = 0_u64;
    while !schedule.is_finished() {
        let mut ready = schedule.start_copies(0);
        for (target, _, _) in schedule.registrable(0) {
            ready.extend(schedule.start_registers(0, target, 1_000));
        }
        for step in ready {
            schedule.ended(step, Outcome::Done);
            steps += 1;
        }
    }
    println!("schedule: {steps} steps in {:.3} s", began.elapsed().as_secs_f64());
}

/// Part rows that are durable, from 16 tasks at once.
fn checkpoints(folder: &Path) {
    const TASKS: u32 = 16;
    const PARTS: u32 = 2_000;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (elapsed, commits) = runtime.block_on(async {
        let url = DatabaseUrl::parse(&format!("sqlite://{}", folder.join("c.db").display())).unwrap();
        let database =
            Database::open_writing(&url, &Holder::this_process("bench", None), backhaul::lease::Terms::DEFAULT, false)
                .await
                .unwrap();
        let rows: Vec<Row> = (0..TASKS).map(|number| Row::new(Uuid::from_u128(u128::from(number) + 1))).collect();
        database.save_plan("bench", &rows).await.unwrap();
        let before = database.commits();
        let began = Instant::now();
        let tasks = rows.into_iter().map(|row| {
            let database = database.clone();
            tokio::spawn(async move {
                let start = CopyStart {
                    attempt: 1,
                    upload_token: "0".into(),
                    part_size: MIB,
                    source_etag: "e".into(),
                    bytes: MIB,
                    location: "x".into(),
                    fresh: true,
                };
                let claim = database.claim_copy(&row, Uuid::nil(), &start).await.unwrap().unwrap();
                for number in 0..PARTS {
                    let part = PartRow { number, size: MIB, reference: None, sha256_state: vec![7; 121] };
                    assert!(database.part_done(claim, part, None, MIB).await.unwrap());
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let elapsed = began.elapsed();
        let commits = database.commits() - before;
        database.close().await;
        (elapsed, commits)
    });
    let rows = TASKS * PARTS;
    println!(
        "checkpoints: {rows} part rows from {TASKS} tasks in {:.2} s, {:.0}/s, {commits} commits with synchronous=FULL",
        elapsed.as_secs_f64(),
        f64::from(rows) / elapsed.as_secs_f64(),
    );
}

/// `backhaul check` of large plans.
fn check(folder: &Path) {
    for count in [100_000_u32, 1_000_000] {
        let mut entries = String::new();
        for number in 0..count {
            writeln!(entries, "  - {{ location: dumps/orders-{number:07}.xbstream.gz, from: a, to: [b] }}").unwrap();
        }
        write_plan(folder, &entries);
        let cost = cost(Command::new(BACKHAUL).args(["check", "plan.yaml"]).current_dir(folder));
        println!("check of {count} backups: {:.2} s, peak {} MiB", cost.wall.as_secs_f64(), cost.peak_kib / 1024);
    }
}

/// Peak memory for one object of 20 GiB (sparse), and of 1 MiB, with the default budget of 192 MiB.
fn memory(folder: &Path) {
    fs::create_dir(folder.join("a")).unwrap();
    for (name, bytes) in [("1 MiB", MIB), ("20 GiB", 20 * 1024 * MIB)] {
        fresh(folder);
        File::create(folder.join("a/one")).unwrap().set_len(bytes).unwrap();
        write_plan(folder, "  - { location: one, from: a, to: [b] }\n");
        let cost = run_plan(folder);
        println!("memory for {name}: peak {} MiB in {:.1} s", cost.peak_kib / 1024, cost.wall.as_secs_f64());
    }
}
