//! The operations of S3, as strict as S3 itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use futures::StreamExt as _;
use s3s::dto::{
    ChecksumType, ETag, ETagCondition, GetObjectOutput, HeadObjectOutput, Metadata, PutObjectInput, PutObjectOutput,
    Range, StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::content::{Content, Digester, Digests};
use super::store::{Bucket, Checksum, Headers, Keep, Object, Part, Store, Upload};

/// What a server makes of `If-None-Match: *` on what creates an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Conditions {
    #[default]
    Honoured,
    /// As if it were not there.
    Ignored,
    /// 501 to a completion that has it; single PUTs honour it.
    RefusedOnComplete,
    /// 501 to all.
    Refused,
}

/// What a fault asks of an operation; it travels in the request's extensions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks {
    /// The whole object with 200, whatever was asked for.
    pub ignore_range: bool,
    /// A bit turned over in what is stored, after all checks.
    pub flip_stored: Option<u64>,
}

#[derive(Clone)]
pub struct Service {
    pub store: Arc<Mutex<Store>>,
    pub conditions: Conditions,
    pub page_size: usize,
    pub part_size_min: u64,
}

pub fn fail(code: S3ErrorCode, message: impl Into<String>) -> S3Error {
    S3Error::with_message(code, message.into())
}

pub fn bucket<'a>(store: &'a mut Store, name: &str) -> S3Result<&'a mut Bucket> {
    let missing = || fail(S3ErrorCode::NoSuchBucket, "The specified bucket does not exist");
    store.buckets.get_mut(name).ok_or_else(missing)
}

pub fn object<'a>(store: &'a mut Store, name: &str, key: &str) -> S3Result<&'a mut Object> {
    let missing = || fail(S3ErrorCode::NoSuchKey, "The specified key does not exist.");
    bucket(store, name)?.objects.get_mut(key).ok_or_else(missing)
}

pub fn upload<'a>(store: &'a mut Store, name: &str, key: &str, id: &str) -> S3Result<&'a mut Upload> {
    let missing = || fail(S3ErrorCode::NoSuchUpload, "The specified multipart upload does not exist.");
    bucket(store, name)?.uploads.get_mut(id).filter(|upload| upload.key == key).ok_or_else(missing)
}

/// The checksums of a request; those that this server does not know are refused, not passed over.
#[derive(Debug, Default)]
pub struct Asked {
    pub crc64nvme: Option<String>,
    pub sha256: Option<String>,
    pub md5: Option<String>,
}

impl Asked {
    pub fn algorithm(&self) -> Option<Checksum> {
        let sha256 = self.sha256.as_ref().map(|_| Checksum::Sha256);
        sha256.or(self.crc64nvme.as_ref().map(|_| Checksum::Crc64Nvme))
    }

    fn check(&self, digests: &Digests, checksums: bool) -> S3Result<()> {
        let differs = |asked: &Option<String>, is: String| asked.as_ref().is_some_and(|asked| *asked != is);
        if differs(&self.md5, digests.md5_base64()) {
            return Err(fail(S3ErrorCode::BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
        let wrong = checksums
            && (differs(&self.crc64nvme, digests.crc64nvme_base64()) || differs(&self.sha256, digests.sha256_base64()));
        if wrong {
            let text = "The checksum you specified did not match the calculated checksum.";
            return Err(fail(S3ErrorCode::BadDigest, text));
        }
        Ok(())
    }
}

/// Reads a body to its end; where only digests are kept of it, the bytes go at once.
async fn receive(body: Option<StreamingBlob>, keep: Keep) -> S3Result<(Content, Digests)> {
    let mut digester = Digester::default();
    let mut content = Content::default();
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|error| {
                let text = error.to_string();
                if text.contains("Sha256Mismatch") {
                    let text = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                    return fail(S3ErrorCode::from_bytes(b"XAmzContentSHA256Mismatch").expect("a code"), text);
                }
                fail(S3ErrorCode::IncompleteBody, text)
            })?;
            digester.update(&bytes);
            if keep == Keep::Bytes {
                content.append(Content::from(bytes));
            }
        }
    }
    let digests = digester.finish();
    if keep == Keep::Digests {
        content = Content::gone(digests.size);
    }
    Ok((content, digests))
}

fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.to_owned())
}

fn refuse(present: bool, what: &str) -> S3Result<()> {
    if present {
        return Err(fail(S3ErrorCode::NotImplemented, format!("the server of the tests does not know {what}")));
    }
    Ok(())
}

impl Service {
    pub fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("whole")
    }

    /// Whether `key` must not be there, as the request has it and this server takes it.
    pub fn create_only(&self, condition: Option<&ETagCondition>, complete: bool) -> S3Result<bool> {
        let Some(condition) = condition else { return Ok(false) };
        let refused = self.conditions == Conditions::Refused
            || (complete && self.conditions == Conditions::RefusedOnComplete)
            || !condition.is_any();
        if refused {
            let text = "A header you provided implies functionality that is not implemented";
            return Err(fail(S3ErrorCode::NotImplemented, text));
        }
        Ok(self.conditions != Conditions::Ignored)
    }

    pub fn check_absent(bucket: &Bucket, key: &str, create_only: bool) -> S3Result<()> {
        if create_only && bucket.objects.contains_key(key) {
            let text = "At least one of the pre-conditions you specified did not hold";
            return Err(fail(S3ErrorCode::PreconditionFailed, text));
        }
        Ok(())
    }

    pub async fn put(&self, input: PutObjectInput, marks: Marks) -> S3Result<PutObjectOutput> {
        refuse(input.checksum_crc32.is_some(), "CRC32")?;
        refuse(input.checksum_crc32c.is_some(), "CRC32C")?;
        refuse(input.checksum_sha1.is_some(), "SHA1")?;
        refuse(input.if_match.is_some(), "If-Match on a PUT")?;
        let create_only = self.create_only(input.if_none_match.as_ref(), false)?;
        let asked =
            Asked { crc64nvme: input.checksum_crc64nvme, sha256: input.checksum_sha256, md5: input.content_md5 };
        let keep = bucket(&mut self.lock(), &input.bucket)?.keep;
        let (mut content, digests) = receive(input.body, keep).await?;
        let mut store = self.lock();
        let checksums = store.dialect.checksums;
        asked.check(&digests, checksums)?;
        Self::check_absent(bucket(&mut store, &input.bucket)?, &input.key, create_only)?;
        if let Some(bit) = marks.flip_stored {
            content.flip(bit);
        }
        let headers = Headers {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        let object = store.object(content, &digests, headers, asked.algorithm());
        let output = PutObjectOutput {
            e_tag: Some(strong(&object.etag)),
            checksum_crc64nvme: object.crc64nvme.map(super::content::crc_base64),
            checksum_sha256: object.checksum_sha256.clone(),
            checksum_type: checksums.then(|| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
            ..PutObjectOutput::default()
        };
        store.publish(&input.bucket, input.key, object);
        Ok(output)
    }

    pub async fn part(&self, input: UploadPartInput, marks: Marks) -> S3Result<UploadPartOutput> {
        refuse(input.checksum_crc32.is_some(), "CRC32")?;
        refuse(input.checksum_crc32c.is_some(), "CRC32C")?;
        refuse(input.checksum_sha1.is_some(), "SHA1")?;
        let number = u32::try_from(input.part_number).ok().filter(|number| (1..=10_000).contains(number));
        let number = number.ok_or_else(|| {
            fail(S3ErrorCode::InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
        })?;
        let asked =
            Asked { crc64nvme: input.checksum_crc64nvme, sha256: input.checksum_sha256, md5: input.content_md5 };
        {
            let mut store = self.lock();
            let checksums = store.dialect.checksums;
            let of_upload = upload(&mut store, &input.bucket, &input.key, &input.upload_id)?.checksum;
            let of_part = asked.algorithm();
            let fits = match of_upload {
                Some(Checksum::Sha256) => of_part == Some(Checksum::Sha256),
                Some(Checksum::Crc64Nvme) | None => of_part != Some(Checksum::Sha256),
            };
            if checksums && !fits {
                let text = format!(
                    "Checksum Type mismatch occurred, expected checksum Type: {of_upload:?}, actual: {of_part:?}"
                );
                return Err(fail(S3ErrorCode::InvalidRequest, text));
            }
        }
        // Also where only digests are kept: they are of the whole, and its parts may come out of order.
        let (mut content, digests) = receive(input.body, Keep::Bytes).await?;
        let mut store = self.lock();
        let checksums = store.dialect.checksums;
        asked.check(&digests, checksums)?;
        if let Some(bit) = marks.flip_stored {
            content.flip(bit);
        }
        let etag = store.etag(&digests);
        let keep = bucket(&mut store, &input.bucket)?.keep;
        // It may have been aborted meanwhile.
        let upload = upload(&mut store, &input.bucket, &input.key, &input.upload_id)?;
        let part = Part { content, digests, etag: etag.clone(), modified: SystemTime::now() };
        upload.add(number, part, keep);
        Ok(UploadPartOutput {
            e_tag: Some(strong(&etag)),
            checksum_crc64nvme: asked.crc64nvme.filter(|_| checksums),
            checksum_sha256: asked.sha256.filter(|_| checksums),
            ..UploadPartOutput::default()
        })
    }

    /// The object, once its conditions hold, and the range of it that is wanted.
    pub fn wanted(&self, wanted: &Wanted<'_>) -> S3Result<(Object, Option<std::ops::Range<u64>>)> {
        let mut store = self.lock();
        let object = object(&mut store, wanted.bucket, wanted.key)?.clone();
        let is = strong(&object.etag);
        let holds = |condition: &ETagCondition| condition.as_etag().is_none_or(|etag| etag.strong_cmp(&is));
        if !wanted.if_match.is_none_or(holds) {
            let text = "At least one of the pre-conditions you specified did not hold";
            return Err(fail(S3ErrorCode::PreconditionFailed, text));
        }
        if wanted.if_none_match.is_some_and(holds) {
            return Err(fail(S3ErrorCode::NotModified, "Not Modified"));
        }
        let range = wanted.range.filter(|_| !wanted.marks.ignore_range);
        let range = range.map(|range| range.check(object.size())).transpose()?;
        Ok((object, range))
    }
}

/// What a GET or a HEAD asks for.
pub struct Wanted<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub if_match: Option<&'a ETagCondition>,
    pub if_none_match: Option<&'a ETagCondition>,
    pub range: Option<&'a Range>,
    pub marks: Marks,
}

fn metadata(metadata: &BTreeMap<String, String>) -> Metadata {
    metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn content_range(range: Option<&std::ops::Range<u64>>, size: u64) -> Option<String> {
    range.map(|range| format!("bytes {}-{}/{size}", range.start, range.end - 1))
}

pub fn head_output(object: &Object, range: Option<&std::ops::Range<u64>>, checksums: bool) -> HeadObjectOutput {
    let size = object.size();
    let length = range.map_or(size, |range| range.end - range.start);
    // As S3 does it: the checksum is of the whole, so a range has none.
    let shown = checksums && range.is_none();
    let headers = object.headers.clone();
    let composite = object.checksum_sha256.as_ref().is_some_and(|digest| digest.contains('-'));
    let kind = if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT };
    let has_checksum = object.crc64nvme.is_some() || object.checksum_sha256.is_some();
    HeadObjectOutput {
        accept_ranges: Some("bytes".to_owned()),
        content_length: Some(i64::try_from(length).expect("a length")),
        content_range: content_range(range, size),
        content_type: headers.content_type.or(Some("binary/octet-stream".to_owned())),
        content_encoding: headers.content_encoding,
        content_language: headers.content_language,
        content_disposition: headers.content_disposition,
        cache_control: headers.cache_control,
        storage_class: headers.storage_class.map(Into::into),
        metadata: Some(metadata(&headers.metadata)),
        e_tag: Some(strong(&object.etag)),
        last_modified: Some(Timestamp::from(object.modified)),
        checksum_crc64nvme: object.crc64nvme.filter(|_| shown).map(super::content::crc_base64),
        checksum_sha256: object.checksum_sha256.clone().filter(|_| shown),
        checksum_type: (shown && has_checksum).then(|| ChecksumType::from_static(kind)),
        ..HeadObjectOutput::default()
    }
}

pub fn get_output(object: &Object, range: Option<std::ops::Range<u64>>, checksums: bool) -> S3Result<GetObjectOutput> {
    refuse(object.content.is_gone(), "bytes of which it keeps digests only")?;
    let head = head_output(object, range.as_ref(), checksums);
    let chunks = object.content.chunks(range.unwrap_or(0..object.size()));
    let body = StreamingBlob::wrap(futures::stream::iter(chunks.map(Ok::<_, std::io::Error>)));
    Ok(GetObjectOutput {
        body: Some(body),
        accept_ranges: head.accept_ranges,
        content_length: head.content_length,
        content_range: head.content_range,
        content_type: head.content_type,
        content_encoding: head.content_encoding,
        content_language: head.content_language,
        content_disposition: head.content_disposition,
        cache_control: head.cache_control,
        storage_class: head.storage_class,
        metadata: head.metadata,
        e_tag: head.e_tag,
        last_modified: head.last_modified,
        checksum_crc64nvme: head.checksum_crc64nvme,
        checksum_sha256: head.checksum_sha256,
        checksum_type: head.checksum_type,
        ..GetObjectOutput::default()
    })
}
