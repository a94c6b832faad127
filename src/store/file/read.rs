//! Reading: facts, and ranges pinned to one version of a file.

use std::ops::Range;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::fs::{Advice, Stat};

use super::error::Attempt;
use super::root::{READ, Root};
use super::stretch::{Stopped, Stretch};
use crate::id::Key;
use crate::store::{KnownDigests, Metadata, ObjectFacts, Pin, StoreError, StoreErrorKind};

pub(super) fn head(root: &Root, key: &Key) -> Result<ObjectFacts, StoreError> {
    root.open_regular("read", key.as_str(), READ).map(|(_, stat)| facts(&stat))
}

/// What the system says of a file, as the facts of an object.
///
/// The `ETag` stays the same when a file is changed without a change of size and its modification time is set back;
/// nobody does that to a backup by accident.
pub(super) fn facts(stat: &Stat) -> ObjectFacts {
    let size = stat.st_size.unsigned_abs();
    let (seconds, nanoseconds) = modified(stat);
    let etag =
        format!("{:x}-{:x}-{size:x}", stat.st_ino, i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds));
    ObjectFacts {
        size,
        etag,
        modified_ms: Some(modified_ms(stat)),
        digests: KnownDigests::default(),
        metadata: Metadata::new(),
        expires: None,
    }
}

/// Milliseconds since the epoch.
pub(super) fn modified_ms(stat: &Stat) -> i64 {
    let (seconds, nanoseconds) = modified(stat);
    seconds.saturating_mul(1000).saturating_add(nanoseconds / 1_000_000)
}

/// Seconds since the epoch, and nanoseconds.
fn modified(stat: &Stat) -> (i64, i64) {
    // Their types differ between the architectures.
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions, reason = "needed on some of them")]
    (stat.st_mtime.into(), i64::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// One call of `read`, checked.
pub(super) struct Wanted {
    key: Key,
    pin: Pin,
    pub(super) stretch: Stretch,
}

impl Wanted {
    pub(super) fn new(root: &Root, key: &Key, range: Range<u64>, pin: &Pin) -> Result<Self, StoreError> {
        if range.end > pin.size {
            let why = format!("it has {} bytes, bytes up to {} were asked for", pin.size, range.end);
            return Err(Attempt::new(root, "read", key.as_str()).refused(StoreErrorKind::Short, why));
        }
        Ok(Self { key: key.clone(), pin: pin.clone(), stretch: Stretch::of(range) })
    }

    /// All of it at once.
    pub(super) fn read(&self, root: &Root) -> Result<Bytes, StoreError> {
        let file = self.open(root)?;
        let bytes = self.stretch.read(&file).map_err(|error| self.failed(root, error))?;
        self.check_after(root)?;
        Ok(bytes)
    }

    /// Opens the file if it is the pinned one.
    pub(super) fn open(&self, root: &Root) -> Result<OwnedFd, StoreError> {
        let (file, stat) = root.open_regular("read", self.key.as_str(), READ)?;
        self.check(root, &stat, "since it was looked at first")?;
        // Advice only: what cannot be followed changes nothing.
        let _ = rustix::fs::fadvise(&file, 0, None, Advice::Sequential);
        Ok(file)
    }

    /// The file had the pinned size when it was opened, so an end inside it means that it shrank.
    pub(super) fn failed(&self, root: &Root, error: Stopped) -> StoreError {
        match error {
            Stopped::End => self.attempt(root).refused(StoreErrorKind::Changed, "it became shorter while it was read"),
            Stopped::Failed(errno) => self.attempt(root).failed(errno),
        }
    }

    /// Whether the pinned file still lies under its name.
    pub(super) fn check_after(&self, root: &Root) -> Result<(), StoreError> {
        self.check(root, &root.look_at_regular("read", self.key.as_str())?, "while it was read")
    }

    fn check(&self, root: &Root, stat: &Stat, when: &str) -> Result<(), StoreError> {
        let now = facts(stat);
        if now.size == self.pin.size && now.etag == self.pin.etag {
            return Ok(());
        }
        let why = if now.size == self.pin.size {
            format!("it changed {when}")
        } else {
            format!("it changed {when}, from {} to {} bytes", self.pin.size, now.size)
        };
        Err(self
            .attempt(root)
            .refused(StoreErrorKind::Changed, why)
            .hint("let the writer finish, then run the same plan again"))
    }

    fn attempt<'a>(&'a self, root: &'a Root) -> Attempt<'a> {
        Attempt::new(root, "read", self.key.as_str())
    }
}
