//! `clouds.yaml` and `secure.yaml`: where they lie, and what the second adds to the first.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Environment, ErrorKind, OpenStackError};

/// Largest file that is read.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Permission of everybody to read.
const WORLD_READ: u32 = 0o004;

/// Keys whose values nobody should read.
const SECRETS: [&str; 4] = ["password", "token", "auth_token", "application_credential_secret"];

/// A value of such a file.
// Without `Debug`: it holds secrets.
#[derive(Clone, PartialEq)]
pub(super) enum Config {
    Map(BTreeMap<String, Config>),
    List(Vec<Config>),
    Text(String),
    Boolean(bool),
    /// A number with a fraction or an exponent: as a text it would not be what was written.
    Float,
    Nothing,
}

/// What was found and read.
#[derive(Default)]
pub(super) struct Files {
    pub(super) clouds: Option<PathBuf>,
    secure: Option<PathBuf>,
    entries: BTreeMap<String, Config>,
    /// Files that are there and cannot be read.
    unreadable: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    /// Names of clouds with a secret in a file that everybody may read, and the file.
    exposed: BTreeMap<String, PathBuf>,
}

impl Files {
    /// Reads the first `clouds.*` and the first `secure.*` on the way.
    pub(super) fn read(variable: Environment<'_>, folder: &Path) -> Result<Self, OpenStackError> {
        let mut files = Self { folders: folders(variable, folder), ..Self::default() };
        let mut entries = BTreeMap::new();
        for (stem, override_name) in [("clouds", "OS_CLIENT_CONFIG_FILE"), ("secure", "OS_CLIENT_SECURE_FILE")] {
            let Some((path, mode, config)) = files.first(stem, variable(override_name).map(PathBuf::from))? else {
                continue;
            };
            let clouds = match config {
                Config::Map(mut top) => top.remove("clouds"),
                Config::Nothing => None,
                _ => return Err(bad(&path, "it is no mapping")),
            };
            let clouds = match clouds {
                Some(Config::Map(clouds)) => clouds,
                Some(Config::Nothing) | None => BTreeMap::new(),
                Some(_) => return Err(bad(&path, "`clouds` is no mapping")),
            };
            for (name, entry) in clouds {
                let entry = entry.with_plain_keys();
                if mode & WORLD_READ != 0 && entry.has_secret() {
                    files.exposed.insert(name.clone(), path.clone());
                }
                merge(entries.entry(name).or_insert(Config::Nothing), entry);
            }
            if stem == "clouds" {
                files.clouds = Some(path);
            } else {
                files.secure = Some(path);
            }
        }
        files.entries = entries;
        Ok(files)
    }

    fn first(&mut self, stem: &str, named: Option<PathBuf>) -> Result<Option<(PathBuf, u32, Config)>, OpenStackError> {
        let suffixes = ["yaml", "yml", "json"];
        let usual =
            self.folders.iter().flat_map(|folder| suffixes.map(|suffix| folder.join(format!("{stem}.{suffix}"))));
        let candidates: Vec<PathBuf> = named.into_iter().chain(usual).collect();
        for path in candidates {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if !metadata.is_file() || metadata.len() > BYTES_MAX {
                return Err(bad(&path, "it is no regular file of at most 4 MiB"));
            }
            let Ok(bytes) = fs::read(&path) else {
                self.unreadable.push(path);
                continue;
            };
            let text = String::from_utf8(bytes).map_err(|_| bad(&path, "it is not UTF-8"))?;
            let value = serde_yaml::from_str(&text).and_then(|mut value: serde_yaml::Value| {
                value.apply_merge()?;
                Ok(value)
            });
            let value = value.map_err(|error| not_yaml(&path, &error))?;
            return Ok(Some((path, metadata.permissions().mode(), Config::of(value))));
        }
        Ok(None)
    }

    /// The only cloud that there is.
    pub(super) fn only(&self) -> Result<String, OpenStackError> {
        let mut names = self.names();
        match (names.next(), names.next()) {
            (Some(name), None) => return Ok(name.to_owned()),
            (Some(_), Some(_)) => {}
            (None, _) => {
                let message = "no cloud is named, and there is no clouds.yaml that has one";
                return Err(OpenStackError::new(ErrorKind::NotFound, message).hint(self.looked()));
            }
        }
        let list: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
        let message = format!("no cloud is named, and {} has several", self.origin());
        let hint = format!("name one in the plan (`cloud:`) or by OS_CLOUD: {}", list.join(", "));
        Err(OpenStackError::new(ErrorKind::Bad, message).hint(hint))
    }

    /// The entry of a cloud, what `secure.yaml` says included.
    pub(super) fn entry(&self, name: &str) -> Result<Option<Config>, OpenStackError> {
        if let Some(path) = self.exposed.get(name) {
            let path = path.display();
            let message = format!("everybody can read {path}, which has a secret of cloud `{name}`");
            return Err(OpenStackError::new(ErrorKind::Bad, message).hint(format!(
                "chmod 600 {path}; or move the secret to a secure.yaml beside it that nobody else can read"
            )));
        }
        Ok(self.entries.get(name).cloned())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.entries.keys().map(String::as_str)
    }

    /// Where entries come from, for messages.
    pub(super) fn origin(&self) -> String {
        let found = [&self.clouds, &self.secure].into_iter().flatten();
        found.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
    }

    /// Where a file was looked for, for a hint.
    pub(super) fn looked(&self) -> String {
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let mut hint = format!("it is looked for as OS_CLIENT_CONFIG_FILE, and in {}", folders.join(", "));
        for path in &self.unreadable {
            hint.push_str(&format!("; {} is there and cannot be read", path.display()));
        }
        hint
    }
}

/// Where files are looked for, nearest first.
fn folders(variable: Environment<'_>, folder: &Path) -> Vec<PathBuf> {
    let home = variable("HOME").map(PathBuf::from);
    let mut folders = vec![folder.to_owned(), PathBuf::from(".")];
    folders.extend(variable("XDG_CONFIG_HOME").map(|home| Path::new(&home).join("openstack")));
    folders.extend(home.map(|home| home.join(".config/openstack")));
    let site = variable("XDG_CONFIG_DIRS").unwrap_or_else(|| "/etc/xdg".to_owned());
    folders
        .extend(site.split(':').filter(|folder| !folder.is_empty()).map(|folder| Path::new(folder).join("openstack")));
    folders.push(PathBuf::from("/etc/openstack"));
    let mut seen = std::collections::BTreeSet::new();
    folders.retain(|folder| seen.insert(folder.clone()));
    folders
}

/// The parser's words may quote a key, and never a value.
fn not_yaml(path: &Path, error: &serde_yaml::Error) -> OpenStackError {
    let place = error.location().map(|place| format!(":{}:{}", place.line(), place.column())).unwrap_or_default();
    let message = format!("{}{place} is not valid YAML", path.display());
    OpenStackError::new(ErrorKind::Bad, message).hint("look at that line; `openstack` reads the same file")
}

fn bad(path: &Path, why: &str) -> OpenStackError {
    OpenStackError::new(ErrorKind::Bad, format!("{} gives no clouds: {why}", path.display()))
        .hint("it starts with `clouds:`, below which each cloud has an entry")
}

/// Puts `new` over `old`, mapping by mapping.
pub(super) fn merge(old: &mut Config, new: Config) {
    match (old, new) {
        (Config::Map(old), Config::Map(new)) => {
            for (key, value) in new {
                merge(old.entry(key).or_insert(Config::Nothing), value);
            }
        }
        (old, new) => *old = new,
    }
}

impl Config {
    fn of(value: serde_yaml::Value) -> Self {
        match value {
            serde_yaml::Value::Null => Self::Nothing,
            serde_yaml::Value::Bool(value) => Self::Boolean(value),
            serde_yaml::Value::Number(number) if number.is_f64() => Self::Float,
            serde_yaml::Value::Number(number) => Self::Text(number.to_string()),
            serde_yaml::Value::String(text) => Self::Text(text),
            serde_yaml::Value::Sequence(items) => Self::List(items.into_iter().map(Self::of).collect()),
            serde_yaml::Value::Mapping(pairs) => {
                let pairs = pairs.into_iter().filter_map(|(key, value)| match Self::of(key) {
                    Self::Text(key) => Some((key, Self::of(value))),
                    _ => None,
                });
                Self::Map(pairs.collect())
            }
            serde_yaml::Value::Tagged(tagged) => Self::of(tagged.value),
        }
    }

    /// With `_` in keys where some write `-`.
    fn with_plain_keys(self) -> Self {
        match self {
            Self::Map(pairs) => {
                let plain = |(key, value): (String, Self)| (key.replace('-', "_"), value.with_plain_keys());
                Self::Map(pairs.into_iter().map(plain).collect())
            }
            Self::List(items) => Self::List(items.into_iter().map(Self::with_plain_keys).collect()),
            other => other,
        }
    }

    fn has_secret(&self) -> bool {
        match self {
            Self::Map(pairs) => pairs
                .iter()
                .any(|(key, value)| (SECRETS.contains(&key.as_str()) && *value != Self::Nothing) || value.has_secret()),
            Self::List(items) => items.iter().any(Self::has_secret),
            _ => false,
        }
    }
}
