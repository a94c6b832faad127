//! What was met on the way.

/// What was met on the way: a simulation in which nothing happens proves nothing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) crashes: u64,
    pub(crate) leases_ended: u64,
    /// Rows that were claimed while somebody else's claim was in them.
    pub(crate) takeovers: u64,
    /// Writes that changed nothing.
    pub(crate) refused_writes: u64,
    /// Transactions without an answer that had been committed.
    pub(crate) unheard: u64,
    /// Writes to stores and catalogs that arrived when the lease of their sender was over.
    pub(crate) late: u64,
    /// Times that several runners had copies at once.
    pub(crate) together: u64,
    pub(crate) completed: u64,
}

impl Tally {
    fn numbers(&self) -> [u64; 9] {
        let Self { events, crashes, leases_ended, takeovers, refused_writes, unheard, late, together, completed } =
            *self;
        [events, crashes, leases_ended, takeovers, refused_writes, unheard, late, together, completed]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.crashes += other.crashes;
        self.leases_ended += other.leases_ended;
        self.takeovers += other.takeovers;
        self.refused_writes += other.refused_writes;
        self.unheard += other.unheard;
        self.late += other.late;
        self.together += other.together;
        self.completed += other.completed;
    }

    pub(crate) fn has_met_everything(&self) -> bool {
        self.numbers().iter().all(|number| *number > 0)
    }
}
