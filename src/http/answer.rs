//! What a store answered, beyond what a library between it and us passes on: status, error code, when to come back,
//! and the digests that it computed. Kept by task, so that nothing in between has to carry it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{Span, Timestamp};
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use serde_json::Value;

/// Longest `Retry-After` that is believed; more counts as this.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

tokio::task_local! {
    static LAST: Arc<Mutex<Answer>>;
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens there, no such host, or TLS was refused: the request was not sent.
    Connect(String),
    /// No byte in either direction for so long.
    Stalled(Duration),
    /// So few bytes of the answer came in such a time.
    Slow(u64, Duration),
    /// The connection broke.
    Broken(String),
    /// The store asked to be left alone while the request waited for its turn: it was not sent.
    HeldBack,
}

/// The last answer within a call. Empty when nothing was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// Where the request went: host and port.
    pub(crate) host: String,
    /// HTTP status.
    pub(crate) status: Option<u16>,
    /// The store's own word for an error, as `NoSuchUpload`.
    pub(crate) code: Option<String>,
    /// Its text for it.
    pub(crate) message: Option<String>,
    /// How long it asks us to stay away.
    pub(crate) retry_after: Option<Duration>,
    /// Headers of the answer.
    pub(crate) headers: HeaderMap,
    /// Why there is none.
    pub(crate) trouble: Option<Trouble>,
}

impl Answer {
    /// Runs a call and comes back with the last answer within it.
    pub(crate) async fn during<F: Future>(call: F) -> (F::Output, Self) {
        let last = Arc::new(Mutex::new(Self::default()));
        let output = LAST.scope(Arc::clone(&last), call).await;
        let answer = std::mem::take(&mut *last.lock().unwrap_or_else(PoisonError::into_inner));
        (output, answer)
    }

    /// Keeps this as the last answer of the call that is going on, if anybody asked for it.
    pub(crate) fn keep(self) {
        let _ = LAST.try_with(|last| *last.lock().unwrap_or_else(PoisonError::into_inner) = self);
    }

    /// Adds trouble to the last answer: its headers came, its body did not.
    pub(super) fn broke_off(trouble: Trouble) {
        let _ = LAST.try_with(|last| last.lock().unwrap_or_else(PoisonError::into_inner).trouble = Some(trouble));
    }

    /// Adds the other side's own words to the last answer, from an error's body that only the client can read.
    pub(crate) fn add_message(message: String) {
        let _ = LAST.try_with(|last| last.lock().unwrap_or_else(PoisonError::into_inner).message = Some(message));
    }

    /// What went wrong, in words; none if nothing was sent.
    pub(crate) fn in_words(&self) -> Option<String> {
        let host = &self.host;
        match (&self.trouble, self.status) {
            (Some(Trouble::Connect(why)), _) => Some(format!("cannot connect to {host}: {why}")),
            (Some(Trouble::Stalled(time)), _) => {
                Some(format!("{host} sent and took no byte for {} s", time.as_secs_f64()))
            }
            (Some(Trouble::Slow(bytes, time)), _) => {
                Some(format!("{host} sent no more than {bytes} bytes in {} s", time.as_secs_f64()))
            }
            (Some(Trouble::Broken(why)), _) => Some(format!("the connection to {host} broke: {why}")),
            (Some(Trouble::HeldBack), _) => Some(format!("{host} wants to be left alone")),
            (None, Some(status)) => {
                let code = self.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
                let message = self.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
                Some(format!("{host} answered {status}{code}{message}"))
            }
            (None, None) => None,
        }
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(HeaderName::from_bytes(name.as_bytes()).ok()?)?.to_str().ok()
    }

    /// Reads code and text from the body of an error: `<Code>…</Code><Message>…</Message>`, as S3, GCS and Azure
    /// write it, or `{"badRequest": {"message": "…"}}`, as `OpenStack` does. Anything else (a proxy's page) gives neither.
    pub(super) fn with_error_body(mut self, body: &[u8]) -> Self {
        if let Ok(Value::Object(members)) = serde_json::from_slice(body) {
            (self.code, self.message) = json_error(&members);
            return self;
        }
        let text = String::from_utf8_lossy(body);
        let element = |name: &str| {
            let (_, rest) = text.split_once(&format!("<{name}>"))?;
            let (inner, _) = rest.split_once(&format!("</{name}>"))?;
            one_line(inner)
        };
        self.code = element("Code").or_else(|| self.header("x-ms-error-code").map(str::to_owned));
        self.message = element("Message").map(|message| message.trim_end_matches('.').to_owned());
        self
    }
}

fn one_line(text: &str) -> Option<String> {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| line.chars().take(200).collect())
}

/// Code and text of an error of `OpenStack`: one member, named by the kind of error (in Keystone always `error`, which
/// has a `title` inside).
fn json_error(members: &serde_json::Map<String, Value>) -> (Option<String>, Option<String>) {
    let Some((kind, error)) = members.iter().next().filter(|_| members.len() == 1) else { return (None, None) };
    let text = |name: &str| error.get(name).and_then(Value::as_str).and_then(one_line);
    let code = text("title").or_else(|| Some(kind.clone()));
    (code, text("message").map(|message| message.trim_end_matches('.').to_owned()))
}

/// `Retry-After` as seconds or as a date (RFC 9110 §10.2.3). Nonsense is none; a date that is past is none too.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse::<u64>() {
        Duration::from_secs(seconds)
    } else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
        let span: Span = date.since(now).ok()?;
        Duration::try_from(span).ok()?
    };
    (!wait.is_zero()).then_some(wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(text: &str) -> Option<Duration> {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
        let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]);
        retry_after(&headers, now)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nonsense_is_nothing() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Tue, 24 Nov 2026 12:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("999999999"), Some(LONGEST_WAIT));
        for nonsense in ["0", "-3", "soon", "", "1.5", "Tue, 24 Nov 2026 11:00:00 GMT", "184467440737095516160"] {
            assert_eq!(wait(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_error_body_gives_code_and_text_in_one_line() {
        let body =
            b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please\n reduce your rate.</Message></Error>";
        let answer = Answer::default().with_error_body(body);
        assert_eq!(
            (answer.code.as_deref(), answer.message.as_deref()),
            (Some("SlowDown"), Some("Please reduce your rate"))
        );
        assert_eq!(Answer::default().with_error_body(b"<html>a proxy").code, None);
    }

    #[test]
    fn an_error_of_openstack_gives_its_kind_and_text() {
        let read = |body: &str| {
            let answer = Answer::default().with_error_body(body.as_bytes());
            (answer.code, answer.message)
        };
        let both = |code: &str, message: &str| (Some(code.to_owned()), Some(message.to_owned()));
        let keystone = r#"{"error":{"code":401,"message":"Not\nyou.","title":"Unauthorized"}}"#;
        assert_eq!(read(keystone), both("Unauthorized", "Not you"));
        let trove = r#"{"overLimit": {"code": 413, "message": "Quota exceeded for resources: ['backups']."}}"#;
        assert_eq!(read(trove), both("overLimit", "Quota exceeded for resources: ['backups']"));
        for other in ["{}", "[]", r#"{"a": 1, "b": 2}"#] {
            assert_eq!(read(other), (None, None), "{other}");
        }
    }

    #[tokio::test]
    async fn each_task_sees_its_own_answer() {
        let call = |status| {
            Answer::during(async move {
                tokio::task::yield_now().await;
                Answer { status: Some(status), ..Answer::default() }.keep();
                tokio::task::yield_now().await;
            })
        };
        let (one, other) = tokio::join!(call(1), call(2));
        assert_eq!((one.1.status, other.1.status), (Some(1), Some(2)));
    }
}
