//! Real folders, real files, real mounts.

mod hostile;
mod list;
mod mounts;
mod places;
mod read;
mod write;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::FileStore;
use crate::id::Key;
use crate::store::{Layout, Metadata, Pin, Shape, Source, StoreError, Target, Upload};
use crate::throttle::{Rate, Throttle, TokenBucket};

pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";
pub(super) const OTHER_TOKEN: &str = "ffffffffffffffffffffffffffffffff";
/// What is to be made; files ask for none of it.
pub(super) const SHAPE: Shape<'static> =
    Shape { layout: &Layout::Equal { size: 2, part_size: 1 }, metadata: &Metadata::new() };
pub(super) const MIB: usize = 1024 * 1024;

/// A store in a folder of its own, and a folder beside it that is none of its business.
pub(super) struct Place {
    pub(super) store: FileStore,
    pub(super) outside: PathBuf,
    root: PathBuf,
    _dir: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self::with(Throttle::unlimited())
    }

    pub(super) fn with(throttle: Throttle) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("store"), dir.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let store = FileStore::create(&root, None, throttle).unwrap();
        Self { store, outside, root: fs::canonicalize(root).unwrap(), _dir: dir }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The error's text without the folder's changing name.
    pub(super) fn text(&self, error: &StoreError) -> String {
        error.message.replace(self.root.to_str().unwrap(), "ROOT")
    }

    pub(super) async fn pin(&self, name: &str) -> Pin {
        let facts = self.store.head(&key(name)).await.unwrap();
        Pin { etag: facts.etag, size: facts.size }
    }

    pub(super) async fn begin(&self, name: &str) -> Upload {
        self.store.begin(&key(name), TOKEN, SHAPE).await.unwrap()
    }

    /// Begins, stores in one part, publishes.
    pub(super) async fn copy(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let upload = self.store.begin(&key(name), TOKEN, SHAPE).await?;
        self.store.part(&upload, 0, 0, Bytes::copy_from_slice(bytes)).await?;
        self.store.publish(&upload, &[], bytes.len() as u64).await.map(drop)
    }
}

pub(super) fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

pub(super) fn temporary(token: &str) -> String {
    format!(".backhaul-{token}.part")
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// All names in a folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Bytes in which every stretch differs from every other.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| u8::try_from((at * 31 + at / 251 + at / 65_521) % 256).unwrap()).collect()
}

/// A throttle with one ceiling for reads and writes.
pub(super) fn limited(rate: u64) -> (Throttle, Arc<TokenBucket>) {
    let bucket = Arc::new(TokenBucket::new(Rate::from(Some(rate))));
    let throttle = Throttle::new(vec![bucket.clone()], vec![bucket.clone()], None);
    (throttle, bucket)
}
