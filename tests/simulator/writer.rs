//! Group commit of a simulated runner, as `src/database/writer.rs`: one transaction at a time, with a number; one without
//! an answer is looked for before it is sent again.

use crate::case::Mutant;
use crate::database::{Answer, Question, Write};

#[derive(Debug, Default)]
pub(crate) struct Writer {
    waiting: Vec<(u32, Write)>,
    sent: Vec<(u32, Write)>,
    /// When those were made, as far as the runner knows the database's clock.
    at_ms: i64,
    is_asking: bool,
    /// Number of the last transaction that is known to be committed.
    sequence: i64,
    /// What the statements of a transaction have answered whose COMMIT has no answer.
    doubt: Option<Vec<bool>>,
    /// Not before.
    again_at_ms: u64,
    looks_first: bool,
}

/// What the writer learned.
pub(crate) enum Learned {
    Nothing,
    /// What became of these writes, each of a generation of steps.
    Wrote(Vec<(u32, Write, bool)>),
    /// The database does not know this runner any more.
    Behind,
}

/// Pause before a question that had no answer is asked again.
pub(crate) const PAUSE_MS: u64 = 200;

impl Writer {
    pub(crate) fn add(&mut self, generation: u32, write: Write) {
        self.waiting.push((generation, write));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// When it has something to ask, if it has.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        (!self.is_asking && !self.is_idle()).then_some(self.again_at_ms)
    }

    /// The next question, if it is time.
    pub(crate) fn ask(&mut self, now_ms: u64, at_ms: i64) -> Option<Question> {
        if self.next_ms().is_none_or(|at| at > now_ms) {
            return None;
        }
        self.is_asking = true;
        if self.looks_first {
            return Some(Question::Sequence);
        }
        if self.sent.is_empty() {
            self.sent = std::mem::take(&mut self.waiting);
            self.at_ms = at_ms;
        }
        Some(Question::Write {
            sequence: self.sequence,
            at_ms: self.at_ms,
            writes: self.sent.iter().map(|(_, write)| *write).collect(),
        })
    }

    /// Takes the answer; none if there was none, with what the statements had answered before the COMMIT.
    pub(crate) fn answered(
        &mut self,
        answer: Option<Answer>,
        statements: Option<Vec<bool>>,
        now_ms: u64,
        mutant: Option<Mutant>,
    ) -> Learned {
        self.is_asking = false;
        match answer {
            Some(Answer::Wrote(changed)) => self.committed(&changed),
            Some(Answer::Sequence(Some(last))) if last == self.sequence + 1 => {
                self.looks_first = false;
                let changed = self.doubt.take().expect("only a COMMIT is looked for");
                self.committed(&changed)
            }
            Some(Answer::Sequence(Some(last))) if last == self.sequence => {
                (self.looks_first, self.doubt) = (false, None);
                Learned::Nothing
            }
            Some(_) => Learned::Behind,
            None => {
                self.again_at_ms = now_ms + PAUSE_MS;
                if statements.is_some() && mutant != Some(Mutant::BlindRepeat) {
                    (self.looks_first, self.doubt) = (true, statements);
                }
                Learned::Nothing
            }
        }
    }

    fn committed(&mut self, changed: &[bool]) -> Learned {
        self.sequence += 1;
        let sent = std::mem::take(&mut self.sent).into_iter().zip(changed);
        Learned::Wrote(sent.map(|((generation, write), changed)| (generation, write, *changed)).collect())
    }
}
