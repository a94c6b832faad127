//! What is asked of a store to write, in each cloud's own way. One try each.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Attribute, AttributeValue, Attributes, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload,
};

use super::ask::Result;
use super::{BucketStore, Cloud, azure};
use crate::store::Metadata;

/// Metadata that tells by which upload a GCS object came to be; no part of what travels on.
pub(super) const UPLOAD: &str = "backhaul-upload";

impl BucketStore {
    /// Makes an object, with `create_only` if none has the name; gives its tag.
    pub(super) async fn ask_to_put(
        &self,
        path: &Path,
        bytes: Bytes,
        metadata: &Metadata,
        create_only: bool,
        checksum: bool,
    ) -> Result<Option<String>> {
        if let Cloud::Azure(_) = self.inner.cloud {
            return self.put_blob(path, bytes, metadata, create_only, checksum).await;
        }
        let mode = if create_only { PutMode::Create } else { PutMode::Overwrite };
        let options = PutOptions { mode, attributes: attributes(metadata), ..PutOptions::default() };
        let payload = PutPayload::from_bytes(bytes);
        Ok(self.inner.cloud.writer(checksum).put_opts(path, payload, options).await?.e_tag)
    }

    /// Begins an upload in parts, and gives its id.
    pub(super) async fn ask_to_begin(
        &self,
        path: &Path,
        token: &str,
        metadata: &Metadata,
        checksum: bool,
    ) -> Result<String> {
        let Some(uploader) = self.inner.cloud.uploader(checksum) else { return Ok(azure::new_upload(token, metadata)) };
        let mut attributes = attributes(metadata);
        if let Cloud::Gcs(_) = self.inner.cloud {
            // Its tag of what it puts together says nothing of the parts.
            attributes.insert(Attribute::Metadata(UPLOAD.into()), token.to_owned().into());
        }
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        uploader.create_multipart_opts(path, options).await
    }

    /// Stores a part, and gives what the store calls it.
    pub(super) async fn ask_to_store(
        &self,
        path: &Path,
        id: &str,
        number: u32,
        bytes: Bytes,
        checksum: bool,
    ) -> Result<String> {
        let Some(uploader) = self.inner.cloud.uploader(checksum) else {
            return self.put_block(path, id, number, bytes, checksum).await;
        };
        let part = uploader.put_part(path, &id.to_owned(), number as usize, PutPayload::from_bytes(bytes)).await?;
        Ok(part.content_id)
    }

    /// Gives up an upload. Azure has nothing to ask for: blocks that are not committed vanish after a week.
    pub(super) async fn ask_to_abort(&self, path: &Path, id: &str) -> Result<()> {
        match self.inner.cloud.uploader(false) {
            Some(uploader) => uploader.abort_multipart(path, &id.to_owned()).await,
            None => Ok(()),
        }
    }

    /// Deletes an object; where the store can, only this version of it.
    pub(super) async fn ask_to_delete(&self, path: &Path, etag: &str) -> Result<()> {
        match self.inner.cloud {
            Cloud::Azure(_) => self.delete_blob(path, etag).await,
            _ => self.inner.cloud.writer(false).delete(path).await,
        }
    }
}

/// What travels with an object, as the library has it. Values that no header can hold are left out; the record keeps them.
fn attributes(metadata: &Metadata) -> Attributes {
    let printable = |text: &&String| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let with_values = metadata.iter().filter(|(name, value)| printable(name) && printable(value) && *name != UPLOAD);
    let attributes = with_values.map(|(name, value)| {
        let attribute = match name.as_str() {
            "content-type" => Attribute::ContentType,
            "content-encoding" => Attribute::ContentEncoding,
            "content-language" => Attribute::ContentLanguage,
            "content-disposition" => Attribute::ContentDisposition,
            "cache-control" => Attribute::CacheControl,
            _ => Attribute::Metadata(name.clone().into()),
        };
        (attribute, AttributeValue::from(value.clone()))
    });
    attributes.collect()
}
