//! `backhaul status`: what the database says. Works while a run is going on, and with every region gone.

use jiff::Timestamp;
use serde_json::json;

use super::{Outcome, open, print, print_json, recorded};
use crate::cli::{Global, StatusArgs};
use crate::database::{Database, DatabaseUrl, Run};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::report::{progress_text, summary_text};
use crate::summary::{Ended, Summary};

pub(super) async fn status(global: &Global, args: &StatusArgs) -> Outcome {
    if let Some(path) = &args.plan {
        let loaded = open::plan(global, path)?;
        let url = open::database_url(global, &loaded.plan)?;
        let database = global.database.iter().map(|url| format!("--database {} ", open::quoted(url)));
        let again = format!("backhaul {}run {}", database.collect::<String>(), open::quoted(&path.to_string_lossy()));
        of_database(global, &url, Some(&loaded.plan.name), &again).await?;
        return Ok(Exit::Done);
    }
    let urls = match open::database_url_without_plan(global)? {
        Some(url) => vec![url],
        None => DatabaseUrl::all_default().map_err(|error| {
            CommandError::new(Exit::Usage, error.to_string()).hint("name a plan, or a database with --database")
        })?,
    };
    if urls.is_empty() {
        super::say(global, "no plan has run yet with a default database; name a plan, or one with --database");
    }
    for url in urls {
        of_database(global, &url, None, "backhaul run PLAN").await?;
    }
    Ok(Exit::Done)
}

async fn of_database(global: &Global, url: &DatabaseUrl, plan: Option<&str>, again: &str) -> Result<(), CommandError> {
    let database = open::reading(url).await?;
    let shown = show(global, url, &database, plan, again).await;
    database.close().await;
    shown
}

async fn show(
    global: &Global,
    url: &DatabaseUrl,
    database: &Database,
    plan: Option<&str>,
    again: &str,
) -> Result<(), CommandError> {
    let plans = match plan {
        Some(plan) => vec![plan.to_owned()],
        None => database.plans().await.map_err(|error| open::database_error(&error))?,
    };
    for plan in plans {
        let standings = database.standings(&plan).await.map_err(|error| open::database_error(&error))?;
        let last = database.last_run(&plan).await.map_err(|error| open::database_error(&error))?;
        let graph = recorded::graph(&standings.rows);
        let keys = recorded::lacking_keys(database, &plan).await.map_err(|error| open::database_error(&error))?;
        let summary = recorded::summarise(&standings, &graph, &vec![true; standings.rows.len()], &keys);
        let writer = database.writer().await.map_err(|error| open::open_error(&error))?;
        if global.json {
            print_json(&status_json(url, &plan, last.as_ref(), writer.as_deref(), &summary))?;
        } else {
            print(&status_text(url, &plan, last.as_ref(), writer.as_deref(), &summary, again))?;
        }
    }
    Ok(())
}

fn status_json(
    url: &DatabaseUrl,
    plan: &str,
    last: Option<&Run>,
    writer: Option<&str>,
    summary: &Summary,
) -> serde_json::Value {
    let run = last.map(|run| {
        json!({
            "id": run.id, "host": run.host, "pid": run.pid, "started": time(run.started_ms),
            "ended": run.ended_ms.map(time), "exit_code": run.exit_code,
        })
    });
    json!({"type": "status", "version": 1, "plan": plan, "database": url.to_string(), "last_run": run, "writing_now": writer, "summary": summary})
}

fn status_text(
    url: &DatabaseUrl,
    plan: &str,
    last: Option<&Run>,
    writer: Option<&str>,
    summary: &Summary,
    again: &str,
) -> String {
    let last = match (writer, last) {
        (Some(writer), _) => format!("{writer} is writing this database now"),
        (None, None) => "never run".to_owned(),
        (None, Some(Run { ended_ms: Some(ended), exit_code: Some(code), .. })) => {
            format!("last run ended {} with exit code {code}", time(*ended))
        }
        (None, Some(run)) => {
            let began = time(run.started_ms);
            format!("the last run began {began} on {}, pid {}, and was killed", run.host, run.pid)
        }
    };
    let ended = Ended { stopped: true, started: true, ..Ended::default() };
    let text = match writer {
        // What is left is being worked on: nothing has stopped.
        Some(_) => progress_text(summary),
        None => summary_text(summary, summary.exit(ended), None, again),
    };
    format!("plan `{plan}` in {url}\n{last}\n{text}")
}

fn time(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| ms.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}
