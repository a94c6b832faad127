//! A way to a service, on which single requests can be answered otherwise than by the service.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as its first lines say.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    head: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Whether it puts an object or a segment.
    pub(crate) fn puts_an_object(&self) -> bool {
        let object = self.path.split('?').next().unwrap_or_default().split('/').filter(|part| !part.is_empty());
        self.method == "PUT" && object.count() > 3
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// The service never hears of it: status, more headers, body.
    Answered(u16, String, String),
    /// The service does it, and nobody hears of that.
    Unheard,
    /// The connection is closed, as by a service that goes down.
    Gone,
}

pub(crate) fn answered(status: u16, body: &str) -> Fate {
    Fate::Answered(status, String::new(), body.to_owned())
}

type Rule = Box<dyn FnMut(&Asked) -> Fate + Send>;

struct Shared {
    rule: Mutex<Rule>,
    asked: Mutex<Vec<Asked>>,
    is_over: AtomicBool,
}

pub(crate) struct Way {
    port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Way {
    /// Lets all pass until it is told otherwise. `url` is of the service.
    pub(crate) fn to(url: &str) -> Self {
        let server = url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("a URL").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            rule: Mutex::new(Box::new(|_| Fate::Pass)),
            asked: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let listening = std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, server) = (Arc::clone(&of_thread), server.clone());
                // A connection that breaks is the binary's to notice.
                std::thread::spawn(move || client.and_then(|client| pass(&client, &server, &shared)));
            }
        });
        Self { port, shared, listening: Some(listening) }
    }

    /// Without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same for who should not know that it is this machine.
    pub(crate) fn url_as_of_another_machine(&self) -> String {
        format!("http://0.0.0.0:{}", self.port)
    }

    pub(crate) fn decide(&self, rule: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.shared.rule.lock().expect("no panic") = Box::new(rule);
    }

    pub(crate) fn open(&self) {
        self.decide(|_| Fate::Pass);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("no panic").clone()
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // So that it looks.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        let _ = self.listening.take().map(JoinHandle::join);
    }
}

/// One request, and the end of the connection: so every request is decided on.
fn pass(client: &TcpStream, server: &str, shared: &Shared) -> std::io::Result<()> {
    let mut from_client = BufReader::new(client);
    let head = head(&mut from_client)?;
    let mut words = head.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let asked = Asked { method: word(), path: word(), head: head.clone() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    shared.asked.lock().expect("no panic").push(asked.clone());
    let fate = shared.rule.lock().expect("no panic")(&asked);
    match fate {
        Fate::Gone => return Ok(()),
        Fate::Answered(status, headers, body) => {
            std::io::copy(&mut from_client.take(length), &mut std::io::sink())?;
            let size = body.len();
            let answer =
                format!("HTTP/1.1 {status} So\r\nContent-Length: {size}\r\nConnection: close\r\n{headers}\r\n{body}");
            return (&mut &*client).write_all(answer.as_bytes());
        }
        Fate::Pass | Fate::Unheard => {}
    }
    let upstream = TcpStream::connect(server)?;
    (&mut &upstream).write_all(only_one(&head).as_bytes())?;
    // A server may answer before it has taken all; then it is not the client's fault.
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::copy(&mut from_client.take(length), &mut &upstream));
        let mut from_server = BufReader::new(&upstream);
        let answer = self::head(&mut from_server)?;
        if fate == Fate::Unheard {
            std::io::copy(&mut from_server, &mut std::io::sink())?;
        } else {
            (&mut &*client).write_all(only_one(&answer).as_bytes())?;
            std::io::copy(&mut from_server, &mut &*client)?;
        }
        client.shutdown(Shutdown::Both)
    })
}

fn head(from: &mut impl Read) -> std::io::Result<String> {
    let mut from = BufReader::with_capacity(1, from);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// A head that says that no other request will follow.
fn only_one(head: &str) -> String {
    let is_kept = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
    let mut lines: Vec<&str> = head.trim_end().lines().filter(is_kept).collect();
    lines.extend(["Connection: close", "", ""]);
    lines.join("\r\n")
}
