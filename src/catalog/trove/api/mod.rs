//! Trove's API as a catalog. A token of the very project does everything: an administrator's is refused on other
//! projects' paths.

mod read;
mod register;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Cause, Failure};
use crate::http::{Connector, GaveUp, JsonRequest, Patience, Repeat};
use crate::openstack::{ErrorKind, OpenStackError, Scope, Service, Session};
use crate::throttle::Throttle;

use register::Listing;

/// Waits for Trove's own limit of requests, which says when to come back.
const RATE_WAITS: u32 = 30;

/// The wait where it does not say.
const RATE_WAIT: Duration = Duration::from_secs(1);

/// The Trove API of one region. Clones share tokens and what was listed.
#[derive(Debug, Clone)]
pub struct TroveApi {
    session: Session,
    connector: Connector,
    patience: Patience,
    /// As the plan says; else the cloud's catalog knows.
    endpoint: Option<Url>,
    /// What lies in each project that something is registered in; its lock makes the requests one at a time.
    listings: Arc<Mutex<HashMap<String, Listing>>>,
}

/// Why a request did not do what it was to do.
#[derive(Debug)]
enum Trouble {
    Session(OpenStackError),
    Answer(Box<GaveUp>),
    /// Trove's limit of requests, for longer than is waited for.
    Limited,
    Nonsense(String),
}

impl TroveApi {
    /// Contacts nothing. `endpoint` counts instead of the cloud's catalog; up to `/v1.0`, the project is added. A request
    /// without a byte in either direction for `stall` is given up.
    #[must_use]
    pub fn new(session: Session, throttle: Throttle, stall: Duration, endpoint: Option<Url>) -> Self {
        let patience = Patience::new(throttle.gate());
        let connector = Connector::new(session.client(), throttle, stall);
        Self { session, connector, patience, endpoint, listings: Arc::default() }
    }

    async fn get<T: DeserializeOwned>(&self, scope: &Scope, path: &str) -> Result<T, Trouble> {
        let answer = self.send(scope, path, None).await?;
        read(answer)
    }

    /// One request. A token that is refused is renewed once; what Trove refused because of its own limit of requests was
    /// not done, and is sent again.
    async fn send(&self, scope: &Scope, path: &str, body: Option<Value>) -> Result<Value, Trouble> {
        let mut waits = 0;
        let mut renewed = false;
        loop {
            let token = self.session.token(scope).await.map_err(Trouble::Session)?;
            let base = self.base(scope).await.map_err(Trouble::Session)?;
            let url: Url = format!("{base}/{path}").parse().map_err(|_| Trouble::Nonsense("no URL".to_owned()))?;
            let request = match &body {
                Some(body) => JsonRequest::post(url, body.clone(), Repeat::Never),
                None => JsonRequest::get(url),
            };
            let sent = request.header("x-auth-token", token.header()).send(&self.connector, &self.patience).await;
            let gave_up = match sent {
                Ok(answer) => return Ok(answer.body),
                Err(gave_up) => gave_up,
            };
            match (gave_up.answer.status, gave_up.answer.retry_after) {
                (Some(401), _) if !renewed => {
                    self.session.rejected(scope, &token);
                    renewed = true;
                }
                _ if is_rate(&gave_up) && waits < RATE_WAITS => {
                    tokio::time::sleep(gave_up.answer.retry_after.unwrap_or(RATE_WAIT)).await;
                    waits += 1;
                }
                _ if is_rate(&gave_up) => return Err(Trouble::Limited),
                _ => return Err(Trouble::Answer(Box::new(gave_up))),
            }
        }
    }

    /// The API's address for the project of `scope`, without `/` at its end.
    async fn base(&self, scope: &Scope) -> Result<String, OpenStackError> {
        match &self.endpoint {
            None => Ok(self.session.endpoint(scope, Service::Database).await?.to_string()),
            Some(endpoint) => {
                let project = match scope {
                    Scope::Project(project) => project.clone(),
                    Scope::Own => self.session.token(scope).await?.project_id.clone().unwrap_or_default(),
                };
                Ok(of_project(endpoint.as_str(), &project))
            }
        }
    }

    fn listing(&self, project: &str) -> Listing {
        let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(listings.entry(project.to_owned()).or_default())
    }
}

/// Both of Trove's refusals are 413; the one that passes is told by its header, or its text.
fn is_rate(gave_up: &GaveUp) -> bool {
    let text = gave_up.answer.message.as_deref().unwrap_or_default();
    gave_up.answer.status == Some(413) && (gave_up.answer.retry_after.is_some() || text.contains("rate-limited"))
}

fn of_project(endpoint: &str, project: &str) -> String {
    let text = endpoint.trim_end_matches('/');
    if text.ends_with("/v1.0") {
        format!("{text}/{project}")
    } else if let Some((front, _)) = text.split_once("/v1.0/") {
        format!("{front}/v1.0/{project}")
    } else {
        format!("{text}/v1.0/{project}")
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Trouble> {
    serde_json::from_value(answer).map_err(|error| Trouble::Nonsense(error.to_string()))
}

impl Trouble {
    /// What was answered, where something was.
    fn status(&self) -> Option<u16> {
        match self {
            Self::Answer(gave_up) => gave_up.answer.status,
            _ => None,
        }
    }

    /// Trove's own words.
    fn message(&self) -> &str {
        match self {
            Self::Answer(gave_up) => gave_up.answer.message.as_deref().unwrap_or_default(),
            _ => "",
        }
    }

    /// The failure of whoever wanted `what`; `refused` is its cause where another try will not help.
    fn failure(self, what: &str, refused: Cause) -> Failure {
        match self {
            Self::Session(error) => {
                let cause = if error.kind == ErrorKind::Unreachable { Cause::Unreachable } else { refused };
                Failure { cause, message: format!("cannot {what}: {}", error.message), hint: error.hint }
            }
            Self::Limited => {
                let message = format!("cannot {what}: Trove goes on saying that there are too many requests");
                Failure::new(Cause::Unreachable, message)
            }
            Self::Nonsense(why) => {
                Failure::new(refused, format!("cannot {what}: the answer is none of Trove's: {why}"))
            }
            Self::Answer(gave_up) => {
                let cause = if gave_up.transient { Cause::Unreachable } else { refused };
                let why = gave_up.answer.in_words().unwrap_or(gave_up.error);
                let failure = Failure::new(cause, format!("cannot {what}: {why}"));
                match gave_up.answer.status {
                    Some(403) => {
                        failure.hint("the token needs a role that Trove's policy allows this to, in this project")
                    }
                    _ => failure,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_get_the_project() {
        for endpoint in ["http://h:8779", "http://h:8779/v1.0", "http://h:8779/v1.0/", "http://h:8779/v1.0/other"] {
            assert_eq!(of_project(endpoint, "p"), "http://h:8779/v1.0/p", "{endpoint}");
        }
    }
}
