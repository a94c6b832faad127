//! Parents and children: ancestors that nobody named, links within a target, and the order of it all.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::catalogs::{Catalogs, Role};
use super::wanted::{Disagreement, Source, Wanted, WantedList};
use super::{Migration, SurveyError, Surveyor};
use crate::catalog::{Record, RecordState};
use crate::failure::{Cause, Failure};
use crate::graph::{Cycle, Graph, Node};
use crate::id::target_id;
use crate::plan::{Known, Problem};
use crate::state::State;

/// Adds the ancestors of every wanted record, for the targets that do not have them yet.
pub(super) async fn add_ancestors(
    surveyor: &Surveyor<'_>,
    stores: &[String],
    catalogs: &mut Catalogs<'_>,
    list: &mut WantedList,
) -> Result<(), SurveyError> {
    let mut at = 0;
    while at < list.items.len() {
        let child = list.items[at].clone();
        at += 1;
        let Source::Id(id) = &child.source else { continue };
        let child_id = |target: &usize| target_id(&stores[child.region], id, &stores[*target]);
        if child.targets.iter().all(|target| surveyor.is_completed(child_id(target))) {
            continue;
        }
        // A record that cannot be had is told of with its migration.
        let Ok(Record { parent_id: Some(parent), .. }) = catalogs.record(child.region, id).await else { continue };
        let source = Source::Id(parent.to_string());
        let wanted = list.position(&stores[child.region], &source).map(|position| list.items[position].targets.clone());
        let mut targets = Vec::new();
        for target in &child.targets {
            let parent_id = target_id(&stores[child.region], source.text(), &stores[*target]);
            let named = wanted.as_ref().is_some_and(|targets| targets.contains(target));
            if !named && (surveyor.rows.contains_key(&parent_id) || !is_registered(catalogs, *target, parent_id).await)
            {
                targets.push(*target);
            }
        }
        if targets.is_empty() {
            continue;
        }
        let ancestor = Wanted {
            source,
            targets,
            name: None,
            description: None,
            known: Known::default(),
            explicit: false,
            ..child.clone()
        };
        // Nothing is said of an ancestor, so it cannot disagree with what a select or an entry says of it.
        let already = list.position(&stores[child.region], &ancestor.source);
        match already {
            Some(position) => list.items[position].targets.extend(ancestor.targets),
            None => list
                .add(&stores[child.region], ancestor)
                .map_err(|found| SurveyError::Plan(vec![disagreement(&found)]))?,
        }
        // An ancestor that was wanted before may have got new targets, and its own ancestors need them too.
        at = already.map_or(at, |position| at.min(position));
    }
    Ok(())
}

/// Whether a target's catalog has a restorable record under `id`. A catalog that cannot be read has none: the
/// register step will say what is wrong with it.
async fn is_registered(catalogs: &mut Catalogs<'_>, target: usize, id: Uuid) -> bool {
    match catalogs.ledger(target, Role::Target).await {
        Ok(ledger) => ledger.get(id).is_some_and(|record| record.state == RecordState::Completed),
        Err(_) => false,
    }
}

/// Links each migration to its parent in the same target.
pub(super) async fn link(
    surveyor: &Surveyor<'_>,
    stores: &[String],
    catalogs: &mut Catalogs<'_>,
    list: &WantedList,
    migrations: &mut [Migration],
) -> Result<(), SurveyError> {
    let positions: HashMap<Uuid, usize> =
        migrations.iter().enumerate().map(|(position, migration)| (migration.row.id, position)).collect();
    let parents: HashMap<(usize, &str), &Wanted> =
        list.items.iter().map(|wanted| ((wanted.region, wanted.source.text()), wanted)).collect();
    #[expect(clippy::needless_range_loop, reason = "the loop looks at one and changes it after an await")]
    for position in 0..migrations.len() {
        let migration = &migrations[position];
        if migration.row.state == State::Completed {
            let parent = migration.row.parent_id.and_then(|parent| positions.get(&parent).copied());
            migrations[position].parent = parent;
            continue;
        }
        if migration.failure.is_some() {
            continue;
        }
        let source = migration.row.source_id.clone().or_else(|| migration.row.source_location.clone());
        let source = source.expect("a draft names its source");
        let (region, target) = (migration.source, migration.target);
        let parent = match parent_of(catalogs, region, &source, parents[&(region, source.as_str())]).await {
            Ok(None) => continue,
            Ok(Some(parent)) => parent,
            Err(failure) => {
                migrations[position].failure = Some(failure);
                continue;
            }
        };
        let id = target_id(&stores[region], &parent, &stores[target]);
        let found = positions.get(&id).copied();
        let migration = &mut migrations[position];
        migration.row.parent_id = Some(id);
        migration.parent = found;
        if found.is_none() && !is_registered(catalogs, target, id).await {
            migration.failure = Some(
                Failure::new(
                    Cause::ParentMissing,
                    format!(
                        "the parent `{parent}` is neither in the plan nor registered in region `{}`",
                        surveyor.plan.regions[target].name
                    ),
                )
                .hint(format!("add an entry for `{parent}` to the plan")),
            );
        }
    }
    Ok(())
}

/// Id or location of a backup's parent, checked against what the child says of itself.
async fn parent_of(
    catalogs: &mut Catalogs<'_>,
    region: usize,
    source: &str,
    wanted: &Wanted,
) -> Result<Option<String>, Failure> {
    if let Source::Location(_) = wanted.source {
        return Ok(wanted.parent.as_ref().map(ToString::to_string));
    }
    let child = catalogs.record(region, source).await?;
    let Some(parent) = child.parent_id else {
        return match child.backup_type.as_deref() {
            Some("incremental") => Err(Failure::new(
                Cause::ParentMissing,
                format!("the record `{source}` is incremental and names no parent"),
            )),
            _ => Ok(None),
        };
    };
    if child.backup_type.as_deref() == Some("full") {
        let message = format!("the record `{source}` is a full backup and yet names the parent `{parent}`");
        return Err(Failure::new(Cause::RecordConflict, message));
    }
    let parent = parent.to_string();
    let ledger = catalogs.ledger(region, Role::Source).await?;
    let tenant = super::wanted::find(ledger, &parent).and_then(|record| record.tenant_id.clone());
    if let (Some(tenant), Some(own)) = (&tenant, &child.tenant_id)
        && tenant != own
    {
        return Err(Failure::new(
            Cause::ParentMissing,
            format!(
                "the parent `{parent}` of the record `{source}` belongs to another tenant, `{}`",
                tenant.escape_debug()
            ),
        ));
    }
    Ok(Some(parent))
}

/// Puts the migrations in an order in which parents come before children and chains stay together, each chain where
/// the plan first names one of its links. Parents' positions are adjusted.
pub(super) fn order(migrations: Vec<Migration>) -> Result<Vec<Migration>, Vec<Problem>> {
    let nodes = migrations.iter().map(|migration| Node {
        id: migration.row.id,
        name: migration.row.name.clone(),
        source: "".into(),
        target: "".into(),
        bytes: None,
        parent: migration.parent,
        state: migration.row.state,
    });
    let graph = Graph::new(nodes.collect()).map_err(|Cycle(path)| vec![cycle(&migrations, &path)])?;
    let mut first_named: BTreeMap<usize, usize> = BTreeMap::new();
    for position in 0..migrations.len() {
        first_named.entry(graph.root(position)).or_insert(position);
    }
    let mut order = graph.order().to_vec();
    order.sort_by_key(|position| first_named[&graph.root(*position)]);
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
    Ok(ordered.collect())
}

/// Refuses what lies below a migration that cannot be had: its chain could not be restored.
pub(super) fn refuse_below_failures(migrations: &mut [Migration]) {
    for position in 0..migrations.len() {
        let Some(parent) = migrations[position].parent else { continue };
        let started = matches!(migrations[position].row.state, State::Saving | State::Completed);
        if started || migrations[position].failure.is_some() {
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

fn cycle(migrations: &[Migration], path: &[usize]) -> Problem {
    let names: Vec<String> =
        path.iter().chain(path.first()).map(|position| format!("`{}`", migrations[*position].row.name)).collect();
    Problem::error(migrations[path[0]].place, format!("backups are each other's parents: {}", names.join(" -> ")))
}

pub(super) fn disagreement(found: &Disagreement) -> Problem {
    Problem::error(
        found.places[1],
        format!("two selects take the backup `{}` and give it a different {}", found.source, found.field),
    )
    .related(found.places[0], "the other select")
    .hint("give the backup an entry of its own, which counts more than a select")
}
