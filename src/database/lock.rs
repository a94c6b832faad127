//! One writing command at a time: a lock of the operating system on `<database>.lock`, which dies with its process.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::id::Sha256Digest;

/// Longest lock file that is shown, in bytes.
const HOLDER_BYTES_MAX: u64 = 4096;

/// Who holds a database: the one JSON line of its lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id on its host.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// `run`, `verify`, `gc` …
    pub command: String,
    /// The plan it works on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan: Option<String>,
    /// Digest of the plan file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plan_sha256: Option<String>,
    /// When it took the lock, RFC 3339.
    pub started: String,
    /// Whether it works beside runs of other versions of its plan file; only known of this process.
    #[serde(skip)]
    pub accepts_changes: bool,
}

impl Holder {
    /// This process, now.
    #[must_use]
    pub fn this_process(command: &str, plan: Option<&str>) -> Self {
        Self {
            pid: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            command: command.to_owned(),
            plan: plan.map(str::to_owned),
            plan_sha256: None,
            started: jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string(),
            accepts_changes: false,
        }
    }

    /// The same, with the version of the plan that it works on.
    #[must_use]
    pub fn with_plan_file(self, sha256: Sha256Digest) -> Self {
        Self { plan_sha256: Some(sha256.to_string()), ..self }
    }

    /// The same, working beside runs of other versions of the plan file if `accepts`.
    #[must_use]
    pub(super) fn accepting_changes(self, accepts: bool) -> Self {
        Self { accepts_changes: accepts, ..self }
    }

    /// Whether both work on the same version of the plan file, or this one does not mind.
    pub(super) fn may_differ_from(&self, other: &Self) -> bool {
        self.accepts_changes || self.plan_sha256 == other.plan_sha256
    }

    /// Whether a run of this holder's may work beside `other` on a server: both run the same plan.
    pub(super) fn may_join(&self, other: &Self) -> bool {
        let is_run = |holder: &Self| holder.command == "run" && holder.plan.is_some();
        is_run(self) && is_run(other) && self.plan == other.plan
    }

    /// A lock file's text for people, whatever is in it.
    pub(super) fn describe(text: &str) -> String {
        match serde_json::from_str::<Self>(text) {
            Ok(holder) => holder.to_string(),
            Err(_) if text.trim().is_empty() => "another process".to_owned(),
            Err(_) => format!("another process (`{}`)", text.trim().escape_debug()),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`backhaul {}`", self.command.escape_debug())?;
        if let Some(plan) = &self.plan {
            write!(f, " of plan `{}`", plan.escape_debug())?;
        }
        write!(f, " (pid {} on {}, since {})", self.pid, self.host.escape_debug(), self.started.escape_debug())
    }
}

/// The lock, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

/// Outcome of one try.
pub(super) enum Taken {
    Ours(WriterLock),
    /// Somebody else's; the text of the file, which may be empty for an instant.
    Theirs(String),
}

/// Who holds the lock at this moment, in words; none if nobody does. Looks only: takes the lock for an instant.
pub(super) fn holder(path: &Path) -> std::io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = Vec::new();
            file.take(HOLDER_BYTES_MAX).read_to_end(&mut text)?;
            Ok(Some(Holder::describe(&String::from_utf8_lossy(&text))))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl WriterLock {
    /// Tries once. The file is never deleted: a lock on a name that somebody else unlinked would guard nothing.
    pub(super) fn try_take(path: &Path, holder: &Holder) -> std::io::Result<Taken> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = Vec::new();
                file.take(HOLDER_BYTES_MAX).read_to_end(&mut text)?;
                return Ok(Taken::Theirs(String::from_utf8_lossy(&text).into_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        let mut line = serde_json::to_string(holder)?;
        line.push('\n');
        file.write_all(line.as_bytes())?;
        Ok(Taken::Ours(Self { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder() -> Holder {
        Holder {
            pid: 71,
            host: "db1".into(),
            command: "run".into(),
            plan: Some("nightly".into()),
            plan_sha256: None,
            started: "2026-11-23T01:00:00Z".into(),
            accepts_changes: false,
        }
    }

    #[test]
    fn the_second_gets_the_first_ones_words_and_then_the_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.db.lock");
        std::fs::write(&path, "x".repeat(500)).expect("an old, longer text");
        let Ok(Taken::Ours(first)) = WriterLock::try_take(&path, &holder()) else { panic!("free") };
        let Ok(Taken::Theirs(text)) = WriterLock::try_take(&path, &holder()) else { panic!("held") };
        assert_eq!(serde_json::from_str::<Holder>(&text).expect("one line"), holder());
        drop(first);
        assert!(matches!(WriterLock::try_take(&path, &holder()), Ok(Taken::Ours(_))));
    }

    #[test]
    fn any_text_is_described() {
        let text = serde_json::to_string(&holder()).expect("JSON");
        assert_eq!(
            Holder::describe(&text),
            "`backhaul run` of plan `nightly` (pid 71 on db1, since 2026-11-23T01:00:00Z)"
        );
        assert_eq!(Holder::describe(""), "another process");
        assert_eq!(Holder::describe("\u{1b}[2J"), "another process (`\\u{1b}[2J`)");
    }
}
