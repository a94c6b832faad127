//! The plan as meant: what [`read()`] makes of the YAML file, valid by construction.
//!
//! Reading touches nothing but the plan file: no store, no database, and no environment variable is resolved.

mod catalog_spec;
mod cron;
mod problem;
mod read;
mod reference;
mod render;
mod scalar;
mod schema;
mod shape;
mod store_spec;
mod unit;
mod unset;
mod write;
mod yaml;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::id::{Key, Sha256Digest};
use crate::store::Pin;

pub use catalog_spec::{
    BadTenants, CatalogSpec, DEFAULT_QUOTA, QuotaRule, Tenants, TroveApiSpec, TroveDatabaseSpec, parse_tenants,
};
pub use cron::{NextTime, next_times};
pub use problem::{Level, Place, Problem, Refused};
pub use read::{Loaded, parse, read, read_regions};
pub use reference::{BadReference, MissingVariable, Reference};
pub use render::{PROBLEMS_SHOWN_MAX, render};
pub use schema::json_schema;
pub use store_spec::{
    Addressing, AzureSpec, CloudSpec, GcsSpec, HttpSpec, S3Spec, SEGMENT_SIZE, STALL_TIMEOUT, StoreSpec, SwiftAccount,
    SwiftLogin, SwiftSpec, TenantAccess,
};
pub use unit::{UnitError, format_bytes, format_duration, format_rate, parse_bytes, parse_duration, parse_rate};
pub use unset::unset_variables;
pub use write::{
    BadStore, NotSavable, Written, WrittenAzure, WrittenCatalog, WrittenCloud, WrittenDefaults, WrittenEntry,
    WrittenExcept, WrittenGcs, WrittenHttp, WrittenLimits, WrittenPin, WrittenRecords, WrittenRegion,
    WrittenRegionLimits, WrittenRetry, WrittenS3, WrittenSchedule, WrittenSelect, WrittenStore, WrittenSwift,
    WrittenTenants, WrittenTimetable, WrittenTroveApi, WrittenTroveDatabase, to_yaml,
};

/// Position of a region in [`Plan::regions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegionIndex(pub u16);

/// A whole plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The plan's identity: letters, digits, `-`, `_`, `.`; 1 to 100 characters.
    pub name: String,
    /// Absolute folder of the plan file, where relative paths start.
    pub folder: PathBuf,
    /// The database as written, if the plan names one.
    pub database: Option<Reference>,
    /// In the order written.
    pub regions: Vec<Region>,
    /// Where entries go that do not say it.
    pub default_to: Vec<RegionIndex>,
    /// Size of a part, in bytes; at least 1 MiB.
    pub part_size: u64,
    /// How copies are proved.
    pub verify: Verify,
    /// Template of the copies' names: `{name} {created} {instance_id} {source_region} {source_id}`.
    pub name_template: String,
    /// Totals over all runners of this plan.
    pub limits: Limits,
    /// How often and how patiently a step is tried.
    pub retry: Retry,
    /// When it runs, and what happens if it already does.
    pub schedule: Schedule,
    /// What to copy, in the order written.
    pub entries: Vec<Entry>,
}

/// A label in a plan for a store and a catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// As written.
    pub name: Arc<str>,
    /// Where its bytes lie.
    pub store: StoreSpec,
    /// Where its records lie.
    pub catalog: CatalogSpec,
    /// Which of its tenants stand for those of a source; none means that they are the same.
    pub tenants: Option<Tenants>,
    /// Which of its datastore versions stand for those of a source, as `datastore/name`, where names differ.
    pub datastore_versions: Vec<(String, String)>,
    /// Whether its guests have the key that encrypted backups need.
    pub backup_key_present: bool,
    /// Whether backups may be copied from it.
    pub copy_from: bool,
    /// Whether backups may be copied to it.
    pub copy_to: bool,
    /// Where in the plan file it is.
    pub place: Place,
}

/// How a copy is proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// By a digest that the target store computed and showed, where it has one; else by reading back.
    Store,
    /// Always by reading back.
    ReadBack,
}

/// Ceilings. Concurrency counts copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Copies at a time, 1 to 256.
    pub concurrency: u16,
    /// Bytes of parts that one process holds at a time.
    pub memory: u64,
    /// Bytes read from all sources, per second.
    pub bandwidth: Timetable,
    /// Ceilings of single regions.
    pub regions: Vec<(RegionIndex, RegionLimits)>,
}

/// Ceilings of one region, as source and as target together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegionLimits {
    /// Copies from or to it at a time; none means only the total counts.
    pub concurrency: Option<u16>,
    /// Bytes in and out of it, per second.
    pub bandwidth: Timetable,
    /// Requests to its store, per second.
    pub requests_per_second: Option<u32>,
}

/// A rate by time of day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timetable {
    /// Bytes per second outside all windows; none means unlimited.
    pub default: Option<u64>,
    /// Windows that do not overlap.
    pub windows: Vec<Window>,
}

/// A stretch of each day with a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Minute of the day it starts at, 0 to 1439.
    pub start_minute: u16,
    /// Minute of the day it ends before, 1 to 1440; a window over midnight is read as two.
    pub end_minute: u16,
    /// Bytes per second; none means unlimited.
    pub rate: Option<u64>,
}

/// How often and how patiently a step is tried in one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts of one step in one run, 1 to 100.
    pub attempts: u16,
    /// Longest pause between two attempts.
    pub max_delay: Duration,
}

impl Retry {
    /// Enough to outlive two minutes of a service that is down: one is what a restart of Keystone or a failover takes.
    pub const DEFAULT: Self = Self { attempts: 10, max_delay: Duration::from_mins(2) };
}

/// When a plan runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// A cron line of five fields, checked.
    pub cron: Option<String>,
    /// Of the cron line and of timetables; an IANA name, checked. UTC if none.
    pub time_zone: Option<String>,
    /// A run drains after this time.
    pub stop_after: Option<Duration>,
    /// What a second run does.
    pub if_running: IfRunning,
}

/// What a run does when another one holds the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IfRunning {
    /// Leaves with exit code 5.
    #[default]
    Skip,
    /// Waits for it to end.
    Wait,
    /// Fails with exit code 1.
    Fail,
    /// Works beside runs of the same plan, on a database of a server.
    Join,
}

/// One item of `backups:`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where in the plan file it is.
    pub place: Place,
    /// What it names.
    pub subject: Subject,
    /// The source region.
    pub from: RegionIndex,
    /// The target regions: at least one, none of them `from`, none twice.
    pub to: Arc<[RegionIndex]>,
    /// Name of the copies; else the template's.
    pub name: Option<String>,
    /// Description of the copies.
    pub description: Option<String>,
}

/// What an entry names.
#[derive(Debug, Clone)]
pub enum Subject {
    /// One record of the source region's catalog.
    Id {
        /// The record's id.
        id: String,
        /// Fields that a saved plan or a careful operator pins.
        known: Known,
    },
    /// One object of the source region's store, without a record.
    Location {
        /// The object.
        key: Key,
        /// The full or incremental it builds on: another location of the same region.
        parent: Option<Key>,
        /// What is known about it.
        known: Known,
    },
    /// All records of the source region's catalog that pass a filter.
    Select(Box<Select>),
}

/// What the plan says about an object in advance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Digest of the whole object.
    pub sha256: Option<Sha256Digest>,
    /// The version it was planned for; another one fails.
    pub pin: Option<Pin>,
}

/// A question to a catalog, asked anew at each run. Empty lists mean "any".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Select {
    /// Tenant ids.
    pub tenants: Vec<String>,
    /// Instance ids.
    pub instances: Vec<String>,
    /// Datastore names.
    pub datastore: Option<String>,
    /// Only backups created less than this before the run's start.
    pub newer_than: Option<Duration>,
    /// The newest N of each instance (of each folder where there is none), by `created`, ties by id.
    pub latest: Option<u32>,
    /// Never these, even if the rest matches.
    pub except: Vec<Except>,
}

/// A backup that a select leaves out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Except {
    /// The record's id.
    pub id: String,
    /// Shown where it is counted.
    pub reason: Option<String>,
}

impl Plan {
    /// The region at `index`.
    ///
    /// # Panics
    /// If the index is of another plan.
    #[must_use]
    pub fn region(&self, index: RegionIndex) -> &Region {
        &self.regions[usize::from(index.0)]
    }
}
