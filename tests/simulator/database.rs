//! A model of the database on a server: rows and the list of runners, changed by statements that are guarded as those of
//! `src/database/checkpoint.rs` are, each transaction whole or not at all.

use backhaul::lease::{Terms, is_free, is_over};
use backhaul::share::Share;
use backhaul::state::State;

use crate::case::Mutant;

/// A runner: its place among all that there ever were, so that the oldest is the first.
pub(crate) type Id = usize;

/// How late the time that a row bears may be committed, as far as a look goes.
const SLACK_MS: i64 = 5_000;

/// A migration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) claim: i64,
    pub(crate) claimed_by: Option<Id>,
    pub(crate) bytes_read: u64,
    /// As who changed it says.
    pub(crate) changed_ms: i64,
}

/// A runner in the list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) id: Id,
    lease_until_ms: i64,
    pub(crate) share: Share,
    /// Number of its last transaction.
    sequence: i64,
}

/// A guarded write: it changes nothing if the row is not what its sender thinks it is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Write {
    /// To BUILDING, or SAVING stays SAVING, with a new claim.
    Claim { row: usize, seen: State, claim: i64 },
    /// Mine: bytes were read.
    Count { row: usize, state: State, claim: i64, bytes: u64 },
    /// Mine, to another state or the same one, and claimed by nobody.
    End { row: usize, from: State, claim: i64, to: State },
}

impl Write {
    pub(crate) fn row(self) -> usize {
        let (Self::Claim { row, .. } | Self::Count { row, .. } | Self::End { row, .. }) = self;
        row
    }
}

/// What a runner may ask, each one transaction.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Enter,
    Renew,
    Leave,
    /// Those in the list whose leases are not over.
    List,
    Announce(Share),
    /// A lease anew after it was over, for who is still in the list.
    EnterAgain,
    /// All rows.
    Rows,
    /// These.
    Read(Vec<usize>),
    /// Who else is live; and which rows were changed since then, or are asked for.
    Others {
        since_ms: i64,
        asked: Vec<usize>,
    },
    /// The number of the last transaction of a runner.
    Sequence,
    /// The transaction after number `sequence`, as of a time.
    Write {
        sequence: i64,
        at_ms: i64,
        writes: Vec<Write>,
    },
}

/// What the database answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Done,
    Renewed(bool),
    List(Vec<(Id, Share)>),
    Rows(Vec<Row>),
    Read(Vec<(usize, Row)>),
    Others {
        live: Vec<Id>,
        changed: Vec<(usize, State, i64)>,
    },
    Sequence(Option<i64>),
    /// Which writes changed their row.
    Wrote(Vec<bool>),
    /// It does not know the transaction before this one, and has changed nothing.
    Behind,
}

/// A row that a write has changed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) by: Id,
    pub(crate) write: Write,
    pub(crate) before: Row,
    pub(crate) after: Row,
    /// Whether a live runner other than `by` had it.
    pub(crate) was_held: bool,
}

pub(crate) struct Database {
    mutant: Option<Mutant>,
    terms: Terms,
    pub(crate) rows: Vec<Row>,
    pub(crate) runners: Vec<Listed>,
}

impl Database {
    pub(crate) fn new(rows: usize, terms: Terms, mutant: Option<Mutant>) -> Self {
        let row = Row { state: State::New, claim: 0, claimed_by: None, bytes_read: 0, changed_ms: 0 };
        Self { mutant, terms, rows: vec![row; rows], runners: Vec::new() }
    }

    pub(crate) fn is_live(&self, id: Id, now_ms: i64) -> bool {
        self.runners.iter().any(|runner| runner.id == id && !is_over(runner.lease_until_ms, now_ms))
    }

    fn lease(&self, now_ms: i64) -> i64 {
        now_ms + i64::try_from(self.terms.lease_ms()).expect("short")
    }

    /// Takes one transaction at its own time, and adds the rows that it has changed.
    pub(crate) fn take(&mut self, by: Id, question: &Question, now_ms: i64, changes: &mut Vec<Change>) -> Answer {
        let until = self.lease(now_ms);
        let live = |runners: &[Listed]| {
            let live = runners.iter().filter(|runner| !is_over(runner.lease_until_ms, now_ms));
            live.map(|runner| (runner.id, runner.share)).collect::<Vec<_>>()
        };
        match question {
            Question::Enter => {
                self.runners.push(Listed { id: by, lease_until_ms: until, share: Share::NONE, sequence: 0 });
                self.runners.sort_by_key(|runner| runner.id);
                Answer::Done
            }
            Question::Renew => {
                let mine = self.runners.iter_mut().find(|runner| runner.id == by);
                let mine = mine.filter(|runner| !is_over(runner.lease_until_ms, now_ms));
                let renewed = mine.map(|runner| runner.lease_until_ms = until).is_some();
                Answer::Renewed(renewed)
            }
            Question::Leave => {
                self.runners.retain(|runner| runner.id != by);
                Answer::Done
            }
            Question::List => Answer::List(live(&self.runners)),
            Question::Announce(share) => {
                if let Some(mine) = self.runners.iter_mut().find(|runner| runner.id == by) {
                    mine.share = *share;
                }
                Answer::Done
            }
            Question::EnterAgain => {
                let mine = self.runners.iter_mut().find(|runner| runner.id == by);
                let entered = mine.map(|runner| (runner.lease_until_ms, runner.share) = (until, Share::NONE));
                Answer::Renewed(entered.is_some())
            }
            Question::Rows => Answer::Rows(self.rows.clone()),
            Question::Read(rows) => Answer::Read(rows.iter().map(|row| (*row, self.rows[*row])).collect()),
            Question::Others { since_ms, asked } => {
                let live: Vec<Id> = live(&self.runners).into_iter().map(|(id, _)| id).filter(|id| *id != by).collect();
                let is_recent = |row: &Row| !live.is_empty() && row.changed_ms >= since_ms - SLACK_MS;
                let rows = self.rows.iter().enumerate();
                let changed = rows.filter(|(number, row)| asked.contains(number) || is_recent(row));
                let changed = changed.map(|(number, row)| (number, row.state, row.claim)).collect();
                Answer::Others { live, changed }
            }
            Question::Sequence => {
                let mine = self.runners.iter().find(|runner| runner.id == by);
                Answer::Sequence(mine.map(|runner| runner.sequence))
            }
            Question::Write { sequence, at_ms, writes } => {
                let blind = self.mutant == Some(Mutant::BlindRepeat);
                let Some(mine) = self.runners.iter_mut().find(|runner| runner.id == by) else { return Answer::Behind };
                if mine.sequence != *sequence && !blind {
                    return Answer::Behind;
                }
                mine.sequence += 1;
                Answer::Wrote(writes.iter().map(|write| self.write(by, *write, (now_ms, *at_ms), changes)).collect())
            }
        }
    }

    fn write(&mut self, by: Id, write: Write, (now_ms, at_ms): (i64, i64), changes: &mut Vec<Change>) -> bool {
        let before = self.rows[write.row()];
        let owner_is_live = before.claimed_by.is_some_and(|owner| self.is_live(owner, now_ms));
        let was_held = !is_free(before.claimed_by.as_ref(), &by, owner_is_live);
        let is = |state: State, claim: i64| {
            before.state == state && (before.claim == claim || self.mutant == Some(Mutant::NoClaimInWhere))
        };
        let after = match write {
            Write::Claim { seen, claim, .. } => {
                if !is(seen, claim) || was_held && self.mutant != Some(Mutant::LiveOwnerRobbed) {
                    return false;
                }
                let state = if seen == State::Saving { State::Saving } else { State::Building };
                let keeps = self.mutant == Some(Mutant::TakeoverKeepsToken) && before.claimed_by.is_some();
                Row { state, claim: if keeps { claim } else { claim + 1 }, claimed_by: Some(by), ..before }
            }
            Write::Count { state, claim, bytes, .. } => {
                if !is(state, claim) {
                    return false;
                }
                Row { bytes_read: before.bytes_read + bytes, ..before }
            }
            Write::End { from, claim, to, .. } => {
                if !is(from, claim) {
                    return false;
                }
                Row { state: to, claimed_by: None, ..before }
            }
        };
        let after = Row { changed_ms: at_ms, ..after };
        self.rows[write.row()] = after;
        changes.push(Change { by, write, before, after, was_held });
        true
    }
}
