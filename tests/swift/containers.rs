//! Containers and accounts: made when they are needed, looked at, listed page by page.

use backhaul::id::Key;
use backhaul::store::{Layout, Shape, Source, StoreErrorKind, SwiftOptions, Target};
use bytes::Bytes;
use http::Method;

use crate::bed::{Bed, TOKEN, feed, metadata, options, refused};

#[tokio::test]
async fn a_container_is_made_by_the_first_write_with_the_policy_of_the_plan() {
    let policy = |name: &str| SwiftOptions { storage_policy: Some(name.to_owned()), ..options() };
    let Some(bed) = Bed::with("made_containers", policy("Policy-0")) else { return };
    let (key, none) = (bed.key("a"), metadata(&[]));
    assert!(!bed.store.container_facts(&key).await.expect("known").exists);
    bed.store.put(&key, TOKEN, Bytes::from_static(b"bytes"), &none).await.expect("written");
    let facts = bed.store.container_facts(&key).await.expect("known");
    assert!(facts.exists && !facts.is_versioned, "{facts:?}");
    assert_eq!((facts.policy.as_deref(), facts.quota_bytes), (Some("Policy-0"), None));

    let Some(other) = Bed::with("unknown_policy", policy("gold")) else { return };
    let put = other.store.put(&other.key("a"), TOKEN, Bytes::new(), &none).await;
    refused(put, StoreErrorKind::Refused, "Invalid X-Storage-Policy 'gold'");
    assert!(!other.store.container_facts(&other.key("a")).await.expect("known").exists);
    other.clear().await;
    bed.clear().await;
}

#[tokio::test]
async fn a_quota_and_versions_are_shown_and_a_full_container_is_told_of_at_once() {
    let Some(bed) = Bed::new("full_container") else { return };
    let quota = [("x-container-meta-quota-bytes", "1000"), ("x-container-meta-quota-count", "5")];
    bed.ask(Method::PUT, &bed.container, &quota, b"").await;
    let facts = bed.store.container_facts(&bed.key("a")).await.expect("known");
    assert_eq!((facts.quota_bytes, facts.quota_objects), (Some(1000), Some(5)));
    let (key, none) = (bed.key("a"), metadata(&[]));
    let put = bed.store.put(&key, TOKEN, Bytes::from(vec![0; 1001]), &none).await;
    refused(put, StoreErrorKind::Quota, "413: Upload exceeds quota");
    // Far more than fits into the buffers on the way: the answer comes before the bytes were sent.
    let many = vec![0; 20_000_000];
    let put = bed.store.put_streamed(&key, TOKEN, feed(&many, None), &none).await;
    refused(put, StoreErrorKind::Quota, "413: Upload exceeds quota");
    let layout = Layout::Segments([20_000_000, 5].into());
    let upload = bed.store.begin(&key, TOKEN, Shape { layout: &layout, metadata: &none }).await.expect("begun");
    let sent = bed.store.part_streamed(&upload, 0, feed(&many, None)).await;
    refused(sent, StoreErrorKind::Quota, "413: Upload exceeds quota");

    bed.ask(Method::POST, &bed.container, &[("x-versions-location", &bed.container)], b"").await;
    assert!(bed.store.container_facts(&key).await.expect("known").is_versioned);
    bed.ask(Method::POST, &bed.container, &[("x-remove-versions-location", "x")], b"").await;
    assert!(!bed.store.container_facts(&key).await.expect("known").is_versioned);
    bed.clear().await;
}

#[tokio::test]
async fn what_the_cluster_cannot_hold_is_refused_before_a_byte_is_sent() {
    let Some(bed) = Bed::new("cluster_limits") else { return };
    let none = metadata(&[]);
    let begin = async |object: &str, layout: Layout| {
        bed.store.begin(&bed.key(object), TOKEN, Shape { layout: &layout, metadata: &none }).await
    };
    let many = begin("a", Layout::Equal { size: 1001, part_size: 1 }).await;
    refused(many, StoreErrorKind::Refused, "1001 segments, and a manifest of the cluster at most 1000");
    let inner = begin("a", Layout::Segments([5, 0, 5].into())).await;
    refused(inner, StoreErrorKind::Refused, "segment 1 has 0 bytes");
    let large = begin("a", Layout::Segments([6 << 30, 1].into())).await;
    refused(large, StoreErrorKind::Refused, "takes 5368709122 in one piece");
    let large = begin("a", Layout::Plain { size: 6 << 30 }).await;
    refused(large, StoreErrorKind::Refused, "takes 5368709122 in one piece");
    let long = format!("{}/{}/{}/{}", "a".repeat(250), "b".repeat(250), "c".repeat(250), "d".repeat(230));
    let long = begin(&long, Layout::Segments([5].into())).await;
    refused(long, StoreErrorKind::Refused, "and the cluster takes 1024");
    let names = Key::parse("no-container").expect("a key");
    refused(bed.store.head(&names).await, StoreErrorKind::Refused, "`container/object`");
    assert!(!bed.store.container_facts(&bed.key("a")).await.expect("known").exists, "nothing was made");
}

#[tokio::test]
async fn a_probe_leaves_nothing_behind() {
    let container = "swift-probed".to_owned();
    let Some(bed) = Bed::with("probed", SwiftOptions { container: Some(container), ..options() }) else { return };
    bed.store.probe(&bed.key("a")).await.expect("nothing to try");
    assert!(!bed.store.container_facts(&bed.key("a")).await.expect("known").exists, "it is not made for that");
    bed.ask(Method::PUT, &bed.container, &[("x-container-meta-quota-bytes", "100")], b"").await;
    bed.store.probe(&bed.key("a")).await.expect("written and deleted");
    assert_eq!(bed.names().await, Vec::<String>::new());
    assert_eq!(bed.store.free_bytes().await.expect("known"), Some(100));
    bed.clear().await;
}

#[tokio::test]
async fn listings_have_all_pages_and_say_what_they_leave_out() {
    let Some(bed) = Bed::new("listed") else { return };
    for object in ["a", "b/c", "b/d", "e+f g%20", "ä", "x//y", "dir/"] {
        bed.write(
            object.replace('%', "%25").replace(' ', "%20").as_str(),
            &[],
            if object == "dir/" { b"" } else { b"12" },
        )
        .await;
    }
    bed.write_manifest("slo", r#"[{"path": "CONTAINER/a"}, {"path": "CONTAINER/ä"}]"#).await;
    let listed = async |prefix: &str| {
        let listed = bed.store.list(prefix).await.expect("listed");
        let own = format!("{}/", bed.container);
        let names = listed.iter().filter_map(|object| object.key.as_str().strip_prefix(&own));
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["a", "b/c", "b/d", "e+f g%20", "slo", "ä"];
    assert_eq!(listed(&format!("{}/", bed.container)).await, all);
    assert_eq!(listed(&bed.container).await, all, "by the beginning of a container's name");
    assert_eq!(listed("").await, all);
    assert_eq!(listed(&format!("{}/b/", bed.container)).await, ["b/c", "b/d"]);
    assert_eq!(listed("no-such-container/").await, Vec::<String>::new());
    let manifest = bed.store.list(&format!("{}/slo", bed.container)).await.expect("listed").remove(0);
    let facts = bed.head("slo").await;
    assert_eq!((manifest.size, manifest.etag), (4, Some(facts.etag)), "as its facts");
    let own = format!("{}/", bed.container);
    let left_out = bed.store.left_out().await.expect("listed");
    let left_out: Vec<_> = left_out.iter().filter_map(|(name, why)| Some((name.strip_prefix(&own)?, &**why))).collect();
    assert_eq!(left_out.len(), 2, "{left_out:?}");
    assert_eq!(left_out[0], ("dir/", "it is the mark of a folder"));
    bed.clear().await;
}
