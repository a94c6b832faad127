//! `backhaul init`: writes a plan from a region's records, or from what lies in it where it has none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Outcome, print, say};
use crate::catalog::{Catalog, Ledger, Record, RecordState};
use crate::cli::{Global, InitArgs};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::plan::{Written, WrittenEntry, WrittenRegion, WrittenStore, to_yaml};
use crate::register;
use crate::store::{FileStore, Source, Store, Throttle};

pub(super) async fn init(global: &Global, args: &InitArgs) -> Outcome {
    let from = absolute(&args.from)?;
    let store = FileStore::open(&from, None, Throttle::unlimited())
        .map(Store::File)
        .map_err(|error| unreachable(&from, error.message, error.hint))?;
    let ledger = register::catalog(store.clone())
        .ledger()
        .await
        .map_err(|error| unreachable(&from, error.0.message, error.0.hint))?;
    let mut regions = vec![("source".to_owned(), region(&from))];
    let mut to = Vec::new();
    for (number, folder) in (1..).zip(&args.to) {
        let name = if args.to.len() == 1 { "target".to_owned() } else { format!("target-{number}") };
        regions.push((name.clone(), region(&absolute(folder)?)));
        to.push(name);
    }
    let (entries, what) = if ledger.records().next().is_some() {
        (of_records(&ledger, &to), "records")
    } else {
        (of_objects(&store, &from, &to).await?, "objects without records")
    };
    if entries.is_empty() {
        return Err(CommandError::new(Exit::Failed, format!("there is nothing to copy in {}", from.display())));
    }
    let count = entries.len();
    let written = Written {
        version: 1,
        name: args.name.clone(),
        database: None,
        regions,
        defaults: None,
        limits: None,
        retry: None,
        schedule: None,
        backups: entries,
    };
    let text = to_yaml(&written);
    let Some(output) = &args.output else {
        print(&text);
        return Ok(Exit::Done);
    };
    create(output, &text)?;
    say(
        global,
        &format!("wrote {} with {count} backups from {what}; look at it, then: backhaul plan {0}", output.display()),
    );
    Ok(Exit::Done)
}

fn region(folder: &Path) -> WrittenRegion {
    let path = folder.to_string_lossy().into_owned();
    WrittenRegion { store: WrittenStore::File { path, identity: None } }
}

/// An entry for each restorable record: chains together, parents first, the newest chain first.
fn of_records(ledger: &Ledger, to: &[String]) -> Vec<WrittenEntry> {
    let restorable: Vec<&Record> = ledger.records().filter(|record| record.state == RecordState::Completed).collect();
    let ids: BTreeSet<_> = restorable.iter().map(|record| record.id).collect();
    let is_root = |record: &&&Record| record.parent_id.is_none_or(|parent| !ids.contains(&parent));
    let mut roots: Vec<&Record> = restorable.iter().filter(is_root).copied().collect();
    roots.sort_by_key(|record| std::cmp::Reverse((record.created.clone(), record.id)));
    let mut children: BTreeMap<_, Vec<&Record>> = BTreeMap::new();
    for record in &restorable {
        children.entry(record.parent_id).or_default().push(record);
    }
    let mut entries = Vec::new();
    for root in roots {
        let mut stack = vec![root];
        while let Some(record) = stack.pop() {
            entries.push(WrittenEntry {
                id: Some(record.id.to_string()),
                from: Some("source".to_owned()),
                to: to.to_vec(),
                ..WrittenEntry::default()
            });
            stack.extend(children.get(&Some(record.id)).into_iter().flatten());
        }
    }
    entries
}

/// An entry for each object. Which of them are incrementals nobody can tell: parents are for the operator to add.
async fn of_objects(store: &Store, from: &Path, to: &[String]) -> Result<Vec<WrittenEntry>, CommandError> {
    let objects = store.list("").await.map_err(|error| unreachable(from, error.message, error.hint))?;
    let entry = |location: String| WrittenEntry {
        location: Some(location),
        from: Some("source".to_owned()),
        to: to.to_vec(),
        ..WrittenEntry::default()
    };
    Ok(objects.into_iter().map(|object| entry(object.key.to_string())).collect())
}

fn absolute(path: &Path) -> Result<PathBuf, CommandError> {
    std::path::absolute(path)
        .map_err(|error| CommandError::new(Exit::Usage, format!("bad folder {}", path.display())).caused_by(error))
}

/// Never replaces a file.
fn create(path: &Path, text: &str) -> Result<(), CommandError> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        CommandError::new(Exit::Usage, format!("cannot write the plan {}", path.display()))
            .caused_by(error)
            .hint("name a file that is not there yet")
    })
}

fn unreachable(folder: &Path, message: String, hint: Option<String>) -> CommandError {
    let mut error =
        CommandError::new(Exit::Unreachable, format!("cannot read {}", folder.display())).caused_by(message);
    error.hint = hint;
    error
}
