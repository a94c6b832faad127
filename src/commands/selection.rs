//! Which migrations of a plan a command works on: `--only` and `--limit`, whole chains. Pure.

use crate::cli::{Only, Selection};
use crate::database::Row;
use crate::graph::Graph;

/// For each migration, whether it is selected. `open` says of each whether a run would do anything about it: a chain
/// that failed for good does not use up the limit.
pub(super) fn select(selection: &Selection, graph: &Graph, rows: &[&Row], open: &[bool]) -> Vec<bool> {
    let roots: Vec<usize> = (0..rows.len()).map(|position| graph.root(position)).collect();
    let mut selected = vec![selection.only.is_empty(); rows.len()];
    for (position, row) in rows.iter().enumerate() {
        if selection.only.iter().any(|only| matches(only, row)) {
            selected[roots[position]] = true;
        }
    }
    if let Some(limit) = selection.limit {
        let mut open_chains = vec![false; rows.len()];
        for (position, open) in open.iter().enumerate() {
            open_chains[roots[position]] |= open;
        }
        let mut left = limit;
        // A chain's first link stands where the plan first names the chain.
        for root in (0..rows.len()).filter(|position| roots[*position] == *position) {
            selected[root] = selected[root] && open_chains[root] && left > 0;
            left -= u32::from(selected[root]);
        }
    }
    roots.iter().map(|root| selected[*root]).collect()
}

fn matches(only: &Only, row: &Row) -> bool {
    match only {
        Only::Tenant(tenant) => row.tenant_id.as_ref() == Some(tenant),
        Only::Instance(instance) => row.instance_id.as_ref() == Some(instance),
        Only::Id(id) => {
            row.source_id.as_ref() == Some(id)
                || (row.source_id.is_none() && row.source_location.as_ref() == Some(id))
                || row.id.to_string() == *id
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::graph::Node;
    use crate::state::State;

    /// Two chains, `a` of two links and `b` of one, and a third that is complete.
    fn rows() -> (Graph, Vec<Row>) {
        let row = |id: u128, tenant: &str, state| Row {
            tenant_id: Some(tenant.into()),
            source_id: Some(format!("s{id}")),
            state,
            ..Row::new(Uuid::from_u128(id))
        };
        let rows = vec![
            row(1, "t1", State::Completed),
            row(2, "t1", State::Completed),
            row(3, "t1", State::New),
            row(4, "t2", State::New),
        ];
        let parents = [None, None, Some(1), None];
        let nodes = rows.iter().zip(parents).map(|(row, parent)| Node {
            id: row.id,
            name: String::new(),
            source: "".into(),
            target: "".into(),
            bytes: None,
            parent,
            state: row.state,
        });
        (Graph::new(nodes.collect()).expect("no cycle"), rows)
    }

    fn selected(selection: &Selection) -> Vec<bool> {
        let (graph, rows) = rows();
        let open: Vec<bool> = rows.iter().map(|row| row.state != State::Completed).collect();
        select(selection, &graph, &rows.iter().collect::<Vec<_>>(), &open)
    }

    #[test]
    fn everything_unless_told_otherwise() {
        assert_eq!(selected(&Selection::default()), [true; 4]);
    }

    #[test]
    fn a_match_selects_its_whole_chain() {
        let only = |only| selected(&Selection { only: vec![only], ..Selection::default() });
        assert_eq!(only(Only::Id("s3".into())), [false, true, true, false]);
        assert_eq!(only(Only::Tenant("t2".into())), [false, false, false, true]);
        assert_eq!(only(Only::Id(Uuid::from_u128(1).to_string())), [true, false, false, false]);
    }

    #[test]
    fn a_limit_takes_the_first_chains_that_are_not_complete() {
        let limit = |limit| selected(&Selection { limit: Some(limit), ..Selection::default() });
        assert_eq!(limit(1), [false, true, true, false]);
        assert_eq!(limit(2), [false, true, true, true]);
    }
}
