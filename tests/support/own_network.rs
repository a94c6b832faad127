//! A network of a test's own: nothing but a loopback interface, on which `nft` drops packets. The machine's network is
//! not touched, and the kernel takes all of it away with the last process in it.

#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use super::support::{is_root, skip};

/// Set in a test binary that runs in a network of its own: the file by which it shows that it does.
const INSIDE: &str = "BACKHAUL_TEST_OWN_NETWORK";

/// What `nft` and the kernel must know.
const PROBE: &str = "ip link set lo up && nft 'add table ip probe; add set ip probe some { type ipv4_addr; }; \
    add chain ip probe in { type filter hook input priority 0; }; add rule ip probe in ip daddr @some counter drop'";

/// Runs a test in a network of its own: this binary again, with that one test, in a new network namespace.
pub(crate) fn in_own_network(test: &str, work: impl FnOnce()) {
    if let Some(shown) = std::env::var_os(INSIDE) {
        std::fs::write(shown, test).expect("writable");
        said(Command::new("ip").args(["link", "set", "lo", "up"]).output());
        return work();
    }
    if !is_root() {
        return skip(test, "only root makes networks");
    }
    match unshare().args(["sh", "-c", PROBE]).output() {
        Ok(probed) if probed.status.success() => {}
        Ok(probed) => {
            return skip(test, &format!("no network of its own: {}", String::from_utf8_lossy(&probed.stderr)));
        }
        Err(error) => return skip(test, &format!("`unshare`: {error}")),
    }
    let shown = tempfile::NamedTempFile::new().expect("a file");
    let mut inside = unshare();
    inside.arg(std::env::current_exe().expect("a test binary"));
    inside.args(["--exact", test, "--include-ignored", "--nocapture"]).env(INSIDE, shown.path()).stdin(Stdio::null());
    let ended = inside.status().expect("`unshare` starts");
    assert!(ended.success(), "in its own network: {ended}");
    let ran = std::fs::read_to_string(shown.path()).expect("readable");
    assert_eq!(ran, test, "there is no test of that name");
}

/// Starts what comes after it in a new network.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]);
    command
}

#[track_caller]
fn said(output: std::io::Result<Output>) {
    let output = output.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Has these rules of `nft` in place of all others, in the network of this process.
pub(crate) fn load_rules(rules: &str) {
    let mut nft = Command::new("nft");
    nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut nft = nft.spawn().expect("`nft` starts");
    nft.stdin.take().expect("piped").write_all(rules.as_bytes()).expect("`nft` reads");
    said(nft.wait_with_output());
}
