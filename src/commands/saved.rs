//! What `init` and `plan --out` write: plan files, each anew.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::CommandError;
use crate::exit::Exit;
use crate::plan::{Entry, Known, Loaded, Plan, RegionIndex, Subject, Written, parse, to_yaml};
use crate::regions::process_environment;
use crate::store::Pin;
use crate::survey::{Migration, Survey};

/// A plan that takes what the selected migrations take, each in the version that the survey saw.
pub(super) struct Saved {
    /// The plan's text.
    pub(super) text: String,
    /// Number of entries.
    pub(super) entries: usize,
    /// Those whose source could not be asked.
    pub(super) without_pin: usize,
}

/// Writes down what a survey found.
pub(super) fn saved(loaded: &Loaded, survey: &Survey, selected: &[bool]) -> Result<Saved, CommandError> {
    let chosen = survey.migrations.iter().zip(selected).filter(|(_, selected)| **selected);
    let entries = entries(chosen.map(|(migration, _)| migration));
    if entries.is_empty() {
        let message = "the plan takes no backup now, so there is none to save; nothing was written";
        return Err(CommandError::new(Exit::Failed, message));
    }
    let without_pin =
        entries.iter().filter(|entry| known(&entry.subject).is_none_or(|known| known.pin.is_none())).count();
    let count = entries.len();
    let plan = Plan { entries, ..loaded.plan.clone() };
    let written = Written::of(&plan)
        .starting_at(&plan.folder, &*process_environment())
        .map_err(|error| CommandError::new(Exit::Usage, "this plan cannot be saved").caused_by(error))?;
    let text = to_yaml(&written);
    if let Err(refused) = parse(text.as_bytes(), &loaded.path) {
        super::complain(refused.render(false).trim_end());
        return Err(CommandError::new(Exit::Internal, "the saved plan would not be valid; nothing was written"));
    }
    Ok(Saved { text, entries: count, without_pin })
}

/// An entry for each source backup that is told the same for all its targets, in the order of the migrations.
fn entries<'a>(migrations: impl Iterator<Item = &'a Migration>) -> Vec<Entry> {
    let mut entries: Vec<(Entry, Vec<RegionIndex>)> = Vec::new();
    let mut positions: HashMap<(usize, String), Vec<usize>> = HashMap::new();
    let region = |number: usize| RegionIndex(u16::try_from(number).expect("at most 1,000 regions"));
    for migration in migrations {
        let subject = pinned(migration);
        let source = match &subject {
            Subject::Id { id, .. } => format!("id:{id}"),
            Subject::Location { key, .. } => format!("location:{key}"),
            Subject::Select(_) => continue,
        };
        let told = &migration.told;
        let same = positions.entry((migration.source, source)).or_default();
        let there = same.iter().copied().find(|at| {
            let (entry, _) = &entries[*at];
            (&entry.name, &entry.description) == (&told.name, &told.description)
                && known(&entry.subject) == known(&subject)
        });
        if let Some(at) = there {
            entries[at].1.push(region(migration.target));
            continue;
        }
        same.push(entries.len());
        let entry = Entry {
            place: migration.place,
            subject,
            from: region(migration.source),
            to: Arc::new([]),
            name: told.name.clone(),
            description: told.description.clone(),
        };
        entries.push((entry, vec![region(migration.target)]));
    }
    entries.into_iter().map(|(entry, to)| Entry { to: to.into(), ..entry }).collect()
}

fn known(subject: &Subject) -> Option<&Known> {
    match subject {
        Subject::Id { known, .. } | Subject::Location { known, .. } => Some(known),
        Subject::Select(_) => None,
    }
}

/// What names a migration's source, with its version: the plan's own pin, else what the source was when it was asked,
/// else what was copied of it.
fn pinned(migration: &Migration) -> Subject {
    let mut subject = migration.told.subject.clone();
    if let Subject::Id { known, .. } | Subject::Location { known, .. } = &mut subject {
        let asked = migration.object.as_ref().map(|object| &object.pin).filter(|pin| !pin.etag.is_empty());
        let row = &migration.row;
        let copied = || row.source_etag.clone().zip(row.bytes).map(|(etag, size)| Pin { etag, size });
        known.pin = known.pin.take().or_else(|| asked.cloned()).or_else(copied);
    }
    subject
}

/// Refuses a file that is there already, before anybody is asked for what would be in it.
pub(super) fn must_be_new(path: &Path) -> Result<(), CommandError> {
    // A symlink that leads nowhere is there, too.
    match path.symlink_metadata() {
        Ok(_) => Err(cannot_write(path, std::io::ErrorKind::AlreadyExists.into())),
        Err(_) => Ok(()),
    }
}

/// Writes a plan's file. Never replaces one, and nobody else can change it, as plans must not be changed.
pub(super) fn create(path: &Path, text: &str) -> Result<(), CommandError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| cannot_write(path, error))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // What is there of it is ours and no plan.
        let _ = std::fs::remove_file(path);
        cannot_write(path, error)
    })
}

fn cannot_write(path: &Path, error: std::io::Error) -> CommandError {
    let message = format!("cannot write the plan {}", path.display());
    let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
    let shown = CommandError::new(if exists { Exit::Usage } else { Exit::Internal }, message).caused_by(error);
    if exists { shown.hint("name a file that is not there yet") } else { shown }
}
