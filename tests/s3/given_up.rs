//! Requests whose answers nobody waits for any more, because the step that made them was cut off.

use std::time::Duration;

use backhaul::id::Key;
use backhaul::store::{BucketOptions, BucketStore, Layout, Metadata, S3Options, Shape, Target};
use backhaul::throttle::Throttle;

use super::bed::BUCKET;
use super::s3::{On, Operation, Options, S3Server};
use super::support::wait_until;

/// Nobody else would ever hear of it.
#[test]
fn an_upload_that_is_begun_when_nobody_waits_for_it_is_aborted() {
    let server = S3Server::start(Options::default());
    server.bucket(BUCKET);
    let options = BucketOptions {
        identity: "given-up".to_owned(),
        prefix: String::new(),
        endpoint: Some(server.endpoint()),
        ca: None,
        stall: Duration::from_secs(30),
    };
    let keys = Some((server.access_key_id().to_owned(), server.secret_access_key().to_owned(), None));
    let s3 = S3Options { bucket: BUCKET.to_owned(), region: Some("eu-1".to_owned()), keys, virtual_hosts: false };
    let store = BucketStore::s3(&options, &s3, &Throttle::unlimited()).expect("options that go together");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let begin = |store: BucketStore| async move {
        let (layout, metadata) = (Layout::Equal { size: 2, part_size: 1 }, Metadata::new());
        let key = Key::parse("late").expect("a key");
        store.begin(&key, "token", Shape { layout: &layout, metadata: &metadata }).await
    };

    let gate = server.hold(On::the(Operation::CreateMultipartUpload));
    let step = runtime.spawn(begin(store.clone()));
    gate.wait_for(1);
    step.abort();
    assert!(runtime.block_on(step).expect_err("it was cut off").is_cancelled());
    gate.release();
    let succeeded = |operation| server.requests_of(operation).iter().filter(|request| request.succeeded()).count();
    wait_until("it is aborted", || succeeded(Operation::AbortMultipartUpload) == 1);
    assert_eq!(server.open_uploads(BUCKET), []);
    assert_eq!(succeeded(Operation::CreateMultipartUpload), 1);

    // One that is waited for stays.
    let upload = runtime.block_on(begin(store)).expect("a new upload");
    let open: Vec<_> = server.open_uploads(BUCKET).into_iter().map(|open| Some(open.id)).collect();
    assert_eq!(open, [upload.upload_id]);
}
