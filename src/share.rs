//! Shares of limits: which part of a plan's totals each of several runners may use. Pure.
//!
//! All limits of a plan are one line, and each live runner has a piece of it. Pieces of two runners that are in use never
//! overlap, so what they allow together is never more than the total, whole slots included. A runner writes down the piece
//! that it wants before it takes it, and looks afterwards whether anybody else has, or wants, some of it: of two who want
//! the same at the same time at least one sees the other and waits. What it gives up it stops using before it says so.

/// A piece of the line, from 0 to [`Share::WHOLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    from: u32,
    until: u32,
}

impl Share {
    /// Length of the line.
    const LINE: u32 = 1 << 30;

    /// Everything: of a runner that is alone.
    pub const WHOLE: Self = Self { from: 0, until: Self::LINE };

    /// Nothing: of one that has just come.
    pub const NONE: Self = Self { from: 0, until: 0 };

    /// The piece from one point of the line to another; nothing if that is none.
    #[must_use]
    pub fn new(from: u32, until: u32) -> Self {
        let until = until.min(Self::LINE);
        if from < until { Self { from, until } } else { Self::NONE }
    }

    /// The piece of number `rank`, from 0, of equal ones: as many as there are `runners`, but no more than `slots`, the
    /// copies at a time. Those who come after them have nothing: without a slot they could not use it.
    ///
    /// # Panics
    /// If there is no such number.
    #[must_use]
    pub fn of_rank(rank: u32, runners: u32, slots: u16) -> Self {
        assert!(rank < runners, "runner {rank} of {runners}");
        let pieces = runners.min(u32::from(slots));
        if rank >= pieces {
            return Self::NONE;
        }
        let point = |rank: u32| {
            let point = u64::from(Self::LINE) * u64::from(rank) / u64::from(pieces);
            u32::try_from(point).expect("on the line")
        };
        Self::new(point(rank), point(rank + 1))
    }

    /// Where it begins.
    #[must_use]
    pub const fn from(self) -> u32 {
        self.from
    }

    /// Where it ends.
    #[must_use]
    pub const fn until(self) -> u32 {
        self.until
    }

    /// What of a total it allows, in whole units: pieces that do not overlap never allow more than the total together,
    /// and all pieces of the line allow all of it. A unit belongs to the piece that has its beginning, so that whoever was
    /// there first has the only slot.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        let below = |point: u32| (u128::from(total) * u128::from(point)).div_ceil(u128::from(Self::LINE));
        u64::try_from(below(self.until) - below(self.from)).expect("at most the total")
    }

    fn overlap(self, other: Self) -> Self {
        Self::new(self.from.max(other.from), self.until.min(other.until))
    }
}

/// What a runner has: the piece it uses, and the piece it has written down, which contains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    used: Share,
    announced: Share,
}

impl Holding {
    /// Of a runner that has just come, and whose row says so.
    pub const NONE: Self = Self { used: Share::NONE, announced: Share::NONE };

    /// What it may use.
    #[must_use]
    pub const fn used(self) -> Share {
        self.used
    }

    /// What is to be written down before [`Holding::settled`].
    #[must_use]
    pub const fn announced(self) -> Share {
        self.announced
    }

    /// Whether it uses what it should, and has said so.
    #[must_use]
    pub fn is(self, wanted: Share) -> bool {
        self.used == wanted && self.announced == wanted
    }

    /// Wants another piece: what does not belong to it any more is out of use at once, and the rest is to be written down.
    #[must_use]
    pub fn toward(self, wanted: Share) -> Self {
        Self { used: self.used.overlap(wanted), announced: wanted }
    }

    /// It is written down, and after that the others had these written down: it is free to use what none of them has.
    #[must_use]
    pub fn settled(self, others: impl IntoIterator<Item = Share>) -> Self {
        let is_free = others.into_iter().all(|other| self.announced.overlap(other) == Share::NONE);
        Self { used: if is_free { self.announced } else { self.used }, ..self }
    }
}

#[cfg(test)]
mod tests;
