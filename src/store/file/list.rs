//! Walking the folder.

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::error::Attempt;
use super::read::{facts, modified_ms};
use super::root::{FOLDER, Root};
use super::write::TEMPORARY;
use crate::id::{Key, KeyError, RESERVED_FOLDER};
use crate::store::{Listed, StoreError};

/// What `mkfs.ext4` puts into the root of a file system: only root may look inside, and nobody's backups are there.
const LOST_AND_FOUND: &str = "lost+found";

/// Objects, and what is none: name and reason.
pub(super) type Walked = (Vec<Listed>, Vec<(String, String)>);

/// The files under a prefix, and what lies there and is no object: name, as printable text, and why.
pub(super) fn list(root: &Root, prefix: &str) -> Result<Walked, StoreError> {
    let ours = prefix.strip_prefix(RESERVED_FOLDER).is_some_and(|rest| rest.starts_with('/'));
    let mut walk = Walk {
        root,
        prefix,
        parse: if ours { Key::parse_any } else { Key::parse },
        found: Vec::new(),
        left_out: Vec::new(),
    };
    let start = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut folders = vec![start.to_owned()];
    if !start.is_empty() && (walk.parse)(start).is_err() {
        return Ok((Vec::new(), Vec::new())); // no key starts like this
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
    walk.left_out.sort_unstable();
    Ok((walk.found, walk.left_out))
}

struct Walk<'a> {
    root: &'a Root,
    prefix: &'a str,
    parse: fn(&str) -> Result<Key, KeyError>,
    found: Vec<Listed>,
    left_out: Vec<(String, String)>,
}

impl Walk<'_> {
    /// Takes the files of one folder, and adds the folders in it to `folders`.
    fn look_into(&mut self, folder: &str, folders: &mut Vec<String>) -> Result<(), Errno> {
        let open = self.root.resolve(folder, FOLDER)?;
        for entry in Dir::read_from(&open)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                let name = entry.file_name().to_bytes().escape_ascii();
                self.left_out.push((format!("{folder}/{name}"), "its name is not UTF-8".to_owned()));
                continue;
            };
            if matches!(name, "." | "..") || name.starts_with(TEMPORARY) {
                continue;
            }
            let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if !path.starts_with(self.prefix) && !self.prefix.starts_with(&path) {
                continue;
            }
            let key = match (self.parse)(&path) {
                Ok(key) => key,
                Err(KeyError::Reserved) => continue,
                Err(error) => {
                    self.left_out.push((path.escape_debug().to_string(), format!("its name {error}")));
                    continue;
                }
            };
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
                        _ => self.left_out.push((path, "it is not a regular file".to_owned())),
                    }
                }
                FileType::Symlink => self.left_out.push((path, "it is a symlink".to_owned())),
                _ => self.left_out.push((path, "it is not a regular file".to_owned())),
            }
        }
        Ok(())
    }
}

fn listed(key: Key, stat: &Stat) -> Listed {
    Listed {
        key,
        size: stat.st_size.unsigned_abs(),
        etag: Some(facts(stat).etag),
        modified_ms: Some(modified_ms(stat)),
    }
}
