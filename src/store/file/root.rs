//! The store's folder, and the one way to anything in it.
//!
//! Every name is resolved by `openat2` below the open folder, never by joining paths: no symlink on the way is
//! followed and no mount point crossed, even if somebody puts one there while a run is going on.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::error::Attempt;
use crate::store::{StoreError, StoreErrorKind};

const BELOW: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// To look at a name without opening what it stands for.
pub(super) const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A folder that can be listed and synced.
pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A file to read. Never waits for the other end of a FIFO, and takes no terminal.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The store's folder, open; or its path, where it does not exist.
pub(super) struct Root {
    path: String,
    folder: Option<OwnedFd>,
    /// Folders that this process knows to survive a power loss: the folder above each was synced.
    durable: Mutex<HashSet<String>>,
}

/// What tells a folder from all others, whatever its path.
fn file_number(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|facts| (facts.dev(), facts.ino()))
}

/// What is there of a path.
struct Located {
    /// Canonical; of the longest part that exists.
    existing: PathBuf,
    /// The rest, `a/b`; empty if all is there.
    missing: PathBuf,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let root = Self::open_or_absent(path)?;
        if root.folder.is_none() {
            let missing = format!("the folder `{root}` is not there");
            let hint = "make the folder, or correct the region's `path`";
            return Err(StoreError::new(StoreErrorKind::Missing, missing).hint(hint));
        }
        Ok(root)
    }

    pub(super) fn open_or_absent(path: &Path) -> Result<Self, StoreError> {
        let located = locate(path)?;
        if located.missing.as_os_str().is_empty() {
            return Self::enter(&located.existing);
        }
        Ok(Self { path: text(&located.existing.join(located.missing))?, folder: None, durable: Mutex::default() })
    }

    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let located = locate(path)?;
        let above = Self::enter(&located.existing)?;
        if located.missing.as_os_str().is_empty() {
            return Ok(above);
        }
        let missing = text(&located.missing)?;
        above.make_folder(&missing, Attempt::new(&above, "make", &missing))?;
        Self::enter(&located.existing.join(located.missing))
    }

    /// The nearest folder above one that is not there, in which it would be made; none if it is there.
    pub(super) fn nearest(&self) -> Result<Option<Self>, StoreError> {
        match &self.folder {
            Some(_) => Ok(None),
            None => Self::enter(&locate(Path::new(&self.path))?.existing).map(Some),
        }
    }

    /// Opens a canonical path, so without symlinks: one that is there now was put there a moment ago.
    fn enter(canonical: &Path) -> Result<Self, StoreError> {
        let mut root = Self { path: text(canonical)?, folder: None, durable: Mutex::default() };
        let links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match rustix::fs::openat2(CWD, canonical, LOOK | OFlags::DIRECTORY, Mode::empty(), links) {
            Ok(folder) => root.folder = Some(folder),
            Err(errno) => return Err(Attempt::new(&root, "open", "").failed(errno)),
        }
        Ok(root)
    }

    /// As [`FileStore::overlaps`](super::FileStore::overlaps).
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let contains = |outer: &Self, inner: &Self| {
            let (outer, inner) = (Path::new(&outer.path), Path::new(&inner.path));
            match file_number(outer) {
                Some(number) => inner.ancestors().any(|above| file_number(above) == Some(number)),
                None => inner.starts_with(outer),
            }
        };
        contains(self, other) || contains(other, self)
    }

    /// Opens what `name` stands for; the empty name is the folder itself.
    pub(super) fn resolve(&self, name: &str, how: OFlags) -> Result<OwnedFd, Errno> {
        let folder = self.folder.as_ref().ok_or(Errno::NOENT)?;
        rustix::fs::openat2(folder, if name.is_empty() { "." } else { name }, how, Mode::empty(), BELOW)
    }

    /// Whether the folder `name` can be passed; the error says what is in the way.
    pub(super) fn folder_on_the_way(&self, name: &str) -> Result<(), Errno> {
        self.resolve(name, LOOK | OFlags::DIRECTORY).map(drop)
    }

    /// Looks at `name`, and opens it only if it is a regular file: opening a device can do something.
    pub(super) fn open_regular(
        &self,
        doing: &'static str,
        name: &str,
        how: OFlags,
    ) -> Result<(OwnedFd, Stat), StoreError> {
        self.look_at_regular(doing, name)?;
        let attempt = Attempt::new(self, doing, name);
        let file = self.resolve(name, how).map_err(|errno| attempt.failed(errno))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| attempt.failed(errno))?;
        attempt.check_regular(FileType::from_raw_mode(stat.st_mode))?;
        Ok((file, stat))
    }

    /// What the regular file `name` is now.
    pub(super) fn look_at_regular(&self, doing: &'static str, name: &str) -> Result<Stat, StoreError> {
        let attempt = Attempt::new(self, doing, name);
        let stat = self.resolve(name, LOOK).and_then(rustix::fs::fstat).map_err(|errno| attempt.failed(errno))?;
        attempt.check_regular(FileType::from_raw_mode(stat.st_mode))?;
        Ok(stat)
    }

    /// Opens the folder `name`, and makes it (0700) and those above it where they are missing. What it returns will
    /// be there after a power loss. `attempt` is what the folder is needed for.
    ///
    /// Each folder above is synced once a process, not only when it got a new entry: an earlier process may have
    /// been killed between making the entry and syncing it.
    pub(super) fn make_folder(&self, name: &str, attempt: Attempt<'_>) -> Result<OwnedFd, StoreError> {
        if self.folder.is_none() {
            return Err(attempt.refused(StoreErrorKind::Refused, format_args!("the folder `{self}` is not there")));
        }
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if (name.is_empty() || durable.contains(name))
            && let Ok(folder) = self.resolve(name, FOLDER)
        {
            return Ok(folder);
        }
        let mut folder = self.resolve("", FOLDER).map_err(|errno| Attempt::new(self, "open", "").failed(errno))?;
        let mut end = 0;
        for part in name.split('/') {
            end += part.len();
            folder = step_into(&folder, part, durable.contains(&name[..end])).map_err(|errno| attempt.failed(errno))?;
            durable.insert(name[..end].to_owned());
            end += 1;
        }
        Ok(folder)
    }

    /// Bytes that a process without privileges may still write.
    pub(super) fn free_bytes(&self) -> Result<u64, StoreError> {
        let answer = if let Some(folder) = &self.folder {
            rustix::fs::fstatvfs(folder)
        } else {
            let mut nearest = Path::new(&self.path).ancestors().map(rustix::fs::statvfs);
            nearest.find(|answer| !matches!(answer, Err(Errno::NOENT))).unwrap_or(Err(Errno::NOENT))
        };
        let answer = answer.map_err(|errno| Attempt::new(self, "ask for the free space of", "").failed(errno))?;
        Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
    }

    /// What to do when the store is full.
    pub(super) fn free_hint(&self) -> String {
        let go_on = "make room and run the same plan again, it goes on where it stopped";
        match self.free_bytes() {
            Ok(free) => format!("{free} bytes are free in `{self}`; {go_on}"),
            Err(_) => go_on.to_owned(),
        }
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Makes a folder's entries durable.
pub(super) fn sync_folder(folder: &OwnedFd) -> Result<(), Errno> {
    match rustix::io::retry_on_intr(|| rustix::fs::fsync(folder)) {
        Err(Errno::INVAL) => Ok(()), // a file system whose folders cannot be synced, as some network ones: it has no way
        other => other,
    }
}

/// Opens `name` in `parent`, made if it is missing, and durable.
fn step_into(parent: &OwnedFd, name: &str, is_durable: bool) -> Result<OwnedFd, Errno> {
    let made = match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    let folder = rustix::fs::openat2(parent, name, FOLDER, Mode::empty(), BELOW)?;
    if made {
        rustix::fs::fchmod(&folder, Mode::RWXU)?; // whatever the umask took
    }
    if made || !is_durable {
        sync_folder(parent)?;
    }
    Ok(folder)
}

fn text(path: &Path) -> Result<String, StoreError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        StoreError::new(StoreErrorKind::Refused, format!("the path `{}` is not UTF-8", path.display()))
            .hint("rename the folder; its path is part of the database and of records")
    })
}

/// Finds the longest part of `path` that exists.
fn locate(path: &Path) -> Result<Located, StoreError> {
    let refused = |kind, why: String| StoreError::new(kind, format!("cannot open `{}`: {why}", path.display()));
    let absolute = std::path::absolute(path).map_err(|error| refused(StoreErrorKind::Io, error.to_string()))?;
    let mut missing: Vec<&OsStr> = Vec::new();
    for part in absolute.ancestors() {
        match std::fs::canonicalize(part) {
            Ok(existing) => return Ok(Located { existing, missing: missing.into_iter().rev().collect() }),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                let root = Root { path: path.display().to_string(), folder: None, durable: Mutex::default() };
                return Err(Attempt::new(&root, "open", "").failed(errno));
            }
            Err(_) if part.symlink_metadata().is_ok() => {
                let why = format!("`{}` is a symlink to nothing", part.display());
                return Err(refused(StoreErrorKind::Refused, why));
            }
            Err(_) => match part.components().next_back() {
                Some(Component::Normal(name)) => missing.push(name),
                _ => {
                    return Err(refused(StoreErrorKind::Refused, "it leads through a folder that is not there".into()));
                }
            },
        }
    }
    Err(refused(StoreErrorKind::Io, "the system has no root folder".into()))
}
