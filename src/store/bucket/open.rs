//! Makes the clients of a bucket. Contacts nothing: whether the bucket can be reached is seen by the first request.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder, split_sas};
use object_store::client::{HttpClient, StaticCredentialProvider};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientOptions, RetryConfig};
use reqwest::Url;
use tokio::sync::OnceCell;

use super::azure::Azure;
use super::{BucketStore, Cloud, Gcs, Inner};
use crate::http::{Connector, Patience, client};
use crate::store::{StoreError, StoreErrorKind};
use crate::throttle::Throttle;

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

/// What a bucket of GCS is opened with besides.
#[derive(Debug, Clone)]
pub struct GcsOptions {
    /// The bucket's name.
    pub bucket: String,
    /// A file with a service account's key; none means the cloud's own chain of credentials.
    pub service_account_file: Option<PathBuf>,
}

/// What a container of Azure is opened with besides.
#[derive(Debug, Clone)]
pub struct AzureOptions {
    /// The storage account.
    pub account: String,
    /// The container's name.
    pub container: String,
    /// None means the cloud's own chain of credentials.
    pub key: Option<AzureKey>,
}

/// What lets requests to an Azure account in.
#[derive(Clone)]
pub enum AzureKey {
    /// The account's key, in base64.
    Account(String),
    /// A shared access signature, as a query.
    Sas(String),
}

impl fmt::Debug for AzureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AzureKey(…)")
    }
}

/// The variables of the environment that hold credentials, or say where they are. No other variable has a say: what
/// it named (an endpoint, a bucket) would not be what the plan and the copies' ids name.
const GCS_CHAIN: [GoogleConfigKey; 3] =
    [GoogleConfigKey::ServiceAccount, GoogleConfigKey::ServiceAccountKey, GoogleConfigKey::ApplicationCredentials];

/// As [`GCS_CHAIN`].
const AZURE_CHAIN: [AzureConfigKey; 11] = [
    AzureConfigKey::AccessKey,
    AzureConfigKey::SasKey,
    AzureConfigKey::ClientId,
    AzureConfigKey::ClientSecret,
    AzureConfigKey::AuthorityId,
    AzureConfigKey::AuthorityHost,
    AzureConfigKey::FederatedTokenFile,
    AzureConfigKey::UseAzureCli,
    AzureConfigKey::MsiEndpoint,
    AzureConfigKey::ObjectId,
    AzureConfigKey::MsiResourceId,
];

impl BucketStore {
    /// A bucket of GCS. Over `http://` the cloud's own chain of credentials is not asked: its tokens open more than
    /// this bucket. Without a service account's file requests are not signed there.
    ///
    /// # Errors
    /// As [`BucketStore::s3`], and a file of credentials that cannot be read.
    pub fn gcs(options: &BucketOptions, gcs: &GcsOptions, throttle: &Throttle) -> Result<Self, StoreError> {
        let connector = connector(options, throttle)?;
        let endpoint = options.endpoint.as_deref().unwrap_or("https://storage.googleapis.com");
        let builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&gcs.bucket)
            .with_base_url(endpoint)
            .with_retry(no_retries())
            .with_client_options(plain_http())
            .with_http_connector(connector.clone());
        let signed = gcs.service_account_file.is_some() || endpoint.starts_with("https://");
        let builder = if let Some(file) = &gcs.service_account_file {
            builder.with_service_account_path(file.to_string_lossy())
        } else if signed {
            let environment = GoogleCloudStorageBuilder::from_env();
            let set = GCS_CHAIN.into_iter().filter_map(|key| Some((key, environment.get_config_value(&key)?)));
            set.fold(builder, |builder, (key, value)| builder.with_config(key, value))
        } else {
            let nobody = StaticCredentialProvider::new(GcpCredential { bearer: String::new() });
            builder.with_skip_signature(true).with_credentials(Arc::new(nobody))
        };
        let client = builder.build().map_err(|error| refused(options, &error))?;
        let credentials = signed.then(|| Arc::clone(client.credentials()));
        let cloud = Cloud::Gcs(Box::new(Gcs { client, credentials, url: url(options, endpoint, &[&gcs.bucket])? }));
        Ok(Self::of(options, cloud, connector, throttle))
    }

    /// A container of Azure Blob Storage. Where the endpoint's host does not begin with the account's name, the name
    /// is the first folder of every URL. As for [`BucketStore::gcs`], over `http://` only the plan's own keys are used.
    ///
    /// # Errors
    /// As [`BucketStore::s3`], and a key that is none.
    pub fn azure(options: &BucketOptions, azure: &AzureOptions, throttle: &Throttle) -> Result<Self, StoreError> {
        let connector = connector(options, throttle)?;
        let AzureOptions { account, container, key } = azure;
        let public = || format!("https://{account}.blob.core.windows.net");
        let endpoint = options.endpoint.clone().unwrap_or_else(public);
        let in_host = endpoint.split_once("://").is_some_and(|(_, host)| host.starts_with(&format!("{account}.")));
        let endpoint = if in_host { endpoint } else { format!("{endpoint}/{account}") };
        let signed = key.is_some() || endpoint.starts_with("https://");
        let builder = MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name(container)
            .with_endpoint(endpoint.clone())
            .with_retry(no_retries())
            .with_client_options(plain_http())
            .with_http_connector(connector.clone());
        let builder = match key {
            Some(AzureKey::Account(key)) => builder.with_access_key(key),
            Some(AzureKey::Sas(sas)) => {
                builder.with_sas_authorization(split_sas(sas).map_err(|error| refused(options, &error))?)
            }
            None if signed => {
                let environment = MicrosoftAzureBuilder::from_env();
                let set = AZURE_CHAIN.into_iter().filter_map(|key| Some((key, environment.get_config_value(&key)?)));
                set.fold(builder, |builder, (key, value)| builder.with_config(key, value))
            }
            None => builder.with_skip_signature(true),
        };
        let client = builder.build().map_err(|error| refused(options, &error))?;
        let credentials = signed.then(|| Arc::clone(client.credentials()));
        let url = url(options, &endpoint, &[container])?;
        let cloud = Cloud::Azure(Box::new(Azure { client, credentials, account: account.clone(), url }));
        Ok(Self::of(options, cloud, connector, throttle))
    }

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
        // GCS knows neither: it shows its own checksums unasked, and completing an upload replaces.
        let gcs = matches!(cloud, Cloud::Gcs(_));
        let inner = Inner {
            cloud,
            http: HttpClient::new(connector),
            patience: Patience::new(throttle.gate()),
            prefix: options.prefix.clone(),
            identity: options.identity.clone(),
            create_only: OnceCell::new(),
            without_checksums: AtomicBool::new(gcs),
            without_conditions: AtomicBool::new(gcs),
        };
        Self { inner: Arc::new(inner) }
    }
}

fn s3_builder(options: &BucketOptions, s3: &S3Options, connector: Connector) -> AmazonS3Builder {
    let mut builder = if s3.keys.is_none() { credentials_of_environment() } else { AmazonS3Builder::new() }
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

/// What the environment says of credentials: keys, a role's token, a container's service; without any of it the machine's
/// own metadata service is asked. What it says of anything else (endpoint, bucket) is left aside: the plan decides where
/// bytes go.
fn credentials_of_environment() -> AmazonS3Builder {
    use AmazonS3ConfigKey as Name;
    let wanted = |name: &Name| {
        matches!(
            name,
            Name::AccessKeyId
                | Name::SecretAccessKey
                | Name::Token
                | Name::WebIdentityTokenFile
                | Name::RoleArn
                | Name::RoleSessionName
                | Name::StsEndpoint
                | Name::ContainerCredentialsRelativeUri
                | Name::ContainerCredentialsFullUri
                | Name::ContainerAuthorizationTokenFile
                | Name::MetadataEndpoint
                | Name::ImdsV1Fallback
        )
    };
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str().filter(|name| name.starts_with("AWS_"))?.to_ascii_lowercase();
        Some((name.parse::<Name>().ok().filter(wanted)?, value.into_string().ok()?))
    });
    variables.fold(AmazonS3Builder::new(), |builder, (name, value)| builder.with_config(name, value))
}

fn with_bucket(endpoint: &str, bucket: &str) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) => format!("{scheme}://{bucket}.{host}"),
        None => endpoint.to_owned(),
    }
}

/// A URL of which the last folders are not part of an endpoint.
fn url(options: &BucketOptions, endpoint: &str, folders: &[&str]) -> Result<Url, StoreError> {
    let mut url: Url = endpoint.parse().map_err(|error| {
        StoreError::new(StoreErrorKind::Refused, format!("cannot open `{}`: `endpoint`: {error}", options.identity))
    })?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(folders);
    }
    Ok(url)
}

fn connector(options: &BucketOptions, throttle: &Throttle) -> Result<Connector, StoreError> {
    let client = client(options.ca.as_deref(), true).map_err(|error| {
        let message = format!("cannot open `{}`: {error}", options.identity);
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
