//! Makes the clients of a bucket. Contacts nothing: whether the bucket can be reached is seen by the first request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use object_store::aws::{AmazonS3Builder, Checksum};
use object_store::client::HttpClient;
use object_store::{ClientOptions, RetryConfig};
use tokio::sync::OnceCell;

use super::{BucketStore, Cloud, Inner};
use crate::store::http::{Connector, Patience, client};
use crate::store::{StoreError, StoreErrorKind, Throttle};

/// What every bucket is opened with; all references are resolved.
#[derive(Debug, Clone)]
pub struct BucketOptions {
    /// What the store is, for errors and as [`Store::identity`](crate::store::Store::identity).
    pub identity: String,
    /// What all keys start with; empty, or with `/` at its end.
    pub prefix: String,
    /// Scheme, host and port; none means the cloud's own.
    pub endpoint: Option<String>,
    /// Certificates (PEM) that are trusted besides the system's.
    pub ca: Option<Vec<u8>>,
    /// A request without a byte in either direction for so long is given up.
    pub stall: Duration,
}

/// What a bucket of S3 is opened with besides.
#[derive(Clone)]
pub struct S3Options {
    /// The bucket's name.
    pub bucket: String,
    /// None means the environment's, else `us-east-1`.
    pub region: Option<String>,
    /// Key id, secret and token; none means the cloud's own chain of credentials.
    pub keys: Option<(String, String, Option<String>)>,
    /// Whether the bucket's name is part of the host's.
    pub virtual_hosts: bool,
}

impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options").field("bucket", &self.bucket).field("region", &self.region).finish_non_exhaustive()
    }
}

impl BucketStore {
    /// A bucket of S3.
    ///
    /// # Errors
    /// [`StoreError`] of kind `Refused`: options that do not go together, or certificates that cannot be read.
    pub fn s3(options: &BucketOptions, s3: &S3Options, throttle: &Throttle) -> Result<Self, StoreError> {
        let connector = connector(options, throttle)?;
        let builder = s3_builder(options, s3, connector.clone());
        let refused = |error: object_store::Error| refused(options, &error);
        // Stores show the checksums that they keep only to those who ask (AWS, GetObject).
        let mut asking = HeaderMap::new();
        asking.insert(HeaderName::from_static("x-amz-checksum-mode"), HeaderValue::from_static("ENABLED"));
        let reader = builder.clone().with_client_options(plain_http().with_default_headers(asking));
        let writer = builder.clone().with_checksum_algorithm(Checksum::CRC64NVME);
        let build = |builder: AmazonS3Builder| builder.build().map(Box::new).map_err(refused);
        let cloud = Cloud::S3 { reader: build(reader)?, writer: build(writer)?, plain: build(builder)? };
        Ok(Self::of(options, cloud, connector, throttle))
    }

    fn of(options: &BucketOptions, cloud: Cloud, connector: Connector, throttle: &Throttle) -> Self {
        let inner = Inner {
            cloud,
            http: HttpClient::new(connector),
            patience: Patience::new(throttle.gate()),
            prefix: options.prefix.clone(),
            identity: options.identity.clone(),
            create_only: OnceCell::new(),
            without_checksums: AtomicBool::new(false),
            without_conditions: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }
}

fn s3_builder(options: &BucketOptions, s3: &S3Options, connector: Connector) -> AmazonS3Builder {
    // From the environment come the chain's own variables; what the plan says wins.
    let environment = if s3.keys.is_none() { AmazonS3Builder::from_env() } else { AmazonS3Builder::new() };
    let mut builder = environment
        .with_bucket_name(&s3.bucket)
        .with_retry(no_retries())
        .with_client_options(plain_http())
        .with_allow_http(true)
        // Each part carries a checksum; a second hash of it for the signature would cost as much as all else.
        .with_unsigned_payload(true)
        .with_virtual_hosted_style_request(s3.virtual_hosts)
        .with_http_connector(connector);
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some((id, secret, token)) = &s3.keys {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
        if let Some(token) = token {
            builder = builder.with_token(token);
        }
    }
    match &options.endpoint {
        // The library wants the bucket in the endpoint of virtual hosts.
        Some(endpoint) if s3.virtual_hosts => builder.with_endpoint(with_bucket(endpoint, &s3.bucket)),
        Some(endpoint) => builder.with_endpoint(endpoint),
        None => builder,
    }
}

fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

fn connector(options: &BucketOptions, throttle: &Throttle) -> Result<Connector, StoreError> {
    let client = client(options.ca.as_deref()).map_err(|error| {
        let message = format!("cannot open `{}`: {}", options.identity, error.message);
        StoreError::new(StoreErrorKind::Refused, message).hint("check `ca_file` and the system's certificates")
    })?;
    Ok(Connector::new(client, throttle.clone(), options.stall))
}

fn refused(options: &BucketOptions, error: &object_store::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Refused, format!("cannot open `{}`: {error}", options.identity))
}

/// Whether `http://` is allowed was decided where the plan was read.
fn plain_http() -> ClientOptions {
    ClientOptions::new().with_allow_http(true)
}

/// Ours sit around each part and each ranged read.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}
