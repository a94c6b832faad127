//! Faults that outlast a run: it ends, says what it met, and whatever it left is true; the next run completes, and does
//! not send again what is stored.

use super::bed::{Bed, Object, Options, PART, Route};
use super::for_all;
use super::s3::{On, Operation, What};

const BIG: &str = "big.xbstream.gz";
const SMALL: &str = "small.xbstream.gz";

fn faults() -> Vec<What> {
    let other_crc = ("x-amz-checksum-crc64nvme", "AAAAAAAAAAE=");
    let other_etag = ("etag", "\"0123456789abcdef0123456789abcdef\"");
    let mut faults = vec![
        What::status(500, "InternalError"),
        What::Reset,
        What::ResetAfter(30_000),
        What::Stall,
        What::SwallowReply,
        What::EmptyOk,
        What::HtmlBody,
        What::ErrorInOk { code: "InternalError" },
        What::TruncateBody(20),
        What::Gzip,
        What::status(404, "NoSuchKey"),
        What::status(412, "PreconditionFailed"),
    ];
    faults.extend([other_crc, other_etag].map(|(name, value)| What::Header(name, value.to_owned())));
    faults
}

#[test]
fn whatever_a_run_leaves_is_true() {
    let requests = [
        (true, On::the(Operation::HeadObject).key(BIG)),
        (true, On::the(Operation::GetObject).key(BIG).nth(3..=999)),
        (true, On::the(Operation::GetObject).key(SMALL)),
        (false, On::the(Operation::PutObject).key(SMALL)),
        (false, On::the(Operation::PutObject).key(".backhaul/records")),
        (false, On::the(Operation::CreateMultipartUpload)),
        (false, On::the(Operation::UploadPart).part(3)),
        (false, On::the(Operation::CompleteMultipartUpload)),
        (false, On::the(Operation::HeadObject).key(BIG).nth(2..=999)),
        (false, On::the(Operation::AbortMultipartUpload)),
    ];
    let all = requests
        .into_iter()
        .flat_map(|(at_source, on)| faults().into_iter().map(move |what| (at_source, on.clone(), what)));
    for_all(all, |(at_source, on, what)| {
        let name = format!("{what:?} on {on:?}");
        let objects = vec![Object::new(BIG, 4 * PART + 77), Object::new(SMALL, 60_000)];
        let bed = Bed::with(Route::Between, objects, Options { attempts: 1, ..Options::default() });
        let server = if at_source { &bed.source } else { &bed.target };
        server.fault(on, what.clone());
        let output = bed.run();
        assert!(matches!(output.code, Some(0 | 3 | 6 | 7)), "{name}: {output}");
        let completed = bed.is_true(&name);
        assert_eq!(output.code == Some(0), completed == 2, "{name}: {output}");
        // What other copies the fault did not touch is done.
        assert!(completed >= 1 || name.contains("records"), "{name}: {output}");
        let kept: usize = bed.rows().iter().map(|(_, parts)| parts.len()).sum();
        let sent = bed.sent(BIG);
        bed.completes_when_retried(&name);
        if kept > 0 {
            let again = bed.sent(BIG) - sent;
            let most = 4 * PART + 77 - (kept as u64 * PART).min(4 * PART);
            assert!(again <= most, "{name}: {kept} parts were stored, and {again} bytes sent again");
        }
    });
}
