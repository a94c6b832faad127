//! `backhaul graph`: draws the steps of a plan and what they wait for.

use serde_json::json;

use super::{Outcome, dry_run, open, print, print_json};
use crate::cli::{Global, GraphArgs, GraphFormat};
use crate::exit::Exit;

pub(super) async fn graph(global: &Global, args: &GraphArgs) -> Outcome {
    let loaded = open::plan(global, &args.plan)?;
    open::check_references(&loaded.plan)?;
    let (survey, _) = dry_run::look(global, &loaded, &open::unlimited_regions(&loaded.plan), false).await?;
    let graph = survey.graph();
    let text = match args.format {
        GraphFormat::Text => graph.to_text(),
        GraphFormat::Dot => graph.to_dot(),
        GraphFormat::Mermaid => graph.to_mermaid(),
    };
    if global.json {
        print_json(
            &json!({"type": "graph", "version": 1, "format": format!("{:?}", args.format).to_lowercase(), "text": text}),
        )?;
    } else {
        print(&text)?;
    }
    Ok(Exit::Done)
}
