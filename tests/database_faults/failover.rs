//! A replica that lags takes over: what the first had confirmed is gone, and the run must not go on as if it were not.

use super::database_proxy::Proxy;
use super::database_server::{Kind, WITH_A_LOG};
use super::support::{State, is_true, temporaries, wait_until};
use super::{block_on, commits, in_the_middle, on_both, server_with, told, unwatched};

#[test]
fn a_replica_that_lags_takes_over() {
    on_both(a_replica_that_lags_takes_over_on);
}

fn a_replica_that_lags_takes_over_on(kind: Kind) {
    let arguments = match kind {
        Kind::PostgreSql => Vec::new(),
        Kind::MariaDb => WITH_A_LOG.map(str::to_owned).to_vec(),
    };
    let Some(mut primary) = server_with(kind, "a replica that lags takes over", arguments) else { return };
    let proxy = Proxy::to(primary.port);
    let bed = unwatched(&primary, proxy.port);
    let mut replica = block_on(primary.replica());
    // Slower than the others: it must last until the replica is cut off and behind.
    let mut running = in_the_middle(&bed, &["--bandwidth", "3MiB/s"]);
    wait_until("the replica has followed", || commits(&replica) > 0);
    block_on(replica.cut_off());
    wait_until("the replica is behind", || {
        assert!(!running.has_ended(), "it was to be met in the middle");
        commits(&primary) >= commits(&replica) + 3
    });
    primary.kill();
    proxy.lead_to(replica.port);
    block_on(replica.take_over());

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
