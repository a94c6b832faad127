//! What Swift says of an object in headers, and what we say of ours.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use jiff::Timestamp;

use super::info::Limits;
use crate::id::Sha256Digest;
use crate::store::{KnownDigests, Metadata, ObjectFacts};

/// Headers that travel with an object under their own names.
const HEADERS: [&str; 5] =
    ["content-type", "content-encoding", "content-language", "content-disposition", "cache-control"];

/// Headers besides that a POST drops unless they are sent again. A manifest of prefixes is lost without its own.
const KEPT_BY_POST: [&str; 2] = ["x-delete-at", "x-object-manifest"];

const META: &str = "x-object-meta-";

/// Metadata of ours; of the owner's nothing starts so.
const OURS: &str = "backhaul-";

/// The attempt that made an object.
pub(super) const UPLOAD: &str = "x-object-meta-backhaul-upload";

/// The digest of an object's bytes.
const SHA256: &str = "x-object-meta-backhaul-sha256";

/// Metadata by which a chain is followed. A copy has links of its own, which come with its record.
const LINKS: [&str; 2] = ["parent-location", "parent-checksum"];

/// How an object's bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// A manifest that names its segments.
    Static,
    /// A manifest that names a prefix.
    Dynamic,
}

/// An object as an answer's headers show it.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) facts: ObjectFacts,
    pub(super) kind: Kind,
    /// The attempt of ours that made it.
    pub(super) upload: Option<String>,
    /// The object that it is a symbolic link to.
    pub(super) link_to: Option<String>,
    /// What travels with it and has a value that is no text.
    pub(super) no_text: Option<String>,
}

impl Shown {
    /// Reads the headers of an answer to HEAD, or to a GET of which the whole object's size is known.
    ///
    /// # Errors
    /// What is missing; completes "the answer …".
    pub(super) fn read(headers: &HeaderMap, size: Option<u64>) -> Result<Self, &'static str> {
        let kind = match headers.contains_key("x-object-manifest") {
            _ if is_manifest(headers) => Kind::Static,
            true => Kind::Dynamic,
            false => Kind::Plain,
        };
        let etag = text(headers, "etag").map(unquoted).ok_or("has no ETag")?;
        let size = size.or_else(|| text(headers, "content-length")?.parse().ok()).ok_or("has no Content-Length")?;
        let seconds = |name: &str| text(headers, name)?.parse::<f64>().ok();
        let digests = KnownDigests {
            sha256: text(headers, SHA256).and_then(|text| text.parse::<Sha256Digest>().ok()),
            md5: (kind == Kind::Plain).then(|| md5_of(&etag)).flatten(),
            ..KnownDigests::default()
        };
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of our time fit")]
        let modified_ms = seconds("x-timestamp").map(|seconds| (seconds * 1000.0).floor() as i64);
        let expires = text(headers, "x-delete-at").and_then(|text| Timestamp::from_second(text.parse().ok()?).ok());
        let (metadata, no_text) = metadata(headers);
        let facts = ObjectFacts { size, etag, modified_ms, digests, metadata, expires };
        let upload = text(headers, UPLOAD).map(str::to_owned);
        let link_to = text(headers, "content-location").map(str::to_owned);
        Ok(Self { facts, kind, upload, link_to, no_text })
    }
}

/// Whether an answer is about a manifest that names its segments.
pub(super) fn is_manifest(headers: &HeaderMap) -> bool {
    text(headers, "x-static-large-object").is_some_and(|yes| yes.eq_ignore_ascii_case("true"))
}

/// A header as text. Values of metadata are UTF-8.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok()
}

/// The `ETag` without quotes, whether the cluster writes them or not.
pub(super) fn unquoted(etag: &str) -> String {
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag).to_ascii_lowercase()
}

/// 32 hexadecimal digits.
pub(super) fn md5_of(hex: &str) -> Option<[u8; 16]> {
    if hex.len() != 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut md5 = [0; 16];
    for (at, byte) in md5.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(md5)
}

pub(super) fn hex(md5: [u8; 16]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("below 16");
    md5.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// What travels with the object besides its bytes: all but what is ours. And the name of what cannot, not being UTF-8.
fn metadata(headers: &HeaderMap) -> (Metadata, Option<String>) {
    let (mut metadata, mut no_text) = (Metadata::new(), None);
    for (name, value) in headers {
        let name = name.as_str();
        let own = name.strip_prefix(META).filter(|name| !name.starts_with(OURS));
        let Some(name) = own.or_else(|| HEADERS.contains(&name).then_some(name)) else { continue };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => drop(metadata.insert(name.to_owned(), text.to_owned())),
            Err(_) => no_text = Some(name.to_owned()),
        }
    }
    (metadata, no_text)
}

/// The headers of an object that an attempt makes: its metadata but for links, and who makes it.
///
/// # Errors
/// What this Swift cannot hold, by name; completes "its metadata …".
pub(super) fn of_copy(metadata: &Metadata, token: &str, limits: &Limits) -> Result<HeaderMap, String> {
    let travels = metadata.iter().filter(|(name, _)| !LINKS.contains(&&***name) && !name.starts_with(OURS));
    let mut headers = written(travels)?;
    // Without one Swift guesses it from the name.
    headers.entry("content-type").or_insert(HeaderValue::from_static("application/octet-stream"));
    headers.insert(UPLOAD, value("backhaul-upload", token)?);
    limits.allow(&headers)?;
    Ok(headers)
}

/// The headers of a POST that leaves everything as it is but for `changes`.
///
/// # Errors
/// As [`of_copy`].
pub(super) fn of_change(now: &HeaderMap, changes: &[(&str, &str)], limits: &Limits) -> Result<HeaderMap, String> {
    let stays = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with(META) || HEADERS.contains(&name) || KEPT_BY_POST.contains(&name)
    };
    let mut headers: HeaderMap =
        now.iter().filter(|(name, _)| stays(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, text) in changes {
        headers.insert(header(name)?, value(name, text)?);
    }
    limits.allow(&headers)?;
    Ok(headers)
}

fn written<'a>(metadata: impl Iterator<Item = (&'a String, &'a String)>) -> Result<HeaderMap, String> {
    metadata.map(|(name, text)| Ok((header(name)?, value(name, text)?))).collect()
}

fn header(name: &str) -> Result<HeaderName, String> {
    // Swift's server drops such headers without a word.
    if name.contains('_') {
        return Err(format!("has the name `{name}`, and Swift drops names with `_`"));
    }
    let full = if HEADERS.contains(&name) { name.to_owned() } else { format!("{META}{name}") };
    HeaderName::from_bytes(full.as_bytes())
        .map_err(|_| format!("has the name `{}`, which is none to HTTP", name.escape_debug()))
}

fn value(name: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("has a control character in the value of `{}`", name.escape_debug()))
}

impl Limits {
    /// Compares the metadata among some headers with what the cluster holds.
    fn allow(&self, headers: &HeaderMap) -> Result<(), String> {
        let (mut count, mut overall) = (0, 0);
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix(META) else { continue };
            let (name_bytes, value_bytes) = (name.len(), value.len());
            if name_bytes > self.meta_name {
                return Err(format!("has the name `{name}`, longer than {} bytes", self.meta_name));
            }
            if value_bytes > self.meta_value {
                let most = self.meta_value;
                return Err(format!("has {value_bytes} bytes in the value of `{name}`, more than {most}"));
            }
            count += 1;
            overall += name_bytes + value_bytes;
        }
        if count > self.meta_count {
            return Err(format!("has {count} names, more than {}", self.meta_count));
        }
        if overall > self.meta_overall {
            return Err(format!("has {overall} bytes in all, more than {}", self.meta_overall));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let pairs = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
        });
        pairs.collect()
    }

    fn limits() -> Limits {
        Limits::of(br#"{"swift": {"max_file_size": 10}}"#).expect("limits")
    }

    #[test]
    fn an_object_is_read_from_its_headers() {
        let headers = map(&[
            ("Etag", "\"2E4559c3a87b02bf48fffc8e36704134\""),
            ("X-Static-Large-Object", "True"),
            ("Content-Length", "7"),
            ("Content-Type", "application/octet-stream"),
            ("X-Timestamp", "1795344485.05702"),
            ("X-Delete-At", "1800000000"),
            ("X-Object-Meta-Lsn", "1016400"),
            ("X-Object-Meta-Wer", "Jürgen"),
            ("X-Object-Meta-Backhaul-Upload", "t"),
        ]);
        let shown = Shown::read(&headers, None).expect("readable");
        assert_eq!((shown.kind, shown.upload.as_deref()), (Kind::Static, Some("t")));
        assert_eq!(shown.facts.etag, "2e4559c3a87b02bf48fffc8e36704134");
        assert_eq!(shown.facts.digests.md5, None, "the ETag of a manifest is no MD5 of the bytes");
        assert_eq!(shown.facts.modified_ms, Some(1_795_344_485_057));
        assert_eq!(shown.facts.expires.map(Timestamp::as_second), Some(1_800_000_000));
        let metadata: Vec<_> = shown.facts.metadata.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(metadata, [("content-type", "application/octet-stream"), ("lsn", "1016400"), ("wer", "Jürgen")]);
        assert!(Shown::read(&map(&[("etag", "a")]), None).is_err());
        assert!(Shown::read(&map(&[("content-length", "1")]), None).is_err());
        let plain = map(&[("etag", "25f9e794323b453885f5181f1b624d0b"), ("content-length", "9")]);
        let plain = Shown::read(&plain, None).expect("readable");
        assert!(plain.kind == Kind::Plain && plain.facts.digests.md5.is_some());
        let dynamic = Shown::read(&map(&[("etag", "\"a\""), ("x-object-manifest", "c/p")]), Some(3)).expect("readable");
        assert_eq!((dynamic.kind, dynamic.facts.size), (Kind::Dynamic, 3));
    }

    #[test]
    fn a_copy_carries_everything_but_links_and_the_marks_of_other_copies() {
        let metadata =
            [("lsn", "1"), ("wer", "Jürgen"), ("parent-location", "http://elsewhere"), ("backhaul-upload", "old")];
        let metadata = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let headers = of_copy(&metadata, "new", &limits()).expect("allowed");
        assert_eq!(text(&headers, "x-object-meta-wer"), Some("Jürgen"));
        assert_eq!(text(&headers, UPLOAD), Some("new"));
        assert_eq!(text(&headers, "content-type"), Some("application/octet-stream"));
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn metadata_that_swift_would_drop_or_refuse_is_refused_by_name() {
        let refused = |name: &str, value: &str| {
            let metadata = Metadata::from([(name.to_owned(), value.to_owned())]);
            of_copy(&metadata, "t", &limits()).expect_err("not possible")
        };
        assert_eq!(refused("a_b", "1"), "has the name `a_b`, and Swift drops names with `_`");
        assert_eq!(refused("a b", "1"), "has the name `a b`, which is none to HTTP");
        assert_eq!(refused("a", "1\n2"), "has a control character in the value of `a`");
        assert_eq!(refused("a", &"é".repeat(129)), "has 258 bytes in the value of `a`, more than 256");
        assert_eq!(
            refused(&"a".repeat(129), "1"),
            format!("has the name `{}`, longer than 128 bytes", "a".repeat(129))
        );
        let many: Metadata = (0..90).map(|number| (format!("n{number}"), String::new())).collect();
        assert_eq!(of_copy(&many, "t", &limits()), Err("has 91 names, more than 90".to_owned()));
        let large: Metadata = (0..20).map(|number| (format!("n{number}"), "x".repeat(250))).collect();
        assert!(of_copy(&large, "t", &limits()).is_err_and(|why| why.contains("bytes in all")));
    }

    #[test]
    fn a_change_sends_again_what_should_stay() {
        let now = map(&[
            ("etag", "a"),
            ("content-length", "5"),
            ("content-encoding", "gzip"),
            ("content-disposition", "inline"),
            ("x-delete-at", "1800000000"),
            ("x-object-manifest", "c/p"),
            ("x-object-meta-lsn", "1"),
            ("x-object-meta-parent-checksum", "old"),
            ("x-trans-id", "tx"),
        ]);
        let headers =
            of_change(&now, &[("parent-checksum", "new"), ("parent-location", "u")], &limits()).expect("allowed");
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-disposition",
                "content-encoding",
                "x-delete-at",
                "x-object-manifest",
                "x-object-meta-lsn",
                "x-object-meta-parent-checksum",
                "x-object-meta-parent-location"
            ]
        );
        assert_eq!(text(&headers, "x-object-meta-parent-checksum"), Some("new"));
    }
}
