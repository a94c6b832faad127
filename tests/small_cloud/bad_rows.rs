//! Rows of a Trove that make no sense, one a file in `tests/bad_rows/`: what they say of a backup instead of what a good
//! one says. Each is told of with its own text, and holds up no other. `UPDATE_EXPECT=1` writes the texts anew.

use std::path::{Path, PathBuf};

use backhaul::state::State;
use serde_json::Value;

use crate::bed::{BACKUPS, Bed, by_api};

const BAD: &str = "20000000-0000-4000-8000-000000000003";

fn rows() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_rows");
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files
}

/// What a run says of a row with these fields, beside one that is good; none if it takes it for good.
fn said_of(name: &str, fields: &Value) -> Option<String> {
    let bed = Bed::new();
    let (good, project) = BACKUPS[0];
    for id in [good, BAD] {
        bed.backup("one", id, project);
    }
    for (field, value) in fields.as_object().expect("fields") {
        bed.cloud.region("one").backups[1][field] = value.clone();
    }
    let entry = |id| format!("{{ id: {id}, from: one, to: [two] }}");
    bed.plan(&[&by_api("one"), &by_api("two")], &[&entry(good), &entry(BAD)]);
    let output = bed.backhaul(&["run", "plan.yaml"]);
    assert!(!output.stderr.contains("panicked at") && !format!("{output}").contains("hunter2"), "{name}: {output}");

    let rows = bed.rows();
    let row = |id: &str| {
        let found = rows.iter().find(|row| row.source_id.as_deref() == Some(id));
        found.unwrap_or_else(|| panic!("{name}: {id} has no row: {output}"))
    };
    assert_eq!(row(good).state, State::Completed, "{name}: {output}");
    let failure = row(BAD).failure()?;
    let hint = failure.hint.as_deref().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
    let code = output.code.expect("it ended by itself");
    let said = format!("exit {code}\n{}: {}\n{hint}", failure.cause.code(), failure.message);
    let swift = bed.cloud.swift("one");
    let (_, address) = swift.split_once("://").expect("a URL");
    Some(said.replace(address.split('/').next().expect("a host"), "CLOUD"))
}

#[test]
fn bad_rows_are_told_each_and_hold_up_no_other() {
    let rows = rows();
    assert!(rows.len() >= 50, "only {} are left", rows.len());
    let mut different = Vec::new();
    for path in rows {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let fields = serde_json::from_slice(&std::fs::read(&path).expect("readable")).expect("JSON");
        let Some(said) = said_of(name, &fields) else {
            different.push(format!("{name} is not bad"));
            continue;
        };
        let expect = path.with_extension("expect");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expect, said).expect("writable");
        } else if std::fs::read_to_string(&expect).unwrap_or_default() != said {
            different.push(format!("{name} gives now:\n{said}"));
        }
    }
    assert!(different.is_empty(), "{}\nUPDATE_EXPECT=1 takes these texts over", different.join("\n"));
}
