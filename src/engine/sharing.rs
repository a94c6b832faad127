//! This runner's share of the plan's limits among those of the others that are live: looked at now and then, and
//! changed without anybody ever using more than the total, while everything else goes on.
//!
//! In turn: look who is there; start no more copies than the new piece allows; once no more run, slow down and write
//! the new piece down; look again what the others have written down; use it once none of it is theirs.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use uuid::Uuid;

use super::others::given_back;
use super::{Run, RunLimits};
use crate::database::{Database, DatabaseError, Participant, Row};
use crate::schedule::{Ready, Slots};
use crate::share::{Holding, Share};

/// Between two looks at who is there.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same while others are to make room.
const WAIT_EVERY: Duration = Duration::from_millis(250);

/// How far it is with what it announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The lease was over: the database may have something else.
    Unknown,
    /// Copies that have no slot any more are still to end.
    MakingRoom,
    Announcing,
    /// The database has it.
    Announced,
    /// The lease is over, and asked for again.
    Regaining,
}

/// What the database has said.
enum Heard {
    Runners(Vec<Participant>),
    Written,
    /// The lease holds again.
    Regained,
}

type Hearing = BoxFuture<'static, Result<Heard, DatabaseError>>;

/// What this runner may use of the plan's limits. It changes only while `Sharing::next` is waited for, and that may be
/// given up at any time.
pub struct Sharing {
    /// None where nobody else can be.
    database: Option<(Database, Uuid)>,
    limits: Arc<RunLimits>,
    holding: Holding,
    /// What was written down last, or is being: none takes no part.
    announced: Option<Share>,
    at: At,
    /// Whether there is anything to do with a share.
    has_work: bool,
    /// Whether no more runs than `holding` allows.
    fits: bool,
    hearing: Option<Hearing>,
}

impl Sharing {
    /// Of the runner that has opened `database` for writing.
    #[must_use]
    pub fn new(database: &Database, limits: Arc<RunLimits>) -> Self {
        let first = database.first_share();
        // It is in the row already: this only says so.
        let holding = Holding::NONE.toward(first).settled([]);
        limits.set_share(first);
        Self {
            database: database.runner().map(|id| (database.clone(), id)),
            limits,
            holding,
            announced: (first != Share::NONE).then_some(first),
            at: At::Announced,
            has_work: true,
            fits: true,
            hearing: None,
        }
    }

    /// What may be used for copies that begin now.
    pub(super) const fn share(&self) -> Share {
        self.holding.used()
    }

    /// Copies at a time, at this moment.
    pub(super) fn slots(&self) -> Slots {
        self.limits.slots(self.holding.used())
    }

    /// Does something that runs no copies and claims nothing, and takes no notice of its share.
    ///
    /// # Errors
    /// Those of the database, and when the lease ended and cannot be had again.
    pub async fn during<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> Result<T, DatabaseError> {
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                gone_on = self.go_on() => gone_on?,
            }
        }
    }

    /// Waits until there is a share for this runner. May be given up and waited for again.
    ///
    /// # Errors
    /// As [`Sharing::during`].
    pub async fn arrive(&mut self) -> Result<(), DatabaseError> {
        while self.slots().total == 0 {
            self.go_on().await?;
        }
        Ok(())
    }

    /// [`Sharing::next`] where nothing is to be cut off when the lease ends.
    async fn go_on(&mut self) -> Result<(), DatabaseError> {
        self.fits = true;
        let Some((database, _)) = self.database.clone() else { return std::future::pending().await };
        tokio::select! {
            gone_on = self.next() => return gone_on,
            _ = database.lease_ended(), if self.at != At::Regaining => {}
        }
        self.lose();
        self.at = At::Regaining;
        self.hearing = Some(async move { database.regain_lease().await.map(|()| Heard::Regained) }.boxed());
        Ok(())
    }

    /// The lease has ended: others may have what this runner had.
    pub(super) fn lose(&mut self) {
        self.holding = Holding::NONE;
        (self.announced, self.at, self.hearing) = (None, At::Unknown, None);
        self.limits.set_share(Share::NONE);
    }

    /// Says whether there is anything to do with a share, and whether no more runs than [`Sharing::slots`].
    pub(super) fn is_used(&mut self, has_work: bool, fits: bool) {
        if has_work && !self.has_work && self.at == At::Announced {
            // At once, not when it is time for the next look.
            self.hearing = None;
        }
        (self.has_work, self.fits) = (has_work, fits);
    }

    /// Goes one step on; never comes back where nobody else can be.
    pub(super) async fn next(&mut self) -> Result<(), DatabaseError> {
        let Some((database, me)) = self.database.clone() else { return std::future::pending().await };
        if self.at == At::MakingRoom && self.fits {
            self.at = At::Announcing;
            self.limits.set_share(self.holding.used());
            let announced = self.announced;
            self.hearing = Some(async move { database.announce(announced).await.map(|_| Heard::Written) }.boxed());
        } else if self.at == At::MakingRoom {
            return std::future::pending().await;
        } else if self.hearing.is_none() {
            self.hearing = Some(look(database, Duration::ZERO));
        }
        let heard = self.hearing.as_mut().expect("just made").await?;
        self.hearing = None;
        match heard {
            Heard::Runners(live) => self.look_at(&live, me),
            Heard::Written => self.at = At::Announced,
            Heard::Regained => self.at = At::Unknown,
        }
        Ok(())
    }

    fn look_at(&mut self, live: &[Participant], me: Uuid) {
        let Some((database, _)) = self.database.clone() else { return };
        if self.at == At::Announced {
            let others = live.iter().filter(|other| other.id != me);
            self.holding = self.holding.settled(others.filter_map(|other| other.share));
            self.limits.set_share(self.holding.used());
        }
        let wanted = self.wanted(live, me);
        if self.announced != wanted || self.at == At::Unknown {
            self.holding = self.holding.toward(wanted.unwrap_or(Share::NONE));
            (self.announced, self.at) = (wanted, At::MakingRoom);
            // That is to be looked at and said anew.
            self.fits = false;
            return;
        }
        let is_settled = self.holding.used() == self.holding.announced();
        self.hearing = Some(look(database, if is_settled { LOOK_EVERY } else { WAIT_EVERY }));
    }

    /// The piece that is to be this runner's; none where it takes no part.
    fn wanted(&self, live: &[Participant], me: Uuid) -> Option<Share> {
        let mut parts = live.iter().filter(|one| if one.id == me { self.has_work } else { one.share.is_some() });
        let count = |number: usize| u32::try_from(number).expect("fewer than 2^32 runners");
        let runners = count(parts.clone().count());
        let rank = count(parts.position(|one| one.id == me)?);
        Some(Share::of_rank(rank, runners, self.limits.slots(Share::WHOLE).total))
    }
}

impl Run {
    /// Takes what this runner may use now. Claims that are held for a next attempt and have no slot here any more are
    /// given back: others have all of them, and would wait for ever.
    pub(super) async fn take_share(&mut self) -> Result<(), DatabaseError> {
        if self.slots_of != self.sharing.share() {
            self.slots_of = self.sharing.share();
            self.schedule.set_slots(self.sharing.slots());
            self.gathering.clear();
        }
        if self.slots_of == Share::WHOLE || self.claims.is_empty() {
            return Ok(());
        }
        let without: Vec<Ready> =
            self.claims.keys().filter(|ready| !self.schedule.has_slot(**ready)).copied().collect();
        let claims = without.iter().map(|ready| (ready.step, self.claims.remove(ready))).collect::<Vec<_>>();
        try_join_all(claims.into_iter().map(|(step, claim)| self.engine.give_back(step, claim))).await?;
        for ready in without {
            let row = &mut self.tasks[ready.position as usize].row;
            *row = given_back(std::mem::replace(row, Row::new(row.id)));
            self.schedule.leave(ready);
        }
        Ok(())
    }

    /// Says how much of its share is used. Copies that have no slot any more end at their next checkpoint, and others go
    /// on with them: else who comes late would wait for as long as the largest backup takes.
    pub(super) fn leave_beyond_slots(&mut self) {
        let fits = self.schedule.fits();
        self.sharing.is_used(!self.schedule.is_idle(), fits);
        if !fits {
            for position in self.schedule.beyond_slots() {
                if let Some(leave) = self.leaving.get(&position) {
                    leave.cancel();
                }
            }
        }
    }
}

fn look(database: Database, pause: Duration) -> Hearing {
    let looking = async move {
        tokio::time::sleep(pause).await;
        database.participants().await.map(Heard::Runners)
    };
    looking.boxed()
}
