//! What the server does when nothing goes wrong, and what it refuses.

use futures::TryStreamExt as _;
use object_store::multipart::{MultipartStore as _, PartId};
use object_store::{
    Attribute, Attributes, Error, GetOptions, ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};

use super::s3::{Conditions, Digests, Operation, Signature};
use super::*;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn an_object_comes_back_with_all_that_travels_with_it() {
    let bed = Bed::new();
    let attributes = Attributes::from_iter([
        (Attribute::ContentType, "application/x-xbstream"),
        (Attribute::Metadata("sha256".into()), "abc"),
    ]);
    let key = Path::parse("a/käse & ähnliches.xbstream.gz").unwrap();
    bed.client.put_opts(&key, PutPayload::from_static(b"hello"), attributes.clone().into()).await.unwrap();
    let got = bed.client.get(&key).await.unwrap();
    assert_eq!(got.attributes.get(&Attribute::ContentType).unwrap().as_ref(), "application/x-xbstream");
    assert_eq!(got.attributes.get(&Attribute::Metadata("sha256".into())).unwrap().as_ref(), "abc");
    assert_eq!(got.meta.e_tag.as_deref(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(got.bytes().await.unwrap().as_ref(), b"hello");
    assert_eq!(bed.client.get_range(&key, 1..3).await.unwrap().as_ref(), b"el");
    let head = bed.client.get_opts(&key, GetOptions::new().with_head(true)).await.unwrap();
    assert_eq!((head.meta.size, head.attributes.len()), (5, 2));
    bed.client.delete(&key).await.unwrap();
    assert!(matches!(bed.client.head(&key).await, Err(Error::NotFound { .. })));
    let requests = bed.server.requests();
    assert_eq!(requests[0].key, "a/käse & ähnliches.xbstream.gz");
    assert_eq!((requests[0].bytes_in, requests[1].bytes_out), (5, 5));
    assert_eq!(requests[2].header("range"), Some("bytes=1-2"));
    assert_eq!(requests[2].status, Some(206));
    assert!(requests.iter().all(|request| request.signature == Signature::Header));
}

#[tokio::test]
async fn listings_come_in_pages() {
    let bed = Bed::with(Options { page_size: 3, ..Options::default() });
    for number in 0..10 {
        bed.server.put("backups", &format!("a/{number}"), &b"x"[..], super::s3::Headers::default());
        bed.server.put("backups", &format!("b{number}/x"), &b"x"[..], super::s3::Headers::default());
    }
    let all: Vec<_> = bed.client.list(None).try_collect().await.unwrap();
    assert_eq!(all.len(), 20);
    let below: Vec<_> = bed.client.list(Some(&Path::from("a"))).try_collect().await.unwrap();
    assert_eq!(below.len(), 10);
    let folders = bed.client.list_with_delimiter(None).await.unwrap();
    assert_eq!((folders.common_prefixes.len(), folders.objects.len()), (11, 0));
    assert_eq!(bed.server.count(Operation::ListObjects).requests, 7 + 4 + 4);
}

#[tokio::test]
async fn an_upload_joins_its_parts() {
    let bed = Bed::with(Options::default());
    let key = Path::from("big");
    let content = bytes(11 * MIB, 1);
    let id = bed.client.create_multipart(&key).await.unwrap();
    let mut parts = Vec::new();
    for (index, part) in content.chunks(5 * MIB).enumerate() {
        parts.push(bed.client.put_part(&key, &id, index, part.to_vec().into()).await.unwrap());
    }
    let open = bed.server.open_uploads("backups");
    assert_eq!((open[0].parts.as_slice(), open[0].bytes), (&[1, 2, 3][..], 11 << 20));
    let put = bed.client.complete_multipart(&key, &id, parts.clone()).await.unwrap();
    assert!(put.e_tag.unwrap().ends_with("-3\""));
    let object = bed.server.get("backups", "big").unwrap();
    assert!(object.bytes() == content, "other bytes");
    assert_eq!(object.crc64nvme, Some(Digests::of(&object.content).crc64nvme), "parts' checksums combined");
    assert!(bed.server.open_uploads("backups").is_empty());
    let again = bed.client.complete_multipart(&key, &id, parts).await.unwrap_err();
    assert!(again.to_string().contains("NoSuchUpload"), "{again}");
}

#[tokio::test]
async fn a_completion_must_be_right_in_every_part() {
    let bed = Bed::with(Options::default());
    let key = Path::from("big");
    let id = bed.client.create_multipart(&key).await.unwrap();
    let small = bed.client.put_part(&key, &id, 0, vec![0; 100].into()).await.unwrap();
    let other = bed.client.put_part(&key, &id, 1, vec![1; 100].into()).await.unwrap();
    let bogus = PartId { content_id: "\"00000000000000000000000000000000\"".to_owned() };
    for (parts, code) in [
        (vec![small.clone(), other.clone()], "EntityTooSmall"),
        (vec![small.clone(), bogus], "InvalidPart"),
        (vec![other.clone(), small.clone()], "InvalidPart"),
    ] {
        let error = bed.client.complete_multipart(&key, &id, parts).await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
    }
    let out_of_order = format!(
        "<CompleteMultipartUpload><Part><PartNumber>2</PartNumber><ETag>{}</ETag></Part><Part>\
         <PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
        other.content_id, small.content_id
    );
    let request = bed.request(Method::POST, "big", &[("uploadId", id.as_str())]).await;
    let answer = request.body(out_of_order).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(element(&answer.text().await.unwrap(), "Code").as_deref(), Some("InvalidPartOrder"));
    bed.client.abort_multipart(&key, &id).await.unwrap();
    let late = bed.client.put_part(&key, &id, 2, vec![2; 100].into()).await.unwrap_err();
    assert!(late.to_string().contains("NoSuchUpload"), "{late}");
    assert!(bed.server.get("backups", "big").is_none());
}

#[tokio::test]
async fn nothing_is_overwritten_where_the_request_says_so() {
    for (conditions, single, complete) in [
        (Conditions::Honoured, 412, 412),
        (Conditions::Ignored, 200, 200),
        (Conditions::RefusedOnComplete, 412, 501),
        (Conditions::Refused, 501, 501),
    ] {
        let bed = Bed::with(Options { conditions, ..Options::default() });
        bed.server.put("backups", "there", &b"old"[..], super::s3::Headers::default());
        let request = bed.request(Method::PUT, "there", &[]).await.header("if-none-match", "*");
        assert_eq!(request.body("new").send().await.unwrap().status(), single, "{conditions:?}");

        let key = Path::from("there");
        let id = bed.client.create_multipart(&key).await.unwrap();
        let part = bed.client.put_part(&key, &id, 0, vec![0; 10].into()).await.unwrap();
        let body = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part></CompleteMultipartUpload>",
            part.content_id
        );
        let request = bed.request(Method::POST, "there", &[("uploadId", id.as_str())]).await;
        let request = request.header("if-none-match", "*").body(body);
        assert_eq!(request.send().await.unwrap().status(), complete, "{conditions:?}");
        let kept = bed.server.get("backups", "there").unwrap().bytes();
        assert_eq!(kept == b"old"[..], conditions != Conditions::Ignored, "{conditions:?}");
    }
    let bed = Bed::new();
    let create = PutOptions::from(PutMode::Create);
    let key = Path::from("once");
    bed.client.put_opts(&key, PutPayload::from_static(b"1"), create.clone()).await.unwrap();
    let again = bed.client.put_opts(&key, PutPayload::from_static(b"2"), create).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })));
}

#[tokio::test]
async fn reads_are_pinned() {
    let bed = Bed::new();
    bed.server.put("backups", "a", &b"old"[..], super::s3::Headers::default());
    let etag = bed.client.head(&Path::from("a")).await.unwrap().e_tag;
    bed.server.rewrite("backups", "a", &b"new"[..]);
    let pinned = GetOptions { if_match: etag, ..GetOptions::default() };
    let error = bed.client.get_opts(&Path::from("a"), pinned).await.unwrap_err();
    assert!(matches!(error, Error::Precondition { .. }), "{error}");
}

#[tokio::test]
async fn checksums_are_compared_and_shown() {
    let bed = Bed::new();
    let crc = super::s3::Content::from(bytes::Bytes::from_static(b"hello"));
    let digests = Digests::of(&crc);
    let put = |name: &'static str, value: String| {
        let bed = &bed;
        async move { bed.request(Method::PUT, "a", &[]).await.header(name, value).body("hello").send().await.unwrap() }
    };
    for (name, right) in [
        ("x-amz-checksum-crc64nvme", digests.crc64nvme_base64()),
        ("x-amz-checksum-sha256", digests.sha256_base64()),
        ("content-md5", digests.md5_base64()),
    ] {
        let answer = put(name, right.clone()).await;
        assert_eq!(answer.status(), 200, "{name}");
        let shown = answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(shown, name.starts_with("x-amz").then(|| right.clone()), "{name}");
        let request = bed.request(Method::HEAD, "a", &[]).await.header("x-amz-checksum-mode", "ENABLED");
        let shown = request.send().await.unwrap().headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(shown, name.starts_with("x-amz").then_some(right), "{name}");
        let wrong = put(name, "AAAAAAAAAAA=".to_owned()).await;
        assert_eq!(wrong.status(), 400, "{name}");
        let text = wrong.text().await.unwrap();
        let code = element(&text, "Code");
        assert!(matches!(code.as_deref(), Some("BadDigest")), "{name}: {text}");
    }
}

#[tokio::test]
async fn an_older_store_knows_no_checksums() {
    let bed = Bed::with(Options { echo_checksums: false, opaque: true, ..Options::default() });
    let request = bed.request(Method::PUT, "a", &[]).await.header("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=");
    let answer = request.body("hello").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("x-amz-checksum-crc64nvme"));
    assert!(answer.headers()["etag"].to_str().unwrap().starts_with("\"opaque-"));
}

#[tokio::test]
async fn every_part_of_an_upload_with_a_checksum_has_it() {
    let bed = Bed::new();
    for (checksum, name) in [(Checksum::SHA256, "SHA256"), (Checksum::CRC64NVME, "CRC64NVME")] {
        let client = builder(&bed.server).with_checksum_algorithm(checksum).build().unwrap();
        let key = Path::from(name);
        let id = client.create_multipart(&key).await.unwrap();
        let mut parts = Vec::new();
        for (index, part) in bytes(5000, 3).chunks(2000).enumerate() {
            parts.push(client.put_part(&key, &id, index, part.to_vec().into()).await.unwrap());
        }
        client.complete_multipart(&key, &id, parts).await.unwrap();
        let object = bed.server.get("backups", name).unwrap();
        assert!(object.bytes() == bytes(5000, 3));
        assert_eq!(object.checksum_sha256.is_some_and(|digest| digest.ends_with("-3")), name == "SHA256");
    }
    let id = builder(&bed.server).with_checksum_algorithm(Checksum::SHA256).build().unwrap();
    let id = id.create_multipart(&Path::from("mixed")).await.unwrap();
    let error = bed.client.put_part(&Path::from("mixed"), &id, 0, vec![0; 10].into()).await.unwrap_err();
    assert!(error.to_string().contains("Checksum Type mismatch"), "{error}");
}

#[tokio::test]
async fn only_who_has_a_key_is_let_in() {
    let bed = Bed::with(Options { more_keys: vec![("AKIDOTHER", "another secret")], ..Options::default() });
    bed.server.put("backups", "a", &b"x"[..], super::s3::Headers::default());
    let key = Path::from("a");
    let as_other = |secret: &str| {
        let builder = builder(&bed.server).with_access_key_id("AKIDOTHER").with_secret_access_key(secret);
        builder.build().unwrap()
    };
    as_other("another secret").get(&key).await.unwrap();
    let error = as_other("a wrong secret").get(&key).await.unwrap_err();
    assert!(error.to_string().contains("SignatureDoesNotMatch"), "{error}");
    let anonymous = bed.http.get(format!("{}/backups/a", bed.server.endpoint())).send().await.unwrap();
    assert_eq!(anonymous.status(), 403);
    let signed = bed.request(Method::GET, "a", &[]).await.build().unwrap();
    let mut url = signed.url().clone();
    assert_eq!(bed.http.get(url.clone()).send().await.unwrap().status(), 200);
    url.set_path("/backups/b");
    assert_eq!(bed.http.get(url).send().await.unwrap().status(), 403);
    assert_eq!(bed.server.requests().last().unwrap().signature, Signature::Presigned);
    let elsewhere = builder(&bed.server).with_bucket_name("nowhere").build().unwrap();
    let error = elsewhere.put(&key, PutPayload::new()).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

#[tokio::test]
async fn open_uploads_and_parts_are_listed_in_pages() {
    let bed = Bed::with(Options { page_size: 2, ..Options::default() });
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bed.client.create_multipart(&Path::from("wanted")).await.unwrap());
    }
    bed.client.create_multipart(&Path::from("unwanted")).await.unwrap();
    ids.sort();
    let (mut found, mut key_marker, mut id_marker) = (Vec::new(), String::new(), String::new());
    loop {
        let query =
            [("uploads", ""), ("prefix", "wanted"), ("key-marker", &key_marker), ("upload-id-marker", &id_marker)];
        let page = bed.request(Method::GET, "", &query).await.send().await.unwrap().text().await.unwrap();
        found.extend(page.split("<Upload>").skip(1).filter_map(|upload| element(upload, "UploadId")));
        if element(&page, "IsTruncated").as_deref() != Some("true") {
            break;
        }
        key_marker = element(&page, "NextKeyMarker").unwrap();
        id_marker = element(&page, "NextUploadIdMarker").unwrap();
    }
    assert_eq!(found, ids);

    for index in 0..5 {
        bed.client.put_part(&Path::from("wanted"), &ids[0], index, vec![0; 10].into()).await.unwrap();
    }
    let (mut numbers, mut marker) = (Vec::new(), "0".to_owned());
    loop {
        let query = [("uploadId", ids[0].as_str()), ("part-number-marker", &marker)];
        let page = bed.request(Method::GET, "wanted", &query).await.send().await.unwrap().text().await.unwrap();
        numbers.extend(page.split("<Part>").skip(1).filter_map(|part| element(part, "PartNumber")));
        if element(&page, "IsTruncated").as_deref() != Some("true") {
            break;
        }
        marker = element(&page, "NextPartNumberMarker").unwrap();
    }
    assert_eq!(numbers, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn large_data_passes_through_without_being_held() {
    let bed = Bed::new();
    bed.server.put_made("backups", "made", 3 << 20, 7);
    bed.server.bucket("sink");
    bed.server.keep_digests_only("sink");
    let made = bed.client.get(&Path::from("made")).await.unwrap().bytes().await.unwrap();
    assert!(made == bytes(3 << 20, 7));
    let middle = bed.client.get_range(&Path::from("made"), 1_000_003..2_000_001).await.unwrap();
    assert!(middle == made.slice(1_000_003..2_000_001), "any stretch is the same as in the whole");

    let sink = builder(&bed.server).with_bucket_name("sink").build().unwrap();
    let key = Path::from("copy");
    let id = sink.create_multipart(&key).await.unwrap();
    let mut parts = vec![PartId { content_id: String::new() }; 3];
    for index in [1, 0, 2] {
        let part = made.slice(index * MIB..(index + 1) * MIB);
        parts[index] = sink.put_part(&key, &id, index, part.into()).await.unwrap();
    }
    sink.complete_multipart(&key, &id, parts).await.unwrap();
    let copy = bed.server.get("sink", "copy").unwrap();
    assert_eq!(copy.sha256(), bed.server.get("backups", "made").unwrap().sha256());
    assert_eq!(copy.size(), 3 << 20);
    let error = sink.get(&key).await.unwrap_err();
    assert!(error.to_string().contains("NotImplemented"), "{error}");
}

#[tokio::test]
async fn tls_is_trusted_only_by_who_has_the_ca() {
    let server = S3Server::start_tls(Options::default());
    server.put("backups", "a", &b"x"[..], super::s3::Headers::default());
    let key = Path::from("a");
    builder(&server).build().unwrap().get(&key).await.unwrap_err();
    let ca = object_store::Certificate::from_pem(server.ca_pem().as_bytes()).unwrap();
    let trusting = builder(&server).with_client_options(ClientOptions::new().with_root_certificate(ca));
    trusting.build().unwrap().get(&key).await.unwrap();
}
