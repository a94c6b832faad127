//! The operations by their names, as s3s calls them: requests taken apart, answers put together.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumMode, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, CopyObjectInput, CopyObjectOutput,
    CopyObjectResult, CopySource, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    PutObjectInput, PutObjectOutput, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};

use super::content::{Digests, crc_base64};
use super::service::{Marks, Service, Wanted, bucket, fail, get_output, head_output, object, upload};
use super::store::{Checksum, Headers, Object, Part, Upload};

fn marks<T>(request: &S3Request<T>) -> Marks {
    request.extensions.get::<Marks>().copied().unwrap_or_default()
}

fn enabled(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn checksum(algorithm: Option<&ChecksumAlgorithm>) -> S3Result<Option<Checksum>> {
    match algorithm.map(ChecksumAlgorithm::as_str) {
        None => Ok(None),
        Some(ChecksumAlgorithm::CRC64NVME) => Ok(Some(Checksum::Crc64Nvme)),
        Some(ChecksumAlgorithm::SHA256) => Ok(Some(Checksum::Sha256)),
        Some(other) => Err(fail(S3ErrorCode::NotImplemented, format!("the server of the tests has no {other}"))),
    }
}

pub fn algorithm(checksum: Checksum) -> (&'static str, &'static str) {
    match checksum {
        Checksum::Crc64Nvme => (ChecksumAlgorithm::CRC64NVME, ChecksumType::FULL_OBJECT),
        Checksum::Sha256 => (ChecksumAlgorithm::SHA256, ChecksumType::COMPOSITE),
    }
}

/// Holds one part of a completion against the one that is there.
fn check_part(wanted: &CompletedPart, part: Option<&Part>, checksum: Option<Checksum>) -> S3Result<()> {
    let invalid = "One or more of the specified parts could not be found. The part may not have been uploaded, or \
                   the specified entity tag may not match the part's entity tag.";
    let part = part.ok_or_else(|| fail(S3ErrorCode::InvalidPart, invalid))?;
    let differs = |asked: Option<&String>, is: String| asked.is_some_and(|asked| *asked != is);
    if wanted.e_tag.as_ref().map(ETag::value) != Some(part.etag.as_str())
        || differs(wanted.checksum_sha256.as_ref(), part.digests.sha256_base64())
        || differs(wanted.checksum_crc64nvme.as_ref(), part.digests.crc64nvme_base64())
    {
        return Err(fail(S3ErrorCode::InvalidPart, invalid));
    }
    if checksum == Some(Checksum::Sha256) && wanted.checksum_sha256.is_none() {
        let text = "The upload was created using a sha256 checksum. The complete request must include the checksum \
                    for each part.";
        return Err(fail(S3ErrorCode::InvalidRequest, text));
    }
    Ok(())
}

impl Service {
    /// Holds a completion against its upload; the parts that it does not name are dropped.
    fn check_completion(&self, upload: &mut Upload, wanted: &[CompletedPart]) -> S3Result<()> {
        let numbers: Vec<u32> =
            wanted.iter().filter_map(|part| part.part_number.and_then(|number| u32::try_from(number).ok())).collect();
        if wanted.is_empty() || numbers.len() != wanted.len() {
            return Err(fail(S3ErrorCode::MalformedXML, "The XML you provided was not well-formed"));
        }
        if !numbers.is_sorted_by(|first, second| first < second) {
            let text = "The list of parts was not in ascending order. The parts list must be specified in order by \
                        part number.";
            return Err(fail(S3ErrorCode::InvalidPartOrder, text));
        }
        for (number, part) in numbers.iter().zip(wanted) {
            check_part(part, upload.parts.get(number), upload.checksum)?;
        }
        let all_but_last = &numbers[..numbers.len() - 1];
        if all_but_last.iter().any(|number| upload.parts[number].digests.size < self.part_size_min) {
            let text = "Your proposed upload is smaller than the minimum allowed size";
            return Err(fail(S3ErrorCode::EntityTooSmall, text));
        }
        upload.parts.retain(|number, _| numbers.contains(number));
        Ok(())
    }

    fn complete(&self, input: CompleteMultipartUploadInput) -> S3Result<CompleteMultipartUploadOutput> {
        let create_only = self.create_only(input.if_none_match.as_ref(), true)?;
        let mut store = self.lock();
        let wanted = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let found = upload(&mut store, &input.bucket, &input.key, &input.upload_id)?;
        self.check_completion(found, &wanted)?;
        let size = i64::try_from(found.bytes()).expect("a size");
        if input.mpu_object_size.is_some_and(|wanted| wanted != size) {
            return Err(fail(S3ErrorCode::InvalidRequest, "The provided 'x-amz-mp-object-size' does not match"));
        }
        let bucket = bucket(&mut store, &input.bucket)?;
        Self::check_absent(bucket, &input.key, create_only)?;
        let upload = bucket.uploads.remove(&input.upload_id).expect("found before");
        let with_checksum = upload.checksum;
        let whole = upload.parts.values().map(|part| (part.digests.crc64nvme, part.digests.size));
        let crc =
            whole.reduce(|(crc, size), (next, more)| (super::content::crc_combined(crc, next, more), size + more));
        let crc = crc.map(|(crc, _)| crc_base64(crc));
        if store.dialect.checksums && input.checksum_crc64nvme.is_some() && input.checksum_crc64nvme != crc {
            super::service::bucket(&mut store, &input.bucket)?.uploads.insert(input.upload_id, upload);
            let text = "The crc64nvme you specified did not match the calculated checksum.";
            return Err(fail(S3ErrorCode::BadDigest, text));
        }
        let object = store.joined(upload);
        let shown = with_checksum.filter(|_| store.dialect.checksums);
        let output = CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket.clone()),
            key: Some(input.key.clone()),
            e_tag: Some(ETag::Strong(object.etag.clone())),
            checksum_crc64nvme: object.crc64nvme.filter(|_| shown.is_some()).map(crc_base64),
            checksum_sha256: object.checksum_sha256.clone(),
            checksum_type: shown.map(|checksum| ChecksumType::from_static(algorithm(checksum).1)),
            ..CompleteMultipartUploadOutput::default()
        };
        store.publish(&input.bucket, input.key, object);
        Ok(output)
    }

    fn copy(&self, input: &CopyObjectInput) -> S3Result<CopyObjectOutput> {
        let CopySource::Bucket { bucket: from, key, .. } = &input.copy_source else {
            return Err(fail(S3ErrorCode::NotImplemented, "the server of the tests has no access points"));
        };
        let mut store = self.lock();
        let source: Object = object(&mut store, from, key)?.clone();
        let digests = Digests::of(&source.content);
        let copy = store.object(source.content, &digests, source.headers, None);
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(copy.etag.clone())),
            last_modified: Some(Timestamp::from(copy.modified)),
            ..CopyObjectResult::default()
        };
        bucket(&mut store, &input.bucket)?;
        store.publish(&input.bucket, input.key.clone(), copy);
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    fn create(&self, input: CreateMultipartUploadInput) -> S3Result<CreateMultipartUploadOutput> {
        let mut store = self.lock();
        let checksum = checksum(input.checksum_algorithm.as_ref())?;
        let kind = checksum.map(|checksum| algorithm(checksum).1);
        if let (Some(asked), Some(kind)) = (&input.checksum_type, kind)
            && asked.as_str() != kind
        {
            return Err(fail(S3ErrorCode::InvalidRequest, "The checksum type cannot be used with the algorithm"));
        }
        let shown = checksum.filter(|_| store.dialect.checksums).map(algorithm);
        let headers = Headers {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
            storage_class: input.storage_class.map(|class| class.as_str().to_owned()),
            metadata: input.metadata.unwrap_or_default().into_iter().collect(),
        };
        let id = store.fresh_id();
        let upload = Upload::new(input.key.clone(), headers, checksum);
        bucket(&mut store, &input.bucket)?.uploads.insert(id.clone(), upload);
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: shown.map(|(name, _)| ChecksumAlgorithm::from_static(name)),
            checksum_type: shown.map(|(_, kind)| ChecksumType::from_static(kind)),
            ..CreateMultipartUploadOutput::default()
        })
    }
}

#[async_trait::async_trait]
impl S3 for Service {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let marks = marks(&request);
        let input = request.input;
        let (object, range) = self.wanted(&Wanted {
            bucket: &input.bucket,
            key: &input.key,
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            range: input.range.as_ref(),
            marks,
        })?;
        Ok(S3Response::new(get_output(&object, range, enabled(input.checksum_mode.as_ref()))?))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let marks = marks(&request);
        let input = request.input;
        let (object, range) = self.wanted(&Wanted {
            bucket: &input.bucket,
            key: &input.key,
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            range: input.range.as_ref(),
            marks,
        })?;
        Ok(S3Response::new(head_output(&object, range.as_ref(), enabled(input.checksum_mode.as_ref()))))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let marks = marks(&request);
        Ok(S3Response::new(self.put(request.input, marks).await?))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let marks = marks(&request);
        Ok(S3Response::new(self.part(request.input, marks).await?))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        Ok(S3Response::new(self.copy(&request.input)?))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        Ok(S3Response::new(self.create(request.input)?))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        Ok(S3Response::new(self.complete(request.input)?))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut store = self.lock();
        upload(&mut store, &input.bucket, &input.key, &input.upload_id)?;
        bucket(&mut store, &input.bucket)?.uploads.remove(&input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        bucket(&mut self.lock(), &input.bucket)?.delete(&input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        let mut store = self.lock();
        let bucket = bucket(&mut store, &input.bucket)?;
        let mut deleted = Vec::new();
        for object in input.delete.objects {
            bucket.delete(&object.key);
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        let deleted = (input.delete.quiet != Some(true)).then_some(deleted);
        Ok(S3Response::new(DeleteObjectsOutput { deleted, ..DeleteObjectsOutput::default() }))
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        bucket(&mut self.lock(), &request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        Ok(S3Response::new(self.list_objects(request.input)?))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        Ok(S3Response::new(self.list_uploads(request.input)?))
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        Ok(S3Response::new(self.list_parts_of(request.input)?))
    }
}
