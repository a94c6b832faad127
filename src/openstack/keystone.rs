//! Keystone v3 as text: what is sent for a token, and what comes back.

use http::HeaderMap;
use http::header::HeaderValue;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::token::CatalogEntry;
use super::{Auth, Domain, ErrorKind, OpenStackError, OwnScope, Scope, Token, User};

/// The body of a request for a token; none where no request gives one.
pub(super) fn request(auth: &Auth, scope: &Scope) -> Option<Value> {
    let (identity, own) = match auth {
        Auth::Password { user, password, scope } => {
            let mut user = self::user(user);
            user["password"] = json!(password.reveal());
            (json!({ "methods": ["password"], "password": { "user": user } }), Some(scope))
        }
        Auth::Token { token, scope } => {
            (json!({ "methods": ["token"], "token": { "id": token.reveal() } }), Some(scope))
        }
        Auth::ApplicationCredential { id, secret } => {
            let mut credential = match id {
                Ok(id) => json!({ "id": id }),
                Err((name, user)) => json!({ "name": name, "user": self::user(user) }),
            };
            credential["secret"] = json!(secret.reveal());
            (json!({ "methods": ["application_credential"], "application_credential": credential }), None)
        }
        Auth::V1 { .. } => return None,
    };
    let mut auth = json!({ "identity": identity });
    let scope = match scope {
        Scope::Project(id) => Some(json!({ "project": { "id": id } })),
        Scope::Own => own.and_then(own_scope),
    };
    if let Some(scope) = scope {
        auth["scope"] = scope;
    }
    Some(json!({ "auth": auth }))
}

/// The body of a request that only asks whether the password is right.
pub(super) fn unscoped(auth: &Auth) -> Option<Value> {
    let mut body = request(auth, &Scope::Own)?;
    body["auth"]["scope"] = json!("unscoped");
    Some(body)
}

fn user(user: &User) -> Value {
    match user {
        User::Id(id) => json!({ "id": id }),
        User::Name(name, domain) => json!({ "name": name, "domain": self::domain(domain) }),
    }
}

fn domain(domain: &Domain) -> Value {
    match domain {
        Domain::Id(id) => json!({ "id": id }),
        Domain::Name(name) => json!({ "name": name }),
    }
}

fn own_scope(scope: &OwnScope) -> Option<Value> {
    Some(match scope {
        OwnScope::Unscoped => return None,
        OwnScope::ProjectId(id) => json!({ "project": { "id": id } }),
        OwnScope::ProjectName(name, domain) => {
            json!({ "project": { "name": name, "domain": self::domain(domain) } })
        }
        OwnScope::Domain(domain) => json!({ "domain": self::domain(domain) }),
        OwnScope::System => json!({ "system": { "all": true } }),
    })
}

/// Reads a token from the answer to a request that was made at `asked`; `given` is one that we had already.
pub(super) fn token(
    headers: &HeaderMap,
    body: &Value,
    asked: Instant,
    given: Option<&HeaderValue>,
) -> Result<Token, OpenStackError> {
    let unreadable = |what: &str| OpenStackError::new(ErrorKind::Bad, format!("the token that came has no {what}"));
    let header = given.or_else(|| headers.get("x-subject-token")).ok_or_else(|| unreadable("`X-Subject-Token`"))?;
    let mut header = header.clone();
    header.set_sensitive(true);
    let token = &body["token"];
    let time = |name: &str| token[name].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let named = |value: &Value| {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some((text("id")?, text("name")?))
    };
    let (user_id, user_name) = named(&token["user"]).ok_or_else(|| unreadable("user"))?;
    let project = named(&token["project"]);
    let roles = token["roles"].as_array().into_iter().flatten();
    let domains = [&token["user"]["domain"], &token["project"]["domain"], &token["domain"]];
    Ok(Token {
        header,
        project_id: project.as_ref().map(|(id, _)| id.clone()),
        project_name: project.map(|(_, name)| name),
        roles: roles.filter_map(|role| role["name"].as_str()).map(str::to_owned).collect(),
        user_id,
        user_name,
        expires: time("expires_at").ok_or_else(|| unreadable("`expires_at`"))?,
        // A token that was checked and not asked for was given some time before; its rest counts.
        issued: if given.is_some() { Timestamp::now() } else { time("issued_at").unwrap_or_else(Timestamp::now) },
        catalog: catalog(&token["catalog"]),
        domains: domains.into_iter().filter_map(named).collect(),
        asked,
        is_renewable: given.is_none(),
    })
}

fn catalog(catalog: &Value) -> Vec<CatalogEntry> {
    let mut entries = Vec::new();
    for service in catalog.as_array().into_iter().flatten() {
        for endpoint in service["endpoints"].as_array().into_iter().flatten() {
            let text = |name: &str| endpoint[name].as_str().map(str::to_owned);
            let (Some(kind), Some(interface), Some(url)) = (service["type"].as_str(), text("interface"), text("url"))
            else {
                continue;
            };
            let region = text("region_id").or_else(|| text("region"));
            entries.push(CatalogEntry { service: kind.to_owned(), interface, region, url });
        }
    }
    entries
}
