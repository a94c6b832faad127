//! The Job, the `CronJob` and what both need.

use backhaul::exit::Exit;
use serde::Deserialize as _;
use serde_yaml::Value;

use super::read;
use super::support::{BACKHAUL, Output};

fn documents(name: &str) -> Vec<Value> {
    let text = read(&format!("kubernetes/{name}"));
    let documents = serde_yaml::Deserializer::from_str(&text).map(|document| Value::deserialize(document).expect(name));
    documents.collect()
}

/// The one document of a kind.
#[track_caller]
fn document(name: &str, kind: &str) -> Value {
    let mut found = documents(name).into_iter().filter(|document| document["kind"] == kind);
    let document = found.next().unwrap_or_else(|| panic!("{name} has no {kind}"));
    assert!(found.next().is_none(), "{name} has a second {kind}");
    document
}

/// The Job, and the one that the `CronJob` makes.
fn jobs() -> [Value; 2] {
    let (job, cron) = (document("job.yaml", "Job"), document("cronjob.yaml", "CronJob"));
    assert_eq!((&job["apiVersion"], &cron["apiVersion"]), (&"batch/v1".into(), &"batch/v1".into()));
    [job["spec"].clone(), cron["spec"]["jobTemplate"]["spec"].clone()]
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("YAML")
}

#[test]
fn runners_are_parallel_and_exit_codes_mean_what_they_do() {
    let (again, other) = (Exit::Stopped as u8, Exit::Held as u8);
    let rules = format!(
        "- {{ action: FailJob, onExitCodes: {{ containerName: backhaul, operator: In, values: [{}] }} }}\n\
         - {{ action: Ignore, onExitCodes: {{ containerName: backhaul, operator: In, values: [{again}, {other}] }} }}\n\
         - {{ action: Ignore, onPodConditions: [{{ type: DisruptionTarget }}] }}\n",
        Exit::Usage as u8
    );
    for job in jobs() {
        assert!(job["parallelism"].as_u64() > Some(1), "one runner only");
        // With it, Kubernetes would want as many runs that end with 0.
        assert!(job.get("completions").is_none());
        assert_eq!(job["podFailurePolicy"]["rules"], yaml(&rules));
        // The one that goes together with a policy.
        assert_eq!(job["template"]["spec"]["restartPolicy"], "Never");
        let args = &job["template"]["spec"]["containers"][0]["args"];
        assert_eq!(*args, yaml("[run, --if-running, join, /etc/backhaul/plan.yaml]"));
    }
    let cron = document("cronjob.yaml", "CronJob");
    assert_eq!(cron["spec"]["concurrencyPolicy"], "Forbid");
    assert!(cron["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"].as_u64().is_some());
    let [job, cron] = jobs();
    assert_eq!(job["template"], cron["template"], "the two have other pods");
}

#[test]
fn pods_may_do_no_more_than_they_must() {
    let [job, _] = jobs();
    let pod = &job["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let all =
        yaml("{ runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: { type: RuntimeDefault } }");
    assert_eq!(pod["securityContext"], all);
    assert_eq!(pod["containers"].as_sequence().map(Vec::len), Some(1));
    let container = &pod["containers"][0];
    let own = yaml("{ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: [ALL] } }");
    assert_eq!(container["securityContext"], own);
    for (kind, what) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
        assert!(container["resources"][kind][what].is_string(), "no {kind} of {what}");
    }
    assert!(read("Dockerfile").contains("\nUSER 65532:65532\n"));
}

#[test]
fn the_plan_is_good_and_its_keys_come_from_the_secret() {
    let (map, secret) = (document("plan.yaml", "ConfigMap"), document("plan.yaml", "Secret"));
    let [job, _] = jobs();
    let pod = &job["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["volumes"][0]["configMap"]["name"], map["metadata"]["name"]);
    assert_eq!(container["volumeMounts"][0]["name"], pod["volumes"][0]["name"]);
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/etc/backhaul");
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], secret["metadata"]["name"]);
    assert!(container.get("env").is_none(), "a key beside the Secret");

    let plan = map["data"]["plan.yaml"].as_str().expect("a plan");
    let keys = secret["stringData"].as_mapping().expect("keys");
    let used = plan.match_indices("\"${").map(|(at, _)| plan[at + 3..].split('}').next().expect("its end"));
    let mut used: Vec<&str> = used.chain(["BACKHAUL_DATABASE_URL"]).collect();
    used.sort_unstable();
    let mut kept: Vec<&str> = keys.keys().filter_map(Value::as_str).collect();
    kept.sort_unstable();
    assert_eq!(kept, used);
    assert!(!plan.lines().any(|line| line.trim_start().starts_with("stop_after")), "it would be started anew for ever");

    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("plan.yaml"), plan).expect("writable");
    let mut check = std::process::Command::new(BACKHAUL);
    check.args(["check", "plan.yaml"]).current_dir(folder.path());
    check.envs(kept.iter().filter(|key| **key != "BACKHAUL_DATABASE_URL").map(|key| (key, "a-key")));
    let checked = Output::of(check.output().expect("it starts")).expect(0);
    assert_eq!(checked.stderr, "");
}
