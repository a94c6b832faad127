//! `TempAuth`, Swift's own way in without Keystone: one account, no catalog.

use http::header::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::token::CatalogEntry;
use super::{Cloud, ErrorKind, Interface, OpenStackError, Secret, Service, Token};
use crate::http::{Connector, GaveUp, JsonAnswer, JsonRequest, Patience};

/// How long a token lasts that does not say it. When it ended, the next 401 tells.
const LIFETIME_S: i64 = 3600;

/// Asks for a token; the outer error is that of the request, the inner that of its answer.
pub(super) async fn token(
    cloud: &Cloud,
    user: &str,
    key: &Secret,
    connector: &Connector,
    patience: &Patience,
) -> Result<Result<Token, OpenStackError>, GaveUp> {
    let value = |text: &str| {
        let error = "it has a character that a header cannot hold";
        HeaderValue::from_str(text).map_err(|_| OpenStackError::new(ErrorKind::Bad, error))
    };
    let (name, mut secret) = match (value(user), value(key.reveal())) {
        (Ok(user), Ok(key)) => (user, key),
        (Err(error), _) => return Ok(Err(named(error, "user", cloud))),
        (_, Err(error)) => return Ok(Err(named(error, "key", cloud))),
    };
    secret.set_sensitive(true);
    let asked = Instant::now();
    let request = JsonRequest::get(cloud.auth_url.clone()).header("x-auth-user", name).header("x-auth-key", secret);
    let answer = request.send(connector, patience).await?;
    Ok(read(&answer, user, asked))
}

fn named(error: OpenStackError, what: &str, cloud: &Cloud) -> OpenStackError {
    OpenStackError { message: format!("the {what} of cloud `{}`: {}", cloud.name, error.message), ..error }
}

fn read(answer: &JsonAnswer, user: &str, asked: Instant) -> Result<Token, OpenStackError> {
    let unreadable = |what: &str| {
        let message = format!("the answer to user `{user}` has no `{what}`");
        OpenStackError::new(ErrorKind::Bad, message).hint("`auth_url` is where TempAuth gives tokens: …/auth/v1.0")
    };
    let mut header = answer.headers.get("x-auth-token").ok_or_else(|| unreadable("X-Auth-Token"))?.clone();
    header.set_sensitive(true);
    let text = |name: &str| answer.headers.get(name)?.to_str().ok();
    let url = text("x-storage-url").ok_or_else(|| unreadable("X-Storage-Url"))?;
    let seconds = text("x-auth-token-expires").and_then(|text| text.parse().ok()).unwrap_or(LIFETIME_S);
    let issued = Timestamp::now();
    Ok(Token {
        header,
        project_id: None,
        project_name: None,
        roles: Vec::new(),
        user_id: user.to_owned(),
        user_name: user.to_owned(),
        expires: issued.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(issued),
        issued,
        catalog: vec![CatalogEntry {
            service: Service::ObjectStore.as_str().to_owned(),
            interface: Interface::Public.as_str().to_owned(),
            region: None,
            url: url.to_owned(),
        }],
        domains: Vec::new(),
        asked,
        // It answers with the same token until that has ended.
        is_renewable: false,
    })
}
