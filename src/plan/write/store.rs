//! Stores as they are written: in plans, and in the `runs` table.

use serde::{Deserialize, Serialize};

use crate::plan::unit::{UnitError, format_bytes, format_duration, parse_bytes, parse_duration};
use crate::plan::{
    Addressing, AzureSpec, BadReference, CloudSpec, GcsSpec, HttpSpec, Reference, S3Spec, SEGMENT_SIZE, STALL_TIMEOUT,
    StoreSpec, SwiftAccount, SwiftLogin, SwiftSpec, TenantAccess,
};

/// A store, by its type; references unexpanded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum WrittenStore {
    /// A folder.
    File {
        /// As [`StoreSpec::File`].
        path: String,
        /// As [`StoreSpec::File`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
    },
    /// A bucket of S3.
    S3(WrittenS3),
    /// A bucket of GCS.
    Gcs(WrittenGcs),
    /// A container of Azure.
    Azure(WrittenAzure),
    /// Accounts of a Swift.
    Swift(WrittenSwift),
}

/// As [`S3Spec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenS3 {
    /// As [`S3Spec::bucket`].
    pub bucket: String,
    /// As [`S3Spec::prefix`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// As [`S3Spec::region`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// As [`S3Spec::access_key_id`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// A reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<String>,
    /// A reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
    /// `path` or `virtual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<String>,
    /// How it is reached.
    #[serde(flatten)]
    pub http: WrittenHttp,
}

/// As [`GcsSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenGcs {
    /// As [`GcsSpec::bucket`].
    pub bucket: String,
    /// As [`GcsSpec::prefix`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// As [`GcsSpec::service_account_file`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_file: Option<String>,
    /// How it is reached.
    #[serde(flatten)]
    pub http: WrittenHttp,
}

/// As [`AzureSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenAzure {
    /// As [`AzureSpec::account`].
    pub account: String,
    /// As [`AzureSpec::container`].
    pub container: String,
    /// As [`AzureSpec::prefix`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<String>,
    /// A reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sas_token: Option<String>,
    /// How it is reached.
    #[serde(flatten)]
    pub http: WrittenHttp,
}

/// As [`SwiftSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenSwift {
    /// How to get in.
    #[serde(flatten)]
    pub cloud: WrittenCloud,
    /// `v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// Only with `v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_url: Option<String>,
    /// As above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// As above; a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `per-tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// `each-project` or `reseller`, with `per-tenant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
    /// As [`SwiftSpec::container`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// As [`SwiftSpec::storage_policy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_policy: Option<String>,
    /// With unit; left out where it is [`SEGMENT_SIZE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_size: Option<String>,
    /// How it is reached.
    #[serde(flatten)]
    pub http: WrittenHttp,
}

/// As [`CloudSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenCloud {
    /// As [`CloudSpec::cloud`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<String>,
    /// As [`CloudSpec::region`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// As [`HttpSpec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenHttp {
    /// As [`HttpSpec::endpoint`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// As [`HttpSpec::ca_file`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Left out where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// With unit; left out where it is [`STALL_TIMEOUT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// As [`HttpSpec::identity`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// A store that was written down and cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BadStore {
    /// One of its texts.
    #[error(transparent)]
    Reference(#[from] BadReference),
    /// Its time.
    #[error("`{0}` {1}")]
    Timeout(String, UnitError),
    /// Its size.
    #[error("`{0}` {1}")]
    Size(String, UnitError),
}

impl WrittenStore {
    /// The store as it would be written.
    #[must_use]
    pub fn of(store: &StoreSpec) -> Self {
        match store {
            StoreSpec::File { path, identity } => Self::File { path: path.to_string(), identity: identity.clone() },
            StoreSpec::S3(s3) => Self::S3(WrittenS3 {
                bucket: s3.bucket.to_string(),
                prefix: text(s3.prefix.as_ref()),
                region: text(s3.region.as_ref()),
                access_key_id: text(s3.access_key_id.as_ref()),
                secret_access_key: text(s3.secret_access_key.as_ref()),
                session_token: text(s3.session_token.as_ref()),
                addressing: match s3.addressing {
                    Addressing::Auto => None,
                    Addressing::Path => Some("path".to_owned()),
                    Addressing::Virtual => Some("virtual".to_owned()),
                },
                http: WrittenHttp::of(&s3.http),
            }),
            StoreSpec::Gcs(gcs) => Self::Gcs(WrittenGcs {
                bucket: gcs.bucket.to_string(),
                prefix: text(gcs.prefix.as_ref()),
                service_account_file: text(gcs.service_account_file.as_ref()),
                http: WrittenHttp::of(&gcs.http),
            }),
            StoreSpec::Azure(azure) => Self::Azure(WrittenAzure {
                account: azure.account.to_string(),
                container: azure.container.to_string(),
                prefix: text(azure.prefix.as_ref()),
                access_key: text(azure.access_key.as_ref()),
                sas_token: text(azure.sas_token.as_ref()),
                http: WrittenHttp::of(&azure.http),
            }),
            StoreSpec::Swift(swift) => Self::Swift(WrittenSwift::of(swift)),
        }
    }

    /// The store as meant; nothing of it is checked but what it takes to read it.
    ///
    /// # Errors
    /// [`BadStore`].
    pub fn to_spec(&self) -> Result<StoreSpec, BadStore> {
        Ok(match self {
            Self::File { path, identity } => StoreSpec::File { path: path.parse()?, identity: identity.clone() },
            Self::S3(s3) => StoreSpec::S3(S3Spec {
                bucket: s3.bucket.parse()?,
                prefix: reference(s3.prefix.as_ref())?,
                region: reference(s3.region.as_ref())?,
                access_key_id: reference(s3.access_key_id.as_ref())?,
                secret_access_key: reference(s3.secret_access_key.as_ref())?,
                session_token: reference(s3.session_token.as_ref())?,
                addressing: match s3.addressing.as_deref() {
                    Some("path") => Addressing::Path,
                    Some("virtual") => Addressing::Virtual,
                    _ => Addressing::Auto,
                },
                http: s3.http.to_spec()?,
            }),
            Self::Gcs(gcs) => StoreSpec::Gcs(GcsSpec {
                bucket: gcs.bucket.parse()?,
                prefix: reference(gcs.prefix.as_ref())?,
                service_account_file: reference(gcs.service_account_file.as_ref())?,
                http: gcs.http.to_spec()?,
            }),
            Self::Azure(azure) => StoreSpec::Azure(AzureSpec {
                account: azure.account.parse()?,
                container: azure.container.parse()?,
                prefix: reference(azure.prefix.as_ref())?,
                access_key: reference(azure.access_key.as_ref())?,
                sas_token: reference(azure.sas_token.as_ref())?,
                http: azure.http.to_spec()?,
            }),
            Self::Swift(swift) => StoreSpec::Swift(swift.to_spec()?),
        })
    }
}

impl WrittenSwift {
    fn of(swift: &SwiftSpec) -> Self {
        let mut written = Self {
            container: text(swift.container.as_ref()),
            storage_policy: text(swift.storage_policy.as_ref()),
            segment_size: (swift.segment_size != SEGMENT_SIZE).then(|| format_bytes(swift.segment_size)),
            http: WrittenHttp::of(&swift.http),
            ..Self::default()
        };
        match &swift.login {
            SwiftLogin::Keystone(cloud) => written.cloud = WrittenCloud::of(cloud),
            SwiftLogin::V1 { auth_url, user, key } => {
                written.auth = Some("v1".to_owned());
                written.auth_url = Some(auth_url.to_string());
                written.user = Some(user.to_string());
                written.key = Some(key.to_string());
            }
        }
        if let SwiftAccount::PerTenant(access) = swift.account {
            written.account = Some("per-tenant".to_owned());
            written.access = Some(match access {
                TenantAccess::Reseller => "reseller".to_owned(),
                TenantAccess::EachProject => "each-project".to_owned(),
            });
        }
        written
    }

    fn to_spec(&self) -> Result<SwiftSpec, BadStore> {
        let login = match (&self.auth_url, &self.user, &self.key) {
            (Some(auth_url), Some(user), Some(key)) => {
                SwiftLogin::V1 { auth_url: auth_url.parse()?, user: user.parse()?, key: key.parse()? }
            }
            _ => SwiftLogin::Keystone(self.cloud.to_spec()?),
        };
        let account = match (self.account.as_deref(), self.access.as_deref()) {
            (Some("per-tenant"), Some("reseller")) => SwiftAccount::PerTenant(TenantAccess::Reseller),
            (Some("per-tenant"), _) => SwiftAccount::PerTenant(TenantAccess::EachProject),
            _ => SwiftAccount::Own,
        };
        let size = self
            .segment_size
            .as_ref()
            .map(|size| parse_bytes(size).map_err(|error| BadStore::Size(size.clone(), error)));
        Ok(SwiftSpec {
            login,
            account,
            container: reference(self.container.as_ref())?,
            storage_policy: reference(self.storage_policy.as_ref())?,
            segment_size: size.transpose()?.unwrap_or(SEGMENT_SIZE),
            http: self.http.to_spec()?,
        })
    }
}

impl WrittenCloud {
    pub(super) fn of(cloud: &CloudSpec) -> Self {
        Self { cloud: text(cloud.cloud.as_ref()), region: text(cloud.region.as_ref()) }
    }

    pub(super) fn to_spec(&self) -> Result<CloudSpec, BadReference> {
        Ok(CloudSpec { cloud: reference(self.cloud.as_ref())?, region: reference(self.region.as_ref())? })
    }
}

impl WrittenHttp {
    fn of(http: &HttpSpec) -> Self {
        Self {
            endpoint: text(http.endpoint.as_ref()),
            ca_file: text(http.ca_file.as_ref()),
            insecure: http.insecure,
            timeout: (http.timeout != STALL_TIMEOUT).then(|| format_duration(http.timeout)),
            identity: http.identity.clone(),
        }
    }

    fn to_spec(&self) -> Result<HttpSpec, BadStore> {
        let timeout = self
            .timeout
            .as_ref()
            .map(|timeout| parse_duration(timeout).map_err(|error| BadStore::Timeout(timeout.clone(), error)));
        Ok(HttpSpec {
            endpoint: reference(self.endpoint.as_ref())?,
            ca_file: reference(self.ca_file.as_ref())?,
            insecure: self.insecure,
            timeout: timeout.transpose()?.unwrap_or(STALL_TIMEOUT),
            identity: self.identity.clone(),
        })
    }
}

pub(super) fn text(reference: Option<&Reference>) -> Option<String> {
    reference.map(ToString::to_string)
}

pub(super) fn reference(text: Option<&String>) -> Result<Option<Reference>, BadReference> {
    text.map(|text| text.parse()).transpose()
}
