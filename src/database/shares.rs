//! Which share of a plan's limits each live runner has written down.

use uuid::Uuid;

use super::{Database, DatabaseError, runner};
use crate::share::Share;

/// A runner whose lease is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Participant {
    /// In the list of runners.
    pub id: Uuid,
    /// The share that it uses or is about to take, or more; none while it takes no part.
    pub share: Option<Share>,
}

impl Database {
    /// What this process may use of a plan's limits before it has looked for others: everything if nobody else was there
    /// when it came, and then that is written down.
    #[must_use]
    pub fn first_share(&self) -> Share {
        self.inner.first_share
    }

    /// The live runners, oldest first; none for a file.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn participants(&self) -> Result<Vec<Participant>, DatabaseError> {
        self.patiently(async || {
            let live = runner::live(&self.inner.readers).await.map_err(|error| self.error(error))?;
            let known = live.into_iter().filter_map(|live| Some((live.id.parse().ok()?, live.share)));
            Ok(known.map(|(id, share)| Participant { id, share }).collect())
        })
        .await
    }

    /// Writes down the share that this process is about to take; none if it takes no part. What was announced before and
    /// not waited for is written down before it, or not at all. False for who is not in the list.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn announce(&self, share: Option<Share>) -> Result<bool, DatabaseError> {
        let Some(id) = self.runner() else { return Ok(false) };
        self.write_one(self.inner.connector.backend().build(&runner::announce(id, share))).await
    }
}
