//! Requests about uploads in parts that `object_store` does not make: which are open, which parts they have, and
//! completing one without ever replacing an object. S3 and GCS speak the same XML; Azure has words of its own.

use http::header::{CONTENT_TYPE, HeaderValue, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, Result, read_xml, unreadable};
use super::{BucketStore, Cloud};
use crate::store::StoredPart;

/// An upload that is open.
#[derive(Debug, Deserialize)]
pub(super) struct OpenUpload {
    #[serde(rename = "Key")]
    pub(super) key: String,
    #[serde(rename = "UploadId")]
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
struct OpenUploads {
    #[serde(rename = "Upload", default)]
    uploads: Vec<OpenUpload>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextKeyMarker", default)]
    next_key: Option<String>,
    #[serde(rename = "NextUploadIdMarker", default)]
    next_id: Option<String>,
}

/// A part that the store has.
#[derive(Debug, Deserialize)]
pub(super) struct ListedPart {
    #[serde(rename = "PartNumber")]
    pub(super) number: u32,
    #[serde(rename = "ETag", default)]
    pub(super) etag: String,
    #[serde(rename = "Size")]
    pub(super) size: u64,
}

#[derive(Debug, Deserialize)]
struct ListedParts {
    #[serde(rename = "Part", default)]
    parts: Vec<ListedPart>,
    #[serde(rename = "IsTruncated", default)]
    is_truncated: bool,
    #[serde(rename = "NextPartNumberMarker", default)]
    next: Option<u32>,
}

/// What the store put together.
#[derive(Debug, Deserialize)]
pub(super) struct Completed {
    #[serde(rename = "ETag")]
    pub(super) etag: String,
    #[serde(rename = "ChecksumCRC64NVME", default)]
    pub(super) crc64: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename = "CompleteMultipartUpload")]
struct Completion {
    #[serde(rename = "Part")]
    parts: Vec<CompletedPart>,
}

#[derive(Debug, Serialize)]
struct CompletedPart {
    #[serde(rename = "PartNumber")]
    number: usize,
    #[serde(rename = "ETag")]
    etag: String,
    #[serde(rename = "ChecksumCRC64NVME", skip_serializing_if = "Option::is_none")]
    crc64: Option<String>,
}

impl BucketStore {
    /// All open uploads whose key starts with `path`.
    pub(super) async fn open_uploads(&self, path: &Path) -> Result<Vec<OpenUpload>> {
        let mut uploads = Vec::new();
        if let Cloud::Azure(_) = self.inner.cloud {
            // It knows blocks that belong to no upload, and nobody can delete them: they vanish after a week.
            return Ok(uploads);
        }
        let mut after: Option<(String, String)> = None;
        loop {
            let mut query = vec![("uploads".to_owned(), String::new()), ("prefix".to_owned(), path.to_string())];
            if let Some((key, id)) = after {
                query.extend([("key-marker".to_owned(), key), ("upload-id-marker".to_owned(), id)]);
            }
            let page: OpenUploads = read_xml(&self.ask(Ask::get(&Path::default(), query)).await?.body)?;
            uploads.extend(page.uploads);
            after = page.next_key.zip(page.next_id).filter(|_| page.is_truncated);
            if after.is_none() {
                return Ok(uploads);
            }
        }
    }

    /// All parts that the store has of an upload.
    pub(super) async fn listed_parts(&self, path: &Path, id: &str) -> Result<Vec<ListedPart>> {
        if let Cloud::Azure(_) = self.inner.cloud {
            return self.staged_blocks(path, id).await;
        }
        let mut parts = Vec::new();
        let mut after: Option<u32> = None;
        loop {
            let mut query = vec![("uploadId".to_owned(), id.to_owned())];
            query.extend(after.map(|number| ("part-number-marker".to_owned(), number.to_string())));
            let page: ListedParts = read_xml(&self.ask(Ask::get(path, query)).await?.body)?;
            parts.extend(page.parts);
            after = page.next.filter(|_| page.is_truncated);
            if after.is_none() {
                return Ok(parts);
            }
        }
    }

    /// Puts the parts together under the upload's key; with `create_only` not if an object has it.
    pub(super) async fn complete(
        &self,
        path: &Path,
        id: &str,
        parts: &[StoredPart],
        create_only: bool,
    ) -> Result<Completed> {
        if let Cloud::Azure(_) = self.inner.cloud {
            return self.commit(path, id, parts, create_only).await;
        }
        let s3 = matches!(self.inner.cloud, Cloud::S3 { .. });
        let parts = parts.iter().enumerate().map(|(index, part)| CompletedPart {
            number: index + 1,
            etag: part.reference.clone().unwrap_or_default(),
            crc64: part.crc64.filter(|_| s3).map(|crc64| super::digests::to_base64(&crc64.to_be_bytes())),
        });
        let body = quick_xml::se::to_string(&Completion { parts: parts.collect() }).map_err(unreadable)?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/xml"))]);
        if create_only {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let query = vec![("uploadId".to_owned(), id.to_owned())];
        let answered = self.ask(Ask { method: Method::POST, path, query, headers, body: body.into() }).await?;
        // A store may answer 200 at once and the outcome in the body (AWS, CompleteMultipartUpload).
        read_xml(&answered.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_and_without_what_is_optional() {
        let page = r#"<?xml version="1.0"?><ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
            <Bucket>b</Bucket><KeyMarker/><NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>2</NextUploadIdMarker>
            <IsTruncated>true</IsTruncated>
            <Upload><Key>k</Key><UploadId>1</UploadId><Initiated>2026-11-24T00:00:00Z</Initiated></Upload>
            <Upload><Key>k</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"#;
        let page: OpenUploads = read_xml(page).expect("readable");
        assert_eq!(page.uploads.len(), 2);
        assert!(page.is_truncated && page.next_key.as_deref() == Some("k"));
        let none: OpenUploads = read_xml("<ListMultipartUploadsResult/>").expect("readable");
        assert!(none.uploads.is_empty());
        let parts: ListedParts = read_xml(
            "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>\"a\"</ETag><Size>5</Size></Part></ListPartsResult>",
        )
        .expect("readable");
        assert_eq!((parts.parts[0].number, &*parts.parts[0].etag, parts.parts[0].size), (1, "\"a\"", 5));
        let error = "<Error><Code>InternalError</Code></Error>";
        assert!(read_xml::<Completed>(error).is_err(), "an error is no completion");
    }
}
