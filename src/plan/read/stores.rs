//! `store:`: a mapping by its `type`, checked as far as its texts hold no `${…}`.

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::{Fields, Node, Problem, Reader};
use crate::address::{self, AddressError, Cloud, Endpoint};
use crate::plan::reference::Reference;
use crate::plan::shape::Typed;
use crate::plan::{Addressing, AzureSpec, GcsSpec, HttpSpec, S3Spec, STALL_TIMEOUT, StoreSpec};
use crate::suggest;

/// What a stalled request may wait.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);

impl<'s> Reader<'s> {
    /// A store, and what it is: two regions with one identity are one place.
    pub(super) fn store(
        &mut self,
        node: &Node<'s>,
        typed: &'static Typed,
        folder: &Path,
    ) -> Option<(StoreSpec, String)> {
        let before = self.problems.errors();
        let (kind, fields) = self.typed(node, typed)?;
        let store = match kind {
            "s3" => self.s3(&fields),
            "gcs" => self.gcs(&fields),
            "azure" => self.azure(&fields),
            "swift" => self.swift(&fields),
            _ => self.file(&fields, folder),
        };
        // What a store with a problem is, nobody knows.
        store.filter(|_| self.problems.errors() == before)
    }

    /// A mapping whose `type` says what its other keys are: with a type that is not read here they are left alone.
    pub(super) fn typed<'n>(
        &mut self,
        node: &'n Node<'s>,
        typed: &'static Typed,
    ) -> Option<(&'static str, Fields<'n, 's>)> {
        let pairs = self.pairs(node, typed.what)?;
        let kind = pairs.iter().find(|(key, _)| key.scalar() == Some("type"));
        let text = kind.and_then(|(_, value)| value.scalar());
        if let Some((kind, shape)) = typed.shapes.iter().find(|(kind, _)| text == Some(kind)) {
            return Some((kind, self.fields(node, shape)?));
        }
        for (key, value) in pairs {
            self.refuse_secret(key.scalar().unwrap_or_default(), value);
        }
        let noun = typed.what.trim_start_matches("a ");
        let words = typed.shapes.iter().map(|(kind, _)| *kind);
        let list = words.clone().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let known = format!("known types: {list}");
        let problem = match (kind, text) {
            (None, _) => Problem::error(node.place, format!("{} has no `type`", typed.what)).hint(known),
            (Some((key, value)), _) if value.is_null() => Problem::error(key.place, "`type` has no value").hint(known),
            (Some((_, value)), None) => {
                Problem::error(value.place, format!("`type` must be a text, and this is {}", value.what())).hint(known)
            }
            (Some((_, value)), Some(text)) => {
                let near = suggest::nearest(text, words);
                let hint = near.map_or(known, |near| format!("did you mean `{near}`?"));
                Problem::error(value.place, format!("unknown {noun} type `{text}`")).hint(hint)
            }
        };
        self.problems.push(problem);
        None
    }

    fn file(&mut self, fields: &Fields<'_, 's>, folder: &Path) -> Option<(StoreSpec, String)> {
        let path = self.path(fields, "path");
        let identity = self.text(fields, "identity");
        let path = path?;
        let place = identity.clone().unwrap_or_else(|| lexical(folder, path.as_str()));
        Some((StoreSpec::File { path, identity }, place))
    }

    fn s3(&mut self, fields: &Fields<'_, 's>) -> Option<(StoreSpec, String)> {
        let bucket = self.part(fields, "bucket", address::check_s3_bucket);
        let prefix = self.prefix(fields);
        let region = self.part(fields, "region", address::check_s3_region);
        let access_key_id = self.reference(fields, "access_key_id");
        let secret_access_key = self.secret(fields, "secret_access_key");
        let session_token = self.secret(fields, "session_token");
        self.needs(fields, "access_key_id", "secret_access_key");
        self.needs(fields, "secret_access_key", "access_key_id");
        self.needs(fields, "session_token", "access_key_id");
        let addressing = match self.choice(fields, "addressing") {
            Some("path") => Addressing::Path,
            Some("virtual") => Addressing::Virtual,
            _ => Addressing::Auto,
        };
        let http = self.http(fields);
        let bucket = bucket?;
        // Without a region the environment's is meant, whatever it is.
        let cloud = Cloud::S3 { region: region.as_ref().map_or("${AWS_REGION}", Reference::as_str) };
        let place = place(cloud, &http, &bucket, prefix.as_ref());
        let spec = S3Spec { bucket, prefix, region, access_key_id, secret_access_key, session_token, addressing, http };
        Some((StoreSpec::S3(spec), place))
    }

    fn gcs(&mut self, fields: &Fields<'_, 's>) -> Option<(StoreSpec, String)> {
        let bucket = self.part(fields, "bucket", address::check_gcs_bucket);
        let prefix = self.prefix(fields);
        let service_account_file = self.path(fields, "service_account_file");
        let http = self.http(fields);
        let bucket = bucket?;
        let place = place(Cloud::Gcs, &http, &bucket, prefix.as_ref());
        Some((StoreSpec::Gcs(GcsSpec { bucket, prefix, service_account_file, http }), place))
    }

    fn azure(&mut self, fields: &Fields<'_, 's>) -> Option<(StoreSpec, String)> {
        let account = self.part(fields, "account", address::check_account);
        let container = self.part(fields, "container", address::check_container);
        let prefix = self.prefix(fields);
        let access_key = self.secret(fields, "access_key");
        let sas_token = self.secret(fields, "sas_token");
        if let (Some(first), Some(second)) = (fields.key("access_key"), fields.key("sas_token")) {
            let problem = Problem::error(second, "`access_key` and `sas_token` exclude each other");
            self.problems.push(problem.related(first, "the other one").hint("remove one of the two"));
        }
        let http = self.http(fields);
        let (account, container) = (account?, container?);
        let place = place(Cloud::Azure { account: account.as_str() }, &http, &container, prefix.as_ref());
        let spec = AzureSpec { account, container, prefix, access_key, sas_token, http };
        Some((StoreSpec::Azure(spec), place))
    }

    fn http(&mut self, fields: &Fields<'_, 's>) -> HttpSpec {
        let insecure = self.boolean(fields, "insecure").unwrap_or(false);
        let endpoint = self.part(fields, "endpoint", |text| Endpoint::parse(text, insecure).map(drop));
        let is_plain = endpoint.as_ref().is_some_and(may_be_plain);
        self.warn_of_insecure(fields, insecure, is_plain);
        self.http_to(fields, insecure, endpoint)
    }

    /// Warns of what `insecure: true` allows, or that there is nothing to allow.
    pub(super) fn warn_of_insecure(&mut self, fields: &Fields<'_, 's>, insecure: bool, is_plain: bool) {
        let Some(place) = fields.key("insecure").filter(|_| insecure) else { return };
        self.problems.push(if is_plain {
            Problem::warning(place, "keys and backups of this store go through the network unencrypted")
                .hint("give the store a certificate, then write `https://` and remove `insecure`")
        } else {
            Problem::warning(place, "`insecure` does nothing here: it only allows `http://` to another machine")
                .hint("remove it; a certificate of your own authority is trusted with `ca_file`")
        });
    }

    /// How the endpoint is reached.
    pub(super) fn http_to(&mut self, fields: &Fields<'_, 's>, insecure: bool, endpoint: Option<Reference>) -> HttpSpec {
        HttpSpec {
            endpoint,
            ca_file: self.path(fields, "ca_file"),
            insecure,
            timeout: self.timeout(fields).unwrap_or(STALL_TIMEOUT),
            identity: self.text(fields, "identity"),
        }
    }

    fn timeout(&mut self, fields: &Fields<'_, 's>) -> Option<Duration> {
        let timeout = self.duration(fields, "timeout")?;
        if !TIMEOUTS.contains(&timeout) {
            let (node, _) = fields.get("timeout")?;
            let problem = Problem::error(node.place, "`timeout` must be from 1s to 1h");
            self.problems.push(problem.hint("write a time from `1s` to `1h`; `1m` holds without the key"));
        }
        Some(timeout)
    }

    /// A part of an address, checked if it refers to nothing.
    pub(super) fn part(
        &mut self,
        fields: &Fields<'_, 's>,
        name: &'static str,
        check: impl Fn(&str) -> Result<(), AddressError>,
    ) -> Option<Reference> {
        let reference = self.reference(fields, name)?;
        if reference.variables().next().is_some() {
            return Some(reference);
        }
        let Err(error) = check(reference.as_str()) else { return Some(reference) };
        let (node, _) = fields.get(name)?;
        let problem = Problem::error(node.place, format!("`{name}` {}", error.message)).hint(error.hint);
        self.problems.push(match error.secret {
            Some(secret) => problem.secret(self.place_in(node, secret)),
            None => problem,
        });
        None
    }

    /// The folder of a bucket, with the `/` at its end where what is before is known.
    fn prefix(&mut self, fields: &Fields<'_, 's>) -> Option<Reference> {
        let prefix = self.part(fields, "prefix", |text| address::prefix(text).map(drop))?;
        if prefix.as_str().ends_with(['/', '}']) {
            return Some(prefix);
        }
        let place = prefix.place().unwrap_or_default();
        Reference::parse(&format!("{prefix}/")).ok().map(|prefix| prefix.at(place))
    }

    /// A file or folder of this machine.
    pub(super) fn path(&mut self, fields: &Fields<'_, 's>, name: &'static str) -> Option<Reference> {
        let path = self.reference(fields, name)?;
        let place = path.place().unwrap_or_default();
        let text = path.as_str();
        let problem = if text == "~" || text.starts_with("~/") {
            Problem::error(place, format!("`~` is not expanded in `{name}`")).hint("write `${HOME}` instead of `~`")
        } else if text.contains("://") {
            let (what, example) = if name == "path" { ("folder", "backups") } else { ("file", "file") };
            Problem::error(place, format!("`{name}` is a URL, and must be a {what}"))
                .hint(format!("write it as `/srv/{example}` or `./{example}`"))
        } else {
            return Some(path);
        };
        self.problems.push(problem);
        None
    }

    /// Names a key that means nothing without another one.
    fn needs(&mut self, fields: &Fields<'_, 's>, name: &'static str, other: &'static str) {
        let Some(place) = fields.key(name).filter(|_| fields.key(other).is_none()) else { return };
        let problem = Problem::error(place, format!("`{name}` needs `{other}` beside it"));
        self.problems.push(problem.hint(format!(
            "add `{other}`, or remove `{name}`: without keys the cloud's own chain of credentials is asked"
        )));
    }
}

/// Whether what goes there may be read on its way.
pub(super) fn may_be_plain(url: &Reference) -> bool {
    !url.as_str().get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
}

/// What a bucket is, as far as its texts tell: those with references stand for themselves.
fn place(cloud: Cloud<'_>, http: &HttpSpec, bucket: &Reference, prefix: Option<&Reference>) -> String {
    if let Some(identity) = &http.identity {
        return identity.clone();
    }
    let authority = http.endpoint.as_ref().map(|endpoint| {
        let parsed = Endpoint::parse(endpoint.as_str(), http.insecure);
        parsed.map_or_else(|_| endpoint.to_string(), |endpoint| endpoint.authority())
    });
    address::identity_of(cloud, authority.as_deref(), bucket.as_str(), prefix.map_or("", Reference::as_str))
}

/// `path` from `folder`, with `.` and `..` taken out of the text; no file system is asked.
fn lexical(folder: &Path, path: &str) -> String {
    let path = if path.starts_with("${") { PathBuf::from(path) } else { folder.join(path) };
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out.to_string_lossy().into_owned()
}
