//! Copies that another runner takes over while something of theirs is on its way to the store.

use rustix::process::Signal;

use super::bed::{BUCKET, Bed, Object, Options, PART, Route, honest};
use super::database_server::{DatabaseServer, Kind};
use super::for_all;
use super::s3::{On, Operation};
use super::support::{Running, is_stopped, skip, wait_until};
use super::witnessed::Witnessed;

const LARGE: &str = "large.xbstream.gz";

/// What keeps both runners at work until the test lets it go.
const HELD: &str = "held.bin";

fn join(bed: &Bed, fault: Option<&str>) -> Running {
    let mut command = bed.command("run", &["-v", "--if-running", "join", "--lease", "3s", "--heartbeat", "1s"]);
    Running::start(command.envs(fault.map(|fault| ("BACKHAUL_FAULT", fault))))
}

/// Whoever took the row over has looked for uploads before it was there, and nobody else will.
#[test]
fn an_upload_whose_row_was_taken_while_it_was_begun_is_aborted() {
    if !cfg!(feature = "fault-points") {
        return skip("an upload whose row was taken", "built without the feature `fault-points`");
    }
    for_all([Kind::PostgreSql, Kind::MariaDb], |kind| match DatabaseServer::start(kind) {
        Ok(server) => is_aborted(&server),
        Err(why) => skip("an upload whose row was taken", &why),
    });
}

fn is_aborted(server: &DatabaseServer) {
    let database = Witnessed::make(server, "taken_over");
    let objects = vec![Object::new(LARGE, PART + 1), Object::new(HELD, 1_000)];
    let options = Options { timeout: "1m", database: Some(database.url.clone()), ..Options::default() };
    let bed = Bed::with(Route::Between, objects, options);
    let gate = bed.source.hold(On::the(Operation::GetObject).key(HELD));

    let mut late = join(&bed, Some("before-upload-row:1:stop"));
    wait_until("it has begun an upload and is stopped", || {
        assert!(!late.has_ended(), "it has not come to this point");
        is_stopped(late.pid())
    });
    let begun = bed.target.open_uploads(BUCKET).pop().expect("an upload").id;
    let hidden = bed.target.hide_upload(BUCKET, &begun);
    let other = join(&bed, None);
    wait_until("the other has copied it", || bed.copies() == [LARGE]);
    bed.target.show_upload(BUCKET, hidden);

    late.signal(Signal::CONT);
    wait_until("it is aborted", || bed.target.open_uploads(BUCKET).is_empty());
    assert!(!late.has_ended());
    gate.release();
    for runner in [late, other] {
        honest(runner.wait()).expect(0);
    }
    bed.is_complete("an upload whose row was taken");
    let uploads = bed.target.requests_of(Operation::AbortMultipartUpload).into_iter();
    assert_eq!(uploads.filter_map(|request| request.upload_id).collect::<Vec<_>>(), [begun]);
    database.changes_are_legal(bed.objects.len());
}
