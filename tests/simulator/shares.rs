//! How a simulated runner comes to its share of the limits: it looks who is there, stops using what is not its own any
//! more, writes down what it wants, and looks again before it uses it.

use backhaul::share::{Holding, Share};

use crate::case::Mutant;
use crate::database::{Answer, Id, Question};
use crate::writer::PAUSE_MS;

/// Between two looks.
const EVERY_MS: u64 = 3_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Idle,
    Looking,
    /// Copies that have no slot any more are still to end.
    MakingRoom,
    Announcing,
    LookingAgain,
}

#[derive(Debug)]
pub(crate) struct Shares {
    mutant: Option<Mutant>,
    /// Copies at a time, of all runners together.
    slots: u16,
    at: At,
    is_asking: bool,
    fits: bool,
    next_ms: u64,
    holding: Holding,
    /// Whether the database has what is announced.
    is_written: bool,
}

impl Shares {
    pub(crate) fn new(slots: u16, mutant: Option<Mutant>) -> Self {
        let holding = Holding::NONE;
        Self { mutant, slots, at: At::Idle, is_asking: false, fits: true, next_ms: 0, holding, is_written: true }
    }

    /// After the lease was over: others may have what it had, and the database may still have what it said.
    pub(crate) fn lose(&mut self) {
        *self = Self { is_written: false, ..Self::new(self.slots, self.mutant) };
    }

    pub(crate) fn used(&self) -> Share {
        if self.mutant == Some(Mutant::JoinerTakesAtOnce) { self.holding.announced() } else { self.holding.used() }
    }

    pub(crate) fn next_ms(&self) -> Option<u64> {
        (!self.is_asking && self.at != At::MakingRoom).then_some(self.next_ms)
    }

    pub(crate) fn makes_room(&self) -> bool {
        self.at == At::MakingRoom
    }

    /// Whether no more copies run than are allowed.
    pub(crate) fn fits(&mut self, fits: bool) {
        self.fits = fits;
    }

    /// The answer to what was asked will not come.
    pub(crate) fn lose_question(&mut self) {
        (self.at, self.is_asking, self.next_ms) = (At::Idle, false, 0);
    }

    /// The next question, if it is time.
    pub(crate) fn ask(&mut self, now_ms: u64) -> Option<Question> {
        if self.is_asking || self.next_ms > now_ms {
            return None;
        }
        let question = match self.at {
            At::Idle => {
                self.at = At::Looking;
                Question::List
            }
            At::MakingRoom if !self.fits && self.mutant != Some(Mutant::SharesWhatIsInUse) => return None,
            At::MakingRoom => {
                self.at = At::Announcing;
                Question::Announce(self.holding.announced())
            }
            At::LookingAgain => Question::List,
            At::Looking | At::Announcing => unreachable!("it is asking"),
        };
        self.is_asking = true;
        Some(question)
    }

    /// Takes an answer; false if this runner is not in the list any more.
    pub(crate) fn answered(&mut self, me: Id, answer: Option<Answer>, now_ms: u64) -> bool {
        self.is_asking = false;
        match (self.at, answer) {
            (At::Looking, Some(Answer::List(listed))) => {
                let Some(rank) = listed.iter().position(|(id, _)| *id == me) else { return false };
                let number = |count: usize| u32::try_from(count).expect("few runners");
                let wanted = Share::of_rank(number(rank), number(listed.len()), self.slots);
                if self.holding.is(wanted) && self.is_written {
                    (self.at, self.next_ms) = (At::Idle, now_ms + EVERY_MS);
                } else {
                    self.holding = self.holding.toward(wanted);
                    (self.at, self.is_written) = (At::MakingRoom, false);
                }
            }
            (At::Announcing, Some(_)) => (self.at, self.is_written) = (At::LookingAgain, true),
            (At::LookingAgain, Some(Answer::List(listed))) => {
                let others = listed.iter().filter(|(id, _)| *id != me).map(|(_, share)| *share);
                self.holding = self.holding.settled(others);
                (self.at, self.next_ms) = (At::Idle, now_ms + PAUSE_MS);
            }
            _ => (self.at, self.next_ms) = (At::Idle, now_ms + PAUSE_MS),
        }
        true
    }
}
