//! Opening, making and naming the folder itself.

use super::*;
use crate::store::StoreErrorKind;

fn open(path: &Path) -> Result<FileStore, StoreError> {
    FileStore::open(path, None, Throttle::unlimited())
}

fn absent(path: &Path) -> Result<FileStore, StoreError> {
    FileStore::absent(path, None, Throttle::unlimited())
}

#[test]
fn the_identity_is_the_canonical_path() {
    let place = Place::new();
    assert_eq!(place.store.identity(), format!("file:{}", place.path("").to_str().unwrap().trim_end_matches('/')));
    let link = place.outside.join("link");
    std::os::unix::fs::symlink(place.path(""), &link).unwrap();
    assert_eq!(open(&link).unwrap().identity(), place.store.identity());
    assert_eq!(open(&place.outside.join("../store/.")).unwrap().identity(), place.store.identity());
    let named = FileStore::open(&link, Some("file:vault"), Throttle::unlimited()).unwrap();
    assert_eq!(named.identity(), "file:vault");
}

#[test]
fn the_identity_before_and_after_making_is_one() {
    let place = Place::new();
    let link = place.outside.join("link");
    std::os::unix::fs::symlink(place.path(""), &link).unwrap();
    let path = link.join("new/region");
    let before = absent(&path).unwrap();
    assert!(!path.exists(), "asking makes nothing");
    let made = FileStore::create(&path, None, Throttle::unlimited()).unwrap();
    assert_eq!(before.identity(), made.identity());
    assert_eq!(open(&path).unwrap().identity(), made.identity());
    assert_eq!((mode(&path), mode(&link.join("new"))), (0o700, 0o700));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let place = Place::new();
    let file = place.put("file", b"");
    let missing = open(&place.path("gone")).unwrap_err();
    assert_eq!(missing.kind, StoreErrorKind::Missing);
    assert_eq!(place.text(&missing), "the folder `ROOT/gone` is not there");
    assert!(!place.path("gone").exists());
    for refused in [open(&file), absent(&file), absent(&file.join("below"))] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
        assert!(refused.message.ends_with("is not a folder"), "{refused}");
    }
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    let refused = FileStore::create(&place.path("dangling"), None, Throttle::unlimited()).unwrap_err();
    assert!(refused.message.ends_with("/dangling` is a symlink to nothing"), "{refused}");
    let refused = absent(&place.path("gone/../other")).unwrap_err();
    assert!(refused.message.ends_with("it leads through a folder that is not there"), "{refused}");
}

#[tokio::test]
async fn an_absent_folder_can_be_asked() {
    let place = Place::new();
    let path = place.path("not/yet");
    let store = absent(&path).unwrap();
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind, StoreErrorKind::Missing);
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.list("a/").await.unwrap(), []);
    assert!(store.free_bytes().await.unwrap() > Some(0));
    let refused = store.begin(&key("a"), TOKEN, SHAPE).await.unwrap_err();
    assert_eq!(refused.kind, StoreErrorKind::Refused);
    assert_eq!(place.text(&refused), "cannot write `a` in ROOT/not/yet: the folder `ROOT/not/yet` is not there");
    assert!(!place.path("not").exists());
}

#[tokio::test]
async fn free_bytes_are_what_the_system_says() {
    let place = Place::new();
    let stat = rustix::fs::statvfs(place.path("")).unwrap();
    let (free, told) = (stat.f_bavail * stat.f_frsize, place.store.free_bytes().await.unwrap().unwrap());
    assert!(free.abs_diff(told) < 1 << 30, "{free} and {told}: other builds write, but not that fast");
}

#[test]
fn debug_shows_the_path_only() {
    let place = Place::new();
    assert_eq!(format!("{:?}", place.store), format!("FileStore({})", &place.store.identity()["file:".len()..]));
}
