//! Publishing: the finished temporary gets its final name, which nothing may have had before.

use std::os::fd::OwnedFd;

use rustix::fs::{Advice, AtFlags, RenameFlags};
use rustix::io::{Errno, retry_on_intr};

use super::error::Attempt;
use super::read::facts;
use super::root::{FOLDER, READ, Root, sync_folder};
use super::write::{abandon, file_id, lost, not_durable, open_temporary_as, remove, temporary};
use crate::fault;
use crate::id::Key;
use crate::store::{ObjectFacts, StoreError, StoreErrorKind, Upload};

/// Whether the whole temporary, its times too, is on the disk already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Synced {
    /// Its bytes are.
    No,
    /// All of it is, and nothing was written since.
    Yes,
}

pub(super) fn publish(root: &Root, upload: &Upload, size: u64, synced: Synced) -> Result<ObjectFacts, StoreError> {
    let attempt = Attempt::new(root, "publish", upload.key.as_str());
    let (name, _) = temporary(root, upload)?;
    let opened = open_temporary_as(root, upload, "publish");
    let folder = match root.resolve(upload.key.folder(), FOLDER) {
        Err(Errno::NOENT) => return Err(lost(attempt, "its folder is gone")),
        other => other.map_err(|errno| attempt.failed(errno))?,
    };
    let (file, stat) = match opened {
        Err(error) if error.kind == StoreErrorKind::Lost => {
            return published_before(root, upload, size, &folder, error);
        }
        other => other?,
    };
    if stat.st_size.unsigned_abs() != size {
        return Err(lost(attempt, format_args!("the temporary has {} of {size} bytes", stat.st_size)));
    }
    if synced == Synced::No {
        retry_on_intr(|| rustix::fs::fsync(&file)).map_err(|errno| not_durable(root, upload, errno))?;
    }
    fault::point("publish-before-link");
    match give_name(&folder, &name, upload.key.file_name()) {
        // It may be ours all the same: an earlier call was killed after linking. Looked at below.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(Errno::OPNOTSUPP) => {
            let why = "this file system has neither hard links nor a rename that never replaces";
            return Err(attempt.refused(StoreErrorKind::Refused, why).hint("choose a folder on another file system"));
        }
        Err(errno) => return Err(attempt.failed(errno)),
    }
    fault::point("publish-after-link");
    let published = root.look_at_regular("publish", upload.key.as_str())?;
    if (published.st_dev, published.st_ino) != (stat.st_dev, stat.st_ino) {
        return Err(exists(attempt));
    }
    remove(&folder, &name).map_err(|errno| attempt.failed(errno))?;
    fault::point("publish-after-unlink");
    sync_folder(&folder).map_err(|errno| attempt.failed(errno))?;
    Ok(facts(&published))
}

/// As [`publish`], of an upload that nobody will come back to: where the name is taken, the temporary goes.
pub(super) fn only(root: &Root, upload: &Upload, size: u64, synced: Synced) -> Result<ObjectFacts, StoreError> {
    let published = publish(root, upload, size, synced);
    if published.as_ref().is_err_and(|error| error.kind == StoreErrorKind::Exists) {
        abandon(root, upload)?;
    }
    published
}

/// Makes a file durable that others have put there, with its name, and drops its pages from memory.
pub(super) fn settle(root: &Root, key: &Key) -> Result<(), StoreError> {
    let attempt = Attempt::new(root, "make durable", key.as_str());
    let (file, _) = root.open_regular("make durable", key.as_str(), READ)?;
    retry_on_intr(|| rustix::fs::fsync(&file)).map_err(|errno| attempt.failed(errno))?;
    // Advice only: a file system in memory has no other place to read from.
    let _ = rustix::fs::fadvise(&file, 0, None, Advice::DontNeed);
    let folder = root.resolve(key.folder(), FOLDER).map_err(|errno| attempt.failed(errno))?;
    sync_folder(&folder).map_err(|errno| attempt.failed(errno))
}

/// Gives a temporary its final name, only if nothing has that name.
fn give_name(folder: &OwnedFd, temporary: &str, name: &str) -> Result<(), Errno> {
    match rustix::fs::linkat(folder, temporary, folder, name, AtFlags::empty()) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => rename(folder, temporary, name),
        other => other,
    }
}

/// For file systems without hard links. `OPNOTSUPP` when it cannot be done without the risk of replacing something.
pub(super) fn rename(folder: &OwnedFd, temporary: &str, name: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::OPNOTSUPP),
        other => other,
    }
}

/// Publishing without a temporary: an earlier call may have been killed, or its answer lost, after the temporary was
/// removed.
fn published_before(
    root: &Root,
    upload: &Upload,
    size: u64,
    folder: &OwnedFd,
    lost: StoreError,
) -> Result<ObjectFacts, StoreError> {
    let attempt = Attempt::new(root, "publish", upload.key.as_str());
    let (file, stat) = match root.open_regular("publish", upload.key.as_str(), READ) {
        Err(error) if error.kind == StoreErrorKind::Missing => return Err(lost),
        other => other?,
    };
    let id = file_id(&file).map_err(|errno| attempt.failed(errno))?;
    if upload.upload_id != Some(id) || stat.st_size.unsigned_abs() != size {
        return Err(exists(attempt));
    }
    sync_folder(folder).map_err(|errno| attempt.failed(errno))?;
    Ok(facts(&stat))
}

fn exists(attempt: Attempt<'_>) -> StoreError {
    attempt
        .refused(StoreErrorKind::Exists, "another file has this name")
        .hint("nothing is ever overwritten; move that file away, or give the backup another target")
}
