//! Questions to stores: what the source objects are now, and what lies in the targets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, future, stream};
use jiff::Timestamp;

use super::chain::is_copied;
use super::{Migration, Surveyor};
use crate::catalog::RECORDS_FOLDER;
use crate::copy::{self, Expected};
use crate::failure::{Cause, Failure};
use crate::id::Key;
use crate::number::format_bytes;
use crate::plan::CatalogSpec;
use crate::regions::Access;
use crate::state::State;
use crate::store::{ObjectFacts, Pin, Source as _, Store, StoreError, StoreErrorKind};

/// Questions under way at a time.
const QUESTIONS: usize = 32;

/// Looks whether verified copies that are not registered yet still lie in their targets as they were.
pub(super) async fn copies(surveyor: &Surveyor<'_>, migrations: &mut [Migration]) {
    let unregistered = migrations.iter_mut().filter(|migration| {
        let copied = migration.row.sha256.is_some() && migration.row.etag.is_some();
        copied && matches!(migration.row.state, State::Saving | State::Failed)
    });
    let looks = stream::iter(unregistered)
        .map(|migration| async {
            let Some(key) = migration.row.location.as_deref().and_then(|location| Key::parse(location).ok()) else {
                return;
            };
            let Ok(store) = surveyor.regions.target(migration.target, Access::Look).await else { return };
            let there = match store.head(&key).await {
                Ok(facts) => Some(facts.etag) == migration.row.etag && Some(facts.size) == migration.row.bytes,
                Err(error) if error.kind == StoreErrorKind::Missing => false,
                // What cannot be seen is not gone: the step will say what is wrong.
                Err(_) => return,
            };
            if migration.row.state == State::Saving {
                if !there && migration.failure.is_none() {
                    let message = format!("the copy `{key}` changed or went away before it was registered");
                    migration.failure = Some(Failure::new(Cause::CopyMissing, message));
                }
                return;
            }
            migration.copy_is_there = there;
            // What is copied needs its source no more; it does need its parent.
            if migration.copy_is_there
                && migration.failure.as_ref().is_none_or(|failure| failure.cause != Cause::ParentMissing)
            {
                migration.failure = None;
            }
        })
        .buffer_unordered(QUESTIONS);
    looks.collect::<()>().await;
}

/// Looks whether the regions can be used at all that there is work for. One that cannot is no fault of the backups: what
/// needs it waits for the next run, whatever else has been found out about it meanwhile.
pub(super) async fn ways_in(surveyor: &Surveyor<'_>, migrations: &mut [Migration]) {
    let open = |migration: &&Migration| migration.row.state != State::Completed;
    let sources = migrations.iter().filter(open).filter(|migration| !is_copied(&migration.row));
    let sources: BTreeSet<usize> = sources.map(|migration| migration.source).collect();
    let targets: BTreeSet<usize> = migrations.iter().filter(open).map(|migration| migration.target).collect();
    let mut closed = BTreeMap::new();
    for region in sources.union(&targets) {
        let mut entered = surveyor.regions.enter(*region).await;
        if entered.is_ok() && targets.contains(region) {
            entered = surveyor.regions.trove(*region).await.map(drop);
        }
        if let Err(failure) = entered {
            closed.insert(*region, failure);
        }
    }
    for migration in migrations.iter_mut().filter(|migration| migration.row.state != State::Completed) {
        let source = closed.get(&migration.source).filter(|_| !is_copied(&migration.row));
        if let Some(failure) = closed.get(&migration.target).or(source) {
            migration.failure = Some(failure.clone());
        }
    }
}

/// Asks for the source object of every migration that is still to be copied; each object once, however many
/// targets it has.
pub(super) async fn sources(surveyor: &Surveyor<'_>, migrations: &mut [Migration]) {
    let mut objects: BTreeMap<usize, BTreeMap<Key, Vec<usize>>> = BTreeMap::new();
    for (position, migration) in migrations.iter().enumerate() {
        let open =
            matches!(migration.row.state, State::New | State::Building | State::Failed) && !migration.copy_is_there;
        if let (true, None, Some(object)) = (open, &migration.failure, &migration.object) {
            objects.entry(migration.source).or_default().entry(object.key.clone()).or_default().push(position);
        }
    }
    let answers = future::join_all(objects.into_iter().map(|(region, objects)| async move {
        let (keys, positions): (Vec<_>, Vec<_>) = objects.into_iter().unzip();
        let answers = match surveyor.regions.source(region).await {
            Ok(store) => {
                let facts = store.heads(&keys).await.into_iter();
                facts.map(|facts| facts.map_err(StoreError::of_source)).collect()
            }
            Err(failure) => vec![Err(failure); keys.len()],
        };
        positions.into_iter().zip(answers).collect::<Vec<_>>()
    }));
    let answers = answers.await.into_iter().flatten();
    let digests = known_digests(surveyor);
    for (positions, answer) in answers {
        for position in positions {
            let migration = &mut migrations[position];
            match &answer {
                Ok(facts) => {
                    let source = (migration.row.source_store.clone(), source_text(&migration.row));
                    answered(surveyor, migration, facts, digests.get(&source));
                }
                Err(failure) => migration.failure = Some(failure.clone()),
            }
        }
    }
}

/// Digests that earlier copies found, by source: of this target's row or of another's.
fn known_digests(surveyor: &Surveyor<'_>) -> HashMap<(String, String), Expected> {
    let mut digests = HashMap::new();
    for row in surveyor.rows.values() {
        if let Some(sha256) = row.sha256 {
            let known = Expected { sha256, from: "an earlier copy had" };
            digests.insert((row.source_store.clone(), source_text(row)), known);
        }
    }
    digests
}

fn source_text(row: &crate::database::Row) -> String {
    row.source_id.clone().or_else(|| row.source_location.clone()).unwrap_or_default()
}

fn answered(surveyor: &Surveyor<'_>, migration: &mut Migration, facts: &ObjectFacts, known: Option<&Expected>) {
    let damaged = checksum_differs(surveyor, migration, facts);
    let Some(object) = &mut migration.object else { return };
    object.expires = facts.expires;
    object.pin = Pin { etag: facts.etag.clone(), size: facts.size };
    object.expected.extend(known.cloned());
    if let Some(sha256) = facts.digests.sha256 {
        object.expected.push(Expected { sha256, from: "the source store says" });
    }
    migration.row.bytes.get_or_insert(facts.size);
    // A backup without a record was made when its object was.
    let modified = facts.modified_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
    if migration.row.source_id.is_none() && migration.row.created.is_none() {
        migration.row.created = modified.map(|time| time.to_string());
    }
    let part = surveyor.plan.part_size.min(facts.size);
    if let Some(pinned) = object.planned_pin.as_ref().filter(|pinned| **pinned != object.pin) {
        migration.failure = Some(
            Failure::new(
                Cause::SourceChanged,
                format!(
                    "`{}` is not what the plan pins: {} bytes, version {} now; {} bytes, version {} in the plan",
                    object.key, facts.size, facts.etag, pinned.size, pinned.etag
                ),
            )
            .hint("if it was replaced on purpose, correct the `pin` of the entry or take it out"),
        );
    } else if let Some(recorded) = object.recorded_bytes.filter(|bytes| *bytes != facts.size) {
        migration.failure = Some(Failure::new(
            Cause::SourceChanged,
            format!("the record of `{}` says {recorded} bytes, and the object has {}", object.key, facts.size),
        ));
    } else if let Err(failure) = surveyor.regions.takes(migration.target, surveyor.plan.part_size, facts.size).layout(
        &object.key,
        facts.size,
        None,
        true,
    ) {
        migration.failure = Some(failure);
    } else if damaged.is_some() {
        migration.failure = damaged;
    } else if part > surveyor.plan.limits.memory {
        migration.failure = Some(
            Failure::new(
                Cause::TooLarge,
                format!(
                    "one part of `{}` is {} and does not fit into `memory`, which is {}",
                    object.key,
                    format_bytes(part),
                    format_bytes(surveyor.plan.limits.memory)
                ),
            )
            .hint(format!("set `limits: {{ memory: {} }}` or a smaller `part_size`", format_bytes(part))),
        );
    }
}

/// What Trove compares before every restore: its row's `checksum` with the `ETag` of the object.
fn checksum_differs(surveyor: &Surveyor<'_>, migration: &Migration, facts: &ObjectFacts) -> Option<Failure> {
    if surveyor.plan.regions[migration.source].catalog == CatalogSpec::Store {
        return None;
    }
    let plain = |text: &str| text.trim_matches('"').to_ascii_lowercase();
    let recorded = migration.row.checksum.as_deref().filter(|checksum| plain(checksum) != plain(&facts.etag))?;
    let message = format!(
        "Trove says that `{}` has checksum {recorded}, and the object's ETag is {}: Trove would not restore it",
        migration.row.name, facts.etag
    );
    Some(
        Failure::new(Cause::Integrity, message)
            .hint("the backup is damaged where it is; make a new one, or leave it out with `except`"),
    )
}

/// Asks for every segment of the objects that are to be copied, since an object's own HEAD does not tell that one is gone,
/// and for the parents that they name. A run asks only about what has failed before, so that it does not copy up to the
/// same gap each time.
pub(super) async fn whole_objects(surveyor: &Surveyor<'_>, migrations: &mut [Migration]) {
    let open = |migration: &&mut Migration| {
        migration.failure.is_none()
            && !migration.copy_is_there
            && !is_copied(&migration.row)
            && (surveyor.look_at_targets || migration.row.state == State::Failed)
    };
    let looks = stream::iter(migrations.iter_mut().filter(open))
        .map(|migration| async {
            let Some(object) = &migration.object else { return };
            let Ok(Store::Swift(swift)) = surveyor.regions.source(migration.source).await else { return };
            let whole = swift.check_whole(&object.key, &object.pin).await.map_err(StoreError::of_source);
            let sound = whole.and_then(|metadata| match &object.lineage {
                Some(lineage) => lineage.agrees(&object.key, &metadata),
                None => Ok(()),
            });
            migration.failure = sound.err();
        })
        .buffer_unordered(QUESTIONS);
    looks.collect::<()>().await;
}

/// Refuses to copy into a region that has lost all that was registered there: its disk is not mounted, most likely,
/// and the copies would land below the mount point.
pub(super) async fn lost_targets(surveyor: &Surveyor<'_>, migrations: &mut [Migration]) {
    let registered: BTreeSet<&str> = surveyor
        .rows
        .values()
        .filter(|row| row.state == State::Completed)
        .map(|row| row.target_store.as_str())
        .collect();
    let open = |migration: &Migration| migration.row.state != State::Completed && migration.failure.is_none();
    let targets: BTreeMap<usize, String> = migrations
        .iter()
        .filter(|migration| surveyor.plan.regions[migration.target].catalog == CatalogSpec::Store)
        .filter(|migration| open(migration) && registered.contains(migration.row.target_store.as_str()))
        .map(|migration| (migration.target, migration.row.target_store.clone()))
        .collect();
    for target in targets.into_keys() {
        let records = match surveyor.regions.source(target).await {
            Ok(store) => store.list(RECORDS_FOLDER).await.map_err(StoreError::of_target),
            Err(failure) => Err(failure),
        };
        let failure = match records {
            Ok(records) if !records.is_empty() => continue,
            Ok(_) => {
                let name = &surveyor.plan.regions[target].name;
                let message = format!("region `{name}` has none of the records that were registered there");
                Failure::new(Cause::Unreachable, message).hint("is its disk mounted?")
            }
            Err(failure) => Failure { cause: Cause::Unreachable, ..failure },
        };
        for migration in migrations.iter_mut().filter(|migration| migration.target == target && open(migration)) {
            migration.failure = Some(failure.clone());
        }
    }
}

/// Looks at what lies in the targets: objects under the final names, and room for all that is to come.
pub(super) async fn targets(surveyor: &Surveyor<'_>, migrations: &mut [Migration], warnings: &mut Vec<Failure>) {
    let needed: BTreeMap<usize, AtomicU64> =
        migrations.iter().map(|migration| (migration.target, AtomicU64::new(0))).collect();
    let looks = stream::iter(migrations.iter_mut())
        .map(|migration| async { look(surveyor, migration, &needed).await })
        .buffer_unordered(QUESTIONS);
    looks.collect::<()>().await;
    for (target, needed) in needed {
        let needed = needed.into_inner();
        let Ok(store) = surveyor.regions.target(target, Access::Look).await else { continue };
        if let Ok(Some(free)) = store.free_bytes().await
            && free < needed
        {
            let name = &surveyor.plan.regions[target].name;
            let message =
                format!("region `{name}` has {} free, and the plan needs {}", format_bytes(free), format_bytes(needed));
            warnings.push(Failure::new(Cause::NoSpace, message));
        }
    }
}

async fn look(surveyor: &Surveyor<'_>, migration: &mut Migration, needed: &BTreeMap<usize, AtomicU64>) {
    let copied = migration.copy_is_there || matches!(migration.row.state, State::Saving | State::Completed);
    if copied || migration.failure.is_some() {
        return;
    }
    let (Some(object), Some(location)) = (&migration.object, &migration.row.location) else { return };
    let Ok(key) = Key::parse(location) else { return };
    let there = match surveyor.regions.target(migration.target, Access::Look).await {
        Ok(store) => store.head(&key).await.map_err(|error| (error.kind, error.of_target())),
        Err(failure) => Err((StoreErrorKind::Io, failure)),
    };
    match there {
        Ok(facts) if facts.size == object.pin.size => {
            migration.exists = true;
            migration.failure = copy::expires(&key, &facts).filter(|_| !migration.row.is_the_source_itself());
        }
        Ok(facts) => {
            let message = format!(
                "another object lies under the target's name `{key}`: {} bytes there, {} bytes at the source",
                facts.size, object.pin.size
            );
            migration.failure = Some(
                Failure::new(Cause::TargetDiffers, message)
                    .hint("nothing is ever overwritten; move that object away if it is not needed"),
            );
        }
        Err((StoreErrorKind::Missing, _)) => {
            needed[&migration.target].fetch_add(object.pin.size, Ordering::Relaxed);
        }
        Err((_, failure)) => migration.failure = Some(failure),
    }
}
