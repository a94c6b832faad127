//! A plan that means the same wherever its file lies.

use std::path::{Path, PathBuf};

use super::{Written, WrittenStore, WrittenTenants};
use crate::plan::Reference;

/// Why a plan cannot be written down for another folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSavable {
    /// A plan could not say its paths.
    #[error("the plan's folder `{0}` has a name that a plan cannot say")]
    Folder(PathBuf),
    /// All of it is a reference, so that nothing can be put before the path.
    #[error("`database` is `{0}`, which stands for a path that starts at the plan")]
    Database(String),
}

impl Written {
    /// The same for a file in any folder: paths that start at `folder` are made absolute. Texts with references stay
    /// as they are where they stand for absolute paths now, or for nothing.
    ///
    /// # Errors
    /// [`NotSavable`].
    pub fn starting_at(
        mut self,
        folder: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, NotSavable> {
        let starts = Starts { folder, environment };
        if let Some(database) = &mut self.database {
            starts.database(database)?;
        }
        for (_, region) in &mut self.regions {
            let paths = match &mut region.store {
                WrittenStore::File { path, .. } => [Some(path), None],
                WrittenStore::S3(s3) => [s3.http.ca_file.as_mut(), None],
                WrittenStore::Gcs(gcs) => [gcs.http.ca_file.as_mut(), gcs.service_account_file.as_mut()],
                WrittenStore::Azure(azure) => [azure.http.ca_file.as_mut(), None],
                WrittenStore::Swift(swift) => [swift.http.ca_file.as_mut(), None],
            };
            let tenants = match &mut region.records.tenants {
                Some(WrittenTenants::File(path)) => Some(path),
                _ => None,
            };
            for path in paths.into_iter().chain([tenants]).flatten() {
                starts.path(path)?;
            }
        }
        Ok(self)
    }
}

/// What a relative path starts at.
struct Starts<'a> {
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Starts<'_> {
    /// Makes `path` absolute.
    fn path(&self, path: &mut String) -> Result<(), NotSavable> {
        if self.is_relative(path) {
            *path = self.below_folder(path)?;
        }
        Ok(())
    }

    fn database(&self, url: &mut String) -> Result<(), NotSavable> {
        let path =
            |url: &str| url.strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest).to_owned());
        if let Some(path) = path(url) {
            if self.is_relative(&path) {
                *url = format!("sqlite://{}", self.below_folder(&path)?);
            }
        } else if self.expanded(url).and_then(|url| path(&url)).is_some_and(|path| !path.starts_with('/')) {
            return Err(NotSavable::Database(url.clone()));
        }
        Ok(())
    }

    /// Whether a path starts at the folder. What refers to a variable that is not set is nobody's now.
    fn is_relative(&self, path: &str) -> bool {
        if path.starts_with("${") {
            self.expanded(path).is_some_and(|path| !path.starts_with('/'))
        } else {
            !path.starts_with('/')
        }
    }

    fn expanded(&self, text: &str) -> Option<String> {
        text.parse::<Reference>().ok()?.expand(self.environment).ok()
    }

    fn below_folder(&self, path: &str) -> Result<String, NotSavable> {
        let is_plain = |folder: &&str| !folder.contains("${") && !folder.contains(char::is_control);
        let folder = self.folder.to_str().filter(is_plain);
        if folder.is_none() {
            return Err(NotSavable::Folder(self.folder.to_owned()));
        }
        // Without the `.` of `./folder`; what `..` means is for the file system to say.
        let absolute: PathBuf = self.folder.join(path).components().collect();
        Ok(absolute.to_string_lossy().into_owned())
    }
}
