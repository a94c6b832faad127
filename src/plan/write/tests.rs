use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::id::Key;
use crate::plan::parse;

/// What YAML tools read as something else than a text, or stumble at.
const NASTY: &[&str] = &[
    "no",
    "Yes",
    "ON",
    "true",
    "null",
    "~",
    "0123",
    "1e3",
    "1_000",
    "0x1f",
    "0o7",
    "0b1",
    ".inf",
    "-.INF",
    ".nan",
    "+1",
    "1.",
    ".5",
    "12:30",
    "2026-11-23",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "%a",
    "@a",
    "`a`",
    "\"",
    "'",
    "{a}",
    "[a]",
    ",",
    "?",
    "? a",
    ":",
    "a:",
    "---",
    "...",
    "<<",
    "=",
    "\\",
    "é",
    "日本",
    "😀",
    "$HOME",
    "a  b",
    "y",
    "N",
    "1234e567",
];

/// Texts that YAML reads as something else unless they are quoted, and others.
fn word() -> BoxedStrategy<String> {
    let any = "\\PC{1,20}".prop_map(|text| text.trim().to_owned());
    prop_oneof![select(NASTY).prop_map(str::to_owned), any]
        .prop_filter("a text that a plan can hold", |text| {
            !text.is_empty()
                && !text.contains("${")
                && Key::parse_any(&text.replace(['/', '.', '%', '\\'], "x"))
                    .is_ok_and(|key| key.as_str().chars().all(|c| !matches!(c, '\u{2028}' | '\u{2029}')))
                && text.trim_matches(' ') == text
        })
        .boxed()
}

fn location() -> impl Strategy<Value = String> {
    prop_oneof![word(), "[a-z]{1,4}(/[a-z0-9#~ ]{1,4}){0,3}"]
        .prop_filter("an object name", |text| Key::parse(text).is_ok())
}

fn digest() -> impl Strategy<Value = Sha256Digest> {
    any::<[u8; 32]>().prop_map(Sha256Digest)
}

fn pin() -> impl Strategy<Value = WrittenPin> {
    (word(), any::<u64>()).prop_map(|(etag, size)| WrittenPin { etag, size })
}

fn selected() -> impl Strategy<Value = WrittenSelect> {
    let words = || prop::collection::vec(word(), 0..3);
    let except = (word(), prop::option::of(word())).prop_map(|(id, reason)| WrittenExcept { id, reason });
    (words(), words(), prop::option::of(word()), prop::option::of(1_u32..1_000), prop::collection::vec(except, 0..3))
        .prop_map(|(tenant, instance, datastore, latest, except)| WrittenSelect {
            from: "one".to_owned(),
            tenant,
            instance,
            datastore,
            newer_than: latest.map(|days| format!("{days}d")),
            latest,
            except,
        })
}

fn entry() -> BoxedStrategy<WrittenEntry> {
    let known = || (prop::option::of(digest()), prop::option::of(pin()));
    let from = || Some("one".to_owned());
    let subject = prop_oneof![
        (word(), known()).prop_map(move |(id, (sha256, pin))| WrittenEntry {
            id: Some(id),
            from: from(),
            sha256,
            pin,
            ..WrittenEntry::default()
        }),
        (location(), prop::option::of(location()), known())
            .prop_filter("not its own parent", |(key, parent, _)| parent.as_ref() != Some(key))
            .prop_map(move |(key, parent, (sha256, pin))| WrittenEntry {
                location: Some(key),
                parent,
                from: from(),
                sha256,
                pin,
                ..WrittenEntry::default()
            }),
        selected().prop_map(|select| WrittenEntry { select: Some(select), ..WrittenEntry::default() }),
    ];
    (subject, prop::option::of(word()), prop::option::of(word()), any::<bool>())
        .prop_map(|(entry, name, description, both)| {
            let to = if both { vec!["two".to_owned(), "3".to_owned()] } else { vec!["two".to_owned()] };
            WrittenEntry { to, name, description, ..entry }
        })
        .boxed()
}

fn some<T: std::fmt::Debug + Clone>(values: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(values)
}

fn http() -> BoxedStrategy<WrittenHttp> {
    let endpoint = select(vec!["https://host", "https://host:8443", "${E}", "http://[::1]:9000"]);
    let timeout = select(vec!["1s", "2m", "1h"]);
    let reached =
        (some(endpoint), any::<bool>()).prop_map(|(endpoint, insecure)| (endpoint.map(str::to_owned), insecure));
    (reached, some(path()), some(timeout), some(word()))
        .prop_map(|((endpoint, insecure), ca_file, timeout, identity)| WrittenHttp {
            endpoint,
            ca_file,
            insecure,
            timeout: timeout.map(str::to_owned),
            identity,
        })
        .boxed()
}

fn path() -> impl Strategy<Value = String> {
    word().prop_filter("a path", |path| !path.starts_with('~') && !path.contains("://"))
}

fn store() -> BoxedStrategy<WrittenStore> {
    let prefix = || some(select(vec!["a/", "no/0123/", "${P}", "日本/ü x/"]).prop_map(str::to_owned));
    let bucket = || select(vec!["abc", "123", "1e3", "0x1f", "${B}", "a-${B}"]).prop_map(str::to_owned);
    let secret = |name: &'static str| some(Just(format!("${{{name}}}")));
    let keys =
        (some(word()), secret("T"), some(select(vec!["path", "virtual"])), some(select(vec!["eu-1", "123", "${R}"])));
    let s3 = (bucket(), prefix(), keys, http()).prop_map(|(bucket, prefix, (key, token, addressing, region), http)| {
        WrittenStore::S3(WrittenS3 {
            bucket,
            prefix,
            region: region.map(str::to_owned),
            secret_access_key: key.as_ref().map(|_| "${S}".to_owned()),
            session_token: token.filter(|_| key.is_some()),
            access_key_id: key,
            addressing: addressing.map(str::to_owned),
            http,
        })
    });
    let gcs = (bucket(), prefix(), some(path()), http()).prop_map(|(bucket, prefix, service_account_file, http)| {
        WrittenStore::Gcs(WrittenGcs { bucket, prefix, service_account_file, http })
    });
    let azure = (prefix(), secret("K"), secret("S"), http()).prop_map(|(prefix, access_key, sas_token, http)| {
        let sas_token = sas_token.filter(|_| access_key.is_none());
        let (account, container) = ("1e3".to_owned(), "no-1".to_owned());
        WrittenStore::Azure(WrittenAzure { account, container, prefix, access_key, sas_token, http })
    });
    let file = (path(), some(word())).prop_map(|(path, identity)| WrittenStore::File { path, identity });
    prop_oneof![s3, gcs, azure, file, swift().prop_map(WrittenStore::Swift)].boxed()
}

fn swift() -> BoxedStrategy<WrittenSwift> {
    let own = (some(word()), some(select(vec!["region-one", "1e3", "${R}"]))).prop_map(|(cloud, region)| {
        WrittenSwift { cloud: WrittenCloud { cloud, region: region.map(str::to_owned) }, ..WrittenSwift::default() }
    });
    let v1 = word().prop_map(|user| WrittenSwift {
        auth: Some("v1".to_owned()),
        auth_url: Some("https://swift.example.com/auth/v1.0".to_owned()),
        user: Some(user),
        key: Some("${K}".to_owned()),
        ..WrittenSwift::default()
    });
    let endpoint = select(vec!["https://host/v1", "https://host:8080/swift/v1", "${E}"]);
    let rest = (some(select(vec!["backups", "no", "${C}"])), some(word()), some(Just("3GiB")), some(endpoint), http());
    (prop_oneof![own, v1], rest)
        .prop_map(|(swift, (container, storage_policy, segment_size, endpoint, http))| WrittenSwift {
            container: container.map(str::to_owned),
            storage_policy,
            segment_size: segment_size.map(str::to_owned),
            http: WrittenHttp { endpoint: endpoint.map(str::to_owned), ..http },
            ..swift
        })
        .boxed()
}

/// Names of tenants and versions: texts that YAML reads as something else unless they are quoted.
fn pairs() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    let name = || word().prop_map(|word| word.replace('/', "x"));
    prop::collection::btree_map(name(), name(), 1..4)
}

fn records() -> BoxedStrategy<WrittenRecords> {
    let tenants = prop_oneof![path().prop_map(WrittenTenants::File), pairs().prop_map(WrittenTenants::Map)];
    let versions = some(pairs()).prop_map(|pairs| {
        let version = |name: String| format!("no/{name}");
        pairs.into_iter().flatten().map(|(from, to)| (version(from), version(to))).collect()
    });
    let closed = || some(Just(false));
    (some(tenants), versions, any::<bool>(), closed(), closed())
        .prop_map(|(tenants, datastore_versions, backup_key_present, copy_from, copy_to)| WrittenRecords {
            catalog: None,
            tenants,
            datastore_versions,
            backup_key_present,
            copy_from,
            copy_to,
        })
        .boxed()
}

fn trove() -> BoxedStrategy<WrittenRegion> {
    let url =
        select(vec!["mysql://u:${P}@host:3306/trove", "${URL}", "mariadb://host/trove", "postgres://u@host/trove"]);
    let database = (url, some(Just("ignore")), some(0_u32..50)).prop_map(|(url, quota, default_quota)| {
        let (url, quota) = (url.to_owned(), quota.map(str::to_owned));
        WrittenCatalog::TroveDatabase(WrittenTroveDatabase { url, quota, default_quota })
    });
    let api =
        (some(word()), some(word()), some(Just("https://host:8779/v1.0"))).prop_map(|(cloud, region, endpoint)| {
            let cloud = WrittenCloud { cloud, region };
            WrittenCatalog::TroveApi(WrittenTroveApi { cloud, endpoint: endpoint.map(str::to_owned) })
        });
    let access = select(vec!["each-project", "reseller"]);
    let swift = (swift(), some(access)).prop_map(|(swift, access)| match (&swift.auth, access) {
        (None, Some(access)) => {
            WrittenSwift { account: Some("per-tenant".to_owned()), access: Some(access.to_owned()), ..swift }
        }
        _ => swift,
    });
    (swift, prop_oneof![database, api], records())
        .prop_filter("no API without a Keystone", |(swift, catalog, _)| {
            swift.auth.is_none() || matches!(catalog, WrittenCatalog::TroveDatabase(_))
        })
        .prop_map(|(swift, catalog, records)| {
            let records = WrittenRecords { catalog: Some(catalog), copy_to: None, ..records };
            WrittenRegion { store: WrittenStore::Swift(swift), records }
        })
        .boxed()
}

fn region() -> BoxedStrategy<WrittenRegion> {
    let plain = (store(), records())
        .prop_map(|(store, records)| WrittenRegion { store, records: WrittenRecords { copy_to: None, ..records } });
    prop_oneof![plain, trove()].boxed()
}

fn written(backups: Vec<WrittenEntry>, region: WrittenRegion) -> Written {
    let folder = |path: &str| WrittenRegion::with_store(WrittenStore::File { path: path.to_owned(), identity: None });
    Written {
        version: 1,
        name: "0123".to_owned(),
        database: Some("${BACKHAUL_DB}".to_owned()),
        regions: vec![
            ("one".to_owned(), folder("/one")),
            ("two".to_owned(), region),
            ("3".to_owned(), folder("${THREE}/x")),
        ],
        defaults: Some(WrittenDefaults {
            to: Vec::new(),
            part_size: Some("1048577B".to_owned()),
            verify: Some("read-back".to_owned()),
            name: Some("{name}: {created}".to_owned()),
        }),
        limits: Some(WrittenLimits {
            concurrency: 3,
            memory: "192MiB".to_owned(),
            bandwidth: WrittenTimetable::Windows(vec![
                ("00:00-06:30".to_owned(), "unlimited".to_owned()),
                ("22:00-24:00".to_owned(), "3MiB/s".to_owned()),
                ("default".to_owned(), "1B/s".to_owned()),
            ]),
            regions: vec![(
                "3".to_owned(),
                WrittenRegionLimits {
                    concurrency: Some(1),
                    bandwidth: Some(WrittenTimetable::Rate("5KiB/s".to_owned())),
                    requests_per_second: Some(9),
                },
            )],
        }),
        retry: Some(WrittenRetry { attempts: 2, max_delay: "1h30m".to_owned() }),
        schedule: Some(WrittenSchedule {
            cron: Some("*/5 * * * *".to_owned()),
            time_zone: Some("Europe/Berlin".to_owned()),
            stop_after: Some("1m30s".to_owned()),
            if_running: Some("wait".to_owned()),
        }),
        backups,
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same(entry in entry(), region in region()) {
        let written = written(vec![entry], region);
        let yaml = to_yaml(&written);
        let read = parse(yaml.as_bytes(), Path::new("plan.yaml"));
        let read = read.unwrap_or_else(|refused| panic!("{}\n{yaml}", refused.render(false)));
        prop_assert_eq!(&Written::of(&read.plan), &written);
        let region = &written.regions[1].1;
        let spec = region.to_spec("two".into()).expect("it was read");
        prop_assert_eq!(&WrittenRegion::of(&spec), region);
        prop_assert_eq!(&spec.store, &read.plan.regions[1].store);
        prop_assert_eq!(&spec.catalog, &read.plan.regions[1].catalog);
        let json = serde_json::to_string(&region.store).expect("texts");
        prop_assert_eq!(&serde_json::from_str::<WrittenStore>(&json).expect("the same"), &region.store);
        let json = serde_json::to_string(&region.records).expect("texts");
        prop_assert_eq!(&serde_json::from_str::<WrittenRecords>(&json).expect("the same"), &region.records);
    }
}

#[test]
fn a_plan_with_the_essentials_is_short() {
    let written = Written {
        defaults: None,
        limits: None,
        retry: None,
        schedule: None,
        database: None,
        ..written(
            vec![WrittenEntry {
                id: Some("0123".to_owned()),
                from: Some("one".to_owned()),
                to: vec!["two".to_owned()],
                ..WrittenEntry::default()
            }],
            WrittenRegion::with_store(WrittenStore::File { path: "./two".to_owned(), identity: None }),
        )
    };
    assert_eq!(
        to_yaml(&written),
        "# yaml-language-server: $schema=plan.schema.json\nversion: 1\nname: '0123'\nregions:\n  one:\n    store:\n      type: file\n      \
         path: /one\n  two:\n    store:\n      type: file\n      path: ./two\n  '3':\n    store:\n      type: file\n      path: ${THREE}/x\n\
         backups:\n- id: '0123'\n  from: one\n  to:\n  - two\n"
    );
}

fn written_for_any_folder(path: &str, database: &str) -> Result<(String, String), NotSavable> {
    let text = format!(
        "version: 1\nname: t\ndatabase: \"{database}\"\nregions: {{ a: {{ store: {{ type: file, path: \"{path}\" }} }}, \
         b: {{ store: {{ type: gcs, bucket: abc, service_account_file: \"{path}\", ca_file: \"{path}\" }}, tenants: \"{path}\" }}, \
         c: {{ store: {{ type: swift, ca_file: \"{path}\" }} }} }}\n\
         backups: [{{ id: x, from: a, to: [b] }}]\n"
    );
    let plan = parse(text.as_bytes(), Path::new("/plans/p.yaml")).expect("accepted").plan;
    let environment = |name: &str| match name {
        "RELATIVE" => Some("r".to_owned()),
        "ABSOLUTE" => Some("/srv".to_owned()),
        "URL" => Some("sqlite://r.db".to_owned()),
        "ABSOLUTE_URL" => Some("sqlite:///srv/r.db".to_owned()),
        _ => None,
    };
    let written = Written::of(&plan).starting_at(&plan.folder, &environment)?;
    let WrittenStore::File { path, .. } = &written.regions[0].1.store else { panic!("a folder") };
    let WrittenStore::Gcs(gcs) = &written.regions[1].1.store else { panic!("a bucket") };
    assert_eq!((Some(path), Some(path)), (gcs.service_account_file.as_ref(), gcs.http.ca_file.as_ref()));
    assert_eq!(written.regions[1].1.records.tenants, Some(WrittenTenants::File(path.clone())));
    let WrittenStore::Swift(swift) = &written.regions[2].1.store else { panic!("a Swift") };
    assert_eq!(swift.http.ca_file.as_ref(), Some(path));
    Ok((path.clone(), written.database.expect("it has one")))
}

#[test]
fn relative_paths_become_absolute_and_references_stay() {
    for (path, absolute) in [
        ("a", "/plans/a"),
        ("./a/", "/plans/a"),
        ("../a", "/plans/../a"),
        ("/a", "/a"),
        ("${RELATIVE}/a", "/plans/${RELATIVE}/a"),
        ("${ABSOLUTE}/a", "${ABSOLUTE}/a"),
        ("${UNSET}/a", "${UNSET}/a"),
        ("a/${RELATIVE}", "/plans/a/${RELATIVE}"),
    ] {
        let (path, database) = written_for_any_folder(path, &format!("sqlite://{path}")).expect("savable");
        assert_eq!((path.as_str(), database.as_str()), (absolute, format!("sqlite://{absolute}").as_str()));
    }
    for url in ["${ABSOLUTE_URL}", "${UNSET}", "sqlite:///a.db"] {
        assert_eq!(written_for_any_folder("/a", url).map(|(_, database)| database), Ok(url.to_owned()));
    }
    assert_eq!(written_for_any_folder("/a", "${URL}"), Err(NotSavable::Database("${URL}".to_owned())));
}
