//! A region whose Trove keeps its backups in `PostgreSQL`: the whole way into it, and out of it again.

use backhaul::state::State;

use crate::bed::{Bed, READ_EACH, WRITE_EACH, answered, asked, others_are_untouched, select};
use crate::database_server::Kind;
use crate::openstack::{Backup, OpenStack, Seeds, TWO};
use crate::restored::links_are;
use crate::support;
use crate::trove_database::TroveServer;

const TENANT: &str = "postgresql";

/// Every column that matters, as texts.
const COLUMNS: &str = "id, name, description, location, backup_type, tenant_id, state, instance_id, checksum, \
     deleted::text, to_char(created, 'YYYY-MM-DD\"T\"HH24:MI:SS'), parent_id, datastore_version_id, storage_driver";

#[test]
fn a_trove_on_postgresql_gets_each_copy_once_and_gives_them_again() {
    let test = "Trove on PostgreSQL in a whole migration";
    let Some(openstack) = OpenStack::shared(test) else { return };
    let server = match TroveServer::start(Kind::PostgreSql) {
        Ok(server) => server,
        Err(why) => return support::skip(test, &format!("{why}; `tests/run` installs it")),
    };
    openstack.add_tenants(&[TENANT]);
    let seeds = openstack.seed(&["postgresql/small"]);
    let mut bed = Bed::new(&openstack);
    bed.set("TWO_DB", &server.url_of("least", server.port));
    bed.plan(&[READ_EACH, WRITE_EACH], &[select(&openstack, &[TENANT])]);
    assert_eq!(bed.forecast(&[]).code, Some(0));
    bed.run().expect(0);
    are_troves_rows(&openstack, &server, &seeds, &bed);
    bed.backhaul(&["verify", "--depth", "full", "plan.yaml"]).expect(0);
    all_are_restorable(&openstack, &seeds, &bed);

    // Again, and again with the database lost.
    let before = answered(&openstack, TWO);
    bed.run().expect(0);
    std::fs::remove_file(bed.database()).expect("it was there");
    bed.run().expect(0);
    let changed = asked(&openstack, TWO, &[TENANT], before);
    let changed: Vec<_> = changed.iter().filter(|asked| asked.writes() && (200..300).contains(&asked.status)).collect();
    assert!(changed.is_empty(), "{changed:#?}");
    are_troves_rows(&openstack, &server, &seeds, &bed);

    trove_restores(&openstack, &server, &seeds, &bed);
    gives_them_again(&openstack, &server, &seeds);
    others_are_untouched(&openstack);
}

fn copy(bed: &Bed, of: &Backup) -> String {
    let rows = bed.rows();
    let row = rows.iter().find(|row| row.source_id.as_deref() == Some(&*of.id)).expect("it is planned");
    assert_eq!(row.state, State::Completed, "{}: {:?}", of.name, row.error);
    row.id.to_string()
}

#[track_caller]
fn are_troves_rows(openstack: &OpenStack, server: &TroveServer, seeds: &Seeds, bed: &Bed) {
    let project = openstack.project(TENANT);
    let account = openstack.account(TWO, TENANT);
    let mut expected: Vec<Vec<String>> = Vec::new();
    for of in seeds.of(TENANT) {
        let id = copy(bed, of);
        let extensions = of.object.as_deref().and_then(|object| object.split_once('.')).expect("a name of Trove's").1;
        let chain = seeds.chain(of);
        let parent = of.parent_id.as_ref().map(|_| copy(bed, chain[chain.len() - 2]));
        let kind = if parent.is_some() { "incremental" } else { "full" };
        let checksum = of.checksum.as_deref().expect("stored");
        let texts = [
            &*id,
            &of.name,
            &format!("seeded {} é", of.name),
            &format!("{account}/{}/{id}.{extensions}", of.container),
            kind,
            &project,
            "COMPLETED",
            "",
            checksum,
            "false",
            &of.created,
            &parent.unwrap_or_default(),
            "v-mysql-8",
            "swift",
        ];
        expected.push(texts.map(str::to_owned).into());
    }
    let mut found = server.texts(&format!("SELECT {COLUMNS} FROM backups"));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let usage = server.texts("SELECT tenant_id, resource, in_use::text, reserved::text FROM quota_usages");
    assert_eq!(usage, [[project, "backups".to_owned(), expected.len().to_string(), "0".to_owned()]]);
}

/// `compare` reads the other region's whole catalog, other tests' tenants too: those of this one are all there.
#[track_caller]
fn all_are_restorable(openstack: &OpenStack, seeds: &Seeds, bed: &Bed) {
    let project = openstack.project(TENANT);
    let said = bed.backhaul(&["compare", "--json", "--from", "region-one", "--to", "region-two", "plan.yaml"]);
    let lines = said.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let standings: Vec<_> = lines.filter(|line| line["tenant"] == *project).collect();
    assert_eq!(standings.len(), seeds.of(TENANT).len(), "{said}");
    assert!(standings.iter().all(|line| line["standing"] == "restorable"), "{standings:#?}");
}

/// By its own code, which has the rows of `MariaDB` only: they are carried over as they are.
#[track_caller]
fn trove_restores(openstack: &OpenStack, server: &TroveServer, seeds: &Seeds, bed: &Bed) {
    let columns =
        ["id", "name", "location", "backup_type", "tenant_id", "state", "checksum", "parent_id", "storage_driver"];
    let quoted = columns.map(|column| format!("quote_nullable({column})")).join(", ");
    let version = openstack.datastore_version(TWO, "mysql", "8.0");
    for row in server.texts(&format!("SELECT concat_ws(', ', {quoted}) FROM backups")) {
        openstack.sql(
            TWO,
            &format!(
                "INSERT INTO backups ({}, deleted, datastore_version_id) VALUES ({}, 0, '{version}')",
                columns.join(", "),
                row[0]
            ),
        );
    }
    for name in ["plain", "slo", "a-inc2"] {
        let backup = seeds.backup(&format!("{TENANT}/{name}"));
        let links = openstack.restore(TWO, TENANT, &copy(bed, backup));
        links_are(&links, seeds, backup, &openstack.account(TWO, TENANT));
    }
}

/// As a source: into a folder, by a user who may only read.
#[track_caller]
fn gives_them_again(openstack: &OpenStack, server: &TroveServer, seeds: &Seeds) {
    let mut bed = Bed::new(openstack);
    bed.set("TWO_DB", &server.url_of("reader", server.port));
    let vault = "\n  vault: { store: { type: file, path: vault } }";
    bed.plan(&[WRITE_EACH, vault], &["{ select: { from: region-two }, to: [vault] }".to_owned()]);
    assert_eq!(bed.forecast(&[]).code, Some(0));
    bed.run().expect(0);
    let rows = bed.rows();
    assert_eq!(rows.len(), seeds.of(TENANT).len());
    for of in seeds.of(TENANT) {
        let row = rows.iter().find(|row| row.name == of.name).expect("it is planned");
        assert_eq!(row.state, State::Completed, "{}: {:?}", row.name, row.error);
        assert_eq!(row.sha256.map(|sha256| sha256.to_string()), of.sha256, "{}", row.name);
    }
}
