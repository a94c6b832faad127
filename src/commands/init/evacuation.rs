//! `init --regions`: a plan that takes what lives in one named region, or the backups of some of its tenants, to others.

use std::collections::BTreeSet;
use std::path::Path;

use super::{of_records, tell, unreachable};
use crate::catalog::{Ledger, RecordState};
use crate::cli::{Global, InitArgs};
use crate::commands::{Outcome, complain, open};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::plan::{Plan, Written};
use crate::regions::process_environment;
use crate::register::Registry;

pub(super) async fn init(global: &Global, args: &InitArgs, file: &Path) -> Outcome {
    let mut plan = open::regions_file(global, file)?.plan;
    let named =
        |plan: &Plan, name: &Path| open::region(plan, &name.to_string_lossy()).map(|index| usize::from(index.0));
    let from = named(&plan, &args.from)?;
    let mut to = Vec::with_capacity(args.to.len());
    for target in &args.to {
        to.push(plan.regions[named(&plan, target)?].name.to_string());
    }
    let regions = open::unlimited_regions(&plan);
    open::warn_of_clouds(global, &regions, [from]).await;
    let out_of_reach = |failure: crate::failure::Failure| unreachable(&args.from, failure.message, failure.hint);
    let registry = Registry::of_source(&regions, from).await.map_err(out_of_reach)?;
    let tenants: BTreeSet<String> = args.tenant.iter().cloned().collect();
    let ledger = registry.ledger(Some(&tenants).filter(|tenants| !tenants.is_empty())).await;
    let ledger = ledger.map_err(|error| out_of_reach(error.0))?;
    let left_out = left_out(&ledger);
    for (name, why) in &left_out {
        complain(&format!("warning: left out: `{name}`: {why}"));
    }
    let region = plan.regions[from].name.to_string();
    if let Some(narrowed) = ledger.narrowed(&region) {
        complain(&format!("warning: {narrowed}"));
    }
    let backups = of_records(&ledger, &region, &to);
    if backups.is_empty() {
        return Err(CommandError::new(Exit::Failed, format!("there is nothing to copy in region `{region}`")));
    }
    plan.name.clone_from(&args.name);
    plan.entries.clear();
    plan.default_to.clear();
    let written = Written::of(&plan)
        .starting_at(&plan.folder, &*process_environment())
        .map_err(|error| CommandError::new(Exit::Usage, "these regions give no valid plan").caused_by(error))?;
    tell(global, args, &Written { backups, ..written }, &left_out, "records")
}

/// Live backups that cannot be copied, and why.
fn left_out(ledger: &Ledger) -> Vec<(String, String)> {
    let mut left_out = Vec::new();
    for record in ledger.records() {
        let why = match (&record.state, &record.unusable) {
            (RecordState::Completed | RecordState::Restored, Some(unusable)) => unusable.message.clone(),
            (RecordState::Failed, _) => {
                let why = record.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                format!("its record says FAILED{why}")
            }
            (RecordState::Running(word), _) => format!("it is not finished yet, its record says {word}"),
            (RecordState::Completed | RecordState::Restored | RecordState::Deleted, _) => continue,
        };
        left_out.push((format!("{} ({})", record.name.escape_debug(), record.id), why.escape_debug().to_string()));
    }
    left_out
}
