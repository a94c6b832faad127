//! A replica that lags takes over: what the first had confirmed is gone, and the run must not go on as if it were not.
//! `MariaDB` has no such test here; that a database which went back is noticed is tested on both in `src/database`.

use super::database_proxy::Proxy;
use super::database_server::Kind;
use super::support::{State, is_true, temporaries, wait_until};
use super::{NAME, block_on, commits, in_the_middle, server, told, unwatched};

#[test]
fn a_replica_that_lags_takes_over() {
    let Some(mut primary) = server(Kind::PostgreSql, "a replica that lags takes over") else { return };
    let proxy = Proxy::to(primary.port);
    let bed = unwatched(&primary, proxy.port);
    let mut replica = primary.replica();
    // Slower than the others: it must last until the replica is cut off and behind.
    let mut running = in_the_middle(&bed, &["--bandwidth", "3MiB/s"]);
    wait_until("the replica has followed", || commits(&replica) > 0);
    // It is cut off, and falls behind.
    block_on(replica.execute(NAME, "ALTER SYSTEM SET primary_conninfo = ''"));
    block_on(replica.execute(NAME, "SELECT pg_reload_conf()"));
    let following = "SELECT count(*) FROM pg_stat_wal_receiver";
    wait_until("it is cut off", || block_on(replica.number(NAME, following)) == Some(0));
    wait_until("the replica is behind", || {
        assert!(!running.has_ended(), "it was to be met in the middle");
        commits(&primary) >= commits(&replica) + 3
    });
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
    bed.run().expect(0);
    let (state, undisturbed) = (State::of(&bed), bed.layout.undisturbed());
    assert_eq!(state.rows, undisturbed.rows);
    assert_eq!(state.records, undisturbed.records);
    // What was begun while the replica was behind has no row: its unfinished file stays, and is nobody's.
    let forgotten = temporaries(&bed);
    let mut files = state.files;
    files.retain(|name, _| !forgotten.contains(&bed.path().join(name)));
    assert_eq!(files, undisturbed.files);
    replica.stop();
}
