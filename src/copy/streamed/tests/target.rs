//! The target in memory: it takes streams as Swift does, and things go wrong on the way.

use super::*;

/// What goes wrong in a stream to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mishap {
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
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    pub(super) etag: String,
    pub(super) token: String,
    pub(super) metadata: Metadata,
}

/// A target that takes streams.
#[derive(Default)]
pub(super) struct Streaming {
    pub(super) segments: Mutex<BTreeMap<(String, u32), Vec<u8>>>,
    pub(super) objects: Mutex<BTreeMap<Key, Stored>>,
    pub(super) mishaps: Mutex<VecDeque<Mishap>>,
    /// Feeds that ended before all bytes had come.
    pub(super) cut_short: AtomicU64,
    /// Keeps sizes only: objects larger than the memory of the test.
    pub(super) forgetful: bool,
    pub(super) opaque_etags: bool,
    pub(super) fuse: Arc<Fuse>,
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

    pub(super) fn object(&self) -> Option<Vec<u8>> {
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
