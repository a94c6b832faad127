//! Stores that nobody here wrote: `SeaweedFS` (S3) and Azurite (Azure), started by the tests on this machine. What each
//! of them was seen to do, and not to do, is printed; what Backhaul promises holds either way.
//!
//! `tests/run` installs both servers. There is none of GCS: the same checks go to one that was written here after its
//! documentation, and prove only that Backhaul keeps to that.

mod support;

#[path = "real_servers/checks.rs"]
mod checks;
#[path = "support/gcs/mod.rs"]
mod gcs;
#[path = "real_servers/server.rs"]
mod server;

use server::Server;

/// Whether a server could be started; else it is said, and where tests must run it fails.
fn with(server: Option<Server>, name: &str, check: impl FnOnce(&Server)) {
    match server {
        Some(server) => check(&server),
        None => support::skip(name, "it is not installed; `tests/run` installs it"),
    }
}

#[test]
fn seaweedfs_takes_and_gives_backups_and_is_never_overwritten() {
    with(Server::seaweedfs(), "SeaweedFS", |server| {
        checks::copies_in_between_and_out(server);
        checks::goes_on_after_a_kill(server);
        checks::replaces_nothing(server);
        assert_eq!(server.open_uploads(), 0, "uploads are left open");
    });
}

#[test]
fn azurite_takes_and_gives_backups_and_is_never_overwritten() {
    with(Server::azurite(), "Azurite", |server| {
        checks::copies_in_between_and_out(server);
        checks::goes_on_after_a_kill(server);
        checks::replaces_nothing(server);
    });
}

#[test]
fn gcs_as_documented_takes_and_gives_backups_and_is_never_overwritten() {
    let server = Server::gcs();
    checks::copies_in_between_and_out(&server);
    checks::goes_on_after_a_kill(&server);
    checks::replaces_nothing(&server);
    assert_eq!(server.open_uploads(), 0, "uploads are left open");
}
