//! Objects that their store will delete by itself.

use backhaul::state::State;
use serde_json::Value;

use crate::bed::{BACKUPS, Bed, by_api};

/// Seconds since the epoch.
const THEN: &str = "4102444800";

/// A backup whose object goes by itself, if it `expires`.
fn bed(expires: bool, two: &str) -> Bed {
    let bed = Bed::new();
    let (id, project) = BACKUPS[0];
    bed.backup("one", id, project);
    if expires {
        bed.object_says("one", id, project, &[("x-delete-at", THEN.to_owned())]);
    }
    bed.plan(&[&by_api("one"), two], &[&format!("{{ id: {id}, from: one, to: [two] }}")]);
    bed
}

/// The lines of a dry run.
fn forecast(bed: &Bed) -> Vec<Value> {
    let said = bed.backhaul(&["plan", "--json", "plan.yaml"]);
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn what_goes_with_its_source_is_not_said_to_stay() {
    let of_copies = forecast(&bed(true, &by_api("two"))).pop().expect("totals")["notes"].to_string();
    assert!(of_copies.contains("copies do not expire") && !of_copies.contains("lost then"), "{of_copies}");

    let bed = bed(true, &by_api("two"));
    let both_in_one =
        by_api("two").replace("type: swift,", &format!("type: swift, endpoint: \"{}\",", bed.cloud.swift("one")));
    bed.plan(&[&by_api("one"), &both_in_one], &[&format!("{{ id: {}, from: one, to: [two] }}", BACKUPS[0].0)]);
    let of_shared = forecast(&bed).pop().expect("totals")["notes"].to_string();
    assert!(of_shared.contains("1 source will be deleted by the store itself"), "{of_shared}");
    assert!(of_shared.contains("is lost then") && !of_shared.contains("copies do not expire"), "{of_shared}");
}

#[test]
fn an_object_that_will_go_by_itself_is_not_taken_for_the_copy() {
    let bed = bed(false, &by_api("two"));
    let planned = &forecast(&bed)[0];
    let location = planned["location"].as_str().expect("it is known").to_owned();
    {
        let there = bed.cloud.region("one").objects.values().next().expect("the source").clone();
        let mut two = bed.cloud.region("two");
        two.containers.entry(location.rsplit_once('/').expect("a container").0.to_owned()).or_default();
        let headers = [("x-delete-at".to_owned(), THEN.to_owned())].into();
        two.objects.insert(location.clone(), crate::cloud::Object { headers, ..there });
    }
    let failure = forecast(&bed)[0]["failure"]["message"].to_string();
    assert!(failure.contains("will be deleted by its store itself at 2100-01-01T00:00:00Z"), "{failure}");
    let said = bed.backhaul(&["run", "plan.yaml"]).expect(3);
    assert!(said.stderr.contains("so it is not taken for the copy"), "{said}");
    assert_eq!(bed.rows()[0].state, State::Failed);

    // Whoever takes the expiry away has mended it.
    bed.cloud.region("two").objects.get_mut(&location).expect("it is left alone").headers.clear();
    bed.backhaul(&["run", "plan.yaml"]).expect(0);
    assert_eq!(bed.rows()[0].verified.as_deref(), Some("already there, read whole, sha256"));
}
