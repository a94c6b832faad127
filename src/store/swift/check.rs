//! Whether every segment of an object is there, as its manifest says: the object's own HEAD does not tell.

use futures::stream::{self, StreamExt};

use super::SwiftStore;
use super::source::changed;
use crate::id::Key;
use crate::store::{Metadata, Pin, Source, StoreError, StoreErrorKind};

/// Questions under way at a time.
const QUESTIONS: usize = 8;

impl SwiftStore {
    /// Asks for the pinned object, and for every segment of it. Gives what travels with it.
    ///
    /// # Errors
    /// As [`Source::head`] and [`SwiftStore::check_segments`].
    pub async fn check_whole(&self, key: &Key, pin: &Pin) -> Result<Metadata, StoreError> {
        let facts = self.head(key).await?;
        if facts.etag != pin.etag || facts.size != pin.size {
            return Err(changed(self.attempt("read", key.as_str()), pin, &facts));
        }
        if self.is_known_manifest(key, &pin.etag) {
            self.check_segments(key, pin).await?;
        }
        Ok(facts.metadata)
    }

    /// Asks for every segment of the pinned object; nothing where it has none.
    ///
    /// # Errors
    /// [`StoreError`]: `Missing` or `Changed`, naming the first segment that is not what the manifest says.
    pub async fn check_segments(&self, key: &Key, pin: &Pin) -> Result<(), StoreError> {
        if self.segments(key, pin).await?.is_none() {
            return Ok(());
        }
        let attempt = self.attempt("read", key.as_str());
        let place = self.place("read", key)?;
        let manifest = self.manifest(attempt, key, &place, &pin.etag).await?;
        let asked = stream::iter(manifest.segments.iter().zip(&manifest.places).enumerate()).map(
            |(number, (segment, place))| async move {
                let named = |why: String| format!("its segment {number} (/{}) {why}", place.path());
                let Some(shown) = self.look(attempt, place).await? else {
                    let hint = "the backup is damaged where it lies: make a new one, or leave this one out";
                    let why = named("is missing".to_owned());
                    return Err(attempt.refused(StoreErrorKind::Missing, why).hint(hint));
                };
                let facts = shown.facts;
                if facts.size == segment.size && facts.digests.md5 == Some(segment.md5) {
                    return Ok(());
                }
                let why = named(format!("is another one now: {} bytes, version {}", facts.size, facts.etag));
                Err(attempt.refused(StoreErrorKind::Changed, why))
            },
        );
        let mut asked = std::pin::pin!(asked.buffered(QUESTIONS));
        while let Some(answer) = asked.next().await {
            answer?;
        }
        Ok(())
    }
}
