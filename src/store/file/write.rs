//! Writing: a temporary file beside the final name, filled part by part.
//!
//! What is durable when: `begin` syncs the folder, so that the name of a temporary with parts survives; `part` syncs the bytes;
//! [`publish`](super::publish) syncs the file once more, links, and syncs the folder. So after a power loss the final
//! name is absent or complete, and every part that `part` was happy with is there.

use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, AtFlags, Mode, OFlags, Stat, StatxFlags};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::FileStore;
use super::error::Attempt;
use super::root::{FOLDER, READ, Root, sync_folder};
use super::stretch::{Stopped, Stretch, slices};
use crate::fault;
use crate::id::Key;
use crate::store::{StoreError, StoreErrorKind, Upload};

/// How all names of temporaries start. No [`Key`] that a plan may name does.
pub(super) const TEMPORARY: &str = ".backhaul-";

/// Bytes that are read back at a time.
const READ_BACK: usize = 1024 * 1024;

const READ_WRITE: OFlags = READ.union(OFlags::RDWR);

pub(super) fn begin(root: &Root, key: &Key, token: &str, parts: u32) -> Result<Upload, StoreError> {
    let attempt = Attempt::new(root, "write", key.as_str());
    let mut upload = Upload { key: key.clone(), token: token.to_owned(), upload_id: None, parts };
    let (name, path) = temporary(root, &upload)?;
    let folder = root.make_folder(key.folder(), attempt)?;
    let new = READ_WRITE | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match rustix::fs::openat(&folder, &*name, new, mode) {
        Ok(file) => {
            rustix::fs::fchmod(&file, mode).map_err(|errno| attempt.failed(errno))?; // whatever the umask took
            fault::point("begin-after-create");
            file
        }
        Err(Errno::EXIST) => root.open_regular("write", &path, READ_WRITE)?.0,
        Err(errno) => return Err(attempt.failed(errno)),
    };
    // Parts that are reported as stored must be found again under this name, even after a power loss. Also for a
    // temporary that was there: who made it may have been killed before this line. Nobody looks for a single part.
    if parts > 1 {
        sync_folder(&folder).map_err(|errno| attempt.failed(errno))?;
    }
    upload.upload_id = Some(file_id(&file).map_err(|errno| attempt.failed(errno))?);
    Ok(upload)
}

/// All that makes it durable was done before the first part was stored.
pub(super) fn resume(root: &Root, mut upload: Upload) -> Result<Upload, StoreError> {
    let (file, _) = open_temporary_as(root, &upload, "write")?;
    upload.upload_id =
        Some(file_id(&file).map_err(|errno| Attempt::new(root, "write", upload.key.as_str()).failed(errno))?);
    Ok(upload)
}

/// All of [`FileStore::part`](crate::store::Target::part) at once.
pub(super) fn part(root: &Root, upload: &Upload, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let (file, _) = open_temporary(root, upload)?;
    write_all(root, upload, &file, offset, bytes)?;
    make_durable(root, upload, &file, Stretch { offset, len: bytes.len() })?;
    read_back(root, upload, &file, offset, bytes)
}

/// All of the only part there is. What is synced here is the whole file, its times too, so that
/// [`publish::only`](super::publish::only) need not do it again.
pub(super) fn only_part(root: &Root, upload: &Upload, bytes: &[u8]) -> Result<(), StoreError> {
    let (file, _) = open_temporary(root, upload)?;
    write_all(root, upload, &file, 0, bytes)?;
    retry_on_intr(|| rustix::fs::fsync(&file)).map_err(|errno| not_durable(root, upload, errno))?;
    fault::point("part-after-sync");
    forget_pages(&file, Stretch { offset: 0, len: bytes.len() });
    read_back(root, upload, &file, 0, bytes)
}

impl FileStore {
    /// As [`part`], waiting for the throttle before each slice.
    pub(super) async fn part_in_slices(&self, upload: &Upload, offset: u64, bytes: Bytes) -> Result<(), StoreError> {
        let upload = Arc::new(upload.clone());
        let of = Arc::clone(&upload);
        let file = Arc::new(self.blocking(move |root| open_temporary(root, &of)).await?.0);
        for (at, slice) in slices(offset, &bytes) {
            self.throttle.write(slice.len() as u64).await;
            let (of, file) = (Arc::clone(&upload), Arc::clone(&file));
            self.blocking(move |root| write_all(root, &of, &file, at, &slice)).await?;
        }
        let (of, synced) = (Arc::clone(&upload), Arc::clone(&file));
        let stretch = Stretch { offset, len: bytes.len() };
        self.blocking(move |root| make_durable(root, &of, &synced, stretch)).await?;
        for (at, slice) in slices(offset, &bytes) {
            self.throttle.read(slice.len() as u64).await;
            let (of, file) = (Arc::clone(&upload), Arc::clone(&file));
            self.blocking(move |root| read_back(root, &of, &file, at, &slice)).await?;
        }
        Ok(())
    }
}

/// Opens a temporary that is at least as long as `stretch` needs, its pages dropped so that the disk is asked.
pub(super) fn open_staged(root: &Root, upload: &Upload, stretch: Stretch) -> Result<OwnedFd, StoreError> {
    let (file, stat) = open_temporary_as(root, upload, "read back")?;
    if stat.st_size.unsigned_abs() < stretch.end() {
        return Err(staged_failed(root, upload, Stopped::End));
    }
    forget_pages(&file, stretch);
    Ok(file)
}

pub(super) fn staged_failed(root: &Root, upload: &Upload, error: Stopped) -> StoreError {
    let attempt = Attempt::new(root, "read back", upload.key.as_str());
    match error {
        Stopped::End => lost(attempt, "its temporary file is shorter than what was stored"),
        Stopped::Failed(errno) => attempt.failed(errno),
    }
}

pub(super) fn abandon(root: &Root, upload: &Upload) -> Result<(), StoreError> {
    let attempt = Attempt::new(root, "remove the temporary file of", upload.key.as_str());
    let (name, _) = temporary(root, upload)?;
    let removed = match root.resolve(upload.key.folder(), FOLDER) {
        Err(Errno::NOENT) => return Ok(()),
        folder => folder.and_then(|folder| remove(&folder, &name).and_then(|()| sync_folder(&folder))),
    };
    removed.map_err(|errno| attempt.failed(errno))
}

/// The temporary's name in its folder, and below the root.
pub(super) fn temporary(root: &Root, upload: &Upload) -> Result<(String, String), StoreError> {
    if upload.token.is_empty() || !upload.token.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        let why = format!("`{}` is no upload token", upload.token.escape_default());
        return Err(Attempt::new(root, "write", upload.key.as_str()).refused(StoreErrorKind::Refused, why));
    }
    let name = format!("{TEMPORARY}{}.part", upload.token);
    let path = match upload.key.folder() {
        "" => name.clone(),
        folder => format!("{folder}/{name}"),
    };
    Ok((name, path))
}

/// Opens the temporary for writing. One that has a second name is published or not ours, and is never written to.
fn open_temporary(root: &Root, upload: &Upload) -> Result<(OwnedFd, Stat), StoreError> {
    let (file, stat) = open_temporary_as(root, upload, "write")?;
    if stat.st_nlink != 1 {
        return Err(lost(Attempt::new(root, "write", upload.key.as_str()), "its temporary file has a second name"));
    }
    Ok((file, stat))
}

/// Opens the temporary if it is the one that `begin` gave the id of.
pub(super) fn open_temporary_as(
    root: &Root,
    upload: &Upload,
    doing: &'static str,
) -> Result<(OwnedFd, Stat), StoreError> {
    let attempt = Attempt::new(root, doing, upload.key.as_str());
    let (_, path) = temporary(root, upload)?;
    let (file, stat) = match root.open_regular(doing, &path, READ_WRITE) {
        Err(error) if error.kind == StoreErrorKind::Missing => return Err(lost(attempt, "its temporary file is gone")),
        other => other?,
    };
    if let Some(id) = &upload.upload_id
        && *id != file_id(&file).map_err(|errno| attempt.failed(errno))?
    {
        return Err(lost(attempt, "another file has come under the name of its temporary file"));
    }
    Ok((file, stat))
}

/// What tells a file from every other one, also from a later one with the same inode number: its time of birth. The
/// few file systems that keep none have the inode number alone.
pub(super) fn file_id(file: &OwnedFd) -> Result<String, Errno> {
    let stat = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
    let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let (seconds, nanoseconds) = if has_birth { (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) } else { (0, 0) };
    Ok(format!("{:x}-{seconds:x}-{nanoseconds:x}", stat.stx_ino))
}

fn write_all(root: &Root, upload: &Upload, file: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
    let mut done = 0;
    while done < bytes.len() {
        done += retry_on_intr(|| pwrite(file, &bytes[done..], offset + done as u64))
            .map_err(|errno| Attempt::new(root, "write", upload.key.as_str()).failed(errno))?;
    }
    fault::point("part-after-write");
    Ok(())
}

/// Makes the bytes durable and drops them from memory, so that reading them back asks the disk.
fn make_durable(root: &Root, upload: &Upload, file: &OwnedFd, stretch: Stretch) -> Result<(), StoreError> {
    retry_on_intr(|| rustix::fs::fdatasync(file)).map_err(|errno| not_durable(root, upload, errno))?;
    fault::point("part-after-sync");
    forget_pages(file, stretch);
    Ok(())
}

/// Drops clean pages from memory, so that reading asks the disk. Advice only: a file system in memory has no other
/// place to read from.
fn forget_pages(file: &OwnedFd, stretch: Stretch) {
    if let Some(len) = NonZeroU64::new(stretch.len as u64) {
        let _ = rustix::fs::fadvise(file, stretch.offset, Some(len), Advice::DontNeed);
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
    }
}

/// The proof that a file store has: the bytes read back are compared with the very bytes that were hashed, which is
/// as strong as hashing them again, and cheaper.
pub(super) fn read_back(
    root: &Root,
    upload: &Upload,
    file: &OwnedFd,
    offset: u64,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let attempt = Attempt::new(root, "trust", upload.key.as_str());
    let mut buffer = Vec::with_capacity(READ_BACK.min(bytes.len()));
    let mut done = 0;
    while done < bytes.len() {
        buffer.clear();
        retry_on_intr(|| pread(file, spare_capacity(&mut buffer), offset + done as u64))
            .map_err(|errno| attempt.failed(errno))?;
        let len = buffer.len().min(bytes.len() - done);
        if len == 0 || buffer[..len] != bytes[done..done + len] {
            let from = offset + done as u64;
            let why = format!("bytes read back from {from} on are not those that were written");
            return Err(attempt.refused(StoreErrorKind::Differs, why).hint("the disk or the memory may be failing"));
        }
        done += len;
    }
    Ok(())
}

/// The error for a sync that failed. A full disk is no more than that: what was stored before was durable before, and
/// the part is sent again. After anything else nobody knows which bytes are lost, so the temporary is given up.
pub(super) fn not_durable(root: &Root, upload: &Upload, errno: Errno) -> StoreError {
    let attempt = Attempt::new(root, "make durable", upload.key.as_str());
    let error = attempt.failed(errno);
    if error.kind == StoreErrorKind::NoSpace {
        return error;
    }
    // If this fails too, the parts that were reported as stored still are.
    let _ = abandon(root, upload);
    StoreError { kind: StoreErrorKind::Lost, ..error }
}

/// Removes a name; one that is not there is fine.
pub(super) fn remove(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

pub(super) fn lost(attempt: Attempt<'_>, why: impl std::fmt::Display) -> StoreError {
    attempt.refused(StoreErrorKind::Lost, why).hint("it is copied again from its start")
}
