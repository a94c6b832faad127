//! Exit codes. Scripts read them: a number never changes its meaning.

/// How a command ended, as a process exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All selected work is registered; or a question was answered.
    Done = 0,
    /// A fault of Backhaul itself, or `if_running: fail`.
    Internal = 1,
    /// The plan or the command line is invalid; nothing was touched.
    Usage = 2,
    /// Some steps failed or are blocked; or a dry run predicts it; or copies are missing.
    Failed = 3,
    /// Stopped by a signal or the end of the window with work left; run again to go on.
    Stopped = 4,
    /// Another run holds the database.
    Held = 5,
    /// No step could start because a store, a catalog or the database cannot be reached.
    Unreachable = 6,
    /// An integrity check failed.
    Integrity = 7,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
