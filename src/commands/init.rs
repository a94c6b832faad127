//! `backhaul init`: writes a plan from a region's records, or from what lies in it where it has none.

mod evacuation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::json;

use super::saved::create;
use super::{Outcome, open, place, print, print_json, say};
use crate::catalog::{Ledger, Record, RecordState};
use crate::cli::{Global, InitArgs};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::number::counted;
use crate::plan::{Plan, Written, WrittenEntry, WrittenRegion, parse, to_yaml};
use crate::regions::process_environment;
use crate::register::Registry;
use crate::store::{Listed, Source};

/// The name of the source region.
const SOURCE: &str = "source";

pub(super) async fn init(global: &Global, args: &InitArgs) -> Outcome {
    if let Some(file) = &args.regions {
        return evacuation::init(global, args, file).await;
    }
    let mut written = plan(args)?;
    let unreachable = |message: String, hint: Option<String>| unreachable(&args.from, message, hint);
    let regions = open::unlimited_regions(&emptied(&written)?);
    let store = regions.source(0).await.map_err(|failure| unreachable(failure.message, failure.hint))?;
    let ledger = Registry::records_in(store.clone()).ledger(None).await;
    let ledger = ledger.map_err(|error| unreachable(error.0.message, error.0.hint))?;
    let objects = store.list("").await.map_err(|error| unreachable(error.message, error.hint))?;
    let mut left_out = store.left_out().await.map_err(|error| unreachable(error.message, error.hint))?;
    let to: Vec<String> = written.regions.iter().skip(1).map(|(name, _)| name.clone()).collect();
    let (backups, what) = if ledger.records().next().is_some() {
        left_out.extend(not_recorded(&ledger, &objects));
        (of_records(&ledger, SOURCE, &to), "records")
    } else {
        (of_objects(objects, &to, &mut left_out), "objects without records")
    };
    for (name, why) in &left_out {
        super::complain(&format!("warning: left out: `{name}`: {why}"));
    }
    if backups.is_empty() {
        return Err(CommandError::new(
            Exit::Failed,
            format!("there is nothing to copy in {}", place::shown(&args.from)),
        ));
    }
    written.backups = backups;
    tell(global, args, &written, &left_out, what)
}

/// Writes the plan where it is wanted, and says so.
fn tell(global: &Global, args: &InitArgs, written: &Written, left_out: &[(String, String)], what: &str) -> Outcome {
    let count = written.backups.len();
    let text = to_yaml(written);
    checked(&text)?;
    if let Some(output) = &args.output {
        create(output, &text)?;
        let counted = counted(count as u64, "backup");
        say(
            global,
            &format!("wrote {0} with {counted} from {what}; look at it, then: backhaul plan {0}", output.display()),
        );
    }
    if global.json {
        let left_out: Vec<_> = left_out.iter().map(|(name, why)| json!({"name": name, "reason": why})).collect();
        let plan = args.output.is_none().then_some(text);
        print_json(&json!({"type": "init", "version": 1, "backups": count, "left_out": left_out, "plan": plan}))?;
    } else if args.output.is_none() {
        print(&text)?;
    }
    Ok(Exit::Done)
}

/// What lies in a vault and is in none of its restorable records.
fn not_recorded(ledger: &Ledger, objects: &[Listed]) -> Vec<(String, String)> {
    let mut locations = BTreeSet::new();
    let mut left_out = Vec::new();
    for record in ledger.records() {
        locations.insert(record.location.as_str());
        if record.state == RecordState::Failed {
            let why = record.reason.as_deref().unwrap_or("no reason was recorded").escape_debug().to_string();
            left_out.push((record.name.escape_debug().to_string(), format!("its record says FAILED: {why}")));
        } else if let Some(failure) = record.unusable.as_ref().filter(|_| record.is_restorable()) {
            left_out.push((record.name.escape_debug().to_string(), failure.message.clone()));
        }
    }
    let without = objects.iter().filter(|object| !locations.contains(object.key.as_str()));
    left_out.extend(without.map(|object| (object.key.to_string(), "it has no record".to_owned())));
    left_out
}

/// The plan but for its backups.
fn plan(args: &InitArgs) -> Result<Written, CommandError> {
    let mut regions = vec![(SOURCE.to_owned(), WrittenRegion::with_store(place::store(&args.from)?))];
    for (number, target) in (1..).zip(&args.to) {
        let name = if args.to.len() == 1 { "target".to_owned() } else { format!("target-{number}") };
        regions.push((name, WrittenRegion::with_store(place::store(target)?)));
    }
    let written = Written {
        version: 1,
        name: args.name.clone(),
        database: None,
        regions,
        defaults: None,
        limits: None,
        retry: None,
        schedule: None,
        backups: Vec::new(),
    };
    let here = std::env::current_dir()
        .map_err(|error| CommandError::new(Exit::Usage, "the current folder is gone").caused_by(error))?;
    written
        .starting_at(&here, &*process_environment())
        .map_err(|error| CommandError::new(Exit::Usage, "these arguments give no valid plan").caused_by(error))
}

/// The plan that the text is.
fn checked(text: &str) -> Result<Plan, CommandError> {
    parse(text.as_bytes(), Path::new("plan.yaml")).map(|loaded| loaded.plan).map_err(|refused| {
        super::complain(refused.render(false).trim_end());
        CommandError::new(Exit::Usage, "these arguments give no valid plan; nothing was written")
    })
}

/// The plan with a backup in place of those that are to be found out: none is valid without.
fn emptied(written: &Written) -> Result<Plan, CommandError> {
    let to = written.regions.iter().skip(1).map(|(name, _)| name.clone()).collect();
    let any = WrittenEntry { id: Some("any".to_owned()), from: Some(SOURCE.to_owned()), to, ..WrittenEntry::default() };
    checked(&to_yaml(&Written { backups: vec![any], ..written.clone() }))
}

/// An entry for each restorable record: chains together, parents first, the newest chain first.
fn of_records(ledger: &Ledger, from: &str, to: &[String]) -> Vec<WrittenEntry> {
    let restorable: Vec<&Record> =
        ledger.records().filter(|record| record.is_restorable() && record.unusable.is_none()).collect();
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
                from: Some(from.to_owned()),
                to: to.to_vec(),
                ..WrittenEntry::default()
            });
            stack.extend(children.get(&Some(record.id)).into_iter().flatten());
        }
    }
    entries
}

/// An entry for each object. Which of them are incrementals nobody can tell: parents are for the operator to add.
fn of_objects(objects: Vec<Listed>, to: &[String], left_out: &mut Vec<(String, String)>) -> Vec<WrittenEntry> {
    let mut entries = Vec::with_capacity(objects.len());
    for object in objects {
        let location = object.key.to_string();
        // In a plan it would be a reference to a variable.
        if location.contains("${") {
            left_out.push((location, "its name has `${` in it, which plans cannot say".to_owned()));
            continue;
        }
        entries.push(WrittenEntry {
            location: Some(location),
            from: Some(SOURCE.to_owned()),
            to: to.to_vec(),
            ..WrittenEntry::default()
        });
    }
    entries
}

fn unreachable(from: &Path, message: String, hint: Option<String>) -> CommandError {
    let mut error =
        CommandError::new(Exit::Unreachable, format!("cannot read {}", place::shown(from))).caused_by(message);
    error.hint = hint;
    error
}
