//! Requests of our own, for what `object_store` does not ask: each cloud lets them in by the same credentials.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method};
use object_store::azure::AzureAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;

use super::{BucketStore, Cloud};

/// How long a presigned request may be used; it is sent at once.
const VALID: Duration = Duration::from_mins(5);

/// Of Azure's protocol, in requests that are not signed; the library writes it into the others.
const AZURE_VERSION: &str = "2023-11-03";

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Empty for the bucket itself.
    pub(super) path: &'a Path,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a Path, query: Vec<(String, String)>) -> Self {
        Self { method: Method::GET, path, query, headers: HeaderMap::new(), body: Bytes::new() }
    }
}

/// What came back with a status of success.
pub(super) struct Answered {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

pub(super) type Result<T> = std::result::Result<T, object_store::Error>;

impl BucketStore {
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Answered> {
        let mut request = HttpRequest::new(HttpRequestBody::from(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.headers_mut() = ask.headers;
        if !ask.body.is_empty() || ask.method == Method::PUT {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(ask.body.len()));
        }
        self.inner.cloud.address(&mut request, ask.path, ask.query).await?;
        let response = self.inner.http.execute(request).await.map_err(unreadable)?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = response.into_body().bytes().await.map_err(unreadable)?;
        let body = String::from_utf8(body.into()).map_err(unreadable)?;
        if status.is_success() { Ok(Answered { headers, body }) } else { Err(unreadable(format!("status {status}"))) }
    }
}

impl Cloud {
    /// Gives a request its URL, and what lets it in; its headers are all there.
    async fn address(&self, request: &mut HttpRequest, path: &Path, query: Vec<(String, String)>) -> Result<()> {
        let url = match self {
            Self::S3 { plain, .. } => {
                let options = SignedUrlOptions::default().with_query(query);
                plain.signed_url_opts(request.method().clone(), path, VALID, &options).await?
            }
            Self::Gcs(gcs) => {
                // Not presigned: most of its credentials cannot sign without asking another service.
                if let Some(credentials) = &gcs.credentials {
                    bear(request, &credentials.get_credential().await?.bearer)?;
                }
                address(&gcs.url, path, &query)
            }
            Self::Azure(azure) => address(&azure.url, path, &query),
        };
        *request.uri_mut() = url.as_str().parse().map_err(unreadable)?;
        if let Self::Azure(azure) = self {
            let credential = match &azure.credentials {
                Some(credentials) => Some(credentials.get_credential().await?),
                None => None,
            };
            azure.authorize(request, credential.as_deref())?;
        }
        Ok(())
    }
}

impl super::azure::Azure {
    fn authorize(
        &self,
        request: &mut HttpRequest,
        credential: Option<&object_store::azure::AzureCredential>,
    ) -> Result<()> {
        if let Some(credential) = credential {
            return AzureAuthorizer::new(credential, &self.account).try_authorize(request);
        }
        request.headers_mut().insert("x-ms-version", HeaderValue::from_static(AZURE_VERSION));
        Ok(())
    }
}

/// A service account that says so has no token, and then there is no header.
fn bear(request: &mut HttpRequest, token: &str) -> Result<()> {
    if !token.is_empty() {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(unreadable)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(())
}

/// The URL of an object, or of the bucket whose URL is `base`.
fn address(base: &Url, path: &Path, query: &[(String, String)]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(path.parts());
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
        // A space as `+` is for forms; a literal plus is `%2B` by now.
        let text = url.query().unwrap_or_default().replace('+', "%20");
        url.set_query(Some(&text));
    }
    url
}

/// What the store said in words of its own is in the [`Answer`](crate::http::Answer).
pub(super) fn unreadable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic { store: "bucket", source: error.into() }
}

pub(super) fn read_xml<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T> {
    quick_xml::de::from_str(text).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::client::StaticCredentialProvider;
    use object_store::gcp::{GcpCredentialProvider, GcpSigningCredential, GoogleCloudStorageBuilder};

    use super::*;
    use crate::http::{Connector, client};
    use crate::store::bucket::Gcs;
    use crate::throttle::Throttle;

    #[tokio::test]
    async fn requests_to_gcs_bear_a_token_that_no_log_shows() {
        let token = object_store::gcp::GcpCredential { bearer: "hunter2".to_owned() };
        let credentials: GcpCredentialProvider = Arc::new(StaticCredentialProvider::new(token));
        let connector = Connector::new(client(None, true).expect("a client"), Throttle::unlimited(), VALID);
        let client = GoogleCloudStorageBuilder::new()
            .with_bucket_name("pail")
            .with_credentials(Arc::clone(&credentials))
            .with_signing_credentials(Arc::new(StaticCredentialProvider::new(GcpSigningCredential {
                email: String::new(),
                private_key: None,
            })))
            .with_http_connector(connector)
            .build()
            .expect("options that go together");
        let url = "https://storage.googleapis.com/pail".parse().expect("a URL");
        let cloud = Cloud::Gcs(Box::new(Gcs { client, credentials: Some(credentials), url }));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        cloud.address(&mut request, &Path::from("a"), Vec::new()).await.expect("addressed");
        assert_eq!(request.uri(), "https://storage.googleapis.com/pail/a");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer hunter2");
        assert!(!format!("{:?}", request.headers()).contains("hunter2"));
    }

    #[test]
    fn a_url_holds_any_key_and_any_query() {
        let base: Url = "http://127.0.0.1:4443/pail".parse().expect("a URL");
        let path = Path::parse("a b/ä%+?.gz").expect("a path");
        let query = [("prefix".to_owned(), "a b+ä/".to_owned()), ("uploads".to_owned(), String::new())];
        assert_eq!(
            address(&base, &path, &query).as_str(),
            "http://127.0.0.1:4443/pail/a%20b/%C3%A4%25+%3F.gz?prefix=a%20b%2B%C3%A4%2F&uploads="
        );
        assert_eq!(address(&base, &Path::default(), &[]).as_str(), "http://127.0.0.1:4443/pail");
    }
}
