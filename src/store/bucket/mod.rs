//! The stores `s3`, `gcs` and `azure`: buckets that are reached over HTTP.
//!
//! `object_store` makes and signs the requests, through its concrete types: only these have the part numbers that a
//! copy needs to go on after a crash. Its own retries are off. What it does not ask for (lists of uploads and parts,
//! completion that never overwrites, all writing to Azure) are requests of our own, with its credentials. All of them
//! pass one connector.

mod ask;
mod assembled;
mod azure;
mod digests;
mod error;
mod listing;
mod open;
mod probe;
mod puts;
mod requests;
mod source;
mod target;
mod uploads;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use object_store::client::HttpClient;
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorage};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use reqwest::Url;
use tokio::sync::OnceCell;

pub use self::open::{AzureKey, AzureOptions, BucketOptions, GcsOptions, S3Options};

use self::azure::Azure;
use super::attempt::Attempt;
use super::{StoreError, StoreErrorKind};
use crate::http::{Done, Patience};
use crate::id::Key;

/// A bucket, or what lies in it under a prefix. Clones share the connections and what was learned of the store.
#[derive(Clone)]
pub struct BucketStore {
    inner: Arc<Inner>,
}

struct Inner {
    cloud: Cloud,
    /// For requests of our own.
    http: HttpClient,
    patience: Patience,
    /// What all keys start with; empty, or with `/` at its end.
    prefix: String,
    identity: String,
    /// Whether the store keeps `If-None-Match: *` of a plain PUT; asked at the first write.
    create_only: OnceCell<bool>,
    /// Set once the store has refused a checksum that it does not know.
    without_checksums: AtomicBool,
    /// Set once the store has refused a condition on completing an upload.
    without_conditions: AtomicBool,
}

/// The kinds of clouds, each with its clients.
enum Cloud {
    /// Amazon S3, and what speaks its protocol.
    S3 {
        /// Asks for checksums with every answer.
        reader: Box<AmazonS3>,
        /// Sends a CRC-64/NVME with every part.
        writer: Box<AmazonS3>,
        /// Sends none: for stores that refuse it.
        plain: Box<AmazonS3>,
    },
    /// Google Cloud Storage, by the XML protocol that it shares with S3.
    Gcs(Box<Gcs>),
    /// Azure Blob Storage.
    Azure(Box<Azure>),
}

/// A bucket of Google Cloud Storage, as it is reached.
struct Gcs {
    client: GoogleCloudStorage,
    /// For requests of our own; none where they are not signed.
    credentials: Option<GcpCredentialProvider>,
    /// The bucket's.
    url: Url,
}

impl BucketStore {
    /// As [`Store::identity`](super::Store::identity).
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.inner.identity
    }

    /// Whether one of two buckets lies in the other: the same bucket, and one prefix that starts with the other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        crate::address::overlap(self.identity(), other.identity())
    }

    /// A bucket has no end that it would tell of.
    #[expect(clippy::unused_async, reason = "as the other stores have it")]
    pub async fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    fn path(&self, doing: &'static str, key: &Key) -> Result<Path, StoreError> {
        let full = format!("{}{key}", self.inner.prefix);
        Path::parse(&full).map_err(|error| {
            let message = format!("cannot {doing} `{key}` in {}: {error}", self.inner.identity);
            StoreError::new(StoreErrorKind::Refused, message).hint("rename the object; no request can be made for it")
        })
    }

    /// Makes one request until it succeeds, is refused, or has failed often enough.
    async fn call<T, F, C>(&self, attempt: Attempt<'_>, call: C) -> Result<Done<T>, StoreError>
    where
        F: Future<Output = Result<T, object_store::Error>>,
        C: FnMut() -> F,
    {
        self.inner.patience.call(call).await.map_err(|gave_up| attempt.failed(&gave_up))
    }

    fn attempt<'a>(&'a self, doing: &'static str, name: &'a str) -> Attempt<'a> {
        Attempt { store: &self.inner.identity, doing, name }
    }
}

impl Cloud {
    fn reader(&self) -> &dyn ObjectStore {
        match self {
            Self::S3 { reader, .. } => &**reader,
            Self::Gcs(gcs) => &gcs.client,
            Self::Azure(azure) => &azure.client,
        }
    }

    fn writer(&self, checksums: bool) -> &dyn ObjectStore {
        match self {
            Self::S3 { writer, .. } if checksums => &**writer,
            Self::S3 { plain, .. } => &**plain,
            Self::Gcs(gcs) => &gcs.client,
            Self::Azure(azure) => &azure.client,
        }
    }

    /// None where an upload in parts is another thing than what the library makes of it.
    fn uploader(&self, checksums: bool) -> Option<&dyn MultipartStore> {
        match self {
            Self::S3 { writer, .. } if checksums => Some(&**writer),
            Self::S3 { plain, .. } => Some(&**plain),
            Self::Gcs(gcs) => Some(&gcs.client),
            Self::Azure(_) => None,
        }
    }
}

impl fmt::Debug for BucketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketStore({})", self.inner.identity)
    }
}
