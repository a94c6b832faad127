//! Stands between a database and its server, makes it far away, and loses what it is told to.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

/// Until the process ends.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    server: Arc<AtomicU16>,
    loses: Arc<Losses>,
}

#[derive(Default)]
struct Losses {
    next_commit: AtomicBool,
    swallowed: AtomicU64,
    commits: AtomicU64,
    /// What a client sends takes so long to arrive.
    delay: Duration,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        Self::far_from(server, Duration::ZERO)
    }

    /// Of a server to which every message is `delay` under way.
    pub(crate) fn far_from(server: u16, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (port, loses) =
            (listener.local_addr().expect("bound").port(), Arc::new(Losses { delay, ..Losses::default() }));
        let of_connections = Arc::clone(&loses);
        let server = Arc::new(AtomicU16::new(server));
        let leads_to = Arc::clone(&server);
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", leads_to.load(Ordering::SeqCst))) else { continue };
                connect(&client, &server, &of_connections);
            }
        });
        Self { port, server, loses }
    }

    /// New connections go to another server.
    pub(crate) fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }

    /// The next COMMIT arrives; its reply does not.
    pub(crate) fn swallow_next_commit(&self) {
        self.loses.next_commit.store(true, Ordering::SeqCst);
    }

    /// Replies arrive again.
    pub(crate) fn swallow_nothing(&self) {
        self.loses.next_commit.store(false, Ordering::SeqCst);
    }

    /// Transactions that were to be committed, by all clients.
    pub(crate) fn commits(&self) -> u64 {
        self.loses.commits.load(Ordering::SeqCst)
    }

    pub(crate) fn swallowed(&self) -> u64 {
        self.loses.swallowed.load(Ordering::SeqCst)
    }
}

fn connect(client: &TcpStream, server: &TcpStream, loses: &Arc<Losses>) {
    let dumb = Arc::new(AtomicBool::new(false));
    let both = || (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let (mut from, mut to) = both();
    let (loses, is_dumb) = (Arc::clone(loses), Arc::clone(&dumb));
    std::thread::spawn(move || {
        pump(&mut from, &mut to, |bytes| {
            // And no `READ COMMITTED`, which a new connection begins with.
            let is_commit = (0..bytes.len())
                .any(|at| bytes[at..].strip_prefix(b"COMMIT").is_some_and(|rest| !rest.starts_with(b"TED")));
            loses.commits.fetch_add(u64::from(is_commit), Ordering::SeqCst);
            std::thread::sleep(loses.delay);
            if is_commit && loses.next_commit.swap(false, Ordering::SeqCst) {
                is_dumb.store(true, Ordering::SeqCst);
                loses.swallowed.fetch_add(1, Ordering::SeqCst);
            }
            true
        });
    });
    let (mut to, mut from) = both();
    std::thread::spawn(move || pump(&mut from, &mut to, |_| !dumb.load(Ordering::SeqCst)));
}

/// Passes on what `passes` lets through, until one side ends or it does not: then both do.
fn pump(from: &mut TcpStream, to: &mut TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer)
        && passes(&buffer[..count])
        && to.write_all(&buffer[..count]).is_ok()
    {}
    for side in [from, to] {
        let _ = side.shutdown(Shutdown::Both);
    }
}
