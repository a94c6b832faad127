//! Where a database is: the URL as written on the command line, in the environment or in a plan.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// The place of a database. Only `SQLite` so far; shown as `sqlite://PATH`, never with a password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DatabaseUrl {
    path: PathBuf,
}

/// Why a text names no database. The text itself is never repeated: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No `scheme:` in front.
    #[error("a database URL starts with `sqlite://`")]
    NoScheme,
    /// A type that this version cannot use.
    #[error("databases of type `{0}` come with a later version; this one has `sqlite://PATH`")]
    LaterScheme(String),
    /// A type that no version can use.
    #[error("unknown type of database `{0}`; there is `sqlite://PATH`")]
    UnknownScheme(String),
    /// `user:password@` in the URL.
    #[error("a database URL must not have a password in it")]
    Password,
    /// `?key=value` with a key that means nothing here, which is every key so far.
    #[error("unknown option `{0}` in a database URL; SQLite databases have none")]
    UnknownOption(String),
    /// No path.
    #[error("a database URL needs a path: `sqlite://PATH`")]
    NoPath,
    /// `:memory:`
    #[error("a database in memory would forget every checkpoint; name a file: `sqlite://PATH`")]
    InMemory,
    /// Under `/dev`, or with a `/` at its end.
    #[error("`{0}` is no file that can be a database")]
    NotAFile(String),
    /// Neither `$XDG_STATE_HOME` nor `$HOME` is an absolute path.
    #[error("no place for the database: `HOME` is not set; name one with `--database sqlite://PATH`")]
    NoHome,
}

impl DatabaseUrl {
    /// Reads `sqlite://PATH` or `sqlite:PATH`; the path is taken as it is (no percent escapes), relative or absolute.
    /// Touches no file.
    ///
    /// # Errors
    /// [`UrlError`], one kind for each rule.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(UrlError::NoScheme)?;
        if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
            return Err(UrlError::NoScheme);
        }
        match scheme {
            "sqlite" => Self::parse_path(rest.strip_prefix("//").unwrap_or(rest)),
            _ if has_password(rest) => Err(UrlError::Password),
            "postgres" | "postgresql" | "mysql" | "mariadb" => Err(UrlError::LaterScheme(scheme.to_owned())),
            _ => Err(UrlError::UnknownScheme(scheme.to_owned())),
        }
    }

    fn parse_path(rest: &str) -> Result<Self, UrlError> {
        if let Some((_, options)) = rest.split_once('?') {
            let key = options.split(['=', '&']).next().unwrap_or_default();
            return Err(UrlError::UnknownOption(key.to_owned()));
        }
        if rest.is_empty() {
            return Err(UrlError::NoPath);
        }
        if rest.starts_with(":memory:") {
            return Err(UrlError::InMemory);
        }
        let path = Path::new(rest);
        if rest.ends_with('/') || rest.contains('\0') || path.starts_with("/dev") || path.file_name().is_none() {
            return Err(UrlError::NotAFile(rest.escape_debug().to_string()));
        }
        Ok(Self { path: path.to_owned() })
    }

    /// The default database of the plan `name`: `$XDG_STATE_HOME/backhaul/<name>.db`, else
    /// `$HOME/.local/state/backhaul/<name>.db`. Relative values of the two variables count as unset.
    ///
    /// # Errors
    /// [`UrlError::NoHome`].
    pub fn for_plan(name: &str) -> Result<Self, UrlError> {
        let folder = default_folder(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))?;
        Ok(Self { path: folder.join(format!("{name}.db")) })
    }

    /// The default databases that exist, by name; for commands that were given no plan. Unreadable folders count as
    /// empty.
    ///
    /// # Errors
    /// [`UrlError::NoHome`].
    pub fn all_default() -> Result<Vec<Self>, UrlError> {
        let folder = default_folder(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))?;
        let mut found: Vec<Self> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
            .map(|path| Self { path })
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The same with a relative path starting at `folder`.
    #[must_use]
    pub fn starting_at(self, folder: &Path) -> Self {
        Self { path: folder.join(self.path) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sqlite://{}", self.path.display())
    }
}

/// Whether there is `user:password@` before the first `/` of what follows `//`.
fn has_password(rest: &str) -> bool {
    let rest = rest.trim_start_matches('/');
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // A password may itself have any of these characters unescaped; then the `@` comes later.
    let user = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@')).map_or("", |(user, _)| user);
    user.contains(':')
}

fn default_folder(state_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, UrlError> {
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(state_home)
        .or_else(|| absolute(home).map(|home| home.join(".local/state")))
        .map(|folder| folder.join("backhaul"))
        .ok_or(UrlError::NoHome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_of(text: &str) -> String {
        DatabaseUrl::parse(text).map_or_else(|e| e.to_string(), |url| url.path().display().to_string())
    }

    #[test]
    fn both_forms_and_both_kinds_of_path() {
        assert_eq!(path_of("sqlite://a/b.db"), "a/b.db");
        assert_eq!(path_of("sqlite:a/b.db"), "a/b.db");
        assert_eq!(path_of("sqlite:///var/b.db"), "/var/b.db");
        assert_eq!(path_of("sqlite:/var/b 100%.db"), "/var/b 100%.db");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for text in ["sqlite:/dev/null", "sqlite:///dev/shm/x", "sqlite:/dev", "sqlite:a/", "sqlite:..", "sqlite:a\0b"]
        {
            assert!(matches!(DatabaseUrl::parse(text), Err(UrlError::NotAFile(_))), "{text}");
        }
        assert_eq!(DatabaseUrl::parse("sqlite::memory:"), Err(UrlError::InMemory));
        assert_eq!(DatabaseUrl::parse("sqlite://:memory:"), Err(UrlError::InMemory));
        assert_eq!(DatabaseUrl::parse("sqlite://"), Err(UrlError::NoPath));
        assert_eq!(DatabaseUrl::parse("sqlite:a.db?mode=rwc"), Err(UrlError::UnknownOption("mode".into())));
    }

    #[test]
    fn other_schemes_are_told_apart() {
        assert_eq!(DatabaseUrl::parse("postgres://db/x"), Err(UrlError::LaterScheme("postgres".into())));
        assert_eq!(DatabaseUrl::parse("oracle://db/x"), Err(UrlError::UnknownScheme("oracle".into())));
        assert_eq!(DatabaseUrl::parse("/var/x.db"), Err(UrlError::NoScheme));
        assert_eq!(DatabaseUrl::parse("a b:c"), Err(UrlError::NoScheme));
    }

    #[test]
    fn passwords_are_refused_and_never_shown() {
        for text in ["postgres://me:hunter2@db/x", "mysql://me:hun/ter2@db/x", "x://me:hunter2@db"] {
            let error = DatabaseUrl::parse(text).expect_err(text);
            assert_eq!(error, UrlError::Password, "{text}");
            assert!(!error.to_string().contains("ter2"));
        }
        assert_eq!(DatabaseUrl::parse("postgres://me@db:5432/x"), Err(UrlError::LaterScheme("postgres".into())));
    }

    #[test]
    fn the_default_lies_in_the_state_folder() {
        let of = |state: Option<&str>, home: Option<&str>| default_folder(state.map(Into::into), home.map(Into::into));
        assert_eq!(of(Some("/s"), Some("/h")), Ok("/s/backhaul".into()));
        assert_eq!(of(Some("s"), Some("/h")), Ok("/h/.local/state/backhaul".into()));
        assert_eq!(of(None, Some("h")), Err(UrlError::NoHome));
    }

    #[test]
    fn relative_paths_start_where_they_are_told() {
        let url = DatabaseUrl::parse("sqlite:x.db").expect("a URL").starting_at(Path::new("/plans"));
        assert_eq!(url.to_string(), "sqlite:///plans/x.db");
        let url = DatabaseUrl::parse("sqlite:/x.db").expect("a URL").starting_at(Path::new("/plans"));
        assert_eq!(url.to_string(), "sqlite:///x.db");
    }
}
