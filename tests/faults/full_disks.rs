//! Disks that are full.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{self, Bed, Layout, Options, Output, Running, is_true};
use super::{SLOWLY, is_whole, may_mount, wait_for_parts};

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

#[test]
fn a_full_target() {
    if !may_mount("a_full_target") {
        return;
    }
    // One copy after the other: the first and largest gets some of its parts in, and no other takes its room.
    let one_by_one = Options { limits: "limits: { concurrency: 1 }".into(), ..Options::default() };
    let bed = Bed::with(Layout::Large, one_by_one);
    let disk = Tmpfs::mount(&bed.target("two"), "5M");
    let output = bed.run().expect(3);
    assert!(output.stdout.contains("no space left"), "{output}");
    assert!(output.stdout.contains("make room and run the same plan again"), "{output}");
    is_whole(&bed, "three", "a full target");
    let parts = support::parts_are_true(&bed, "a full target");
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
