//! Where a database is: the URL as written on the command line, in the environment or in a plan.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::sql::{Address, AddressError};

/// The place of a database: a file of `SQLite`, or a database on a server. Shown without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Of one writing command at a time.
    File(PathBuf),
    /// Of many runners.
    Server(Address),
}

/// Why a text names no database. The text itself is never repeated: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// No `scheme:` in front.
    #[error("a database URL starts with `sqlite://`, `postgres://` or `mysql://`")]
    NoScheme,
    /// A type that no version can use.
    #[error("unknown type of database `{0}`; there are `sqlite://PATH`, `postgres://…` and `mysql://…`")]
    UnknownScheme(String),
    /// `user:password@` where everybody on the machine can read it.
    #[error("a database URL must not have a password in it: every process can read it there")]
    Password,
    /// A database on a server that cannot be.
    #[error("the URL {0}")]
    Server(AddressError),
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
    #[error("no place for the database: neither `XDG_STATE_HOME` nor `HOME` is an absolute path")]
    NoHome,
}

impl DatabaseUrl {
    /// Reads `sqlite://PATH` or `sqlite:PATH`, whose path is taken as it is (no percent escapes), relative or absolute;
    /// or `postgres://USER:PASSWORD@HOST/NAME`, `postgresql://…`, `mysql://…`, `mariadb://…`. Touches nothing.
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
            "postgres" | "postgresql" | "mysql" | "mariadb" => {
                Address::parse(text).map(Self::on_server).map_err(UrlError::Server)
            }
            _ => Err(UrlError::UnknownScheme(scheme.to_owned())),
        }
    }

    /// The same for a text that others can read, such as a command line: a password in it is an error.
    ///
    /// # Errors
    /// [`UrlError`], one kind for each rule.
    pub fn parse_public(text: &str) -> Result<Self, UrlError> {
        match text.split_once(':') {
            Some((scheme, rest)) if scheme != "sqlite" && has_password(rest) => Err(UrlError::Password),
            _ => Self::parse(text),
        }
    }

    const fn on_server(address: Address) -> Self {
        Self { place: Place::Server(address) }
    }

    const fn in_file(path: PathBuf) -> Self {
        Self { place: Place::File(path) }
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
        Ok(Self::in_file(path.to_owned()))
    }

    /// The default database of the plan `name`: `$XDG_STATE_HOME/backhaul/<name>.db`, else
    /// `$HOME/.local/state/backhaul/<name>.db`. Relative values of the two variables count as unset.
    ///
    /// # Errors
    /// [`UrlError::NoHome`].
    pub fn for_plan(name: &str) -> Result<Self, UrlError> {
        let folder = default_folder(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))?;
        Ok(Self::in_file(folder.join(format!("{name}.db"))))
    }

    /// The default databases that exist, by name; for commands that were given no plan. Unreadable folders count as
    /// empty.
    ///
    /// # Errors
    /// [`UrlError::NoHome`].
    pub fn all_default() -> Result<Vec<Self>, UrlError> {
        let folder = default_folder(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"))?;
        let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
            .collect();
        found.sort();
        Ok(found.into_iter().map(Self::in_file).collect())
    }

    /// The same with relative paths, also those of certificates, starting at `folder`.
    #[must_use]
    pub fn starting_at(self, folder: &Path) -> Self {
        match self.place {
            Place::File(path) => Self::in_file(folder.join(path)),
            Place::Server(address) => Self::on_server(address.starting_at(folder)),
        }
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "sqlite://{}", path.display()),
            Place::Server(address) => address.fmt(f),
        }
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
        DatabaseUrl::parse(text).map_or_else(|e| e.to_string(), |url| url.to_string()["sqlite://".len()..].to_owned())
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
        assert_eq!(DatabaseUrl::parse("oracle://db/x"), Err(UrlError::UnknownScheme("oracle".into())));
        assert_eq!(DatabaseUrl::parse("/var/x.db"), Err(UrlError::NoScheme));
        assert_eq!(DatabaseUrl::parse("a b:c"), Err(UrlError::NoScheme));
    }

    #[test]
    fn databases_on_servers_are_shown_without_user_and_password() {
        for (text, shown) in [
            ("postgres://me:hunter2@DB.example:5433/x", "postgres://db.example:5433/x"),
            ("postgresql://me@db/x?sslmode=verify-full", "postgres://db:5432/x"),
            ("mysql://me:hunter2@db/x", "mysql://db:3306/x"),
            ("mariadb://me@[::1]/x", "mysql://[::1]:3306/x"),
        ] {
            let url = DatabaseUrl::parse(text).expect(text);
            assert_eq!(url.to_string(), shown);
            assert!(!format!("{url:?}").contains("hunter2"));
            assert_eq!(url.clone().starting_at(Path::new("/plans")), url);
        }
        let error = DatabaseUrl::parse("postgres://me@db").expect_err("no name");
        assert_eq!(error.to_string(), "the URL has no name of a database at its end");
    }

    #[test]
    fn passwords_are_refused_in_public_and_never_shown() {
        for text in ["postgres://me:hunter2@db/x", "mysql://me:hun/ter2@db/x", "x://me:hunter2@db"] {
            let error = DatabaseUrl::parse_public(text).expect_err(text);
            assert_eq!(error, UrlError::Password, "{text}");
            assert!(!error.to_string().contains("ter2"));
        }
        let error = DatabaseUrl::parse("mysql://me:hun/ter2@db/x").expect_err("no port");
        assert!(!error.to_string().contains("ter2"), "{error}");
        let text = "postgres://me@db:5432/x";
        assert_eq!(DatabaseUrl::parse_public(text), DatabaseUrl::parse(text));
        assert_eq!(DatabaseUrl::parse_public("sqlite:a:b@c"), DatabaseUrl::parse("sqlite:a:b@c"));
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
