//! A network of a test's own: nothing but a loopback interface, on which `nft` drops packets. The machine's own network
//! is not touched, and the kernel takes all of it away with the last process in it.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::support::{is_root, skip};

/// Set in a test binary that runs in a network of its own.
const INSIDE: &str = "BACKHAUL_TEST_OWN_NETWORK";

/// What `ip`, `nft` and the kernel must know.
const PROBE: &str = "ip link set lo up && nft 'add table ip probe; \
    add chain ip probe arriving { type filter hook input priority 0; }; \
    add rule ip probe arriving ip daddr 127.0.0.1 numgen random mod 10 < 3 counter drop'";

/// What TCP needs to get through at all where so much is lost: windows of more than one packet of a loopback interface
/// (64 KiB), and no timestamps, by which it takes a late answer for a long way and comes to wait for a minute.
const SETTINGS: [(&str, &str); 2] = [("tcp_rmem", "4096 4194304 6291456"), ("tcp_timestamps", "0")];

/// Runs a test in a network of its own: this binary again, with that one test, in a new network namespace. What it says
/// on stderr is heard as it is said.
#[track_caller]
pub(crate) fn in_own_network(test: &str, work: impl FnOnce(&Network)) {
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
    inside.arg(std::env::current_exe().expect("a test binary"));
    inside.args(["--exact", test, "--include-ignored", "--nocapture"]).env(INSIDE, "1");
    let output = inside.stdin(Stdio::null()).stderr(Stdio::inherit()).output().expect("`unshare` starts");
    let stdout = String::from_utf8_lossy(&output.stdout);
    // A name that is no test's would pass too.
    let has_passed = output.status.success() && stdout.contains("1 passed");
    assert!(has_passed, "in its own network: {}\n{stdout}", output.status);
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
pub(crate) struct Network(());

impl Network {
    fn come_up() -> Self {
        said(Command::new("ip").args(["link", "set", "lo", "up"]).output());
        for (name, value) in SETTINGS {
            std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value).expect("a setting of this network");
        }
        Self(())
    }

    /// Does all that is written there for `nft` at once, or nothing.
    #[track_caller]
    #[expect(clippy::unused_self, reason = "rules are for who is in a network of its own")]
    pub(crate) fn load(&self, rules: &str) {
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut nft = nft.spawn().expect("`nft` starts");
        nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("`nft` reads");
        said(nft.wait_with_output());
    }

    /// What `nft` says of something of this network.
    #[expect(clippy::unused_self, reason = "as of `load`")]
    pub(crate) fn list(&self, what: &str) -> String {
        said(Command::new("nft").arg(format!("list {what}")).output())
    }
}
