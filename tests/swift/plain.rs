//! Objects in one piece.

use backhaul::store::{Pin, Proof, Source, StoreErrorKind, Target};
use bytes::Bytes;
use http::Method;

use crate::bed::{Bed, OTHER, TOKEN, feed, feed_of, hex, md5, metadata, refused};

#[tokio::test]
async fn an_object_has_its_bytes_and_all_that_travels_with_it_and_is_never_replaced() {
    let Some(bed) = Bed::new("plain_objects") else { return };
    let travels = metadata(&[
        ("content-type", "application/x-xbstream"),
        ("content-encoding", "gzip"),
        ("content-disposition", "attachment; filename=\"a.gz\""),
        ("lsn", "1016400"),
        ("wer", "Jürgen 日本"),
        ("full", &"é".repeat(128)),
    ]);
    let mut given = travels.clone();
    given.extend(metadata(&[("parent-location", "http://elsewhere/c/o"), ("parent-checksum", "0f")]));
    let bytes = Bytes::from_static(b"0123456789");
    let key = bed.key("d/a.xbstream.gz");
    let (facts, proof) = bed.store.put(&key, TOKEN, bytes.clone(), &given).await.expect("written");
    assert_eq!((facts.size, facts.etag, proof), (10, hex(md5(&bytes)), Proof::Md5));
    let there = bed.head("d/a.xbstream.gz").await;
    assert_eq!(there.metadata, travels, "all of it, but for links");
    assert_eq!((there.digests.md5, there.expires), (Some(md5(&bytes)), None));

    let again = bed.store.put(&key, TOKEN, bytes.clone(), &given).await.expect("it is this very call's");
    assert_eq!(again.0.etag, hex(md5(&bytes)));
    refused(bed.store.put(&key, OTHER, bytes.clone(), &given).await, StoreErrorKind::Exists, "another object");
    let other = Bytes::from_static(b"others");
    refused(bed.store.put(&key, TOKEN, other, &given).await, StoreErrorKind::Exists, "another object");
    assert_eq!(bed.read("d/a.xbstream.gz", 3).await.expect("readable"), b"0123456789");
    bed.clear().await;
}

#[tokio::test]
async fn bytes_are_never_unpacked() {
    let Some(bed) = Bed::new("never_unpacked") else { return };
    // "a" by gzip.
    let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00";
    bed.write("a.gz", &[("content-encoding", "gzip")], packed).await;
    assert_eq!(bed.read("a.gz", 1 << 20).await.expect("readable"), packed);
    bed.clear().await;
}

#[tokio::test]
async fn metadata_that_swift_would_refuse_or_drop_is_refused_by_name_before_anything_is_written() {
    let Some(bed) = Bed::new("refused_metadata") else { return };
    let key = bed.key("a");
    for (name, value, words) in [
        ("note", &*"x".repeat(257), "257 bytes in the value of `note`, more than 256"),
        ("a_b", "1", "`a_b`, and Swift drops names with `_`"),
        (&*"n".repeat(129), "1", "longer than 128 bytes"),
    ] {
        let put = bed.store.put(&key, TOKEN, Bytes::new(), &metadata(&[(name, value)])).await;
        refused(put, StoreErrorKind::Refused, words);
    }
    assert_eq!(bed.see("a").await.status, 404);
    bed.clear().await;
}

#[tokio::test]
async fn a_read_is_of_the_pinned_version_or_of_none() {
    let Some(bed) = Bed::new("pinned_reads") else { return };
    bed.write("a", &[], b"one").await;
    let facts = bed.head("a").await;
    let pin = Pin { etag: facts.etag, size: facts.size };
    let key = bed.key("a");
    let read = bed.store.read(&key, 1..3, &pin, &|_| ()).await.expect("unchanged");
    assert_eq!(read.bytes, "ne");
    assert_eq!(read.facts.expect("GET says them").size, 3);
    bed.write("a", &[], b"two").await;
    refused(bed.store.read(&key, 0..3, &pin, &|_| ()).await, StoreErrorKind::Changed, "it changed: version");
    bed.write("a", &[], b"longer").await;
    refused(bed.store.read(&key, 0..3, &pin, &|_| ()).await, StoreErrorKind::Changed, "from 3 to 6 bytes");
    refused(bed.store.segments(&key, &pin).await, StoreErrorKind::Changed, "from 3 to 6 bytes");
    bed.ask(Method::DELETE, &format!("{}/a", bed.container), &[], b"").await;
    refused(bed.store.read(&key, 0..3, &pin, &|_| ()).await, StoreErrorKind::Missing, "no such object");
    refused(bed.store.head(&key).await, StoreErrorKind::Missing, "no such object");
    bed.clear().await;
}

#[tokio::test]
async fn a_stream_appears_whole_and_as_expected_or_not_at_all() {
    let Some(bed) = Bed::new("streamed_objects") else { return };
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1]).collect();
    let none = metadata(&[]);
    let key = bed.key("a.gz");
    let cut = feed_of(bytes.len() as u64, &bytes[..1_500_000], None);
    refused(bed.store.put_streamed(&key, TOKEN, cut, &none).await, StoreErrorKind::Io, "ended early");
    assert_eq!(bed.throttle.closed_for(), std::time::Duration::ZERO, "that was not the store's fault");
    let wrong = feed(&bytes, Some(md5(b"other bytes")));
    refused(bed.store.put_streamed(&key, TOKEN, wrong, &none).await, StoreErrorKind::Differs, "another MD5");
    assert_eq!(bed.see("a.gz").await.status, 404);

    let written = bed.throttle.counters().bytes_written.load(std::sync::atomic::Ordering::Relaxed);
    let (facts, proof) = bed.store.put_streamed(&key, TOKEN, feed(&bytes, None), &none).await.expect("written");
    let now = bed.throttle.counters().bytes_written.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(now - written, 2_000_000, "all of it passed the limits");
    assert_eq!((facts.etag, proof), (hex(md5(&bytes)), Proof::None), "the caller compares");
    assert_eq!(bed.read("a.gz", 700_000).await.expect("readable"), bytes);

    let again = bed.store.put_streamed(&key, TOKEN, feed(&bytes, Some(md5(&bytes))), &none).await;
    assert_eq!(again.expect("it is this very call's").1, Proof::Md5);
    refused(bed.store.put_streamed(&key, OTHER, feed(&bytes, None), &none).await, StoreErrorKind::Exists, "another");
    let empty = bed.store.put_streamed(&bed.key("empty"), TOKEN, feed(b"", Some(md5(b""))), &none).await;
    assert_eq!(empty.expect("written").0.size, 0);
    bed.clear().await;
}

#[tokio::test]
async fn only_what_an_attempt_of_ours_made_is_taken_back() {
    let Some(bed) = Bed::new("taken_back") else { return };
    bed.write("theirs", &[], b"same").await;
    let same = Bytes::from_static(b"same");
    let etag = hex(md5(&same));
    bed.store.put(&bed.key("ours"), TOKEN, same, &metadata(&[])).await.expect("written");
    bed.store.take_back(&bed.key("ours"), "another version").await.expect("nothing to do");
    assert_eq!(bed.see("ours").await.status, 200);
    for object in ["ours", "theirs", "nobody's"] {
        bed.store.take_back(&bed.key(object), &etag).await.expect("done");
    }
    assert_eq!((bed.see("ours").await.status, bed.see("theirs").await.status), (404, 200));
    bed.clear().await;
}

#[tokio::test]
async fn a_change_of_metadata_leaves_all_else() {
    let Some(bed) = Bed::new("changed_metadata") else { return };
    let headers = [
        ("content-type", "a/b"),
        ("content-encoding", "gzip"),
        ("content-disposition", "inline"),
        ("x-delete-at", "4000000000"),
        ("x-object-meta-lsn", "7"),
        ("x-object-meta-parent-checksum", "old"),
    ];
    bed.write("a", &headers, b"bytes").await;
    assert_eq!(bed.head("a").await.expires.map(jiff::Timestamp::as_second), Some(4_000_000_000));
    let links = [("parent-location", "http://two/v1/AUTH_x/c/ä"), ("parent-checksum", "new")];
    let after = bed.store.update_metadata(&bed.key("a"), &links).await.expect("changed");
    assert_eq!(after.metadata["parent-checksum"], "new");
    let there = bed.see("a").await;
    for (name, value) in &headers[..5] {
        assert_eq!(there.header(name), *value, "{name}");
    }
    assert_eq!(there.header("x-object-meta-parent-location"), links[0].1);
    let posts = || {
        let log = bed.openstack.swift_log(crate::openstack::ONE);
        log.into_iter().filter(|request| request.method == "POST" && request.path.contains(&bed.container)).count()
    };
    let before = posts();
    bed.store.update_metadata(&bed.key("a"), &links).await.expect("nothing to do");
    assert_eq!(posts(), before, "what is there already is not written again");
    let long = [("parent-location", &*"u".repeat(257))];
    refused(bed.store.update_metadata(&bed.key("a"), &long).await, StoreErrorKind::Refused, "more than 256");
    refused(bed.store.update_metadata(&bed.key("b"), &links).await, StoreErrorKind::Missing, "no such object");
    bed.clear().await;
}
