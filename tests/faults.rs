//! Disks that fail or are full, signals, readers that do not read, and a machine that loses its power: the run ends with
//! a clear error and the right exit code, nothing false is `COMPLETED`, and the next run goes on to the same end.

#[path = "faults/full_disks.rs"]
mod full_disks;
#[path = "faults/power_loss.rs"]
mod power_loss;
#[path = "faults/readers.rs"]
mod readers;
#[path = "faults/replaced.rs"]
mod replaced;
#[path = "faults/signals.rs"]
mod signals;
mod support;

use std::path::PathBuf;

use rustix::process::Signal;
use support::{BACKHAUL, Bed, Layout, Options, Output, PART, Running, TARGETS, Trace, is_true, skip, wait_until};

/// Slow enough to be met in the middle: a `Large` bed takes some eight seconds. Two copies at a time are soon at their
/// first part.
const SLOWLY: [&str; 4] = ["--bandwidth", "4MiB/s", "--concurrency", "2"];

fn has_strace(test: &str) -> bool {
    if !Trace::is_installed() {
        skip(test, "`strace` is not installed");
    }
    Trace::is_installed()
}

fn may_mount(test: &str) -> bool {
    if !support::is_root() {
        skip(test, "only root may mount");
    }
    support::is_root()
}

/// A bed of large objects whose database is there and watched.
fn watched() -> Bed {
    let bed = Bed::new(Layout::Large);
    bed.watch();
    bed
}

/// A run that stopped with parts of every copy stored; the temporary file of one of them in region `two`.
fn half_done() -> (Bed, PathBuf) {
    // A copy may end between the look at its parts and the signal.
    for _ in 0..10 {
        let bed = watched();
        let mut running = Running::start(&mut bed.run_command(&SLOWLY));
        wait_for_parts(&bed, &mut running);
        running.signal(Signal::KILL);
        running.wait();
        let with_parts = support::rows_with_parts(&bed).into_iter().filter(|(_, parts)| !parts.is_empty());
        let Some((row, _)) = with_parts.into_iter().find(|(row, _)| row.region == "two") else { continue };
        let folder = bed.target("two").join(row.location.expect("a location"));
        let name = format!(".backhaul-{}.part", row.upload_token.expect("an upload"));
        let staged = folder.with_file_name(name);
        assert!(staged.exists());
        return (bed, staged);
    }
    panic!("no copy under way in `two` was ever met");
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
            let bed = watched();
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
            // Before the first of the migrations, or between two.
            let said = ["never finished", "killed while making it"].iter().any(|text| status.stderr.contains(text));
            let unfinished = status.code == Some(6) && said;
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
                let bed = watched();
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

/// As many as a careful service manager leaves a program: copies that run at the same time share them. And they have to
/// share one processor. (How much memory they share: tests/memory.rs.)
#[test]
fn sixty_four_files_and_a_processor_are_enough() {
    let limits = "limits: { concurrency: 64 }".to_owned();
    for layout in Layout::ALL {
        let bed = Bed::with(layout, Options { limits: limits.clone(), ..Options::default() });
        let mut command = std::process::Command::new("sh");
        let script = "ulimit -n 64 && exec taskset --cpu-list 0 \"$0\" run \"$1\"";
        command.args(["-c", script, BACKHAUL]).arg(bed.plan());
        bed.settle(&mut command);
        Output::of(command.output().expect("it starts")).expect(0);
        bed.is_complete(0, "with 64 files");
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
