//! What a store puts together of an upload's parts, and how to see that it is what was sent.

use md5::{Digest, Md5};

use super::digests;
use crate::store::{ObjectFacts, StoredPart};

/// The tag that S3 gives to what it puts together: the MD5 of the parts' MD5s, and their number. None where the parts'
/// tags are no MD5s.
pub(super) fn tag_of_parts(parts: &[StoredPart]) -> Option<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(digests::md5_of_etag(part.reference.as_deref()?)?);
    }
    let hex = md5.finalize().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    Some(format!("{hex}-{}", parts.len()))
}

/// Why what the store put together is not what was sent, if it can be seen.
pub(super) fn put_together_wrong(
    parts: &[StoredPart],
    size: u64,
    shown: Option<&str>,
    there: &ObjectFacts,
) -> Option<String> {
    if there.size != size {
        return Some(format!("the store put together {} bytes of {size}", there.size));
    }
    let whole = parts.iter().try_fold(0, |whole, part| {
        Some(crc_fast::checksum_combine(crc_fast::CrcAlgorithm::Crc64Nvme, whole, part.crc64?, part.size))
    })?;
    let shown =
        shown.filter(|text| !text.contains('-')).map(|text| text == digests::to_base64(&u64::to_be_bytes(whole)));
    let same = shown.unwrap_or(true) && there.digests.crc64.is_none_or(|crc64| crc64 == whole);
    (!same).then(|| "the CRC64NVME of what the store put together is not that of its parts".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{KnownDigests, Metadata, Proof};

    fn part(crc64: Option<u64>, etag: &str) -> StoredPart {
        StoredPart { size: 5, reference: Some(etag.to_owned()), crc64, proof: Proof::Crc }
    }

    #[test]
    fn the_tag_of_parts_is_that_of_s3() {
        let hello = "\"5d41402abc4b2a76b9719d911017c592\"";
        // printf 5d41402abc4b2a76b9719d911017c592… twice | xxd -r -p | md5sum
        assert_eq!(
            tag_of_parts(&[part(None, hello), part(None, hello)]).as_deref(),
            Some("616b22817b80eed9f65c3aa38cd29054-2")
        );
        assert_eq!(tag_of_parts(&[part(None, "\"opaque\"")]), None);
    }

    #[test]
    fn a_wrong_order_of_parts_is_seen() {
        let crc = |text: &[u8]| Some(digests::crc64(text));
        let parts = [part(crc(b"hello"), "a"), part(crc(b"world"), "b")];
        let there = |bytes: &[u8]| ObjectFacts {
            size: bytes.len() as u64,
            etag: String::new(),
            modified_ms: None,
            digests: KnownDigests { crc64: crc(bytes), ..KnownDigests::default() },
            metadata: Metadata::new(),
            expires: None,
        };
        assert_eq!(put_together_wrong(&parts, 10, None, &there(b"helloworld")), None);
        assert!(put_together_wrong(&parts, 10, None, &there(b"worldhello")).is_some());
        assert!(put_together_wrong(&parts, 10, None, &there(b"hello")).is_some());
    }
}
