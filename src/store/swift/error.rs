//! What Swift answered, as [`StoreError`]s. The only place where its status codes become kinds and texts.

use crate::http::{Answer, GaveUp, Trouble};
use crate::store::attempt::Attempt;
use crate::store::{StoreError, StoreErrorKind};

/// What reading is called in attempts.
pub(super) const READ: &str = "read";

impl Attempt<'_> {
    /// The error for a call to Swift that was given up.
    pub(super) fn given_up(self, gave_up: &GaveUp) -> StoreError {
        // Of a write it says that the same name was written at the same time.
        if gave_up.answer.status == Some(409) && self.doing != READ {
            let why = gave_up.answer.in_words().unwrap_or_default();
            return self.refused(StoreErrorKind::Unreachable, why);
        }
        let mut why = reason(gave_up);
        if gave_up.tries > 1 {
            why = format!("{why} ({} tries)", gave_up.tries);
        }
        let error = self.refused(kind(gave_up), why);
        match hint(&gave_up.answer) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

fn kind(gave_up: &GaveUp) -> StoreErrorKind {
    let answer = &gave_up.answer;
    if answer.trouble.is_some() {
        return StoreErrorKind::Unreachable;
    }
    match answer.status {
        Some(404) => StoreErrorKind::Missing,
        Some(409 | 412) => StoreErrorKind::Changed,
        Some(413) if is_quota(answer) => StoreErrorKind::Quota,
        Some(416) => StoreErrorKind::Short,
        Some(422) => StoreErrorKind::Differs,
        Some(507) => StoreErrorKind::NoSpace,
        Some(200..=299) => StoreErrorKind::Io,
        // The body was cut short, or came too slowly for the proxy.
        Some(499) => StoreErrorKind::Unreachable,
        _ if gave_up.transient => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Refused,
    }
}

/// Both kinds of Swift's quotas answer so (`Upload exceeds quota.`), and too large an object too, in other words.
fn is_quota(answer: &Answer) -> bool {
    answer.message.as_ref().is_some_and(|text| text.contains("quota"))
}

fn reason(gave_up: &GaveUp) -> String {
    let GaveUp { error, answer, .. } = gave_up;
    match answer.status {
        _ if answer.trouble.is_some() => answer.in_words().unwrap_or_else(|| error.clone()),
        Some(404) => "no such object".to_owned(),
        Some(409) => format!("{} says that one of its segments is missing or altered", answer.host),
        Some(412) => "it changed since it was looked at first".to_owned(),
        Some(422) => "the store computed another MD5 than that of the bytes that were sent".to_owned(),
        Some(status @ 200..=299) => {
            let what = answer.header("content-type").unwrap_or("no type");
            format!("{} answered {status}, and not as Swift does ({what}): {error}", answer.host)
        }
        _ => answer.in_words().unwrap_or_else(|| error.clone()),
    }
}

fn hint(answer: &Answer) -> Option<&'static str> {
    match answer.status {
        _ if matches!(answer.trouble, Some(Trouble::Connect(_))) => {
            Some("check the region's endpoint in the service catalog, the network and the proxy")
        }
        Some(401) => Some("a new token was refused too: check that this Swift asks the same Keystone"),
        Some(403) => Some(
            "give the user a role that this Swift lets in (`operator_roles`, as `member`, in the project itself; \
             `ResellerAdmin` for all accounts), or use another user",
        ),
        Some(409) => Some("the backup is damaged where it lies: make a new one, or leave this one out"),
        Some(412) => Some("let the writer finish, then run the same plan again"),
        Some(413) if is_quota(answer) => Some("raise the quota of the container or the account, or make room there"),
        Some(413) => Some("a larger object needs segments; the limit is `max_file_size` in the cluster's `/info`"),
        Some(507) => Some("a device of the cluster is full: its operator has to make room"),
        Some(301 | 302 | 307 | 308) => Some("correct the region's endpoint; redirects are not followed"),
        _ => None,
    }
}

/// What Swift says of an error, without the page around it and without its own name for the status. Another page than
/// Swift's says nothing.
pub(super) fn said(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let text = match text.split_once("<p>") {
        Some((_, rest)) => rest.split_once("</p>").map_or(rest, |(inner, _)| inner),
        None if text.contains('<') => return None,
        None => &text,
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = line.trim_end_matches('.').chars().take(200).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, message: Option<&str>) -> StoreError {
        let answer = Answer {
            host: "host:8080".into(),
            status: Some(status),
            message: message.map(str::to_owned),
            ..Answer::default()
        };
        let gave_up =
            GaveUp { error: format!("status {status}"), answer, tries: 1, transient: status == 503, repeated: false };
        Attempt { store: "swift:host", doing: "write", name: "c/o" }.given_up(&gave_up)
    }

    #[test]
    fn each_status_has_its_kind_and_an_operator_knows_what_to_do() {
        for (status, kind) in [
            (401, StoreErrorKind::Refused),
            (403, StoreErrorKind::Refused),
            (404, StoreErrorKind::Missing),
            (409, StoreErrorKind::Unreachable),
            (412, StoreErrorKind::Changed),
            (416, StoreErrorKind::Short),
            (422, StoreErrorKind::Differs),
            (499, StoreErrorKind::Unreachable),
            (503, StoreErrorKind::Unreachable),
            (507, StoreErrorKind::NoSpace),
        ] {
            assert_eq!(error(status, None).kind, kind, "{status}");
        }
        let quota = error(413, Some("Upload exceeds quota"));
        assert_eq!(quota.kind, StoreErrorKind::Quota);
        assert_eq!(quota.message, "cannot write `c/o` in swift:host: host:8080 answered 413: Upload exceeds quota");
        assert!(quota.hint.is_some_and(|hint| hint.contains("quota")));
        let attempt = Attempt { store: "swift:host", doing: READ, name: "c/o" };
        let answer = Answer { status: Some(409), host: "host:8080".into(), ..Answer::default() };
        let gave_up = GaveUp { error: String::new(), answer, tries: 1, transient: false, repeated: false };
        let damaged = attempt.given_up(&gave_up);
        assert!(damaged.kind == StoreErrorKind::Changed && damaged.message.contains("missing or altered"), "{damaged}");
        assert_eq!(error(413, Some("Your request is too large")).kind, StoreErrorKind::Refused);
    }

    #[test]
    fn pages_of_errors_are_read_to_one_line() {
        let of = |text: &str| said(text.as_bytes());
        let page = "<html><h1>Forbidden</h1><p>Access was denied to this resource.</p></html>";
        assert_eq!(of(page).as_deref(), Some("Access was denied to this resource"));
        assert_eq!(of("Upload exceeds quota.").as_deref(), Some("Upload exceeds quota"));
        assert_eq!(of("Errors:\nc/o, Etag Mismatch\n").as_deref(), Some("Errors: c/o, Etag Mismatch"));
        assert_eq!(of("<html><body>a proxy</body></html>"), None);
        assert_eq!(of(""), None);
    }
}
