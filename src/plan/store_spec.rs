//! Stores as written: nothing of them is resolved or contacted yet.

use std::time::Duration;

use super::Reference;

/// Longest time without a byte of a request or its answer, where the plan says nothing.
pub const STALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Size of a segment in Swift where the plan says nothing: Trove's own.
pub const SEGMENT_SIZE: u64 = 2 << 30;

/// A store as written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreSpec {
    /// `type: file`
    File {
        /// The folder; relative ones start at [`Plan::folder`](super::Plan::folder).
        path: Reference,
        /// Overrides the identity, for a folder that moved.
        identity: Option<String>,
    },
    /// `type: s3`
    S3(S3Spec),
    /// `type: gcs`
    Gcs(GcsSpec),
    /// `type: azure`
    Azure(AzureSpec),
    /// `type: swift`
    Swift(SwiftSpec),
}

/// A bucket of Amazon S3 or of a store that speaks its protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Spec {
    /// Its name.
    pub bucket: Reference,
    /// What all keys start with, `/` at its end included; none means the whole bucket.
    pub prefix: Option<Reference>,
    /// The region that requests are signed for; none means the environment's, else `us-east-1`.
    pub region: Option<Reference>,
    /// With [`S3Spec::secret_access_key`]; without both the cloud's own chain of credentials is asked.
    pub access_key_id: Option<Reference>,
    /// See [`S3Spec::access_key_id`].
    pub secret_access_key: Option<Reference>,
    /// Belongs to temporary keys.
    pub session_token: Option<Reference>,
    /// Where the bucket's name stands in a URL.
    pub addressing: Addressing,
    /// How it is reached.
    pub http: HttpSpec,
}

/// Where a bucket's name stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addressing {
    /// `https://host/bucket/key`, which every store understands. With an endpoint this is the default.
    Path,
    /// `https://bucket.host/key`. Without an endpoint this is the default.
    Virtual,
    /// As the other two say.
    #[default]
    Auto,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsSpec {
    /// Its name.
    pub bucket: Reference,
    /// As [`S3Spec::prefix`].
    pub prefix: Option<Reference>,
    /// A file with a service account's key; none means the cloud's own chain of credentials.
    pub service_account_file: Option<Reference>,
    /// How it is reached.
    pub http: HttpSpec,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureSpec {
    /// The storage account.
    pub account: Reference,
    /// Its container.
    pub container: Reference,
    /// As [`S3Spec::prefix`].
    pub prefix: Option<Reference>,
    /// The account's key, in base64; at most one of this and [`AzureSpec::sas_token`]. Without both the cloud's own
    /// chain of credentials is asked.
    pub access_key: Option<Reference>,
    /// A shared access signature for the container.
    pub sas_token: Option<Reference>,
    /// How it is reached.
    pub http: HttpSpec,
}

/// Accounts of a Swift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwiftSpec {
    /// How to get in, and which Swift it is.
    pub login: SwiftLogin,
    /// Whose accounts are meant.
    pub account: SwiftAccount,
    /// The container that copies go to; none means the source's own.
    pub container: Option<Reference>,
    /// The policy of containers that are made.
    pub storage_policy: Option<Reference>,
    /// Size of the segments of objects that come in one piece from other stores, in bytes.
    pub segment_size: u64,
    /// How it is reached. The endpoint, which may end in a path up to `/v1`, counts instead of the catalog's; the
    /// certificates of a cloud are those of its entry in `clouds.yaml` where none are named here.
    pub http: HttpSpec,
}

/// How to get into a Swift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwiftLogin {
    /// By Keystone.
    Keystone(CloudSpec),
    /// By `TempAuth`.
    V1 {
        /// Where it gives tokens.
        auth_url: Reference,
        /// As `account:user`.
        user: Reference,
        /// A reference.
        key: Reference,
    },
}

/// An `OpenStack` cloud as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudSpec {
    /// An entry of `clouds.yaml`; none means the environment's `OS_CLOUD` or `OS_*`.
    pub cloud: Option<Reference>,
    /// A region of its catalog; none means the entry's own.
    pub region: Option<Reference>,
}

/// Whose accounts of a Swift are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwiftAccount {
    /// The one of the login: keys are `container/object`.
    Own,
    /// That of each tenant: keys are `AUTH_project/container/object`.
    PerTenant(TenantAccess),
}

/// How the accounts of many tenants are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantAccess {
    /// By one token that opens all accounts (role `ResellerAdmin`).
    Reseller,
    /// By a token for each project, of a user with a role in each.
    EachProject,
}

/// How a store is reached over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSpec {
    /// Where it answers: scheme, host, port. None means the cloud's public one.
    pub endpoint: Option<Reference>,
    /// A file of certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<Reference>,
    /// Whether `http://` to another machine is allowed. Certificates are always checked.
    pub insecure: bool,
    /// A request without a byte in either direction for so long is given up.
    pub timeout: Duration,
    /// Overrides the identity, for an endpoint that moved.
    pub identity: Option<String>,
}

impl StoreSpec {
    /// All texts in it that may refer to the environment, in the order of the documentation.
    #[must_use]
    pub fn references(&self) -> Vec<&Reference> {
        let (own, http): (Vec<Option<&Reference>>, _) = match self {
            Self::File { path, .. } => (vec![Some(path)], None),
            Self::S3(s3) => {
                let keys = [&s3.region, &s3.access_key_id, &s3.secret_access_key, &s3.session_token];
                let own = [Some(&s3.bucket), s3.prefix.as_ref()];
                (own.into_iter().chain(keys.map(Option::as_ref)).collect(), Some(&s3.http))
            }
            Self::Gcs(gcs) => {
                let own = vec![Some(&gcs.bucket), gcs.prefix.as_ref(), gcs.service_account_file.as_ref()];
                (own, Some(&gcs.http))
            }
            Self::Azure(azure) => {
                let keys = [&azure.prefix, &azure.access_key, &azure.sas_token];
                let own = [Some(&azure.account), Some(&azure.container)];
                (own.into_iter().chain(keys.map(Option::as_ref)).collect(), Some(&azure.http))
            }
            Self::Swift(swift) => {
                let login = match &swift.login {
                    SwiftLogin::Keystone(CloudSpec { cloud, region }) => [cloud.as_ref(), region.as_ref(), None],
                    SwiftLogin::V1 { auth_url, user, key } => [Some(auth_url), Some(user), Some(key)],
                };
                let own = [swift.container.as_ref(), swift.storage_policy.as_ref()];
                (login.into_iter().chain(own).collect(), Some(&swift.http))
            }
        };
        let http = http.into_iter().flat_map(|http| [http.endpoint.as_ref(), http.ca_file.as_ref()]);
        own.into_iter().chain(http).flatten().collect()
    }
}
