//! Servers as processes of the test: on free ports of this machine, in a folder of their own, ended with it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backhaul::store::{AzureKey, AzureOptions, BucketOptions, BucketStore, GcsOptions, S3Options};
use backhaul::throttle::Throttle;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as ObjectPath;
use object_store::signer::{SignedUrlOptions, Signer};
use reqwest::Method;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::gcs::GcsServer;
use super::support::wait_until;

/// As `tests/run` installs them.
const SEAWEEDFS: &str = "seaweedfs-4.48/bin/weed";
const AZURITE: &str = "azurite-3.37.0/node_modules/azurite/dist/src/blob/main.js";

/// The account that Azurite always has, and its key, from its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const S3_KEY: &str = "real-servers";
const S3_SECRET: &str = "a secret of this test";

const ACCOUNT_FILE: &str = "account.json";

/// The buckets, or containers, that every server has from the start.
pub(crate) const BUCKETS: [&str; 2] = ["one", "two"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    SeaweedFs,
    Azurite,
    Gcs,
}

pub(crate) struct Server {
    kind: Kind,
    process: Option<Child>,
    gcs: Option<GcsServer>,
    endpoint: String,
    runtime: Runtime,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Where the servers are installed.
fn installed(program: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("BACKHAUL_TEST_SERVERS").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        Some(cache?.join("backhaul/servers"))
    })?;
    Some(folder.join(program)).filter(|program| program.exists())
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

fn start(command: &mut Command, folder: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("writable");
    let errors = log.try_clone().expect("writable");
    command.current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("it starts")
}

fn wait_for(what: &str, process: &mut Child, folder: &Path, mut is_so: impl FnMut() -> bool) {
    wait_until(what, || {
        if let Some(status) = process.try_wait().expect("a child") {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("{what}: it ended, {status}: {log}");
        }
        is_so()
    });
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("server-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder")
}

/// A service account whose requests need no signature; what it says of the endpoint must not count.
fn write_account(folder: &Path) {
    let account = r#"{"gcs_base_url": "http://127.0.0.1:1", "disable_oauth": true, "client_email": "", "private_key": "",
                      "private_key_id": ""}"#;
    std::fs::write(folder.join(ACCOUNT_FILE), account).expect("writable");
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn http() -> HttpClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    ReqwestConnector::default().connect(&ClientOptions::new().with_allow_http(true)).expect("a client")
}

fn request(method: Method, url: &str) -> HttpRequest {
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = method;
    *request.uri_mut() = url.parse().expect("a URL");
    request.headers_mut().insert("content-length", "0".parse().expect("a header"));
    request
}

impl Server {
    /// None where it is not installed.
    pub(crate) fn seaweedfs() -> Option<Self> {
        let program = installed(SEAWEEDFS)?;
        let folder = folder();
        let identities = format!(
            r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{S3_KEY}","secretKey":"{S3_SECRET}"}}],
               "actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
        );
        std::fs::write(folder.path().join("identities.json"), identities).expect("writable");
        std::fs::create_dir(folder.path().join("data")).expect("writable");
        let names =
            ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"];
        let [s3, s3_grpc, others @ ..] = free_ports::<8>();
        let mut command = Command::new(program);
        command.args(["server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]);
        command.args(["-s3", "-s3.config=identities.json", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        // By default it answers 500 to every write once 1 % of the whole disk is left, which says nothing about us.
        command.args(["-volume.minFreeSpace=64MiB", "-master.volumeSizeLimitMB=128"]);
        command.args(names.iter().zip(others).map(|(name, port)| format!("-{name}={port}")));
        command.args([format!("-s3.port={s3}"), format!("-s3.port.grpc={s3_grpc}")]);
        let mut process = start(&mut command, folder.path());
        let endpoint = format!("http://127.0.0.1:{s3}");
        let (runtime, client) = (runtime(), http());
        wait_for("SeaweedFS answers", &mut process, folder.path(), || {
            runtime.block_on(client.execute(request(Method::GET, &endpoint))).is_ok()
        });
        let server = Self { kind: Kind::SeaweedFs, process: Some(process), gcs: None, endpoint, runtime, folder };
        server.make_buckets();
        Some(server)
    }

    /// None where it is not installed.
    pub(crate) fn azurite() -> Option<Self> {
        let program = installed(AZURITE)?;
        let folder = folder();
        let mut command = Command::new("node");
        command.arg(program).args(["--blobPort", "0", "--location", ".", "--disableTelemetry"]);
        let mut process = start(&mut command, folder.path());
        let mut endpoint = None;
        wait_for("Azurite listens", &mut process, folder.path(), || {
            let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
            let found = log.lines().find_map(|line| line.split_once("listens on ").map(|(_, url)| url.to_owned()));
            endpoint = found;
            endpoint.is_some()
        });
        let endpoint = endpoint.expect("it listens");
        let server =
            Self { kind: Kind::Azurite, process: Some(process), gcs: None, endpoint, runtime: runtime(), folder };
        server.make_buckets();
        Some(server)
    }

    /// No real one: see `support::gcs`.
    pub(crate) fn gcs() -> Self {
        let gcs = GcsServer::start(&BUCKETS);
        let folder = folder();
        write_account(folder.path());
        let endpoint = gcs.endpoint.clone();
        Self { kind: Kind::Gcs, process: None, gcs: Some(gcs), endpoint, runtime: runtime(), folder }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::SeaweedFs => "SeaweedFS 4.48",
            Kind::Azurite => "Azurite 3.37.0",
            Kind::Gcs => "GCS as documented",
        }
    }

    /// The store of a region, as a plan writes it.
    pub(crate) fn in_plan(&self, bucket: &str) -> String {
        let endpoint = &self.endpoint;
        match self.kind {
            Kind::SeaweedFs => format!(
                "{{ type: s3, bucket: {bucket}, prefix: vault/, endpoint: \"{endpoint}\", \
                 access_key_id: {S3_KEY}, secret_access_key: \"${{REAL_KEY}}\" }}"
            ),
            Kind::Azurite => format!(
                "{{ type: azure, account: {ACCOUNT}, container: {bucket}, prefix: vault/, endpoint: \"{endpoint}\", \
                 access_key: \"${{REAL_KEY}}\" }}"
            ),
            Kind::Gcs => format!(
                "{{ type: gcs, bucket: {bucket}, prefix: vault/, endpoint: \"{endpoint}\", \
                 service_account_file: {ACCOUNT_FILE} }}"
            ),
        }
    }

    /// The same as a URL of the command line.
    pub(crate) fn in_url(&self, bucket: &str) -> String {
        let endpoint = &self.endpoint;
        match self.kind {
            Kind::SeaweedFs => format!(
                "s3://{bucket}/vault?endpoint={endpoint}&access_key_id={S3_KEY}&secret_access_key=${{REAL_KEY}}"
            ),
            Kind::Azurite => {
                format!("azure://{ACCOUNT}/{bucket}/vault?endpoint={endpoint}&access_key=${{REAL_KEY}}")
            }
            Kind::Gcs => {
                format!("gcs://{bucket}/vault?endpoint={endpoint}&service_account_file={ACCOUNT_FILE}")
            }
        }
    }

    /// What `REAL_KEY` is in the plan.
    pub(crate) fn key(&self) -> &'static str {
        match self.kind {
            Kind::SeaweedFs => S3_SECRET,
            Kind::Azurite => ACCOUNT_KEY,
            Kind::Gcs => "there is no key of GCS here",
        }
    }

    /// The same store as in the plan, without a plan.
    pub(crate) fn store(&self, bucket: &str) -> BucketStore {
        let options = BucketOptions {
            identity: format!("test://{}/{bucket}/", self.endpoint),
            prefix: "vault/".to_owned(),
            endpoint: Some(self.endpoint.clone()),
            ca: None,
            stall: Duration::from_secs(30),
        };
        let throttle = Throttle::unlimited();
        match self.kind {
            Kind::SeaweedFs => {
                let keys = Some((S3_KEY.to_owned(), S3_SECRET.to_owned(), None));
                let s3 = S3Options { bucket: bucket.to_owned(), region: None, keys, virtual_hosts: false };
                BucketStore::s3(&options, &s3, &throttle)
            }
            Kind::Azurite => {
                let key = Some(AzureKey::Account(ACCOUNT_KEY.to_owned()));
                let azure = AzureOptions { account: ACCOUNT.to_owned(), container: bucket.to_owned(), key };
                BucketStore::azure(&options, &azure, &throttle)
            }
            Kind::Gcs => {
                let file = self.folder.path().join(ACCOUNT_FILE);
                let gcs = GcsOptions { bucket: bucket.to_owned(), service_account_file: Some(file) };
                BucketStore::gcs(&options, &gcs, &throttle)
            }
        }
        .expect("options that go together")
    }

    /// A client that is not Backhaul's, for what others put there.
    pub(crate) fn other_client(&self, bucket: &str) -> Box<dyn object_store::ObjectStore> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        match self.kind {
            Kind::SeaweedFs => Box::new(self.s3(bucket)),
            Kind::Azurite => {
                let azure = MicrosoftAzureBuilder::new()
                    .with_account(ACCOUNT)
                    .with_access_key(ACCOUNT_KEY)
                    .with_container_name(bucket)
                    .with_endpoint(format!("{}/{ACCOUNT}", self.endpoint))
                    .with_allow_http(true);
                Box::new(azure.build().expect("options that go together"))
            }
            Kind::Gcs => {
                let gcs = GoogleCloudStorageBuilder::new()
                    .with_bucket_name(bucket)
                    .with_base_url(&self.endpoint)
                    .with_service_account_path(self.folder.path().join(ACCOUNT_FILE).to_string_lossy())
                    .with_client_options(ClientOptions::new().with_allow_http(true));
                Box::new(gcs.build().expect("options that go together"))
            }
        }
    }

    fn s3(&self, bucket: &str) -> AmazonS3 {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let s3 = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_bucket_name(bucket)
            .with_access_key_id(S3_KEY)
            .with_secret_access_key(S3_SECRET)
            .with_allow_http(true);
        s3.build().expect("options that go together")
    }

    fn make_buckets(&self) {
        for bucket in BUCKETS {
            let request = match self.kind {
                Kind::SeaweedFs => request(Method::PUT, &self.presigned(Method::PUT, bucket, &[])),
                Kind::Azurite => {
                    let url = format!("{}/{ACCOUNT}/{}?restype=container", self.endpoint, bucket);
                    let mut request = request(Method::PUT, &url);
                    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).expect("a key"));
                    AzureAuthorizer::new(&key, ACCOUNT).try_authorize(&mut request).expect("signed");
                    request
                }
                Kind::Gcs => unreachable!("it has its buckets from the start"),
            };
            let answer = self.runtime.block_on(http().execute(request)).expect("an answer");
            assert!(answer.status().is_success(), "the bucket {bucket} was not made: {}", answer.status());
        }
    }

    fn presigned(&self, method: Method, bucket: &str, query: &[(&str, &str)]) -> String {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = SignedUrlOptions::default().with_query(query);
        let (s3, valid) = (self.s3(bucket), Duration::from_mins(1));
        let path = ObjectPath::default();
        self.block_on(s3.signed_url_opts(method, &path, valid, &options)).expect("signed").to_string()
    }

    /// How many uploads in parts are open in all buckets (not of Azure, which has none).
    pub(crate) fn open_uploads(&self) -> usize {
        if let Some(gcs) = &self.gcs {
            return gcs.open_uploads();
        }
        let of_bucket = |bucket: &&str| {
            let url = self.presigned(Method::GET, bucket, &[("uploads", "")]);
            let answer = self.block_on(http().execute(request(Method::GET, &url))).expect("an answer");
            assert!(answer.status().is_success(), "uploads are not listed: {}", answer.status());
            let text = self.block_on(answer.into_body().bytes()).expect("a list");
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains("ListMultipartUploadsResult"), "{text}");
            text.matches("<UploadId>").count()
        };
        BUCKETS.iter().map(of_bucket).sum()
    }

    /// How many blocks came for a blob, by the server's own log (Azurite; the others keep none).
    pub(crate) fn blocks_sent(&self, blob: &str) -> Option<usize> {
        if self.kind != Kind::Azurite {
            return None;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).expect("a log");
        let put = format!("/{blob}?comp=block&");
        Some(log.lines().filter(|line| line.contains(&put)).count())
    }

    /// Whether an upload in parts takes the place of an object that came between our look and its completion.
    pub(crate) fn replaces_on_completion(&self) -> bool {
        self.kind == Kind::Gcs
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// A new folder that goes with the server.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).expect("a new folder");
        write_account(&folder);
        folder
    }
}
