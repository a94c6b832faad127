//! One store as written → the open store: references resolved, checked once more now that they have values.

use std::path::Path;

use super::{Environment, Role};
use crate::address::{self, AddressError, Cloud, Endpoint};
use crate::failure::{Cause, Failure};
use crate::openstack::Session;
use crate::plan::{Addressing, AzureSpec, GcsSpec, HttpSpec, Reference, Region, S3Spec, StoreSpec};
use crate::store::{
    AzureKey, AzureOptions, BucketOptions, BucketStore, FileStore, GcsOptions, S3Options, Store, StoreError,
};
use crate::throttle::Throttle;

/// The region that requests to S3 are signed for where nobody names one; most stores that are not Amazon's take it.
const S3_REGION: &str = "us-east-1";

/// What is needed to open any region.
pub(super) struct Opener<'a> {
    /// Where relative paths start.
    pub(super) folder: &'a Path,
    pub(super) environment: &'a Environment,
    pub(super) region: &'a Region,
    pub(super) throttle: Throttle,
}

impl Opener<'_> {
    /// `session` is the way into its cloud, where it has one.
    pub(super) async fn open(self, role: Role, session: Option<&Session>) -> Result<Store, Failure> {
        match &self.region.store {
            StoreSpec::File { path, identity } => self.file(path, identity.as_deref(), role).await,
            StoreSpec::S3(spec) => self.s3(spec).map(Store::Bucket),
            StoreSpec::Gcs(spec) => self.gcs(spec).map(Store::Bucket),
            StoreSpec::Azure(spec) => self.azure(spec).map(Store::Bucket),
            StoreSpec::Swift(spec) => match session {
                Some(session) => self.swift(spec, session).await.map(Store::Swift),
                None => Err(self.unreachable("no way into its cloud", None)),
            },
        }
    }

    /// Asks the file system off the async threads: a mount that hangs must not stop the others.
    async fn file(&self, path: &Reference, identity: Option<&str>, role: Role) -> Result<Store, Failure> {
        let path = self.folder.join(self.value(path)?);
        let (identity, throttle) = (identity.map(str::to_owned), self.throttle.clone());
        let opened = tokio::task::spawn_blocking(move || match role {
            Role::Source => FileStore::open(&path, identity.as_deref(), throttle),
            Role::Look => FileStore::absent(&path, identity.as_deref(), throttle),
            Role::Target => FileStore::create(&path, identity.as_deref(), throttle),
        });
        opened.await.expect("opening a folder does not panic").map(Store::File).map_err(|error| self.failed(error))
    }

    fn s3(&self, spec: &S3Spec) -> Result<BucketStore, Failure> {
        let bucket = self.checked("bucket", &spec.bucket, address::check_s3_bucket)?;
        let named = spec.region.as_ref().map(|region| self.checked("region", region, address::check_s3_region));
        let of_environment = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(|name| (self.environment)(name));
        let region = named.transpose()?.or(of_environment).unwrap_or_else(|| S3_REGION.to_owned());
        let keys = match (&spec.access_key_id, &spec.secret_access_key) {
            (Some(id), Some(secret)) => {
                Some((self.value(id)?, self.value(secret)?, self.optional(spec.session_token.as_ref())?))
            }
            _ => None,
        };
        let options = self.bucket(Cloud::S3 { region: &region }, &bucket, spec.prefix.as_ref(), &spec.http)?;
        let virtual_hosts = match spec.addressing {
            Addressing::Virtual => true,
            Addressing::Path => false,
            Addressing::Auto => options.endpoint.is_none(),
        };
        let s3 = S3Options { bucket, region: Some(region), keys, virtual_hosts };
        BucketStore::s3(&options, &s3, &self.throttle).map_err(|error| self.failed(error))
    }

    fn gcs(&self, spec: &GcsSpec) -> Result<BucketStore, Failure> {
        let bucket = self.checked("bucket", &spec.bucket, address::check_gcs_bucket)?;
        let file = self.optional(spec.service_account_file.as_ref())?;
        let options = self.bucket(Cloud::Gcs, &bucket, spec.prefix.as_ref(), &spec.http)?;
        let gcs = GcsOptions { bucket, service_account_file: file.map(|file| self.folder.join(file)) };
        BucketStore::gcs(&options, &gcs, &self.throttle).map_err(|error| self.failed(error))
    }

    fn azure(&self, spec: &AzureSpec) -> Result<BucketStore, Failure> {
        let account = self.checked("account", &spec.account, address::check_account)?;
        let container = self.checked("container", &spec.container, address::check_container)?;
        let access_key = self.optional(spec.access_key.as_ref())?.map(AzureKey::Account);
        let sas_token = self.optional(spec.sas_token.as_ref())?.map(AzureKey::Sas);
        let cloud = Cloud::Azure { account: &account };
        let options = self.bucket(cloud, &container, spec.prefix.as_ref(), &spec.http)?;
        let azure = AzureOptions { account, container, key: access_key.or(sas_token) };
        BucketStore::azure(&options, &azure, &self.throttle).map_err(|error| self.failed(error))
    }

    /// What all buckets are opened with.
    fn bucket(
        &self,
        cloud: Cloud<'_>,
        bucket: &str,
        prefix: Option<&Reference>,
        http: &HttpSpec,
    ) -> Result<BucketOptions, Failure> {
        let endpoint = self.optional(http.endpoint.as_ref())?;
        let endpoint = endpoint.map(|text| Endpoint::parse(&text, http.insecure)).transpose();
        let endpoint = endpoint.map_err(|error| self.bad("endpoint", &error))?;
        let prefix = match self.optional(prefix)? {
            Some(prefix) => address::prefix(&prefix).map_err(|error| self.bad("prefix", &error))?,
            None => String::new(),
        };
        let ca = self.optional(http.ca_file.as_ref())?.map(|path| {
            let path = self.folder.join(path);
            std::fs::read(&path)
                .map_err(|error| self.unreachable(&format!("cannot read `ca_file` {}: {error}", path.display()), None))
        });
        let authority = endpoint.as_ref().map(Endpoint::authority);
        let own = || address::identity_of(cloud, authority.as_deref(), bucket, &prefix);
        Ok(BucketOptions {
            identity: http.identity.clone().unwrap_or_else(own),
            endpoint: endpoint.as_ref().map(Endpoint::url),
            ca: ca.transpose()?,
            stall: http.timeout,
            prefix,
        })
    }

    pub(super) fn checked(
        &self,
        key: &str,
        reference: &Reference,
        check: fn(&str) -> Result<(), AddressError>,
    ) -> Result<String, Failure> {
        let value = self.value(reference)?;
        check(&value).map_err(|error| self.bad(key, &error))?;
        Ok(value)
    }

    pub(super) fn optional(&self, reference: Option<&Reference>) -> Result<Option<String>, Failure> {
        reference.map(|reference| self.value(reference)).transpose()
    }

    pub(super) fn value(&self, reference: &Reference) -> Result<String, Failure> {
        reference.expand(&**self.environment).map_err(|missing| {
            let hint = format!("set it: export {}=…", missing.name);
            let message = format!("region `{}`: {missing}", self.region.name);
            Failure { cause: Cause::Unreachable, message, hint: Some(hint) }
        })
    }

    /// A value that is not what it must be; the value itself may be a secret and is not shown.
    pub(super) fn bad(&self, key: &str, error: &AddressError) -> Failure {
        self.unreachable(&format!("the value of `{key}` {}", error.message), Some(error.hint.clone()))
    }

    pub(super) fn failed(&self, error: StoreError) -> Failure {
        self.unreachable(&error.message, error.hint)
    }

    pub(super) fn unreachable(&self, why: &str, hint: Option<String>) -> Failure {
        let message = format!("region `{}` cannot be reached: {why}", self.region.name);
        Failure { cause: Cause::Unreachable, message, hint }
    }
}
