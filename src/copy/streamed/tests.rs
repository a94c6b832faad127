//! Copies into a store in memory that takes streams as Swift does: killed anywhere, damaged anywhere, larger than memory.

mod copies;

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

/// What goes wrong in a stream to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mishap {
    /// Nothing does.
    None,
    /// It is refused at once.
    Refused,
    /// The connection breaks after the first chunk.
    Broken,
    /// A byte is flipped on its way.
    Flipped,
    /// All is stored, and the answer is lost.
    Unanswered,
}

#[derive(Clone)]
struct Stored {
    bytes: Vec<u8>,
    etag: String,
    token: String,
    metadata: Metadata,
}

/// A target that takes streams.
#[derive(Default)]
struct Streaming {
    segments: Mutex<BTreeMap<(String, u32), Vec<u8>>>,
    objects: Mutex<BTreeMap<Key, Stored>>,
    mishaps: Mutex<VecDeque<Mishap>>,
    /// Feeds that ended before all bytes had come.
    cut_short: AtomicU64,
    /// Keeps sizes only: objects larger than the memory of the test.
    forgetful: bool,
    opaque_etags: bool,
    fuse: Arc<Fuse>,
}

impl Streaming {
    /// Takes a feed to its end: its bytes and their MD5.
    async fn take(&self, mut feed: Feed) -> Result<(Vec<u8>, String, bool), StoreError> {
        let mishap = lock(&self.mishaps).pop_front().unwrap_or(Mishap::None);
        let broken = || StoreError::new(StoreErrorKind::Unreachable, "the connection broke");
        if mishap == Mishap::Refused {
            return Err(broken());
        }
        let (mut stored, mut came, mut md5) = (Vec::new(), 0, Md5::new());
        while let Some(chunk) = feed.chunks.recv().await {
            self.fuse.step().await;
            tokio::task::yield_now().await;
            came += chunk.len() as u64;
            let mut chunk = chunk.to_vec();
            if mishap == Mishap::Flipped && came == chunk.len() as u64 {
                chunk[0] ^= 1;
            }
            md5.update(&chunk);
            if !self.forgetful {
                stored.extend(chunk);
            }
            if mishap == Mishap::Broken {
                return Err(broken());
            }
        }
        if came != feed.size {
            assert!(came < feed.size, "more came than was announced");
            self.cut_short.fetch_add(1, Ordering::Relaxed);
            return Err(StoreError::new(StoreErrorKind::Io, "499: the body was cut short"));
        }
        let md5: [u8; 16] = md5.finalize().into();
        if feed.md5.is_some_and(|expected| expected != md5) {
            return Err(StoreError::new(StoreErrorKind::Differs, "422: another MD5"));
        }
        Ok((stored, hex(&md5), mishap == Mishap::Unanswered))
    }

    fn make(&self, key: &Key, object: &Stored) -> Result<ObjectFacts, StoreError> {
        let mut objects = lock(&self.objects);
        let there = objects.entry(key.clone()).or_insert_with(|| object.clone());
        if there.token != object.token {
            return Err(StoreError::new(StoreErrorKind::Exists, "another object has this name"));
        }
        let size = there.bytes.len() as u64;
        Ok(facts(size, &there.etag, KnownDigests::default(), there.metadata.clone()))
    }

    fn object(&self) -> Option<Vec<u8>> {
        lock(&self.objects).values().next().map(|stored| stored.bytes.clone())
    }
}

impl Source for Streaming {
    async fn head(&self, key: &Key) -> Result<ObjectFacts, StoreError> {
        let objects = lock(&self.objects);
        let there = objects.get(key).ok_or_else(|| StoreError::new(StoreErrorKind::Missing, "no object"))?;
        Ok(facts(there.bytes.len() as u64, &there.etag, KnownDigests::default(), there.metadata.clone()))
    }

    async fn read(&self, key: &Key, range: Range<u64>, _pin: &Pin, _seen: Seen<'_>) -> Result<Read, StoreError> {
        let objects = lock(&self.objects);
        let there = objects.get(key).ok_or_else(|| StoreError::new(StoreErrorKind::Missing, "no object"))?;
        let at = |at| usize::try_from(at).expect("small");
        Ok(Read { bytes: there.bytes[at(range.start)..at(range.end)].to_vec().into(), facts: None })
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<Listed>, StoreError> {
        nothing_else()
    }
}

impl Target for Streaming {
    fn streams(&self) -> bool {
        true
    }

    async fn put(
        &self,
        key: &Key,
        token: &str,
        bytes: Bytes,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        self.fuse.step().await;
        let etag = hex(&<[u8; 16]>::from(Md5::digest(&bytes)));
        let object = Stored { bytes: bytes.to_vec(), etag, token: token.to_owned(), metadata: metadata.clone() };
        self.make(key, &object).map(|facts| (facts, Proof::Md5))
    }

    async fn put_streamed(
        &self,
        key: &Key,
        token: &str,
        feed: Feed,
        metadata: &Metadata,
    ) -> Result<(ObjectFacts, Proof), StoreError> {
        let proof = if feed.md5.is_some() { Proof::Md5 } else { Proof::None };
        let (bytes, md5, unanswered) = self.take(feed).await?;
        let etag = if self.opaque_etags { "opaque".to_owned() } else { md5 };
        let made = self.make(key, &Stored { bytes, etag, token: token.to_owned(), metadata: metadata.clone() })?;
        self.fuse.step().await;
        if unanswered { Err(StoreError::new(StoreErrorKind::Io, "no answer")) } else { Ok((made, proof)) }
    }

    async fn begin(&self, key: &Key, token: &str, shape: Shape<'_>) -> Result<Upload, StoreError> {
        assert!(matches!(shape.layout, Layout::Segments(_)));
        self.fuse.step().await;
        Ok(Upload { key: key.clone(), token: token.to_owned(), upload_id: None, parts: shape.layout.parts() })
    }

    async fn resume(&self, upload: Upload, parts: &[StoredPart]) -> Result<Upload, StoreError> {
        let segments = lock(&self.segments);
        let there = (0..).zip(parts).all(|(number, part)| {
            segments.get(&(upload.token.clone(), number)).is_some_and(|bytes| {
                part.reference == Some(hex(&<[u8; 16]>::from(Md5::digest(bytes)))) && part.size == bytes.len() as u64
            })
        });
        if there { Ok(upload) } else { Err(StoreError::new(StoreErrorKind::Lost, "a segment is gone")) }
    }

    async fn part(&self, _: &Upload, _: u32, _: u64, _: Bytes) -> Result<StoredPart, StoreError> {
        nothing_else()
    }

    async fn part_streamed(&self, upload: &Upload, number: u32, feed: Feed) -> Result<StoredPart, StoreError> {
        let (size, expected) = (feed.size, feed.md5.is_some());
        let (bytes, md5, unanswered) = self.take(feed).await?;
        lock(&self.segments).insert((upload.token.clone(), number), bytes);
        self.fuse.step().await;
        if unanswered {
            return Err(StoreError::new(StoreErrorKind::Io, "no answer"));
        }
        let proof = if expected { Proof::Md5 } else { Proof::None };
        Ok(StoredPart { size, reference: Some(md5), crc64: None, proof })
    }

    async fn staged(&self, _: &Upload, _: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }

    async fn publish(&self, upload: &Upload, parts: &[StoredPart], size: u64) -> Result<ObjectFacts, StoreError> {
        self.fuse.step().await;
        let (mut bytes, mut etag) = (Vec::new(), Md5::new());
        for (number, part) in (0..).zip(parts) {
            let segments = lock(&self.segments);
            let segment = segments.get(&(upload.token.clone(), number)).expect("it was stored");
            bytes.extend(segment);
            etag.update(part.reference.as_deref().expect("an ETag"));
        }
        assert!(self.forgetful || bytes.len() as u64 == size);
        let etag = hex(&<[u8; 16]>::from(etag.finalize()));
        let made =
            self.make(&upload.key, &Stored { bytes, etag, token: upload.token.clone(), metadata: Metadata::new() });
        self.fuse.step().await;
        made
    }

    async fn settle(&self, _key: &Key) -> Result<(), StoreError> {
        Ok(())
    }

    async fn abandon(&self, upload: &Upload) -> Result<(), StoreError> {
        if lock(&self.objects).get(&upload.key).is_none_or(|object| object.token != upload.token) {
            lock(&self.segments).retain(|(token, _), _| *token != upload.token);
        }
        Ok(())
    }

    async fn take_back(&self, key: &Key, etag: &str) -> Result<(), StoreError> {
        lock(&self.objects).retain(|there, object| there != key || object.etag != etag);
        Ok(())
    }
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
