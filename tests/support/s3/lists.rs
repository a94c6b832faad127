//! Listings, in pages.

use std::collections::BTreeSet;

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, ETag, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, MultipartUpload, Object as Listed,
    ObjectStorageClass, Part as ListedPart, Timestamp,
};
use s3s::{S3ErrorCode, S3Result};

use super::operations::algorithm;
use super::service::{Service, bucket, fail, upload};
use super::store::Checksum;

fn i32_of(number: usize) -> i32 {
    i32::try_from(number).expect("a page")
}

/// As `encoding-type=url` asks for it.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Service {
    fn page(&self, asked: Option<i32>) -> S3Result<usize> {
        let asked = asked.map_or(Ok(1000), usize::try_from);
        let asked = asked.map_err(|_| fail(S3ErrorCode::InvalidArgument, "not a page size"))?;
        Ok(asked.min(self.page_size))
    }

    pub fn list_objects(&self, input: ListObjectsV2Input) -> S3Result<ListObjectsV2Output> {
        let page = self.page(input.max_keys)?;
        let mut store = self.lock();
        let bucket = bucket(&mut store, &input.bucket)?;
        let name = |key: &str| if input.encoding_type.is_some() { encoded(key) } else { key.to_owned() };
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
        let after = input.continuation_token.as_deref().map(|token| token.strip_prefix("after:").unwrap_or(token));
        let after = after.or(input.start_after.as_deref()).unwrap_or_default();
        let mut contents = Vec::new();
        let mut prefixes = BTreeSet::new();
        let mut last = None;
        let mut truncated = false;
        for (key, object) in bucket.objects.range(after.to_owned()..).filter(|(key, _)| key.as_str() > after) {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            let common = delimiter.and_then(|delimiter| rest.find(delimiter).map(|at| at + delimiter.len()));
            let common = common.map(|end| key[..prefix.len() + end].to_owned());
            // All that lies below a prefix that a page ended with has been told.
            if common.as_ref().is_some_and(|common| prefixes.contains(common) || after.starts_with(common.as_str())) {
                continue;
            }
            if contents.len() + prefixes.len() == page {
                truncated = true;
                break;
            }
            last = Some(key.clone());
            if let Some(common) = common {
                prefixes.insert(common);
                continue;
            }
            contents.push(Listed {
                key: Some(name(key)),
                size: Some(i64::try_from(object.size()).expect("a size")),
                e_tag: Some(ETag::Strong(object.etag.clone())),
                last_modified: Some(Timestamp::from(object.modified)),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                ..Listed::default()
            });
        }
        let count = contents.len() + prefixes.len();
        let prefixes = prefixes.into_iter().map(|prefix| CommonPrefix { prefix: Some(name(&prefix)) }).collect();
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            max_keys: Some(i32_of(page)),
            key_count: Some(i32_of(count)),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated).map(|key| format!("after:{key}")),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            prefix: input.prefix,
            continuation_token: input.continuation_token,
            delimiter: input.delimiter,
            encoding_type: input.encoding_type,
            start_after: input.start_after,
            ..ListObjectsV2Output::default()
        })
    }

    pub fn list_uploads(&self, input: ListMultipartUploadsInput) -> S3Result<ListMultipartUploadsOutput> {
        let page = self.page(input.max_uploads)?;
        let mut store = self.lock();
        let bucket = bucket(&mut store, &input.bucket)?;
        let name = |key: &str| if input.encoding_type.is_some() { encoded(key) } else { key.to_owned() };
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let mut uploads: Vec<_> = bucket
            .uploads
            .iter()
            .filter(|(_, upload)| upload.key.starts_with(prefix))
            .map(|(id, upload)| (upload.key.as_str(), id.as_str(), upload))
            .collect();
        uploads.sort_by_key(|(key, id, _)| (*key, *id));
        if let Some(key) = input.key_marker.as_deref().filter(|key| !key.is_empty()) {
            let marker = input.upload_id_marker.as_deref().filter(|id| !id.is_empty());
            uploads.retain(|(of, id, _)| *of > key || (*of == key && marker.is_some_and(|marker| *id > marker)));
        }
        let truncated = uploads.len() > page;
        uploads.truncate(page);
        let last = uploads.last().filter(|_| truncated).map(|(key, id, _)| ((*key).to_owned(), (*id).to_owned()));
        let uploads = uploads
            .into_iter()
            .map(|(key, id, upload)| MultipartUpload {
                key: Some(name(key)),
                upload_id: Some(id.to_owned()),
                initiated: Some(Timestamp::from(upload.initiated)),
                checksum_algorithm: upload.checksum.map(|it| ChecksumAlgorithm::from_static(algorithm(it).0)),
                checksum_type: upload.checksum.map(|it| ChecksumType::from_static(algorithm(it).1)),
                ..MultipartUpload::default()
            })
            .collect();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            max_uploads: Some(i32_of(page)),
            is_truncated: Some(truncated),
            next_key_marker: last.as_ref().map(|(key, _)| name(key)),
            next_upload_id_marker: last.map(|(_, id)| id),
            uploads: Some(uploads),
            prefix: input.prefix,
            key_marker: input.key_marker,
            upload_id_marker: input.upload_id_marker,
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        })
    }

    pub fn list_parts_of(&self, input: ListPartsInput) -> S3Result<ListPartsOutput> {
        let page = self.page(input.max_parts)?;
        let mut store = self.lock();
        let checksums = store.dialect.checksums;
        let upload = upload(&mut store, &input.bucket, &input.key, &input.upload_id)?;
        let after = input.part_number_marker.unwrap_or(0);
        let shown = upload.checksum.filter(|_| checksums);
        let mut parts: Vec<ListedPart> = upload
            .parts
            .iter()
            .map(|(number, part)| (i32::try_from(*number).expect("a part"), part))
            .filter(|(number, _)| *number > after)
            .map(|(number, part)| ListedPart {
                part_number: Some(number),
                size: Some(i64::try_from(part.digests.size).expect("a size")),
                e_tag: Some(ETag::Strong(part.etag.clone())),
                last_modified: Some(Timestamp::from(part.modified)),
                checksum_crc64nvme: (shown == Some(Checksum::Crc64Nvme)).then(|| part.digests.crc64nvme_base64()),
                checksum_sha256: (shown == Some(Checksum::Sha256)).then(|| part.digests.sha256_base64()),
                ..ListedPart::default()
            })
            .collect();
        let truncated = parts.len() > page;
        parts.truncate(page);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(i32_of(page)),
            is_truncated: Some(truncated),
            next_part_number_marker: parts.last().filter(|_| truncated).and_then(|part| part.part_number),
            parts: Some(parts),
            part_number_marker: input.part_number_marker,
            checksum_algorithm: shown.map(|it| ChecksumAlgorithm::from_static(algorithm(it).0)),
            checksum_type: shown.map(|it| ChecksumType::from_static(algorithm(it).1)),
            ..ListPartsOutput::default()
        })
    }
}
