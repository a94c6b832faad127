//! A replica that lags takes over: what the first had confirmed is gone, and the run must not go on as if it were not.
//! `MariaDB` has no such test here; that a database which went back is noticed is tested on both in `src/database`.

use super::database_proxy::Proxy;
use super::database_server::Kind;
use super::support::{self, is_true, wait_until};
use super::{NAME, bed, block_on, in_the_middle, server, told, wait_for_parts};

#[test]
fn a_replica_that_lags_takes_over() {
    let Some(mut primary) = server(Kind::PostgreSql, "a replica that lags takes over") else { return };
    let proxy = Proxy::to(primary.port);
    let bed = bed(&primary, proxy.port);
    let mut replica = primary.replica();
    let mut running = in_the_middle(&bed);
    let parts_of = |port: u16| {
        let url = backhaul::database::DatabaseUrl::parse(&primary.url(NAME, port)).expect("a URL");
        support::rows_at(&url).unwrap_or_default().iter().map(|(_, parts)| parts.len()).sum::<usize>()
    };
    wait_until("the replica has followed", || parts_of(replica.port) > 0);
    // It is cut off, and falls behind.
    block_on(replica.execute(NAME, "ALTER SYSTEM SET primary_conninfo = ''"));
    block_on(replica.execute(NAME, "SELECT pg_reload_conf()"));
    let following = "SELECT count(*) FROM pg_stat_wal_receiver";
    wait_until("it is cut off", || block_on(replica.number(NAME, following)) == Some(0));
    wait_for_parts(&bed, &mut running, parts_of(replica.port) + 3);
    primary.kill();
    proxy.lead_to(replica.port);
    block_on(replica.execute(NAME, "SELECT pg_promote()"));

    let output = running.wait().expect(6);
    let text = format!(
        "error: the database `{}` has forgotten what it had confirmed\n\n\
         hint: look at the server, then run the same command again; copies are looked at anew",
        bed.database_url()
    );
    assert_eq!(output.stderr.trim_end(), text);
    for step in ["retrying", "failed"] {
        assert!(!told(&output).contains(&step.to_owned()), "{step}: {output}");
    }
    is_true(&bed, "after the failover");
    bed.completes(2, "after the failover");
    replica.stop();
}
