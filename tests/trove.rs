//! Trove's catalogs. Its database on servers with Trove's own tables, started by the tests: `MariaDB`, which every Trove
//! has, and `PostgreSQL`; and a real Trove in a real `OpenStack`, by its database and its API.

mod support;

#[path = "trove/api.rs"]
mod api;
#[path = "trove/checks.rs"]
mod checks;
#[path = "trove/cutter.rs"]
mod cutter;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "support/openstack.rs"]
mod openstack;
#[path = "trove/reading.rs"]
mod reading;
#[path = "support/session.rs"]
mod session;
#[path = "support/trove_database.rs"]
mod trove_database;

use database_server::Kind;
use openstack::OpenStack;
use trove_database::TroveServer;

fn pass(mut server: TroveServer) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        checks::registers_once_however_often(&server).await;
        checks::keeps_other_rows(&server).await;
        checks::keeps_to_quotas(&server).await;
        checks::starts_the_count_with_what_is_there(&server).await;
        checks::counts_right_when_many_register(&server).await;
        checks::looks_again_when_no_reply_came(&server).await;
        checks::refuses_what_does_not_fit(&server).await;
        checks::needs_no_more_than_it_says(&server).await;
        reading::reads_rows_as_they_are(&server).await;
        reading::tells_versions(&server).await;
        reading::tells_what_is_not_moved(&server).await;
        reading::reads_an_older_trove(&server).await;
    });
    server.stop();
    runtime.block_on(checks::says_at_once_that_nobody_answers(&server));
}

#[test]
fn mariadb_holds_each_copy_once() {
    match TroveServer::start(Kind::MariaDb) {
        Ok(server) => pass(server),
        Err(why) => support::skip("Trove's database on MariaDB", &format!("{why}; `tests/run` installs it")),
    }
}

#[test]
fn postgresql_holds_each_copy_once() {
    match TroveServer::start(Kind::PostgreSql) {
        Ok(server) => pass(server),
        Err(why) => support::skip("Trove's database on PostgreSQL", &format!("{why}; `tests/run` installs it")),
    }
}

/// Requests a minute and project that this Trove takes.
const RATE: usize = 40;

#[test]
fn a_real_trove_is_read_and_holds_each_copy_once() {
    let settings = [("TROVE_RATE", RATE.to_string()), ("MAX_BACKUPS", "4".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let Some(openstack) = OpenStack::start("Trove's catalogs in a real OpenStack", &settings) else { return };
    openstack.add_tenants(&["catalog-api", "catalog-cut", "catalog-quota", "catalog-apart", "catalog-read"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        api::registers_chains_once(&openstack).await;
        api::looks_again_when_no_answer_came(&openstack).await;
        api::tells_both_kinds_of_413_apart(&openstack, RATE).await;
        api::keeps_projects_apart(&openstack).await;
        api::reads_and_registers_in_the_database(&openstack).await;
    });
}
