//! What lies in the source region of a bed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Bed, State};

/// The name of the source region.
pub const SOURCE: &str = "one";

/// `part_size` of every bed.
pub const PART: u64 = 1 << 20;

/// Which source region a bed has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Objects of one part each: an empty one, one of a single byte, a chain of three, one of exactly a part.
    Small,
    /// Objects of three to nine parts, in a chain, and a small one; the last part of each is short or whole.
    Large,
}

/// Size and time of change of a file.
type Version = (u64, i64, i64);

/// One source object.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    pub name: &'static str,
    pub size: u64,
    pub parent: Option<&'static str>,
}

const fn object(name: &'static str, size: u64, parent: Option<&'static str>) -> Object {
    Object { name, size, parent }
}

const SMALL: [Object; 6] = [
    object("empty.bin", 0, None),
    object("byte.bin", 1, None),
    object("a/full.xbstream.gz", 300_001, None),
    object("a/inc1.xbstream.gz", 70_000, Some("a/full.xbstream.gz")),
    object("a/inc2.xbstream.gz", 4_096, Some("a/inc1.xbstream.gz")),
    object("part.bin", PART, None),
];

const LARGE: [Object; 4] = [
    object("b/full.xbstream.gz", 9 * PART - 12_345, None),
    object("b/inc1.xbstream.gz", 3 * PART, Some("b/full.xbstream.gz")),
    object("b/inc2.xbstream.gz", 4 * PART + 1, Some("b/inc1.xbstream.gz")),
    object("alone.bin", 50_000, None),
];

impl Layout {
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub const fn objects(self) -> &'static [Object] {
        match self {
            Self::Small => &SMALL,
            Self::Large => &LARGE,
        }
    }

    pub fn object(self, name: &str) -> Object {
        *self.objects().iter().find(|object| object.name == name).expect("an object of this layout")
    }

    /// Its source region, shared by all beds: nothing may ever write there, and [`State::of`] holds that.
    pub fn source(self) -> PathBuf {
        self.made().0.clone()
    }

    /// Fails the test if anything changed in the source region since this process saw all its bytes.
    #[track_caller]
    pub fn source_is_untouched(self) {
        let (folder, versions) = self.made();
        assert_eq!(&self.versions(folder), versions, "the source was changed");
    }

    /// The source region, and what its files are.
    fn made(self) -> &'static (PathBuf, Vec<Version>) {
        static MADE: [OnceLock<(PathBuf, Vec<Version>)>; 2] = [OnceLock::new(), OnceLock::new()];
        MADE[self as usize].get_or_init(|| {
            let folder = self.make_source();
            let versions = self.versions(&folder);
            (folder, versions)
        })
    }

    fn versions(self, folder: &Path) -> Vec<Version> {
        use std::os::unix::fs::MetadataExt;
        let metadata = self.objects().iter().map(|object| folder.join(object.name).metadata().expect("an object"));
        metadata.map(|metadata| (metadata.len(), metadata.ctime(), metadata.ctime_nsec())).collect()
    }

    /// Several test processes may make it at once: the first one's stays.
    fn make_source(self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("source-{self:?}"));
        if !self.is_source(&folder) {
            let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
            for object in self.objects() {
                let path = made.path().join(object.name);
                std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
                std::fs::write(path, bytes(object)).expect("a source object");
            }
            let made = made.keep();
            if std::fs::rename(&made, &folder).is_err() {
                std::fs::remove_dir_all(&made).expect("another process was faster");
            }
        }
        assert!(self.is_source(&folder), "remove {} and try again", folder.display());
        folder
    }

    /// Whether a folder holds the objects, all their bytes.
    fn is_source(self, folder: &Path) -> bool {
        self.objects()
            .iter()
            .all(|object| std::fs::read(folder.join(object.name)).is_ok_and(|found| found == bytes(object)))
    }

    /// The end of a bed that nobody disturbs.
    pub fn undisturbed(self) -> &'static State {
        static STATES: [OnceLock<State>; 2] = [OnceLock::new(), OnceLock::new()];
        STATES[self as usize].get_or_init(|| {
            let bed = Bed::new(self);
            bed.run().expect(0);
            let state = State::of(&bed);
            assert_eq!(state.rows.len(), self.objects().len() * super::TARGETS.len());
            state
        })
    }
}

/// The bytes of an object: pseudo-random, the same every time, other ones for each name.
pub fn bytes(object: &Object) -> Vec<u8> {
    let mut seed = object.name.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let size = usize::try_from(object.size).expect("small");
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend_from_slice(&seed.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
