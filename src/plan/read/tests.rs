mod openstack;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::plan::{Addressing, HttpSpec, IfRunning, Reference, STALL_TIMEOUT, StoreSpec, Subject, Verify, Window};

const REGIONS: &str = "regions: { a: { store: { type: file, path: ./a } }, b: { store: { type: file, path: /srv/b } }, \
                       c: { store: { type: file, path: \"${C}\", identity: /old/c } } }\n";

fn text(rest: &str) -> String {
    format!("version: 1\nname: test\n{REGIONS}{rest}")
}

fn load(rest: &str) -> Loaded {
    let text = text(rest);
    parse(text.as_bytes(), Path::new("/plans/test.yaml")).unwrap_or_else(|refused| panic!("{}", refused.render(false)))
}

fn plan(rest: &str) -> Plan {
    let loaded = load(rest);
    assert_eq!(loaded.warnings, []);
    loaded.plan
}

fn messages(rest: &str) -> Vec<String> {
    let refused = parse(text(rest).as_bytes(), Path::new("/plans/test.yaml")).expect_err("refused");
    refused.problems.into_iter().map(|problem| problem.message).collect()
}

/// `id → targets` of each entry.
fn targets(plan: &Plan) -> Vec<String> {
    let name = |entry: &crate::plan::Entry| match &entry.subject {
        Subject::Id { id, .. } => id.clone(),
        Subject::Location { key, .. } => key.to_string(),
        Subject::Select(_) => "select".to_owned(),
    };
    let to =
        |entry: &crate::plan::Entry| entry.to.iter().map(|to| plan.region(*to).name.to_string()).collect::<Vec<_>>();
    plan.entries.iter().map(|entry| format!("{} → {}", name(entry), to(entry).join(" "))).collect()
}

#[test]
fn what_a_plan_does_not_say_has_the_documented_default() {
    let plan = plan("backups: [{ id: x, from: a, to: [b] }]\n");
    assert_eq!(plan.folder, Path::new("/plans"));
    assert_eq!(plan.database, None);
    assert_eq!((plan.part_size, plan.limits.memory), (32 << 20, 192 << 20));
    assert_eq!((plan.verify, plan.name_template.as_str()), (Verify::Store, "{name}"));
    assert_eq!((plan.limits.concurrency, plan.retry.attempts), (16, 10));
    assert_eq!(plan.retry.max_delay, Duration::from_mins(2));
    assert_eq!(plan.limits.bandwidth, crate::plan::Timetable::default());
    assert_eq!((plan.schedule.cron, plan.schedule.if_running), (None, IfRunning::Skip));
}

#[test]
fn the_defaults_of_the_shape_are_those_of_the_reader() {
    let spelled = "defaults: { part_size: 32MiB, verify: store, name: \"{name}\" }\n\
                   limits: { concurrency: 16, memory: 192MiB, bandwidth: unlimited }\n\
                   retry: { attempts: 10, max_delay: 2m }\nschedule: { if_running: skip }\n";
    for (name, value) in [("part_size", "32MiB"), ("verify", "store"), ("name", "{name}")] {
        let (_, key) = crate::plan::shape::DEFAULTS.find(name).expect("a key");
        assert_eq!(key.default, Some(value));
    }
    let backups = "backups: [{ id: x, from: a, to: [b] }]\n";
    let written = |rest: &str| crate::plan::Written::of(&plan(rest));
    assert_eq!(written(&format!("{spelled}{backups}")), written(backups));
}

#[test]
fn sections_without_keys_are_as_if_they_were_not_there() {
    let plan = plan("defaults:\nlimits:\nretry: ~\nschedule:\nbackups: [{ id: x, from: a, to: [b] }]\n");
    assert_eq!(plan.limits.concurrency, 16);
}

#[test]
fn regions_are_read_as_written() {
    let plan = plan("backups: [{ id: x, from: a, to: [b, c] }]\n");
    let StoreSpec::File { path, identity } = &plan.regions[2].store else { panic!("a folder") };
    assert_eq!((path.as_str(), identity.as_deref()), ("${C}", Some("/old/c")));
    assert_eq!((plan.regions[2].name.as_ref(), plan.regions[2].place.line), ("c", 3));
    assert_eq!(targets(&plan), ["x → b c"]);
}

/// A plan with one store between the two folders, as its text says.
fn with_store(store: &str) -> Result<Loaded, Vec<String>> {
    let text = format!(
        "version: 1\nname: t\nregions: {{ a: {{ store: {{ type: file, path: a }} }}, b: {{ store: {{ {store} }} }} }}\n\
         backups: [{{ id: x, from: a, to: [b] }}]\n"
    );
    let refused = |refused: Refused| refused.problems.into_iter().map(|problem| problem.message).collect();
    parse(text.as_bytes(), Path::new("/plans/test.yaml")).map_err(refused)
}

fn store(text: &str) -> StoreSpec {
    let loaded = with_store(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    assert_eq!(loaded.warnings, []);
    loaded.plan.regions[1].store.clone()
}

#[test]
fn a_bucket_needs_no_more_than_its_name() {
    let StoreSpec::S3(s3) = store("type: s3, bucket: dr-vault") else { panic!("a bucket") };
    assert_eq!(
        (s3.bucket.as_str(), &s3.prefix, &s3.region, s3.addressing),
        ("dr-vault", &None, &None, Addressing::Auto)
    );
    assert_eq!((&s3.access_key_id, &s3.secret_access_key, &s3.session_token), (&None, &None, &None));
    let http = HttpSpec { endpoint: None, ca_file: None, insecure: false, timeout: STALL_TIMEOUT, identity: None };
    assert_eq!(s3.http, http);
    let StoreSpec::Gcs(gcs) = store("type: gcs, bucket: dr_vault.example") else { panic!("a bucket") };
    assert_eq!((gcs.bucket.as_str(), &gcs.service_account_file, &gcs.http), ("dr_vault.example", &None, &http));
    let StoreSpec::Azure(azure) = store("type: azure, account: acct, container: box") else { panic!("a container") };
    assert_eq!((azure.account.as_str(), azure.container.as_str(), &azure.http), ("acct", "box", &http));
    assert_eq!((azure.access_key, azure.sas_token), (None, None));
}

#[test]
fn all_that_a_bucket_may_say_is_read() {
    let keys = "type: s3, bucket: \"${B}\", prefix: a/b, endpoint: \"${E}\", region: eu-1, access_key_id: AKIA, \
                secret_access_key: \"${S}\", session_token: \"${T}\", addressing: virtual, ca_file: ca.pem, timeout: 5m, \
                insecure: false, identity: \"s3://old/b/\"";
    let StoreSpec::S3(s3) = store(keys) else { panic!("a bucket") };
    let text = |reference: &Option<Reference>| reference.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!((s3.bucket.as_str(), text(&s3.prefix).as_str(), s3.addressing), ("${B}", "a/b/", Addressing::Virtual));
    assert_eq!(
        [&s3.region, &s3.access_key_id, &s3.secret_access_key, &s3.session_token, &s3.http.endpoint, &s3.http.ca_file]
            .map(text),
        ["eu-1", "AKIA", "${S}", "${T}", "${E}", "ca.pem"]
    );
    assert_eq!((s3.http.timeout, s3.http.identity.as_deref()), (Duration::from_mins(5), Some("s3://old/b/")));
    let references = StoreSpec::S3(s3);
    let variables: Vec<&str> = references.references().into_iter().flat_map(Reference::variables).collect();
    assert_eq!(variables, ["B", "S", "T", "E"]);
}

#[test]
fn a_prefix_ends_with_a_slash_as_far_as_it_is_known() {
    for (written, meant) in
        [("a", "a/"), ("a/", "a/"), ("\"${P}\"", "${P}"), ("\"${P}/x\"", "${P}/x/"), ("\"a/${P}\"", "a/${P}")]
    {
        let StoreSpec::Gcs(gcs) = store(&format!("type: gcs, bucket: abc, prefix: {written}")) else {
            panic!("a bucket")
        };
        assert_eq!(gcs.prefix.map(|prefix| prefix.to_string()).as_deref(), Some(meant));
    }
}

#[test]
fn what_refers_to_the_environment_is_checked_when_it_is_known() {
    for keys in [
        "bucket: \"A_${B}\"",
        "bucket: abc, endpoint: \"${SCHEME}://host\"",
        "bucket: abc, prefix: \"/${P}\"",
        "bucket: abc, region: \"${R}.x\"",
    ] {
        assert!(matches!(store(&format!("type: s3, {keys}")), StoreSpec::S3(_)), "{keys}");
    }
}

#[test]
fn one_bucket_under_two_names_is_one_place() {
    let both = |one: &str, other: &str| {
        let text = format!(
            "version: 1\nname: t\nregions: {{ a: {{ store: {{ {one} }} }}, b: {{ store: {{ {other} }} }} }}\n\
             backups: [{{ id: x, from: a, to: [b] }}]\n"
        );
        let parsed = parse(text.as_bytes(), Path::new("/plans/test.yaml"));
        parsed.map(drop).map_err(|refused| refused.problems[0].message.clone())
    };
    let same = Err("regions `a` and `b` are the same store: this backup would be copied onto itself".to_owned());
    let inside =
        Err("regions `a` and `b` lie one inside the other: this backup would be copied into its source".to_owned());
    for (one, other, expected) in [
        ("type: s3, bucket: abc", "type: s3, bucket: abc", &same),
        (
            "type: s3, bucket: abc, region: eu-1",
            "type: s3, bucket: abc, endpoint: \"https://s3.eu-1.amazonaws.com\"",
            &same,
        ),
        ("type: s3, bucket: \"${B}\", prefix: \"${P}\"", "type: s3, bucket: \"${B}\", prefix: \"${P}\"", &same),
        ("type: gcs, bucket: abc, identity: x", "type: gcs, bucket: abd, identity: x", &same),
        (
            "type: azure, account: acct, container: abc",
            "type: azure, account: acct, container: abc, endpoint: \"https://ACCT.blob.core.windows.net/\"",
            &same,
        ),
        ("type: gcs, bucket: abc, prefix: a/b", "type: gcs, bucket: abc, prefix: a", &inside),
        ("type: gcs, bucket: abc", "type: gcs, bucket: abc, prefix: a", &inside),
        ("type: s3, bucket: abc, region: eu-1", "type: s3, bucket: abc, region: eu-2", &Ok(())),
        ("type: gcs, bucket: abc, prefix: ab", "type: gcs, bucket: abc, prefix: a", &Ok(())),
        ("type: s3, bucket: abc, endpoint: \"https://storage.googleapis.com\"", "type: gcs, bucket: abc", &Ok(())),
    ] {
        assert_eq!(both(one, other), *expected, "{one} | {other}");
        assert_eq!(both(other, one), *expected, "{other} | {one}");
    }
}

#[test]
fn plain_http_to_another_machine_is_warned_of_once_a_region() {
    let loaded = with_store("type: s3, bucket: abc, endpoint: \"http://host\", insecure: true").expect("accepted");
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        with_store("type: s3, bucket: abc, endpoint: \"http://127.0.0.1:9000\"").expect("accepted").warnings.is_empty()
    );
}

#[test]
fn entries_that_agree_become_one_with_all_targets() {
    let digest = "9f".repeat(32);
    let plan = plan(&format!(
        "backups:\n- {{ id: x, from: a, to: [b] }}\n- {{ location: l.gz, from: a, to: [c], sha256: {digest} }}\n\
         - {{ id: x, from: a, to: [c, b] }}\n- {{ location: l.gz, from: a, to: [c] }}\n- {{ id: x, from: b, to: [a] }}\n"
    ));
    assert_eq!(targets(&plan), ["x → b c", "l.gz → c", "x → a"]);
    let Subject::Location { known, .. } = &plan.entries[1].subject else { panic!("a location") };
    assert_eq!(known.sha256, digest.parse().ok());
}

#[test]
fn one_backup_may_have_other_names_in_other_targets() {
    let plan = plan("backups:\n- { id: x, from: a, to: [b], name: one }\n- { id: x, from: a, to: [c], name: two }\n");
    assert_eq!(targets(&plan), ["x → b", "x → c"]);
    let same = "backups:\n- { id: x, from: a, to: [b], name: one }\n- { id: x, from: a, to: [b, c], name: two }\n";
    assert_eq!(messages(same), ["backup `x` is named twice, with different `name`"]);
}

#[test]
fn parents_need_not_be_in_the_plan() {
    let plan = plan("backups: [{ location: inc.gz, from: a, to: [b], parent: full.gz }]\n");
    assert_eq!(targets(&plan), ["inc.gz → b"]);
}

#[test]
fn two_cycles_are_two_problems_and_what_hangs_on_them_is_none() {
    let entry = |key: &str, parent: &str| format!("- {{ location: {key}, from: a, to: [b], parent: {parent} }}\n");
    let backups: String = [("p", "q"), ("q", "p"), ("r", "q"), ("s", "t"), ("t", "u"), ("u", "s")]
        .map(|(key, parent)| entry(key, parent))
        .concat();
    assert_eq!(
        messages(&format!("backups:\n{backups}")),
        [
            "these backups build on each other: `p` → `q` → `p`",
            "these backups build on each other: `s` → `t` → `u` → `s`"
        ]
    );
}

#[test]
fn a_chain_of_a_hundred_thousand_is_no_cycle() {
    use std::fmt::Write as _;
    let mut backups = String::from("backups:\n- { location: k0, from: a, to: [b] }\n");
    for n in 1..100_000 {
        writeln!(backups, "- {{ location: k{n}, from: a, to: [b], parent: k{} }}", n - 1).expect("memory");
    }
    assert_eq!(plan(&backups).entries.len(), 100_000);
}

#[test]
fn windows_over_midnight_are_two() {
    let rates = "limits: { bandwidth: { 22:00-06:30: unlimited, \"9:00-17:00\": 1MiB/s, \"20:00-00:00\": 2MiB/s, default: 5MiB/s } }\n";
    let wrong = messages(&format!("{rates}backups: [{{ id: x, from: a, to: [b] }}]\n"));
    assert_eq!(wrong, ["two windows overlap: both hold at 22:00"]);
    let rates = rates.replace("20:00-00:00", "20:00-22:00");
    let table = plan(&format!("{rates}backups: [{{ id: x, from: a, to: [b] }}]\n")).limits.bandwidth;
    let window = |start_minute, end_minute, rate| Window { start_minute, end_minute, rate };
    assert_eq!(table.default, Some(5 << 20));
    assert_eq!(
        table.windows,
        [
            window(0, 390, None),
            window(540, 1020, Some(1 << 20)),
            window(1200, 1320, Some(2 << 20)),
            window(1320, 1440, None),
        ]
    );
}

#[test]
fn a_select_is_read_whole() {
    let plan = plan(
        "backups: [{ select: { from: a, tenant: 055b, instance: [i1, i2], datastore: mysql, newer_than: 30d, latest: 5, \
         except: [{ id: 9c, reason: known bad }, { id: 9d }] }, to: [c] }]\n",
    );
    let Subject::Select(select) = &plan.entries[0].subject else { panic!("a select") };
    assert_eq!(
        (&select.tenants[..], &select.instances[..]),
        (&["055b".to_owned()][..], &["i1".to_owned(), "i2".to_owned()][..])
    );
    assert_eq!((select.newer_than, select.latest), (Some(Duration::from_hours(720)), Some(5)));
    assert_eq!(select.except[0].reason.as_deref(), Some("known bad"));
    assert_eq!(targets(&plan), ["select → c"]);
}

#[test]
fn anchors_and_core_tags_are_read() {
    let plan =
        plan("defaults: { to: &to [b, c] }\nbackups: [{ id: !!str 0123, from: a, to: *to }, { id: y, from: a }]\n");
    assert_eq!(targets(&plan), ["0123 → b c", "y → b c"]);
}

#[test]
fn json_is_a_plan_too() {
    let text = r#"{"version": 1, "name": "j", "regions": {"a": {"store": {"type": "file", "path": "a"}},
        "b": {"store": {"type": "file", "path": "b"}}}, "backups": [{"id": "x", "from": "a", "to": ["b"]}]}"#;
    assert_eq!(parse(text.as_bytes(), Path::new("p.json")).expect("accepted").plan.name, "j");
}

#[test]
fn odd_names_are_text_and_stay_what_they_are() {
    let names = ["'; DROP TABLE backups;--", "%_\\\\", "<script>", "=cmd()", "日本", "x#1"];
    let entry = |(n, name): (usize, &&str)| format!("- {{ id: i{n}, from: a, to: [b], name: \"{name}\" }}\n");
    let backups = names.iter().enumerate().map(entry).collect::<Vec<_>>().concat();
    let plan = plan(&format!("backups:\n{backups}"));
    assert_eq!(plan.entries[0].name.as_deref(), Some(names[0]));
    assert_eq!(plan.entries[1].name.as_deref(), Some("%_\\"));
}

#[test]
fn a_digest_of_digits_alone_is_a_digest() {
    let digits = "12345678".repeat(8);
    assert_eq!(plan(&format!("backups: [{{ location: l, from: a, to: [b], sha256: {digits} }}]\n")).entries.len(), 1);
}

#[test]
fn unset_variables_are_named_with_their_place() {
    let loaded = load("database: \"${DB}\"\nbackups: [{ id: x, from: a, to: [b] }]\n");
    let problems =
        crate::plan::unset_variables(&loaded.plan, &|name| (name == "DB").then(|| "sqlite://x.db".to_owned()));
    let [problem] = &problems[..] else { panic!("one problem, not {problems:?}") };
    assert_eq!(problem.message, "the environment variable `C` is not set");
    assert_eq!(problem.place.map(|place| &loaded.source[place.start as usize..place.end as usize]), Some("\"${C}\""));
}

#[test]
fn the_digest_is_that_of_the_files_bytes() {
    let loaded = load("backups: [{ id: x, from: a, to: [b] }] # one\n");
    let other = load("backups: [{ id: x, from: a, to: [b] }] # two\n");
    assert_ne!(loaded.sha256, other.sha256);
    assert_eq!(loaded.sha256.0, <[u8; 32]>::from(Sha256::digest(loaded.source.as_bytes())));
}

#[test]
fn secrets_are_hidden_in_every_line_that_shows_them() {
    let text = text("backups: [{ id: x, from: a, to: [b], password: hunter2, secrt_token: hunter3, nmae: y }]\n");
    let shown = parse(text.as_bytes(), Path::new("p.yaml")).expect_err("refused").render(false);
    assert!(!shown.contains("hunter"), "{shown}");
    assert!(shown.contains("password: *******, secrt_token: *******, nmae: y"), "{shown}");
}
