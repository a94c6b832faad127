//! What the server says.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Answer, Bucket, Object};

/// Of lists; small, so that tests see more than one page.
const PAGE: usize = 3;

const MODIFIED: &str = "Tue, 24 Nov 2026 18:00:00 GMT";

pub(super) fn answer(status: u16, body: &str) -> Answer {
    let mut answer = Response::new(Full::from(body.to_owned()));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    answer
}

pub(super) fn error(status: u16, code: &str) -> Answer {
    answer(status, &format!("<?xml version='1.0'?><Error><Code>{code}</Code><Message>As documented.</Message></Error>"))
}

fn header(answer: &mut Answer, name: &'static str, value: &str) {
    answer.headers_mut().append(name, HeaderValue::from_str(value).expect("a header"));
}

fn add_hashes(answer: &mut Answer, bytes: &[u8], md5: Option<[u8; 16]>) {
    let crc32c = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    let crc32c = u32::try_from(crc32c).expect("32 bits").to_be_bytes();
    header(answer, "x-goog-hash", &format!("crc32c={}", STANDARD.encode(crc32c)));
    if let Some(md5) = md5 {
        header(answer, "x-goog-hash", &format!("md5={}", STANDARD.encode(md5)));
    }
}

/// An object or a part is stored.
pub(super) fn stored(etag: &str, bytes: &[u8], md5: Option<[u8; 16]>) -> Answer {
    let mut stored = answer(200, "");
    header(&mut stored, "etag", etag);
    header(&mut stored, "x-goog-generation", "1");
    add_hashes(&mut stored, bytes, md5);
    stored
}

/// An object, or a range of it.
pub(super) fn whole(object: &Object, asked: &HeaderMap, is_head: bool) -> Answer {
    let text = |name: &str| asked.get(name).and_then(|value| value.to_str().ok());
    if text("if-match").is_some_and(|etag| etag != object.etag) {
        return error(412, "PreconditionFailed");
    }
    let is_packed = object.headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    if is_packed && !text("accept-encoding").is_some_and(|accepted| accepted.contains("gzip")) {
        let mut unpacked = answer(200, if is_head { "" } else { "unpacked, as nobody here wants it" });
        header(&mut unpacked, "etag", &object.etag);
        header(&mut unpacked, "last-modified", MODIFIED);
        return unpacked;
    }
    let size = object.bytes.len();
    let range = text("range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?.min(size.checked_sub(1)?)))
    });
    let (status, bytes) = match range {
        Some((first, last)) if first <= last => (206, object.bytes.slice(first..=last)),
        Some(_) => return error(416, "InvalidRange"),
        None => (200, object.bytes.clone()),
    };
    let mut found = Response::new(Full::from(if is_head { Bytes::new() } else { bytes.clone() }));
    *found.status_mut() = StatusCode::from_u16(status).expect("a status");
    found.headers_mut().extend(object.headers.clone());
    header(&mut found, "content-length", &bytes.len().to_string());
    if let Some((first, last)) = range {
        header(&mut found, "content-range", &format!("bytes {first}-{last}/{size}"));
    }
    header(&mut found, "etag", &object.etag);
    header(&mut found, "last-modified", MODIFIED);
    header(&mut found, "x-goog-generation", "1");
    add_hashes(&mut found, &object.bytes, object.md5);
    found
}

/// Objects whose names begin with a prefix.
pub(super) fn list(bucket: &Bucket, query: &BTreeMap<String, String>) -> Answer {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").map_or("", String::as_str);
    let is_encoded = query.get("encoding-type").is_some_and(|kind| kind == "url");
    let named = bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
    let mut page: Vec<_> = named.take(PAGE + 1).collect();
    let is_truncated = page.len() > PAGE;
    page.truncate(PAGE);
    let mut text = format!("<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>");
    if is_encoded {
        text += "<EncodingType>url</EncodingType>";
    }
    if let Some((last, _)) = page.last().filter(|_| is_truncated) {
        text += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
    }
    for (key, object) in page {
        let key = if is_encoded { utf8_percent_encode(key, NON_ALPHANUMERIC).to_string() } else { key.clone() };
        text += &format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-24T18:00:00Z</LastModified><ETag>{}</ETag>\
             <Size>{}</Size></Contents>",
            object.etag,
            object.bytes.len()
        );
    }
    answer(200, &(text + "</ListBucketResult>"))
}

pub(super) fn uploads_list(bucket: &Bucket, query: &BTreeMap<String, String>) -> Answer {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let mut text = "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>".to_owned();
    for (id, upload) in bucket.uploads.iter().filter(|(_, upload)| upload.key.starts_with(prefix)) {
        text += &format!("<Upload><Key>{}</Key><UploadId>{id}</UploadId></Upload>", upload.key);
    }
    answer(200, &(text + "</ListMultipartUploadsResult>"))
}

pub(super) fn parts_list(bucket: &Bucket, id: &str, query: &BTreeMap<String, String>) -> Answer {
    use md5::{Digest, Md5};
    let Some(upload) = bucket.uploads.get(id) else { return error(404, "NoSuchUpload") };
    let after: usize = query.get("part-number-marker").and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut page: Vec<_> = upload.parts.iter().filter(|(number, _)| **number > after).take(PAGE + 1).collect();
    let is_truncated = page.len() > PAGE;
    page.truncate(PAGE);
    let mut text = format!("<ListPartsResult><IsTruncated>{is_truncated}</IsTruncated>");
    if let Some((last, _)) = page.last() {
        text += &format!("<NextPartNumberMarker>{last}</NextPartNumberMarker>");
    }
    for (number, bytes) in page {
        let etag = hex(&Md5::digest(bytes));
        text += &format!(
            "<Part><PartNumber>{number}</PartNumber><ETag>\"{etag}\"</ETag><Size>{}</Size></Part>",
            bytes.len()
        );
    }
    answer(200, &(text + "</ListPartsResult>"))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// What stands in an element of XML that has no others in it.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    Some(rest.split_once(&format!("</{name}>"))?.0)
}
