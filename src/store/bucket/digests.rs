//! Digests that stores show in the headers of their answers, and ours to compare them with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::{Digest, Md5};

use crate::http::Answer;
use crate::id::Sha256Digest;
use crate::store::{KnownDigests, Metadata, Proof};

/// Headers that travel with an object under their own names.
const HEADERS: [&str; 5] =
    ["content-type", "content-encoding", "content-language", "content-disposition", "cache-control"];

/// Of the whole object that an answer to GET or HEAD is about.
pub(super) fn known(answer: &Answer) -> KnownDigests {
    let composite = answer.header("x-amz-checksum-type") == Some("COMPOSITE");
    // The checksum of checksums of an upload in parts ends in their number: `…-3`.
    let whole = |name: &str| answer.header(name).filter(|text| !composite && !text.contains('-'));
    let sha256 = whole("x-amz-checksum-sha256").and_then(from_base64).map(Sha256Digest);
    let crc64 = whole("x-amz-checksum-crc64nvme").and_then(from_base64).map(u64::from_be_bytes);
    let crc32c = google_hash(answer, "crc32c").and_then(from_base64).map(u32::from_be_bytes);
    let md5 = google_hash(answer, "md5")
        .or_else(|| answer.header("content-md5"))
        .and_then(from_base64)
        .or_else(|| answer.header("etag").filter(|_| !encrypted(answer)).and_then(md5_of_etag));
    KnownDigests { sha256, crc64, crc32c, md5 }
}

/// What the answer to a PUT proves about the bytes that were sent.
///
/// # Errors
/// The names of the two digests that differ.
pub(super) async fn proof(answer: &Answer, bytes: &Bytes) -> Result<Proof, String> {
    let differ = |name: &str| Err(format!("the store computed another {name} than that of the bytes that were sent"));
    if let Some(shown) = answer.header("x-amz-checksum-crc64nvme").and_then(from_base64).map(u64::from_be_bytes) {
        return if shown == crc64(bytes) { Ok(Proof::Crc) } else { differ("CRC64NVME") };
    }
    // Azure writes the same polynomial the other way round.
    if let Some(shown) = answer.header("x-ms-content-crc64").and_then(from_base64).map(u64::from_le_bytes) {
        return if shown == crc64(bytes) { Ok(Proof::Crc) } else { differ("CRC64") };
    }
    if let Some(shown) = google_hash(answer, "crc32c").and_then(from_base64).map(u32::from_be_bytes) {
        return if shown == crc32c(bytes) { Ok(Proof::Crc) } else { differ("CRC32C") };
    }
    if let Some(shown) = answer.header("content-md5").and_then(from_base64) {
        return if shown == md5(bytes).await { Ok(Proof::Md5) } else { differ("MD5") };
    }
    // An ETag that looks like an MD5 and is another one may be no MD5 at all: that proves nothing either way.
    match answer.header("etag").and_then(md5_of_etag) {
        Some(shown) if shown == md5(bytes).await => Ok(Proof::Md5),
        _ => Ok(Proof::None),
    }
}

/// CRC-64/NVME.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)).expect("32 bits")
}

/// Of a few kilobytes right here, else off the async threads: it does half a GB a second.
pub(super) async fn md5(bytes: &Bytes) -> [u8; 16] {
    if bytes.len() <= 16 * 1024 {
        return Md5::digest(bytes).into();
    }
    let bytes = bytes.clone();
    let hashed = tokio::task::spawn_blocking(move || Md5::digest(&bytes).into());
    hashed.await.expect("hashing does not panic")
}

/// The `ETag` without quotes.
pub(super) fn etag(answer: &Answer) -> Option<String> {
    answer.header("etag").map(unquoted)
}

pub(super) fn unquoted(etag: &str) -> String {
    etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag).to_owned()
}

/// An `ETag` that has the form of an MD5, as that of an object that was put in one piece.
pub(super) fn md5_of_etag(etag: &str) -> Option<[u8; 16]> {
    let hex = unquoted(etag);
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut md5 = [0; 16];
    for (at, byte) in md5.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(md5)
}

/// What travels with the object besides its bytes.
pub(super) fn metadata(answer: &Answer) -> Metadata {
    let mut metadata = Metadata::new();
    for (name, value) in &answer.headers {
        let name = name.as_str();
        let own =
            ["x-amz-meta-", "x-goog-meta-", "x-ms-meta-"].into_iter().find_map(|prefix| name.strip_prefix(prefix));
        let name = own.or_else(|| HEADERS.contains(&name).then_some(name));
        if let (Some(name), Ok(value)) = (name, value.to_str()) {
            metadata.insert(name.to_owned(), value.to_owned());
        }
    }
    metadata
}

/// Whether the `ETag` is no MD5 because the store encrypts with keys that are not its own (AWS, "Common response
/// headers", `ETag`).
fn encrypted(answer: &Answer) -> bool {
    answer.header("x-amz-server-side-encryption").is_some_and(|kind| kind.starts_with("aws:"))
        || answer.header("x-amz-server-side-encryption-customer-algorithm").is_some()
}

/// One of several digests in `x-goog-hash: crc32c=…,md5=…`, or in several headers of that name.
fn google_hash<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let texts = answer.headers.get_all("x-goog-hash").iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn from_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &str)]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().expect("a header")));
        Answer { headers: headers.collect(), ..Answer::default() }
    }

    #[test]
    fn check_values_are_those_of_the_catalogues() {
        // "123456789" in the catalogue of parametrised CRC algorithms, and RFC 1321.
        assert_eq!(crc64(b"123456789"), 0xae8b_1486_0a79_9888);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[tokio::test]
    async fn what_an_answer_to_a_put_proves() {
        let bytes = Bytes::from_static(b"123456789");
        let crc = to_base64(&crc64(&bytes).to_be_bytes());
        assert_eq!(proof(&answer(&[("x-amz-checksum-crc64nvme", &crc)]), &bytes).await, Ok(Proof::Crc));
        assert!(proof(&answer(&[("x-amz-checksum-crc64nvme", &crc)]), &Bytes::from_static(b"12345678")).await.is_err());
        let etag = "\"25f9e794323b453885f5181f1b624d0b\"";
        assert_eq!(proof(&answer(&[("etag", etag)]), &bytes).await, Ok(Proof::Md5));
        let opaque = "\"25f9e794323b453885f5181f1b624d0c\"";
        assert_eq!(proof(&answer(&[("etag", opaque)]), &bytes).await, Ok(Proof::None));
        assert_eq!(proof(&answer(&[]), &bytes).await, Ok(Proof::None));
        let azure = to_base64(&crc64(&bytes).to_le_bytes());
        assert_eq!(proof(&answer(&[("x-ms-content-crc64", &azure)]), &bytes).await, Ok(Proof::Crc));
        let google = format!("md5=JfnnlDI7RTiF9RgfG2JNCw==,crc32c={}", to_base64(&crc32c(&bytes).to_be_bytes()));
        assert_eq!(proof(&answer(&[("x-goog-hash", &google)]), &bytes).await, Ok(Proof::Crc));
    }

    #[test]
    fn digests_of_parts_are_not_taken_for_those_of_the_whole() {
        let etag = "\"25f9e794323b453885f5181f1b624d0b-3\"";
        let sha256 = format!("{}-3", to_base64(&[7; 32]));
        assert_eq!(known(&answer(&[("etag", etag), ("x-amz-checksum-sha256", &sha256)])), KnownDigests::default());
        let whole = [("x-amz-checksum-sha256", &*to_base64(&[7; 32])), ("x-amz-checksum-type", "FULL_OBJECT")];
        assert_eq!(known(&answer(&whole)).sha256, Some(Sha256Digest([7; 32])));
        let composite = [("x-amz-checksum-sha256", &*to_base64(&[7; 32])), ("x-amz-checksum-type", "COMPOSITE")];
        assert_eq!(known(&answer(&composite)).sha256, None);
        let etag = "\"25f9e794323b453885f5181f1b624d0b\"";
        assert!(known(&answer(&[("etag", etag)])).md5.is_some());
        assert_eq!(known(&answer(&[("etag", etag), ("x-amz-server-side-encryption", "aws:kms")])).md5, None);
    }
}
