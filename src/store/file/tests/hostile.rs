//! What others put in the way: links and special files, before and during a copy.

use std::os::unix::fs::symlink;

use super::*;
use crate::store::{StoreErrorKind, Upload};

/// Everything a store can be asked for under one name; all of it must be refused with one of these texts.
async fn refused_everywhere(place: &Place, upload: &Upload, why: &str) {
    let (key, pin) = (&upload.key, Pin { etag: String::new(), size: 4 });
    let answers = [
        place.store.head(key).await.map(drop),
        place.store.read(key, 0..4, &pin, &|_| ()).await.map(drop),
        place.store.begin(key, TOKEN, SHAPE).await.map(drop),
        place.store.part(upload, 0, 0, Bytes::from_static(b"ours")).await.map(drop),
        place.store.publish(upload, &[], 4).await.map(drop),
        place.store.abandon(upload).await,
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let error = answer.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Refused, "{number}: {error}");
        assert!(error.message.ends_with(why), "{number}: {error}");
        assert!(error.hint.is_some(), "{number}: {error}");
    }
}

#[tokio::test]
async fn a_folder_swapped_for_a_symlink_leads_nowhere() {
    let place = Place::new();
    let upload = place.begin("one/two/a").await;
    fs::rename(place.path("one"), place.path("moved")).unwrap();
    fs::create_dir(place.outside.join("two")).unwrap();
    fs::write(place.outside.join("two/a"), b"them").unwrap();
    symlink(&place.outside, place.path("one")).unwrap();
    refused_everywhere(&place, &upload, "`one` is a symlink").await;
    assert_eq!(names(&place.outside.join("two")), ["a"]);
    assert_eq!(fs::read(place.outside.join("two/a")).unwrap(), b"them");
}

#[tokio::test]
async fn a_symlink_that_stays_inside_is_none_the_better() {
    let place = Place::new();
    place.put("real/a", b"ours");
    symlink("real", place.path("link")).unwrap();
    symlink("a", place.path("real/b")).unwrap();
    let through = place.store.head(&key("link/a")).await.unwrap_err();
    assert_eq!(place.text(&through), "cannot read `link/a` in ROOT: `link` is a symlink");
    let itself = place.store.head(&key("real/b")).await.unwrap_err();
    assert_eq!(place.text(&itself), "cannot read `real/b` in ROOT: it is a symlink");
}

#[tokio::test]
async fn a_symlink_under_the_final_name_is_not_followed() {
    let place = Place::new();
    for (name, to) in [("dangling", place.outside.join("new")), ("valid", place.outside.join("victim"))] {
        fs::write(place.outside.join("victim"), b"them").unwrap();
        symlink(to, place.path(name)).unwrap();
        let refused = place.copy(name, b"ours").await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
        assert_eq!(place.text(&refused), format!("cannot publish `{name}` in ROOT: it is a symlink"));
        assert_eq!(names(&place.outside), ["victim"]);
        assert_eq!(fs::read(place.outside.join("victim")).unwrap(), b"them");
    }
}

#[tokio::test]
async fn a_symlink_under_the_temporary_name_is_not_followed() {
    let place = Place::new();
    let victim = place.outside.join("victim");
    fs::write(&victim, b"them").unwrap();
    symlink(&victim, place.path(&temporary(TOKEN))).unwrap();
    let refused = place.store.begin(&key("a"), TOKEN, SHAPE).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Refused, "{refused}");
    let upload = Upload { key: key("a"), token: TOKEN.into(), upload_id: None, parts: 2 };
    let refused = place.store.part(&upload, 0, 0, Bytes::from_static(b"ours")).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Refused, "{refused}");
    assert_eq!(fs::read(&victim).unwrap(), b"them");
}

#[tokio::test]
async fn a_hard_link_under_our_names_keeps_its_bytes() {
    let place = Place::new();
    let victim = place.outside.join("victim");
    fs::write(&victim, b"them").unwrap();
    fs::hard_link(&victim, place.path("a")).unwrap();
    assert_eq!(place.copy("a", b"ours").await.unwrap_err().kind, StoreErrorKind::Exists);
    fs::hard_link(&victim, place.path(&temporary(OTHER_TOKEN))).unwrap();
    let upload = place.store.begin(&key("b"), OTHER_TOKEN, SHAPE).await.unwrap();
    let lost = place.store.part(&upload, 0, 0, Bytes::from_static(b"ours")).await.unwrap_err();
    assert_eq!(lost.kind, StoreErrorKind::Lost);
    assert_eq!(fs::read(&victim).unwrap(), b"them");
}

#[tokio::test]
async fn special_files_are_refused_by_name() {
    let place = Place::new();
    fs::create_dir(place.path("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, place.path("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    for (name, what) in [("folder", "a folder"), ("fifo", "a FIFO"), ("socket", "a socket")] {
        let refused = place.store.head(&key(name)).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
        assert_eq!(place.text(&refused), format!("cannot read `{name}` in ROOT: it is {what}, not a regular file"));
        let pin = Pin { etag: String::new(), size: 1 };
        assert_eq!(place.store.read(&key(name), 0..1, &pin, &|_| ()).await.unwrap_err().message, refused.message);
        let refused = place.copy(name, b"ours").await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
        assert!(refused.message.ends_with(&format!("it is {what}, not a regular file")), "{refused}");
    }
    let dev = FileStore::open(Path::new("/dev"), None, Throttle::unlimited()).unwrap();
    let device = dev.head(&key("null")).await.unwrap_err();
    assert_eq!(device.message, "cannot read `null` in /dev: it is a device, not a regular file");
}

#[tokio::test]
async fn a_fifo_in_the_place_of_the_temporary_holds_nobody_up() {
    let place = Place::new();
    let upload = place.begin("a").await;
    let path = place.path(&temporary(TOKEN));
    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for answer in [
        place.store.begin(&key("a"), TOKEN, SHAPE).await.map(drop),
        place.store.part(&upload, 0, 0, Bytes::from_static(b"x")).await.map(drop),
        place.store.publish(&upload, &[], 1).await.map(drop),
    ] {
        let refused = answer.unwrap_err();
        assert!(refused.message.ends_with("it is a FIFO, not a regular file"), "{refused}");
    }
}

#[tokio::test]
async fn a_file_in_the_place_of_a_folder_is_named() {
    let place = Place::new();
    place.put("one", b"");
    let upload = Upload { key: key("one/two/a"), token: TOKEN.into(), upload_id: None, parts: 2 };
    refused_everywhere(&place, &upload, "`one` is not a folder").await;
}
