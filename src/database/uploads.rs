//! What is stored of copies that are not whole yet: uploads and their parts.

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::checkpoint::mine;
use super::entity::backups::ActiveModel;
use super::entity::parts::{self, Entity as Parts};
use super::{Claim, Database, DatabaseError};
use crate::state::State;

/// The finished parts of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredParts {
    /// Size, and the store's own name if it gave one, of part 0 and all that follow it without a gap.
    pub parts: Vec<(u64, Option<String>)>,
    /// State of the whole object's digests after the last one.
    pub sha256_state: Vec<u8>,
}

impl Database {
    /// BUILDING, mine: the target store calls the upload that was just begun so.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn upload_begun(&self, claim: Claim, upload_id: &str) -> Result<bool, DatabaseError> {
        let upload_id = Set(Some(upload_id.to_owned()));
        let changes = ActiveModel { changed_ms: Set(self.now_ms()), upload_id, ..Default::default() };
        self.write_one(self.build(&mine(claim, State::Building, changes))).await
    }

    /// The finished parts of a copy; none if there are none, or if one is missing between others.
    ///
    /// # Errors
    /// [`DatabaseError::Unreadable`] for a row that this version does not understand, and those of the database.
    pub async fn stored_parts(&self, id: Uuid) -> Result<Option<StoredParts>, DatabaseError> {
        self.patiently(|| self.stored_parts_now(id)).await
    }

    async fn stored_parts_now(&self, id: Uuid) -> Result<Option<StoredParts>, DatabaseError> {
        let of_copy = || Parts::find().filter(parts::Column::BackupId.eq(id.to_string()));
        let last = of_copy().order_by_desc(parts::Column::Number).one(&self.inner.readers).await;
        let Some(last) = last.map_err(|error| self.error(error))? else { return Ok(None) };
        let rows: Vec<(i32, i64, Option<String>)> = of_copy()
            .select_only()
            .columns([parts::Column::Number, parts::Column::Size, parts::Column::Reference])
            .order_by_asc(parts::Column::Number)
            .into_tuple()
            .all(&self.inner.readers)
            .await
            .map_err(|error| self.error(error))?;
        let mut stored = Vec::with_capacity(rows.len());
        for (number, size, reference) in rows {
            if usize::try_from(number) != Ok(stored.len()) {
                return Ok(None);
            }
            let size = u64::try_from(size).map_err(|_| DatabaseError::Unreadable {
                id: id.to_string(),
                column: "parts.size".to_owned(),
                value: size.to_string(),
            })?;
            stored.push((size, reference));
        }
        Ok(Some(StoredParts { parts: stored, sha256_state: last.sha256_state }))
    }
}
