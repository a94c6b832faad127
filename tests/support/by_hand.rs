//! What an administrator does beside Backhaul: users, roles, tokens, containers and their quotas.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// One request. By HTTP/1.0: the answer is what comes until the connection ends.
#[track_caller]
pub(crate) fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL of the lab");
    let mut stream = TcpStream::connect(host).expect("it listens");
    let mut request = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Keystone by its administrator.
pub(crate) struct Keystone {
    url: String,
    token: String,
}

impl Keystone {
    pub(crate) fn new(url: &str) -> Self {
        let scope = json!({ "project": { "name": "admin", "domain": { "id": "default" } } });
        Self { url: url.to_owned(), token: token(url, "admin", "admin-pw", &scope) }
    }

    #[track_caller]
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let headers = [("X-Auth-Token", &*self.token), ("Content-Type", "application/json")];
        let body = body.map(ToString::to_string).unwrap_or_default();
        let answer = ask(method, &format!("{}{path}", self.url), &headers, &body);
        assert!(answer.status < 300, "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_default()
    }

    /// Makes a user with roles in projects: `(project's id, role's name)`.
    #[track_caller]
    pub(crate) fn add_user(&self, name: &str, password: &str, grants: &[(String, &str)]) {
        let user = json!({ "user": { "name": name, "domain_id": "default", "password": password } });
        let made = self.call("POST", "/users", Some(&user));
        let roles = self.call("GET", "/roles", None);
        let roles = roles["roles"].as_array().expect("a list");
        for (project, role) in grants {
            let role = roles.iter().find(|known| known["name"] == *role).expect("a role of the lab");
            let text = |value: &Value| value.as_str().expect("an id").to_owned();
            let path = format!("/projects/{project}/users/{}/roles/{}", text(&made["user"]["id"]), text(&role["id"]));
            self.call("PUT", &path, None);
        }
    }
}

/// A token of a user of the default domain.
#[track_caller]
pub(crate) fn token(keystone: &str, user: &str, password: &str, scope: &Value) -> String {
    let user = json!({ "name": user, "domain": { "id": "default" }, "password": password });
    let identity = json!({ "methods": ["password"], "password": { "user": user } });
    let body = json!({ "auth": { "identity": identity, "scope": scope } }).to_string();
    let answer = ask("POST", &format!("{keystone}/auth/tokens"), &[("Content-Type", "application/json")], &body);
    answer.header("x-subject-token").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}
