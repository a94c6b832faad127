//! Parents and children: ancestors that nobody named, links within a target, and the order of it all.

use std::collections::{BTreeMap, HashMap, VecDeque};

use uuid::Uuid;

use super::catalogs::{Catalogs, Role};
use super::wanted::{Disagreement, Source, Wanted, WantedList};
use super::{Migration, SurveyError, Surveyor};
use crate::catalog::Record;
use crate::database::Row;
use crate::failure::{Cause, Failure};
use crate::graph::{Cycle, Graph, Node};
use crate::id::{Key, target_id};
use crate::plan::{Known, Problem, StoreSpec};
use crate::state::State;
use crate::store::{Lineage, SaidBy};

/// Adds the ancestors of every wanted record that its target does not have yet.
pub(super) async fn add_ancestors(
    surveyor: &Surveyor<'_>,
    stores: &[String],
    catalogs: &mut Catalogs<'_>,
    list: &mut WantedList,
) -> Result<(), SurveyError> {
    let mut todo: VecDeque<usize> = (0..list.items.len()).collect();
    while let Some(position) = todo.pop_front() {
        let child = list.items[position].clone();
        let Some(parent) = recorded_parent(surveyor, catalogs, &child).await else { continue };
        let id = target_id(&stores[child.region], &parent, &stores[child.target]);
        let needed =
            !list.has(id) && (surveyor.rows.contains_key(&id) || !is_registered(catalogs, child.target, id).await);
        if needed {
            // Nothing is said of an ancestor, so it cannot disagree with what somebody says of it.
            let source = Source::Id(parent);
            let (name, description, known) = (None, None, Known::default());
            let ancestor = Wanted { id, source, name, description, known, explicit: false, ..child };
            list.add(ancestor).map_err(|found| SurveyError::Plan(vec![disagreement(&found)]))?;
            todo.push_back(list.items.len() - 1);
        }
    }
    Ok(())
}

/// Id of the record that a wanted record builds on; none for a full backup, and where the whole chain is complete.
///
/// What is copied already is told by its row, so that a source that is gone is not asked.
async fn recorded_parent(surveyor: &Surveyor<'_>, catalogs: &mut Catalogs<'_>, child: &Wanted) -> Option<String> {
    let Source::Id(id) = &child.source else { return None };
    match surveyor.rows.get(&child.id) {
        Some(row) if is_copied(row) => {
            if surveyor.is_whole(child.id) {
                return None;
            }
            surveyor.rows.get(&row.parent_id?)?.source_id.clone()
        }
        // A record that cannot be had is told of with its migration.
        _ => catalogs.record(child.region, id).await.ok()?.parent_id.map(|parent| parent.to_string()),
    }
}

/// Whether only registering is left to do, or nothing.
pub(super) fn is_copied(row: &Row) -> bool {
    matches!(row.state, State::Saving | State::Completed)
}

/// Whether a target's catalog has a restorable record under `id`.
async fn is_registered(catalogs: &mut Catalogs<'_>, target: usize, id: Uuid) -> bool {
    // A catalog that cannot be read has none: the register step will say what is wrong with it.
    let Ok(ledger) = catalogs.ledger(target, Role::Target).await else { return false };
    let restorable = ledger.copy_of(id).is_some_and(Record::is_restorable);
    restorable && ledger.conflict(id).is_none()
}

/// Links each migration to its parent in the same target.
pub(super) async fn link(
    surveyor: &Surveyor<'_>,
    stores: &[String],
    catalogs: &mut Catalogs<'_>,
    list: &WantedList,
    migrations: &mut [Migration],
) {
    let positions: HashMap<Uuid, usize> =
        migrations.iter().enumerate().map(|(position, migration)| (migration.row.id, position)).collect();
    for (migration, wanted) in migrations.iter_mut().zip(&list.items) {
        let source = wanted.source.text();
        // What is copied, and what cannot be asked, is told by its row.
        let parent = if is_copied(&migration.row) || migration.failure.is_some() {
            migration.row.parent_id
        } else {
            match parent_of(catalogs, wanted).await {
                Ok(Parentage { id, lineage }) => {
                    if let Some(object) = &mut migration.object
                        && matches!(surveyor.plan.regions[wanted.region].store, StoreSpec::Swift(_))
                    {
                        object.lineage = lineage;
                    }
                    id.map(|parent| target_id(&stores[wanted.region], &parent, &stores[wanted.target]))
                }
                Err(failure) => {
                    migration.failure = Some(failure);
                    migration.row.parent_id
                }
            }
        };
        let Some(parent) = parent else { continue };
        if !is_copied(&migration.row) {
            migration.row.parent_id = Some(parent);
        }
        migration.parent = positions.get(&parent).copied();
        let is_there = migration.parent.is_some()
            || migration.row.state == State::Completed
            || surveyor.is_completed(parent)
            || is_registered(catalogs, wanted.target, parent).await;
        if !is_there {
            let name = match surveyor.rows.get(&parent) {
                Some(row) => row.name.clone(),
                None => wanted.parent.as_ref().map_or_else(|| parent.to_string(), ToString::to_string),
            };
            let target = &surveyor.plan.regions[wanted.target].name;
            let message =
                format!("the parent `{name}` of `{source}` is neither in the plan nor registered in region `{target}`");
            migration.failure = Some(
                Failure::new(Cause::ParentMissing, message).hint(format!("add an entry for `{name}` to the plan")),
            );
        }
    }
}

/// A backup's parent.
struct Parentage {
    /// Id or location; none for a full backup.
    id: Option<String>,
    /// Where the parent lies; none where nobody knows.
    lineage: Option<Lineage>,
}

/// The parent of a backup, checked against what the child's record says of itself.
async fn parent_of(catalogs: &mut Catalogs<'_>, wanted: &Wanted) -> Result<Parentage, Failure> {
    let (region, source) = match &wanted.source {
        Source::Location(_) => {
            let parent = wanted.parent.clone();
            let id = parent.as_ref().map(ToString::to_string);
            return Ok(Parentage { id, lineage: Some(Lineage { parent, said_by: SaidBy::Plan }) });
        }
        Source::Id(id) => (wanted.region, id),
    };
    let child = catalogs.record(region, source).await?;
    let Some(parent) = child.parent_id else {
        return match child.backup_type.as_deref() {
            Some("incremental") => Err(Failure::new(
                Cause::ParentMissing,
                format!("the record `{source}` is incremental and names no parent"),
            )),
            _ => Ok(Parentage { id: None, lineage: Some(recorded(None)) }),
        };
    };
    if child.backup_type.as_deref() == Some("full") {
        let message = format!("the record `{source}` is a full backup and yet names the parent `{parent}`");
        return Err(Failure::new(Cause::RecordConflict, message));
    }
    let parent = parent.to_string();
    let ledger = catalogs.ledger(region, Role::Source).await?;
    let Some(record) = super::wanted::find(ledger, &parent) else {
        return Ok(Parentage { id: Some(parent), lineage: None });
    };
    let said = [
        ("belongs to another tenant", &record.tenant_id, &child.tenant_id),
        ("is one of another datastore", &record.datastore, &child.datastore),
    ];
    for (what, its, own) in said {
        if let (Some(its), Some(own)) = (its, own)
            && its != own
        {
            let message = format!("the parent `{parent}` of the record `{source}` {what}, `{}`", its.escape_debug());
            return Err(Failure::new(Cause::ParentMissing, message));
        }
    }
    let lineage = record.key().ok().map(|key| recorded(Some(key)));
    Ok(Parentage { id: Some(parent), lineage })
}

const fn recorded(parent: Option<Key>) -> Lineage {
    Lineage { parent, said_by: SaidBy::Record }
}

/// Puts the migrations in an order in which parents come before children and chains stay together, each chain where
/// the plan first names one of its links. Parents' positions are adjusted. Records that are each other's parents, which
/// only a catalog can say, fail.
pub(super) fn order(mut migrations: Vec<Migration>) -> Vec<Migration> {
    let graph = loop {
        match Graph::new(nodes(&migrations)) {
            Ok(graph) => break graph,
            Err(Cycle(path)) => refuse_cycle(&mut migrations, &path),
        }
    };
    let order = plan_order(&graph);
    let mut new_positions = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        new_positions[*old] = new;
    }
    let mut old: Vec<Option<Migration>> = migrations.into_iter().map(Some).collect();
    let ordered = order.into_iter().map(|position| {
        let mut migration = old[position].take().expect("an order has each position once");
        migration.parent = migration.parent.map(|parent| new_positions[parent]);
        migration
    });
    ordered.collect()
}

fn nodes(migrations: &[Migration]) -> Vec<Node> {
    let node = |migration: &Migration| Node {
        id: migration.row.id,
        name: migration.row.name.clone(),
        source: "".into(),
        target: "".into(),
        bytes: None,
        parent: migration.parent,
        state: migration.row.state,
    };
    migrations.iter().map(node).collect()
}

/// None of them can be restored, and none is another's parent any more.
fn refuse_cycle(migrations: &mut [Migration], path: &[usize]) {
    let source = |position: &usize| {
        let row = &migrations[*position].row;
        format!("`{}`", row.source_id.as_deref().unwrap_or(&row.name).escape_debug())
    };
    let names: Vec<String> = path.iter().chain(path.first()).map(source).collect();
    let message = format!("records are each other's parents: {}", names.join(" → "));
    for position in path {
        let migration = &mut migrations[*position];
        migration.parent = None;
        migration.row.parent_id = None;
        migration.failure = Some(Failure::new(Cause::RecordConflict, message.clone()));
    }
}

/// Positions with every chain whole, parents first, where the plan first names one of its links.
pub(super) fn plan_order(graph: &Graph) -> Vec<usize> {
    let mut first_named: BTreeMap<usize, usize> = BTreeMap::new();
    for position in 0..graph.nodes().len() {
        first_named.entry(graph.root(position)).or_insert(position);
    }
    let mut order = graph.order().to_vec();
    order.sort_by_key(|position| first_named[&graph.root(*position)]);
    order
}

/// Refuses what lies below a migration that cannot be had: its chain could not be restored.
pub(super) fn refuse_below_failures(migrations: &mut [Migration]) {
    for position in 0..migrations.len() {
        let Some(parent) = migrations[position].parent else { continue };
        if is_copied(&migrations[position].row) || migrations[position].failure.is_some() {
            continue;
        }
        if let Some(failure) = &migrations[parent].failure {
            let parent_name = migrations[parent].row.name.clone();
            let message = match failure.cause {
                Cause::ParentMissing => failure.message.clone(),
                _ => format!("its parent `{parent_name}` cannot be had: {}", failure.message),
            };
            let hint = failure.hint.clone();
            migrations[position].failure = Some(Failure { cause: Cause::ParentMissing, message, hint });
        }
    }
}

/// What the plan says of copies that are done and that is not so: records are never changed.
pub(super) fn contradictions(stores: &[String], list: &WantedList, migrations: &[Migration]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (wanted, migration) in list.items.iter().zip(migrations).filter(|(_, migration)| is_copied(&migration.row)) {
        let row = &migration.row;
        let source = wanted.source.text();
        if let (Some(said), Some(found)) = (wanted.known.sha256, row.sha256)
            && said != found
        {
            let message = format!("`{source}` was copied to `{}` with sha256 {found}, not {said}", row.region);
            let hint = "correct the digest; if the copy is wrong, `backhaul verify` tells";
            problems.push(Problem::error(wanted.place, message).hint(hint));
        }
        let parent =
            wanted.parent.as_ref().map(|key| target_id(&stores[wanted.region], key.as_str(), &stores[wanted.target]));
        if wanted.explicit && row.source_id.is_none() && parent != row.parent_id {
            let name = |id: Option<Uuid>| id.map_or_else(|| "no parent".to_owned(), |id| format!("the parent {id}"));
            let message = format!(
                "`{source}` was copied to `{}` with {}, and the plan gives it {}",
                row.region,
                name(row.parent_id),
                name(parent)
            );
            let hint = "records are never changed; give the entry the parent that it had";
            problems.push(Problem::error(wanted.place, message).hint(hint));
        }
    }
    problems
}

pub(super) fn disagreement(found: &Disagreement) -> Problem {
    Problem::error(
        found.places[1],
        format!("two entries take the backup `{}` to one target and give it a different {}", found.source, found.field),
    )
    .related(found.places[0], "the other entry")
    .hint("say it once; an entry of its own counts more than a select")
}
