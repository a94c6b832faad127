//! Every fault, seen from a client that tries once.

use std::time::Instant;

use object_store::ObjectStoreExt as _;
use object_store::multipart::MultipartStore as _;

use super::s3::{Change, Headers, On, Operation, What};
use super::*;

const KIB: usize = 1 << 10;

/// A bed with an object of 100 KiB under `a`.
fn bed() -> (Bed, Vec<u8>) {
    let bed = Bed::new();
    let content = bytes(100 * KIB, 1);
    bed.server.put("backups", "a", content.clone(), Headers::default());
    (bed, content)
}

/// What a client got before it ended, and whether it ended well.
async fn read(bed: &Bed, key: &str) -> (Vec<u8>, bool) {
    let mut answer = bed.get(key).await.expect("an answer");
    let mut all = Vec::new();
    loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) => return (all, true),
            Err(_) => return (all, false),
        }
    }
}

fn differing_bits(one: &[u8], other: &[u8]) -> u32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one ^ other).count_ones()).sum()
}

#[tokio::test]
async fn bodies_end_before_their_time() {
    let (bed, content) = bed();
    for what in [What::TruncateBody(70_000), What::ResetBody(70_000)] {
        bed.server.fault(On::the(Operation::GetObject).once(), what.clone());
        let (got, whole) = read(&bed, "a").await;
        assert!(!whole && content.starts_with(&got), "{what:?}: {}", got.len());
        let request = bed.server.requests().pop().unwrap();
        assert_eq!((request.bytes_out, request.status), (70_000, Some(200)), "{what:?}");
        assert_eq!(request.fault, Some(format!("{what:?}")));
        assert_eq!(read(&bed, "a").await, (content.clone(), true), "once");
        bed.server.clear_faults();
    }
    bed.server.fault(On::the(Operation::GetObject).once(), What::Chunked { ends_after: Some(50_000) });
    assert_eq!(read(&bed, "a").await, (content[..50_000].to_vec(), true), "a clean end");
    bed.server.clear_faults();
    bed.server.fault(On::any(), What::Chunked { ends_after: None });
    let answer = bed.get("a").await.unwrap();
    assert_eq!(answer.content_length(), None);
    assert!(answer.bytes().await.unwrap() == content);
}

#[tokio::test]
async fn bodies_are_longer_slower_or_stop() {
    let (bed, content) = bed();
    let fault = bed.server.fault(On::any(), What::ExtendBody(5));
    let (got, whole) = read(&bed, "a").await;
    assert!(whole && got.len() == content.len() + 5 && got.starts_with(&content));
    bed.server.end_fault(fault);
    let every = Duration::from_millis(5);
    let fault = bed.server.fault(On::any(), What::Drip { bytes: 10 * KIB, every });
    let begun = Instant::now();
    assert_eq!(read(&bed, "a").await, (content.clone(), true));
    assert!(begun.elapsed() >= 10 * every);
    bed.server.end_fault(fault);
    let fault = bed.server.fault(On::any(), What::StallBody(60_000));
    let mut answer = bed.get("a").await.unwrap();
    let mut got = 0;
    while let Ok(chunk) = tokio::time::timeout(Duration::from_millis(300), answer.chunk()).await {
        got += chunk.unwrap().unwrap().len();
    }
    assert_eq!(got, 60_000);
    bed.server.end_fault(fault);
    bed.server.fault(On::any(), What::Stall);
    let stalled = tokio::time::timeout(Duration::from_millis(300), bed.get("a")).await;
    assert!(stalled.is_err());
    assert_eq!(bed.server.requests().last().unwrap().status, None);
}

#[tokio::test]
async fn one_bit_is_another() {
    let (bed, content) = bed();
    bed.server.fault(On::the(Operation::GetObject), What::FlipResponse(8 * 90_000 + 3));
    let (got, whole) = read(&bed, "a").await;
    assert!(whole && got[90_000] == content[90_000] ^ 8 && differing_bits(&got, &content) == 1);
    bed.server.clear_faults();
    bed.server.flip_bit("backups", "a", 5);
    let (got, _) = read(&bed, "a").await;
    assert!(got[0] == content[0] ^ 32 && differing_bits(&got, &content) == 1);
    let before = bed.server.get("backups", "a").unwrap();

    // On the way in: the signature covers the body, so the server notices …
    bed.server.fault(On::the(Operation::PutObject), What::FlipRequest(77));
    let error = bed.client.put(&Path::from("b"), content.clone().into()).await.unwrap_err();
    assert!(error.to_string().contains("XAmzContentSHA256Mismatch"), "{error}");
    // … and where nothing covers it, it stores what came, and says so in the ETag.
    let answer = bed.request(Method::PUT, "b", &[]).await.body(content.clone()).send().await.unwrap();
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let stored = bed.server.get("backups", "b").unwrap();
    assert_eq!(differing_bits(&stored.bytes(), &content), 1);
    assert_eq!(etag, format!("\"{}\"", stored.etag));
    assert_ne!(stored.etag, before.etag);
    bed.server.clear_faults();

    // A store that lies.
    bed.server.fault(On::the(Operation::PutObject), What::FlipStored(9));
    let put = bed.client.put(&Path::from("c"), content.clone().into()).await.unwrap();
    assert_eq!(put.e_tag, Some(format!("\"{}\"", before.etag)), "the ETag of what was sent");
    assert_eq!(differing_bits(&bed.server.get("backups", "c").unwrap().bytes(), &content), 1);
}

#[tokio::test]
async fn errors_come_in_every_dress() {
    let (bed, _) = bed();
    let text = |fault| {
        let bed = &bed;
        async move {
            let fault = bed.server.fault(On::any(), fault);
            let answer = bed.request(Method::PUT, "b", &[]).await.body(vec![0; 50 * KIB]).send().await.unwrap();
            bed.server.end_fault(fault);
            let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
            (status, headers, answer.text().await.unwrap())
        }
    };
    let (status, headers, body) = text(What::slow_down("7")).await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(element(&body, "Code").as_deref(), Some("SlowDown"));
    assert_eq!(bed.server.requests().last().unwrap().bytes_in, 50 << 10, "the body was read");
    let (status, _, body) = text(What::ErrorInOk { code: "InternalError" }).await;
    assert_eq!((status, element(&body, "Code").as_deref()), (200, Some("InternalError")));
    let (status, headers, body) = text(What::EmptyOk).await;
    assert_eq!((status, headers["content-length"].to_str().unwrap(), body.as_str()), (200, "0", ""));
    let (status, headers, _) = text(What::HtmlBody).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (200, "text/html; charset=utf-8"));
    let location = "http://127.0.0.1:1/".to_owned();
    let quiet = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let fault = bed.server.fault(On::any(), What::Redirect { status: 307, location: location.clone() });
    let request = bed.request(Method::GET, "a", &[]).await.build().unwrap();
    let answer = quiet.execute(request).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (307, location.as_str()));
    bed.server.end_fault(fault);
    let fault = bed.server.fault(On::any(), What::Header("etag", "\"another\"".to_owned()));
    assert_eq!(bed.get("a").await.unwrap().headers()["etag"].to_str().unwrap(), "\"another\"");
    bed.server.end_fault(fault);
    assert!(bed.server.get("backups", "b").is_none(), "none of them did the work");
}

#[tokio::test]
async fn connections_break_at_every_place() {
    let (bed, content) = bed();
    let key = Path::from("b");
    let put = || bed.client.put(&key, vec![7; 4 << 20].into());
    for (what, arrives) in [(What::Reset, 0), (What::ResetAfter(1 << 20), 1 << 20), (What::SwallowReply, 4 << 20)] {
        let swallowed = matches!(what, What::SwallowReply);
        let fault = bed.server.fault(On::the(Operation::PutObject).once(), what.clone());
        put().await.unwrap_err();
        assert_eq!(bed.server.strikes(fault), 1);
        let request = bed.server.requests().pop().unwrap();
        assert_eq!(request.status, None, "{what:?}");
        assert!(request.bytes_in >= arrives, "{what:?}: {}", request.bytes_in);
        assert_eq!(bed.server.get("backups", "b").is_some(), swallowed, "{what:?}");
        bed.server.clear_faults();
        bed.server.delete("backups", "b");
    }
    bed.server.fault(On::any(), What::StallReading(1 << 20));
    let stalled = tokio::time::timeout(Duration::from_millis(500), bed.client.put(&key, vec![7; 64 << 20].into()));
    assert!(stalled.await.is_err());
    assert!(bed.server.requests().pop().unwrap().bytes_in < 2 << 20);
    bed.server.clear_faults();
    assert_eq!(read(&bed, "a").await, (content, true));
}

#[tokio::test]
async fn what_is_there_changes() {
    let (bed, content) = bed();
    let etag = bed.get("a").await.unwrap().headers()["etag"].clone();
    let pinned = |range: &'static str| {
        let (bed, etag) = (&bed, etag.clone());
        async move {
            let request = bed.request(Method::GET, "a", &[]).await;
            request.header("if-match", etag).header("range", range).send().await.unwrap()
        }
    };
    let answer = pinned("bytes=10-19").await;
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().as_ref()), (206, &content[10..20]));
    let fault = bed.server.fault(On::any(), What::IgnoreRange);
    let answer = pinned("bytes=10-19").await;
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, content.len()));
    bed.server.end_fault(fault);

    let change = Change::Object(bytes::Bytes::from_static(b"new"));
    let fault = bed.server.fault(On::any(), What::MidBody(50_000, change));
    let (got, whole) = read(&bed, "a").await;
    assert!(!whole && content.starts_with(&got));
    bed.server.end_fault(fault);
    assert_eq!(pinned("bytes=0-1").await.status(), 412);
    assert_eq!(read(&bed, "a").await, (b"new".to_vec(), true));
    let fault = bed.server.fault(On::any(), What::Before(Change::DeleteObject));
    assert_eq!(bed.get("a").await.unwrap().status(), 404);
    bed.server.end_fault(fault);

    let key = Path::from("up");
    let id = bed.client.create_multipart(&key).await.unwrap();
    let part = bed.client.put_part(&key, &id, 0, vec![0; 10].into()).await.unwrap();
    let fault = bed.server.fault(On::the(Operation::CompleteMultipartUpload), What::Before(Change::DropPart(1)));
    let error = bed.client.complete_multipart(&key, &id, vec![part]).await.unwrap_err();
    assert!(error.to_string().contains("InvalidPart"), "{error}");
    bed.server.end_fault(fault);
    bed.server.fault(On::the(Operation::UploadPart).part(2), What::Before(Change::DropUpload));
    let error = bed.client.put_part(&key, &id, 1, vec![0; 10].into()).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchUpload"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_at_a_gate() {
    let (bed, _) = bed();
    let gate = bed.server.hold(On::the(Operation::GetObject).key("a"));
    let client = bed.client.clone();
    let one = tokio::spawn(async move { client.get(&Path::from("a")).await.map(drop) });
    let client = bed.client.clone();
    let other = tokio::spawn(async move { client.get(&Path::from("a")).await.map(drop) });
    tokio::task::block_in_place(|| gate.wait_for(2));
    bed.client.head(&Path::from("a")).await.unwrap();
    assert!(!one.is_finished() && !other.is_finished());
    assert_eq!(bed.server.most_at_once(), 3);
    gate.release();
    one.await.unwrap().unwrap();
    other.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_down_and_up_again() {
    let (mut bed, content) = bed();
    let port = bed.server.port();
    bed.get("a").await.unwrap();
    tokio::task::block_in_place(|| bed.server.close());
    assert!(bed.get("a").await.unwrap_err().is_connect());
    tokio::task::block_in_place(|| bed.server.reopen());
    assert_eq!(bed.server.port(), port);
    assert_eq!(read(&bed, "a").await, (content, true));
}

#[tokio::test]
async fn a_fault_strikes_by_count_and_by_chance() {
    let (bed, _) = bed();
    let second =
        bed.server.fault(On::the(Operation::GetObject).key("a").nth(2..=3), What::status(500, "InternalError"));
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(bed.get("a").await.unwrap().status().as_u16());
    }
    assert_eq!(seen, [200, 500, 500, 200, 200]);
    assert_eq!(bed.server.strikes(second), 2);
    let often = |seed| {
        let bed = &bed;
        async move {
            let fault = bed.server.fault(On::any().chance(30, seed), What::status(503, "SlowDown"));
            let mut which = Vec::new();
            for _ in 0..40 {
                which.push(bed.get("a").await.unwrap().status() == 503);
            }
            bed.server.clear_faults();
            let _ = fault;
            which
        }
    };
    let (one, same, other) = (often(1).await, often(1).await, often(2).await);
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert!((4..24).contains(&one.iter().filter(|struck| **struck).count()));
}
