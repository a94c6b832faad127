//! Asks stores and catalogs about what a plan names, and comes back with its migrations: what a dry run shows and a
//! run executes. Changes nothing anywhere.
//!
//! Nothing is asked about rows that are `COMPLETED`: the database knows.

mod ask;
mod catalogs;
mod chain;
mod coverage;
mod draft;
mod narrow;
mod openstack;
mod placing;
mod probe;
mod settled;
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
use crate::id::{Key, target_id};
use crate::plan::{Entry, Loaded, Place, Plan, Problem, RegionIndex, Select, Subject};
use crate::regions::{Access, Regions};
use crate::state::State;
use crate::store::{Lineage, Pin};

pub use coverage::Coverage;
pub use probe::Probed;

use catalogs::{Catalogs, Role};
use placing::Placing;
use wanted::{Source, WantedList};

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
    /// Whether it is encrypted, and nobody has said that the target's guests have the key.
    pub lacks_key: bool,
    /// What the target's catalog is now, if a registered copy is in another one.
    pub other_catalog: Option<String>,
    /// Trove's container of the backup that a vault has a copy of, as the vault's record tells.
    pub kept_in: Option<String>,
    /// Where in the plan it comes from.
    pub place: Place,
    /// What the plan says of it.
    pub told: Told,
}

/// What the plan says of a migration, whichever entry took it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The source: `Id` or `Location`.
    pub subject: Subject,
    /// Name of the copy.
    pub name: Option<String>,
    /// Description of the copy.
    pub description: Option<String>,
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
                // What somebody may have mended: this survey has looked again and found nothing wrong.
                let mended = matches!(
                    self.row.cause,
                    Some(
                        Cause::SourceMissing
                            | Cause::SourceUnreadable
                            | Cause::ParentMissing
                            | Cause::TooLarge
                            | Cause::TargetUnwritable
                            | Cause::TenantUnknown
                            | Cause::NoCounterpart
                            | Cause::Quota
                    )
                ) || (self.row.cause == Some(Cause::CopyMissing) && self.row.completed_ms.is_none());
                let source_is_new = self.object.as_ref().is_some_and(|object| {
                    self.row.source_etag.as_ref() != Some(&object.pin.etag) || self.row.bytes != Some(object.pin.size)
                });
                passing || mended || retry_failed || (source_is_new && !self.copy_is_there)
            }
        }
    }
}

/// The source object of a migration, as it is now.
#[derive(Debug, Clone)]
pub struct SourceObject {
    /// Its name.
    pub key: Key,
    /// Its version, once the source was asked.
    pub pin: Pin,
    /// The version that the plan wants.
    pub planned_pin: Option<Pin>,
    /// Size that the source's record says, if there is one.
    pub recorded_bytes: Option<u64>,
    /// Digests it must have.
    pub expected: Vec<Expected>,
    /// When its store will delete it by itself, if it says so.
    pub expires: Option<Timestamp>,
    /// What it must not contradict, where its store keeps links between objects.
    pub lineage: Option<Lineage>,
}

/// Backups that selects did not take, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Left out by `except`.
    pub excepted: u64,
    /// Their records say `FAILED`.
    pub failed: u64,
    /// Not finished yet: the next run looks again.
    pub deferred: u64,
    /// Copied once, and the copy's record deleted by its owner in the target.
    pub declined: u64,
    /// Wanted by the last run and gone from the source's catalog since.
    pub vanished: u64,
    /// Wanted by the last run, of or for a store that no region of the plan is any more.
    pub elsewhere: u64,
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
    /// What lies before a run and is no failure: what source catalogs do not show, and what only a dry run looks for.
    pub notes: Vec<String>,
    /// Which regions can be written, if that was tried.
    pub probed: Option<Vec<Probed>>,
}

/// Why there is no survey at all.
#[derive(Debug)]
pub enum SurveyError {
    /// The plan contradicts itself, seen only with the catalogs' answers.
    Plan(Vec<Problem>),
    /// A tenant map that the plan names cannot be read, or is wrong.
    Tenants(Failure),
    /// A region that the plan needs cannot be looked at.
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
            Self::Tenants(failure) => (Exit::Usage, failure).into(),
            Self::Region(failure) | Self::Catalog(failure) => (Exit::Unreachable, failure).into(),
        }
    }
}

/// What the survey works with.
pub struct Surveyor<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its regions.
    pub regions: &'a Regions,
    /// All rows that the database has, by id: plans may share some.
    pub rows: &'a HashMap<Uuid, Row>,
    /// The ids that this plan wanted when it ran last.
    pub planned: &'a [Uuid],
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
        let mut placing = Placing::of(self);
        let mut skipped = Skipped::default();
        let stores = self.identities().await?;
        self.tenant_maps().await?;
        self.narrow_sources(&mut catalogs);
        let mut list = self.wanted(&stores, &mut catalogs, &mut skipped).await?;
        self.narrow_targets(&mut catalogs, &mut placing, &list).await;
        skipped.declined = self.leave_declined(&mut catalogs, &mut list).await;
        chain::add_ancestors(self, &stores, &mut catalogs, &mut list).await?;
        let mut migrations = self.drafts(&stores, &mut catalogs, &mut placing, &list).await;
        let mut contradictions = chain::contradictions(&stores, &list, &migrations);
        contradictions.append(&mut placing.problems);
        if !contradictions.is_empty() {
            return Err(SurveyError::Plan(contradictions));
        }
        chain::link(self, &stores, &mut catalogs, &list, &mut migrations).await;
        ask::ways_in(self, &mut migrations).await;
        ask::copies(self, &mut migrations).await;
        ask::sources(self, &mut migrations).await;
        ask::lost_targets(self, &mut migrations).await;
        ask::whole_objects(self, &mut migrations).await;
        let (mut warnings, mut notes) = (Vec::new(), catalogs.narrowed());
        if self.look_at_targets {
            ask::targets(self, &mut migrations, &mut warnings).await;
            openstack::look(self, &migrations, &mut warnings, &mut notes).await;
        }
        let mut migrations = chain::order(migrations);
        chain::refuse_below_failures(&mut migrations);
        let gone = self.planned.iter().filter(|id| !list.has(**id)).filter_map(|id| self.rows.get(id));
        let gone = gone.filter(|row| row.state != State::Completed && row.source_id.is_some());
        let is_here = |row: &&Row| stores.contains(&row.source_store) && stores.contains(&row.target_store);
        let (here, elsewhere): (Vec<&Row>, Vec<&Row>) = gone.partition(is_here);
        (skipped.vanished, skipped.elsewhere) = (here.len() as u64, elsewhere.len() as u64);
        Ok(Survey { migrations, skipped, warnings, notes, probed: None })
    }

    /// What each region's store is, by number; only the regions that entries use can matter.
    async fn identities(&self) -> Result<Vec<String>, SurveyError> {
        let mut used = BTreeSet::new();
        for entry in &self.plan.entries {
            used.insert(usize::from(entry.from.0));
            used.extend(entry.to.iter().map(|target| usize::from(target.0)));
        }
        let mut identities = vec![String::new(); self.plan.regions.len()];
        for index in used {
            identities[index] = self.regions.identity(index).await.map_err(SurveyError::Region)?;
        }
        self.check_overlaps().await?;
        Ok(identities)
    }

    /// Refuses to write into a source: two regions may be one place, or one inside the other, by other names.
    async fn check_overlaps(&self) -> Result<(), SurveyError> {
        let mut checked = BTreeSet::new();
        for entry in &self.plan.entries {
            for to in entry.to.iter().filter(|to| checked.insert((entry.from, **to))) {
                let from = self.regions.target(usize::from(entry.from.0), Access::Look).await;
                let to_store = self.regions.target(usize::from(to.0), Access::Look).await;
                if let (Ok(from_store), Ok(to_store)) = (from, to_store)
                    && from_store.overlaps(&to_store)
                {
                    let (from, to) = (&self.plan.region(entry.from).name, &self.plan.region(*to).name);
                    let message = format!(
                        "regions `{from}` and `{to}` are one place, or one lies inside the other: {} and {}",
                        from_store.identity(),
                        to_store.identity()
                    );
                    let problem = Problem::error(entry.place, message);
                    let hint = "a copy in its own source protects nothing, and nothing is written into a source";
                    return Err(SurveyError::Plan(vec![problem.hint(hint)]));
                }
            }
        }
        Ok(())
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
            let sources = match &entry.subject {
                Subject::Select(select) => self.selected(entry, select, stores, catalogs, skipped).await?,
                _ => wanted::named(entry).into_iter().collect(),
            };
            for source in &sources {
                for wanted in wanted::of_entry(entry, source, stores) {
                    if let Err(disagreement) = list.add(wanted) {
                        problems.push(chain::disagreement(&disagreement));
                    }
                }
            }
        }
        if problems.is_empty() { Ok(list) } else { Err(SurveyError::Plan(problems)) }
    }

    /// What a select takes now; where its catalog cannot be asked, what it took before.
    async fn selected(
        &self,
        entry: &Entry,
        select: &Select,
        stores: &[String],
        catalogs: &mut Catalogs<'_>,
        skipped: &mut Skipped,
    ) -> Result<Vec<Source>, SurveyError> {
        let region = usize::from(entry.from.0);
        let ledger = match catalogs.ledger(region, Role::Source).await {
            Ok(ledger) => ledger,
            Err(failure) => {
                let rows = self.planned.iter().filter_map(|id| self.rows.get(id));
                let before = rows.filter(|row| row.source_store == stores[region]);
                let ids: BTreeSet<String> = before.filter_map(|row| row.source_id.clone()).collect();
                let open = ids.iter().any(|id| {
                    let target = |target: &RegionIndex| target_id(&stores[region], id, &stores[usize::from(target.0)]);
                    entry.to.iter().any(|to| !self.is_completed(target(to)))
                });
                // With everything done before, nobody would be told that the select was not asked.
                return if open {
                    Ok(ids.into_iter().map(Source::Id).collect())
                } else {
                    Err(SurveyError::Catalog(failure))
                };
            }
        };
        let answer = wanted::select(select, ledger, self.now);
        skipped.excepted += answer.excepted;
        skipped.failed += answer.failed;
        skipped.deferred += answer.deferred;
        Ok(answer.records.iter().map(|record| Source::Id(record.id.to_string())).collect())
    }

    /// Whether a row and every row above it are `COMPLETED`; a parent without a row was registered by others.
    fn is_whole(&self, id: Uuid) -> bool {
        let mut at = Some(id);
        let mut steps = 0;
        while let Some(row) = at.and_then(|id| self.rows.get(&id)) {
            steps += 1;
            // Rows that somebody changed by hand into a circle are not whole.
            if row.state != State::Completed || steps > self.rows.len() {
                return false;
            }
            at = row.parent_id;
        }
        steps > 0
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
