//! `backhaul compare`: reads both whole catalogs and says of every live backup of one region whether the other could restore
//! it now. The line to run before a region is switched off.

use std::collections::{BTreeMap, HashMap};

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{Outcome, open, print, print_json, surveyed};
use crate::catalog::{Ledger, Record, RecordState};
use crate::cli::{CompareArgs, Global};
use crate::comparison::{Comparison, Line, Standing, Tally};
use crate::database::{Database, OpenError, Row};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::id::target_id;
use crate::number::counted;
use crate::plan::{Plan, StoreSpec, SwiftAccount};
use crate::register::Registry;
use crate::report::printable;
use crate::state::State;
use crate::survey::{Coverage, Surveyor};

/// Copies looked at at a time.
const LOOKS: usize = 16;

/// Missing backups that are shown without -v.
const SHOWN: usize = 20;

pub(super) async fn compare(global: &Global, args: &CompareArgs) -> Outcome {
    let loaded = open::plan(global, &args.plan)?;
    let plan = &loaded.plan;
    let number = |name: &str| open::region(plan, name).map(|index| usize::from(index.0));
    let (from, to) = (number(&args.from)?, number(&args.to)?);
    if from == to {
        return Err(CommandError::new(Exit::Usage, "a region cannot be compared with itself"));
    }
    let regions = open::unlimited_regions(plan);
    open::warn_of_clouds(global, &regions, [from, to]).await;
    let (rows, planned) = rows(global, plan).await?;
    let surveyor = Surveyor {
        plan,
        regions: &regions,
        rows: &rows,
        planned: &planned,
        now: Timestamp::now(),
        look_at_targets: false,
    };
    let coverage = surveyor.coverage(from, to).await.map_err(|error| error.into_command_error(&loaded))?;
    let unreachable = |failure: Failure| CommandError::from((Exit::Unreachable, failure));
    let source = Registry::of_source(&regions, from).await.map_err(unreachable)?;
    let target = Registry::of_source(&regions, to).await.map_err(unreachable)?;
    let of_source = source.ledger(None).await.map_err(|error| unreachable(error.0))?;
    let of_target = target.ledger(None).await.map_err(|error| unreachable(error.0))?;
    let lines = lines(&coverage, &rows, &of_source, &target, &of_target).await;
    let comparison = Comparison::of(lines);
    let narrowed = [(from, of_source.narrowed(&args.from)), (to, of_target.narrowed(&args.to))];
    // Of backups that nobody saw nobody can say that they are there.
    let saw_all = narrowed.iter().all(|(region, narrowed)| narrowed.is_none() || is_one_account(plan, *region));
    let exit = if comparison.total.missing() == 0 && saw_all { Exit::Done } else { Exit::Failed };
    let mut notes: Vec<String> = narrowed.into_iter().filter_map(|(_, narrowed)| narrowed).collect();
    notes.extend(told_besides(&source, &of_source, &of_target, &args.to).await);
    if global.json {
        tell_json(args, &comparison, &notes, exit)?;
    } else {
        print(&text(global, args, &comparison, &notes))?;
    }
    Ok(exit)
}

/// Whether a region of the plan is the account of one project alone: its backups are all that it speaks of.
fn is_one_account(plan: &Plan, region: usize) -> bool {
    matches!(&plan.regions[region].store, StoreSpec::Swift(swift) if swift.account == SwiftAccount::Own)
}

/// What the database knows, if there is one: what is under way, and why something failed.
async fn rows(global: &Global, plan: &Plan) -> Result<(HashMap<Uuid, Row>, Vec<Uuid>), CommandError> {
    let url = open::database_url(global, plan)?;
    match Database::open_reading(&url).await {
        Ok(database) => {
            let known = surveyed::known_rows(&database, &plan.name).await;
            database.close().await;
            known
        }
        Err(OpenError::Absent { .. }) => Ok((HashMap::new(), Vec::new())),
        Err(error) => Err(open::open_error(&error)),
    }
}

/// Where every live backup of the source stands.
async fn lines(
    coverage: &Coverage,
    rows: &HashMap<Uuid, Row>,
    of_source: &Ledger,
    target: &Registry,
    of_target: &Ledger,
) -> Vec<Line> {
    let live = |record: &&Record| !matches!(record.state, RecordState::Deleted | RecordState::Failed);
    let records: Vec<&Record> = of_source.records().filter(live).collect();
    let positions: HashMap<Uuid, usize> =
        records.iter().enumerate().map(|(position, record)| (record.id, position)).collect();
    let mut looks = Vec::with_capacity(records.len());
    for record in &records {
        looks.push(standing(coverage, rows, record, target, of_target));
    }
    let standings: Vec<Standing> = stream::iter(looks).buffered(LOOKS).collect().await;
    let line = |(record, standing): (&&Record, Standing)| Line {
        id: record.id.to_string(),
        name: record.name.clone(),
        tenant: record.tenant_id.clone(),
        instance: record.instance_id.clone(),
        parent: record.parent_id.and_then(|parent| positions.get(&parent).copied()),
        standing,
    };
    records.iter().zip(standings).map(line).collect()
}

async fn standing(
    coverage: &Coverage,
    rows: &HashMap<Uuid, Row>,
    record: &Record,
    target: &Registry,
    of_target: &Ledger,
) -> Standing {
    let excepted = coverage.excepted.get(&record.id.to_string());
    let or_excepted = |standing: Standing| excepted.map_or(standing, |why| Standing::Excluded(why.clone()));
    if let Some(unusable) = &record.unusable {
        let is_snapshot = record.storage_driver.as_deref() == Some("cinder") || unusable.message.contains("Cinder");
        let why = unusable.message.clone();
        return or_excepted(if is_snapshot { Standing::NotMoved(why) } else { Standing::Failed(why) });
    }
    if !record.is_restorable() {
        return or_excepted(Standing::Unfinished(record.state.to_string()));
    }
    let [source_store, target_store] = &coverage.stores;
    let id = target_id(source_store, &record.id.to_string(), target_store);
    let copy = of_target.copy_of(id).filter(|copy| copy.is_restorable() && of_target.conflict(copy.id).is_none());
    if let Some(copy) = copy {
        return match target.look_at_record(of_target, copy).await {
            Ok(()) => Standing::Restorable,
            Err(failure) => or_excepted(Standing::Failed(failure.message)),
        };
    }
    let row = rows.get(&id);
    let standing = match row.map(|row| row.state) {
        Some(State::Completed) => Standing::Failed("it was registered, and its record is gone".to_owned()),
        Some(State::Failed) => {
            let why = row.and_then(|row| row.error.clone()).unwrap_or_else(|| "nobody wrote down why".to_owned());
            Standing::Failed(why)
        }
        Some(State::Building) => Standing::InFlight("it is being copied".to_owned()),
        Some(State::Saving) => Standing::InFlight("it is copied and not registered yet".to_owned()),
        Some(State::New) => Standing::Planned,
        None if coverage.wanted.contains(&id) => Standing::Planned,
        None => Standing::NeverPlanned,
    };
    or_excepted(standing)
}

/// What Backhaul does not move, and what in the target still names the source.
async fn told_besides(source: &Registry, of_source: &Ledger, of_target: &Ledger, to: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(trove) = source.trove() {
        notes.extend(trove.not_moved().await);
    }
    let host = |record: &Record| {
        record
            .location_url
            .as_deref()
            .and_then(|url| crate::catalog::trove::Location::parse(url).ok())
            .map(|url| url.host)
    };
    let of_source: std::collections::BTreeSet<String> = of_source.records().filter_map(host).collect();
    let naming = of_target.records().filter(|record| record.is_restorable());
    let naming: Vec<&Record> =
        naming.filter(|record| host(record).is_some_and(|host| of_source.contains(&host))).collect();
    if let Some(first) = naming.first() {
        let hosts: std::collections::BTreeSet<String> = naming.iter().filter_map(|record| host(record)).collect();
        notes.push(format!(
            "{} in the Trove of region `{to}` {} a Swift of the source region ({}), first `{}` ({}): Trove reads its own Swift \
             instead, and fails where that has no such object",
            counted(naming.len() as u64, "row"),
            if naming.len() == 1 { "names" } else { "name" },
            hosts.into_iter().collect::<Vec<_>>().join(", "),
            first.name,
            first.id
        ));
    }
    notes
}

fn text(global: &Global, args: &CompareArgs, comparison: &Comparison, notes: &[String]) -> String {
    let Comparison { lines, total, groups } = comparison;
    let mut text = format!(
        "{} live backups in region `{}`: {} restorable in region `{}`, {} missing\n",
        total.live,
        printable(&args.from),
        total.restorable,
        printable(&args.to),
        total.missing()
    );
    if !global.quiet {
        text += &by_group(groups);
    }
    let missing: Vec<&Line> = lines.iter().filter(|line| told(&line.standing).is_some()).collect();
    let shown = if global.verbose > 0 { missing.len() } else { SHOWN };
    for line in missing.iter().take(shown) {
        let (what, why) = told(&line.standing).unwrap_or_default();
        text += &format!("{what}: `{}` ({}){}\n", printable(&line.name), line.id, because(why));
    }
    if missing.len() > shown {
        text += &format!("… and {} more, shown with -v\n", missing.len() - shown);
    }
    for note in notes {
        text += &format!("note: {}\n", printable(note));
    }
    text
}

fn by_group(groups: &BTreeMap<(String, String), Tally>) -> String {
    let mut text = String::new();
    for ((tenant, instance), tally) in groups {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { printable(text).into_owned() };
        text += &format!(
            "  tenant {}  instance {}  live {}  restorable {}",
            or_none(tenant),
            or_none(instance),
            tally.live,
            tally.restorable
        );
        let others = [
            (tally.planned, "planned"),
            (tally.in_flight, "in flight"),
            (tally.failed, "failed"),
            (tally.never_planned, "never planned"),
            (tally.unfinished, "not finished"),
            (tally.not_moved, "not moved"),
            (tally.excluded, "excluded"),
        ];
        for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
            text += &format!("  {what} {count}");
        }
        text.push('\n');
    }
    text
}

/// What is told of a backup that is not restorable, in a word and with its reason.
fn told(standing: &Standing) -> Option<(&'static str, &str)> {
    match standing {
        Standing::Restorable => None,
        Standing::Planned => Some(("planned", "the next run copies it")),
        Standing::InFlight(why) => Some(("in flight", why)),
        Standing::Failed(why) => Some(("failed", why)),
        Standing::Excluded(why) => Some(("excluded", why)),
        Standing::NeverPlanned => Some(("never planned", "")),
        Standing::Unfinished(why) => Some(("not finished", why)),
        Standing::NotMoved(why) => Some(("not moved", why)),
    }
}

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {}", printable(why)) }
}

fn tell_json(args: &CompareArgs, comparison: &Comparison, notes: &[String], exit: Exit) -> Result<(), CommandError> {
    for line in &comparison.lines {
        let mut value = serde_json::to_value(line).expect("texts serialize");
        value["type"] = json!("compared");
        print_json(&value)?;
    }
    let groups: Vec<_> = comparison
        .groups
        .iter()
        .map(|((tenant, instance), tally)| json!({"tenant": tenant, "instance": instance, "tally": tally}))
        .collect();
    print_json(&json!({
        "type": "comparison", "version": 1, "from": args.from, "to": args.to, "total": comparison.total,
        "missing": comparison.total.missing(), "groups": groups, "notes": notes, "exit_code": exit as u8,
    }))
}
