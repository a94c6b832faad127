//! `backhaul check`: validates a plan and the tenant maps that it names; touches no store and no database.

use jiff::Timestamp;
use serde_json::json;

use super::{Outcome, complain, open, print, print_json};
use crate::cli::{Global, PlanArgs};
use crate::exit::Exit;
use crate::failure::Cause;
use crate::plan::{self, Plan, Subject};

/// Times of the cron line that are shown.
const TIMES: usize = 5;

pub(super) async fn check(global: &Global, args: &PlanArgs) -> Outcome {
    let loaded = open::plan(global, &args.plan)?;
    let unset = plan::unset_variables(&loaded.plan, &|name| std::env::var(name).ok());
    if !global.quiet && !unset.is_empty() {
        complain(plan::render(&unset, &loaded.source, &args.plan, false).trim_end());
    }
    let regions = open::unlimited_regions(&loaded.plan);
    for index in 0..loaded.plan.regions.len() {
        match regions.tenants(index).await {
            Err(failure) if failure.cause == Cause::TenantUnknown => return Err((Exit::Usage, failure).into()),
            // A variable that is not set was warned of.
            _ => {}
        }
    }
    let counts = Counts::of(&loaded.plan);
    let times = plan::next_times(&loaded.plan.schedule, Timestamp::now(), TIMES);
    if global.json {
        print_json(&json!({
            "type": "plan", "version": 1, "name": loaded.plan.name, "sha256": loaded.sha256,
            "regions": loaded.plan.regions.len(), "backups": counts.named, "selects": counts.selects,
            "copies": counts.copies, "warnings": loaded.warnings.len() + unset.len(),
            "next_runs": times.iter().map(|next| json!({"at": next.at.to_string(), "note": next.note})).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Done);
    }
    if global.quiet {
        return Ok(Exit::Done);
    }
    let mut text = format!("plan `{}` is valid: {}\n", loaded.plan.name, counts.in_words(loaded.plan.regions.len()));
    if let Some(cron) = &loaded.plan.schedule.cron {
        let zone = loaded.plan.schedule.time_zone.as_deref().unwrap_or("UTC");
        text.push_str(&format!("next runs by `{cron}` in {zone}:\n"));
        for next in &times {
            let note = next.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
            text.push_str(&format!("  {}{note}\n", next.at.strftime("%Y-%m-%d %H:%M %:z")));
        }
    }
    print(&text)?;
    Ok(Exit::Done)
}

/// What a plan names, without asking anybody.
struct Counts {
    named: usize,
    selects: usize,
    copies: usize,
}

impl Counts {
    fn of(plan: &Plan) -> Self {
        let selects = plan.entries.iter().filter(|entry| matches!(entry.subject, Subject::Select(_))).count();
        let named = plan.entries.iter().filter(|entry| !matches!(entry.subject, Subject::Select(_)));
        let copies = named.map(|entry| entry.to.len()).sum();
        Self { named: plan.entries.len() - selects, selects, copies }
    }

    fn in_words(&self, regions: usize) -> String {
        let count = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let mut parts = vec![count(regions, "region")];
        if self.named > 0 {
            parts.push(format!(
                "{} in {}",
                count(self.named, "backup"),
                if self.copies == 1 { "1 copy".into() } else { format!("{} copies", self.copies) }
            ));
        }
        if self.selects > 0 {
            parts.push(format!("{} to be asked at each run", count(self.selects, "select")));
        }
        parts.join(", ")
    }
}
