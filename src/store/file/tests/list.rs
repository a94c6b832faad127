//! Walking the folder.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::store::StoreErrorKind;

async fn keys(place: &Place, prefix: &str) -> Vec<String> {
    place.store.list(prefix).await.unwrap().into_iter().map(|listed| listed.key.to_string()).collect()
}

#[tokio::test]
async fn files_come_in_byte_order_with_their_sizes() {
    let place = Place::new();
    for name in ["b", "a/z", "a.x", "a/b/c", "Z", "ä", ".hidden", "a-"] {
        place.put(name, name.as_bytes());
    }
    let listed = place.store.list("").await.unwrap();
    let names: Vec<_> = listed.iter().map(|listed| listed.key.as_str()).collect();
    assert_eq!(names, [".hidden", "Z", "a-", "a.x", "a/b/c", "a/z", "b", "ä"]);
    assert!(listed.iter().all(|listed| listed.size == listed.key.as_str().len() as u64));
    assert!(listed.iter().all(|listed| listed.modified_ms > Some(1_700_000_000_000)));
}

#[tokio::test]
async fn a_prefix_is_text_and_not_a_folder() {
    let place = Place::new();
    for name in ["dumps/orders-1", "dumps/orders/2", "dumps/other", "dum", "elsewhere/dumps/3"] {
        place.put(name, b"");
    }
    assert_eq!(keys(&place, "dumps/orders").await, ["dumps/orders-1", "dumps/orders/2"]);
    assert_eq!(keys(&place, "dumps/orders/").await, ["dumps/orders/2"]);
    assert_eq!(keys(&place, "dum").await, ["dum", "dumps/orders-1", "dumps/orders/2", "dumps/other"]);
    for nothing in ["gone/", "gone", "../", "../outside/", "/", "dumps//", "dumps/other/x"] {
        let listed = place.store.list(nothing).await.map_err(|error| error.kind);
        assert!(matches!(listed.as_deref(), Ok([]) | Err(StoreErrorKind::Refused)), "{nothing}: {listed:?}");
    }
}

#[tokio::test]
async fn what_is_no_object_is_left_out() {
    let place = Place::new();
    place.put("good", b"");
    for odd in ["new\nline", " space", "space ", "turned\u{202e}", "back\\..\\slash", &temporary(TOKEN)] {
        place.put(odd, b"");
    }
    place.put(" folder/a", b"");
    fs::write(place.path("").join(OsStr::from_bytes(b"not utf-8 \xff")), b"").unwrap();
    fs::write(place.outside.join("secret"), b"").unwrap();
    std::os::unix::fs::symlink(&place.outside, place.path("link")).unwrap();
    std::os::unix::fs::symlink(place.outside.join("secret"), place.path("link-to-file")).unwrap();
    std::os::unix::fs::symlink(".", place.path("loop")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place.path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(keys(&place, "").await, ["good"]);
    let refused = place.store.list("link/").await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Refused);
    assert_eq!(place.text(&refused), "cannot list `link` in ROOT: it is a symlink");
}

#[tokio::test]
async fn the_reserved_folder_is_listed_when_it_is_asked_for() {
    let place = Place::new();
    place.put(".backhaul/records/1.ndjson", b"");
    place.put(&format!(".backhaul/records/{}", temporary(TOKEN)), b"");
    place.put("a", b"");
    assert_eq!(keys(&place, "").await, ["a"]);
    assert_eq!(keys(&place, ".back").await, [""; 0]);
    assert_eq!(keys(&place, ".backhaul/").await, [".backhaul/records/1.ndjson"]);
    assert_eq!(keys(&place, ".backhaul/records/").await, [".backhaul/records/1.ndjson"]);
}
