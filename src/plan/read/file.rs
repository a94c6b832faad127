//! The plan file as a file: only a regular one that nobody else can write is read, and only as text.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::plan::problem::{Place, Problem};

/// Largest plan file, in bytes. Places in it fit 32 bits, and a million backups fit several times.
pub(super) const PLAN_BYTES_MAX: u64 = 512 << 20;

/// The bytes of the file at `path`, checked.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    let cannot = |error: io::Error| {
        let problem = Problem::of_file(format!("the plan cannot be read: {}", reason(&error)));
        match error.kind() {
            io::ErrorKind::NotFound => problem.hint("check the path, or let `backhaul init` write a plan"),
            io::ErrorKind::PermissionDenied => problem.hint("run as the user who owns the plan, or `chmod u+r` it"),
            _ => problem,
        }
    };
    // Asked before opening: opening a FIFO would wait, and opening a device may do something.
    check(&std::fs::metadata(path).map_err(cannot)?, path)?;
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(cannot)?;
    // And again of what was opened: the name may mean another file by now.
    let metadata = file.metadata().map_err(cannot)?;
    check(&metadata, path)?;
    let bytes = read_all(&file, metadata.len()).map_err(cannot)?;
    check_size(bytes.len() as u64)?;
    Ok(bytes)
}

fn read_all(file: &File, expected: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0) + 1);
    file.take(PLAN_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn check(metadata: &Metadata, path: &Path) -> Result<(), Problem> {
    let kind = metadata.file_type();
    let special = [
        (kind.is_dir(), "a folder"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_char_device() || kind.is_block_device(), "a device"),
        (kind.is_socket(), "a socket"),
    ];
    if let Some((_, what)) = special.iter().find(|(is, _)| *is) {
        return Err(Problem::of_file(format!("the plan is {what}, and must be a regular file"))
            .hint("name the YAML file itself; what comes through a pipe must be saved first"));
    }
    check_writers(metadata, path)?;
    check_size(metadata.len())
}

/// Who can write the plan decides which backups go where.
fn check_writers(metadata: &Metadata, path: &Path) -> Result<(), Problem> {
    const WORLD_WRITE: u32 = 0o002;
    const GROUP_WRITE: u32 = 0o020;
    let us = rustix::process::geteuid().as_raw();
    if metadata.uid() != us && metadata.uid() != 0 {
        let message =
            format!("the plan belongs to another user (uid {}), who could change it at any time", metadata.uid());
        return Err(Problem::of_file(message).hint(format!(
            "read it, then `cp` it to a file of your own; `{}` must belong to you or to root",
            path.display()
        )));
    }
    let writers = if metadata.mode() & WORLD_WRITE != 0 {
        "everybody"
    } else if metadata.mode() & GROUP_WRITE != 0 && !is_private_group(metadata) {
        "its group"
    } else {
        return Ok(());
    };
    Err(Problem::of_file(format!("the plan can be written by {writers}, who could send backups elsewhere"))
        .hint(format!("look through it, then `chmod go-w {}`", path.display())))
}

/// Whether the file's group is the owner's own, by the convention of distributions that give each user one
/// (and umask 002 with it, so that every file of a fresh clone is group-writable): same number, no system user.
fn is_private_group(metadata: &Metadata) -> bool {
    const FIRST_USER: u32 = 1000;
    metadata.uid() == metadata.gid() && metadata.uid() >= FIRST_USER
}

/// Whether a plan of so many bytes is read at all.
pub(super) fn check_size(bytes: u64) -> Result<(), Problem> {
    if bytes <= PLAN_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::of_file(format!("the plan is too large: {bytes} bytes, at most {PLAN_BYTES_MAX} (512 MiB) are read"))
        .hint("split it into several plans, or name many backups by one `select`"))
}

/// The text as UTF-8; else what is wrong, and as much of the text as could be read.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, (Box<Problem>, &str)> {
    const HINT: &str = "save the plan as UTF-8, for instance by `iconv -t UTF-8`";
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((Box::new(Problem::of_file("the plan is UTF-16 text, and must be UTF-8").hint(HINT)), ""));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let readable = std::str::from_utf8(&bytes[..at]).unwrap_or_default();
        let message = format!("the plan is not UTF-8: byte {at} (0x{:02x}) is no part of a character", bytes[at]);
        (Box::new(Problem::error(end_of(readable), message).hint(HINT)), readable)
    })?;
    match text.find('\0') {
        None => Ok(text),
        Some(at) => {
            let problem = Problem::error(end_of(&text[..at]), format!("the plan has a NUL byte (byte {at})"));
            Err((Box::new(problem.hint("the file may be damaged or no text at all; write it anew")), &text[..at]))
        }
    }
}

/// The place behind the last character of `text`.
fn end_of(text: &str) -> Place {
    let narrow = |wide: usize| u32::try_from(wide).unwrap_or(u32::MAX);
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { start: narrow(text.len()), end: narrow(text.len()), line: narrow(line), column: narrow(column) }
}
