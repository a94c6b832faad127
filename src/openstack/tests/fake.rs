//! A Keystone of a few projects on the loopback, which can be told to be in trouble.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::openstack::{Auth, Cloud, Domain, Interface, OwnScope, Session, User};

pub(super) const PASSWORD: &str = "correct horse battery staple";

/// What it has in store for whoever asks.
pub(super) struct Settings {
    pub(super) lifetime: Duration,
    /// Whether the user may look at all projects.
    pub(super) may_list: bool,
    /// Whether the user may look at domains.
    pub(super) may_see_domains: bool,
    /// Whether every token is refused where it is shown.
    pub(super) refuses_tokens: bool,
    /// The text of the next refusals.
    pub(super) refusal: String,
}

#[derive(Default)]
struct State {
    /// Requests for tokens.
    asked: AtomicUsize,
    /// Other requests.
    looked: AtomicUsize,
    /// Tokens and when they end.
    tokens: Mutex<HashMap<String, Instant>>,
    bodies: Mutex<Vec<Value>>,
    settings: Mutex<Option<Settings>>,
}

pub(super) struct Keystone {
    address: SocketAddr,
    state: Arc<State>,
    server: Option<JoinHandle<()>>,
}

impl Keystone {
    pub(super) async fn start() -> Self {
        let settings = Settings {
            lifetime: Duration::from_hours(1),
            may_list: true,
            may_see_domains: true,
            refuses_tokens: false,
            refusal: "The request you have made requires authentication.".to_owned(),
        };
        let state = State { settings: Mutex::new(Some(settings)), ..State::default() };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut keystone = Self { address, state: Arc::new(state), server: None };
        keystone.back().await;
        keystone
    }

    /// Nobody listens any more.
    pub(super) async fn down(&mut self) {
        let server = self.server.take().expect("it is up");
        server.abort();
        server.await.expect_err("it was ended");
    }

    /// At the address that it had.
    pub(super) async fn back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("a free port");
        self.address = listener.local_addr().expect("bound");
        let state = Arc::clone(&self.state);
        self.server = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&state), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }));
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(self.state.settings().as_mut().expect("set"));
    }

    /// Forgets all tokens that it gave.
    pub(super) fn revoke_all(&self) {
        self.state.tokens.lock().expect("no panic").clear();
    }

    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    pub(super) fn looked(&self) -> usize {
        self.state.looked.load(Ordering::SeqCst)
    }

    pub(super) fn bodies(&self) -> Vec<Value> {
        self.state.bodies.lock().expect("no panic").clone()
    }

    pub(super) fn cloud(&self, auth: Auth) -> Cloud {
        Cloud {
            name: "fake".to_owned(),
            origin: "clouds.yaml".to_owned(),
            auth_url: format!("http://{}/v3", self.address).parse().expect("a URL"),
            auth,
            region_name: Some("one".to_owned()),
            interface: Interface::Public,
            cacert: None,
            verify: true,
            allows_http: false,
            endpoint_overrides: std::collections::BTreeMap::new(),
        }
    }

    pub(super) fn session(&self, auth: Auth) -> Session {
        Session::open(self.cloud(auth), Duration::from_secs(5)).expect("a client")
    }
}

/// A user of the fake, in its project `sales`.
pub(super) fn user(password: &str) -> Auth {
    let domain = Domain::Id("default".to_owned());
    Auth::Password {
        user: User::Name("demo".to_owned(), domain.clone()),
        password: password.into(),
        scope: OwnScope::ProjectName("sales".to_owned(), domain),
    }
}

/// Id, name, domain, and whether the user has a role in it.
const PROJECTS: [(&str, &str, &str, bool); 4] = [
    ("id-sales", "sales", "default", true),
    ("id-other", "other", "default", true),
    ("id-foreign", "foreign", "default", false),
    ("id-sales-of-acme", "sales", "id-acme", true),
];

impl State {
    fn settings(&self) -> MutexGuard<'_, Option<Settings>> {
        self.settings.lock().expect("no panic")
    }

    fn is_valid(&self, token: &str) -> bool {
        let refuses = self.settings().as_ref().is_some_and(|settings| settings.refuses_tokens);
        !refuses && self.tokens.lock().expect("no panic").get(token).is_some_and(|end| *end > Instant::now())
    }
}

fn reply(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from(body.to_string()))).expect("an answer")
}

fn error(status: u16, title: &str, message: &str) -> Response<Full<Bytes>> {
    reply(status, &json!({ "error": { "code": status, "title": title, "message": message } }))
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    if parts.method == Method::POST && path == "/v3/auth/tokens" {
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        state.bodies.lock().expect("no panic").push(body.clone());
        let count = state.asked.fetch_add(1, Ordering::SeqCst);
        return Ok(give(&state, &body["auth"], count));
    }
    state.looked.fetch_add(1, Ordering::SeqCst);
    let token = parts.headers.get("x-auth-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if path == "/v3/auth/tokens" {
        let subject = parts.headers["x-subject-token"].to_str().expect("a text");
        return Ok(if state.is_valid(subject) {
            reply(200, &described(Duration::from_hours(1), "id-sales", "sales"))
        } else {
            error(404, "Not Found", &format!("This is not a recognized Fernet token {subject}"))
        });
    }
    if !state.is_valid(token) {
        return Ok(error(401, "Unauthorized", "The request you have made requires authentication."));
    }
    Ok(look(&state, &path, parts.uri.query().unwrap_or_default()))
}

/// A token, if there is one to give.
fn give(state: &State, auth: &Value, count: usize) -> Response<Full<Bytes>> {
    let (lifetime, refusal) = {
        let settings = state.settings();
        let settings = settings.as_ref().expect("set");
        (settings.lifetime, settings.refusal.clone())
    };
    let identity = &auth["identity"];
    let is_token = identity["methods"][0] == "token";
    let shown = identity["token"]["id"].as_str().unwrap_or_default();
    if is_token && !state.is_valid(shown) {
        return error(404, "Not Found", &format!("Could not recognize Fernet token {shown}"));
    }
    let is_right = is_token
        || identity["password"]["user"]["password"] == PASSWORD
        || identity["application_credential"]["secret"] == PASSWORD;
    let scope = &auth["scope"]["project"];
    let by_id = |project: &&(&str, &str, &str, bool)| scope["id"] == project.0;
    let by_name = |project: &&(&str, &str, &str, bool)| scope["name"] == project.1;
    let project = PROJECTS.iter().find(by_id).or_else(|| PROJECTS.iter().find(by_name));
    let (id, name) = match project {
        Some((id, name, _, true)) => (*id, *name),
        None if scope.is_null() => ("id-sales", "sales"),
        _ => return error(401, "Unauthorized", &refusal),
    };
    if !is_right {
        return error(401, "Unauthorized", &refusal);
    }
    let token = format!("gAAAAABfake-token-number-{count}-of-{id}");
    state.tokens.lock().expect("no panic").insert(token.clone(), Instant::now() + lifetime);
    let mut answer = reply(201, &described(lifetime, id, name));
    answer.headers_mut().insert("x-subject-token", token.parse().expect("a header"));
    answer
}

fn described(lifetime: Duration, id: &str, name: &str) -> Value {
    let endpoint = |region: &str, interface: &str, url: &str| json!({ "region_id": region, "region": region, "interface": interface, "url": url });
    // A clock that is an hour wrong: only what lies between its times counts.
    let issued = Timestamp::now() - SignedDuration::from_hours(1);
    let lifetime = SignedDuration::try_from(lifetime).expect("short");
    json!({ "token": {
        "issued_at": issued.to_string(),
        "expires_at": (issued + lifetime).to_string(),
        "user": { "id": "id-demo", "name": "demo", "domain": { "id": "default", "name": "Default" } },
        "project": { "id": id, "name": name, "domain": { "id": "default", "name": "Default" } },
        "roles": [{ "id": "r1", "name": "member" }],
        "catalog": [
            { "type": "object-store", "endpoints": [
                endpoint("one", "public", &format!("https://swift.one/v1/AUTH_{id}")),
                endpoint("one", "internal", "http://10.0.0.1/v1"),
                endpoint("two", "public", "https://swift.two/v1/"),
            ] },
            { "type": "database", "endpoints": [endpoint("one", "internal", "http://10.0.0.1/trove")] },
        ],
    } })
}

fn look(state: &State, path: &str, query: &str) -> Response<Full<Bytes>> {
    let may_list = state.settings().as_ref().is_some_and(|settings| settings.may_list);
    let shown = |(id, name, domain, _): &(&str, &str, &str, bool)| json!({ "id": id, "name": name, "domain_id": domain, "enabled": true });
    let forbidden = || error(403, "Forbidden", "You are not authorized to perform the requested action.");
    let not_found = || error(404, "Not Found", "Could not find it.");
    if path == "/v3/auth/projects" {
        let own: Vec<Value> = PROJECTS.iter().filter(|project| project.3).map(shown).collect();
        return reply(200, &json!({ "projects": own }));
    }
    let may_see = state.settings().as_ref().is_some_and(|settings| settings.may_see_domains);
    if !may_list || (path.starts_with("/v3/domains/") && !may_see) {
        return forbidden();
    }
    if path == "/v3/projects" {
        let name = query.strip_prefix("name=").expect("by name");
        let named: Vec<Value> = PROJECTS.iter().filter(|project| project.1 == name).map(shown).collect();
        return reply(200, &json!({ "projects": named }));
    }
    if path == "/v3/domains/id%2Dacme" {
        return reply(200, &json!({ "domain": { "id": "id-acme", "name": "Acme" } }));
    }
    let id = path.strip_prefix("/v3/projects/").unwrap_or_default().replace("%2D", "-");
    match PROJECTS.iter().find(|project| project.0 == id) {
        Some(project) => reply(200, &json!({ "project": shown(project) })),
        None => not_found(),
    }
}
