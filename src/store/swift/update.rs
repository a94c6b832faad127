//! Changes to an object's metadata, all else of it as it was.

use http::Method;

use super::SwiftStore;
use super::ask::{Ask, At};
use super::headers::{Shown, of_change};
use super::puts::refused;
use super::source::no_swift;
use crate::id::Key;
use crate::store::{ObjectFacts, StoreError, StoreErrorKind};

impl SwiftStore {
    /// Sets metadata of an object that is there, and leaves all other metadata and headers as they are, its deletion at
    /// some time among them. Asks for nothing where the object has it all already.
    ///
    /// # Errors
    /// [`StoreError`]: `Missing`, or `Refused` for what the cluster cannot hold, by name: a value may have 256 bytes.
    pub async fn update_metadata(&self, key: &Key, changes: &[(&str, &str)]) -> Result<ObjectFacts, StoreError> {
        let attempt = self.attempt("change the metadata of", key.as_str());
        let place = self.place("change the metadata of", key)?;
        let missing = || attempt.refused(StoreErrorKind::Missing, "no such object");
        let now = self.look_at_headers(attempt, &place).await?.ok_or_else(missing)?;
        let has_all = |facts: &ObjectFacts| {
            changes.iter().all(|(name, value)| facts.metadata.get(*name).is_some_and(|there| there == value))
        };
        let before = Shown::read(&now, None).map_err(|why| no_swift(attempt, why))?.facts;
        if has_all(&before) {
            return Ok(before);
        }
        let headers = of_change(&now, changes, self.limits().await?).map_err(|why| refused(attempt, &why))?;
        self.call(attempt, &Ask::new(Method::POST, At::Object(&place), &[], headers)).await?;
        let after = self.look(attempt, &place).await?.ok_or_else(missing)?.facts;
        if after.etag == before.etag && has_all(&after) {
            return Ok(after);
        }
        let why = "the store took the change, and the object does not have it";
        Err(attempt.refused(StoreErrorKind::Unreachable, why))
    }
}
