//! What the README says of evacuating a Trove region is done as it says, against two real regions: its plan, its steps,
//! and every line of the checklist before a region is switched off, with the exit code that stands beside it.

mod support;

#[path = "support/openstack.rs"]
mod openstack;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use openstack::{ONE, OpenStack, TWO};
use support::{BACKHAUL, Output};

const README: &str = include_str!("../README.md");

/// The text of a section, up to the next heading of its kind.
#[track_caller]
fn section(heading: &str) -> &'static str {
    let start = README.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the README has no `{heading}`"));
    let text = &README[start + heading.len() + 2..];
    let level = heading.split(' ').next().expect("a heading");
    text.find(&format!("\n{level} ")).map_or(text, |end| &text[..end])
}

/// The first block of YAML of a section.
#[track_caller]
fn plan(section: &str) -> &str {
    let (_, rest) = section.split_once("```yaml\n").expect("a plan");
    rest.split_once("```").expect("its end").0
}

/// Commands and their exit codes, of a table.
fn checklist(section: &str) -> Vec<(String, i32)> {
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let command = cells.next()?.strip_prefix('`')?.strip_suffix('`')?.strip_prefix("backhaul ")?;
        Some((command.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("kept to its owner");
}

fn cloud(openstack: &OpenStack, region: &str, project: &str) -> String {
    let auth_url = openstack.auth_url();
    format!(
        "  {region}:\n    region_name: {region}\n    auth: {{ auth_url: \"{auth_url}\", username: mover, password: mover-pw, \
         project_name: {project}, user_domain_id: default, project_domain_id: default }}\n"
    )
}

#[test]
fn a_region_is_evacuated_as_the_readme_says_and_every_line_of_the_checklist_is_true() {
    let Some(openstack) = OpenStack::start("the README's evacuation", &[]) else { return };
    openstack.add_tenants(&["sales", "stock"]);
    openstack.seed(&["sales/small", "stock/small"]);
    let folder = tempfile::tempdir().expect("a folder");
    let evacuation = section("## Evacuating a Trove region");
    write(&folder.path().join("evacuation.yaml"), plan(evacuation));
    let clouds = [ONE, TWO].map(|region| cloud(&openstack, region, "sales")).concat();
    write(&folder.path().join("clouds.yaml"), &format!("clouds:\n{clouds}"));
    let backhaul = |words: &str| {
        let mut command = Command::new(BACKHAUL);
        command.args(words.split(' ')).current_dir(folder.path()).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", folder.path()).env_remove("OS_CLOUD");
        command.env("REGION_ONE_TROVE_DB", openstack.database_url(ONE, "source"));
        command.env("REGION_TWO_TROVE_DB", openstack.database_url(TWO, "target"));
        Output::of(command.output().expect("it starts"))
    };
    for step in ["plan evacuation.yaml", "run --limit 1 evacuation.yaml", "run evacuation.yaml"] {
        assert!(evacuation.contains(&format!("`backhaul {step}`")), "the README does not say `backhaul {step}`");
        backhaul(step).expect(0);
    }
    let checklist = checklist(section("### Before you switch region one off"));
    assert!(checklist.len() >= 5, "{checklist:?}");
    for (command, code) in checklist {
        backhaul(&command).expect(code);
    }
    // What was made since is missed by the checklist, and taken by the delta.
    let seeds = openstack.seed(&["sales/small"]);
    let compare = "compare --from region-one --to region-two evacuation.yaml";
    let said = backhaul(compare).expect(3);
    assert!(said.stdout.contains("  planned ") && said.stdout.contains(": the next run copies it\n"), "{said}");
    // One of them by the blueprint's own command: its record is what Trove shows of it.
    let new = seeds.of("sales").into_iter().find(|backup| backup.expect == "ok" && backup.parent_id.is_none());
    let new = new.expect("a full backup");
    let copy = "backup-copy --regions evacuation.yaml --region region-one --to region-two";
    let said = backhaul(&format!("{copy} moved {} --description one -f json", new.id)).expect(0);
    let record: serde_json::Value = serde_json::from_str(&said.stdout).expect("one object");
    let shown = openstack.shown(TWO, "sales", record["id"].as_str().expect("an id"));
    for (ours, theirs) in [
        (&record["name"], &shown["name"]),
        (&record["description"], &shown["description"]),
        (&record["status"], &shown["status"]),
        (&record["locationRef"], &shown["locationRef"]),
        (&record["project_id"], &shown["project_id"]),
        (&record["instance_id"], &shown["instance_id"]),
    ] {
        assert_eq!(ours, theirs);
    }
    assert_eq!((record["name"].as_str(), record["status"].as_str()), (Some("moved"), Some("COMPLETED")));
    assert!(backhaul(&format!("{copy} moved {}", new.id)).expect(0).stdout.contains("| status "));
    let unknown = backhaul(&format!("{copy} moved 6f0d3c1e-58a7-4b0e-9a41-b1d27c5e8f36")).expect(3);
    assert!(unknown.stderr.contains("has no record with the id") && unknown.stdout.is_empty(), "{unknown}");
    // A plan of ids, of one tenant, that takes what is left of it.
    let sales = openstack.project("sales");
    let init = "init --regions evacuation.yaml --from region-one --to region-two";
    backhaul(&format!("{init} --tenant {sales} --name sales -o sales.yaml")).expect(0);
    backhaul("run sales.yaml").expect(0);
    backhaul(compare).expect(0);
}
