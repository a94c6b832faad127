//! What an object is made of: bytes that lie in memory, bytes that a formula makes, or nothing but digests.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm;
use md5::{Digest as _, Md5};
use sha2::Sha256;

/// Bytes of a formula's table; made content repeats it, with every page stamped.
const TABLE: usize = 64 << 10;
/// Each page begins with its own number, so that no two stretches are the same.
const PAGE: usize = 4 << 10;
/// Bytes that a reading hands on at once.
const CHUNK: u64 = 256 << 10;

/// Content that is never held: any stretch of it is made when it is read.
#[derive(Clone)]
pub struct Made {
    size: u64,
    table: Bytes,
}

impl Made {
    pub fn new(size: u64, seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            // splitmix64
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        let table = (0..TABLE / 8).flat_map(|_| next().to_le_bytes()).collect();
        Self { size, table }
    }

    fn read(&self, range: Range<u64>) -> Bytes {
        let mut bytes = BytesMut::with_capacity(length(&range));
        let mut at = range.start;
        while at < range.end {
            let page = at / PAGE as u64;
            let inside = usize::try_from(at % PAGE as u64).expect("inside a page");
            let length = (PAGE - inside).min(length(&(at..range.end)));
            let place = usize::try_from(page).expect("64 bits") * PAGE % TABLE;
            let from = bytes.len();
            bytes.extend_from_slice(&self.table[place + inside..place + inside + length]);
            for (offset, stamp) in page.to_le_bytes().into_iter().enumerate().skip(inside) {
                if offset - inside < length {
                    bytes[from + offset - inside] ^= stamp;
                }
            }
            at += length as u64;
        }
        bytes.freeze()
    }
}

#[derive(Clone)]
enum Piece {
    Held(Bytes),
    Made(Made),
    /// Hashed and let go.
    Gone(u64),
}

impl Piece {
    fn size(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Made(made) => made.size,
            Self::Gone(size) => *size,
        }
    }
}

/// Pieces in a row, with bits turned over after they had been hashed.
#[derive(Clone, Default)]
pub struct Content {
    pieces: Vec<Piece>,
    flips: Vec<u64>,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { pieces: vec![Piece::Held(bytes)], flips: Vec::new() }
    }
}

impl From<Made> for Content {
    fn from(made: Made) -> Self {
        Self { pieces: vec![Piece::Made(made)], flips: Vec::new() }
    }
}

impl Content {
    /// Content of which only the length is left.
    pub fn gone(size: u64) -> Self {
        Self { pieces: vec![Piece::Gone(size)], flips: Vec::new() }
    }

    pub fn size(&self) -> u64 {
        self.pieces.iter().map(Piece::size).sum()
    }

    pub fn is_gone(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Gone(_)))
    }

    pub fn append(&mut self, more: Self) {
        let bits = self.size() * 8;
        self.flips.extend(more.flips.iter().map(|bit| bit + bits));
        self.pieces.extend(more.pieces);
    }

    /// Turns one bit over; a bit past the end is counted from the beginning again.
    pub fn flip(&mut self, bit: u64) {
        let bits = (self.size() * 8).max(1);
        self.flips.push(bit % bits);
    }

    /// The first bytes of `range`, as many as are at hand at once; empty when the range is.
    ///
    /// # Panics
    /// If the bytes are gone.
    pub fn chunk(&self, range: Range<u64>) -> Bytes {
        let mut start = 0;
        for piece in &self.pieces {
            let end = start + piece.size();
            if range.start < end {
                let inside = range.start - start..range.end.min(end).min(range.start + CHUNK) - start;
                let bytes = match piece {
                    Piece::Held(bytes) => bytes.slice(usize_of(inside.start)..usize_of(inside.end)),
                    Piece::Made(made) => made.read(inside),
                    Piece::Gone(_) => panic!("this bucket keeps no bytes"),
                };
                return self.flipped(range.start, bytes);
            }
            start = end;
        }
        Bytes::new()
    }

    fn flipped(&self, at: u64, bytes: Bytes) -> Bytes {
        let end = at + bytes.len() as u64;
        let mut flips = self.flips.iter().filter(|bit| (at..end).contains(&(*bit / 8))).peekable();
        if flips.peek().is_none() {
            return bytes;
        }
        let mut changed = BytesMut::from(bytes.as_ref());
        for bit in flips {
            changed[usize_of(bit / 8 - at)] ^= 1 << (bit % 8);
        }
        changed.freeze()
    }

    /// All the chunks of a range.
    pub fn chunks(&self, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send + Sync + 'static {
        let content = self.clone();
        let mut at = range.start;
        std::iter::from_fn(move || {
            (at < range.end).then(|| {
                let bytes = content.chunk(at..range.end);
                at += bytes.len() as u64;
                bytes
            })
        })
    }

    /// The whole of it.
    pub fn bytes(&self) -> Bytes {
        let mut all = BytesMut::with_capacity(usize_of(self.size()));
        self.chunks(0..self.size()).for_each(|bytes| all.extend_from_slice(&bytes));
        all.freeze()
    }
}

/// What a store knows of bytes that it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    pub size: u64,
    pub md5: [u8; 16],
    pub crc64nvme: u64,
    pub sha256: [u8; 32],
}

impl Digests {
    pub fn of(content: &Content) -> Self {
        let mut digester = Digester::default();
        content.chunks(0..content.size()).for_each(|bytes| digester.update(&bytes));
        digester.finish()
    }

    /// As `Content-MD5` is written.
    pub fn md5_base64(&self) -> String {
        STANDARD.encode(self.md5)
    }

    /// As `x-amz-checksum-crc64nvme` is written.
    pub fn crc64nvme_base64(&self) -> String {
        crc_base64(self.crc64nvme)
    }

    /// As `x-amz-checksum-sha256` is written.
    pub fn sha256_base64(&self) -> String {
        STANDARD.encode(self.sha256)
    }
}

/// As `x-amz-checksum-crc64nvme` is written.
pub fn crc_base64(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// The checksum of two stretches in a row.
pub fn crc_combined(first: u64, second: u64, second_size: u64) -> u64 {
    crc_fast::checksum_combine(CrcAlgorithm::Crc64Nvme, first, second, second_size)
}

/// S3's composite checksum: the SHA-256 of the parts' SHA-256, and how many they were.
pub fn composite_sha256(parts: &[Digests]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.sha256);
    }
    format!("{}-{}", STANDARD.encode(hash.finalize()), parts.len())
}

/// The `ETag` of a multipart object: the MD5 of the parts' MD5, and how many they were.
pub fn composite_md5(parts: &[Digests]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part.md5);
    }
    format!("{}-{}", hex(&hash.finalize()), parts.len())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

pub struct Digester {
    size: u64,
    md5: Md5,
    crc64nvme: crc_fast::Digest,
    sha256: Sha256,
}

impl Default for Digester {
    fn default() -> Self {
        let crc64nvme = crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme);
        Self { size: 0, md5: Md5::new(), crc64nvme, sha256: Sha256::new() }
    }
}

impl Digester {
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
        self.crc64nvme.update(bytes);
        self.sha256.update(bytes);
    }

    pub fn finish(self) -> Digests {
        Digests {
            size: self.size,
            md5: self.md5.finalize().into(),
            crc64nvme: self.crc64nvme.finalize(),
            sha256: self.sha256.finalize().into(),
        }
    }
}

fn length(range: &Range<u64>) -> usize {
    usize_of(range.end - range.start)
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("64 bits")
}
