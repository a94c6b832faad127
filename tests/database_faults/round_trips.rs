//! A database that is far away: what many small backups write down shares its way there.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::database_proxy::Proxy;
use super::support::{BACKHAUL, Output};
use super::{Kind, NAME, on_both, server};

const BACKUPS: u64 = 1_000;

/// A message is so long under way: hosts of one country.
const DELAY: Duration = Duration::from_millis(10);

fn share_their_transactions(kind: Kind) {
    let Some(server) = server(kind, "a database that is far away") else { return };
    let proxy = Proxy::far_from(server.port, DELAY);
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("one")).expect("a new folder");
    let mut plan = "version: 1\nname: far\ndatabase: \"${FAR_DATABASE}\"\nlimits: { concurrency: 64 }\nregions:\n  one: { store: { type: \
                    file, path: one } }\n  two: { store: { type: file, path: two } }\nbackups:\n"
        .to_owned();
    for number in 0..BACKUPS {
        fs::write(folder.path().join(format!("one/{number}")), number.to_string()).expect("a file");
        writeln!(plan, "  - {{ location: '{number}', from: one, to: [two] }}").expect("text");
    }
    fs::write(folder.path().join("plan.yaml"), plan).expect("the plan");
    let mut run = Command::new(BACKHAUL);
    run.args(["-q", "run", "plan.yaml"]).current_dir(folder.path()).env("FAR_DATABASE", server.url(NAME, proxy.port));
    Output::of(run.output().expect("the binary starts")).expect(0);
    // Each backup is planned, claimed, copied, claimed again and registered.
    let commits = proxy.commits();
    assert!(commits < BACKUPS / 4, "{kind:?}: {commits} transactions for {BACKUPS} backups");
}

#[test]
fn small_backups_share_their_transactions() {
    on_both(share_their_transactions);
}
