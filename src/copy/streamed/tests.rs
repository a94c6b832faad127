//! Copies into a store in memory that takes streams as Swift does: killed anywhere, damaged anywhere, larger than memory.

mod copies;
mod target;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::hash::hex;
use super::super::segments::tests::segments;
use super::super::{Budget, Expected, Job, PARTS_IN_FLIGHT, Resume, copy};
use super::*;
use crate::failure::{Cause, Failure};
use crate::id::{Key, Sha256Digest};
use crate::store::{Layout, Listed, Metadata, Pin, Read, Seen, Segment, Shape};
use target::{Mishap, Stored, Streaming};

const KIB: u64 = 1024;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a key")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nothing_else<T>() -> Result<T, StoreError> {
    panic!("a copy never asks for that here")
}

/// Ends everything at its n-th step, as a crash would: whoever steps there never comes back.
#[derive(Default)]
struct Fuse {
    left: Option<AtomicU64>,
    burnt: CancellationToken,
}

impl Fuse {
    fn at(step: u64) -> Self {
        Self { left: Some(AtomicU64::new(step)), burnt: CancellationToken::new() }
    }

    async fn step(&self) {
        if let Some(left) = &self.left
            && left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.burnt.cancel();
            std::future::pending::<()>().await;
        }
    }
}

/// Bytes that somebody still holds, and the most there ever were.
#[derive(Default)]
struct Gauge {
    now: AtomicU64,
    most: AtomicU64,
}

struct Weighed {
    bytes: Vec<u8>,
    gauge: Arc<Gauge>,
}

impl Weighed {
    fn bytes(bytes: Vec<u8>, gauge: &Arc<Gauge>) -> Bytes {
        let now = gauge.now.fetch_add(bytes.len() as u64, Ordering::Relaxed) + bytes.len() as u64;
        gauge.most.fetch_max(now, Ordering::Relaxed);
        Bytes::from_owner(Self { bytes, gauge: Arc::clone(gauge) })
    }
}

impl AsRef<[u8]> for Weighed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Weighed {
    fn drop(&mut self) {
        self.gauge.now.fetch_sub(self.bytes.len() as u64, Ordering::Relaxed);
    }
}

/// A source whose bytes follow from their place, so that it may be of any size.
struct Origin {
    size: u64,
    digests: KnownDigests,
    /// This byte is flipped, in so many reads.
    flip: Option<u64>,
    flips: Mutex<u32>,
    /// The read that begins here fails.
    broken: Option<u64>,
    gauge: Arc<Gauge>,
    fuse: Arc<Fuse>,
    /// Reads say nothing of the object, as those of a manifest's segments.
    silent: bool,
    /// Where reads began.
    reads: Mutex<Vec<u64>>,
}

fn byte(at: u64) -> u8 {
    at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

fn bytes(range: Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

impl Origin {
    fn facts(&self) -> ObjectFacts {
        facts(self.size, "source", self.digests, Metadata::from([("lsn".to_owned(), "7".to_owned())]))
    }
}

impl Source for Origin {
    async fn head(&self, _key: &Key) -> Result<ObjectFacts, StoreError> {
        Ok(self.facts())
    }

    async fn read(&self, _key: &Key, range: Range<u64>, pin: &Pin, seen: Seen<'_>) -> Result<Read, StoreError> {
        assert_eq!((pin.size, &*pin.etag), (self.size, "source"));
        lock(&self.reads).push(range.start);
        self.fuse.step().await;
        // Later reads are often done first.
        for _ in 0..3 - (range.start / KIB % 3) {
            tokio::task::yield_now().await;
        }
        if self.broken == Some(range.start) {
            return Err(StoreError::new(StoreErrorKind::Unreachable, "the source is not there"));
        }
        let mut bytes = bytes(range.clone());
        if let Some(at) = self.flip.filter(|at| range.contains(at))
            && *lock(&self.flips) > 0
        {
            *lock(&self.flips) -= 1;
            bytes[usize::try_from(at - range.start).expect("small")] ^= 1;
        }
        seen(bytes.len() as u64);
        Ok(Read { bytes: Weighed::bytes(bytes, &self.gauge), facts: (!self.silent).then(|| Box::new(self.facts())) })
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<Listed>, StoreError> {
        nothing_else()
    }
}

fn facts(size: u64, etag: &str, digests: KnownDigests, metadata: Metadata) -> ObjectFacts {
    ObjectFacts { size, etag: etag.to_owned(), modified_ms: None, digests, metadata, expires: None }
}

/// Size and text of a part, and the state of the hash after it.
type Row = ((u64, Option<String>), Vec<u8>);

/// Rows in memory.
#[derive(Default)]
struct Rows {
    parts: Mutex<Vec<Row>>,
    stored: AtomicU64,
    read: AtomicU64,
    /// Drains once a segment has its row.
    stop_after_row: AtomicBool,
    /// Drains once so many bytes were read; 0 never.
    stop_after_read: u64,
    stop: CancellationToken,
    fuse: Arc<Fuse>,
}

impl Rows {
    fn resume(&self, layout: &Layout) -> Option<Resume> {
        let parts = lock(&self.parts);
        let (_, state) = parts.last()?;
        let rows: Vec<_> = parts.iter().map(|(row, _)| row.clone()).collect();
        Some(Resume::of(layout, &rows, state).expect("rows of the same layout"))
    }
}

impl Checkpoint for Rows {
    type Error = ();

    async fn begun(&self, _upload: &Upload) -> Result<bool, ()> {
        self.fuse.step().await;
        Ok(true)
    }

    async fn part_done(&self, part: &Part, _upload: &Upload) -> Result<bool, ()> {
        self.fuse.step().await;
        assert_eq!(lock(&self.parts).len(), part.number as usize);
        lock(&self.parts).push(((part.stored.size, Some(part.stored.to_text())), part.state.clone()));
        self.fuse.step().await;
        if self.stop_after_row.load(Ordering::Relaxed) {
            self.stop.cancel();
        }
        Ok(true)
    }

    fn stored(&self, bytes: u64) {
        self.stored.store(bytes, Ordering::Relaxed);
    }

    fn read(&self, bytes: u64) {
        let read = self.read.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.stop_after_read > 0 && read >= self.stop_after_read {
            self.stop.cancel();
        }
    }
}

/// One object to copy, and everything around it.
struct Bed {
    source: Origin,
    target: Streaming,
    rows: Rows,
    job: Job,
    budget: Budget,
}

impl Bed {
    fn new(layout: Layout, source_segments: Option<Arc<[Segment]>>, part_size: u64) -> Self {
        let size = layout.size();
        let source = Origin {
            size,
            digests: KnownDigests::default(),
            flip: None,
            flips: Mutex::new(u32::MAX),
            broken: None,
            gauge: Arc::default(),
            fuse: Arc::default(),
            silent: false,
            reads: Mutex::default(),
        };
        let job = Job {
            source_key: key("from"),
            pin: Pin { etag: "source".to_owned(), size },
            target_key: key("to"),
            layout,
            part_size,
            segments: source_segments,
            token: "ours".to_owned(),
            expected: Vec::new(),
            metadata: Metadata::new(),
            lineage: None,
            read_back: false,
            is_source: false,
            resume: None,
            upload_id: None,
        };
        let budget = Budget::new((3 * part_size).max(4 * KIB));
        Self { source, target: Streaming::default(), rows: Rows::default(), job, budget }
    }

    /// Of the source's segments, kept.
    fn kept(sizes: &[u64], part_size: u64) -> Self {
        let size = sizes.iter().sum();
        let cuts: Vec<usize> = sizes
            .iter()
            .scan(0, |end, size| {
                *end += size;
                usize::try_from(*end).ok()
            })
            .collect();
        let list = segments(&bytes(0..size), &cuts[..cuts.len().saturating_sub(1)]);
        Self::new(Layout::Segments(sizes.into()), Some(list), part_size)
    }

    fn plain(size: u64, part_size: u64) -> Self {
        Self::new(Layout::Plain { size }, None, part_size)
    }

    fn with_fuse(&mut self, fuse: Fuse) {
        let fuse = Arc::new(fuse);
        (self.source.fuse, self.target.fuse, self.rows.fuse) = (Arc::clone(&fuse), Arc::clone(&fuse), fuse);
    }

    fn mishaps(self, mishaps: &[Mishap]) -> Self {
        lock(&self.target.mishaps).extend(mishaps);
        self
    }

    async fn copy(&self) -> Result<Receipt, CopyError<()>> {
        copy(&self.source, &self.target, &self.job, &self.budget, &self.rows, &self.rows.stop).await
    }

    /// Copies until it is done, or until the fuse burns.
    async fn copy_or_die(&self) -> Option<Result<Receipt, CopyError<()>>> {
        let burnt = self.rows.fuse.burnt.clone();
        tokio::select! {
            biased;
            () = burnt.cancelled() => None,
            copied = self.copy() => Some(copied),
        }
    }

    fn whole(&self) -> Vec<u8> {
        bytes(0..self.source.size)
    }

    fn assert_copied(&self, receipt: &Receipt) {
        assert!(self.target.object() == Some(self.whole()), "other bytes were copied");
        let mut hash = StreamHash::default();
        hash.update(&self.whole());
        assert_eq!((receipt.sha256, receipt.bytes), (hash.digest(), self.source.size));
        // The copy's row and record have it from here, also where all parts were stored by an earlier process.
        assert_eq!(receipt.metadata, self.source.facts().metadata);
    }
}

fn failure(copied: Result<Receipt, CopyError<()>>) -> Failure {
    match copied {
        Err(CopyError::Failed(failure) | CopyError::StartAgain(failure)) => failure,
        other => panic!("no failure: {other:?}"),
    }
}
