//! One backup through Trove's API. Each POST makes another backup, so what is there is looked at first, and again
//! whenever an answer did not come.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::wire::{Backup, Made, restore_from};
use super::{Trouble, TroveApi, read};
use crate::catalog::RecordState;
use crate::catalog::trove::location::Location;
use crate::catalog::trove::new_backup::NewBackup;
use crate::catalog::trove::quota;
use crate::failure::{Cause, Failure};
use crate::openstack::Scope;

/// How long a listing is believed: another run may be registering the same copies.
const FRESH: Duration = Duration::from_secs(10);

/// After an answer that did not come, how long Trove is given for what it may still be doing, before each look.
const STILL_AT_WORK: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4)];

/// What lies in a project, once it was listed.
pub(super) type Listing = Arc<Mutex<Option<Listed>>>;

/// What was there, and when.
#[derive(Debug)]
pub(super) struct Listed {
    at: Instant,
    backups: Vec<Backup>,
}

impl TroveApi {
    /// Gives Trove the time for what somebody who went away in the middle may have asked of it, and forgets what was listed
    /// before: their answers came to nobody.
    pub async fn settle(&self) {
        tokio::time::sleep(STILL_AT_WORK.iter().sum()).await;
        self.listings.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Registers a copy in its project, and answers its id there; [`NewBackup::id`], times and checksum are not told to
    /// Trove, which reads the object itself. Safe to repeat: a backup of the same object is taken for it.
    ///
    /// # Errors
    /// [`Cause::RecordConflict`] where the object's backup has another parent or datastore version; [`Cause::Quota`];
    /// others as Trove says. Objects of several segments cannot be registered this way.
    pub async fn register(&self, backup: &NewBackup) -> Result<String, Failure> {
        // Its tables are as its migrations make them, as far as anybody can tell from here.
        backup.check(true)?;
        if backup.size.is_none() {
            let message = "Trove's API takes no backup without a size, and the source's record has none";
            return Err(Failure::new(Cause::TargetUnwritable, message));
        }
        let object = Location::parse(&backup.location).map_err(|error| {
            Failure::new(Cause::TargetUnwritable, format!("Trove cannot hold the record: the location {error}"))
        })?;
        let scope = Scope::Project(backup.tenant_id.clone());
        let listing = self.listing(&backup.tenant_id);
        let mut listing = listing.lock().await;
        if let Some(there) = find(self.listed(&scope, &mut listing).await?, &object) {
            return same(there, backup);
        }
        crate::fault::point("trove-before-post");
        let trouble = match self.send(&scope, "backups", Some(restore_from(backup))).await.and_then(read::<Made>) {
            Ok(made) => {
                crate::fault::point("trove-after-post");
                let id = made.backup.id.clone();
                if let Some(listed) = listing.as_mut() {
                    listed.backups.push(made.backup);
                }
                return Ok(id);
            }
            Err(trouble) => trouble,
        };
        // Whoever tries again looks again.
        *listing = None;
        let refused = matches!(trouble.status(), Some(400..=407 | 409..=499)) || matches!(trouble, Trouble::Session(_));
        if !refused {
            // It may be there although nobody said so.
            for pause in STILL_AT_WORK {
                tokio::time::sleep(pause).await;
                if let Some(there) = find(self.listed(&scope, &mut None).await?, &object) {
                    return same(there, backup);
                }
            }
        }
        Err(not_registered(trouble, backup))
    }

    /// What the project has; asked once for all that are registered within [`FRESH`].
    async fn listed<'a>(&self, scope: &Scope, listing: &'a mut Option<Listed>) -> Result<&'a [Backup], Failure> {
        if let Some(listed) = listing.take().filter(|listed| listed.at.elapsed() < FRESH) {
            return Ok(&listing.insert(listed).backups);
        }
        let at = Instant::now();
        let backups = self.list(scope, "").await.map_err(|trouble| {
            let project = match scope {
                Scope::Project(project) => project,
                Scope::Own => "",
            };
            trouble.failure(&format!("list the backups of project `{project}`"), Cause::TargetUnwritable)
        })?;
        Ok(&listing.insert(Listed { at, backups }).backups)
    }
}

/// The backup of an object; one that can be restored before others.
fn find<'a>(listed: &'a [Backup], object: &Location) -> Option<&'a Backup> {
    let of_object = listed.iter().filter(|backup| {
        let location = backup.location.as_deref().and_then(|text| Location::parse(text).ok());
        location.is_some_and(|there| there.container == object.container && there.object == object.object)
    });
    of_object
        .filter(|backup| RecordState::of_trove(&backup.status) != RecordState::Failed)
        .max_by_key(|backup| RecordState::of_trove(&backup.status).is_restorable())
}

/// The id of the backup that is there, if it is what was to be made.
fn same(there: &Backup, backup: &NewBackup) -> Result<String, Failure> {
    let facts = [
        ("parent", there.parent_id.as_deref(), backup.parent_id.as_deref()),
        ("datastore version", there.version_id(), Some(backup.datastore_version_id.as_str())),
    ];
    match facts.into_iter().find(|(_, theirs, ours)| theirs != ours) {
        None => Ok(there.id.clone()),
        Some((what, theirs, ours)) => Err(Failure::new(
            Cause::RecordConflict,
            format!(
                "Trove has the backup `{}` of the same object already, with another {what}: `{}` there, `{}` here",
                there.id.escape_debug(),
                theirs.unwrap_or("none").escape_debug(),
                ours.unwrap_or("none")
            ),
        )),
    }
}

fn not_registered(trouble: Trouble, backup: &NewBackup) -> Failure {
    let tenant = &backup.tenant_id;
    let words = trouble.message().to_owned();
    let failure = |cause, message: String| Failure::new(cause, message);
    match trouble.status() {
        // What passes was waited for already.
        Some(413) => quota::reached(tenant, None),
        Some(400) if words.contains("Failed to restore backup") => failure(
            Cause::TargetUnwritable,
            format!("Trove cannot read `{}` with a token of project `{tenant}`", backup.location),
        )
        .hint("the object must lie in the project's own account, and the user needs a role there that may read it"),
        Some(400) if words.contains("cannot be found") => {
            failure(Cause::NoCounterpart, format!("Trove refuses the datastore version: {words}"))
        }
        Some(500) => failure(
            Cause::TargetError,
            format!(
                "Trove answered 500 to the registration of `{}`; it always does so for an object of several segments, whose \
                 ETag has two characters more than its table holds",
                backup.location
            ),
        )
        .hint("register in Trove's database (`catalog: { type: trove-database }`), or copy it as one plain object"),
        _ => trouble.failure(&format!("register a backup of project `{tenant}` in Trove"), Cause::TargetUnwritable),
    }
}
