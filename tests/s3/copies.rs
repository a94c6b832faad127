//! Copies when nothing goes wrong.

use std::time::{SystemTime, UNIX_EPOCH};

use super::bed::{BUCKET, Bed, Options, Route, large, small, transfers};
use super::s3::Operation;

#[test]
fn copies_go_every_way() {
    for route in [Route::Between, Route::ToS3, Route::FromS3] {
        for objects in [small(), large()] {
            let bed = Bed::with(route, objects, Options::default());
            bed.run().expect(0);
            bed.is_complete(&format!("{route:?}"));
            bed.bytes_at_most(0, &format!("{route:?}"));
        }
    }
}

#[test]
fn what_travels_with_an_object_arrives() {
    for objects in [small(), large()] {
        let bed = Bed::new(objects);
        bed.run().expect(0);
        for object in &bed.objects {
            let copy = bed.target.get(BUCKET, &object.name).expect("a copy");
            assert_eq!(copy.headers.metadata.get("made-by").map(String::as_str), Some("a test"), "`{}`", object.name);
        }
    }
}

/// One request to each store, and none twice; what was copied is not asked about again.
#[test]
fn a_small_object_is_one_request_to_each_store() {
    let bed = Bed::new(small());
    bed.run().expect(0);
    for object in &bed.objects {
        let of_it = |requests: Vec<super::s3::Request>| {
            requests.into_iter().filter(|request| request.key == object.name).map(|it| it.operation).collect::<Vec<_>>()
        };
        let bytes = [Operation::GetObject, Operation::PutObject, Operation::UploadPart];
        assert_eq!(of_it(transfers(&bed.source, &bytes)), [Operation::GetObject], "`{}`", object.name);
        assert_eq!(of_it(transfers(&bed.target, &bytes)), [Operation::PutObject], "`{}`", object.name);
    }
    for request in bed.source.requests().into_iter().chain(bed.target.requests()) {
        assert_eq!(request.header("accept-encoding"), None, "nobody may compress what is hashed: {request:?}");
    }
    let asked = || [&bed.source, &bed.target].map(|server| server.requests().len());
    let (before, since) = (asked(), now_ms());
    bed.run().expect(0);
    assert_eq!(asked(), before, "a run with nothing to do asks nobody");
    bed.audit().watched().finished().quiet("I9", since).holds("a plan that is finished");
}

/// It asks for all that it tells, and writes to no store and no row.
#[test]
fn a_dry_run_changes_nothing() {
    let bed = Bed::new(small());
    for what in ["before the first run", "after it"] {
        let since = now_ms();
        bed.call("plan", &[]).expect(0);
        bed.audit().quiet("I7", since).holds(what);
        bed.run().expect(0);
    }
    assert!(!bed.source.requests().is_empty(), "it asks");
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis()
}

#[test]
fn a_store_with_a_certificate_of_its_own() {
    let bed = Bed::with(Route::Between, small(), Options { tls: true, attempts: 1, ..Options::default() });
    let plan = std::fs::read_to_string(bed.plan()).expect("the plan");
    std::fs::write(bed.plan(), plan.replace(", ca_file: target-ca.pem", "")).expect("the plan");
    let output = bed.run();
    assert!(matches!(output.code, Some(3 | 6)), "{output}");
    assert!(output.stderr.to_lowercase().contains("certificate"), "{output}");
    assert!(bed.target.requests().is_empty(), "something was said to a server that nobody vouches for");
    bed.write_plan();
    bed.completes("with `ca_file`");
}
