//! The S3 server of the tests does what S3 does, and every fault does what it says.

#[path = "support/s3/mod.rs"]
mod s3;

#[path = "s3_server/faults.rs"]
mod faults;
#[path = "s3_server/operations.rs"]
mod operations;

use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer as _};
use object_store::{ClientOptions, RetryConfig};
use reqwest::Method;
use s3::{Options, S3Server};

/// A server, and a client of its bucket that tries once.
struct Bed {
    server: S3Server,
    client: AmazonS3,
    http: reqwest::Client,
}

fn builder(server: &S3Server) -> AmazonS3Builder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    AmazonS3Builder::new()
        .with_endpoint(server.endpoint())
        .with_bucket_name("backups")
        .with_region("eu-1")
        .with_access_key_id(server.access_key_id())
        .with_secret_access_key(server.secret_access_key())
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(retry)
}

impl Bed {
    fn new() -> Self {
        Self::with(Options { part_size_min: 1 << 10, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let server = S3Server::start(options);
        let client = builder(&server).build().expect("a client");
        Self { server, client, http: reqwest::Client::new() }
    }

    /// A presigned request, before it is sent.
    async fn request(&self, method: Method, key: &str, query: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = SignedUrlOptions::new().with_query(query);
        let key = Path::parse(key).expect("a key");
        let url = self.client.signed_url_opts(method.clone(), &key, Duration::from_mins(1), &options).await;
        self.http.request(method, url.expect("a URL"))
    }

    async fn get(&self, key: &str) -> reqwest::Result<reqwest::Response> {
        self.request(Method::GET, key, &[]).await.send().await
    }
}

/// Bytes that differ from place to place.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    s3::Content::from(s3::Made::new(length as u64, seed)).bytes().to_vec()
}

/// What lies between `<name>` and `</name>`.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.replace("&quot;", "\""))
}
