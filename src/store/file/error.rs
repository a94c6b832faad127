//! What the system says, as [`StoreError`]s. The only place where error numbers become kinds and texts.

use std::fmt;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::root::Root;
use crate::store::{StoreError, StoreErrorKind};

/// What was being done, to which name, when the system refused. Completed by [`Attempt::failed`].
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    root: &'a Root,
    /// `read`, `write`, …: completes "cannot …".
    doing: &'static str,
    /// Path below the root; empty for the root itself.
    name: &'a str,
}

impl<'a> Attempt<'a> {
    pub(super) const fn new(root: &'a Root, doing: &'static str, name: &'a str) -> Self {
        Self { root, doing, name }
    }

    /// The error with a reason in our own words.
    pub(super) fn refused(self, kind: StoreErrorKind, why: impl fmt::Display) -> StoreError {
        let Self { root, doing, name } = self;
        StoreError::new(
            kind,
            match name {
                "" => format!("cannot {doing} `{root}`: {why}"),
                _ => format!("cannot {doing} `{name}` in {root}: {why}"),
            },
        )
    }

    /// The error for what the system said. A name that could not be resolved below the root is looked at again, part
    /// by part, to say which part is in the way.
    pub(super) fn failed(self, errno: Errno) -> StoreError {
        let kind = kind(errno);
        match errno {
            Errno::NOENT => self.refused(kind, "no such file"),
            Errno::LOOP => self.refused(kind, format_args!("{} is a symlink", self.culprit(errno))).hint(LINK_HINT),
            Errno::XDEV => self
                .refused(kind, format_args!("{} is on another file system", self.culprit(errno)))
                .hint("give the other file system a region of its own"),
            Errno::NOTDIR => self
                .refused(kind, format_args!("{} is not a folder", self.culprit(errno)))
                .hint("objects cannot lie below a file; rename one of the two"),
            Errno::NAMETOOLONG => self
                .refused(kind, "the name is too long for this file system")
                .hint("copy it to a store that can hold the name"),
            Errno::ILSEQ => self.refused(kind, "this file system cannot hold such a name"),
            Errno::ACCESS | Errno::PERM => self
                .refused(kind, "permission denied")
                .hint(format!("run as a user who may {} there, or change the permissions", self.doing)),
            Errno::ROFS => {
                self.refused(kind, "the file system is read-only").hint("mount it writable, or choose another folder")
            }
            Errno::NOSPC => self.refused(kind, "no space left").hint(self.root.free_hint()),
            Errno::DQUOT => self.refused(kind, "the disk quota is used up").hint(self.root.free_hint()),
            Errno::FBIG => self.refused(kind, "larger than this file system lets a file be"),
            Errno::MFILE | Errno::NFILE => self
                .refused(kind, "too many open files")
                .hint("raise the limit (`ulimit -n`), or lower `limits.concurrency`"),
            Errno::NOSYS => self.refused(kind, "the system has no `openat2`; Linux 5.6 or newer is needed"),
            Errno::IO => self.refused(kind, "input/output error").hint("look at the system's log: the device may fail"),
            other => self.refused(kind, std::io::Error::from(other)),
        }
    }

    /// The error for what is there and is no regular file; none if it is one.
    pub(super) fn check_regular(self, found: FileType) -> Result<(), StoreError> {
        let what = match found {
            FileType::RegularFile => return Ok(()),
            FileType::Directory => "a folder",
            FileType::Symlink => "a symlink",
            FileType::Fifo => "a FIFO",
            FileType::Socket => "a socket",
            FileType::CharacterDevice | FileType::BlockDevice => "a device",
            FileType::Unknown => "of an unknown kind",
        };
        let hint = match found {
            FileType::Symlink => LINK_HINT,
            _ if self.doing == "read" => "name a regular file, or leave this one out",
            _ => "move it away, or give the copy another region",
        };
        Err(self.refused(StoreErrorKind::Refused, format_args!("it is {what}, not a regular file")).hint(hint))
    }

    /// "it", or the folder on the way that cannot be passed.
    fn culprit(self, errno: Errno) -> String {
        let on_the_way = self.name.match_indices('/').map(|(end, _)| &self.name[..end]);
        on_the_way
            .into_iter()
            .find(|folder| self.root.folder_on_the_way(folder).is_err_and(|error| error == errno))
            .map_or_else(|| "it".to_owned(), |folder| format!("`{folder}`"))
    }
}

const LINK_HINT: &str =
    "nothing behind a symlink is read or written; name the real file, or give it a region of its own";

const fn kind(errno: Errno) -> StoreErrorKind {
    match errno {
        Errno::NOENT => StoreErrorKind::Missing,
        Errno::NOSPC | Errno::DQUOT => StoreErrorKind::NoSpace,
        Errno::LOOP
        | Errno::XDEV
        | Errno::NOTDIR
        | Errno::NAMETOOLONG
        | Errno::ILSEQ
        | Errno::ACCESS
        | Errno::PERM
        | Errno::ROFS
        | Errno::FBIG
        | Errno::NOSYS => StoreErrorKind::Refused,
        _ => StoreErrorKind::Io,
    }
}
