//! What other runners do to the same plan: rows that they have are waited for, and taken over when their leases end.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use uuid::Uuid;

use super::{Engine, Run};
use crate::database::{DatabaseError, Others, Row};
use crate::event::Event;
use crate::lease;
use crate::schedule::Elsewhere;
use crate::state::State;

/// Between two looks at what others have done.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One step of looking.
pub(super) enum Seen {
    /// Who is there, and which rows may have changed.
    Others(Others),
    /// Rows that have, and who was there.
    Rows(Vec<Row>, HashSet<Uuid>),
}

/// Looks at the database now and then, while steps run.
#[derive(Default)]
pub(super) struct Watch {
    /// None where nobody else can be.
    looking: Option<BoxFuture<'static, Result<Seen, DatabaseError>>>,
    /// Positions of the tasks.
    positions: HashMap<Uuid, u32>,
    /// When it looked last, by the database's clock.
    since_ms: i64,
    /// Rows of which a step has ended since it began to look: what it sees of them may be older.
    touched: HashSet<u32>,
}

impl Watch {
    pub(super) fn touch(&mut self, position: u32) {
        self.touched.insert(position);
    }

    /// What is seen next; never comes back where nobody else can be.
    pub(super) async fn seen(&mut self) -> Result<Seen, DatabaseError> {
        match &mut self.looking {
            Some(looking) => looking.await,
            None => std::future::pending().await,
        }
    }
}

impl Engine {
    /// Whether others may work on the same rows.
    pub(super) fn is_shared(&self) -> bool {
        self.database.runner().is_some()
    }
}

impl Run {
    /// Begins to look at what others do, where there can be any. What they had when the rows were read is not tried
    /// before it is known whether they are still there.
    pub(super) fn watch_others(&mut self) {
        if !self.engine.is_shared() {
            return;
        }
        self.watch.positions = (0..).zip(&self.tasks).map(|(position, task)| (task.row.id, position)).collect();
        for (position, task) in (0..).zip(&self.tasks) {
            if task.row.claimed_by.is_some_and(|owner| owner != self.engine.claimant) {
                self.schedule.elsewhere(position, Elsewhere::Held(task.row.state));
            }
        }
        self.look(Duration::ZERO);
    }

    fn look(&mut self, pause: Duration) {
        let database = self.engine.database.clone();
        let asked: Vec<Uuid> = self.schedule.held().map(|position| self.tasks[position as usize].row.id).collect();
        self.watch.touched.clear();
        let since_ms = self.watch.since_ms;
        let looking = async move {
            tokio::time::sleep(pause).await;
            database.look_at_others(since_ms, &asked).await.map(Seen::Others)
        };
        self.watch.looking = Some(looking.boxed());
    }

    pub(super) fn saw(&mut self, seen: Seen) {
        match seen {
            Seen::Others(Others { live, changed, at_ms }) => {
                self.watch.since_ms = at_ms;
                let held: HashSet<u32> = self.schedule.held().collect();
                let news = changed.into_iter().filter(|seen| {
                    self.watch.positions.get(&seen.id).is_some_and(|position| {
                        let known = &self.tasks[*position as usize].row;
                        let is_new =
                            known.state != seen.state || (seen.state != State::Completed && known.claim != seen.claim);
                        // What a live runner has, and had before, is no news.
                        let is_left =
                            || held.contains(position) && !seen.claimed_by.is_some_and(|owner| live.contains(&owner));
                        (is_new || is_left()) && !self.schedule.is_busy(*position)
                    })
                });
                let ids: Vec<Uuid> = news.map(|seen| seen.id).collect::<HashSet<_>>().into_iter().collect();
                if ids.is_empty() {
                    return self.look(LOOK_EVERY);
                }
                let database = self.engine.database.clone();
                let reading = async move { Ok(Seen::Rows(database.rows(&ids).await?, live)) };
                self.watch.looking = Some(reading.boxed());
            }
            Seen::Rows(rows, live) => {
                for row in rows {
                    self.is_now(row, &live);
                }
                self.look(LOOK_EVERY);
            }
        }
    }

    /// Takes a row as the database has it.
    fn is_now(&mut self, row: Row, live: &HashSet<Uuid>) {
        let Some(&position) = self.watch.positions.get(&row.id) else { return };
        if self.schedule.is_busy(position) || self.watch.touched.contains(&position) {
            return;
        }
        let task = &mut self.tasks[position as usize];
        let known = &mut task.row;
        let is_live = row.claimed_by.is_some_and(|owner| live.contains(&owner));
        let is_free = lease::is_free(row.claimed_by.as_ref(), &self.engine.claimant, is_live);
        let elsewhere = match Elsewhere::of((known.state, known.claim), (row.state, row.claim), is_free) {
            // The survey found its copy in place and did not look at its source: the next run does.
            Elsewhere::Free(State::New | State::Building | State::Failed) if task.object.is_none() => Elsewhere::Failed,
            elsewhere => elsewhere,
        };
        if row.state == State::Completed {
            self.engine.board.set_stored(position, row.bytes.unwrap_or_default());
        }
        *known = what_is_still_asked(row);
        self.schedule.elsewhere(position, elsewhere);
    }

    /// After the lease has ended: cuts all steps off, takes it anew, and goes on from what the rows say then.
    pub(super) async fn begin_anew(&mut self) -> Result<(), DatabaseError> {
        self.engine.tell(Event::LeaseEnded);
        self.steps.shutdown().await;
        while self.moved.try_recv().is_ok() {}
        self.schedule.cut_off();
        self.claims.clear();
        self.attempts.clear();
        self.leaving.clear();
        self.gathering.clear();
        self.registering.clear();
        self.watch.looking = None;
        self.watch.touched.clear();
        self.sharing.lose();
        self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let stop = self.engine.stop.clone();
        tokio::select! {
            regained = self.engine.database.regain_lease() => regained?,
            // What is left is for the next run.
            () = stop.cut_off().cancelled() => return Ok(()),
        }
        // A claim may be on its way that a step had asked for.
        self.engine.database.flush().await?;
        let unfinished = self.tasks.iter().filter(|task| task.row.state != State::Completed);
        let ids: Vec<Uuid> = unfinished.map(|task| task.row.id).collect();
        let others = self.engine.database.look_at_others(self.watch.since_ms, &[]).await?;
        for mut row in self.engine.database.rows(&ids).await? {
            // Of a step that was cut off: it may be long before this runner has a slot for it again.
            if row.claimed_by == Some(self.engine.claimant) && self.engine.database.disown(&row).await? {
                row = given_back(row);
            }
            self.is_now(row, &others.live);
        }
        self.look(LOOK_EVERY);
        Ok(())
    }
}

/// A row whose claim was given back.
pub(super) fn given_back(row: Row) -> Row {
    let state = if row.state == State::Building { State::New } else { row.state };
    Row { state, claimed_by: None, ..row }
}

/// Of a row that is registered only its digest is asked for, by the copies to other regions: all else is room.
pub(super) fn what_is_still_asked(row: Row) -> Row {
    if row.state == State::Completed { Row { sha256: row.sha256, state: row.state, ..Row::new(row.id) } } else { row }
}
