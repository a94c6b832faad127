//! 500 bits, each turned over in another object at one of four places: every one is noticed, nothing of it is registered,
//! and nothing of it is left under its final name.

use backhaul::failure::Cause;

use super::bed::{BUCKET, Bed, Object, Options, PART, Route};
use super::s3::{self, On, Operation, What};

/// Objects of one part are cheap: most flips go there. One object in `LARGE_EVERY` has two parts.
const LARGE_EVERY: usize = 25;

fn objects(count: usize) -> Vec<Object> {
    let size = |number: usize| {
        if number % LARGE_EVERY == LARGE_EVERY - 1 { PART + 100_000 } else { 1_000 + 997 * number as u64 }
    };
    (0..count).map(|number| Object::new(&format!("{number:03}.xbstream.gz"), size(number))).collect()
}

/// A bit of each object: the first, the last, and others between.
fn bit(number: usize, size: u64) -> u64 {
    match number % 5 {
        0 => 0,
        1 => size * 8 - 1,
        other => (size * 8 / 5 * other as u64) + number as u64 % 8,
    }
}

fn options(verify: &'static str) -> Options {
    // One attempt: what is wrong once is told, and not sent again until it is right.
    Options { verify, attempts: 1, ..Options::default() }
}

/// All objects of a bed were caught: exit code 7, no record, no copy, no upload.
#[track_caller]
fn all_are_caught(bed: &Bed, what: &str) {
    let output = bed.run();
    assert_eq!(output.code, Some(7), "{what}: {output}");
    let rows = bed.rows();
    assert_eq!(rows.len(), bed.objects.len(), "{what}");
    for (row, _) in rows {
        assert_eq!(row.cause, Some(Cause::Integrity), "{what}: `{}`: {:?}", row.name, row.error);
    }
    assert_eq!(bed.copies(), [] as [String; 0], "{what}: left under final names");
    assert!(bed.records().is_empty(), "{what}: registered");
    bed.has_no_debris(what);
    bed.is_true(what);
    bed.audit().finished().holds(what);
}

/// A source that shows no digest of its bytes says nothing by itself: what the plan, a record or an earlier copy knows
/// must catch it. S3 shows MD5 or CRC64NVME of what it was given.
#[test]
fn bits_of_what_the_source_sends() {
    let bed = Bed::with(Route::Between, objects(150), options("store"));
    for (number, object) in bed.objects.iter().enumerate() {
        // Of an object of several parts the second one.
        let on = On::the(Operation::GetObject).key(&object.name).nth(if object.is_large() { 2..=99 } else { 1..=99 });
        let bit = if object.is_large() { 8 * 1_000 + 3 } else { bit(number, object.size) };
        bed.source.fault(on, What::FlipResponse(bit));
    }
    all_are_caught(&bed, "the source's answer");
}

#[test]
fn bits_of_what_lies_in_the_source() {
    let bed = Bed::with(Route::Between, objects(100), options("store"));
    for (number, object) in bed.objects.iter().enumerate() {
        bed.source.flip_bit(BUCKET, &object.name, bit(number, object.size));
    }
    all_are_caught(&bed, "the source's disk");
}

/// On the way to the target: the checksum that is sent along is the store's reason to refuse.
#[test]
fn bits_of_what_is_sent_to_the_target() {
    let bed = Bed::with(Route::Between, objects(100), options("store"));
    for (number, object) in bed.objects.iter().enumerate() {
        let bit = if object.is_large() { 8 * 1_000 + 3 } else { bit(number, object.size) };
        bed.target.fault(On::the(Operation::PutObject).key(&object.name), What::FlipRequest(bit));
        bed.target.fault(On::the(Operation::UploadPart).key(&object.name).part(2), What::FlipRequest(bit));
    }
    all_are_caught(&bed, "the way to the target");
}

/// The same where the target knows no checksums: its `ETag`, or reading back, tells.
#[test]
fn bits_of_what_is_sent_to_an_older_target() {
    for opaque in [false, true] {
        let defaults = options("store");
        let target = s3::Options { opaque, echo_checksums: false, ..defaults.target.clone() };
        let bed = Bed::with(Route::Between, objects(50), Options { target, ..defaults });
        for (number, object) in bed.objects.iter().enumerate() {
            let bit = if object.is_large() { 8 * 1_000 + 3 } else { bit(number, object.size) };
            bed.target.fault(On::the(Operation::PutObject).key(&object.name), What::FlipRequest(bit));
            bed.target.fault(On::the(Operation::UploadPart).key(&object.name).part(2), What::FlipRequest(bit));
        }
        all_are_caught(&bed, &format!("the way to an older target, opaque {opaque}"));
    }
}

/// A store that says that all is well, and holds something else: only reading back tells.
#[test]
fn bits_of_what_the_target_stores() {
    let bed = Bed::with(Route::Between, objects(50), options("read-back"));
    for (number, object) in bed.objects.iter().enumerate() {
        let bit = if object.is_large() { 8 * 1_000 + 3 } else { bit(number, object.size) };
        bed.target.fault(On::the(Operation::PutObject).key(&object.name), What::FlipStored(bit));
        bed.target.fault(On::the(Operation::UploadPart).key(&object.name).part(2), What::FlipStored(bit));
    }
    all_are_caught(&bed, "the target's disk, read back");
}

/// What rots later is found by `backhaul verify`.
#[test]
fn bits_that_turn_over_later() {
    let bed = Bed::with(Route::Between, objects(50), options("store"));
    bed.run().expect(0);
    bed.call("verify", &[]).expect(0);
    for (number, object) in bed.objects.iter().enumerate() {
        bed.target.flip_bit(BUCKET, &object.name, bit(number, object.size));
    }
    let output = bed.call("verify", &[]);
    assert_eq!(output.code, Some(7), "{output}");
    for (row, _) in bed.rows() {
        assert_eq!(row.state.as_str(), "FAILED", "`{}`", row.name);
    }
    let damaged = bed.records().into_iter().filter(|record| format!("{:?}", record.state) == "Failed").count();
    assert_eq!(damaged, bed.objects.len(), "the catalog says which cannot be restored");
}
