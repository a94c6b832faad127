//! Objects of segments: those that Trove and others made, and those that a copy makes.

use backhaul::store::{Layout, Pin, Shape, Source, StoreErrorKind, Target, Upload};
use bytes::Bytes;
use http::Method;

use crate::bed::{Bed, OTHER, TOKEN, feed, feed_of, hex, manifest_etag, md5, metadata, refused};

/// As Trove ends some: the last one is empty.
const SEGMENTS: [&[u8]; 3] = [b"first segment", b"second", b""];

async fn begin(bed: &Bed, object: &str, token: &str) -> Upload {
    let layout = Layout::Segments(SEGMENTS.map(|segment| segment.len() as u64).into());
    let travels = metadata(&[("lsn", "7"), ("wer", "Jürgen"), ("content-type", "a/b")]);
    let shape = Shape { layout: &layout, metadata: &travels };
    bed.store.begin(&bed.key(object), token, shape).await.expect("begun")
}

#[tokio::test]
async fn segments_become_one_object_with_the_tag_of_their_boundaries() {
    let Some(bed) = Bed::new("segments_published") else { return };
    let upload = begin(&bed, "d/a.xbstream.gz", TOKEN).await;
    let parts = bed.send(&upload, &SEGMENTS).await;
    assert_eq!(bed.see("d/a.xbstream.gz").await.status, 404, "nothing has the name before it is whole");
    let facts = bed.store.publish(&upload, &parts, 19).await.expect("published");
    assert_eq!((facts.size, &*facts.etag), (19, &*manifest_etag(&SEGMENTS)));
    assert_eq!(facts.digests.md5, None);
    assert_eq!(facts.metadata, metadata(&[("lsn", "7"), ("wer", "Jürgen"), ("content-type", "a/b")]));
    let pin = Pin { etag: facts.etag.clone(), size: 19 };
    let key = bed.key("d/a.xbstream.gz");
    let segments = bed.store.segments(&key, &pin).await.expect("readable").expect("segments");
    assert_eq!(segments.iter().map(|segment| segment.size).collect::<Vec<_>>(), [13, 6, 0]);
    assert_eq!(segments[1].md5, md5(b"second"));
    for step in [1, 5, 13, 19, 100] {
        assert_eq!(bed.read("d/a.xbstream.gz", step).await.expect("readable"), b"first segmentsecond", "{step}");
    }
    let expected: Vec<String> =
        (0..3).map(|number| format!("d/a_{TOKEN}_{number:08}")).chain(["d/a.xbstream.gz".to_owned()]).collect();
    let mut names = bed.names().await;
    names.sort_by_key(|name| name.contains('.'));
    assert_eq!(names, expected);

    assert_eq!(bed.store.publish(&upload, &parts, 19).await.expect("its own").etag, facts.etag);
    bed.store.abandon(&upload).await.expect("nothing to do");
    assert_eq!(bed.read("d/a.xbstream.gz", 100).await.expect("readable"), b"first segmentsecond");
    bed.store.take_back(&key, &facts.etag).await.expect("taken back");
    assert_eq!(bed.names().await, Vec::<String>::new(), "its segments went with it");
    bed.clear().await;
}

#[tokio::test]
async fn a_second_attempt_finds_the_name_taken_and_only_its_own_segments_go() {
    let Some(bed) = Bed::new("second_attempt") else { return };
    let (first, second) = (begin(&bed, "a.gz", TOKEN).await, begin(&bed, "a.gz", OTHER).await);
    let parts = bed.send(&first, &SEGMENTS).await;
    let others = bed.send(&second, &SEGMENTS).await;
    let near = [
        format!("a_{OTHER}_1"),
        format!("a_{OTHER}_0000000x"),
        format!("ab_{OTHER}_00000000"),
        "a_00000000".to_owned(),
    ];
    for name in &near {
        bed.write(name, &[], b"somebody else's").await;
    }
    bed.store.publish(&first, &parts, 19).await.expect("published");
    refused(bed.store.publish(&second, &others, 19).await, StoreErrorKind::Exists, "another object");
    bed.store.abandon(&Upload { parts: 0, ..second.clone() }).await.expect("abandoned, and nobody knew how many");
    bed.store.abandon(&second).await.expect("abandoned again");
    let names = bed.names().await;
    assert!(near.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(names.len(), 4 + 3 + 1, "{names:?}");
    assert_eq!(bed.read("a.gz", 4).await.expect("readable"), b"first segmentsecond");
    bed.clear().await;
}

#[tokio::test]
async fn a_name_that_is_taken_while_the_manifest_is_on_its_way_is_not_replaced() {
    let Some(bed) = Bed::new("taken_meanwhile") else { return };
    let upload = begin(&bed, "a.gz", TOKEN).await;
    let parts = bed.send(&upload, &SEGMENTS).await;
    // Both look first, and then both write: the store keeps one.
    let other = bed.another_process();
    let rival = begin(&bed, "a.gz", OTHER).await;
    let rivals = bed.send(&rival, &SEGMENTS).await;
    let (one, two) = tokio::join!(bed.store.publish(&upload, &parts, 19), other.publish(&rival, &rivals, 19));
    assert_eq!(one.is_ok(), two.is_err(), "{one:?} {two:?}");
    refused(one.and(two), StoreErrorKind::Exists, "another object");
    bed.clear().await;
}

#[tokio::test]
async fn another_process_goes_on_and_the_object_is_the_same() {
    let Some(bed) = Bed::new("another_process") else { return };
    let upload = begin(&bed, "a.gz", TOKEN).await;
    let parts = bed.send(&upload, &SEGMENTS).await;
    let other = bed.another_process();
    let upload = other.resume(upload, &parts[..2]).await.expect("all there");
    let facts = other.publish(&upload, &parts, 19).await.expect("published");
    assert_eq!((facts.size, &*facts.metadata["wer"], &*facts.metadata["content-type"]), (19, "Jürgen", "a/b"));

    let upload = begin(&bed, "b.gz", TOKEN).await;
    let parts = bed.send(&upload, &SEGMENTS).await;
    bed.write(&format!("b_{TOKEN}_00000001"), &[], b"damage").await;
    refused(other.resume(upload.clone(), &parts).await, StoreErrorKind::Lost, "segment 1 is not the one");
    refused(other.publish(&upload, &parts, 19).await, StoreErrorKind::Lost, "_00000001: Etag Mismatch");
    bed.ask(Method::DELETE, &format!("{}/b_{TOKEN}_00000001", bed.container), &[], b"").await;
    refused(other.resume(upload.clone(), &parts).await, StoreErrorKind::Lost, "segment 1 is gone");
    refused(other.publish(&upload, &parts, 19).await, StoreErrorKind::Lost, "404 Not Found");
    other.abandon(&upload).await.expect("abandoned");
    assert!(!bed.names().await.iter().any(|name| name.starts_with('b')));
    bed.clear().await;
}

#[tokio::test]
async fn a_segment_is_stored_as_expected_or_not_at_all() {
    let Some(bed) = Bed::new("segment_feeds") else { return };
    let upload = begin(&bed, "a.gz", TOKEN).await;
    let wrong = bed.store.part_streamed(&upload, 0, feed(b"first segment", Some(md5(b"another")))).await;
    refused(wrong, StoreErrorKind::Differs, "another MD5");
    let cut = bed.store.part_streamed(&upload, 0, feed_of(13, b"first", None)).await;
    refused(cut, StoreErrorKind::Io, "ended early");
    assert_eq!(bed.names().await, Vec::<String>::new());
    let sent = bed.store.part_streamed(&upload, 0, feed(b"first segment", None)).await.expect("sent");
    assert_eq!(sent.reference, Some(hex(md5(b"first segment"))));
    let again = bed.store.part(&upload, 0, 0, Bytes::from_static(b"first segment")).await.expect("sent again");
    assert_eq!(again.reference, sent.reference);
    bed.clear().await;
}

#[tokio::test]
async fn kinds_of_manifests_that_are_not_copied_are_refused_by_name() {
    let Some(bed) = Bed::new("refused_kinds") else { return };
    bed.write("s", &[], b"segment").await;
    bed.write_manifest("inner", r#"[{"path": "CONTAINER/s"}]"#).await;
    bed.write_manifest("nested", r#"[{"path": "CONTAINER/s"}, {"path": "CONTAINER/inner"}]"#).await;
    bed.write_manifest("ranged", r#"[{"path": "CONTAINER/s", "range": "0-2"}]"#).await;
    bed.write_manifest("inline", r#"[{"path": "CONTAINER/s"}, {"data": "aGk="}]"#).await;
    bed.write_manifest("empty", "[]").await;
    bed.write("link", &[("x-symlink-target", &format!("{}/s", bed.container))], b"").await;
    for (object, words) in [
        ("nested", "/inner) is a manifest of its own"),
        ("ranged", "/s) is the range 0-2 of an object"),
        ("inline", "is inline data"),
    ] {
        let facts = bed.head(object).await;
        let pin = Pin { etag: facts.etag, size: facts.size };
        refused(bed.store.segments(&bed.key(object), &pin).await, StoreErrorKind::Refused, words);
        refused(bed.read(object, 100).await, StoreErrorKind::Refused, words);
    }
    refused(bed.store.head(&bed.key("link")).await, StoreErrorKind::Refused, "symbolic link");
    let facts = bed.head("empty").await;
    let pin = Pin { etag: facts.etag, size: 0 };
    assert_eq!(bed.store.segments(&bed.key("empty"), &pin).await.expect("readable"), None);
    bed.clear().await;
}

#[tokio::test]
async fn a_dynamic_large_object_is_one_piece_as_it_is_at_that_moment() {
    let Some(bed) = Bed::new("dynamic") else { return };
    for (object, bytes) in [("p_1", b"one"), ("p_2", b"two")] {
        bed.write(object, &[], bytes).await;
    }
    let manifest = format!("{}/p_", bed.container);
    bed.write("a", &[("x-object-manifest", &manifest), ("x-object-meta-lsn", "7")], b"").await;
    let facts = bed.head("a").await;
    assert_eq!((facts.size, &*facts.etag), (6, &*manifest_etag(&[b"one", b"two"])));
    assert_eq!(facts.digests.md5, None);
    let (key, pin) = (bed.key("a"), Pin { etag: facts.etag, size: 6 });
    assert_eq!(bed.store.segments(&key, &pin).await.expect("readable"), None);
    assert_eq!(bed.store.read(&key, 2..5, &pin, &|_| ()).await.expect("readable").bytes, "etw");
    assert_eq!(bed.read("a", 100).await.expect("readable"), b"onetwo");
    bed.store.update_metadata(&key, &[("lsn", "8")]).await.expect("changed");
    assert_eq!(bed.read("a", 100).await.expect("it still is a manifest"), b"onetwo");
    bed.write("p_3", &[], b"three").await;
    refused(bed.store.read(&key, 2..5, &pin, &|_| ()).await, StoreErrorKind::Changed, "from 6 to 11 bytes");
    bed.clear().await;
}

#[tokio::test]
async fn a_damaged_or_replaced_manifest_is_told_of_with_the_segment() {
    let Some(bed) = Bed::new("damaged_segments") else { return };
    for (object, bytes) in [("s0", b"zero"), ("s1", b"one!"), ("s2", b"two!")] {
        bed.write(object, &[], bytes).await;
    }
    let lines = r#"[{"path": "CONTAINER/s0"}, {"path": "CONTAINER/s1"}, {"path": "CONTAINER/s2"}]"#;
    bed.write_manifest("a", lines).await;
    bed.write_manifest("b", lines).await;
    let facts = bed.head("a").await;
    let (key, pin) = (bed.key("a"), Pin { etag: facts.etag, size: 12 });
    assert_eq!(bed.read("a", 5).await.expect("readable"), b"zeroone!two!");
    bed.store.check_segments(&key, &pin).await.expect("all there");
    bed.write("s1", &[], b"bad!").await;
    refused(bed.store.check_segments(&key, &pin).await, StoreErrorKind::Changed, "/s1) is another one now: 4 bytes");
    refused(bed.store.read(&key, 2..6, &pin, &|_| ()).await, StoreErrorKind::Changed, "segment 1 (/swift-damaged");
    assert_eq!(bed.store.read(&key, 8..12, &pin, &|_| ()).await.expect("another segment").bytes, "two!");
    bed.ask(Method::DELETE, &format!("{}/s1", bed.container), &[], b"").await;
    refused(bed.read("b", 100).await, StoreErrorKind::Missing, "/s1) is missing");
    refused(bed.store.check_segments(&bed.key("b"), &pin).await, StoreErrorKind::Missing, "/s1) is not there");
    bed.write_manifest("a", r#"[{"path": "CONTAINER/s2"}]"#).await;
    let other = bed.another_process();
    refused(other.segments(&key, &pin).await, StoreErrorKind::Changed, "from 12 to 4 bytes");
    refused(other.read(&key, 8..12, &pin, &|_| ()).await, StoreErrorKind::Changed, "from 12 to 4 bytes");
    bed.clear().await;
}
