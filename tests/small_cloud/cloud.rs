//! A Keystone of one user, with a Swift and a Trove in each of the regions `one` and `two`. In memory; plain objects alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use md5::{Digest, Md5};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The project of the user's own token.
pub(crate) const OWN: &str = "alpha";

/// What paths of the interface `internal` begin with.
pub(crate) const INSIDE: &str = "inside/";

/// An object of a Swift.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) bytes: Bytes,
    /// Those that are kept: metadata, and when it goes.
    pub(crate) headers: BTreeMap<String, String>,
}

/// A region's Swift and Trove.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// By `account/container/object`.
    pub(crate) objects: BTreeMap<String, Object>,
    /// Containers that are there, by `account/container`, and what they say of themselves.
    pub(crate) containers: BTreeMap<String, Vec<(&'static str, String)>>,
    /// Trove's backups, as its API shows them.
    pub(crate) backups: Vec<Value>,
    /// The most backups that Trove shows at once, whatever it is asked for.
    pub(crate) page: Option<usize>,
    /// What Trove answers to a question for the backups of all projects, in place of them.
    pub(crate) to_all_projects: Option<(u16, Value)>,
    /// What Trove answers to whoever registers a backup, in place of doing so.
    pub(crate) to_making: Option<(u16, Value)>,
    /// Whether Trove shows no backups any more once it has registered one.
    pub(crate) closes_after_making: bool,
    /// Swift answers 503 to whoever writes an object whose name has this in it.
    pub(crate) is_unwell_for: Option<&'static str>,
    /// Method and path of each request.
    pub(crate) asked: Vec<(Method, String)>,
}

/// Ends with the test.
pub(crate) struct SmallCloud {
    address: SocketAddr,
    regions: Arc<[Mutex<Region>; 2]>,
    _runtime: tokio::runtime::Runtime,
}

impl SmallCloud {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("bound");
        let regions: Arc<[Mutex<Region>; 2]> = Arc::default();
        let served = Arc::clone(&regions);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let regions = Arc::clone(&served);
                let service = service_fn(move |request| answer(address, Arc::clone(&regions), request));
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, regions, _runtime: runtime }
    }

    /// `one` or `two`.
    pub(crate) fn region(&self, name: &str) -> MutexGuard<'_, Region> {
        self.regions[usize::from(name == "two")].lock().expect("no panic")
    }

    /// The address of a region's Swift.
    pub(crate) fn swift(&self, region: &str) -> String {
        format!("http://{}/{region}/v1", self.address)
    }

    /// A `clouds.yaml` with the entries `one` and `two`.
    pub(crate) fn clouds(&self) -> String {
        let auth = json!({
            "auth_url": format!("http://{}/v3", self.address), "username": "mover", "password": "mover-pw",
            "project_id": OWN, "user_domain_id": "default",
        });
        let entry = |region: &str| json!({ "auth": auth, "region_name": region });
        json!({ "clouds": { "one": entry("one"), "two": entry("two") } }).to_string()
    }
}

type Said = Response<Full<Bytes>>;

fn said(status: StatusCode, headers: &[(&str, String)], body: impl Into<Bytes>) -> Said {
    let mut said = Response::builder().status(status);
    for (name, value) in headers {
        // As one that is not told what UTF-8 is.
        let latin: Vec<u8> = value.chars().map(|char| u8::try_from(char).expect("Latin-1")).collect();
        said = said.header(*name, latin);
    }
    said.body(Full::new(body.into())).expect("an answer")
}

fn json(status: u16, body: &Value) -> Said {
    said(StatusCode::from_u16(status).expect("a status"), &[], body.to_string())
}

fn bare(status: StatusCode) -> Said {
    said(status, &[], "")
}

async fn answer(
    address: SocketAddr,
    regions: Arc<[Mutex<Region>; 2]>,
    request: Request<Incoming>,
) -> Result<Said, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = percent_encoding::percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
    let query = parts.uri.query().unwrap_or_default();
    if path == "/v3/auth/tokens" {
        return Ok(token(address, &body));
    }
    if let Some(id) = path.strip_prefix("/v3/projects/") {
        let project = json!({ "id": id, "name": id, "domain_id": "default", "enabled": true });
        return Ok(json(200, &json!({ "project": project })));
    }
    let (region, path) = path.trim_start_matches('/').split_once('/').expect("a region, and what is asked of it");
    let mut region = regions[usize::from(region == "two")].lock().expect("no panic");
    region.asked.push((parts.method.clone(), path.to_owned()));
    Ok(match path.strip_prefix(INSIDE).unwrap_or(path).split_once('/') {
        Some(("v1", place)) => swift(&mut region, &parts.method, place, query, &parts.headers, body),
        Some(("trove", rest)) => trove(&mut region, &parts.method, rest, query, &body),
        _ => json(200, &json!({ "swift": { "max_file_size": 1 << 20 }, "slo": { "max_manifest_segments": 1000 } })),
    })
}

fn token(address: SocketAddr, body: &Bytes) -> Said {
    let asked: Value = serde_json::from_slice(body).expect("JSON");
    let project = asked["auth"]["scope"]["project"]["id"].as_str().unwrap_or(OWN);
    let endpoints = |path: &str| {
        let of = |region: &str, interface: &str, inside: &str| json!({ "region_id": region, "interface": interface, "url": format!("http://{address}/{region}/{inside}{path}") });
        json!([
            of("one", "public", ""),
            of("one", "internal", INSIDE),
            of("two", "public", ""),
            of("two", "internal", INSIDE)
        ])
    };
    let domain = json!({ "id": "default", "name": "Default" });
    let token = json!({ "token": {
        "issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z",
        "user": { "id": "mover", "name": "mover", "domain": domain },
        "project": { "id": project, "name": project, "domain": domain },
        "roles": [{ "id": "member", "name": "member" }],
        "catalog": [
            { "type": "object-store", "endpoints": endpoints(&format!("v1/AUTH_{project}")) },
            { "type": "database", "endpoints": endpoints(&format!("trove/{project}")) },
        ],
    } });
    said(StatusCode::CREATED, &[("x-subject-token", format!("token-of-{project}"))], token.to_string())
}

/// `place` is `account`, `account/container` or `account/container/object`.
fn swift(region: &mut Region, method: &Method, place: &str, query: &str, headers: &HeaderMap, body: Bytes) -> Said {
    let mut names = place.splitn(3, '/');
    let account = names.next().unwrap_or_default();
    let (container, object) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    if container.is_empty() || object.is_empty() {
        return listed(region, method, &format!("{account}/{container}"), query);
    }
    let container = format!("{account}/{container}");
    let is_there = region.objects.contains_key(place);
    match *method {
        Method::PUT if region.is_unwell_for.is_some_and(|part| object.contains(part)) => {
            bare(StatusCode::SERVICE_UNAVAILABLE)
        }
        Method::PUT if !region.containers.contains_key(&container) => bare(StatusCode::NOT_FOUND),
        Method::PUT if headers.contains_key("if-none-match") && is_there => bare(StatusCode::PRECONDITION_FAILED),
        Method::POST if is_there => {
            region.objects.get_mut(place).expect("it is there").headers = kept(headers);
            bare(StatusCode::ACCEPTED)
        }
        Method::PUT => {
            let object = Object { bytes: body, headers: kept(headers) };
            let etag = etag(&object);
            region.objects.insert(place.to_owned(), object);
            said(StatusCode::CREATED, &[("etag", etag)], "")
        }
        Method::DELETE if is_there => {
            region.objects.remove(place);
            bare(StatusCode::NO_CONTENT)
        }
        Method::HEAD | Method::GET if is_there => shown(&region.objects[place], *method == Method::GET, headers),
        _ => bare(StatusCode::NOT_FOUND),
    }
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let is_kept = |name: &str| name.starts_with("x-object-meta-") || name == "x-delete-at" || name == "content-type";
    let kept = headers.iter().filter(|(name, _)| is_kept(name.as_str()));
    kept.map(|(name, value)| (name.to_string(), value.to_str().expect("a text").to_owned())).collect()
}

pub(crate) fn etag(object: &Object) -> String {
    let hex = |mut text: String, byte: &u8| {
        write!(text, "{byte:02x}").expect("a text takes all");
        text
    };
    Md5::digest(&object.bytes).iter().fold(String::new(), hex)
}

fn shown(object: &Object, with_bytes: bool, asked: &HeaderMap) -> Said {
    let mut headers = vec![("etag", etag(object)), ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_owned())];
    headers.extend(object.headers.iter().map(|(name, value)| (name.as_str(), value.clone())));
    if !with_bytes {
        // One that is told to be larger than it is says so.
        if !object.headers.contains_key("content-length") {
            headers.push(("content-length", object.bytes.len().to_string()));
        }
        return said(StatusCode::OK, &headers, "");
    }
    let range = asked.get("range").and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range else { return said(StatusCode::OK, &headers, object.bytes.clone()) };
    let (first, last): (usize, usize) = (first.parse().expect("a number"), last.parse().expect("a number"));
    headers.push(("content-range", format!("bytes {first}-{last}/{}", object.bytes.len())));
    said(StatusCode::PARTIAL_CONTENT, &headers, object.bytes.slice(first..=last))
}

/// An account, whose name ends in `/`, or a container.
fn listed(region: &mut Region, method: &Method, name: &str, query: &str) -> Said {
    let is_account = name.ends_with('/');
    let of_container = region.containers.get(name).cloned();
    match *method {
        Method::PUT => {
            region.containers.entry(name.to_owned()).or_default();
            bare(StatusCode::CREATED)
        }
        Method::HEAD => match of_container {
            Some(headers) => said(StatusCode::NO_CONTENT, &headers, ""),
            None if is_account => bare(StatusCode::NO_CONTENT),
            None => bare(StatusCode::NOT_FOUND),
        },
        _ if query.contains("marker=") => json(200, &json!([])),
        _ if is_account => {
            let names = region.containers.keys().filter_map(|container| container.strip_prefix(name));
            json(200, &names.map(|name| json!({ "name": name })).collect())
        }
        _ if of_container.is_none() => bare(StatusCode::NOT_FOUND),
        _ => {
            let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
            let prefix = percent_encoding::percent_decode_str(prefix).decode_utf8_lossy();
            let prefix = format!("{name}/{prefix}");
            let objects = region.objects.iter().filter(|(place, _)| place.starts_with(&prefix));
            let line = |(place, object): (&String, &Object)| json!({ "name": place[name.len() + 1..], "bytes": object.bytes.len(), "hash": etag(object) });
            json(200, &objects.map(line).collect())
        }
    }
}

/// `rest` is the project and what is asked.
fn trove(region: &mut Region, method: &Method, rest: &str, query: &str, body: &Bytes) -> Said {
    let (project, what) = rest.split_once('/').expect("a project");
    let is_closed = region.closes_after_making && region.backups.iter().any(|backup| backup["status"] == "RESTORED");
    match (method, what) {
        (&Method::GET, "backups") if is_closed => {
            json(403, &json!({ "forbidden": { "code": 403, "message": "Not allowed." } }))
        }
        (&Method::POST, "backups") => {
            if let Some((status, body)) = &region.to_making {
                return json(*status, body);
            }
            let backup = made(&serde_json::from_slice(body).expect("JSON"), project, region.backups.len());
            region.backups.push(backup.clone());
            json(202, &json!({ "backup": backup }))
        }
        (_, "backups") if query.contains("all_projects") => match &region.to_all_projects {
            Some((status, body)) => json(*status, body),
            None => page(region.backups.iter(), region.page, query),
        },
        (_, "backups") => {
            let own = region.backups.iter().filter(|backup| backup["project_id"] == project);
            page(own, region.page, query)
        }
        (_, "datastores") => json(
            200,
            &json!({ "datastores": [{
            "id": "mysql", "name": "mysql", "versions": [{ "id": "mysql-8", "name": "8.0", "active": 1 }],
        }] }),
        ),
        (_, "limits") => json(200, &json!({ "limits": [{ "verb": "ABSOLUTE", "max_backups": 50 }] })),
        _ => bare(StatusCode::NOT_FOUND),
    }
}

/// Backups from the marker on, which is a number, and where the next ones are: at an address that nobody can ask.
fn page<'a>(backups: impl Iterator<Item = &'a Value>, most: Option<usize>, query: &str) -> Said {
    let marker = query.split('&').find_map(|pair| pair.strip_prefix("marker=")).unwrap_or("0");
    let marker: usize = marker.parse().expect("a number");
    let mut rest = backups.skip(marker);
    let shown: Vec<&Value> = rest.by_ref().take(most.unwrap_or(usize::MAX)).collect();
    let next = marker + shown.len();
    let links = rest.next().map(|_| json!({ "rel": "next", "href": format!("https://trove/backups?marker={next}") }));
    json(200, &json!({ "backups": shown, "links": links.into_iter().collect::<Vec<_>>() }))
}

/// What becomes of a request to register a backup.
fn made(asked: &Value, project: &str, number: usize) -> Value {
    let (asked, from) = (&asked["backup"], &asked["backup"]["restore_from"]);
    json!({
        "id": format!("30000000-0000-4000-8000-{number:012}"), "name": asked["name"], "description": asked["description"],
        "locationRef": from["remote_location"], "size": from["size"], "instance_id": null, "parent_id": asked["parent_id"],
        "created": "2026-01-02T00:00:00", "updated": "2026-01-02T00:00:00", "status": "RESTORED", "project_id": project,
        "datastore": { "type": "mysql", "version": "8.0", "version_id": from["local_datastore_version_id"] },
    })
}
