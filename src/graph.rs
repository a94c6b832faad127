//! The graph of a plan: two steps a migration, and the edges between them. Pure.
//!
//! `copy → register` within a migration, and `register → register` from a parent to its child in the same target.
//! Copies wait for nothing, so a whole chain streams at once. Edges are per backup, never per group.

use std::fmt::Write as _;
use std::sync::Arc;

use uuid::Uuid;

use crate::state::State;

/// One migration as the graph sees it.
#[derive(Debug, Clone)]
pub struct Node {
    /// The target id.
    pub id: Uuid,
    /// What a person calls it.
    pub name: String,
    /// The region it comes from.
    pub source: Arc<str>,
    /// The region it goes to.
    pub target: Arc<str>,
    /// Size of the object, once known.
    pub bytes: Option<u64>,
    /// Position of the parent's migration to the same target; none for a full backup, and where the parent is
    /// registered there already.
    pub parent: Option<usize>,
    /// Where it stands.
    pub state: State,
}

/// The migrations of a plan in an order in which parents come before their children.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// Position of the first link of each node's chain.
    roots: Vec<usize>,
    order: Vec<usize>,
}

/// Backups that are each other's parents: the positions, in the order in which they wait for one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle(pub Vec<usize>);

impl Graph {
    /// Checks and orders `nodes`; their positions stay.
    ///
    /// # Errors
    /// [`Cycle`], the first one found.
    ///
    /// # Panics
    /// If a parent's position is not in `nodes`.
    pub fn new(nodes: Vec<Node>) -> Result<Self, Cycle> {
        let mut children = vec![Vec::new(); nodes.len()];
        for (position, node) in nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                children[parent].push(position);
            }
        }
        let mut roots: Vec<usize> = (0..nodes.len()).collect();
        let mut order = Vec::with_capacity(nodes.len());
        for root in (0..nodes.len()).filter(|position| nodes[*position].parent.is_none()) {
            // Depth first, children in plan order: a chain's links stay together.
            let mut stack = vec![root];
            while let Some(position) = stack.pop() {
                roots[position] = root;
                order.push(position);
                stack.extend(children[position].iter().rev());
            }
        }
        if order.len() < nodes.len() {
            return Err(cycle(&nodes, &order));
        }
        Ok(Self { nodes, roots, order })
    }

    /// The migrations, by position.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Positions with every parent before its children, whole chains together.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// Position of the first link of the chain that `position` belongs to. Chains are counted by it.
    #[must_use]
    pub fn root(&self, position: usize) -> usize {
        self.roots[position]
    }

    /// For each migration, the position of the failed ancestor that blocks it, if any. *Blocked* is derived from the
    /// states, by position, and never stored.
    ///
    /// # Panics
    /// If there are fewer states than nodes.
    #[must_use]
    pub fn blocked_by(&self, states: &[State]) -> Vec<Option<usize>> {
        let mut blocked = vec![None; self.nodes.len()];
        for &position in &self.order {
            if let Some(parent) = self.nodes[position].parent {
                blocked[position] = if states[parent] == State::Failed { Some(parent) } else { blocked[parent] };
            }
        }
        blocked
    }

    /// The chains as indented text, a line a migration.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut depth = vec![0_usize; self.nodes.len()];
        let mut text = String::new();
        for &position in &self.order {
            let node = &self.nodes[position];
            if let Some(parent) = node.parent {
                depth[position] = depth[parent] + 1;
            }
            let branch =
                if depth[position] == 0 { String::new() } else { "   ".repeat(depth[position] - 1) + "└─ " };
            let _ = writeln!(
                text,
                "{branch}{}  {} -> {}  copy -> register  [{}]  {}",
                node.name, node.source, node.target, node.state, node.id
            );
        }
        text
    }

    /// Graphviz: both steps of each migration, a box each.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = String::from("digraph backhaul {\n  rankdir=LR;\n  node [shape=box];\n");
        for (position, node) in self.nodes.iter().enumerate() {
            let title = |step: &str| quote(&format!("{step} {}\n{} -> {}", node.name, node.source, node.target));
            let _ = writeln!(text, "  c{position} [label={}];", title("copy").replace('\n', "\\n"));
            let _ = writeln!(text, "  r{position} [label={}];", title("register").replace('\n', "\\n"));
            let _ = writeln!(text, "  c{position} -> r{position};");
            if let Some(parent) = node.parent {
                let _ = writeln!(text, "  r{parent} -> r{position};");
            }
        }
        text.push_str("}\n");
        text
    }

    /// Mermaid, as GitHub and GitLab draw it.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let escape = |text: &str| text.replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;");
        let mut text = String::from("flowchart LR\n");
        for (position, node) in self.nodes.iter().enumerate() {
            let title = format!("{}<br/>{} to {}", escape(&node.name), escape(&node.source), escape(&node.target));
            let _ =
                writeln!(text, "  c{position}[\"copy {title}\"] --> r{position}[\"register {}\"]", escape(&node.name));
            if let Some(parent) = node.parent {
                let _ = writeln!(text, "  r{parent} --> r{position}");
            }
        }
        text
    }
}

/// Finds one cycle among the nodes that no order reached.
fn cycle(nodes: &[Node], ordered: &[usize]) -> Cycle {
    let mut reached = vec![false; nodes.len()];
    for &position in ordered {
        reached[position] = true;
    }
    let mut at = reached.iter().position(|reached| !reached).expect("a node is missing in the order");
    // Every node off the order has a parent off the order, so walking up ends in the cycle.
    let mut path = Vec::new();
    loop {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            return Cycle(path.split_off(start));
        }
        path.push(at);
        at = nodes[at].parent.expect("a node outside the order has a parent");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str, parent: Option<usize>, state: State) -> Node {
        Node {
            id: Uuid::from_u128(name.len() as u128),
            name: name.into(),
            source: "one".into(),
            target: "two".into(),
            bytes: None,
            parent,
            state,
        }
    }

    fn chain() -> Graph {
        Graph::new(vec![
            node("inc2", Some(2), State::New),
            node("full", None, State::Failed),
            node("inc1", Some(1), State::Saving),
            node("other", None, State::Completed),
        ])
        .expect("no cycle")
    }

    #[test]
    fn parents_come_first_and_chains_stay_together() {
        let graph = chain();
        assert_eq!(graph.order(), [1, 2, 0, 3]);
        assert_eq!([0, 1, 2, 3].map(|position| graph.root(position)), [1, 1, 1, 3]);
    }

    #[test]
    fn a_failed_parent_blocks_all_below_it() {
        let graph = chain();
        let states: Vec<State> = graph.nodes().iter().map(|node| node.state).collect();
        assert_eq!(graph.blocked_by(&states), [Some(1), None, Some(1), None]);
    }

    #[test]
    fn a_cycle_is_named() {
        let nodes = vec![
            node("a", Some(1), State::New),
            node("b", Some(2), State::New),
            node("c", Some(1), State::New),
            node("d", None, State::New),
        ];
        assert_eq!(Graph::new(nodes).expect_err("a cycle"), Cycle(vec![1, 2]));
    }

    #[test]
    fn drawings() {
        let graph =
            Graph::new(vec![node("full", None, State::New), node("inc \"1\"", Some(0), State::New)]).expect("no cycle");
        assert_eq!(
            graph.to_text(),
            "full  one -> two  copy -> register  [NEW]  00000000-0000-0000-0000-000000000004\n\
             └─ inc \"1\"  one -> two  copy -> register  [NEW]  00000000-0000-0000-0000-000000000007\n"
        );
        assert_eq!(
            graph.to_dot(),
            "digraph backhaul {\n  rankdir=LR;\n  node [shape=box];\n\
             \x20 c0 [label=\"copy full\\none -> two\"];\n  r0 [label=\"register full\\none -> two\"];\n  c0 -> r0;\n\
             \x20 c1 [label=\"copy inc \\\"1\\\"\\none -> two\"];\n  r1 [label=\"register inc \\\"1\\\"\\none -> two\"];\n  c1 -> r1;\n\
             \x20 r0 -> r1;\n}\n"
        );
        assert_eq!(
            graph.to_mermaid(),
            "flowchart LR\n  c0[\"copy full<br/>one to two\"] --> r0[\"register full\"]\n\
             \x20 c1[\"copy inc #quot;1#quot;<br/>one to two\"] --> r1[\"register inc #quot;1#quot;\"]\n  r0 --> r1\n"
        );
    }

    proptest! {
        #[test]
        fn any_parents_give_an_order_or_a_cycle(parents in prop::collection::vec(prop::option::of(0_usize..40), 1..40)) {
            let count = parents.len();
            let parents: Vec<_> = parents.into_iter().map(|parent| parent.map(|parent| parent % count)).collect();
            let nodes = parents.iter().map(|parent| node("x", *parent, State::New)).collect();
            match Graph::new(nodes) {
                Ok(graph) => {
                    let mut seen = vec![false; count];
                    for &position in graph.order() {
                        prop_assert!(parents[position].is_none_or(|parent| seen[parent]));
                        prop_assert!(!std::mem::replace(&mut seen[position], true));
                    }
                    prop_assert!(seen.into_iter().all(|seen| seen));
                }
                Err(Cycle(path)) => {
                    prop_assert!(!path.is_empty());
                    for (at, position) in path.iter().enumerate() {
                        prop_assert_eq!(parents[*position], Some(path[(at + 1) % path.len()]));
                    }
                }
            }
        }
    }
}
