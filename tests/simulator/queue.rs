//! What is to happen, in the order of its times; what happens at the same time, in the order in which it was planned.

use std::collections::BTreeMap;

pub(crate) struct Queue<E> {
    events: BTreeMap<(u64, u64), E>,
    planned: u64,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self { events: BTreeMap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, at: u64, event: E) {
        self.planned += 1;
        self.events.insert((at, self.planned), event);
    }

    /// What is next, and when.
    pub(crate) fn next(&mut self) -> Option<(u64, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
