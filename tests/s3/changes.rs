//! What others do meanwhile, and stores that say no: the copy fails with the store's word, or starts again; nothing is
//! overwritten, nothing half done is left.

use super::bed::{BUCKET, Bed, MIB, Options, PART, Route, one, small};
use super::for_all;
use super::s3::{self, Change, Conditions, Headers, On, Operation, What};

const KEY: &str = "only.xbstream.gz";
const SMALL: u64 = 200_000;
const BIG: u64 = 3 * PART + 77;

/// A run that must fail with exit code 3 and these words, and leave neither a copy nor an open upload.
#[track_caller]
fn fails(bed: &Bed, what: &str, words: &[&str]) {
    let output = bed.run();
    assert_eq!(output.code, Some(3), "{what}: {output}");
    for word in words {
        assert!(output.stderr.contains(word), "{what}: does not say `{word}`: {output}");
    }
    bed.has_no_debris(what);
    assert!(bed.records().is_empty(), "{what}: it was registered");
}

#[test]
fn a_source_that_changes_while_it_is_read() {
    let other = || Change::Object(vec![7; 5000].into());
    let same_size = |size: u64| Change::Object(vec![7; usize::try_from(size).expect("small")].into());
    let mut all = Vec::new();
    for size in [SMALL, BIG] {
        let first = On::the(Operation::GetObject).once();
        let second = On::the(Operation::GetObject).nth(2..=2);
        for change in [other(), same_size(size), Change::DeleteObject] {
            all.push((size, first.clone(), What::MidBody(MIB / 10, change.clone())));
            all.push((size, first.clone(), What::Before(change.clone())));
            if size == BIG {
                all.push((size, second.clone(), What::MidBody(MIB / 10, change.clone())));
                all.push((size, second.clone(), What::Before(change)));
            }
        }
    }
    for_all(all, |(size, on, what)| {
        let bed = Bed::new(one(size));
        let fault = bed.source.fault(on, what.clone());
        let gone = format!("{what:?}").contains("DeleteObject");
        fails(&bed, &format!("{what:?} of {size}"), &[if gone { "no such object" } else { "chang" }]);
        assert_eq!(bed.source.strikes(fault), 1);
        assert!(bed.copies().is_empty());
        // Not tried again before somebody says so.
        let reads = bed.source.count(Operation::GetObject).requests;
        let again = bed.run();
        if gone {
            assert_eq!(again.code, Some(3), "{again}");
            assert_eq!(bed.source.count(Operation::GetObject).requests, reads, "a permanent failure was tried again");
        }
    });
}

#[test]
fn another_object_under_the_name() {
    for_all([SMALL, BIG], |size| {
        let bed = Bed::new(one(size));
        bed.target.put(BUCKET, KEY, &b"somebody's"[..], Headers::default());
        fails(&bed, "other bytes", &["nothing was overwritten"]);
        assert!(size == SMALL || bed.sent(KEY) == 0, "bytes were sent in vain");
        assert_eq!(bed.copy_of(KEY).expect("still there"), &b"somebody's"[..]);

        let bed = Bed::new(one(size));
        bed.target.put(BUCKET, KEY, bed.objects[0].bytes(), Headers::default());
        bed.run().expect(0);
        bed.is_complete("the same bytes");
        assert_eq!(bed.target.count(Operation::UploadPart).requests, 0, "{size}: adopted");
    });
}

#[test]
fn another_object_that_comes_in_the_last_instant() {
    let dialects = [Conditions::Honoured, Conditions::RefusedOnComplete, Conditions::Refused, Conditions::Ignored];
    let all = dialects.into_iter().flat_map(|conditions| [(SMALL, conditions), (BIG, conditions)]);
    for_all(all.flat_map(|it| [(it, true), (it, false)]), |((size, conditions), same)| {
        let what = format!("{conditions:?}, {size} bytes, {}", if same { "the same" } else { "others" });
        let defaults = Options::default();
        let target = s3::Options { conditions, ..defaults.target.clone() };
        let bed = Bed::with(Route::Between, one(size), Options { target, ..defaults });
        // Where the store keeps the condition, directly before the request is done; else before the last look.
        let kept = conditions == Conditions::Honoured || (conditions == Conditions::RefusedOnComplete && size == SMALL);
        let last = if size == SMALL { Operation::PutObject } else { Operation::CompleteMultipartUpload };
        let bytes = if same { bed.objects[0].bytes() } else { (&b"somebody's"[..]).into() };
        let on = if kept {
            On::the(last)
        } else if size == SMALL {
            On::the(Operation::HeadObject)
        } else {
            On::the(Operation::HeadObject).nth(2..=2)
        };
        let fault = bed.target.fault(on.key(KEY), What::Before(Change::Object(bytes.clone())));
        let output = bed.run();
        assert!(bed.target.strikes(fault) > 0, "{what}: {output}");
        assert_eq!(bed.copy_of(KEY).expect("still there"), bytes, "{what}");
        assert_eq!(bed.overwritten(), [] as [String; 0], "{what}: {output}");
        bed.has_no_debris(&what);
        assert_eq!(output.code, Some(if same { 0 } else { 3 }), "{what}: {output}");
        assert_eq!(bed.records().len(), usize::from(same), "{what}");
    });
}

#[test]
fn stores_that_know_less() {
    let dialects = [
        (false, false, Conditions::Honoured),
        (true, false, Conditions::Honoured),
        (true, true, Conditions::Ignored),
        (false, true, Conditions::RefusedOnComplete),
        (true, false, Conditions::Refused),
    ];
    let all = dialects.into_iter().flat_map(|dialect| [small(), one(BIG)].map(|objects| (dialect, objects)));
    for_all(all, |((opaque, echo_checksums, conditions), objects)| {
        let what = format!("opaque {opaque}, checksums {echo_checksums}, {conditions:?}");
        let dialect = |options: s3::Options| s3::Options { opaque, echo_checksums, conditions, ..options };
        let Options { source, target, .. } = Options::default();
        let (source, target) = (dialect(source), dialect(target));
        let bed = Bed::with(Route::Between, objects, Options { source, target, ..Options::default() });
        bed.run().expect(0);
        bed.is_complete(&what);
        let proofs: Vec<String> = bed.records().into_iter().filter_map(|record| record.verified).collect();
        let nothing_shown = opaque && !echo_checksums;
        for proof in &proofs {
            assert_eq!(proof == "read back whole, sha256", nothing_shown, "{what}: {proofs:?}");
        }
    });
}

#[test]
fn a_store_that_says_no() {
    let cases = [
        (403, "AccessDenied", "403 AccessDenied"),
        (403, "AccountProblem", "403 AccountProblem"),
        (401, "Unauthorized", "401 Unauthorized"),
        (405, "MethodNotAllowed", "405 MethodNotAllowed"),
        (400, "EntityTooLarge", "400 EntityTooLarge"),
        (409, "InvalidBucketState", "409 InvalidBucketState"),
    ];
    let operations = [
        (BIG, On::the(Operation::CreateMultipartUpload), true),
        (BIG, On::the(Operation::UploadPart).part(3), true),
        (BIG, On::the(Operation::CompleteMultipartUpload), true),
        (SMALL, On::the(Operation::PutObject).key(KEY), true),
        (BIG, On::the(Operation::GetObject).nth(2..=99), false),
        (SMALL, On::the(Operation::GetObject), false),
    ];
    let all = cases.into_iter().flat_map(|case| operations.clone().map(|operation| (case, operation)));
    for_all(all, |((status, code, words), (size, on, at_target))| {
        if code == "InvalidBucketState" && !at_target {
            return;
        }
        let what = format!("{status} {code} on {on:?}");
        let bed = Bed::new(one(size));
        let server = if at_target { &bed.target } else { &bed.source };
        let fault = server.fault(on.clone(), What::status(status, code));
        fails(&bed, &what, &[words]);
        // As many as there are parts under way, and none of them twice.
        assert!((1..=3).contains(&server.strikes(fault)), "{what}: {}", server.strikes(fault));
        assert!(bed.copies().is_empty(), "{what}");
    });
}

#[test]
fn an_upload_that_the_server_drops() {
    let faults = [
        (On::the(Operation::UploadPart).part(3).once(), Change::DropUpload),
        (On::the(Operation::CompleteMultipartUpload).once(), Change::DropUpload),
        (On::the(Operation::CompleteMultipartUpload).once(), Change::DropPart(2)),
    ];
    for_all(faults, |(on, change)| {
        let what = format!("{change:?} at {on:?}");
        let bed = Bed::new(one(BIG));
        let fault = bed.target.fault(on, What::Before(change));
        let output = bed.run();
        assert_eq!(output.code, Some(0), "{what}: {output}");
        assert_eq!(bed.target.strikes(fault), 1, "{what}");
        assert!(output.stderr.contains("starting again"), "{what}: {output}");
        bed.is_complete(&what);
        assert!(bed.sent(KEY) <= 2 * BIG, "{what}: counted as one restart");
    });
    // Between two runs: the upload, or one of its parts.
    for_all([Change::DropUpload, Change::DropPart(1)], |change| {
        let what = format!("{change:?} between two runs");
        let bed = Bed::new(one(BIG));
        let killed = bed.run_until("after-part-row", 2);
        assert!(killed.signal.is_some(), "{killed}");
        bed.target.fault(On::the(Operation::ListParts), What::Before(change));
        let output = bed.run();
        assert_eq!(output.code, Some(0), "{what}: {output}");
        assert!(output.stderr.contains("starting again"), "{what}: {output}");
        bed.is_complete(&what);
    });
}

/// A target that does not show yet what was just put there.
#[test]
fn a_target_that_forgets_for_a_moment() {
    for_all([SMALL, BIG], |size| {
        for n in 1..=4 {
            let what = format!("HEAD number {n} of {size} bytes answers 404");
            let bed = Bed::new(one(size));
            bed.target.fault(On::the(Operation::HeadObject).nth(n..=n), What::status(404, "NoSuchKey"));
            let output = bed.run();
            assert_eq!(output.code, Some(0), "{what}: {output}");
            bed.is_complete(&what);
        }
    });
}

#[test]
fn what_is_wrong_with_the_plan_or_the_machine_is_said() {
    let cases = [
        (What::status(403, "SignatureDoesNotMatch"), "check the keys"),
        (What::status(403, "InvalidAccessKeyId"), "check the keys"),
        (What::status(403, "RequestTimeTooSkewed"), "clock"),
        (What::status(404, "NoSuchBucket"), "correct its name"),
        (What::Redirect { status: 301, location: "http://127.0.0.1:1/".to_owned() }, "redirects are not followed"),
        (What::Redirect { status: 307, location: "http://127.0.0.1:1/".to_owned() }, "redirects are not followed"),
    ];
    for_all(cases.into_iter().flat_map(|case| [(case.clone(), true), (case, false)]), |((what, hint), at_source)| {
        let bed = Bed::new(one(SMALL));
        let server = if at_source { &bed.source } else { &bed.target };
        let fault = server.fault(On::any(), what.clone());
        let output = bed.run();
        let name = format!("{what:?}, source {at_source}");
        assert!(matches!(output.code, Some(3 | 6)), "{name}: {output}");
        // The answer to a HEAD has no body, and so no word but its status.
        let hint = match &what {
            What::Status { status: 403, .. } if at_source => "give the keys of this region the permission",
            What::Status { status: 404, .. } if at_source => "no such object",
            _ => hint,
        };
        assert!(format!("{}{}", output.stdout, output.stderr).contains(hint), "{name}: {output}");
        assert!(server.strikes(fault) <= 4, "{name}: {} requests", server.strikes(fault));
        assert!(bed.copies().is_empty() && bed.records().is_empty());
        bed.completes_when_retried(&name);
    });
}
