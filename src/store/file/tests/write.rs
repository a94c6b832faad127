//! Uploads from `begin` to `publish`.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::*;
use crate::store::StoreErrorKind;
use crate::store::file::publish::rename;
use crate::store::file::write::{not_durable, read_back};

#[tokio::test]
async fn objects_of_all_sizes_arrive() {
    let place = Place::new();
    for len in [0, 1, 4095, 4096, 4097, MIB, 3 * MIB + 1] {
        let (name, bytes) = (format!("new/{len}/x"), pattern(len));
        place.copy(&name, &bytes).await.unwrap();
        assert_eq!(fs::read(place.path(&name)).unwrap(), bytes);
        assert_eq!(names(&place.path(&format!("new/{len}"))), ["x"], "no temporary is left");
    }
}

#[tokio::test]
async fn publishing_tells_the_facts() {
    let place = Place::new();
    let upload = place.begin("a").await;
    place.store.part(&upload, 0, 0, pattern(10).into()).await.unwrap();
    assert_eq!(place.store.head(&key("a")).await.unwrap_err().kind, StoreErrorKind::Missing, "not before");
    let facts = place.store.publish(&upload, &[], 10).await.unwrap();
    assert_eq!(place.store.head(&key("a")).await.unwrap(), facts);
}

#[tokio::test]
async fn parts_come_in_any_order_and_again() {
    let place = Place::new();
    let bytes = pattern(4 * 100_000);
    let upload = place.begin("a").await;
    for number in [3, 0, 0, 2, 1, 3] {
        let part = Bytes::copy_from_slice(&bytes[number * 100_000..(number + 1) * 100_000]);
        place.store.part(&upload, 0, number as u64 * 100_000, part).await.unwrap();
    }
    place.store.publish(&upload, &[], bytes.len() as u64).await.unwrap();
    assert_eq!(fs::read(place.path("a")).unwrap(), bytes);
}

#[tokio::test]
async fn parts_come_several_at_a_time() {
    let place = Place::new();
    let bytes = pattern(8 * MIB);
    let upload = place.begin("a").await;
    let parts = (0..8).map(|number| {
        let part = Bytes::copy_from_slice(&bytes[number * MIB..(number + 1) * MIB]);
        place.store.part(&upload, 0, (number * MIB) as u64, part)
    });
    futures::future::try_join_all(parts).await.unwrap();
    place.store.publish(&upload, &[], bytes.len() as u64).await.unwrap();
    assert_eq!(fs::read(place.path("a")).unwrap(), bytes);
}

#[tokio::test]
async fn a_limited_store_writes_and_counts_the_same() {
    let (throttle, _) = limited(64 * MIB as u64);
    let counting = throttle.clone();
    let place = Place::with(throttle);
    let bytes = pattern(MIB + 5);
    place.copy("a", &bytes).await.unwrap();
    assert_eq!(fs::read(place.path("a")).unwrap(), bytes);
    assert_eq!(counting.counters().bytes_written.load(Ordering::Relaxed), bytes.len() as u64);
    assert_eq!(counting.counters().bytes_read.load(Ordering::Relaxed), bytes.len() as u64, "read back once");
    assert_eq!(counting.counters().requests.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_new_process_goes_on_with_what_is_stored() {
    let place = Place::new();
    let first = place.begin("a").await;
    place.store.part(&first, 0, 0, Bytes::from_static(b"one")).await.unwrap();
    let again = FileStore::open(&place.path(""), None, Throttle::unlimited()).unwrap();
    assert_eq!(again.resume(first.clone(), &[]).await.unwrap(), first);
    assert_eq!(again.begin(&key("a"), TOKEN, SHAPE).await.unwrap(), first);
    again.part(&first, 0, 3, Bytes::from_static(b"two")).await.unwrap();
    again.publish(&first, &[], 6).await.unwrap();
    assert_eq!(fs::read(place.path("a")).unwrap(), b"onetwo");
}

#[tokio::test]
async fn a_temporary_that_was_lost_is_never_taken_for_the_old_one() {
    let place = Place::new();
    let first = place.begin("a").await;
    place.store.part(&first, 0, 0, Bytes::from_static(b"one")).await.unwrap();
    fs::remove_file(place.path(&temporary(TOKEN))).unwrap();
    let lost = place.store.part(&first, 0, 3, Bytes::from_static(b"two")).await.unwrap_err();
    assert_eq!(lost.kind, StoreErrorKind::Lost);
    assert_eq!(place.text(&lost), "cannot write `a` in ROOT: its temporary file is gone");
    assert_eq!(place.store.publish(&first, &[], 6).await.unwrap_err().kind, StoreErrorKind::Lost);

    let lost = place.store.resume(first.clone(), &[]).await.unwrap_err();
    assert_eq!(lost.kind, StoreErrorKind::Lost);
    assert_eq!(place.store.staged(&first, 0..3).await.unwrap_err().kind, StoreErrorKind::Lost);
    assert_eq!(names(&place.path("")), [""; 0], "going on makes nothing");

    let second = place.begin("a").await;
    assert_ne!(second.upload_id, first.upload_id);
    let lost = place.store.part(&first, 0, 3, Bytes::from_static(b"two")).await.unwrap_err();
    assert_eq!(lost.kind, StoreErrorKind::Lost, "else the object would have a hole");
    fs::write(place.path(&temporary(TOKEN)), b"onetwo").unwrap();
    assert_eq!(place.store.publish(&first, &[], 6).await.unwrap_err().kind, StoreErrorKind::Lost);
    assert!(!place.path("a").exists());
}

#[tokio::test]
async fn an_unfinished_upload_is_not_published() {
    let place = Place::new();
    let upload = place.begin("a").await;
    place.store.part(&upload, 0, 0, Bytes::from_static(b"12345")).await.unwrap();
    for size in [4, 6] {
        let lost = place.store.publish(&upload, &[], size).await.unwrap_err();
        assert_eq!(lost.kind, StoreErrorKind::Lost);
        assert_eq!(place.text(&lost), format!("cannot publish `a` in ROOT: the temporary has 5 of {size} bytes"));
    }
    assert!(!place.path("a").exists());
}

#[tokio::test]
async fn publishing_twice_is_publishing_once() {
    let place = Place::new();
    let upload = place.begin("a").await;
    place.store.part(&upload, 0, 0, Bytes::from_static(b"12345")).await.unwrap();
    let facts = place.store.publish(&upload, &[], 5).await.unwrap();
    assert_eq!(place.store.publish(&upload, &[], 5).await.unwrap(), facts);
    let without_id = Upload { upload_id: None, ..upload };
    assert_eq!(place.store.publish(&without_id, &[], 5).await.unwrap_err().kind, StoreErrorKind::Exists);
}

#[tokio::test]
async fn a_crash_between_link_and_unlink_was_a_publish() {
    let place = Place::new();
    let upload = place.begin("a").await;
    place.store.part(&upload, 0, 0, Bytes::from_static(b"12345")).await.unwrap();
    fs::hard_link(place.path(&temporary(TOKEN)), place.path("a")).unwrap();
    let lost = place.store.part(&upload, 0, 0, Bytes::from_static(b"54321")).await.unwrap_err();
    assert_eq!(lost.kind, StoreErrorKind::Lost, "a published object is never written to");
    let without_id = Upload { upload_id: None, ..upload };
    place.store.publish(&without_id, &[], 5).await.unwrap();
    assert_eq!(names(&place.path("")), ["a"]);
    assert_eq!(fs::read(place.path("a")).unwrap(), b"12345");
}

#[tokio::test]
async fn nothing_is_ever_overwritten() {
    let place = Place::new();
    let foreign = place.put("a", b"foreign");
    let inode = fs::metadata(&foreign).unwrap().ino();
    let error = place.copy("a", b"ours").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Exists);
    assert_eq!(place.text(&error), "cannot publish `a` in ROOT: another file has this name");
    assert_eq!(fs::read(&foreign).unwrap(), b"foreign");
    assert_eq!(fs::metadata(&foreign).unwrap().ino(), inode);
}

#[tokio::test]
async fn a_rename_never_replaces_either() {
    let place = Place::new();
    place.put("from", b"ours");
    place.put("to", b"foreign");
    let folder = rustix::fs::open(place.path(""), crate::store::file::root::FOLDER, 0.into()).unwrap();
    assert_eq!(rename(&folder, "from", "to"), Err(Errno::EXIST));
    assert_eq!(fs::read(place.path("to")).unwrap(), b"foreign");
    assert_eq!(rename(&folder, "from", "free"), Ok(()));
    assert_eq!(fs::read(place.path("free")).unwrap(), b"ours");
}

#[tokio::test]
async fn abandoning_removes_our_temporary_only() {
    let place = Place::new();
    let ours = place.begin("folder/a").await;
    let other = place.store.begin(&key("folder/a"), OTHER_TOKEN, SHAPE).await.unwrap();
    place.store.part(&other, 0, 0, Bytes::from_static(b"other")).await.unwrap();
    place.store.abandon(&ours).await.unwrap();
    place.store.abandon(&ours).await.unwrap();
    assert_eq!(names(&place.path("folder")), [temporary(OTHER_TOKEN)]);
    place.store.publish(&other, &[], 5).await.unwrap();
    place.store.abandon(&other).await.unwrap();
    assert_eq!(fs::read(place.path("folder/a")).unwrap(), b"other");
    place.store.abandon(&Upload { key: key("no/such/folder"), ..ours }).await.unwrap();
    assert!(!place.path("no").exists());
}

#[tokio::test]
async fn modes_are_private_under_any_umask() {
    let place = Place::new();
    let before = rustix::process::umask(0.into());
    let copied = place.copy("one/two/a", b"x").await;
    rustix::process::umask(before);
    copied.unwrap();
    assert_eq!(mode(&place.path("one/two/a")), 0o600);
    assert_eq!((mode(&place.path("one")), mode(&place.path("one/two"))), (0o700, 0o700));
}

#[tokio::test]
async fn folders_removed_meanwhile_are_made_again() {
    let place = Place::new();
    place.copy("one/two/a", b"x").await.unwrap();
    fs::remove_dir_all(place.path("one")).unwrap();
    place.copy("one/two/a", b"y").await.unwrap();
    assert_eq!(fs::read(place.path("one/two/a")).unwrap(), b"y");
}

#[tokio::test]
async fn the_longest_names_are_possible() {
    let place = Place::new();
    let part = "n".repeat(255);
    let name = format!("{part}/{part}/{part}/{}", "x".repeat(255));
    place.copy(&name, b"x").await.unwrap();
    assert_eq!(place.pin(&name).await.size, 1);
}

#[tokio::test]
async fn a_token_is_no_path() {
    let place = Place::new();
    for token in ["", "../x", "a/b", "a b"] {
        let refused = place.store.begin(&key("a"), token, SHAPE).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused, "{token}");
    }
    assert_eq!(names(&place.path("")), [""; 0]);
}

#[tokio::test]
async fn what_is_read_back_is_compared() {
    let place = Place::new();
    let upload = place.begin("a").await;
    let bytes = pattern(3 * MIB);
    let mut stored = bytes.clone();
    stored[2 * MIB + 1] ^= 1;
    let path = place.put(&temporary(TOKEN), &stored);
    let root = &place.store.root;
    let compare = |bytes: &[u8]| read_back(root, &upload, &fs::File::open(&path).unwrap().into(), 0, bytes);
    compare(&bytes[..2 * MIB]).unwrap();
    let differs = compare(&bytes).unwrap_err();
    assert_eq!(differs.kind, StoreErrorKind::Differs);
    assert_eq!(
        place.text(&differs),
        "cannot trust `a` in ROOT: bytes read back from 2097152 on are not those that were written"
    );
    stored.push(0);
    assert_eq!(compare(&stored).unwrap_err().kind, StoreErrorKind::Differs, "the file is a byte short");
}

#[tokio::test]
async fn a_failed_sync_loses_the_upload_unless_the_disk_is_only_full() {
    let place = Place::new();
    let upload = place.begin("a").await;
    let full = not_durable(&place.store.root, &upload, Errno::NOSPC);
    assert_eq!(full.kind, StoreErrorKind::NoSpace);
    assert!(place.path(&temporary(TOKEN)).exists());
    let lost = not_durable(&place.store.root, &upload, Errno::IO);
    assert_eq!(lost.kind, StoreErrorKind::Lost);
    assert_eq!(place.text(&lost), "cannot make durable `a` in ROOT: input/output error");
    assert!(!place.path(&temporary(TOKEN)).exists(), "nobody may go on with it");
}

#[tokio::test]
async fn what_is_staged_can_be_read_back() {
    for throttle in [Throttle::unlimited(), limited(64 * MIB as u64).0] {
        let counting = throttle.clone();
        let place = Place::with(throttle);
        let upload = place.begin("folder/a").await;
        let bytes = pattern(MIB);
        place.store.part(&upload, 0, 5, bytes.clone().into()).await.unwrap();
        let before = counting.counters().bytes_read.load(Ordering::Relaxed);
        assert_eq!(place.store.staged(&upload, 6..MIB as u64 + 5).await.unwrap().unwrap(), bytes[1..]);
        assert_eq!(counting.counters().bytes_read.load(Ordering::Relaxed) - before, MIB as u64 - 1);
        assert_eq!(place.store.staged(&upload, 7..7).await.unwrap().unwrap(), b""[..]);
        let lost = place.store.staged(&upload, 0..MIB as u64 + 6).await.unwrap_err();
        assert_eq!(lost.kind, StoreErrorKind::Lost);
        assert_eq!(
            place.text(&lost),
            "cannot read back `folder/a` in ROOT: its temporary file is shorter than what was stored"
        );
    }
}
