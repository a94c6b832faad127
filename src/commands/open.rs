//! What commands need before they can start: the plan, its database, its regions.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use crate::cli::{Global, LimitArgs};
use crate::database::{Database, DatabaseError, DatabaseUrl, Holder, OpenError, UrlError};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::lease::Terms;
use crate::plan::{self, Loaded, Plan, Reference, RegionIndex, Timetable};
use crate::regions::{Regions, process_environment};
use crate::report::{Style, printable};
use crate::throttle::Throttle;

use super::complain;

/// Reads a plan; its warnings are shown.
pub(super) fn plan(global: &Global, path: &Path) -> Result<Loaded, CommandError> {
    match plan::read(path) {
        Ok(loaded) => {
            warn(global, &loaded, path);
            Ok(loaded)
        }
        Err(refused) => {
            complain(&refused.render(colour()));
            let count = refused.problems.len() + refused.omitted;
            let problems = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
            Err(CommandError::new(Exit::Usage, format!("{} has {problems}; nothing was touched", shown(path))))
        }
    }
}

/// Reads a plan, or a file of regions alone; its warnings are shown.
pub(super) fn regions_file(global: &Global, path: &Path) -> Result<Loaded, CommandError> {
    match plan::read_regions(path) {
        Ok(loaded) => {
            warn(global, &loaded, path);
            Ok(loaded)
        }
        Err(refused) => {
            complain(&refused.render(colour()));
            Err(CommandError::new(Exit::Usage, format!("{} says no regions; nothing was touched", shown(path))))
        }
    }
}

/// A path within a line of ours, which nothing in its name may end.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}

fn warn(global: &Global, loaded: &Loaded, path: &Path) {
    if !global.quiet && !loaded.warnings.is_empty() {
        complain(plan::render(&loaded.warnings, &loaded.source, path, colour()).trim_end());
    }
}

/// The region that somebody names on the command line.
pub(super) fn region(plan: &Plan, name: &str) -> Result<RegionIndex, CommandError> {
    let position = plan.regions.iter().position(|region| *region.name == *name);
    let index = position.and_then(|position| u16::try_from(position).ok()).map(RegionIndex);
    index.ok_or_else(|| {
        let message = format!("there is no region `{}`", name.escape_debug());
        CommandError::new(Exit::Usage, message).hint(format!("the regions are: {}", region_names(plan)))
    })
}

/// All regions of a plan, for a hint.
pub(super) fn region_names(plan: &Plan) -> String {
    plan.regions.iter().map(|region| format!("`{}`", region.name)).collect::<Vec<_>>().join(", ")
}

/// Puts the limits of the command line in place of the plan's.
pub(super) fn apply_limits(plan: &mut Plan, args: &LimitArgs) {
    if let Some(concurrency) = args.concurrency {
        plan.limits.concurrency = concurrency;
    }
    if let Some(ceiling) = args.bandwidth {
        plan.limits.bandwidth = Timetable { default: ceiling.0, windows: Vec::new() };
    }
    if let Some(memory) = args.memory {
        plan.limits.memory = memory;
    }
}

/// The database of a plan: the flag decides; else the environment or the plan, which must agree; else the default.
pub(super) fn database_url(global: &Global, plan: &Plan) -> Result<DatabaseUrl, CommandError> {
    if let Some(flag) = &global.database {
        return flag_url(flag);
    }
    let from_environment = match std::env::var("BACKHAUL_DATABASE_URL") {
        Ok(text) if !text.is_empty() => Some(parse_url(&text, "BACKHAUL_DATABASE_URL")?),
        _ => None,
    };
    let from_plan = match &plan.database {
        Some(reference) => {
            let text = reference.expand(&*process_environment()).map_err(|missing| {
                let name = missing.name.clone();
                CommandError::new(Exit::Usage, "the plan's `database` cannot be resolved")
                    .caused_by(missing)
                    .hint(format!("set it, `export {name}=…`, or name a database with --database"))
            })?;
            Some(parse_url(&text, "the plan's `database`")?.starting_at(&plan.folder))
        }
        None => None,
    };
    match (from_environment, from_plan) {
        (Some(environment), Some(of_plan)) if environment.to_string() != of_plan.to_string() => Err(CommandError::new(
            Exit::Usage,
            format!("BACKHAUL_DATABASE_URL names {environment}, and the plan names {of_plan}"),
        )
        .hint("say which one with --database, or unset BACKHAUL_DATABASE_URL")),
        (Some(url), _) | (None, Some(url)) => Ok(url),
        (None, None) => DatabaseUrl::for_plan(&plan.name)
            .map_err(|error| CommandError::new(Exit::Usage, error.to_string()).hint("name one with --database")),
    }
}

/// The database of a command without a plan.
pub(super) fn database_url_without_plan(global: &Global) -> Result<Option<DatabaseUrl>, CommandError> {
    if let Some(flag) = &global.database {
        return flag_url(flag).map(Some);
    }
    match std::env::var("BACKHAUL_DATABASE_URL") {
        Ok(text) if !text.is_empty() => parse_url(&text, "BACKHAUL_DATABASE_URL").map(Some),
        _ => Ok(None),
    }
}

fn flag_url(text: &str) -> Result<DatabaseUrl, CommandError> {
    DatabaseUrl::parse_public(text).map_err(|error| {
        let is_password = error == UrlError::Password;
        let refused = no_database("--database", error);
        if is_password {
            refused.hint("export BACKHAUL_DATABASE_URL=…, or name it in the plan by ${…}")
        } else {
            refused
        }
    })
}

fn parse_url(text: &str, from: &str) -> Result<DatabaseUrl, CommandError> {
    DatabaseUrl::parse(text).map_err(|error| no_database(from, error))
}

fn no_database(from: &str, error: UrlError) -> CommandError {
    CommandError::new(Exit::Usage, format!("{from} is no database that can be used")).caused_by(error)
}

/// Opens a database as its one writing command.
pub(super) async fn writing(
    global: &Global,
    url: &DatabaseUrl,
    command: &str,
    plan: Option<&str>,
    wait: bool,
) -> Result<Database, CommandError> {
    let holder = Holder::this_process(command, plan);
    Database::open_writing(url, &holder, terms(global)?, wait).await.map_err(|error| open_error(&error))
}

/// How long leases are to be.
pub(super) fn terms(global: &Global) -> Result<Terms, CommandError> {
    Terms::new(global.lease, global.heartbeat)
        .map_err(|error| CommandError::new(Exit::Usage, format!("--lease and --heartbeat do not fit: {error}")))
}

/// Opens a database for looking only.
pub(super) async fn reading(url: &DatabaseUrl) -> Result<Database, CommandError> {
    Database::open_reading(url).await.map_err(|error| open_error(&error))
}

/// An error of opening, with its exit code.
pub(super) fn open_error(error: &OpenError) -> CommandError {
    let exit = match error {
        OpenError::Held { .. } => Exit::Held,
        OpenError::NoJoining { .. } | OpenError::PlanChanged { .. } => Exit::Usage,
        _ => Exit::Unreachable,
    };
    let mut shown = CommandError::new(exit, error.to_string());
    shown.hint = error.hint().map(ToOwned::to_owned);
    if let Some(source) = std::error::Error::source(error) {
        shown = shown.caused_by(source);
    }
    shown
}

/// An error of a database that was open.
pub(super) fn database_error(error: &DatabaseError) -> CommandError {
    // Rows of another version, and writes that no row may make, are not a matter of reach.
    let out_of_reach = error.is_unreachable() || matches!(error, DatabaseError::NoSpace { .. });
    let exit = if out_of_reach { Exit::Unreachable } else { Exit::Internal };
    let mut shown = CommandError::new(exit, error.to_string());
    shown.hint = error.hint().map(ToOwned::to_owned);
    if let Some(source) = std::error::Error::source(error) {
        shown = shown.caused_by(source);
    }
    shown
}

/// This very command as one would type it again.
pub(super) fn this_command() -> String {
    let words = std::env::args().skip(1).map(|word| quoted(&word));
    std::iter::once("backhaul".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it for one word.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The regions of a plan, with what holds each back.
pub(super) fn regions(plan: &Plan, throttles: Vec<Throttle>) -> Arc<Regions> {
    Arc::new(Regions::new(&plan.folder, process_environment(), plan.regions.clone(), throttles))
}

/// The regions of a plan without any limits.
pub(super) fn unlimited_regions(plan: &Plan) -> Arc<Regions> {
    let throttles = plan.regions.iter().map(|_| Throttle::unlimited()).collect();
    regions(plan, throttles)
}

/// Warns of clouds whose certificates nobody checks: in every command that asks them.
pub(super) async fn warn_of_clouds(global: &Global, regions: &Regions, used: impl IntoIterator<Item = usize>) {
    for index in used {
        for cloud in regions.unchecked_clouds(index).await {
            let (region, name, origin) = (&regions.specs()[index].name, &cloud.name, &cloud.origin);
            super::say(
                global,
                &format!(
                    "warning: the certificates of cloud `{name}`, region `{region}`, are not checked: whoever is on the way \
                     could read passwords and backups\n\
                     hint: name its certificate authority as `cacert` in {origin}, and remove `verify: false` or \
                     `insecure: true` there"
                ),
            );
        }
    }
}

/// Refuses a plan whose entries use regions with references that are not set.
pub(super) fn check_references(plan: &Plan) -> Result<(), CommandError> {
    let mut missing = BTreeSet::new();
    for region in used_regions(plan).into_iter().map(|index| &plan.regions[index]) {
        let references = region.store.references().into_iter().chain(region.catalog.references());
        let variables = references.flat_map(Reference::variables);
        let unset = variables.filter(|name| std::env::var_os(name).is_none());
        missing.extend(unset.map(|name| (name.to_owned(), region.name.to_string())));
    }
    let Some((name, region)) = missing.first() else { return Ok(()) };
    let message = format!("region `{region}` refers to ${{{name}}}, which is not set; nothing was touched");
    let all: Vec<String> = missing.iter().map(|(name, _)| format!("{name}=…")).collect();
    Err(CommandError::new(Exit::Usage, message).hint(format!("export {}", all.join(" "))))
}

/// The numbers of the regions that a plan's entries name.
pub(super) fn used_regions(plan: &Plan) -> BTreeSet<usize> {
    let named = plan.entries.iter().flat_map(|entry| std::iter::once(&entry.from).chain(entry.to.iter()));
    named.map(|index| usize::from(index.0)).collect()
}

/// What reporters may show, and how.
pub(super) fn style(global: &Global) -> Style {
    let terminal = std::io::stderr().is_terminal();
    Style { json: global.json, quiet: global.quiet, verbose: global.verbose, terminal, colour: colour() }
}

fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
