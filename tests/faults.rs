//! Disks that fail or are full, signals, readers that do not read, and a machine that loses its power: the run ends with
//! a clear error and the right exit code, nothing false is `COMPLETED`, and the next run goes on to the same end.

mod support;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{
    BACKHAUL, Bed, Layout, Options, Output, PART, Running, TARGETS, Trace, completed_is_true, is_true, skip, wait_until,
};

/// Slow enough to be met in the middle: a `Large` bed takes some eight seconds. Two copies at a time are soon at their
/// first part.
const SLOWLY: [&str; 4] = ["--bandwidth", "4MiB/s", "--concurrency", "2"];

fn has_strace(test: &str) -> bool {
    if !Trace::is_installed() {
        skip(test, "`strace` is not installed");
    }
    Trace::is_installed()
}

/// A run that stopped with parts of every copy stored; the temporary file of one of them in region `two`.
fn half_done() -> (Bed, PathBuf) {
    let bed = Bed::new(Layout::Large);
    let mut running = Running::start(&mut bed.run_command(&SLOWLY));
    wait_for_parts(&bed, &mut running);
    running.signal(Signal::KILL);
    running.wait();
    let with_parts = support::rows_with_parts(&bed).into_iter().filter(|(_, parts)| !parts.is_empty());
    let (row, _) = with_parts.into_iter().find(|(row, _)| row.region == "two").expect("a copy under way in `two`");
    let folder = bed.target("two").join(row.location.expect("a location"));
    let name = format!(".backhaul-{}.part", row.upload_token.expect("an upload"));
    let staged = folder.with_file_name(name);
    assert!(staged.exists());
    (bed, staged)
}

/// Until a copy under way to `two` has a part that counts.
fn wait_for_parts(bed: &Bed, running: &mut Running) {
    wait_until("a part is stored in `two`", || {
        assert!(!running.has_ended(), "it was to be met in the middle");
        let is_copied = |(row, parts): &(backhaul::database::Row, Vec<_>)| row.region == "two" && !parts.is_empty();
        is_finished_database(bed) && support::rows_with_parts(bed).iter().any(is_copied)
    });
}

/// Whether it has its tables.
fn is_finished_database(bed: &Bed) -> bool {
    let mut status = bed.command(&["status"]);
    status.arg(bed.plan()).output().expect("the binary starts").status.success()
}

/// What a faulted run must be: broken by the fault, with this exit code and this text, and honest.
#[track_caller]
fn failed_as(bed: &Bed, trace: &Trace, output: &Output, code: i32, text: &str, what: &str) {
    assert!(trace.injected() > 0, "{what}: no fault was injected: {output}");
    assert!(!output.stderr.contains("panicked"), "{what}: {output}");
    assert_eq!(output.code, Some(code), "{what}: {output}");
    let said = format!("{}{}", output.stdout, output.stderr).to_lowercase();
    assert!(said.contains(text), "{what}: does not say `{text}`: {output}");
    is_true(bed, what);
}

/// All rows of a target are `COMPLETED`.
#[track_caller]
fn is_whole(bed: &Bed, target: &str, what: &str) {
    let completed = is_true(bed, what).into_iter().filter(|(_, region)| region == target).count();
    assert_eq!(completed, bed.layout.objects().len(), "{what}: {target} is not whole");
}

#[test]
fn a_target_file_that_cannot_be_written() {
    if !has_strace("a_target_file_that_cannot_be_written") {
        return;
    }
    let io = "input/output error";
    for (call, error, text) in [
        ("pwrite64", "EIO", io),
        ("pwrite64", "ENOSPC", "no space left"),
        ("fdatasync", "EIO", io),
        ("fdatasync", "ENOSPC", "no space left"),
        ("fsync", "EIO", io),
    ] {
        let what = format!("{call} of a temporary fails with {error}");
        let (bed, staged) = half_done();
        // Every attempt fails; after an EIO of a sync the copy starts again under another name, which is let through.
        let trace = Trace::new(&bed, call).on(&staged).inject(&format!("{call}:error={error}:when=1+"));
        let output = trace.run(&bed);
        let starts_again = call != "pwrite64" && error == "EIO";
        if starts_again {
            assert!(trace.injected() > 0, "{what}: {output}");
            assert!(output.stderr.contains("starting again"), "{what}: {output}");
            assert_eq!(output.code, Some(0), "{what}: {output}");
            assert!(!staged.exists(), "{what}: bytes that are perhaps lost were kept");
            bed.is_complete(5, &what);
        } else {
            failed_as(&bed, &trace, &output, 3, text, &what);
            is_whole(&bed, "three", &what);
            assert!(staged.exists(), "{what}: finished parts were given up");
        }
        bed.completes(5, &what);
    }
}

#[test]
fn a_target_folder_that_cannot_be_written() {
    if !has_strace("a_target_folder_that_cannot_be_written") {
        return;
    }
    for folder in ["b", ".backhaul/records"] {
        for (call, error) in
            [("fsync", "EIO"), ("linkat", "EIO"), ("linkat", "ENOSPC"), ("unlinkat", "EIO"), ("openat", "ENOSPC")]
        {
            let what = format!("{call} in {folder} fails with {error}");
            let bed = Bed::new(Layout::Large);
            // The folder must be there to be known by its name.
            std::fs::create_dir_all(bed.target("two").join(folder)).expect("a folder");
            let path = bed.target("two").join(folder);
            let trace = Trace::new(&bed, call).on(&path).inject(&format!("{call}:error={error}:when=1+"));
            let output = trace.run(&bed);
            let text = if error == "EIO" { "input/output error" } else { "no space left" };
            failed_as(&bed, &trace, &output, 3, text, &what);
            is_whole(&bed, "three", &what);
            bed.completes(9, &what);
        }
    }
}

#[test]
fn a_database_that_cannot_be_written() {
    if !has_strace("a_database_that_cannot_be_written") {
        return;
    }
    let (io, full) = ("disk of the database", "no space left for the database");
    for (file, call, error, text) in [
        ("-wal", "fsync,fdatasync", "EIO", io),
        ("-wal", "pwrite64", "EIO", io),
        ("-wal", "pwrite64", "ENOSPC", full),
        ("-wal", "fsync,fdatasync", "ENOSPC", "database"),
    ] {
        for from in [1, 2, 5, 12] {
            let what = format!("{call} of bed.db{file} fails with {error} from the {from}. on");
            let bed = Bed::new(Layout::Large);
            // So that opening it is not what fails.
            bed.run_until("commit-after", 2);
            let path = PathBuf::from(format!("{}{file}", bed.database().display()));
            let trace = Trace::new(&bed, call).on(&path).inject(&format!("{call}:error={error}:when={from}+"));
            let output = trace.run(&bed);
            if output.code == Some(0) {
                assert!(from > 1, "{what}: {output}");
                continue;
            }
            failed_as(&bed, &trace, &output, 6, text, &what);
            bed.completes(3, &what);
        }
    }
}

/// From the first byte of the database's file on: every write, sync and removal that `SQLite` makes.
#[test]
fn killed_inside_of_sqlite() {
    if !has_strace("killed_inside_of_sqlite") {
        return;
    }
    let mut kills = 0;
    for (call, passages) in [
        ("pwrite64", vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 20, 30, 45]),
        ("fsync", vec![1, 2, 3, 4]),
        ("fdatasync", vec![1, 2, 3, 4, 5, 6, 7, 9, 13, 20]),
        ("unlink", vec![1, 2, 3]),
        ("ftruncate", vec![1, 2]),
    ] {
        for n in passages {
            let what = format!("killed at the {n}. {call} of the database");
            let bed = Bed::new(Layout::Small);
            let mut trace = Trace::new(&bed, call).inject(&format!("{call}:signal=SIGKILL:when={n}"));
            for file in ["", "-journal", "-wal", "-shm"] {
                trace = trace.on(&PathBuf::from(format!("{}{file}", bed.database().display())));
            }
            let output = trace.run(&bed);
            if output.signal != Some(Signal::KILL.as_raw()) {
                output.expect(0);
                continue;
            }
            kills += 1;
            let mut status = bed.command(&["status"]);
            let status = Output::of(status.arg(bed.plan()).output().expect("the binary starts"));
            let unfinished = status.code == Some(6) && status.stderr.contains("never finished");
            assert!(status.code == Some(0) || unfinished, "{what}: {status}");
            bed.completes(1, &what);
        }
    }
    assert!(kills >= 20, "only {kills} of the calls were reached");
}

#[test]
fn killed_inside_of_a_target() {
    if !has_strace("killed_inside_of_a_target") {
        return;
    }
    let mut kills = 0;
    for folder in ["b", ".backhaul/records"] {
        for call in ["openat", "fsync", "linkat", "unlinkat"] {
            for n in [1, 2] {
                let what = format!("killed at the {n}. {call} in {folder} of a thread");
                let bed = Bed::new(Layout::Large);
                let path = bed.target("two").join(folder);
                std::fs::create_dir_all(&path).expect("a folder");
                let trace = Trace::new(&bed, call).on(&path).inject(&format!("{call}:signal=SIGKILL:when={n}"));
                let output = trace.run(&bed);
                // Which thread makes how many of the calls is a matter of chance.
                if n == 1 || output.signal.is_some() {
                    assert_eq!(output.signal, Some(Signal::KILL.as_raw()), "{what}: {output}");
                    kills += 1;
                }
                is_true_if_there(&bed, &what);
                bed.completes(1, &what);
            }
        }
    }
    assert!(kills >= 8);
}

fn is_true_if_there(bed: &Bed, what: &str) {
    if is_finished_database(bed) {
        is_true(bed, what);
    }
}

/// Counted outside of the program: what it reads from the source's file over a chain of kills.
#[test]
fn bytes_read_as_the_system_sees_them() {
    if !has_strace("bytes_read_as_the_system_sees_them") || !cfg!(feature = "fault-points") {
        return;
    }
    let bed = Bed::new(Layout::Large);
    let object = bed.layout.object("b/full.xbstream.gz");
    let file = bed.layout.source().join(object.name);
    let (mut read, mut kills) = (0, 0);
    loop {
        let trace = Trace::new(&bed, "pread64").on(&file);
        let mut command = trace.command(&bed, &["run"]);
        let output = command.arg(bed.plan()).env("BACKHAUL_FAULT", "after-part-row:3").output().expect("strace starts");
        read += trace.log().lines().filter_map(returned).sum::<u64>();
        let output = Output::of(output);
        if output.signal.is_none() {
            output.expect(0);
            break;
        }
        kills += 1;
        assert!(kills < 100);
    }
    let copies = TARGETS.len() as u64;
    let most = copies * (object.size + kills * backhaul::copy::PARTS_IN_FLIGHT as u64 * PART);
    assert!(kills > 2 && read >= copies * object.size, "{kills} kills, {read} bytes: strace saw too little");
    assert!(read <= most, "{read} bytes were read, at most {most} with {kills} kills");
    bed.is_complete(kills, "killed under strace");
}

/// What a call returned, in a line of `strace`.
fn returned(line: &str) -> Option<u64> {
    line.rsplit_once("= ")?.1.split_whitespace().next()?.parse().ok()
}

/// A file system in memory, unmounted when it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: &Path, size: &str) -> Self {
        std::fs::create_dir_all(path).expect("a folder");
        mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "backhaul-test"], path);
        Self(path.to_owned())
    }

    fn resize(&self, size: &str) {
        mount(&["-o", &format!("remount,size={size}")], &self.0);
    }

    /// Writes a file until nothing more fits.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = std::fs::File::create(&path).expect("a file");
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) {
    let output = Output::of(Command::new("mount").args(arguments).arg(path).output().expect("`mount` starts"));
    assert_eq!(output.code, Some(0), "{output}");
}

fn may_mount(test: &str) -> bool {
    if !support::is_root() {
        skip(test, "only root may mount");
    }
    support::is_root()
}

#[test]
fn a_full_target() {
    if !may_mount("a_full_target") {
        return;
    }
    let bed = Bed::new(Layout::Large);
    let disk = Tmpfs::mount(&bed.target("two"), "5M");
    let output = bed.run().expect(3);
    assert!(output.stdout.contains("no space left"), "{output}");
    assert!(output.stdout.contains("make room and run the same plan again"), "{output}");
    is_whole(&bed, "three", "a full target");
    let parts: usize = support::rows_with_parts(&bed).iter().map(|(_, parts)| parts.len()).sum();
    assert!(parts > 0, "no finished part was kept: {output}");

    disk.resize("64M");
    let output = bed.run_with(&["-vv"]).expect(0);
    assert!(output.stderr.contains(" MiB on"), "nothing was resumed: {output}");
    // Two attempts a run, each with its parts under way.
    bed.is_complete(2, "a full target that was given room");
}

#[test]
fn a_full_disk_under_the_database() {
    if !may_mount("a_full_disk_under_the_database") {
        return;
    }
    let bed = Bed::new(Layout::Large);
    let disk = Tmpfs::mount(bed.database().parent().expect("a folder"), "2M");
    let mut running = Running::start(&mut bed.run_command(&SLOWLY));
    wait_for_parts(&bed, &mut running);
    let filler = disk.fill();
    let output = running.wait();
    assert_eq!(output.code, Some(6), "{output}");
    assert!(output.stderr.contains("no space left for the database"), "{output}");
    assert!(output.stderr.contains("free some space and run the same command again"), "{output}");
    is_true(&bed, "a full disk under the database");

    let again = bed.run();
    assert_eq!(again.code, Some(6), "still full: {again}");
    is_true(&bed, "a disk that is still full under the database");

    std::fs::remove_file(filler).expect("the filler");
    bed.completes(2, "a disk under the database that was given room");
}

#[test]
fn stops_at_a_signal_and_goes_on() {
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let what = format!("{signal:?}");
        let bed = Bed::new(Layout::Large);
        let mut running = Running::start(&mut bed.run_command(&SLOWLY));
        wait_for_parts(&bed, &mut running);
        let start = Instant::now();
        running.signal(signal);
        let output = running.wait().expect(4);
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: {:?}", start.elapsed());
        assert!(output.stdout.contains("run the same command again"), "{what}: {output}");
        is_true(&bed, &what);
        let rows = support::rows_with_parts(&bed);
        let states: Vec<&str> = rows.iter().map(|(row, _)| row.state.as_str()).collect();
        // A copy that is whole waits for its parent's record.
        assert!(states.iter().all(|state| ["NEW", "SAVING", "COMPLETED"].contains(state)), "{what}: {states:?}");
        let parts: usize = rows.iter().map(|(_, parts)| parts.len()).sum();
        assert!(parts > 0 && states.contains(&"NEW"), "{what}: {parts} parts were kept, {states:?}");
        assert_eq!(bed.status()["last_run"]["exit_code"], 4, "{what}");
        bed.completes(1, &what);
    }
}

#[test]
fn ends_at_once_at_the_second_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let bed = Bed::new(Layout::Large);
        // So slow that draining alone would take its whole grace.
        let mut running = Running::start(&mut bed.run_command(&["--bandwidth", "1MiB/s", "--concurrency", "2"]));
        wait_for_parts(&bed, &mut running);
        running.signal(signal);
        wait_for_text(&mut running, "draining");
        let start = Instant::now();
        running.signal(signal);
        let output = running.wait().expect(4);
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?} after the second {signal:?}: {output}",
            start.elapsed()
        );
        bed.completes(1, "two signals");
    }
}

/// Reads stderr until it says `text`.
fn wait_for_text(running: &mut Running, text: &str) {
    let stderr = running.child().stderr.as_mut().expect("a pipe");
    let mut said = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&said).contains(text) {
        assert_eq!(stderr.read(&mut byte).expect("stderr"), 1, "it never said `{text}`");
        said.push(byte[0]);
    }
}

#[test]
fn two_commands_at_once() {
    let bed = Bed::new(Layout::Large);
    let mut first = Running::start(&mut bed.run_command(&SLOWLY));
    wait_for_parts(&bed, &mut first);
    let second = bed.run().expect(5);
    assert!(second.stderr.contains(&format!("pid {}", first.pid())), "{second}");
    assert!(second.stderr.contains("`backhaul run` of plan `bed`"), "{second}");
    bed.run_with(&["--if-running", "fail"]).expect(1);
    for command in ["verify", "gc"] {
        Output::of(bed.command(&[command]).arg(bed.plan()).output().expect("the binary starts")).expect(5);
    }
    bed.status();

    // A waiting command can be told to stop.
    let stopped = Running::start(&mut bed.run_command(&["--if-running", "wait"]));
    wait_until("it waits for the lock", || is_sleeping(stopped.pid()));
    let start = Instant::now();
    stopped.signal(Signal::TERM);
    let stopped = stopped.wait();
    assert_eq!(stopped.code, Some(4), "{stopped}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    let waiting = Running::start(&mut bed.run_command(&["--if-running", "wait"]));
    wait_until("it waits for the lock", || is_sleeping(waiting.pid()));
    assert!(!first.has_ended());
    first.signal(Signal::KILL);
    first.wait();
    waiting.wait().expect(0);
    bed.is_complete(1, "a command that waited for a killed one");
}

/// Whether a process has its signal handlers and nothing to do.
fn is_sleeping(pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let caught = u64::from_str_radix(field("SigCgt:"), 16).unwrap_or(0);
    let terminate = 1 << (Signal::TERM.as_raw() - 1);
    caught & terminate != 0 && field("State:").starts_with('S')
}

#[test]
fn a_reader_that_does_not_read() {
    let bed = Bed::new(Layout::Small);
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    // A full pipe before the first line: the size that pipes have where nobody changed it.
    let full = vec![b'\n'; 65_536];
    std::io::Write::write_all(&mut writer, &full).expect("it fits");
    let mut command = bed.run_command(&["--json", "-v"]);
    let mut running = Running::start(command.stdout(writer));
    drop(command);
    wait_until("all is registered although nobody reads", || {
        assert!(!running.has_ended(), "stdout was full");
        is_finished_database(&bed) && is_true(&bed, "stdout is full").len() == 2 * bed.layout.objects().len()
    });
    // Nobody else has to wait for the reader.
    wait_until("the database is free again", || bed.run().code == Some(0));
    assert!(!running.has_ended(), "stdout was full");
    let mut said = String::new();
    reader.read_to_string(&mut said).expect("UTF-8");
    running.wait().expect(0);
    let lines: Vec<serde_json::Value> =
        said.trim().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.first().expect("lines")["type"], "run_started");
    assert_eq!(lines.last().expect("lines")["type"], "summary");
    assert_eq!(lines.iter().filter(|line| line["type"] == "registered").count(), 2 * bed.layout.objects().len());
    bed.is_complete(0, "a full stdout");
}

#[test]
fn a_reader_that_is_gone() {
    for arguments in [&["--json", "-v"][..], &["-v"], &["-q"]] {
        let bed = Bed::new(Layout::Small);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let stderr = writer.try_clone().expect("a pipe");
        let status = bed.run_command(arguments).stdout(writer).stderr(stderr).status().expect("the binary starts");
        assert_eq!(status.code(), Some(0), "{arguments:?}: {status:?}");
        bed.is_complete(0, "nobody reads");
    }
    let bed = Bed::new(Layout::Small);
    let script = format!("'{BACKHAUL}' run --json -v '{}' | head -n 1", bed.plan().display());
    let mut shell = Command::new("sh");
    let output = Output::of(shell.args(["-c", &script]).stdin(Stdio::null()).output().expect("a shell")).expect(0);
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""), "{output}");
    wait_until("all is registered", || is_finished_database(&bed) && is_true(&bed, "| head -1").len() == 12);
    let closed = Bed::new(Layout::Small);
    let script = format!("'{BACKHAUL}' run '{}' >&- 2>&- <&-", closed.plan().display());
    let status = Command::new("sh").args(["-c", &script]).status().expect("a shell");
    assert_eq!(status.code(), Some(0));
    closed.is_complete(0, "everything is closed");
}

/// Cycles of [`power_loss`]; `BACKHAUL_POWERLOSS_CYCLES` may ask for more.
const CYCLES: u64 = 15;

#[test]
fn power_loss() {
    if !may_mount("power_loss") {
        return;
    }
    let asked = std::env::var("BACKHAUL_POWERLOSS_CYCLES").ok();
    let cycles = asked.map_or(CYCLES, |cycles| cycles.parse().expect("a number of cycles"));
    let seed = match std::env::var("BACKHAUL_TESTS_SEED") {
        Ok(seed) => seed.parse().expect("BACKHAUL_TESTS_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("BACKHAUL_TESTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut cuts, mut reported) = (0, 0);
    for cycle in 0..cycles {
        let cut = match cycle % 5 {
            0 | 4 => "exit".to_owned(),
            // Two lines are said before anything happens, then two for each of eight copies.
            1 | 2 => format!("line:{}", random.u32(3..=18)),
            _ => format!("{:.3}", random.f64() * 0.4),
        };
        // Every fifth finds objects in place that nobody made durable.
        if let Some(lines) = lose_power(&cut, cycle % 5 == 4) {
            cuts += 1;
            reported += lines;
        }
    }
    assert!(cuts * 2 > cycles, "only {cuts} of {cycles} runs were cut");
    assert!(reported > 0, "nothing was reported before any of the cuts");
}

/// The file system of a bed after a cut, unmounted when it is dropped.
struct AfterCut(PathBuf);

impl Drop for AfterCut {
    fn drop(&mut self) {
        let _ = powerloss(&[std::ffi::OsStr::new("--end"), self.0.as_os_str()]);
    }
}

fn powerloss<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/powerloss.py");
    Output::of(Command::new("python3").arg(script).args(arguments).output().expect("`python3` starts"))
}

/// Cuts one run, and looks at what is left; gives how many registrations it had reported. None if it ended before.
fn lose_power(cut: &str, adopts: bool) -> Option<usize> {
    let what = format!("power lost at {cut}{}", if adopts { ", adopting" } else { "" });
    let plan = Bed::new(Layout::Large);
    let mut script = format!("cp '{}' {{}}/plan.yaml", plan.plan().display());
    if adopts {
        script += &format!(" && cp -r '{}' {{}}/two", plan.layout.source().display());
    }
    script += &format!(" && exec '{BACKHAUL}' run -v {{}}/plan.yaml");
    let output = powerloss(&["96M", cut, "sh", "-c", &script]);
    if output.code == Some(3) {
        return None;
    }
    assert_eq!(output.code, Some(0), "{what}: {output}");
    let mount = AfterCut(PathBuf::from(output.stdout.trim()));
    let said = std::fs::read_to_string(mount.0.with_extension("out")).expect("what it said");
    let reported: Vec<(String, String)> = said.lines().filter_map(registered).collect();
    let bed = Bed::at(&mount.0, Layout::Large, Options::default());
    integrity_check(&bed, &what);
    let completed = match (is_finished_database(&bed), adopts) {
        (false, _) => Vec::new(),
        (true, false) => is_true(&bed, &what),
        // What was found in place was not ours to make whole until it was adopted.
        (true, true) => completed_is_true(&bed, &what),
    };
    for pair in &reported {
        assert!(completed.contains(pair), "{what}: {pair:?} was reported and is lost; it had said\n{said}");
    }
    if cut == "exit" {
        assert_eq!(reported.len(), 2 * bed.layout.objects().len(), "{said}");
    }
    bed.completes(1, &what);
    Some(reported.len())
}

/// Name and target in ``06:10 registered: `full.xbstream.gz` from one to two``.
fn registered(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once(" registered: `")?.1.split_once('`')?;
    Some((name.to_owned(), rest.rsplit_once(" to ")?.1.to_owned()))
}

fn integrity_check(bed: &Bed, what: &str) {
    use sea_orm::ConnectionTrait;
    if !bed.database().exists() {
        return;
    }
    let url = format!("sqlite://{}", bed.database().display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer: String = runtime.block_on(async {
        let database = sea_orm::Database::connect(url).await.expect("it opens");
        let question = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "PRAGMA integrity_check");
        let answer = database.query_one_raw(question).await.expect("an answer").expect("a row");
        answer.try_get_by_index(0).expect("text")
    });
    assert_eq!(answer, "ok", "{what}");
}
