//! A token that Trove does not show the backups of all projects.

use serde_json::json;

use crate::bed::{BACKUPS, Bed, by_api};

const ALONE: &str = "shows the backups of project `alpha` alone: those of all projects take the role `admin`";

fn bed() -> Bed {
    let bed = Bed::new();
    for (id, project) in BACKUPS {
        bed.backup("one", id, project);
    }
    bed.plan(&[&by_api("one"), &by_api("two")], &["select: { from: one }\n    to: [two]"]);
    bed
}

#[test]
fn backups_that_were_not_shown_are_not_said_to_be_there() {
    let bed = Bed::new();
    bed.plan(&[&by_api("one"), &by_api("two")], &["select: { from: one }\n    to: [two]"]);
    let compare = || bed.backhaul(&["compare", "plan.yaml", "--from", "one", "--to", "two"]);
    let said = compare().expect(0);
    assert!(said.stdout.contains("0 live backups") && !said.stdout.contains("alone"), "{said}");

    for region in ["one", "two"] {
        bed.hide_others(region);
        let said = compare().expect(3);
        assert!(said.stdout.contains(&format!("note: Trove in region `{region}` {ALONE}")), "{said}");
        bed.cloud.region(region).to_all_projects = None;
    }
}

#[test]
fn of_an_account_of_its_own_a_project_is_shown_all() {
    let bed = bed();
    let own = |name: &str| by_api(name).replace("per-tenant, access: each-project", "own, container: copies");
    bed.plan(&[&own("one"), &own("two")], &["select: { from: one }\n    to: [two]"]);
    for region in ["one", "two"] {
        bed.hide_others(region);
    }
    let compare = || bed.backhaul(&["compare", "plan.yaml", "--from", "one", "--to", "two"]);
    compare().expect(3);
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    let said = compare().expect(0);
    assert!(said.stdout.contains("1 live backups in region `one`: 1 restorable in region `two`, 0 missing"), "{said}");
    assert!(said.stdout.contains(&format!("note: Trove in region `two` {ALONE}")), "{said}");
}

#[test]
fn whoever_takes_what_was_shown_is_told_that_there_may_be_more() {
    let bed = bed();
    bed.hide_others("one");
    let said = bed.backhaul(&["plan", "plan.yaml"]);
    assert!(said.stdout.contains(&format!("note: Trove in region `one` {ALONE}")), "{said}");
    let said = bed.backhaul(&["run", "plan.yaml"]);
    assert!(said.stderr.contains(&format!("note: Trove in region `one` {ALONE}")), "{said}");
    let init = ["init", "--regions", "plan.yaml", "--from", "one", "--to", "two"];
    let said = bed.backhaul(&init).expect(0);
    assert!(said.stderr.contains(&format!("warning: Trove in region `one` {ALONE}")), "{said}");
    assert!(said.stdout.contains(BACKUPS[0].0) && !said.stdout.contains(BACKUPS[1].0), "{said}");
}

#[test]
fn an_answer_that_is_none_of_troves_says_nothing_about_what_a_token_may_see() {
    let bed = bed();
    bed.cloud.region("one").to_all_projects = Some((200, json!({ "backups": [{ "id": 7 }] })));
    let said = bed.backhaul(&["compare", "plan.yaml", "--from", "one", "--to", "two"]).expect(6);
    assert!(said.stderr.contains("cannot list the backups of all projects"), "{said}");
}
