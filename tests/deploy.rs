//! What stands in `deploy/`, held against the program and against what it is for: as far as that goes without a cluster
//! and a daemon that builds images.

#[path = "support/database_server.rs"]
mod database_server;
#[path = "deploy/grants.rs"]
mod grants;
#[path = "deploy/image.rs"]
mod image;
#[path = "deploy/kubernetes.rs"]
mod kubernetes;
mod support;
#[path = "deploy/systemd.rs"]
mod systemd;

/// A file of `deploy/`.
fn read(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
