//! What the server holds: buckets with objects and uploads, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::content::{Content, Digests, composite_md5, crc_combined, hex};

/// A checksum that a client chose for an upload or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    Crc64Nvme,
    Sha256,
}

/// What travels with an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    pub cache_control: Option<String>,
    pub storage_class: Option<String>,
    /// User metadata, without `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone)]
pub struct Object {
    pub content: Content,
    /// Without quotes.
    pub etag: String,
    pub modified: SystemTime,
    pub headers: Headers,
    /// The CRC64NVME of the whole; none if the store computes no checksums.
    pub crc64nvme: Option<u64>,
    /// As the store shows it: of the whole, or composite.
    pub checksum_sha256: Option<String>,
    /// The SHA-256 of all bytes, as they arrived, where a bucket keeps only digests.
    seen_sha256: Option<[u8; 32]>,
}

impl Object {
    pub fn size(&self) -> u64 {
        self.content.size()
    }

    /// In hexadecimal: of what the store would serve now, or of what arrived if it was let go. None if that arrived
    /// in an order in which it could not be hashed.
    pub fn sha256(&self) -> Option<String> {
        if self.content.is_gone() {
            return self.seen_sha256.map(|digest| hex(&digest));
        }
        Some(hex(&Digests::of(&self.content).sha256))
    }

    pub fn bytes(&self) -> bytes::Bytes {
        self.content.bytes()
    }
}

pub struct Part {
    pub content: Content,
    pub digests: Digests,
    pub etag: String,
    pub modified: SystemTime,
}

pub struct Upload {
    pub key: String,
    pub headers: Headers,
    pub checksum: Option<Checksum>,
    pub initiated: SystemTime,
    pub parts: BTreeMap<u32, Part>,
    whole: Option<InOrder>,
}

impl Upload {
    pub fn new(key: String, headers: Headers, checksum: Option<Checksum>) -> Self {
        let whole = Some(InOrder::default());
        Self { key, headers, checksum, initiated: SystemTime::now(), parts: BTreeMap::new(), whole }
    }

    pub fn bytes(&self) -> u64 {
        self.parts.values().map(|part| part.digests.size).sum()
    }

    /// Takes a part in; where only digests are kept, its bytes go as soon as the whole is hashed up to it.
    pub fn add(&mut self, number: u32, mut part: Part, keep: Keep) {
        if keep == Keep::Digests {
            let content = std::mem::replace(&mut part.content, Content::gone(part.digests.size));
            let again = self.parts.get(&number).is_some_and(|before| before.digests != part.digests);
            match &mut self.whole {
                // What was hashed is not what the object will be.
                Some(whole) if again && number < whole.next => self.whole = None,
                Some(whole) => whole.add(number, content),
                None => {}
            }
        }
        self.parts.insert(number, part);
    }
}

/// The SHA-256 of parts that come in nearly the right order.
struct InOrder {
    next: u32,
    sha256: Sha256,
    waiting: BTreeMap<u32, Content>,
}

impl Default for InOrder {
    fn default() -> Self {
        Self { next: 1, sha256: Sha256::new(), waiting: BTreeMap::new() }
    }
}

impl InOrder {
    fn add(&mut self, number: u32, content: Content) {
        if number >= self.next {
            self.waiting.insert(number, content);
        }
        while let Some(content) = self.waiting.remove(&self.next) {
            content.chunks(0..content.size()).for_each(|bytes| self.sha256.update(&bytes));
            self.next += 1;
        }
    }

    fn finish(self, parts: usize) -> Option<[u8; 32]> {
        (usize::try_from(self.next).is_ok_and(|next| next == parts + 1)).then(|| self.sha256.finalize().into())
    }
}

/// What a bucket keeps of what it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Bytes,
    /// Length and digests only, so that more can pass through than there is memory.
    Digests,
}

#[derive(Default)]
pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    pub uploads: BTreeMap<String, Upload>,
    pub keep: Keep,
    /// Keys whose objects a request has deleted.
    pub deleted: Vec<String>,
}

impl Bucket {
    pub fn delete(&mut self, key: &str) {
        let before = self.objects.remove(key);
        self.deleted.extend(before.map(|_| key.to_owned()));
    }
}

/// How a store answers that differs from one product to another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dialect {
    /// `ETag`s are no MD5.
    pub opaque: bool,
    /// Checksums are computed, compared and shown.
    pub checksums: bool,
}

#[derive(Default)]
pub struct Store {
    pub buckets: HashMap<String, Bucket>,
    pub dialect: Dialect,
    /// Keys that requests have put another object under, with their buckets.
    pub overwritten: Vec<(String, String)>,
    ids: AtomicU64,
}

impl Store {
    pub fn new(buckets: &[&str], dialect: Dialect) -> Self {
        let buckets = buckets.iter().map(|name| ((*name).to_owned(), Bucket::default())).collect();
        Self { buckets, dialect, overwritten: Vec::new(), ids: AtomicU64::new(0) }
    }

    /// A name that nothing else has.
    pub fn fresh_id(&self) -> String {
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        hex(&Sha256::digest(number.to_le_bytes())[..16])
    }

    /// Makes an object visible, whatever lay there.
    pub fn publish(&mut self, bucket: &str, key: String, object: Object) {
        let before = self.buckets.get_mut(bucket).and_then(|bucket| bucket.objects.insert(key.clone(), object));
        self.overwritten.extend(before.map(|_| (bucket.to_owned(), key)));
    }

    pub fn etag(&self, digests: &Digests) -> String {
        if self.dialect.opaque { format!("opaque-{}", self.fresh_id()) } else { hex(&digests.md5) }
    }

    /// An object of one piece.
    pub fn object(&self, content: Content, digests: &Digests, headers: Headers, shown: Option<Checksum>) -> Object {
        let checksums = self.dialect.checksums;
        let sha256 = (checksums && shown == Some(Checksum::Sha256)).then(|| digests.sha256_base64());
        Object {
            content,
            etag: self.etag(digests),
            modified: SystemTime::now(),
            headers,
            crc64nvme: (checksums && sha256.is_none()).then_some(digests.crc64nvme),
            checksum_sha256: sha256,
            seen_sha256: Some(digests.sha256),
        }
    }

    /// The object that the parts of an upload make.
    pub fn joined(&self, upload: Upload) -> Object {
        let digests: Vec<Digests> = upload.parts.values().map(|part| part.digests).collect();
        let count = digests.len();
        let crc = digests.iter().fold(None, |crc: Option<u64>, part| {
            Some(crc.map_or(part.crc64nvme, |crc| crc_combined(crc, part.crc64nvme, part.size)))
        });
        let etag =
            if self.dialect.opaque { format!("opaque-{}-{count}", self.fresh_id()) } else { composite_md5(&digests) };
        let mut content = Content::default();
        upload.parts.into_values().for_each(|part| content.append(part.content));
        let sha256 = upload.checksum == Some(Checksum::Sha256);
        Object {
            content,
            etag,
            modified: SystemTime::now(),
            headers: upload.headers,
            crc64nvme: crc.filter(|_| self.dialect.checksums && !sha256),
            checksum_sha256: (self.dialect.checksums && sha256).then(|| super::content::composite_sha256(&digests)),
            seen_sha256: upload.whole.and_then(|whole| whole.finish(count)),
        }
    }
}
