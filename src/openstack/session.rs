//! A way into one cloud: tokens by scope, and where its services are.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::HeaderValue;
use reqwest::Url;
use tokio::time::Instant;

use super::error::reason;
use super::slot::Slot;
use super::{
    Auth, Cloud, Domain, ErrorKind, OpenStackError, OwnScope, Scope, Service, Token, User, catalog, keystone, tempauth,
};
use crate::http::{Connector, GaveUp, JsonAnswer, JsonRequest, Patience, Repeat, client};
use crate::throttle::Throttle;

/// Tokens and endpoints of one cloud. Clones share the tokens.
#[derive(Clone)]
pub struct Session {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) cloud: Cloud,
    client: reqwest::Client,
    connector: Connector,
    patience: Patience,
    slots: Mutex<HashMap<Scope, Arc<Slot>>>,
    /// Once a token was given, a refusal is about the scope.
    was_let_in: AtomicBool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("cloud", &self.inner.cloud).finish_non_exhaustive()
    }
}

impl Session {
    /// Contacts nothing. A request without a byte in either direction for `stall` is given up.
    ///
    /// # Errors
    /// [`OpenStackError`] of kind `Bad`: certificates that cannot be read, or an `auth_url` for all to read.
    pub fn open(cloud: Cloud, stall: Duration) -> Result<Self, OpenStackError> {
        cloud.check("`auth_url`", &cloud.auth_url)?;
        let bad = |what: String| {
            let hint = format!("look at `cacert` of cloud `{}` in {}", cloud.name, cloud.origin);
            OpenStackError::new(ErrorKind::Bad, what).hint(hint)
        };
        let ca = cloud.cacert.as_ref().map(|path| {
            std::fs::read(path)
                .map_err(|error| bad(format!("cannot read the certificates {}: {error}", path.display())))
        });
        let client = client(ca.transpose()?.as_deref(), cloud.verify)
            .map_err(|why| bad(format!("no HTTPS client for cloud `{}`: {why}", cloud.name)))?;
        // Keystone has a gate of its own: while it is down, stores go on with the tokens that they have.
        let throttle = Throttle::unlimited();
        let patience = Patience::new(throttle.gate());
        let connector = Connector::new(client.clone(), throttle, stall);
        let (slots, was_let_in) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { inner: Arc::new(Inner { cloud, client, connector, patience, slots, was_let_in }) })
    }

    /// The connections into this cloud, with its certificates: for the stores and catalogs in it.
    #[allow(dead_code, reason = "Swift and Trove take it")]
    pub(crate) fn client(&self) -> reqwest::Client {
        self.inner.client.clone()
    }

    /// The cloud that it leads into.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.inner.cloud
    }

    /// Whether it can get tokens of more than the one project.
    #[must_use]
    pub fn can_scope(&self) -> bool {
        matches!(self.inner.cloud.auth, Auth::Password { .. })
    }

    /// A token that a request may be begun with. All who wait for one wait for the same request, and a token that is
    /// about to end is renewed while it is still given out.
    ///
    /// # Errors
    /// [`OpenStackError`].
    pub async fn token(&self, scope: &Scope) -> Result<Arc<Token>, OpenStackError> {
        let Scope::Project(id) = scope else { return self.token_of(Scope::Own).await };
        if self.can_scope() {
            return self.token_of(scope.clone()).await;
        }
        let own = self.token_of(Scope::Own).await?;
        if own.project_id.as_ref() == Some(id) { Ok(own) } else { Err(self.inner.cannot_scope(id, &own)) }
    }

    async fn token_of(&self, scope: Scope) -> Result<Arc<Token>, OpenStackError> {
        let slot = self.slot(&scope);
        let inner = Arc::clone(&self.inner);
        slot.token(|| async move { inner.ask(&scope).await }).await
    }

    /// A service said 401 to this token: it is forgotten, if it is still the one, and the next call gets another.
    /// Whoever says this tries once more, and no further.
    pub fn rejected(&self, scope: &Scope, token: &Token) {
        let scope = if self.can_scope() { scope } else { &Scope::Own };
        self.slot(scope).forget(token);
    }

    fn slot(&self, scope: &Scope) -> Arc<Slot> {
        let mut slots = self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(scope.clone()).or_default())
    }

    /// Where a service answers: as the cloud's entry overrides it, else by type, interface and region in the catalog of
    /// the scope's token. Without `/` at its end.
    ///
    /// # Errors
    /// [`OpenStackError`]; kind `NotFound` names what the catalog has instead.
    pub async fn endpoint(&self, scope: &Scope, service: Service) -> Result<Url, OpenStackError> {
        let url = self.listed(scope, service).await?;
        self.inner.cloud.check(&format!("the endpoint of `{}`", service.as_str()), &url)?;
        Ok(url)
    }

    /// As [`Session::endpoint`], for whoever only wants to know what is written there.
    pub(crate) async fn listed(&self, scope: &Scope, service: Service) -> Result<Url, OpenStackError> {
        let cloud = &self.inner.cloud;
        let text = match cloud.endpoint_overrides.get(&service) {
            Some(template) if template.contains("%(") => catalog::filled(template, &*self.token(scope).await?),
            Some(text) => text.clone(),
            None => catalog::endpoint(cloud, &*self.token(scope).await?, service)?.to_owned(),
        };
        let text = text.trim_end_matches('/');
        text.parse().map_err(|_| {
            let message = format!("the endpoint of `{}` in cloud `{}` is no URL: {text}", service.as_str(), cloud.name);
            OpenStackError::new(ErrorKind::Bad, message)
        })
    }

    /// Asks Keystone with a token of our own, and once more with a fresh one if it says 401. The inner error is an answer
    /// with another status than 200 to 299.
    pub(super) async fn get(&self, path: &str) -> Result<Result<JsonAnswer, GaveUp>, OpenStackError> {
        let text = match self.inner.cloud.endpoint_overrides.get(&Service::Identity) {
            Some(_) => self.endpoint(&Scope::Own, Service::Identity).await?,
            None => self.inner.cloud.auth_url.clone(),
        };
        let url: Url = format!("{}/{path}", text.as_str().trim_end_matches('/'))
            .parse()
            .map_err(|_| OpenStackError::new(ErrorKind::Bad, format!("{text} with `{path}` behind it is no URL")))?;
        let mut is_second = false;
        loop {
            let token = self.token(&Scope::Own).await?;
            let request = JsonRequest::get(url.clone()).header("x-auth-token", token.header());
            let answer = request.send(&self.inner.connector, &self.inner.patience).await;
            match answer {
                Err(gave_up) if gave_up.answer.status == Some(401) && !is_second => {
                    self.rejected(&Scope::Own, &token);
                    is_second = true;
                }
                Err(gave_up) if gave_up.transient => return Err(self.inner.unreachable(&gave_up)),
                answer => return Ok(answer),
            }
        }
    }
}

impl Inner {
    /// Asks for a token.
    async fn ask(&self, scope: &Scope) -> Result<Token, OpenStackError> {
        let token = match &self.cloud.auth {
            Auth::V1 { user, key } => {
                let answer = tempauth::token(&self.cloud, user, key, &self.connector, &self.patience).await;
                answer.map_err(|gave_up| self.failed(&gave_up))?
            }
            Auth::Token { token, scope: OwnScope::Unscoped } => self.given(token.reveal()).await,
            auth => self.authenticate(auth, scope).await,
        };
        self.was_let_in.fetch_or(token.is_ok(), Ordering::Relaxed);
        token
    }

    async fn authenticate(&self, auth: &Auth, scope: &Scope) -> Result<Token, OpenStackError> {
        let body = keystone::request(auth, scope).expect("TempAuth goes another way");
        let asked = Instant::now();
        match self.post(body).await {
            Ok(answer) => {
                let mut token = keystone::token(&answer.headers, &answer.body, asked, None).map_err(|e| self.at(e))?;
                // One that was made of another one ends when that one does.
                token.is_renewable = !matches!(auth, Auth::Token { .. });
                Ok(token)
            }
            Err(gave_up) if gave_up.answer.status == Some(401) => Err(self.refused(auth, scope, &gave_up).await),
            // Keystone's word for a token that is none.
            Err(gave_up) if matches!(auth, Auth::Token { .. }) && gave_up.answer.status == Some(404) => {
                Err(self.token_refused(&gave_up))
            }
            Err(gave_up) => Err(self.failed(&gave_up)),
        }
    }

    async fn post(&self, body: serde_json::Value) -> Result<JsonAnswer, GaveUp> {
        let mut url = self.cloud.auth_url.clone();
        let path = format!("{}/auth/tokens", url.path().trim_end_matches('/'));
        url.set_path(&path);
        JsonRequest::post(url, body, Repeat::Freely).send(&self.connector, &self.patience).await
    }

    /// Takes a token as it is, and asks what it is for.
    async fn given(&self, token: &str) -> Result<Token, OpenStackError> {
        let mut header = HeaderValue::from_str(token).map_err(|_| {
            let message = format!("the token of cloud `{}` has a character that no token has", self.cloud.name);
            OpenStackError::new(ErrorKind::Bad, message)
        })?;
        header.set_sensitive(true);
        let mut url = self.cloud.auth_url.clone();
        let path = format!("{}/auth/tokens", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let request = JsonRequest::get(url).header("x-auth-token", header.clone());
        let asked = Instant::now();
        let answer = request.header("x-subject-token", header.clone()).send(&self.connector, &self.patience).await;
        match answer {
            Ok(answer) => keystone::token(&answer.headers, &answer.body, asked, Some(&header)).map_err(|e| self.at(e)),
            Err(gave_up) if matches!(gave_up.answer.status, Some(401 | 404)) => Err(self.token_refused(&gave_up)),
            Err(gave_up) => Err(self.failed(&gave_up)),
        }
    }

    /// Keystone says 401 both to a wrong password and to somebody without a role. One more request tells which; one that
    /// a right password has no need of.
    async fn refused(&self, auth: &Auth, scope: &Scope, gave_up: &GaveUp) -> OpenStackError {
        let who = auth.who();
        let (own, is_scoped) = match (auth, scope) {
            (_, Scope::Project(id)) => (format!("project `{id}`"), true),
            (Auth::Password { scope, .. }, Scope::Own) => (scope.to_string(), *scope != OwnScope::Unscoped),
            (Auth::Token { .. }, Scope::Own) => return self.token_refused(gave_up),
            _ => (String::new(), false),
        };
        let is_password_right = match keystone::unscoped(auth).filter(|_| is_scoped) {
            Some(_) if self.was_let_in.load(Ordering::Relaxed) => true,
            Some(body) => self.post(body).await.is_ok(),
            None => false,
        };
        let (name, origin) = (&self.cloud.name, &self.cloud.origin);
        if is_password_right {
            let message = format!(
                "{} lets {who} in, but not to {own}: it has no role there, or there is no such project",
                self.place()
            );
            let hint = format!("an administrator gives one: openstack role add {} member", role_arguments(auth, scope));
            return OpenStackError::new(ErrorKind::Refused, message).hint(hint);
        }
        let what = if matches!(auth, Auth::Password { .. }) { "name, domain or password" } else { "id or secret" };
        let message =
            format!("{} refuses {who} of cloud `{name}`: {what} is wrong{}", self.place(), self.own_words(gave_up));
        let hint =
            format!("the credentials are those of {origin}; try them with: openstack --os-cloud {name} token issue");
        OpenStackError::new(ErrorKind::Refused, message).hint(hint)
    }

    fn token_refused(&self, gave_up: &GaveUp) -> OpenStackError {
        let message = format!(
            "{} refuses the token of cloud `{}`: it has ended, or never was one{}",
            self.place(),
            self.cloud.name,
            self.own_words(gave_up)
        );
        let hint =
            "a token cannot be renewed: get another one, or use a user or an application credential for long runs";
        OpenStackError::new(ErrorKind::Refused, message).hint(hint)
    }

    fn cannot_scope(&self, id: &str, own: &Token) -> OpenStackError {
        let who = self.cloud.auth.who();
        let own = match (&own.project_name, &own.project_id) {
            (Some(name), Some(id)) => format!("project `{name}` ({id})"),
            _ => "what it was made for".to_owned(),
        };
        let message =
            format!("{who} of cloud `{}` is for {own} only, and cannot get a token of project `{id}`", self.cloud.name);
        let hint = "use a user with a password that has a role in each project, or one with the role ResellerAdmin and `access: reseller`";
        OpenStackError::new(ErrorKind::Refused, message).hint(hint)
    }

    /// A request for a token that no 401 ended.
    fn failed(&self, gave_up: &GaveUp) -> OpenStackError {
        let reason = self.cloud.auth.secret().redact(&reason(gave_up));
        let (place, name, origin) = (self.place(), &self.cloud.name, &self.cloud.origin);
        match gave_up.answer.status {
            _ if gave_up.transient => self.unreachable(gave_up),
            Some(401 | 403) => {
                let message = format!("{place} refuses {} of cloud `{name}`: {reason}", self.cloud.auth.who());
                OpenStackError::new(ErrorKind::Refused, message).hint(format!("the credentials are those of {origin}"))
            }
            Some(300..=399 | 404 | 405) => {
                let message = format!("there is nothing that gives tokens at {}: {reason}", self.cloud.auth_url);
                OpenStackError::new(ErrorKind::Bad, message)
                    .hint(format!("look at `auth_url` of cloud `{name}` in {origin}"))
            }
            _ => OpenStackError::new(ErrorKind::Bad, format!("no token from {place} for cloud `{name}`: {reason}"))
                .hint(format!("look at cloud `{name}` in {origin}")),
        }
    }

    pub(super) fn unreachable(&self, gave_up: &GaveUp) -> OpenStackError {
        let reason = self.cloud.auth.secret().redact(&reason(gave_up));
        let message = format!("{} of cloud `{}` gives no answer: {reason}", self.place(), self.cloud.name);
        OpenStackError::new(ErrorKind::Unreachable, message).hint(format!(
            "it is asked again; if it stays so, look at `auth_url` of cloud `{}` in {}",
            self.cloud.name, self.cloud.origin
        ))
    }

    /// An answer that cannot be read, with whose it was.
    fn at(&self, error: OpenStackError) -> OpenStackError {
        OpenStackError { message: format!("{}: {}", self.place(), error.message), ..error }
    }

    /// What Keystone says beyond the text that it has for everybody.
    fn own_words(&self, gave_up: &GaveUp) -> String {
        let message = gave_up.answer.message.as_deref().unwrap_or_default();
        if message.is_empty() || message.contains("requires authentication") {
            return String::new();
        }
        format!(" ({})", self.cloud.auth.secret().redact(message))
    }

    /// "Keystone at 127.0.0.1:5000".
    pub(super) fn place(&self) -> String {
        let url = &self.cloud.auth_url;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let what = if matches!(self.cloud.auth, Auth::V1 { .. }) { "TempAuth" } else { "Keystone" };
        format!("{what} at {}{port}", url.host_str().unwrap_or_default())
    }
}

/// `--project … --user …`, as far as the two are known.
fn role_arguments(auth: &Auth, scope: &Scope) -> String {
    let user = match auth {
        Auth::Password { user: User::Id(id), .. } => id.clone(),
        Auth::Password { user: User::Name(name, Domain::Id(domain) | Domain::Name(domain)), .. } => {
            format!("{name} --user-domain {domain}")
        }
        _ => "USER".to_owned(),
    };
    let project = match (scope, auth) {
        (Scope::Project(id), _) | (Scope::Own, Auth::Password { scope: OwnScope::ProjectId(id), .. }) => id.clone(),
        (Scope::Own, Auth::Password { scope: OwnScope::ProjectName(name, domain), .. }) => {
            let (Domain::Id(domain) | Domain::Name(domain)) = domain;
            format!("{name} --project-domain {domain}")
        }
        _ => "PROJECT".to_owned(),
    };
    format!("--project {project} --user {user}")
}
