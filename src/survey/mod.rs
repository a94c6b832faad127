//! Asks stores and catalogs about what a plan names, and comes back with its migrations: what a dry run shows and a
//! run executes. Changes nothing anywhere.
//!
//! Nothing is asked about rows that are `COMPLETED`: the database knows.

mod ask;
mod catalogs;
mod chain;
mod draft;
mod wanted;

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use crate::copy::Expected;
use crate::database::Row;
use crate::error::CommandError;
use crate::exit::Exit;
use crate::failure::{Cause, Failure};
use crate::graph::{Graph, Node};
use crate::id::Key;
use crate::plan::{Loaded, Place, Plan, Problem, Subject};
use crate::regions::Regions;
use crate::state::State;
use crate::store::Pin;

use catalogs::{Catalogs, Role};
use wanted::WantedList;

/// One source backup to one target, as the plan means it now.
#[derive(Debug, Clone)]
pub struct Migration {
    /// The row as it is, or as it is to be inserted. A new row that cannot start is `FAILED` with its reason.
    pub row: Row,
    /// Number of the source region.
    pub source: usize,
    /// Number of the target region.
    pub target: usize,
    /// Position of the parent's migration in the same target.
    pub parent: Option<usize>,
    /// The source object, unless it was not asked for (`COMPLETED`, `SAVING`) or cannot be had.
    pub object: Option<SourceObject>,
    /// Why it cannot start.
    pub failure: Option<Failure>,
    /// Whether a `FAILED` row's verified copy still lies in the target, so that only registering is left.
    pub copy_is_there: bool,
    /// Whether an object lies under the target's name already; only a dry run asks.
    pub exists: bool,
    /// Where in the plan it comes from.
    pub place: Place,
}

impl Migration {
    /// Whether a run works on it: unfinished, nothing in its way, and not `FAILED` for good. What failed for good is
    /// tried again when its source is another one now, or with `retry_failed`.
    #[must_use]
    pub fn is_due(&self, retry_failed: bool) -> bool {
        if self.failure.is_some() {
            return false;
        }
        match self.row.state {
            State::Completed => false,
            State::New | State::Building | State::Saving => true,
            State::Failed => {
                let passing = self.row.cause.is_none_or(Cause::is_transient);
                let source_is_new = self.object.as_ref().is_some_and(|object| {
                    self.row.source_etag.as_ref() != Some(&object.pin.etag) || self.row.bytes != Some(object.pin.size)
                });
                passing || retry_failed || (source_is_new && !self.copy_is_there)
            }
        }
    }
}

/// The source object of a migration, as it is now.
#[derive(Debug, Clone)]
pub struct SourceObject {
    /// Its name.
    pub key: Key,
    /// Its version.
    pub pin: Pin,
    /// Size that the source's record says, if there is one.
    pub recorded_bytes: Option<u64>,
    /// Digests it must have.
    pub expected: Vec<Expected>,
}

/// Backups that selects did not take, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Left out by `except`.
    pub excepted: u64,
    /// Their records say `FAILED`.
    pub failed: u64,
    /// Wanted by the last run and gone from the source's catalog since.
    pub vanished: u64,
}

/// What a survey found.
#[derive(Debug)]
pub struct Survey {
    /// In an order in which parents come before their children, whole chains together.
    pub migrations: Vec<Migration>,
    /// What selects did not take.
    pub skipped: Skipped,
    /// Things that would make a run fail and belong to no single migration.
    pub warnings: Vec<Failure>,
}

/// Why there is no survey at all.
#[derive(Debug)]
pub enum SurveyError {
    /// The plan contradicts itself, seen only with the catalogs' answers.
    Plan(Vec<Problem>),
    /// A region that the plan needs cannot be named: a reference is unset.
    Region(Failure),
    /// A catalog that a select asks cannot be read.
    Catalog(Failure),
}

impl SurveyError {
    /// The error as a command shows it; problems of the plan are rendered with its source.
    #[must_use]
    pub fn into_command_error(self, loaded: &Loaded) -> CommandError {
        match self {
            Self::Plan(problems) => {
                let text = crate::plan::render(&problems, &loaded.source, &loaded.path, false);
                CommandError::new(
                    Exit::Usage,
                    format!("the plan contradicts itself; nothing was touched\n\n{}", text.trim_end()),
                )
            }
            Self::Region(failure) => (Exit::Usage, failure).into(),
            Self::Catalog(failure) => (Exit::Unreachable, failure).into(),
        }
    }
}

/// What the survey works with.
pub struct Surveyor<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its regions.
    pub regions: &'a Regions,
    /// The rows of the plan that the database has, by id.
    pub rows: &'a HashMap<Uuid, Row>,
    /// The start of the run.
    pub now: Timestamp,
    /// Whether targets are looked at too, as a dry run does.
    pub look_at_targets: bool,
}

impl Surveyor<'_> {
    /// Asks everything that has to be asked.
    ///
    /// # Errors
    /// [`SurveyError`], when the plan as a whole cannot be surveyed. What concerns single migrations is in them.
    pub async fn survey(&self) -> Result<Survey, SurveyError> {
        let mut catalogs = Catalogs::of(self);
        let mut skipped = Skipped::default();
        let stores = self.identities()?;
        let mut list = self.wanted(&stores, &mut catalogs, &mut skipped).await?;
        chain::add_ancestors(self, &stores, &mut catalogs, &mut list).await?;
        let mut migrations = self.drafts(&stores, &mut catalogs, &list).await?;
        chain::link(self, &stores, &mut catalogs, &list, &mut migrations).await?;
        ask::failed_copies(self, &mut migrations).await;
        ask::sources(self, &mut migrations).await;
        let mut warnings = Vec::new();
        if self.look_at_targets {
            ask::targets(self, &mut migrations, &mut warnings).await;
        }
        let mut migrations = chain::order(migrations).map_err(SurveyError::Plan)?;
        chain::refuse_below_failures(&mut migrations);
        let known: BTreeSet<Uuid> = migrations.iter().map(|migration| migration.row.id).collect();
        skipped.vanished = self
            .rows
            .values()
            .filter(|row| row.state != State::Completed && row.source_id.is_some() && !known.contains(&row.id))
            .count() as u64;
        Ok(Survey { migrations, skipped, warnings })
    }

    /// What each region's store is, by number; only the regions that entries use can matter.
    fn identities(&self) -> Result<Vec<String>, SurveyError> {
        let mut used = BTreeSet::new();
        for entry in &self.plan.entries {
            used.insert(usize::from(entry.from.0));
            used.extend(entry.to.iter().map(|target| usize::from(target.0)));
        }
        (0..self.plan.regions.len())
            .map(|index| {
                if used.contains(&index) {
                    self.regions.identity(index).map_err(SurveyError::Region)
                } else {
                    Ok(String::new())
                }
            })
            .collect()
    }

    async fn wanted(
        &self,
        stores: &[String],
        catalogs: &mut Catalogs<'_>,
        skipped: &mut Skipped,
    ) -> Result<WantedList, SurveyError> {
        let mut list = WantedList::default();
        let mut problems = Vec::new();
        for entry in &self.plan.entries {
            let region = usize::from(entry.from.0);
            if let Some(wanted) = wanted::explicit(entry) {
                list.add(&stores[region], wanted).expect("explicit entries never disagree here");
            } else if let Subject::Select(select) = &entry.subject {
                let ledger = catalogs.ledger(region, Role::Source).await.map_err(SurveyError::Catalog)?;
                let answer = wanted::select(select, ledger, self.now);
                skipped.excepted += answer.excepted;
                skipped.failed += answer.failed;
                for record in answer.records {
                    if let Err(disagreement) = list.add(&stores[region], wanted::selected(entry, record)) {
                        problems.push(chain::disagreement(&disagreement));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(list) } else { Err(SurveyError::Plan(problems)) }
    }

    fn is_completed(&self, id: Uuid) -> bool {
        self.rows.get(&id).is_some_and(|row| row.state == State::Completed)
    }
}

impl Survey {
    /// The graph of the migrations, in their order.
    ///
    /// # Panics
    /// Never: the survey has refused cycles.
    #[must_use]
    pub fn graph(&self) -> Graph {
        let nodes = self.migrations.iter().map(|migration| Node {
            id: migration.row.id,
            name: migration.row.name.clone(),
            source: migration.row.source_region.as_str().into(),
            target: migration.row.region.as_str().into(),
            bytes: migration.row.bytes,
            parent: migration.parent,
            state: migration.row.state,
        });
        Graph::new(nodes.collect()).expect("the survey refused cycles")
    }
}
