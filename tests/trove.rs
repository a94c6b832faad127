//! Trove's database as a catalog, on real servers with Trove's own tables, started by the tests: `MariaDB`, which every
//! Trove has, and `PostgreSQL`.

mod support;

#[path = "trove/checks.rs"]
mod checks;
#[path = "trove/cutter.rs"]
mod cutter;
#[path = "trove/reading.rs"]
mod reading;
#[path = "trove/server.rs"]
mod server;

use server::Server;

fn pass(mut server: Server) {
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
        reading::reads_an_older_trove(&server).await;
    });
    server.stop();
    runtime.block_on(checks::says_at_once_that_nobody_answers(&server));
}

#[test]
fn mariadb_holds_each_copy_once() {
    match Server::mariadb() {
        Some(server) => pass(server),
        None => support::skip("Trove's database on MariaDB", "mariadbd is not installed; `tests/run` installs it"),
    }
}

#[test]
fn postgresql_holds_each_copy_once() {
    match Server::postgresql() {
        Some(server) => pass(server),
        None => support::skip("Trove's database on PostgreSQL", "postgres is not installed; `tests/run` installs it"),
    }
}
