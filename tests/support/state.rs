//! What a bed holds, with everything left out that may differ between two runs of one plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use backhaul::catalog::{RECORDS_FOLDER, Record};
use backhaul::database::{Database, DatabaseUrl, OpenError, PartRow, Row};
use backhaul::id::Sha256Digest;
use backhaul::state::State as RowState;
use sha2::{Digest, Sha256};

use super::{Bed, PART, TARGETS};

/// Rows, files and records.
#[derive(Debug)]
pub struct State {
    /// By target and name; without attempts, tokens, times, versions of files, and how a copy came to be proved.
    pub rows: BTreeMap<(String, String), Row>,
    /// Digest of every file that is no record, by its path in the bed.
    pub files: BTreeMap<PathBuf, Sha256Digest>,
    /// By target and id; without times.
    pub records: BTreeMap<(&'static str, uuid::Uuid), Record>,
}

impl State {
    /// Reads it, and holds what must be true of every bed whose rows are all `COMPLETED`: no claim, no upload, no
    /// parts; each copy's object and record are there and say what the row says; the source is what it was.
    #[track_caller]
    pub fn of(bed: &Bed) -> Self {
        let (rows, parts) = rows(bed);
        assert_eq!(parts, 0, "rows of parts are left");
        let (mut files, mut records) = (BTreeMap::new(), BTreeMap::new());
        for target in TARGETS {
            files.extend(objects(bed, target).map(|(name, path)| (Path::new(target).join(name), digest(&path))));
            for (object, record) in record_lines(&bed.target(target)) {
                let row = rows.iter().find(|row| row.id == record.id).expect("a record without a row");
                assert_eq!(row.record.as_ref(), Some(&object), "`{}`: the row names another record object", row.name);
                let record = Record { recorded_ms: 0, verified: record.verified.as_deref().map(proof), ..record };
                let other = records.insert((target, record.id), record);
                assert!(other.is_none(), "two records of {}", row.name);
            }
        }
        for row in &rows {
            assert_eq!(row.state, RowState::Completed, "`{}` in {}: {:?}", row.name, row.region, row.error);
            let path = Path::new(&row.region).join(row.location.as_deref().expect("a location"));
            assert_eq!(files.get(&path), row.sha256.as_ref(), "`{}` holds other bytes than its row says", row.name);
            assert!(records.values().any(|record| record.id == row.id && record.sha256 == row.sha256));
        }
        bed.layout.source_is_untouched();
        let key = |row: &Row| (row.region.clone(), row.name.clone());
        Self { rows: rows.into_iter().map(|row| (key(&row), without_chance(row))).collect(), files, records }
    }
}

/// The row without what the issue lets differ.
fn without_chance(row: Row) -> Row {
    Row {
        verified: row.verified.as_deref().map(proof),
        etag: None,
        record: None,
        attempt: 0,
        claim: 0,
        bytes_read: 0,
        planned_ms: 0,
        changed_ms: 0,
        copied_ms: None,
        completed_ms: None,
        ..row
    }
}

/// Holds what must be true at any time, whatever happened: every file under a final name has all its source's bytes, and
/// every row that says `COMPLETED` has its object and its record. Gives these rows as `name` and target.
#[track_caller]
pub fn is_true(bed: &Bed, what: &str) -> Vec<(String, String)> {
    for target in TARGETS {
        // Who is at work takes a temporary away while it is looked at.
        for (name, path) in objects(bed, target).filter(|(name, _)| !is_temporary(name)) {
            let source = digest(&bed.layout.source().join(&name));
            assert_eq!(digest(&path), source, "{what}: {} in {target} is not what its source is", name.display());
        }
    }
    completed_is_true(bed, what)
}

/// As [`is_true`], of the rows that say `COMPLETED` alone.
#[track_caller]
pub fn completed_is_true(bed: &Bed, what: &str) -> Vec<(String, String)> {
    let mut completed = Vec::new();
    let rows = rows_at(&bed.database_url()).unwrap_or_default();
    for (row, _) in rows.into_iter().filter(|(row, _)| row.state == RowState::Completed) {
        let region = bed.target(&row.region);
        let object = region.join(row.location.as_deref().expect("a location"));
        assert!(object.exists(), "{what}: `{}` is COMPLETED in {} and not there", row.name, row.region);
        assert_eq!(Some(digest(&object)), row.sha256, "{what}: `{}` in {}", row.name, row.region);
        let records = record_lines(&region);
        let recorded = records.iter().any(|(_, record)| record.id == row.id && record.sha256 == row.sha256);
        assert!(recorded, "{what}: `{}` is COMPLETED in {} and has no record", row.name, row.region);
        completed.push((row.name, row.region));
    }
    completed
}

/// Holds that every part that has a row is there, with its source's bytes; gives how many there are.
#[track_caller]
pub fn parts_are_true(bed: &Bed, what: &str) -> usize {
    let mut count = 0;
    for (row, parts) in rows_with_parts(bed) {
        let (Some(token), Some(location)) = (&row.upload_token, &row.location) else { continue };
        let published = bed.target(&row.region).join(location);
        if parts.is_empty() || published.exists() {
            continue;
        }
        count += parts.len();
        let bytes = usize::try_from(parts.iter().map(|part| part.size).sum::<u64>()).expect("small");
        let staged = std::fs::read(published.with_file_name(format!(".backhaul-{token}.part"))).unwrap_or_default();
        let source = std::fs::read(bed.layout.source().join(location)).expect("a source object");
        let same = staged.get(..bytes) == source.get(..bytes);
        assert!(same, "{what}: `{}` in {}: parts that have rows are lost or damaged", row.name, row.region);
    }
    count
}

/// Every proof is a proof: a copy found in its place after a crash is read whole instead of part by part.
fn proof(verified: &str) -> String {
    let known = ["read back part by part", "read back whole, sha256", "already there, read whole, sha256"];
    assert!(known.contains(&verified), "`{verified}` is no proof");
    "proved".to_owned()
}

/// All rows, and how many rows of parts they have.
pub fn rows(bed: &Bed) -> (Vec<Row>, usize) {
    let rows_with_parts = rows_with_parts(bed);
    let parts = rows_with_parts.iter().map(|(_, parts)| parts.len()).sum();
    (rows_with_parts.into_iter().map(|(row, _)| row).collect(), parts)
}

/// All rows with the rows of their parts; none if there is no database yet.
pub fn rows_with_parts(bed: &Bed) -> Vec<(Row, Vec<PartRow>)> {
    rows_at(&bed.database_url()).expect("the database has its tables")
}

/// All rows of a database with the rows of their parts; none if it has not all its tables yet.
pub fn rows_in(database: &Path) -> Option<Vec<(Row, Vec<PartRow>)>> {
    rows_at(&DatabaseUrl::parse(&format!("sqlite://{}", database.display())).expect("a path"))
}

/// The same of a database wherever it is; none either if there is no database.
pub fn rows_at(url: &DatabaseUrl) -> Option<Vec<(Row, Vec<PartRow>)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let database = match Database::open_reading(url).await {
            // Killed before all its tables were there, or between two steps of the schema.
            Err(OpenError::Absent { .. } | OpenError::Unfinished { .. } | OpenError::Outdated { .. }) => return None,
            opened => opened.expect("the database can be read"),
        };
        let mut all = Vec::new();
        for row in database.all_rows().await.expect("rows") {
            let parts = database.parts(row.id).await.expect("parts");
            all.push((row, parts));
        }
        database.close().await;
        Some(all)
    })
}

/// No row counts more bytes read than its object has and three parts for each killed run.
#[track_caller]
pub fn bytes_read_at_most(bed: &Bed, kills: u64, what: &str) {
    for row in rows(bed).0 {
        let most = row.bytes.expect("copied") + kills * backhaul::copy::PARTS_IN_FLIGHT as u64 * PART;
        assert!(row.bytes_read <= most, "{what}: `{}`: {} bytes read, at most {most}", row.name, row.bytes_read);
    }
}

/// Everything of Backhaul's own that is no record and should not be in a target.
pub fn temporaries(bed: &Bed) -> Vec<PathBuf> {
    let files = TARGETS.iter().flat_map(|target| files(&bed.target(target)));
    files.filter(|path| is_temporary(path)).collect()
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".backhaul-"))
}

/// What lies in a target besides records: names, and where they are.
fn objects(bed: &Bed, target: &str) -> impl Iterator<Item = (PathBuf, PathBuf)> {
    let folder = bed.target(target);
    let files = files(&folder).into_iter();
    let named = files.map(move |path| (path.strip_prefix(&folder).expect("in the target").to_owned(), path));
    named.filter(|(name, _)| !name.starts_with(RECORDS_FOLDER))
}

/// The SHA-256 of a file.
pub fn digest(path: &Path) -> Sha256Digest {
    Sha256Digest(Sha256::digest(std::fs::read(path).expect("a readable file")).into())
}

/// Every line of every record object in a region's folder, with the object's name as rows have it.
pub fn record_lines(region: &Path) -> Vec<(String, Record)> {
    let mut lines = Vec::new();
    for path in files(&region.join(RECORDS_FOLDER)) {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name");
        let Some(batch) = name.strip_suffix(".ndjson") else { continue };
        let text = std::fs::read_to_string(&path).expect("a record object");
        // Empty where somebody who might have come late with it was to find its name taken.
        assert!(text.is_empty() || text.ends_with('\n'), "{} is cut off", path.display());
        let records = text.lines().map(|line| serde_json::from_str::<Record>(line).expect("a record"));
        lines.extend(records.map(|record| (batch.to_owned(), record)));
    }
    lines
}

/// All files below a folder, none if it is not there.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
