//! Readers of stdout and stderr that do not read, or are gone.

use std::io::Read;
use std::process::{Command, Stdio};

use super::is_finished_database;
use super::support::{BACKHAUL, Bed, Layout, Output, Running, is_true, wait_until};

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
