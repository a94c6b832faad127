//! The keys of a store, by its type.

use super::{GIB, Key, Kind, MIB, Typed, key, shape};

pub(in crate::plan) static STORE: Typed = Typed {
    what: "a store",
    shapes: &[
        ("file", shape("a store of type `file`", "A folder of this machine.", FILE)),
        ("s3", shape("a store of type `s3`", "A bucket of Amazon S3, or of a store that speaks its protocol.", S3)),
        ("gcs", shape("a store of type `gcs`", "A bucket of Google Cloud Storage.", GCS)),
        ("azure", shape("a store of type `azure`", "A container of Azure Blob Storage.", AZURE)),
        ("swift", shape("a store of type `swift`", "Accounts of an OpenStack Swift.", SWIFT)),
    ],
};

const IDENTITY_CHARS_MAX: usize = 1024;

const FILE: &[Key] = &[
    key("type", Kind::Choice(&["file"], &[]), "`file`: a folder of this machine.").required(),
    key("path", Kind::Reference, "The folder; a relative one starts at the plan file. May hold `${NAME}`.").required(),
    key("identity", Kind::Text { max: IDENTITY_CHARS_MAX }, "What the store is, whatever its path: keep the old path here when a folder has moved, so that its copies are found again.")
        .default("the folder's canonical path"),
];

const PREFIX: Key =
    key("prefix", Kind::Reference, "The folder in it that is the store: all names start below. May hold `${NAME}`.")
        .default("all of it");
const ENDPOINT: Key = key(
    "endpoint",
    Kind::Reference,
    "Where it answers: `https://host` or `https://host:port`. May hold `${NAME}`. `http://` is for this machine only.",
)
.default("the cloud's public one");
const CA_FILE: Key = key(
    "ca_file",
    Kind::Reference,
    "A file of certificates (PEM) that are trusted besides the system's; a relative one starts at the plan file. May hold `${NAME}`.",
);
const INSECURE: Key = key(
    "insecure",
    Kind::Boolean,
    "Whether `http://` to another machine is allowed; every run warns of it. Certificates are always checked.",
)
.default("false");
const TIMEOUT: Key = key(
    "timeout",
    Kind::Duration,
    "A request without a byte in either direction for so long is given up and made again; `1s` to `1h`.",
)
.default("1m");
const IDENTITY: Key = key(
    "identity",
    Kind::Text { max: IDENTITY_CHARS_MAX },
    "What the store is, whatever its endpoint: keep the old one here when an endpoint has moved, so that its copies are found again.",
)
.default("type, endpoint, names and prefix as a URL");

const S3: &[Key] = &[
    key("type", Kind::Choice(&["s3"], &[]), "`s3`: a bucket of Amazon S3, or of a store that speaks its protocol.")
        .required(),
    key("bucket", Kind::Reference, "Its name. May hold `${NAME}`.").required(),
    PREFIX,
    ENDPOINT,
    key("region", Kind::Reference, "The region that requests are signed for. May hold `${NAME}`.")
        .default("that of the environment (AWS_REGION), else us-east-1"),
    key("access_key_id", Kind::Reference, "Together with `secret_access_key`. May hold `${NAME}`.")
        .default("the cloud's own chain of credentials"),
    key("secret_access_key", Kind::Secret, "A single `${NAME}`.").default("the cloud's own chain of credentials"),
    key("session_token", Kind::Secret, "A single `${NAME}`; belongs to temporary keys."),
    key(
        "addressing",
        Kind::Choice(&["path", "virtual"], &[]),
        "Where the bucket's name stands in a URL: `https://host/bucket/key` (`path`) or `https://bucket.host/key` (`virtual`).",
    )
    .default("`path` with an `endpoint`, else `virtual`"),
    CA_FILE,
    INSECURE,
    TIMEOUT,
    IDENTITY,
];

const GCS: &[Key] = &[
    key("type", Kind::Choice(&["gcs"], &[]), "`gcs`: a bucket of Google Cloud Storage.").required(),
    key("bucket", Kind::Reference, "Its name. May hold `${NAME}`.").required(),
    PREFIX,
    ENDPOINT,
    key(
        "service_account_file",
        Kind::Reference,
        "A file with a service account's key (JSON); a relative one starts at the plan file. May hold `${NAME}`.",
    )
    .default("the cloud's own chain of credentials"),
    CA_FILE,
    INSECURE,
    TIMEOUT,
    IDENTITY,
];

const AZURE: &[Key] = &[
    key("type", Kind::Choice(&["azure"], &[]), "`azure`: a container of Azure Blob Storage.").required(),
    key("account", Kind::Reference, "The storage account. May hold `${NAME}`.").required(),
    key("container", Kind::Reference, "Its name. May hold `${NAME}`.").required(),
    PREFIX,
    ENDPOINT,
    key(
        "access_key",
        Kind::Secret,
        "The account's key, in base64: a single `${NAME}`. At most one of this and `sas_token`.",
    )
    .default("the cloud's own chain of credentials"),
    key("sas_token", Kind::Secret, "A shared access signature for the container: a single `${NAME}`.")
        .default("the cloud's own chain of credentials"),
    CA_FILE,
    INSECURE,
    TIMEOUT,
    IDENTITY,
];

const SWIFT: &[Key] = &[
    key("type", Kind::Choice(&["swift"], &[]), "`swift`: accounts of an OpenStack Swift.").required(),
    key("cloud", Kind::Reference, "An entry of `clouds.yaml`. May hold `${NAME}`.")
        .default("that of the environment (OS_CLOUD, else OS_AUTH_URL and the like)"),
    key("region", Kind::Reference, "A region of the cloud's service catalog. May hold `${NAME}`.")
        .default("that of the cloud's entry"),
    key(
        "auth",
        Kind::Choice(&["keystone", "v1"], &[]),
        "How to get in: by the cloud's Keystone, or by Swift's own TempAuth (`v1`).",
    )
    .default("keystone"),
    key("auth_url", Kind::Reference, "Only with `auth: v1`: where it gives tokens, `https://host/auth/v1.0`. May hold `${NAME}`."),
    key("user", Kind::Reference, "Only with `auth: v1`: `account:user`. May hold `${NAME}`."),
    key("key", Kind::Secret, "Only with `auth: v1`: the user's key, a single `${NAME}`."),
    key(
        "account",
        Kind::Choice(&["own", "per-tenant"], &[]),
        "Whose accounts are meant: that of the login (`own`), or each tenant's, as Trove keeps backups (`per-tenant`).",
    )
    .default("own"),
    key(
        "access",
        Kind::Choice(&["each-project", "reseller"], &[]),
        "Only with `account: per-tenant`: by a token for each project (`each-project`: a password user with a role in each), or by one that opens all accounts (`reseller`: the role ResellerAdmin).",
    )
    .default("each-project"),
    key("container", Kind::Reference, "The container that copies go to. May hold `${NAME}`.").default("the source's own"),
    key("storage_policy", Kind::Reference, "Policy of containers that are made. May hold `${NAME}`.")
        .default("the cluster's own"),
    key(
        "segment_size",
        Kind::Size { min: MIB, max: 5 * GIB },
        "Size of the segments of objects that come in one piece from other stores; those of Swift keep theirs.",
    )
    .default("2GiB"),
    key(
        "endpoint",
        Kind::Reference,
        "Where all accounts lie: `https://host/v1`. May hold `${NAME}`. `http://` is for this machine only.",
    )
    .default("that of the service catalog"),
    CA_FILE,
    INSECURE,
    TIMEOUT,
    IDENTITY,
];
