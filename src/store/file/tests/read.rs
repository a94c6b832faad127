//! Facts and pinned ranges.

use std::io::Write;
use std::sync::atomic::Ordering;

use super::*;
use crate::store::StoreErrorKind;

#[tokio::test]
async fn facts_are_size_and_version() {
    let place = Place::new();
    let path = place.put("dumps/a.gz", b"12345");
    let facts = place.store.head(&key("dumps/a.gz")).await.unwrap();
    assert_eq!((facts.size, facts.digests.sha256), (5, None));
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert_eq!(facts.modified_ms.map(i128::from), i128::try_from(since).ok());
    assert_eq!(place.store.head(&key("dumps/a.gz")).await.unwrap(), facts, "the same as long as nothing changes");

    let file = fs::File::options().append(true).open(&path).unwrap();
    (&file).write_all(b"6").unwrap();
    let longer = place.store.head(&key("dumps/a.gz")).await.unwrap();
    assert_ne!(longer.etag, facts.etag);
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    let older = place.store.head(&key("dumps/a.gz")).await.unwrap();
    assert_eq!(older.modified_ms, Some(0));
    assert_ne!(older.etag, longer.etag);
}

#[tokio::test]
async fn ranges_are_exact() {
    let place = Place::new();
    let bytes = pattern(3 * MIB + 17);
    place.put("a", &bytes);
    let pin = place.pin("a").await;
    let end = bytes.len();
    for range in [0..end, 0..1, end - 1..end, 5..5, end..end, MIB - 1..2 * MIB + 1] {
        let wanted = range.start as u64..range.end as u64;
        assert_eq!(place.store.read(&key("a"), wanted, &pin, &|_| ()).await.unwrap().bytes, bytes[range]);
    }
    let short = place.store.read(&key("a"), 0..end as u64 + 1, &pin, &|_| ()).await.unwrap_err();
    assert_eq!(short.kind, StoreErrorKind::Short);
}

#[tokio::test]
async fn an_empty_file_is_an_object() {
    let place = Place::new();
    place.put("empty", b"");
    let pin = place.pin("empty").await;
    assert_eq!(pin.size, 0);
    assert_eq!(place.store.read(&key("empty"), 0..0, &pin, &|_| ()).await.unwrap().bytes, b""[..]);
    fs::write(place.path("empty"), b"x").unwrap();
    assert_eq!(place.store.read(&key("empty"), 0..0, &pin, &|_| ()).await.unwrap_err().kind, StoreErrorKind::Changed);
}

#[tokio::test]
async fn slices_make_the_same_whole() {
    let (throttle, _) = limited(64 * MIB as u64);
    let counting = throttle.clone();
    let place = Place::with(throttle);
    let bytes = pattern(MIB + 3);
    place.put("a", &bytes);
    let pin = place.pin("a").await;
    assert_eq!(place.store.read(&key("a"), 1..pin.size, &pin, &|_| ()).await.unwrap().bytes, bytes[1..]);
    assert_eq!(counting.counters().bytes_read.load(Ordering::Relaxed), pin.size - 1);
    assert_eq!(counting.counters().requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_is_missing_is_missing() {
    let place = Place::new();
    let missing = place.store.head(&key("a/b")).await.unwrap_err();
    assert_eq!(missing.kind, StoreErrorKind::Missing);
    assert_eq!(place.text(&missing), "cannot read `a/b` in ROOT: no such file");
}

#[tokio::test]
async fn a_file_that_changed_before_reading_is_not_read() {
    let place = Place::new();
    place.put("a", b"12345");
    let pin = place.pin("a").await;
    place.put("b", b"54321");
    fs::rename(place.path("b"), place.path("a")).unwrap();
    let changed = place.store.read(&key("a"), 0..5, &pin, &|_| ()).await.unwrap_err();
    assert_eq!(changed.kind, StoreErrorKind::Changed);
    assert_eq!(place.text(&changed), "cannot read `a` in ROOT: it changed since it was looked at first");
}

/// Reads a file of 8 MiB; `change` happens after its first slice and before its last.
async fn read_while(change: impl FnOnce(&Place, &Path)) -> (Place, Result<Bytes, StoreError>) {
    let (throttle, bucket) = limited(MIB as u64);
    let counting = throttle.clone();
    let place = Place::with(throttle);
    let path = place.put("a", &pattern(8 * MIB));
    let pin = place.pin("a").await;
    let store = place.store.clone();
    let reader =
        tokio::spawn(async move { store.read(&key("a"), 0..pin.size, &pin, &|_| ()).await.map(|read| read.bytes) });
    while counting.counters().bytes_read.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    change(&place, &path);
    bucket.set(Rate::Unlimited);
    let result = reader.await.unwrap();
    (place, result)
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_is_changed() {
    let grow = |_: &Place, path: &Path| {
        fs::File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
    };
    let (place, result) = read_while(grow).await;
    let changed = result.unwrap_err();
    assert_eq!(changed.kind, StoreErrorKind::Changed);
    assert_eq!(
        place.text(&changed),
        "cannot read `a` in ROOT: it changed while it was read, from 8388608 to 8388612 bytes"
    );
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_changed() {
    let shrink = |_: &Place, path: &Path| fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    let (place, result) = read_while(shrink).await;
    let changed = result.unwrap_err();
    assert_eq!(changed.kind, StoreErrorKind::Changed);
    assert_eq!(place.text(&changed), "cannot read `a` in ROOT: it became shorter while it was read");
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_read_is_changed() {
    let replace = |place: &Place, path: &Path| {
        fs::rename(place.put("b", &pattern(8 * MIB)), path).unwrap();
    };
    let (_place, result) = read_while(replace).await;
    assert_eq!(result.unwrap_err().kind, StoreErrorKind::Changed);
}

#[tokio::test]
async fn a_file_that_stays_while_it_is_read_slowly_is_read() {
    let (_place, result) = read_while(|_, _| ()).await;
    assert_eq!(result.unwrap(), pattern(8 * MIB));
}
