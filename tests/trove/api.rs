//! Trove's API and database of a real `OpenStack`: what its own code says of what was read and registered.

use std::time::{Duration, Instant};

use backhaul::catalog::trove::database::{Address, QuotaRule};
use backhaul::catalog::trove::{NewBackup, TroveApi, TroveDatabase};
use backhaul::catalog::{Ledger, RecordState};
use backhaul::failure::Cause;
use backhaul::openstack::{Scope, Service, Session};
use backhaul::throttle::Throttle;
use serde_json::json;
use uuid::Uuid;

use super::cutter::Cutter;
use super::openstack::{ONE, OpenStack, TWO};
use super::session::session;

const STALL: Duration = Duration::from_secs(20);

fn api(session: &Session) -> TroveApi {
    TroveApi::new(session.clone(), Throttle::unlimited(), STALL, None)
}

/// A tenant's Swift in region-two, written with the user `mover`.
struct Swift {
    session: Session,
    project: String,
    client: reqwest::Client,
}

impl Swift {
    fn of(openstack: &OpenStack, tenant: &str) -> Self {
        let session = session(openstack, TWO, "mover", None);
        Self { session, project: openstack.project(tenant), client: reqwest::Client::new() }
    }

    async fn put(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (String, String) {
        let scope = Scope::Project(self.project.clone());
        let account = self.session.endpoint(&scope, Service::ObjectStore).await.expect("an endpoint");
        let url = format!("{account}/{path}");
        let token = self.session.token(&scope).await.expect("a token").header();
        let mut request = self.client.put(&url).header("x-auth-token", token).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.expect("it answers");
        assert!(answer.status().is_success(), "{url}: {}", answer.status());
        let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default();
        (url, etag.trim_matches('"').to_owned())
    }

    /// An object as a copy is, and what is to be registered of it.
    async fn copy(&self, version: &str, parent: Option<&NewBackup>) -> NewBackup {
        self.put("moved", &[], Vec::new()).await;
        let id = Uuid::new_v4();
        let mut headers = vec![("x-object-meta-lsn", "5")];
        if let Some(parent) = parent {
            headers.push(("x-object-meta-parent-location", &parent.location));
            headers.push(("x-object-meta-parent-checksum", &parent.checksum));
        }
        let (location, checksum) = self.put(&format!("moved/{id}.xbstream.gz"), &headers, vec![7; 1000]).await;
        NewBackup {
            id,
            name: format!("copy {id}"),
            description: Some("'; DROP TABLE backups;-- ü日".to_owned()),
            location,
            backup_type: Some(if parent.is_some() { "incremental" } else { "full" }.to_owned()),
            size: Some(0.1),
            tenant_id: self.project.clone(),
            checksum,
            backup_timestamp: None,
            created: Some("2026-11-22T10:49:34Z".to_owned()),
            updated: Some("2026-11-22T10:49:35Z".to_owned()),
            parent_id: None,
            datastore_version_id: version.to_owned(),
        }
    }

    async fn copy_of_segments(&self, version: &str) -> NewBackup {
        let plain = self.copy(version, None).await;
        let mut manifest = Vec::new();
        for number in 0..2 {
            let path = format!("moved/{}_{number:08}", plain.id);
            let (_, etag) = self.put(&path, &[], vec![number; 500]).await;
            manifest.push(json!({"path": path, "etag": etag, "size_bytes": 500}));
        }
        let path = format!("moved/{}-slo.xbstream.gz?multipart-manifest=put", plain.id);
        let (url, checksum) = self.put(&path, &[], json!(manifest).to_string().into_bytes()).await;
        let location = url.split_once('?').map_or(url.as_str(), |(url, _)| url).to_owned();
        NewBackup { location, checksum, ..plain }
    }
}

/// A chain by the API: each link once, whoever asks; what it cannot do is told.
pub(crate) async fn registers_chains_once(openstack: &OpenStack) {
    let swift = Swift::of(openstack, "catalog-api");
    let version = openstack.datastore_version(TWO, "mysql", "8.0");
    let session = session(openstack, TWO, "mover", None);
    let trove = api(&session);
    let full = swift.copy(&version, None).await;
    let full_id = trove.register(&full).await.expect("registered");
    let child = NewBackup { parent_id: Some(full_id.clone()), ..swift.copy(&version, Some(&full)).await };
    let child_id = trove.register(&child).await.expect("registered");
    for other in [trove.clone(), api(&session)] {
        assert_eq!(other.register(&full).await.as_deref(), Ok(full_id.as_str()));
        assert_eq!(other.register(&child).await.as_deref(), Ok(child_id.as_str()));
    }
    let again = [&full, &full, &full].map(|backup| trove.register(backup));
    assert!(futures::future::join_all(again).await.iter().all(|id| id.as_deref() == Ok(full_id.as_str())));
    assert_eq!(openstack.listed(TWO, "catalog-api").len(), 2);
    // What one has listed is old as soon as another was at work.
    let (ours, theirs) = (api(&session), api(&session));
    assert_eq!(ours.register(&full).await.as_deref(), Ok(full_id.as_str()));
    let another = swift.copy(&version, None).await;
    let another_id = theirs.register(&another).await.expect("registered");
    ours.settle().await;
    assert_eq!(ours.register(&another).await.as_deref(), Ok(another_id.as_str()));
    assert_eq!(openstack.listed(TWO, "catalog-api").len(), 3);
    let shown = openstack.shown(TWO, "catalog-api", &child_id);
    assert_eq!((shown["parent_id"].as_str(), shown["status"].as_str()), (Some(full_id.as_str()), Some("RESTORED")));
    assert_eq!(shown["description"].as_str(), child.description.as_deref());

    // What is found again by the name of its object, and as what.
    let ledger = trove.ledger(Some(std::slice::from_ref(&swift.project))).await.expect("read");
    let found = ledger.copy_of(child.id).expect("found by its object");
    assert_eq!((found.id.to_string(), &found.state), (child_id, &RecordState::Restored));
    assert_eq!((found.unusable.as_ref(), found.datastore_version_number.as_deref()), (None, Some("8.0.36")));

    let orphan = NewBackup { parent_id: Some(Uuid::new_v4().to_string()), ..child.clone() };
    let failure = api(&session).register(&orphan).await.expect_err("another parent");
    assert!(failure.cause == Cause::RecordConflict && failure.message.contains("another parent"), "{failure:?}");
    let segments = swift.copy_of_segments(&version).await;
    let failure = trove.register(&segments).await.expect_err("an object of several segments");
    assert!(failure.cause == Cause::TargetError && failure.message.contains("several segments"), "{failure:?}");
    let gone = NewBackup { location: full.location.replace("/moved/", "/moved/gone-"), ..full.clone() };
    let failure = trove.register(&gone).await.expect_err("no such object");
    assert!(failure.message.contains("Trove cannot read"), "{failure:?}");
    let elsewhere = openstack.datastore_version(ONE, "mysql", "8.0");
    let failure = trove.register(&swift.copy(&elsewhere, None).await).await.expect_err("the other region's version");
    assert_eq!(failure.cause, Cause::NoCounterpart, "{failure:?}");
    assert_eq!(openstack.listed(TWO, "catalog-api").len(), 3, "nothing was left behind");
}

/// An answer that never came is looked for, not asked for again.
pub(crate) async fn looks_again_when_no_answer_came(openstack: &OpenStack) {
    let swift = Swift::of(openstack, "catalog-cut");
    let version = openstack.datastore_version(TWO, "mysql", "8.0");
    let url: reqwest::Url = openstack.trove_url(TWO).parse().expect("a URL");
    let way = Cutter::before(url.port().expect("a port"), b"POST /v1.0/").await;
    let endpoint = format!("http://127.0.0.1:{}", way.port).parse().expect("a URL");
    let trove = TroveApi::new(swift.session.clone(), Throttle::unlimited(), STALL, Some(endpoint));
    let id = trove.register(&swift.copy(&version, None).await).await.expect("it is there after all");
    assert!(way.has_cut(), "the answer was to be lost");
    let listed = openstack.listed(TWO, "catalog-cut");
    assert_eq!((listed.len(), listed[0]["id"].as_str()), (1, Some(id.as_str())));
}

/// Both of Trove's refusals with 413: one is a failure, the other is waited out. The quota here is 4.
pub(crate) async fn tells_both_kinds_of_413_apart(openstack: &OpenStack, requests_a_minute: usize) {
    let swift = Swift::of(openstack, "catalog-quota");
    let version = openstack.datastore_version(TWO, "mysql", "8.0");
    let trove = api(&swift.session);
    for _ in 0..4 {
        trove.register(&swift.copy(&version, None).await).await.expect("within the quota");
    }
    let fifth = swift.copy(&version, None).await;
    let failure = trove.register(&fifth).await.expect_err("the quota is reached");
    assert!(failure.cause == Cause::Quota && failure.hint.is_some(), "{failure:?}");
    let quota = trove.quota(&swift.project).await.expect("read");
    assert_eq!((quota.limit, quota.in_use), (Some(4), 4));

    let began = Instant::now();
    for _ in 0..=requests_a_minute {
        trove.versions(Some(&swift.project)).await.expect("waited for, not failed");
    }
    let waited = Duration::from_mins(1) / u32::try_from(requests_a_minute).expect("few");
    assert!(began.elapsed() > waited / 2, "Trove did not hold back: {:?}", began.elapsed());
}

/// Nobody sees or makes what is another project's.
pub(crate) async fn keeps_projects_apart(openstack: &OpenStack) {
    let gamma = openstack.project("gamma");
    let mover = api(&session(openstack, TWO, "mover", None));
    assert!(mover.ledger(Some(std::slice::from_ref(&gamma))).await.is_err());
    let version = openstack.datastore_version(TWO, "mysql", "8.0");
    let own = Swift::of(openstack, "catalog-apart").copy(&version, None).await;
    let foreign = NewBackup { tenant_id: gamma.clone(), ..own.clone() };
    let failure = mover.register(&foreign).await.expect_err("no role there");
    assert_eq!(failure.cause, Cause::TargetUnwritable, "{failure:?}");
    // Gamma may do so in its own project, but its token opens nobody else's account.
    let gammas = api(&session(openstack, TWO, "gamma", Some("gamma")));
    let failure = gammas.register(&foreign).await.expect_err("another's object");
    assert!(failure.message.contains("Trove cannot read"), "{failure:?}");
    assert!(openstack.listed(TWO, "gamma").is_empty());

    let id = mover.register(&own).await.expect("registered");
    let is_seen = |ledger: Ledger| ledger.records().any(|record| record.id.to_string() == id);
    assert!(!is_seen(gammas.ledger(Some(std::slice::from_ref(&gamma))).await.expect("its own")));
    let all = gammas.ledger(None).await.expect("its own");
    assert!(!is_seen(all.clone()) && all.narrowed("two").is_some(), "all projects are for administrators");
    let operator = api(&session(openstack, TWO, "operator", Some("operators")));
    assert!(is_seen(operator.ledger(None).await.expect("an administrator lists all")));
}

/// The seeds of a tenant, read in both ways, and registered in the other region's database as Trove then shows them.
pub(crate) async fn reads_and_registers_in_the_database(openstack: &OpenStack) {
    let tenant = openstack.project("catalog-read");
    let seeds = openstack.seed(&["catalog-read/standard"]);
    let connect = async |region, user| {
        let address = Address::parse(&openstack.database_url(region, user)).expect("an address");
        TroveDatabase::connect(&address, QuotaRule::Respect, 50).await.expect("it connects")
    };
    let source = connect(ONE, "source").await;
    let of_database = source.ledger(Some(std::slice::from_ref(&tenant))).await.expect("read");
    let by_api = api(&session(openstack, ONE, "mover", None));
    let of_api = by_api.ledger(Some(std::slice::from_ref(&tenant))).await.expect("read");
    for seed in seeds.of("catalog-read") {
        let id: Uuid = seed.id.parse().expect("a UUID");
        let record = of_database.get(id).unwrap_or_else(|| panic!("{} is not there", seed.name));
        match seed.expect.as_str() {
            "state-failed" => assert_eq!(record.state, RecordState::Failed),
            "row-deleted" => assert_eq!((&record.state, of_api.get(id)), (&RecordState::Deleted, None)),
            "cinder-snapshot" => {
                assert!(record.unusable.is_some() && of_api.get(id).expect("there").unusable.is_some());
            }
            _ => {
                let object =
                    seed.location.as_deref().and_then(|location| location.split_once("/v1/")).expect("a URL").1;
                assert_eq!(record.key().expect("a key").as_str(), object, "{}", seed.name);
                assert_eq!(record.checksum == seed.checksum, seed.expect != "checksum-mismatch", "{}", seed.name);
                assert_eq!(record.parent_id.map(|parent| parent.to_string()), seed.parent_id);
                assert_eq!(record.size, Some(seed.size));
                let mut shown = of_api.get(id).expect("there").clone();
                shown.checksum.clone_from(&record.checksum);
                shown.backup_type.clone_from(&record.backup_type);
                shown.backup_timestamp.clone_from(&record.backup_timestamp);
                shown.storage_driver.clone_from(&record.storage_driver);
                assert_eq!(&shown, record, "both catalogs say the same");
            }
        }
    }

    let swift = Swift::of(openstack, "catalog-read");
    let version = openstack.datastore_version(TWO, "mysql", "8.0");
    let target = connect(TWO, "target").await;
    let copy = swift.copy_of_segments(&version).await;
    target.register(&copy).await.expect("the rights suffice");
    target.register(&copy).await.expect("and again");
    let shown = openstack.shown(TWO, "catalog-read", &copy.id.to_string());
    assert_eq!((shown["status"].as_str(), shown["created"].as_str()), (Some("COMPLETED"), Some("2026-11-22T10:49:34")));
    let usage = format!("SELECT in_use FROM quota_usages WHERE tenant_id = '{tenant}' AND resource = 'backups'");
    assert_eq!(openstack.sql(TWO, &usage), [["1".to_owned()]]);
    let read_only = connect(TWO, "source").await;
    let failure = read_only.register(&swift.copy(&version, None).await).await.expect_err("it may only read");
    assert_eq!(failure.cause, Cause::TargetUnwritable, "{failure:?}");
}
