//! What stores say about objects and uploads, in words that all kinds of stores share.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::Layout;
use crate::id::{Key, Sha256Digest};

/// What travels with an object besides its bytes. The names `content-type`, `content-encoding`, `content-language`,
/// `content-disposition` and `cache-control` are the HTTP headers of that name; all others are metadata of the
/// object's owner, in lower case and without the store's own prefix.
pub type Metadata = BTreeMap<String, String>;

/// What a store says about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// In bytes.
    pub size: u64,
    /// Changes whenever the bytes do; reads are pinned to it. For files: inode, modification time and size. For
    /// other stores their `ETag`, without quotes.
    pub etag: String,
    /// Milliseconds since the epoch, if the store says.
    pub modified_ms: Option<i64>,
    /// Digests of the whole object that the *store* keeps.
    pub digests: KnownDigests,
    /// Empty where the store keeps none, and in the answer to a listing.
    pub metadata: Metadata,
    /// When the store will delete it by itself, if it says so.
    pub expires: Option<Timestamp>,
}

/// Digests of a whole object that a store shows. Files have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownDigests {
    /// Computed by the store, or written beside the object by Backhaul.
    pub sha256: Option<Sha256Digest>,
    /// CRC-64/NVME.
    pub crc64: Option<u64>,
    /// CRC-32C.
    pub crc32c: Option<u32>,
    /// From an `ETag` that is one, or from the store's own header.
    pub md5: Option<[u8; 16]>,
}

/// The version of an object that a copy was planned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// As in [`ObjectFacts::etag`].
    pub etag: String,
    /// As in [`ObjectFacts::size`].
    pub size: u64,
}

/// Bytes, and what the store said about their object along with them, if it says anything then.
#[derive(Debug, Clone)]
pub struct Read {
    /// Exactly the range that was asked for.
    pub bytes: Bytes,
    /// Of the whole object.
    pub facts: Option<Box<ObjectFacts>>,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object's name.
    pub key: Key,
    /// In bytes.
    pub size: u64,
    /// As [`ObjectFacts::etag`], where listings show it.
    pub etag: Option<String>,
    /// Milliseconds since the epoch.
    pub modified_ms: Option<i64>,
}

/// An object of several parts that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct Shape<'a> {
    /// Its parts.
    pub layout: &'a Layout,
    /// Stored with it, where the store can.
    pub metadata: &'a Metadata,
}

/// An upload that was begun and is not yet published; all of it can be stored and picked up by another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The final name.
    pub key: Key,
    /// Ours, unique to the attempt (32 hex digits). Temporary names are made of it.
    pub token: String,
    /// The store's own id for it, where it gives one.
    pub upload_id: Option<String>,
    /// How many parts it was begun with; 0 where nobody knows any more.
    pub parts: u32,
}

/// A part that is stored, and what is needed to publish it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPart {
    /// In bytes.
    pub size: u64,
    /// What the store calls it, if its number is not enough.
    pub reference: Option<String>,
    /// CRC-64/NVME that the store showed of it.
    pub crc64: Option<u64>,
    /// Whether what the store holds was compared with what was sent.
    pub proof: Proof,
}

impl StoredPart {
    /// All but the size as one text, for a row.
    #[must_use]
    pub fn to_text(&self) -> String {
        let crc64 = self.crc64.map(|crc64| format!("{crc64:016x}")).unwrap_or_default();
        format!("{};{crc64};{}", self.proof.letter(), self.reference.as_deref().unwrap_or_default())
    }

    /// Reads what [`StoredPart::to_text`] wrote; none if it is something else. A row without text is of a part that
    /// was read back and needs no reference.
    #[must_use]
    pub fn from_text(size: u64, text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self { size, reference: None, crc64: None, proof: Proof::ReadBack }) };
        let (letter, rest) = text.split_once(';')?;
        let (crc64, reference) = rest.split_once(';')?;
        let proof = Proof::ALL.into_iter().find(|proof| proof.letter().to_string() == letter)?;
        let crc64 = if crc64.is_empty() { None } else { Some(u64::from_str_radix(crc64, 16).ok()?) };
        let reference = (!reference.is_empty()).then(|| reference.to_owned());
        Some(Self { size, reference, crc64, proof })
    }
}

/// How it is known that a store holds the bytes that were sent; the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Not at all yet: what was published must be read back.
    None,
    /// An MD5 that the store computed and showed equals ours.
    Md5,
    /// A CRC that the store computed and showed equals ours.
    Crc,
    /// The bytes were read back and compared.
    ReadBack,
}

impl Proof {
    const ALL: [Self; 4] = [Self::None, Self::Md5, Self::Crc, Self::ReadBack];

    /// As rows and records say it, of an object whose every part was proved so.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::None => "not proved",
            Self::Md5 => "md5 of each part, shown by the store",
            Self::Crc => "crc of each part, shown by the store",
            Self::ReadBack => "read back part by part",
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::None => '-',
            Self::Md5 => 'm',
            Self::Crc => 'c',
            Self::ReadBack => 'r',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_from_its_row_as_it_was_written() {
        for (proof, crc64, reference) in [
            (Proof::Crc, Some(0x00ab), Some("\"9e10\"")),
            (Proof::Md5, None, Some("\"9;e;\"")),
            (Proof::None, None, None),
            (Proof::ReadBack, Some(u64::MAX), None),
        ] {
            let part = StoredPart { size: 7, reference: reference.map(str::to_owned), crc64, proof };
            assert_eq!(StoredPart::from_text(7, Some(&part.to_text())), Some(part));
        }
        for bad in ["", "x;;", "c", "c;zz;e", "cc;;"] {
            assert_eq!(StoredPart::from_text(7, Some(bad)), None, "{bad}");
        }
        let old = StoredPart::from_text(7, None).expect("rows of the first version have no text");
        assert_eq!(old.proof, Proof::ReadBack);
    }
}
