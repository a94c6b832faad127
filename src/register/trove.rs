//! Copies as rows of Trove's: in its database, or through its API.

use std::collections::HashMap;

use futures::stream::{self, StreamExt};
use uuid::Uuid;

use super::links::{Parent, link, location};
use super::{Entered, Registered, without_parent};
use crate::catalog::trove::{NewBackup, Trove};
use crate::catalog::{Ledger, Record};
use crate::database::Row;
use crate::failure::{Cause, Failure};
use crate::store::{StoreError, SwiftStore};

/// Registrations under way at a time: each is a transaction, or a request to Trove.
const AT_A_TIME: usize = 8;

/// Registers copies, each on its own. `parents` are those of incrementals, by the parents' target ids.
pub(super) async fn register(
    store: &SwiftStore,
    trove: &Trove,
    ledger: &Ledger,
    rows: &[&Row],
    parents: &HashMap<Uuid, Parent>,
) -> Registered {
    let mut each = Vec::with_capacity(rows.len());
    for row in rows {
        let parent = row.parent_id.and_then(|id| parents.get(&id));
        each.push(one(store, trove, ledger, row, parent));
    }
    let ends: Vec<(Uuid, Result<Entered, Failure>)> = stream::iter(each).buffer_unordered(AT_A_TIME).collect().await;
    let mut registered = Registered::default();
    for (id, end) in ends {
        match end {
            Ok(entered) => registered.done.insert(id, entered).map(drop),
            Err(failure) => registered.refused.insert(id, failure).map(drop),
        };
    }
    registered
}

async fn one(
    store: &SwiftStore,
    trove: &Trove,
    ledger: &Ledger,
    row: &Row,
    parent: Option<&Parent>,
) -> (Uuid, Result<Entered, Failure>) {
    (row.id, entered(store, trove, ledger, row, parent).await)
}

async fn entered(
    store: &SwiftStore,
    trove: &Trove,
    ledger: &Ledger,
    row: &Row,
    parent: Option<&Parent>,
) -> Result<Entered, Failure> {
    if row.parent_id.is_some() && parent.is_none() {
        return Err(without_parent(row));
    }
    link(store, row, parent).await?;
    if let Some(there) = ledger.copy_of(row.id) {
        return entered_before(there, row);
    }
    let url = store.location_url(&location(row)?).await.map_err(StoreError::of_target)?;
    let new = new_backup(row, url, parent)?;
    let id = trove.register(&new).await?;
    Ok(Entered { record: None, registered_id: (id != row.id.to_string()).then_some(id) })
}

/// The row that stands in Trove already must be of this very copy, and restorable.
fn entered_before(there: &Record, row: &Row) -> Result<Entered, Failure> {
    let conflict = |what: &str, theirs: &str, ours: &str| {
        let message = format!(
            "Trove in region `{}` has another backup under `{}`: {what} `{}` there, `{}` of the copy",
            row.region,
            there.id,
            theirs.escape_debug(),
            ours.escape_debug()
        );
        Err(Failure::new(Cause::RecordConflict, message).hint("look at it: openstack database backup show"))
    };
    let ours = (row.location.as_deref().unwrap_or_default(), row.etag.as_deref().unwrap_or_default());
    if there.location != ours.0 {
        return conflict("location", &there.location, ours.0);
    }
    if let Some(checksum) = there.checksum.as_deref().filter(|checksum| *checksum != ours.1) {
        return conflict("checksum", checksum, ours.1);
    }
    if there.tenant_id.is_some() && there.tenant_id != row.tenant_id {
        let text = |tenant: &Option<String>| tenant.clone().unwrap_or_default();
        return conflict("tenant", &text(&there.tenant_id), &text(&row.tenant_id));
    }
    if !there.is_restorable() {
        return conflict("state", there.state.word(), "COMPLETED");
    }
    Ok(Entered { record: None, registered_id: (there.id != row.id).then(|| there.id.to_string()) })
}

/// The copy as Trove is to have it. Its instance is the source region's, and no instance of the target's.
fn new_backup(row: &Row, location: String, parent: Option<&Parent>) -> Result<NewBackup, Failure> {
    let lacks = |what: &str| Failure::new(Cause::Internal, format!("the row `{}` has no {what}", row.id));
    Ok(NewBackup {
        id: row.id,
        name: row.name.clone(),
        description: row.description.clone(),
        location,
        backup_type: row.backup_type.clone(),
        size: row.size,
        tenant_id: row.tenant_id.clone().ok_or_else(|| lacks("tenant"))?,
        checksum: row.etag.clone().ok_or_else(|| lacks("etag"))?,
        backup_timestamp: row.backup_timestamp.clone(),
        created: row.created.clone(),
        updated: row.updated.clone(),
        parent_id: parent.map(|parent| parent.record.clone()),
        datastore_version_id: row.datastore_version_id.clone().ok_or_else(|| lacks("datastore version"))?,
    })
}

/// Whether Trove's row is of the copy that its row of ours says.
pub(super) fn says(there: &Record, row: &Row) -> bool {
    let id = row.registered_id.clone().unwrap_or_else(|| row.id.to_string());
    there.id.to_string() == id
        && Some(&there.location) == row.location.as_ref()
        && there.checksum.as_ref().is_none_or(|checksum| Some(checksum) == row.etag.as_ref())
        && there.tenant_id.as_ref().is_none_or(|tenant| Some(tenant) == row.tenant_id.as_ref())
}
