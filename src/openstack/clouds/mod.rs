//! Which cloud is meant, and how to get in: `clouds.yaml`, `secure.yaml` and `OS_*`, with the precedence that
//! openstacksdk has (`openstack/config/loader.py`), so that what `openstack --os-cloud NAME` finds is found here.
//!
//! Three things differ. A file that is no YAML is an error, where the SDK passes it over. A region that a plan names need
//! not stand in the cloud's entry: the service catalog knows better. And a file with a secret in it that everybody may
//! read is refused.

mod entry;
mod files;

use std::path::Path;

use super::{Cloud, ErrorKind, OpenStackError};
use crate::suggest;
use entry::Entry;
use files::{Config, Files};

/// Looks up an environment variable.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The cloud that somebody means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudChoice {
    /// An entry of `clouds.yaml`. None: `OS_CLOUD`, else `OS_AUTH_URL` and the like, else the only entry that there is.
    pub cloud: Option<String>,
    /// A region of its service catalog. None: the entry's own.
    pub region: Option<String>,
}

/// Finds the cloud that is meant. `folder` is looked into before the current folder, and relative paths start there.
///
/// # Errors
/// [`OpenStackError`]: no such cloud, or an entry that gives no way in.
pub fn find_cloud(
    choice: &CloudChoice,
    environment: &dyn Fn(&str) -> Option<String>,
    folder: &Path,
) -> Result<Cloud, OpenStackError> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
    let envvars = variable("OS_CLOUD_NAME").unwrap_or_else(|| "envvars".to_owned());
    let from_environment = entry::of_environment(&variable);
    let named = choice.cloud.clone().or_else(|| variable("OS_CLOUD"));
    let is_environment = named.as_deref().map_or(from_environment.is_some(), |name| name == envvars);
    if let Some(config) = from_environment.filter(|_| is_environment) {
        let region = choice.region.clone();
        let entry = Entry { name: envvars, origin: "the environment".to_owned(), config, region };
        return entry.resolve(&variable, folder);
    }
    let files = Files::read(&variable, folder)?;
    let name = match named {
        Some(name) => name,
        None => files.only()?,
    };
    let Some(config) = files.entry(&name)? else { return Err(unknown(&name, &files)) };
    // An operator who names the cloud by OS_CLOUD names its region by OS_REGION_NAME; a plan's clouds are many.
    let of_operator = || choice.cloud.is_none().then(|| variable("OS_REGION_NAME")).flatten();
    let region = choice.region.clone().or_else(of_operator);
    Entry { name, origin: files.origin(), config, region }.resolve(&variable, folder)
}

fn unknown(name: &str, files: &Files) -> OpenStackError {
    let Some(path) = &files.clouds else {
        let message = format!("no cloud `{name}` can be had: there is no clouds.yaml");
        return OpenStackError::new(ErrorKind::NotFound, message).hint(files.looked());
    };
    let message = format!("there is no cloud `{name}` in {}", path.display());
    OpenStackError::new(ErrorKind::NotFound, message).hint(suggest::hint(name, "its clouds", files.names()))
}

#[cfg(test)]
mod tests;
