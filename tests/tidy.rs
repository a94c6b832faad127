//! The repository's own rules, read off its files: who may import whom, and how long files may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file, tests beside it not counted.
const LINES_MAX: usize = 400;

/// What each part of the tree may use of the others. `*` is everything. A part that is not here fails the test.
const MAY_USE: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("address", &["id"]),
    ("lease", &[]),
    ("share", &[]),
    ("number", &[]),
    ("state", &[]),
    ("exit", &[]),
    ("failure", &[]),
    ("fault", &[]),
    ("graph", &["state"]),
    ("schedule", &["state"]),
    ("comparison", &[]),
    ("summary", &["exit", "failure", "state"]),
    ("event", &["failure", "id", "state", "summary"]),
    ("error", &["exit", "failure"]),
    ("suggest", &[]),
    ("task", &[]),
    ("plan", &["address", "id", "sql", "store", "suggest"]),
    ("sql", &["openstack", "task"]),
    ("throttle", &[]),
    ("http", &["throttle"]),
    ("openstack", &["address", "http", "suggest", "throttle"]),
    ("store", &["address", "failure", "fault", "http", "id", "openstack", "task", "throttle"]),
    ("copy", &["failure", "fault", "id", "store"]),
    ("catalog", &["failure", "fault", "http", "id", "number", "openstack", "sql", "throttle"]),
    ("database", &["failure", "fault", "id", "lease", "share", "sql", "state"]),
    ("regions", &["address", "catalog", "failure", "openstack", "plan", "store", "throttle"]),
    ("register", &["catalog", "database", "failure", "fault", "id", "regions", "store"]),
    (
        "survey",
        &[
            "catalog",
            "copy",
            "database",
            "error",
            "exit",
            "failure",
            "graph",
            "id",
            "number",
            "openstack",
            "plan",
            "regions",
            "register",
            "state",
            "store",
        ],
    ),
    (
        "engine",
        &[
            "catalog", "copy", "database", "event", "exit", "failure", "fault", "id", "lease", "plan", "regions",
            "register", "schedule", "share", "state", "store", "survey", "task", "throttle",
        ],
    ),
    ("report", &["event", "exit", "failure", "graph", "id", "number", "plan", "state", "summary", "survey"]),
    ("cli", &["plan"]),
    ("commands", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

/// Words that a pure file must not have: no clock, no IO, no runtime.
const IMPURE: &[&str] =
    &["tokio", "sea_orm", "std::fs", "std::io", "Instant", "SystemTime", "Timestamp::now", "println"];
const PURE: &[&str] = &[
    "id.rs",
    "address.rs",
    "state.rs",
    "graph.rs",
    "schedule.rs",
    "event.rs",
    "summary.rs",
    "comparison.rs",
    "failure.rs",
    "lease.rs",
    "share.rs",
    "number.rs",
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walk(&source, &mut found);
    found.into_iter().map(|(path, text)| (path.strip_prefix(&source).expect("below src").to_owned(), text)).collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// The text before the tests beside it.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// The first segment of every `crate::…` path in the code, comments left out.
fn used(text: &str) -> BTreeSet<&str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.match_indices("crate::").map(move |(at, word)| &line[at + word.len()..]))
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test(path)) {
        let part = path.components().next().expect("a name").as_os_str().to_string_lossy();
        let part = part.trim_end_matches(".rs");
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == part) else {
            wrong.push(format!("{}: `{part}` has no rule", path.display()));
            continue;
        };
        for other in used(without_tests(text)) {
            if other != part && !allowed.contains(&"*") && !allowed.contains(&other) {
                wrong.push(format!("{}: uses crate::{other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| PURE.iter().any(|pure| path == Path::new(pure))) {
        for word in IMPURE.iter().filter(|word| without_tests(text).contains(**word)) {
            wrong.push(format!("{}: {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "IO or time in the core:\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, without_tests(text).lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines}", path.display()))
        .collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn every_migration_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let list = fs::read_to_string(folder.join("lib.rs")).expect("the list");
    for entry in fs::read_dir(&folder).expect("readable") {
        let name = entry.expect("readable").file_name().into_string().expect("UTF-8");
        if let Some(module) = name.strip_suffix(".rs").filter(|name| name.starts_with('m')) {
            assert!(list.contains(&format!("Box::new({module}::Migration)")), "{module} is not in the Migrator");
        }
    }
}

/// Links within the repository, of the pages that people read first.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for page in ["README.md", "docs/openstack.md", "docs/stores.md", "plans/quickstart/README.md"] {
        let page = root.join(page);
        let text = fs::read_to_string(&page).expect("UTF-8");
        let links = text.match_indices("](").map(|(at, _)| text[at + 2..].split(')').next().expect("a text"));
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = link.split('#').next().expect("a text");
            assert!(page.with_file_name(path).exists(), "{}: `{link}` leads nowhere", page.display());
            found += 1;
        }
    }
    assert!(found > 10, "only {found} links");
}
