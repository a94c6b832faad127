//! A network of a test's own: nothing but a loopback interface, on which `nft` drops packets. The machine's own network
//! is not touched, and the kernel takes all of it away with the last process in it.

#![allow(unreachable_pub, reason = "as the support of all tests")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::support::{is_root, skip};

/// Set in a test binary that runs in a network of its own.
const INSIDE: &str = "BACKHAUL_TEST_OWN_NETWORK";

/// What `ip`, `nft` and the kernel must know.
const PROBE: &str = "ip link set lo up && nft 'add table ip probe; \
    add chain ip probe arriving { type filter hook input priority 0; }; \
    add rule ip probe arriving numgen random mod 10 < 3 counter drop'";

/// What TCP needs to get through at all where so much is lost: windows of more than one packet of a loopback interface
/// (64 KiB), and no timestamps, by which it takes a late answer for a long way and comes to wait for a minute.
const SETTINGS: [(&str, &str); 2] = [("tcp_rmem", "4096 4194304 6291456"), ("tcp_timestamps", "0")];

/// Runs a test in a network of its own: this binary again, with that one test, in a new network namespace.
#[track_caller]
pub fn in_own_network(test: &str, work: impl FnOnce(&Network)) {
    if std::env::var_os(INSIDE).is_some() {
        return work(&Network::come_up());
    }
    match unshare().args(["sh", "-c", PROBE]).output() {
        Ok(probed) if probed.status.success() => {}
        Ok(probed) => {
            return skip(test, &format!("no network of its own: {}", String::from_utf8_lossy(&probed.stderr)));
        }
        Err(error) => return skip(test, &format!("no network of its own: `unshare`: {error}")),
    }
    let mut inside = unshare();
    inside.arg(std::env::current_exe().expect("a test binary")).args(["--exact", test, "--nocapture"]);
    let output = inside.env(INSIDE, "1").stdin(Stdio::null()).output().expect("`unshare` starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A name that is no test's would pass too.
    let has_passed = output.status.success() && stdout.contains("1 passed");
    assert!(has_passed, "in its own network: {}\n{stdout}\n{stderr}", output.status);
}

/// Starts what comes after it in a new network, as root there.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--");
    command
}

#[track_caller]
fn said(output: std::io::Result<Output>) -> String {
    let output = output.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The network in which this process lives. Only who is in one can spoil it.
pub struct Network(());

/// The way to a server's port and back, on which packets are lost.
pub struct Way<'network> {
    port: u16,
    _network: &'network Network,
}

/// Packets since the way was spoiled.
#[derive(Debug, Clone, Copy)]
pub struct Packets {
    /// Those that ask for a new connection, lost or not.
    pub opening: u64,
    pub lost_to_server: u64,
    pub lost_to_client: u64,
}

impl Network {
    fn come_up() -> Self {
        said(Command::new("ip").args(["link", "set", "lo", "up"]).output());
        for (name, value) in SETTINGS {
            std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).expect("a setting of this network");
        }
        Self(())
    }

    pub fn way_to(&self, port: u16) -> Way<'_> {
        Way { port, _network: self }
    }
}

impl Way<'_> {
    /// Three of ten packets are lost, in both directions.
    pub fn loses_three_of_ten(&self) {
        self.loses(Some("numgen random mod 10 < 3"), Some("numgen random mod 10 < 3"));
    }

    /// What the client sends arrives; nothing of what the server sends does.
    pub fn loses_answers(&self) {
        self.loses(None, Some(""));
    }

    /// Nobody answers, not even that nobody is there.
    pub fn loses_all(&self) {
        self.loses(Some(""), Some(""));
    }

    /// Connections that are open now are dead, and neither side learns it; new ones live.
    pub fn kills_connections(&self) {
        self.loses(Some("tcp sport != @opened"), Some("tcp dport != @opened"));
    }

    /// From now on, loses the packets for which this holds; `""` holds for all.
    fn loses(&self, to_server: Option<&str>, to_client: Option<&str>) {
        let (port, table) = (self.port, self.table());
        let drop = |lost: Option<&str>, counter| lost.map(|lost| format!("{lost} counter name {counter} drop"));
        let to_server = drop(to_server, "to_server").unwrap_or_default();
        let to_client = drop(to_client, "to_client").unwrap_or_default();
        load(&format!(
            "add table {table}\n\
             delete table {table}\n\
             table {table} {{\n\
               counter opening {{ }}\n\
               counter to_server {{ }}\n\
               counter to_client {{ }}\n\
               set opened {{ type inet_service; size 65535; flags dynamic; }}\n\
               chain to_server {{\n\
                 tcp flags & (syn | ack) == syn counter name opening add @opened {{ tcp sport }}\n\
                 {to_server}\n\
               }}\n\
               chain to_client {{\n\
                 {to_client}\n\
               }}\n\
               chain arriving {{\n\
                 type filter hook input priority 0\n\
                 tcp dport {port} jump to_server\n\
                 tcp sport {port} jump to_client\n\
               }}\n\
             }}\n"
        ));
    }

    pub fn heals(&self) {
        load(&format!("delete table {}", self.table()));
    }

    pub fn packets(&self) -> Packets {
        let packets = |counter| {
            let list = format!("list counter {} {counter}", self.table());
            let listed = said(Command::new("nft").arg(list).output());
            let (_, after) = listed.split_once("packets ").expect("a counter");
            after.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
        };
        Packets {
            opening: packets("opening"),
            lost_to_server: packets("to_server"),
            lost_to_client: packets("to_client"),
        }
    }

    fn table(&self) -> String {
        format!("ip port_{}", self.port)
    }
}

/// Does all of it at once, or nothing.
#[track_caller]
fn load(text: &str) {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = nft.spawn().expect("`nft` starts");
    nft.stdin.take().expect("piped").write_all(text.as_bytes()).expect("`nft` reads");
    said(nft.wait_with_output());
}
