//! Segments of attempts: whether they are still there, and away with those that nobody needs.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::SwiftStore;
use super::place::{Place, segment_number};
use super::publish::lost;
use crate::store::attempt::Attempt;
use crate::store::{StoreError, StoredPart, Upload};

/// Requests about segments under way at a time.
const AT_ONCE: usize = 16;

/// Numbers that nobody has, one after the other, after which no more are looked for.
const GAP: u32 = 4;

impl SwiftStore {
    /// Compares the first segments of an attempt with what was stored.
    pub(super) async fn compare_segments(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        token: &str,
        parts: &[StoredPart],
    ) -> Result<(), StoreError> {
        let compared = (0..).zip(parts.to_vec()).map(|(number, part): (u32, _)| async move {
            match self.look(attempt, &place.segment(token, number)).await? {
                None => Err(lost(attempt, &format!("its segment {number} is gone"))),
                Some(shown) if shown.facts.size != part.size || Some(&shown.facts.etag) != part.reference.as_ref() => {
                    Err(lost(attempt, &format!("its segment {number} is not the one that was stored")))
                }
                Some(_) => Ok(()),
            }
        });
        stream::iter(compared).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Deletes the segments of one attempt, but for those that the manifest under the final name refers to. They are
    /// found by number, since a listing may be behind, and by listing, since nobody may know how many there are.
    pub(super) async fn delete_segments(&self, attempt: Attempt<'_>, upload: &Upload) -> Result<(), StoreError> {
        let place = self.place("delete the segments of", &upload.key)?;
        let prefix = place.segments_prefix(&upload.token);
        let referred = self.referred(attempt, &place).await?;
        let listed = self.objects(place.account.as_deref(), &place.container, &prefix).await?;
        let listed = listed.iter().filter_map(|entry| segment_number(&prefix, &entry.name));
        let mut numbers: BTreeSet<u32> = listed.chain(0..upload.parts).collect();
        if upload.parts == 0 {
            numbers.extend(self.unlisted(attempt, &place, &upload.token, &numbers).await?);
        }
        let segments = numbers.into_iter().map(|number| place.segment(&upload.token, number));
        let deleted = segments
            .filter(|segment| !referred.contains(segment))
            .map(|segment| async move { self.delete(attempt, &segment).await });
        stream::iter(deleted).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Segments beyond those that a listing shows.
    async fn unlisted(
        &self,
        attempt: Attempt<'_>,
        place: &Place,
        token: &str,
        listed: &BTreeSet<u32>,
    ) -> Result<Vec<u32>, StoreError> {
        let mut found = Vec::new();
        let mut number = 0;
        let mut missing = 0;
        while missing < GAP {
            if !listed.contains(&number) {
                if self.look(attempt, &place.segment(token, number)).await?.is_some() {
                    found.push(number);
                    missing = 0;
                } else {
                    missing += 1;
                }
            }
            number += 1;
        }
        Ok(found)
    }
}
