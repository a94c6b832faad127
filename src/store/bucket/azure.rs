//! What Azure Blob Storage does in its own way: blocks instead of parts, which belong to a blob and to no upload, and
//! everything else that travels with a blob given when its list of blocks is committed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, Method};
use jiff::fmt::rfc2822;
use object_store::azure::{AzureCredentialProvider, MicrosoftAzure};
use object_store::path::Path;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, Result, read_xml, unreadable};
use super::listing::{Entry, Page, decoded};
use super::uploads::{Completed, ListedPart};
use super::{BucketStore, digests};
use crate::store::{Metadata, StoredPart};

/// A container, as it is reached.
pub(super) struct Azure {
    /// Reads and lists.
    pub(super) client: MicrosoftAzure,
    /// For requests of our own; none where they are not signed.
    pub(super) credentials: Option<AzureCredentialProvider>,
    pub(super) account: String,
    /// The container's.
    pub(super) url: Url,
}

/// What has to be known of an upload until it is committed. As text it is the upload's id: Azure itself gives none,
/// and has no place to keep anything of a blob that is not there yet.
#[derive(Debug, Serialize, Deserialize)]
struct BlobUpload {
    /// What the names of its blocks begin with.
    blocks: String,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct BlockList {
    #[serde(rename = "CommittedBlocks", default)]
    committed: Blocks,
    #[serde(rename = "UncommittedBlocks", default)]
    uncommitted: Blocks,
}

#[derive(Debug, Default, Deserialize)]
struct Blocks {
    #[serde(rename = "Block", default)]
    blocks: Vec<Block>,
}

#[derive(Debug, Deserialize)]
struct Block {
    /// In base64.
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Size")]
    size: u64,
}

#[derive(Debug, Deserialize)]
struct BlobPage {
    #[serde(rename = "Blobs", default)]
    blobs: Blobs,
    #[serde(rename = "NextMarker", default)]
    next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Blobs {
    #[serde(rename = "Blob", default)]
    blobs: Vec<Blob>,
}

#[derive(Debug, Deserialize)]
struct Blob {
    #[serde(rename = "Name")]
    name: BlobName,
    #[serde(rename = "Properties")]
    properties: BlobProperties,
}

/// By percent where XML could not hold it.
#[derive(Debug, Deserialize)]
struct BlobName {
    #[serde(rename = "@Encoded", default)]
    is_encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Debug, Deserialize)]
struct BlobProperties {
    #[serde(rename = "Content-Length")]
    size: u64,
    #[serde(rename = "Etag", default)]
    etag: Option<String>,
    #[serde(rename = "Last-Modified", default)]
    modified: Option<String>,
    /// `directory` in accounts with folders of their own.
    #[serde(rename = "ResourceType", default)]
    kind: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename = "BlockList")]
struct Commitment {
    #[serde(rename = "Uncommitted")]
    blocks: Vec<String>,
}

/// The id of a new upload: nothing is asked of the store.
pub(super) fn new_upload(token: &str, metadata: &Metadata) -> String {
    let upload = BlobUpload { blocks: token.to_owned(), metadata: metadata.clone() };
    serde_json::to_string(&upload).expect("texts serialize")
}

fn read_upload(id: &str) -> Result<BlobUpload> {
    serde_json::from_str(id).map_err(unreadable)
}

impl BucketStore {
    /// Makes a blob in one request, with `create_only` if none has the name.
    pub(super) async fn put_blob(
        &self,
        path: &Path,
        bytes: Bytes,
        metadata: &Metadata,
        create_only: bool,
        checksum: bool,
    ) -> Result<Option<String>> {
        let mut headers = headers(metadata);
        headers.insert(HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob"));
        if create_only {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        if checksum {
            add_checksum(&mut headers, &bytes)?;
        }
        let ask = Ask { method: Method::PUT, path, query: Vec::new(), headers, body: bytes };
        let answered = self.ask(ask).await?;
        Ok(answered.headers.get("etag").and_then(|etag| etag.to_str().ok()).map(digests::unquoted))
    }

    /// Stores one block, and gives its name.
    pub(super) async fn put_block(
        &self,
        path: &Path,
        id: &str,
        number: u32,
        bytes: Bytes,
        checksum: bool,
    ) -> Result<String> {
        // All blocks of a blob must have names of one length.
        let name = STANDARD.encode(format!("{}-{number:08}", read_upload(id)?.blocks));
        let mut headers = HeaderMap::new();
        if checksum {
            add_checksum(&mut headers, &bytes)?;
        }
        let query = vec![("comp".to_owned(), "block".to_owned()), ("blockid".to_owned(), name.clone())];
        self.ask(Ask { method: Method::PUT, path, query, headers, body: bytes }).await?;
        Ok(name)
    }

    /// The blocks of an upload that are not committed, as parts.
    pub(super) async fn staged_blocks(&self, path: &Path, id: &str) -> Result<Vec<ListedPart>> {
        let ours = read_upload(id)?.blocks;
        let blocks = self.blocks(path, "uncommitted").await?.uncommitted.blocks;
        let parts = blocks.into_iter().filter_map(|block| {
            let text = String::from_utf8(STANDARD.decode(&block.name).ok()?).ok()?;
            let number: u32 = text.strip_prefix(&ours)?.strip_prefix('-')?.parse().ok()?;
            Some(ListedPart { number: number + 1, etag: block.name, size: block.size })
        });
        Ok(parts.collect())
    }

    /// Whether a blob is made of exactly these parts: their names are not given twice.
    pub(super) async fn is_made_of(&self, path: &Path, parts: &[StoredPart]) -> Result<bool> {
        let blocks = self.blocks(path, "committed").await?.committed.blocks;
        let same = |(block, part): (&Block, &StoredPart)| {
            Some(&block.name) == part.reference.as_ref() && block.size == part.size
        };
        Ok(blocks.len() == parts.len() && blocks.iter().zip(parts).all(same))
    }

    async fn blocks(&self, path: &Path, kind: &str) -> Result<BlockList> {
        let query = vec![("comp".to_owned(), "blocklist".to_owned()), ("blocklisttype".to_owned(), kind.to_owned())];
        read_xml(&self.ask(Ask::get(path, query)).await?.body)
    }

    /// A page of a listing: names, and what is known of them.
    pub(super) async fn blob_page(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let mut query = vec![("restype", "container"), ("comp", "list")];
        if !prefix.is_empty() {
            query.push(("prefix", prefix));
        }
        query.extend(after.map(|after| ("marker", after)));
        let query = query.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let page: BlobPage = read_xml(&self.ask(Ask::get(&Path::default(), query)).await?.body)?;
        Ok(page.into())
    }

    /// Makes a blob of blocks; with `create_only` not if a blob has the name.
    pub(super) async fn commit(
        &self,
        path: &Path,
        id: &str,
        parts: &[StoredPart],
        create_only: bool,
    ) -> Result<Completed> {
        let mut headers = headers(&read_upload(id)?.metadata);
        if create_only {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        let blocks = parts.iter().map(|part| part.reference.clone().unwrap_or_default()).collect();
        let body = quick_xml::se::to_string(&Commitment { blocks }).map_err(unreadable)?;
        let query = vec![("comp".to_owned(), "blocklist".to_owned())];
        let answered = self.ask(Ask { method: Method::PUT, path, query, headers, body: body.into() }).await?;
        let etag = answered.headers.get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        Ok(Completed { etag: etag.to_owned(), crc64: None })
    }

    /// Deletes that very version of a blob.
    pub(super) async fn delete_blob(&self, path: &Path, etag: &str) -> Result<()> {
        let etag = HeaderValue::from_str(&format!("\"{etag}\"")).map_err(unreadable)?;
        let headers = HeaderMap::from_iter([(IF_MATCH, etag)]);
        let ask = Ask { method: Method::DELETE, path, query: Vec::new(), headers, body: Bytes::new() };
        self.ask(ask).await.map(drop)
    }
}

impl From<BlobPage> for Page {
    fn from(page: BlobPage) -> Self {
        let blobs = page.blobs.blobs.into_iter();
        let objects = blobs.filter(|blob| blob.properties.kind.as_deref() != Some("directory")).map(|blob| Entry {
            key: if blob.name.is_encoded { decoded(&blob.name.text) } else { blob.name.text },
            size: blob.properties.size,
            etag: blob.properties.etag,
            modified: blob
                .properties
                .modified
                .as_deref()
                .and_then(|text| rfc2822::parse(text).ok())
                .map(|time| time.timestamp()),
        });
        Self { objects: objects.collect(), next: page.next.filter(|next| !next.is_empty()) }
    }
}

/// Azure compares it with what came, and answers with what it computed itself.
fn add_checksum(headers: &mut HeaderMap, bytes: &Bytes) -> Result<()> {
    let crc64 = digests::to_base64(&digests::crc64(bytes).to_le_bytes());
    let crc64 = HeaderValue::from_str(&crc64).map_err(unreadable)?;
    headers.insert(HeaderName::from_static("x-ms-content-crc64"), crc64);
    Ok(())
}

/// What travels with a blob. Azure names metadata as C# names variables: other names are left out, and so are values
/// that no header can hold. The record keeps them.
fn headers(metadata: &Metadata) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in metadata {
        let name = match name.as_str() {
            "content-type" | "content-encoding" | "content-language" | "content-disposition" | "cache-control" => {
                format!("x-ms-blob-{name}")
            }
            _ if is_identifier(name) => format!("x-ms-meta-{name}"),
            _ => continue,
        };
        let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let value = HeaderValue::from_str(value.trim()).ok().filter(|_| printable);
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
            headers.insert(name, value);
        }
    }
    headers
}

fn is_identifier(name: &str) -> bool {
    let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_named_travels_with_a_blob() {
        let metadata = [
            ("content-type", "application/gzip"),
            ("engine", "mariadb"),
            ("backup-kind", "full"),
            ("2nd", "no"),
            ("name", "größer"),
        ];
        let metadata: Metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let headers = headers(&metadata);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x-ms-blob-content-type", "x-ms-meta-engine"]);
        let upload = read_upload(&new_upload("t", &metadata)).expect("readable");
        assert_eq!((&*upload.blocks, upload.metadata), ("t", metadata));
    }

    #[test]
    fn pages_are_read_without_folders_and_with_odd_names() {
        let page = "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"http://h/\" ContainerName=\"c\">
            <Prefix>a</Prefix><Blobs><Blob><Name>a b</Name><Properties><Last-Modified>Tue, 24 Nov 2026 18:00:00 GMT</Last-Modified>
            <Etag>0x8D</Etag><Content-Length>5</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>
            <Blob><Name Encoded=\"true\">a%0Bc+</Name><Properties><Content-Length>6</Content-Length></Properties></Blob>
            <Blob><Name>ab</Name><Properties><Content-Length>0</Content-Length><ResourceType>directory</ResourceType>
            </Properties></Blob></Blobs><NextMarker/></EnumerationResults>";
        let page = Page::from(read_xml::<BlobPage>(page).expect("readable"));
        let objects: Vec<_> =
            page.objects.iter().map(|entry| (&*entry.key, entry.size, entry.etag.as_deref())).collect();
        assert_eq!(objects, [("a b", 5, Some("0x8D")), ("a\u{b}c+", 6, None)]);
        assert_eq!(page.objects[0].modified.map(|time| time.to_string()).as_deref(), Some("2026-11-24T18:00:00Z"));
        assert_eq!(page.next, None);
    }

    #[test]
    fn block_lists_are_read_and_written_as_documented() {
        let list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><CommittedBlocks/><UncommittedBlocks>
            <Block><Name>QQ==</Name><Size>5</Size></Block></UncommittedBlocks></BlockList>";
        let list: BlockList = read_xml(list).expect("readable");
        assert!(list.committed.blocks.is_empty());
        assert_eq!((&*list.uncommitted.blocks[0].name, list.uncommitted.blocks[0].size), ("QQ==", 5));
        let text = quick_xml::se::to_string(&Commitment { blocks: vec!["QQ==".into(), "QUE=".into()] }).expect("XML");
        assert_eq!(text, "<BlockList><Uncommitted>QQ==</Uncommitted><Uncommitted>QUE=</Uncommitted></BlockList>");
    }
}
