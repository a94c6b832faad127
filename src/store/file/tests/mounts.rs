//! Other file systems and full ones. These need the right to mount (root); without it they say so and pass.

use std::process::Command;

use super::*;
use crate::store::StoreErrorKind;

/// A file system in memory, for as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&path).output();
        if done.as_ref().is_ok_and(|done| done.status.success()) {
            return Some(Self(path));
        }
        eprintln!("SKIPPED: this test needs the right to mount: {done:?}");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn another_file_system_below_the_root_is_refused() {
    let place = Place::new();
    place.put("a", b"");
    let upload = place.begin("disk/a").await;
    let Some(disk) = Mounted::new(place.path("disk"), "size=1m") else { return };
    fs::write(disk.0.join("b"), b"them").unwrap();
    for answer in [
        place.store.head(&key("disk/b")).await.map(drop),
        place.store.begin(&key("disk/b"), TOKEN, SHAPE).await.map(drop),
        place.store.part(&upload, 0, 0, Bytes::from_static(b"x")).await.map(drop),
        place.store.publish(&upload, &[], 1).await.map(drop),
        place.store.abandon(&upload).await,
    ] {
        let refused = answer.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
        assert!(refused.message.ends_with("`disk` is on another file system"), "{refused}");
    }
    assert_eq!(names(&disk.0), ["b"]);
    let listed = place.store.list("").await.unwrap();
    assert_eq!(listed.into_iter().map(|listed| listed.key).collect::<Vec<_>>(), [key("a")]);
}

#[tokio::test]
async fn a_full_store_keeps_what_it_has_and_goes_on() {
    let place = Place::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=1m") else { return };
    let store = FileStore::open(&disk.0, None, Throttle::unlimited()).unwrap();
    let bytes = pattern(2 * MIB);
    let part = |number: usize| Bytes::copy_from_slice(&bytes[number * MIB / 2..(number + 1) * MIB / 2]);
    let upload = store.begin(&key("a"), TOKEN, SHAPE).await.unwrap();
    store.part(&upload, 0, 0, part(0)).await.unwrap();
    store.part(&upload, 0, MIB as u64 / 2, part(1)).await.unwrap();
    let full = store.part(&upload, 0, MIB as u64, part(2)).await.unwrap_err();
    assert_eq!(full.kind, StoreErrorKind::NoSpace);
    assert!(full.message.ends_with(": no space left"), "{full}");
    let hint = full.hint.unwrap();
    assert!(hint.starts_with("0 bytes are free in `"), "{hint}");
    assert!(!disk.0.join("a").exists());

    disk.remount("size=4m");
    for number in 2..4 {
        store.part(&upload, 0, (number * MIB / 2) as u64, part(number)).await.unwrap();
    }
    store.publish(&upload, &[], bytes.len() as u64).await.unwrap();
    assert_eq!(fs::read(disk.0.join("a")).unwrap(), bytes);
}

#[tokio::test]
async fn a_read_only_store_is_read_and_not_written() {
    let place = Place::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=1m") else { return };
    fs::write(disk.0.join("a"), b"12345").unwrap();
    disk.remount("ro");
    let store = FileStore::create(&disk.0, None, Throttle::unlimited()).unwrap();
    assert_eq!(store.head(&key("a")).await.unwrap().size, 5);
    for name in ["b", "folder/b"] {
        let refused = store.begin(&key(name), TOKEN, SHAPE).await.unwrap_err();
        assert_eq!(refused.kind, StoreErrorKind::Refused);
        assert!(refused.message.ends_with(": the file system is read-only"), "{refused}");
    }
}
