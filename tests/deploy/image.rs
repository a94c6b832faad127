//! The Dockerfile.

use std::path::Path;
use std::process::Command;

use super::read;
use super::support::{Bed, Output, Trace};

#[test]
fn bases_are_pinned_and_what_was_locked_is_built() {
    let text = read("Dockerfile");
    let bases: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2, "{bases:?}");
    for base in &bases {
        let tag = base.split(' ').next().and_then(|image| image.split_once(':')).map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_digit())), "{base} is not pinned");
    }
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).expect("there");
    let (_, version) = manifest.split_once("\nrust-version = \"").expect("a version");
    let version = version.split('"').next().expect("its end");
    assert!(bases[0].starts_with(&format!("rust:{version}-")), "{} is not Rust {version}", bases[0]);
    assert!(text.contains("\nRUN cargo build --release --locked --bin backhaul\n"), "{text}");
}

/// The build sees what is allowed by name: that has to be enough for cargo, and must be no more than what is versioned.
#[test]
fn the_context_has_what_the_build_needs() {
    let text = read("Dockerfile.dockerignore");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*");
    let folder = tempfile::tempdir().expect("a folder");
    for line in &lines[1..] {
        let name = line.strip_prefix("!/").expect("a name that is let in");
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let copied = Command::new("cp").arg("-r").arg(&from).arg(folder.path()).status().expect("it starts");
        assert!(copied.success(), "{name}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]).current_dir(folder.path());
    let said = Output::of(cargo.output().expect("it starts")).expect(0);
    let metadata: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.iter().any(|package| package["name"] == "backhaul"), "{said}");
    assert!(packages.iter().any(|package| package["name"] == "migrations"), "{said}");
}

/// A run as the Job's, of a plan whose database is on a server, opens nothing for writing but what is in its stores.
pub(super) fn runs_on_a_root_that_is_read_only(bed: &Bed) {
    let trace = Trace::new(bed, "open,openat,creat,mkdir");
    let mut joining = trace.command(bed, &["run", "--if-running", "join"]);
    Output::of(joining.arg(bed.plan()).output().expect("strace starts")).expect(0);
    let log = trace.log();
    assert!(log.contains("O_RDONLY"), "nothing was traced: {log}");
    // Stores are opened as folders, and written to from there.
    let by_path = log.lines().filter(|call| !call.contains("openat(") || call.contains("openat(AT_FDCWD, "));
    let writes = by_path.filter(|call| ["O_WRONLY", "O_RDWR", "creat(", "mkdir("].iter().any(|way| call.contains(way)));
    let own = format!("\"{}", bed.path().display());
    let others: Vec<&str> = writes.filter(|call| !call.contains(&own) && !call.contains("\"/dev/null\"")).collect();
    assert_eq!(others, Vec::<&str>::new());
}
