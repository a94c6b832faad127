//! Whether a plan has nothing left to do, told from where its rows stand: no catalog is asked and no whole row is read.
//! The usual case of a plan that is run again and again.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::catalogs::Catalogs;
use super::chain::plan_order;
use super::wanted::{Source, Wanted, WantedList};
use super::{Skipped, Surveyor};
use crate::database::Standing;
use crate::graph::{Graph, Node};
use crate::id::target_id;
use crate::plan::Subject;
use crate::state::State;

impl Surveyor<'_> {
    /// How many rows of `standings`, from its front, are all that the plan wants now, in its order; those behind them
    /// it only keeps. All of them are registered, so a survey would find nothing to do and nothing to write down. None
    /// whenever that is not plain to see: then a survey tells. `catalogs` are the stores and catalogs that the rows are
    /// registered in. Does not look at [`Surveyor::rows`].
    pub async fn settled(&self, standings: &[Standing], catalogs: &[(String, String)]) -> Option<usize> {
        let asks_catalogs = self.plan.entries.iter().any(|entry| matches!(entry.subject, Subject::Select(_)));
        if asks_catalogs || standings.is_empty() || standings.iter().any(|row| row.state != State::Completed) {
            return None;
        }
        let stores = self.identities().await.ok()?;
        if !self.are_the_catalogs(&stores, catalogs).await? {
            return None;
        }
        // What is wrong with the plan is told by the survey.
        let list = self.wanted(&stores, &mut Catalogs::of(self), &mut Skipped::default()).await.ok()?;
        let (wanted, kept) = standings.split_at_checked(list.items.len())?;
        let rows: HashMap<Uuid, &Standing> = standings.iter().map(|row| (row.id, row)).collect();
        // Parents that the plan does not have are other plans', and perhaps not complete.
        let whole = standings.iter().filter_map(|row| row.parent_id).all(|parent| rows.contains_key(&parent));
        let order = order(&list, &rows)?.into_iter().map(|position| &list.items[position]);
        let same = order.len() == wanted.len()
            && order.zip(wanted).all(|(item, row)| item.id == row.id && says_nothing_new(item, row, &stores));
        (whole && same && kept.is_sorted_by_key(|row| row.id)).then_some(wanted.len())
    }
}

impl Surveyor<'_> {
    /// Whether every store that rows lie in still has the catalog that they are registered in.
    async fn are_the_catalogs(&self, stores: &[String], catalogs: &[(String, String)]) -> Option<bool> {
        for (store, catalog) in catalogs {
            for region in (0..stores.len()).filter(|region| stores[*region] == *store) {
                if self.regions.catalog_identity(region).await.ok()? != *catalog {
                    return Some(false);
                }
            }
        }
        Some(true)
    }
}

/// The order that a survey gives to what is wanted; none if something is not there.
fn order(list: &WantedList, rows: &HashMap<Uuid, &Standing>) -> Option<Vec<usize>> {
    let positions: HashMap<Uuid, usize> = list.items.iter().enumerate().map(|(at, item)| (item.id, at)).collect();
    let nobody: Arc<str> = "".into();
    let node = |item: &Wanted| {
        let row = rows.get(&item.id)?;
        Some(Node {
            id: item.id,
            name: String::new(),
            source: Arc::clone(&nobody),
            target: Arc::clone(&nobody),
            bytes: None,
            parent: row.parent_id.and_then(|parent| positions.get(&parent).copied()),
            state: row.state,
        })
    };
    let graph = Graph::new(list.items.iter().map(node).collect::<Option<_>>()?).ok()?;
    Some(plan_order(&graph))
}

/// Whether an entry says of its copy only what narrow rows can tell to be so.
fn says_nothing_new(item: &Wanted, row: &Standing, stores: &[String]) -> bool {
    let parent = match (&item.source, &item.parent) {
        (Source::Id(_), _) => row.parent_id,
        (Source::Location(_), parent) => {
            parent.as_ref().map(|key| target_id(&stores[item.region], key.as_str(), &stores[item.target]))
        }
    };
    item.known.sha256.is_none() && parent == row.parent_id
}
