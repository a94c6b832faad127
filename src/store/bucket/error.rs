//! What a store answered, as [`StoreError`]s. The only place where status codes become kinds and texts.

use crate::http::{Answer, GaveUp, Trouble};
use crate::store::attempt::Attempt;
use crate::store::{StoreError, StoreErrorKind};

impl Attempt<'_> {
    /// The error for a call that was given up.
    pub(in crate::store) fn failed(self, gave_up: &GaveUp) -> StoreError {
        let kind = kind(gave_up);
        let mut why = reason(gave_up);
        if gave_up.tries > 1 {
            why = format!("{why} ({} tries)", gave_up.tries);
        }
        let error = self.refused(kind, why);
        match hint(&gave_up.answer) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

fn kind(gave_up: &GaveUp) -> StoreErrorKind {
    let answer = &gave_up.answer;
    match (answer.status, answer.code.as_deref()) {
        (_, Some("NoSuchUpload" | "InvalidBlobOrBlock" | "InvalidBlockList" | "InvalidPart")) => StoreErrorKind::Lost,
        (_, Some("NoSuchBucket" | "ContainerNotFound")) => StoreErrorKind::Refused,
        (_, Some("BadDigest" | "XAmzContentChecksumMismatch" | "Md5Mismatch" | "Crc64Mismatch")) => {
            StoreErrorKind::Differs
        }
        (_, Some("QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "AccountStorageFull")) => {
            StoreErrorKind::NoSpace
        }
        (_, Some("BlobAlreadyExists")) => StoreErrorKind::Exists,
        (Some(507), _) => StoreErrorKind::NoSpace,
        (Some(404), _) => StoreErrorKind::Missing,
        (Some(412), _) => StoreErrorKind::Changed,
        (Some(200..=299), _) if answer.trouble.is_none() => StoreErrorKind::Io,
        _ if gave_up.transient => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Refused,
    }
}

fn reason(gave_up: &GaveUp) -> String {
    let GaveUp { error, answer, .. } = gave_up;
    match answer.status {
        Some(404) if answer.code.as_deref().is_none_or(|code| matches!(code, "NoSuchKey" | "BlobNotFound")) => {
            "no such object".to_owned()
        }
        // A write whose condition did not hold has words of its own.
        Some(412) => "it changed since it was looked at first".to_owned(),
        Some(status @ 200..=299) if answer.trouble.is_none() => {
            let what = answer.header("content-type").unwrap_or("no type");
            format!("{} answered {status}, and not as such a store does ({what}): {}", answer.host, without_urls(error))
        }
        _ => answer.in_words().unwrap_or_else(|| without_urls(error)),
    }
}

/// The library's text without anything that looks like a URL: it may carry a signature.
fn without_urls(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains("://") { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").trim_end_matches('.').to_owned()
}

fn hint(answer: &Answer) -> Option<&'static str> {
    match (answer.status, answer.code.as_deref()) {
        (_, Some("NoSuchBucket" | "ContainerNotFound")) => Some("create it, or correct its name in the plan"),
        (_, Some("SignatureDoesNotMatch" | "InvalidAccessKeyId" | "AuthenticationFailed")) => {
            Some("check the keys of this region")
        }
        (Some(412), _) => Some("let the writer finish, then run the same plan again"),
        (_, Some("RequestTimeTooSkewed")) => Some("set this machine's clock"),
        (Some(401 | 403), _) => Some("give the keys of this region the permission, or use other keys"),
        (Some(301 | 307 | 308), _) => Some("correct `region` or `endpoint` of the store; redirects are not followed"),
        _ if matches!(answer.trouble, Some(Trouble::Connect(_))) => Some("check `endpoint`, the network and the proxy"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(answer: Answer) -> StoreError {
        let gave_up = GaveUp {
            error: "signed https://host/?X-Amz-Signature=1 failed.".into(),
            answer,
            tries: 1,
            transient: false,
            repeated: false,
        };
        Attempt { store: "s3://host/bucket/", doing: "read", name: "a" }.failed(&gave_up)
    }

    #[test]
    fn texts_say_who_answered_what_and_no_signature() {
        let answered = |status, code: Option<&str>, message: Option<&str>| Answer {
            host: "host:9000".into(),
            status: Some(status),
            code: code.map(str::to_owned),
            message: message.map(str::to_owned),
            ..Answer::default()
        };
        let denied = error(answered(403, Some("AccessDenied"), Some("Access Denied")));
        assert_eq!(denied.kind, StoreErrorKind::Refused);
        assert_eq!(
            denied.message,
            "cannot read `a` in s3://host/bucket/: host:9000 answered 403 AccessDenied: Access Denied"
        );
        let missing = error(answered(404, Some("NoSuchKey"), Some("The key does not exist")));
        assert_eq!(missing.kind, StoreErrorKind::Missing);
        assert_eq!(missing.message, "cannot read `a` in s3://host/bucket/: no such object");
        let proxy = error(answered(200, None, None));
        assert_eq!(
            proxy.message,
            "cannot read `a` in s3://host/bucket/: host:9000 answered 200, and not as such a store does (no type): signed … failed"
        );
        let bucket = error(answered(404, Some("NoSuchBucket"), None));
        assert_eq!(bucket.kind, StoreErrorKind::Refused);
        assert_eq!(error(answered(404, Some("NoSuchUpload"), None)).kind, StoreErrorKind::Lost);
    }
}
