//! Walking the folder.

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::error::Attempt;
use super::read::modified_ms;
use super::root::{FOLDER, Root};
use super::write::TEMPORARY;
use crate::id::{Key, RESERVED_FOLDER};
use crate::store::{Listed, StoreError};

/// What `mkfs.ext4` puts into the root of a file system: only root may look inside, and nobody's backups are there.
const LOST_AND_FOUND: &str = "lost+found";

pub(super) fn list(root: &Root, prefix: &str) -> Result<Vec<Listed>, StoreError> {
    let ours = prefix.strip_prefix(RESERVED_FOLDER).is_some_and(|rest| rest.starts_with('/'));
    let mut walk = Walk { root, prefix, parse: if ours { Key::parse_any } else { Key::parse }, found: Vec::new() };
    let start = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut folders = vec![start.to_owned()];
    if !start.is_empty() && (walk.parse)(start).is_err() {
        return Ok(Vec::new()); // no key starts like this
    }
    while let Some(folder) = folders.pop() {
        match walk.look_into(&folder, &mut folders) {
            // Gone since it was seen; or, below the start, put there by a mount or as a link, as others that are skipped.
            Err(Errno::NOENT) => {}
            Err(Errno::LOOP | Errno::XDEV | Errno::NOTDIR) if folder != start => {}
            Err(Errno::ACCESS) if folder == LOST_AND_FOUND => {}
            other => other.map_err(|errno| Attempt::new(root, "list", &folder).failed(errno))?,
        }
    }
    walk.found.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Root,
    prefix: &'a str,
    parse: fn(&str) -> Result<Key, crate::id::KeyError>,
    found: Vec<Listed>,
}

impl Walk<'_> {
    /// Takes the files of one folder, and adds the folders in it to `folders`.
    fn look_into(&mut self, folder: &str, folders: &mut Vec<String>) -> Result<(), Errno> {
        let open = self.root.resolve(folder, FOLDER)?;
        for entry in Dir::read_from(&open)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") || name.starts_with(TEMPORARY) {
                continue;
            }
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let Ok(key) = (self.parse)(&path) else { continue };
            if !path.starts_with(self.prefix) {
                continue;
            }
            match entry.file_type() {
                FileType::Directory => folders.push(path),
                FileType::RegularFile | FileType::Unknown => {
                    let stat = match rustix::fs::statat(&open, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                        Err(Errno::NOENT) => continue,
                        other => other?,
                    };
                    match FileType::from_raw_mode(stat.st_mode) {
                        FileType::Directory => folders.push(path),
                        FileType::RegularFile => self.found.push(listed(key, &stat)),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn listed(key: Key, stat: &Stat) -> Listed {
    Listed { key, size: stat.st_size.unsigned_abs(), modified_ms: Some(modified_ms(stat)) }
}
