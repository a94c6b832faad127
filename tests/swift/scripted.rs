//! Against a server that answers as a test tells it: what a healthy Swift never says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backhaul::id::Key;
use backhaul::openstack::{Auth, Cloud, Interface, Secret, Session};
use backhaul::store::{Feed, Layout, Metadata, Shape, Source, StoreErrorKind, SwiftStore, Target};
use backhaul::throttle::Throttle;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::bed::{TOKEN, feed, md5, options, refused};

const INFO: &str = r#"{"swift": {"max_file_size": 1000}, "slo": {"max_manifest_segments": 1000}}"#;

/// Status, headers and body.
type Said = (u16, Vec<(&'static str, String)>, &'static str);

/// What is asked: method, path with query, token.
type Asked = (String, String, String);

struct Scripted {
    store: SwiftStore,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Tokens are `token-1`, `token-2` …; all else is answered by `script`, which is told how often the same was asked
    /// before.
    async fn new(script: impl Fn(&Asked, usize) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (script, seen) = (Arc::new(script), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (script, seen) = (Arc::clone(&script), Arc::clone(&seen));
                    async move {
                        let token = request.headers().get("x-auth-token").and_then(|token| token.to_str().ok());
                        let path = request.uri().path_and_query().expect("a path").to_string();
                        let asked = (request.method().to_string(), path, token.unwrap_or_default().to_owned());
                        // What lies under a name is decided by the newest replica.
                        let newest = request.headers().get("x-newest").is_some_and(|value| value == "true");
                        assert!(newest || asked.0 != "HEAD" || !asked.1.starts_with("/v1/AUTH_x/c/"), "{asked:?}");
                        let _ = request.into_body().collect().await;
                        let before = {
                            let mut seen = seen.lock().expect("no panic");
                            let before = seen.iter().filter(|one| one.0 == asked.0 && one.1 == asked.1).count();
                            seen.push(asked.clone());
                            before
                        };
                        let (status, headers, body) = if asked.1 == "/auth" {
                            let url = format!("http://{address}/v1/AUTH_x");
                            let token = format!("token-{}", before + 1);
                            (200, vec![("x-storage-url", url), ("x-auth-token", token)], "")
                        } else if asked.1 == "/info" && before > 0 {
                            panic!("the limits were asked for twice")
                        } else {
                            script(&asked, before)
                        };
                        let mut response = Response::builder().status(status);
                        for (name, value) in headers {
                            response = response.header(name, value);
                        }
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).expect("a response"))
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { store: store(address), asked }
    }

    /// Requests of one kind, in order, with their tokens.
    fn tokens(&self, method: &str, path: &str) -> Vec<String> {
        let asked = self.asked.lock().expect("no panic");
        asked.iter().filter(|one| one.0 == method && one.1 == path).map(|one| one.2.clone()).collect()
    }
}

fn store(address: SocketAddr) -> SwiftStore {
    let cloud = Cloud {
        name: "scripted".to_owned(),
        origin: "the test".to_owned(),
        auth_url: format!("http://{address}/auth").parse().expect("a URL"),
        auth: Auth::V1 { user: "a:b".to_owned(), key: Secret::new("k".to_owned()) },
        region_name: None,
        interface: Interface::Public,
        cacert: None,
        verify: true,
        allows_http: false,
        endpoint_overrides: std::collections::BTreeMap::new(),
    };
    let session = Session::open(cloud, Duration::from_secs(10)).expect("a session");
    SwiftStore::open(options(), &session, &Throttle::unlimited())
}

fn key() -> Key {
    Key::parse("c/a.gz").expect("a key")
}

fn of(status: u16, body: &'static str) -> Said {
    (status, Vec::new(), body)
}

fn object(bytes: &str) -> Said {
    let etag = crate::bed::hex(md5(bytes.as_bytes()));
    (200, vec![("etag", etag), ("content-length", bytes.len().to_string())], "")
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let scripted = Scripted::new(|asked, _| if asked.2 == "token-1" { of(401, "") } else { object("bytes") }).await;
    assert_eq!(scripted.store.head(&key()).await.expect("let in").size, 5);
    assert_eq!(scripted.tokens("HEAD", "/v1/AUTH_x/c/a.gz"), ["token-1", "token-2"]);
    assert_eq!(scripted.store.head(&key()).await.expect("let in").size, 5);
    assert_eq!(scripted.tokens("GET", "/auth").len(), 2);

    let scripted = Scripted::new(|_, _| of(401, "")).await;
    let error = scripted.store.head(&key()).await.expect_err("never let in");
    assert!(error.kind == StoreErrorKind::Refused && error.message.contains("answered 401"), "{error}");
    assert!(error.hint.is_some_and(|hint| hint.contains("Keystone")));
    assert_eq!(scripted.tokens("HEAD", "/v1/AUTH_x/c/a.gz"), ["token-1", "token-2"], "and no further");
}

#[tokio::test]
async fn a_stream_whose_token_ended_is_worth_another_try_and_the_second_has_a_new_one() {
    let scripted = Scripted::new(|asked, _| match (&*asked.0, &*asked.1, &*asked.2) {
        ("GET", "/info", _) => of(200, INFO),
        ("PUT", _, "token-1") => of(401, ""),
        ("PUT", ..) => (201, vec![("etag", crate::bed::hex(md5(b"bytes")))], ""),
        _ => of(204, ""),
    })
    .await;
    let layout = Layout::Segments([5].into());
    let shape = Shape { layout: &layout, metadata: &Metadata::new() };
    let upload = scripted.store.begin(&key(), TOKEN, shape).await.expect("begun");
    let send = || scripted.store.part_streamed(&upload, 0, feed(b"bytes", Some(md5(b"bytes"))));
    refused(send().await, StoreErrorKind::Unreachable, "the token ended");
    assert_eq!(send().await.expect("sent").size, 5);
}

#[tokio::test]
async fn bytes_that_were_damaged_on_their_way_are_sent_again_once() {
    let put = |damaged: usize| async move {
        let scripted = Scripted::new(move |asked, before| match &*asked.0 {
            "GET" => of(200, INFO),
            "PUT" if before < damaged => of(422, "<html><h1>Unprocessable Entity</h1></html>"),
            "PUT" => (201, vec![("etag", crate::bed::hex(md5(b"bytes")))], ""),
            _ => of(204, ""),
        })
        .await;
        scripted.store.put(&key(), TOKEN, Bytes::from_static(b"bytes"), &Metadata::new()).await
    };
    assert_eq!(put(1).await.expect("the second time").0.size, 5);
    refused(put(2).await, StoreErrorKind::Differs, "another MD5");
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_finds_its_own_object_and_no_other() {
    let put = |token: &'static str, bytes: &'static str| async move {
        let scripted = Scripted::new(move |asked, before| match (&*asked.0, &*asked.1) {
            ("GET", _) => of(200, INFO),
            // It is stored, and a proxy on the way says otherwise.
            ("PUT", _) if before == 0 => of(503, ""),
            ("PUT", _) => of(412, ""),
            ("HEAD", "/v1/AUTH_x/c/a.gz") => {
                let (status, mut headers, body) = object(bytes);
                headers.push(("x-object-meta-backhaul-upload", token.to_owned()));
                (status, headers, body)
            }
            _ => of(204, ""),
        })
        .await;
        scripted.store.put(&key(), TOKEN, Bytes::from_static(b"bytes"), &Metadata::new()).await
    };
    assert_eq!(put(TOKEN, "bytes").await.expect("its own").0.size, 5);
    refused(put(crate::bed::OTHER, "bytes").await, StoreErrorKind::Exists, "another object");
    refused(put(TOKEN, "other").await, StoreErrorKind::Exists, "another object");
}

#[tokio::test]
async fn each_trouble_of_a_cluster_has_its_own_words() {
    for (status, kind, words) in [
        (503, StoreErrorKind::Unreachable, "answered 503 (4 tries)"),
        (507, StoreErrorKind::NoSpace, "answered 507"),
        (403, StoreErrorKind::Refused, "answered 403"),
        (400, StoreErrorKind::Refused, "answered 400: Metadata must be valid UTF-8"),
    ] {
        let scripted = Scripted::new(move |asked, _| match &*asked.0 {
            "GET" => of(200, INFO),
            "PUT" => of(status, if status == 400 { "Metadata must be valid UTF-8" } else { "" }),
            _ => of(204, ""),
        })
        .await;
        let put = scripted.store.put(&key(), TOKEN, Bytes::from_static(b"bytes"), &Metadata::new()).await;
        refused(put, kind, words);
    }
}

#[tokio::test]
async fn a_cluster_that_does_not_tell_its_limits_is_refused_by_name() {
    for (info, words) in [
        (of(404, ""), "its `/info` "),
        (of(200, "<html>"), "its `/info` is not Swift's"),
        (of(200, "{}"), "its `/info` is not Swift's"),
    ] {
        let info: &'static Said = Box::leak(Box::new(info));
        let scripted = Scripted::new(|asked, _| if asked.1 == "/info" { info.clone() } else { of(204, "") }).await;
        let put = scripted.store.put(&key(), TOKEN, Bytes::from_static(b"bytes"), &Metadata::new()).await;
        refused(put, StoreErrorKind::Refused, words);
        assert!(scripted.tokens("PUT", "/v1/AUTH_x/c/a.gz").is_empty());
    }
}

/// Answers by hand, and leaves the body of a PUT where it is.
async fn answer_unread(mut stream: TcpStream, address: SocketAddr) -> std::io::Result<()> {
    let mut head = String::new();
    loop {
        head.push(char::from(stream.read_u8().await?));
        if !head.ends_with("\r\n\r\n") {
            continue;
        }
        let (line, body) = match &head[..4] {
            "GET " if head.contains(" /auth ") => {
                (format!("200 OK\r\nx-storage-url: http://{address}/v1/AUTH_x\r\nx-auth-token: t"), "")
            }
            "GET " => ("200 OK".to_owned(), INFO),
            "HEAD" if head.contains("/a.gz ") => ("404 Not Found".to_owned(), ""),
            "HEAD" => ("204 No Content".to_owned(), ""),
            _ => ("413 Request Entity Too Large".to_owned(), "Upload exceeds quota."),
        };
        let length =
            if line.starts_with("204") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        stream.write_all(format!("HTTP/1.1 {line}\r\n{length}\r\n{body}").as_bytes()).await?;
        if head.starts_with("PUT ") {
            // The connection stays, and nobody reads from it.
            std::future::pending::<()>().await;
        }
        head.clear();
    }
}

#[tokio::test]
async fn a_feed_is_over_when_the_answer_came_however_much_of_it_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_unread(stream, address));
        }
    });
    let store = store(address);
    let (sender, chunks) = tokio::sync::mpsc::channel(1);
    let feed = Feed { size: 1000, md5: None, chunks };
    sender.send(Bytes::from_static(b"some of it")).await.expect("there is room");
    let put = store.put_streamed(&key(), TOKEN, feed, &Metadata::new()).await;
    refused(put, StoreErrorKind::Quota, "413: Upload exceeds quota");
    let closed = tokio::time::timeout(Duration::from_secs(20), sender.closed()).await;
    closed.expect("nobody wants more of it");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_no_object() {
    let scripted = Scripted::new(|_, _| {
        (200, vec![("etag", crate::bed::hex(md5(b"bytes"))), ("content-length", "5".to_owned())], "bytes")
    })
    .await;
    let pin = backhaul::store::Pin { etag: crate::bed::hex(md5(b"bytes")), size: 7 };
    refused(scripted.store.read(&key(), 0..7, &pin, &|_| ()).await, StoreErrorKind::Io, "5 bytes came instead of 7");
}
