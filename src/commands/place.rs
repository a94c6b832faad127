//! A store on the command line: a folder, or a bucket as a URL with the keys of a plan's store behind it.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::CommandError;
use crate::exit::Exit;
use crate::plan::WrittenStore;

/// What the parts of a URL are in a plan; the rest of its path is the prefix.
const SCHEMES: [(&str, &[&str]); 3] = [("s3", &["bucket"]), ("gcs", &["bucket"]), ("azure", &["account", "container"])];

/// The store that an argument names. References stay as they are, and what they may stand for is not checked.
pub(super) fn store(argument: &Path) -> Result<WrittenStore, CommandError> {
    let url = argument.to_str().and_then(|text| text.split_once("://"));
    let Some((scheme, rest)) = url else {
        let path = std::path::absolute(argument).map_err(|error| {
            CommandError::new(Exit::Usage, format!("bad folder {}", argument.display())).caused_by(error)
        })?;
        return Ok(WrittenStore::File { path: path.to_string_lossy().into_owned(), identity: None });
    };
    let usage = |message: String| {
        let hint = "a folder, s3://BUCKET/PREFIX, gcs://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX; keys of a \
                    plan's store may follow: 's3://vault?endpoint=https://s3.example.com&region=eu-1'";
        CommandError::new(Exit::Usage, message).hint(hint)
    };
    let Some((kind, names)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
        return Err(usage(format!("there are no stores of type `{}`", scheme.escape_debug())));
    };
    let (path, keys) = rest.split_once('?').unwrap_or((rest, ""));
    let mut store = Map::from_iter([("type".to_owned(), Value::from(*kind))]);
    let mut parts = path.splitn(names.len() + 1, '/').filter(|part| !part.is_empty());
    for name in *names {
        let part = parts.next().ok_or_else(|| usage(format!("a URL of type `{kind}` needs a {name}")))?;
        store.insert((*name).to_owned(), part.into());
    }
    if let Some(prefix) = parts.next() {
        store.insert("prefix".to_owned(), prefix.into());
    }
    for pair in keys.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = match (key, value) {
            ("insecure", "true" | "false") => Value::from(value == "true"),
            _ => Value::from(value),
        };
        if store.insert(key.to_owned(), value).is_some() {
            return Err(usage(format!("`{}` stands twice in a URL of type `{kind}`", key.escape_debug())));
        }
    }
    // What is wrong may stand beside a secret, so no value is repeated.
    let read: WrittenStore = serde_json::from_value(Value::Object(store.clone()))
        .map_err(|_| usage(format!("the keys of a URL of type `{kind}` cannot be read")))?;
    let known = serde_json::to_value(&read).expect("texts");
    if let Some(key) = store.keys().find(|key| known.get(key.as_str()).is_none() && *key != "insecure") {
        return Err(usage(format!("unknown key `{}` in a URL of type `{kind}`", key.escape_debug())));
    }
    Ok(read)
}

/// The argument without the keys behind it.
pub(super) fn shown(argument: &Path) -> String {
    let text = argument.display().to_string();
    match text.split_once('?') {
        Some((place, _)) if text.contains("://") => place.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{WrittenAzure, WrittenGcs, WrittenHttp, WrittenS3};

    fn read(text: &str) -> WrittenStore {
        store(Path::new(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn folders_and_buckets_are_told_apart() {
        assert_eq!(read("/srv/a:b"), WrittenStore::File { path: "/srv/a:b".to_owned(), identity: None });
        let gcs = |bucket: &str, prefix: Option<&str>| {
            let (bucket, prefix) = (bucket.to_owned(), prefix.map(str::to_owned));
            WrittenStore::Gcs(WrittenGcs { bucket, prefix, ..WrittenGcs::default() })
        };
        for (text, store) in [
            ("gcs://vault", gcs("vault", None)),
            ("gcs://vault/", gcs("vault", None)),
            ("gcs://vault/a/b/", gcs("vault", Some("a/b/"))),
            ("gcs://vault/a?", gcs("vault", Some("a"))),
        ] {
            assert_eq!(read(text), store, "{text}");
        }
    }

    #[test]
    fn the_keys_of_a_url_are_those_of_a_plan() {
        let http =
            WrittenHttp { endpoint: Some("http://host:9000".to_owned()), insecure: true, ..WrittenHttp::default() };
        let s3 = WrittenS3 {
            bucket: "vault".to_owned(),
            access_key_id: Some("AKIA".to_owned()),
            secret_access_key: Some("${SECRET}".to_owned()),
            http,
            ..WrittenS3::default()
        };
        let text = "s3://vault?endpoint=http://host:9000&insecure=true&access_key_id=AKIA&secret_access_key=${SECRET}";
        assert_eq!(read(text), WrittenStore::S3(s3));
        let azure = WrittenAzure {
            account: "acct".to_owned(),
            container: "box".to_owned(),
            prefix: Some("a/b".to_owned()),
            sas_token: Some("${SAS}".to_owned()),
            ..WrittenAzure::default()
        };
        assert_eq!(read("azure://acct/box/a/b?sas_token=${SAS}"), WrittenStore::Azure(azure));
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let message = |text: &str| store(Path::new(text)).expect_err(text).message;
        assert_eq!(message("ftp://host/x"), "there are no stores of type `ftp`");
        assert_eq!(message("s3://"), "a URL of type `s3` needs a bucket");
        assert_eq!(message("azure://acct"), "a URL of type `azure` needs a container");
        assert_eq!(message("s3://vault?pth=x"), "unknown key `pth` in a URL of type `s3`");
        assert_eq!(message("s3://vault?bucket=x"), "`bucket` stands twice in a URL of type `s3`");
        assert_eq!(
            message("s3://vault?insecure=yes&secret_access_key=hunter2"),
            "the keys of a URL of type `s3` cannot be read"
        );
    }
}
