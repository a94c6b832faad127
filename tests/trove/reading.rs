//! What is read from Trove's database, whichever server it is.

use backhaul::catalog::RecordState;
use backhaul::catalog::trove::database::QuotaRule;
use backhaul::catalog::trove::{SourceVersion, map};
use backhaul::failure::Cause;
use uuid::Uuid;

use super::checks::{backup, open, run};
use super::trove_database::TroveServer;

/// A row as Trove or a person may have written it: columns that differ from a good one.
async fn add(server: &TroveServer, tenant: &str, changes: &[(&str, &str)]) -> Uuid {
    let id = Uuid::new_v4();
    let (id_text, tenant_text) = (format!("'{id}'"), format!("'{tenant}'"));
    let location = format!("'http://127.0.0.1:18081/v1/AUTH_{tenant}/database_backups/{id}.xbstream.gz'");
    let mut values = vec![
        ("id", id_text.as_str()),
        ("name", "'theirs'"),
        ("tenant_id", tenant_text.as_str()),
        ("location", location.as_str()),
        ("state", "'COMPLETED'"),
        ("checksum", "'f562860128421fdd6609e068d233da6c'"),
        ("size", "2.25"),
        ("deleted", "FALSE"),
        ("created", "'2026-03-29 02:30:00'"),
        ("datastore_version_id", "'v-mysql-8'"),
        ("storage_driver", "'swift'"),
    ];
    values.retain(|(column, _)| changes.iter().all(|(changed, _)| changed != column));
    values.extend(changes);
    let (columns, values): (Vec<&str>, Vec<&str>) = values.into_iter().unzip();
    run(server, &format!("INSERT INTO backups ({}) VALUES ({})", columns.join(", "), values.join(", "))).await;
    id
}

pub(crate) async fn reads_rows_as_they_are(server: &TroveServer) {
    let good = add(server, "rows", &[]).await;
    let quoted = add(server, "rows", &[("checksum", "'\"ABCDEF0123456789abcdef01234567\"'")]).await;
    let restored = add(server, "rows", &[("state", "'RESTORED'")]).await;
    let foreign = add(server, "rows", &[("location", "'http://h/v1/AUTH_else/box/o'")]).await;
    let snapshot = add(server, "rows", &[("storage_driver", "'cinder'"), ("location", "'cinder://snapshot'")]).await;
    let nowhere = add(server, "rows", &[("location", "NULL")]).await;
    let failed = add(server, "rows", &[("state", "'FAILED'"), ("location", "NULL"), ("checksum", "NULL")]).await;
    let running = add(server, "rows", &[("state", "'BUILDING'"), ("location", "NULL")]).await;
    let deleted = add(server, "rows", &[("deleted", "TRUE"), ("datastore_version_id", "NULL")]).await;
    let hidden = add(server, "rows", &[("deleted", "NULL")]).await;
    let neighbour = add(server, "rows-2", &[]).await;

    let trove = open(server, "reader", QuotaRule::Respect, 50).await;
    let ledger = trove.ledger(Some(&["rows".to_owned()])).await.expect("read");
    assert_eq!((ledger.records().count(), ledger.get(neighbour)), (10, None));
    let record = |id| ledger.get(id).expect("a record");
    let state = |id| record(id).state.clone();
    assert_eq!(record(good).key().expect("a key").as_str(), format!("AUTH_rows/database_backups/{good}.xbstream.gz"));
    assert_eq!((record(good).size, record(good).created.as_deref()), (Some(2.25), Some("2026-03-29T02:30:00Z")));
    let version = [record(good).datastore.as_deref(), record(good).datastore_version.as_deref()];
    assert_eq!(version, [Some("mysql"), Some("8.0")]);
    assert_eq!(record(good).datastore_version_number.as_deref(), Some("8.0.36"));
    assert!(record(quoted).unusable.is_some(), "30 digits are no MD5");
    assert_eq!((state(restored), state(failed)), (RecordState::Restored, RecordState::Failed));
    assert_eq!(state(running), RecordState::Running("BUILDING".into()));
    assert_eq!((state(deleted), state(hidden)), (RecordState::Deleted, RecordState::Deleted));
    let why = |id: Uuid| record(id).unusable.clone().map(|failure| failure.message).unwrap_or_default();
    assert!(why(foreign).contains("AUTH_else"), "{}", why(foreign));
    assert!(why(snapshot).contains("Cinder"), "{}", why(snapshot));
    assert!(why(nowhere).contains("location is not there"), "{}", why(nowhere));
    assert_eq!((why(failed), why(running), why(deleted)), (String::new(), String::new(), String::new()));

    add(server, "rows-3", &[("id", "'no-uuid'")]).await;
    let ledger = trove.ledger(None).await.expect("one bad row does not hide the others");
    assert!(ledger.get(good).is_some() && ledger.get(neighbour).is_some());
    assert!(ledger.unreadable().iter().any(|line| line.object.contains("no-uuid")));
}

pub(crate) async fn tells_versions(server: &TroveServer) {
    let trove = open(server, "reader", QuotaRule::Respect, 50).await;
    let versions = trove.versions().await.expect("read");
    let named = |datastore, name, number| {
        map(SourceVersion { datastore, name, number }, &[], "two", &versions).map(|version| version.id.clone())
    };
    assert_eq!(named("mysql", "8.0", Some("8.0.36")).as_deref(), Ok("v-mysql-8"));
    assert_eq!(named("mariadb", "10.11", None).as_deref(), Ok("v-maria-10"));
    assert_eq!(named("mysql", "5.7.29", Some("5.7.29")).map_err(|failure| failure.cause), Err(Cause::NoCounterpart));
}

/// What is there beside backups; who may not look is told so.
pub(crate) async fn tells_what_is_not_moved(server: &TroveServer) {
    let unseen = "backup strategies could not be looked at (SELECT on `backup_strategy`), and are not moved".to_owned();
    let by_reader = open(server, "reader", QuotaRule::Respect, 50).await.not_moved().await;
    assert!(by_reader.contains(&unseen), "{by_reader:?}");
    run(server, &server.grant("SELECT ON backup_strategy", "reader")).await;
    let trove = open(server, "reader", QuotaRule::Respect, 50).await;
    let told = async |line: &str| {
        let lines = trove.not_moved().await;
        assert!(lines.iter().any(|told| told == line), "no {line:?} in {lines:?}");
    };
    assert!(!trove.not_moved().await.iter().any(|line| line.starts_with("backup strateg")));
    let strategy = "INSERT INTO backup_strategy (id, tenant_id, instance_id, backend) VALUES";
    run(server, &format!("{strategy} ('s-1', 'beside', '', 'swift')")).await;
    told("1 backup strategy of 1 tenant is not moved: openstack database backup strategy list").await;
    run(server, &format!("{strategy} ('s-2', 'beside', 'i', 'swift'), ('s-3', 'beside-2', '', 'swift')")).await;
    told("3 backup strategies of 2 tenants are not moved: openstack database backup strategy list").await;
    let quota = "INSERT INTO quotas (id, tenant_id, resource, hard_limit) VALUES";
    run(
        server,
        &format!(
            "{quota} ('q-1', 'beside', 'backups', 50), ('q-2', 'beside', 'instances', 7), ('q-3', 'beside-2', 'backups', 51), \
             ('q-4', 'beside-2', 'volumes', -1), ('q-5', 'beside-2', 'ram', NULL)"
        ),
    )
    .await;
    for (tenant, resource, limit) in
        [("beside", "instances", "7"), ("beside-2", "backups", "51"), ("beside-2", "volumes", "unlimited")]
    {
        told(&format!("the quota of tenant `{tenant}` for {resource} is {limit} here and is not moved")).await;
    }
    let lines = trove.not_moved().await;
    assert_eq!(lines.iter().filter(|line| line.contains("`beside")).count(), 3, "{lines:?}");
}

/// Before release 23 there was no `storage_driver`, and once no `version`.
pub(crate) async fn reads_an_older_trove(server: &TroveServer) {
    run(server, "ALTER TABLE backups DROP COLUMN storage_driver").await;
    let old = open(server, "least", QuotaRule::Respect, 50).await;
    let ours = backup("old");
    old.register(&ours).await.expect("registered");
    let ledger = old.ledger(Some(&["old".to_owned()])).await.expect("read");
    let record = ledger.get(ours.id).expect("a record");
    assert_eq!((record.storage_driver.as_deref(), record.unusable.as_ref()), (None, None));
}
