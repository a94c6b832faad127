//! Bytes of an open file, at once or at the throttle's pace.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{Errno, pread, retry_on_intr};

use super::FileStore;
use super::root::Root;
use crate::store::{Seen, StoreError, buffers};
use crate::throttle::SLICE;

#[expect(clippy::cast_possible_truncation, reason = "256 KiB fits everywhere")]
const SLICE_LEN: usize = SLICE as usize;

/// A stretch of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) offset: u64,
    pub(super) len: usize,
}

/// Why a stretch was not read whole.
#[derive(Clone, Copy)]
pub(super) enum Stopped {
    /// The file ends inside it.
    End,
    /// What the system said.
    Failed(Errno),
}

impl Stretch {
    pub(super) fn of(range: Range<u64>) -> Self {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        Self { offset: range.start, len }
    }

    pub(super) const fn end(self) -> u64 {
        self.offset + self.len as u64
    }

    /// All of it. The system reads ahead for one long read as for many short ones.
    pub(super) fn read(self, file: &OwnedFd) -> Result<Bytes, Stopped> {
        let mut bytes = buffers::of_len(self.len);
        self.fill(file, &mut bytes, 0)?;
        Ok(buffers::freeze(bytes))
    }

    /// Fills `bytes`, the first of which is byte `from` of the stretch.
    fn fill(self, file: &OwnedFd, bytes: &mut [u8], from: usize) -> Result<(), Stopped> {
        let mut at = 0;
        while at < bytes.len() {
            match retry_on_intr(|| pread(file, &mut bytes[at..], self.offset + (from + at) as u64)) {
                Ok(0) => return Err(Stopped::End),
                Ok(got) => at += got,
                Err(errno) => return Err(Stopped::Failed(errno)),
            }
        }
        Ok(())
    }
}

impl FileStore {
    /// As [`Stretch::read`], waiting for the throttle before each slice.
    pub(super) async fn read_in_slices<F>(
        &self,
        file: OwnedFd,
        stretch: Stretch,
        seen: Seen<'_>,
        failed: F,
    ) -> Result<Bytes, StoreError>
    where
        F: Fn(&Root, Stopped) -> StoreError + Send + Sync + 'static,
    {
        let (file, failed) = (Arc::new(file), Arc::new(failed));
        let mut bytes = buffers::of_len(stretch.len);
        let mut done = 0;
        while done < stretch.len {
            let len = (stretch.len - done).min(SLICE_LEN);
            self.throttle.read(len as u64).await;
            let (file, failed) = (Arc::clone(&file), Arc::clone(&failed));
            let fill = move |root: &Root| {
                let filled = stretch.fill(&file, &mut bytes[done..done + len], done);
                filled.map(|()| bytes).map_err(|error| failed(root, error))
            };
            bytes = self.blocking(fill).await?;
            done += len;
            seen(len as u64);
        }
        Ok(buffers::freeze(bytes))
    }
}

/// `bytes` in pieces for one turn at the throttle, each with its own offset.
pub(super) fn slices(offset: u64, bytes: &Bytes) -> impl Iterator<Item = (u64, Bytes)> + Send + use<'_> {
    let starts = (0..bytes.len()).step_by(SLICE_LEN);
    starts.map(move |at| (offset + at as u64, bytes.slice(at..bytes.len().min(at + SLICE_LEN))))
}
