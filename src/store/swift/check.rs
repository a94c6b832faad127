//! Whether every segment of an object is there, as its manifest says: the object's own HEAD does not tell.

use futures::stream::{self, StreamExt};

use super::SwiftStore;
use crate::id::Key;
use crate::store::{Pin, Source, StoreError, StoreErrorKind};

/// Questions under way at a time.
const QUESTIONS: usize = 8;

impl SwiftStore {
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
                    let hint = "the backup cannot be restored; make a new one";
                    let why = named("is not there".to_owned());
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
