//! One fault of a kind that passes: the same run goes on and completes, and sends or reads one part again at most.

use std::time::Duration;

use super::bed::{Bed, MIB, Object, PART};
use super::for_all;
use super::s3::{On, Operation, What};

const BIG: &str = "big.xbstream.gz";
const SMALL: &str = "small.xbstream.gz";

fn objects() -> Vec<Object> {
    vec![Object::new(BIG, 3 * PART + 100_000), Object::new(SMALL, 200_000)]
}

fn statuses() -> Vec<What> {
    let codes =
        [(500, "InternalError"), (502, "BadGateway"), (503, "SlowDown"), (504, "GatewayTimeout"), (429, "TooMany")];
    codes.into_iter().map(|(status, code)| What::status(status, code)).collect()
}

/// Runs a plan in which one request to `source` or target goes wrong.
fn completes_in_spite_of(at_source: bool, on: &On, what: &What) {
    let name = format!("{what:?} on {on:?}");
    let bed = Bed::new(objects());
    let server = if at_source { &bed.source } else { &bed.target };
    let fault = server.fault(on.clone().once(), what.clone());
    let output = bed.run();
    assert_eq!(server.strikes(fault), 1, "{name}: it did not strike: {output}");
    assert_eq!(output.code, Some(0), "{name}: {output}");
    bed.is_complete(&name);
    // One part, or the small object, goes again: all that a fault may cost. (A body may say that it is longer.)
    if !matches!(what, What::ExtendBody(_) | What::Gzip) {
        bed.bytes_at_most(1, &name);
    }
}

#[test]
fn reading_goes_on_after_any_answer_that_is_none() {
    let mut faults = statuses();
    faults.extend([
        What::TruncateBody(0),
        What::TruncateBody(MIB / 10),
        What::ResetBody(0),
        What::ResetBody(MIB / 10),
        What::StallBody(MIB / 10),
        What::ExtendBody(1),
        What::Chunked { ends_after: Some(MIB / 10) },
        What::Chunked { ends_after: None },
        What::Gzip,
        What::Reset,
        What::Stall,
        What::SwallowReply,
        What::EmptyOk,
        What::HtmlBody,
        What::ErrorInOk { code: "InternalError" },
        What::slow_down("1"),
    ]);
    let mut all = Vec::new();
    for what in faults {
        for key in [BIG, SMALL] {
            all.push((On::the(Operation::GetObject).key(key), what.clone()));
        }
        // The first HEAD is the survey's.
        all.push((On::the(Operation::HeadObject).key(BIG), what));
    }
    // A byte now and then is no sign of life.
    let drip = What::Drip { bytes: 100, every: Duration::from_millis(150) };
    all.push((On::the(Operation::GetObject).key(BIG).nth(2..=2), drip.clone()));
    all.push((On::the(Operation::GetObject).key(SMALL), drip));
    let last_byte = What::TruncateBody(PART - 1);
    let range = What::Header("content-range", format!("bytes 0-9/{}", 3 * PART + 100_000));
    for what in [last_byte, range, What::IgnoreRange] {
        all.push((On::the(Operation::GetObject).key(BIG).nth(2..=2), what));
    }
    for_all(all, |(on, what)| completes_in_spite_of(true, &on, &what));
}

#[test]
fn writing_goes_on_after_any_answer_that_is_none() {
    let mut faults = statuses();
    faults.extend([
        What::Reset,
        What::ResetAfter(100_000),
        What::StallReading(50_000),
        What::Stall,
        What::SwallowReply,
        What::EmptyOk,
        What::HtmlBody,
        What::ErrorInOk { code: "InternalError" },
        What::TruncateBody(10),
        What::Delay(Duration::from_millis(1500)),
        What::slow_down("1"),
    ]);
    let mut all = Vec::new();
    for what in faults {
        all.extend([
            (On::the(Operation::PutObject).key(SMALL), what.clone()),
            (On::the(Operation::PutObject).key(".backhaul/records"), what.clone()),
            (On::the(Operation::CreateMultipartUpload), what.clone()),
            (On::the(Operation::UploadPart).part(2), what.clone()),
            (On::the(Operation::CompleteMultipartUpload), what.clone()),
            (On::the(Operation::HeadObject).key(BIG), what),
        ]);
    }
    for_all(all, |(on, what)| completes_in_spite_of(false, &on, &what));
}
