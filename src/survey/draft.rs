//! A migration for each wanted backup and target: the row that the database has or is to get.

use super::catalogs::Catalogs;
use super::chain::is_copied;
use super::placing::Placing;
use super::wanted::{Source, Wanted, WantedList};
use super::{Migration, SourceObject, Surveyor, Told};
use crate::catalog::Record;
use crate::copy::Expected;
use crate::database::Row;
use crate::failure::Failure;
use crate::plan::Subject;
use crate::store::Pin;

impl Surveyor<'_> {
    /// A migration for each wanted backup and target, not yet linked or asked about.
    pub(super) async fn drafts(
        &self,
        stores: &[String],
        catalogs: &mut Catalogs<'_>,
        placing: &mut Placing<'_>,
        list: &WantedList,
    ) -> Vec<Migration> {
        let mut drafts = Vec::with_capacity(list.items.len());
        for wanted in &list.items {
            let row = self.rows.get(&wanted.id).cloned().unwrap_or_else(|| Row::new(wanted.id));
            let record = match &wanted.source {
                Source::Id(id) if !is_copied(&row) => Some(catalogs.record(wanted.region, id).await),
                _ => None,
            };
            let mut migration = self.draft(stores, wanted, row, record.as_ref());
            placing.placed(&mut migration).await;
            drafts.push(migration);
        }
        drafts
    }

    fn draft(
        &self,
        stores: &[String],
        wanted: &Wanted,
        row: Row,
        record: Option<&Result<Record, Failure>>,
    ) -> Migration {
        let mut migration = Migration {
            row,
            source: wanted.region,
            target: wanted.target,
            parent: None,
            object: None,
            failure: None,
            copy_is_there: false,
            exists: false,
            other_catalog: None,
            lacks_key: false,
            kept_in: record.and_then(|record| record.as_ref().ok()?.source.as_ref()?.container()).map(str::to_owned),
            place: wanted.place,
            told: told(wanted),
        };
        let row = &mut migration.row;
        // What is copied needs its source no more: its row says all that the record needs.
        if is_copied(row) {
            return migration;
        }
        row.region = self.plan.regions[wanted.target].name.to_string();
        row.source_region = self.plan.regions[wanted.region].name.to_string();
        row.target_store.clone_from(&stores[wanted.target]);
        row.source_store.clone_from(&stores[wanted.region]);
        let of_plan = wanted.known.sha256.map(|sha256| Expected { sha256, from: "the plan says" });
        let mut known = Vec::from_iter(of_plan);
        let key = match (&wanted.source, record) {
            (Source::Location(key), _) => {
                row.source_location = Some(key.to_string());
                Some(key.clone())
            }
            (Source::Id(id), Some(Ok(record))) => {
                row.source_id = Some(id.clone());
                let recorded = record.sha256.map(|sha256| Expected { sha256, from: "the source's record says" });
                known.extend(recorded);
                Self::describe(row, record);
                match record.key() {
                    Ok(key) => {
                        row.source_location = Some(key.to_string());
                        Some(key)
                    }
                    Err(failure) => {
                        migration.failure = Some(failure);
                        None
                    }
                }
            }
            (Source::Id(id), Some(Err(failure))) => {
                row.source_id = Some(id.clone());
                migration.failure = Some(failure.clone());
                None
            }
            (Source::Id(_), None) => None,
        };
        let record_had = record.and_then(|record| record.as_ref().ok());
        if record.is_none() || record_had.is_some() || migration.row.name.is_empty() {
            self.name(&mut migration.row, wanted, record_had);
        }
        if let Some(sha256) = migration.row.expected_sha256 {
            known.push(Expected { sha256, from: "an earlier copy had" });
        }
        migration.object = key.map(|key| SourceObject {
            key,
            // Filled in by asking the source.
            pin: Pin { etag: String::new(), size: 0 },
            planned_pin: wanted.known.pin.clone(),
            recorded_bytes: record_had.and_then(|record| record.bytes),
            expected: known,
            expires: None,
            lineage: None,
        });
        migration
    }

    /// Takes over what the source's record says.
    fn describe(row: &mut Row, record: &Record) {
        row.backup_type.clone_from(&record.backup_type);
        row.size = record.size;
        row.source_tenant_id.clone_from(&record.tenant_id);
        row.instance_id.clone_from(&record.instance_id);
        row.checksum.clone_from(&record.checksum);
        row.created.clone_from(&record.created);
        row.updated.clone_from(&record.updated);
        row.backup_timestamp.clone_from(&record.backup_timestamp);
        row.datastore.clone_from(&record.datastore);
        row.datastore_version.clone_from(&record.datastore_version);
        row.datastore_version_number.clone_from(&record.datastore_version_number);
        row.description.clone_from(&record.description);
        row.metadata.clone_from(&record.metadata);
    }

    /// The copy's name and description: the entry's own, else the template's and the record's.
    fn name(&self, row: &mut Row, wanted: &Wanted, record: Option<&Record>) {
        let source = wanted.source.text();
        let own_name =
            record.map_or_else(|| source.rsplit('/').next().unwrap_or(source).to_owned(), |record| record.name.clone());
        row.name = wanted.name.clone().unwrap_or_else(|| {
            self.plan
                .name_template
                .replace("{created}", row.created.as_deref().unwrap_or_default())
                .replace("{instance_id}", row.instance_id.as_deref().unwrap_or_default())
                .replace("{source_region}", &row.source_region)
                .replace("{source_id}", source)
                .replace("{name}", &own_name)
        });
        if wanted.description.is_some() {
            row.description.clone_from(&wanted.description);
        }
    }
}

fn told(wanted: &Wanted) -> Told {
    let known = wanted.known.clone();
    let subject = match &wanted.source {
        Source::Id(id) => Subject::Id { id: id.clone(), known },
        Source::Location(key) => Subject::Location { key: key.clone(), parent: wanted.parent.clone(), known },
    };
    Told { subject, name: wanted.name.clone(), description: wanted.description.clone() }
}
