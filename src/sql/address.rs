//! Where a database on a server is: the URL as an operator has it, taken apart. The password is never shown.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::Distrust;
use crate::openstack::Secret;

/// The URL of a database, `mysql://USER:PASSWORD@HOST/NAME` or `postgres://…`. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    kind: Kind,
    host: String,
    port: u16,
    user: String,
    password: Option<Secret>,
    name: String,
    socket: Option<PathBuf>,
    tls: Tls,
}

/// Which SQL it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// That of `MySQL` and `MariaDB`.
    MySql,
    /// That of `PostgreSQL`.
    Postgres,
}

/// How the connection is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tls {
    mode: Option<Mode>,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disabled,
    Preferred,
    Required,
    Authority,
    Identity,
}

/// Why a text is no address of a database. The text itself is never repeated: there is a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No URL at all.
    #[error("is no URL (special characters of a password are written as %XX): {0}")]
    NoUrl(String),
    /// Not `MySQL`, `MariaDB` or `PostgreSQL`.
    #[error("is of the unknown type `{0}`; there are `mysql`, `mariadb` and `postgres`")]
    Scheme(String),
    /// A part that must be there.
    #[error("has no {0}")]
    Missing(&'static str),
    /// Percent escapes that are no UTF-8.
    #[error("has bad percent escapes in its {0}")]
    Escapes(&'static str),
    /// `?key=value` with a key that means nothing here.
    #[error("has the unknown option `{0}`; there are `ssl-mode`, `ssl-ca`, `ssl-cert`, `ssl-key` and `socket`")]
    Option(String),
    /// `ssl-mode` with another value.
    #[error("has the unknown ssl-mode `{0}`; there are `DISABLED`, `REQUIRED`, `VERIFY_CA` and `VERIFY_IDENTITY`")]
    SslMode(String),
    /// A certificate of the client's without its key, or a key alone.
    #[error("has only one of `ssl-cert` and `ssl-key`, which belong together")]
    OneOfPair,
}

impl Address {
    /// Takes a URL apart. A driver's name as in Trove's own configuration (`mysql+pymysql://`) is passed over.
    ///
    /// # Errors
    /// [`AddressError`], one kind for each rule.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let url = Url::parse(text).map_err(|error| AddressError::NoUrl(error.to_string()))?;
        let kind = match url.scheme().split('+').next().unwrap_or_default() {
            "mysql" | "mariadb" => Kind::MySql,
            "postgres" | "postgresql" => Kind::Postgres,
            other => return Err(AddressError::Scheme(other.to_owned())),
        };
        let decoded = |text: &str, what| match percent_decode_str(text).decode_utf8() {
            Ok(text) => Ok(text.into_owned()),
            Err(_) => Err(AddressError::Escapes(what)),
        };
        let mut address = Self {
            kind,
            host: decoded(url.host_str().unwrap_or_default(), "host")?.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(match kind {
                Kind::MySql => 3306,
                Kind::Postgres => 5432,
            }),
            user: decoded(url.username(), "user")?,
            password: url.password().map(|password| decoded(password, "password").map(Secret::new)).transpose()?,
            name: decoded(url.path().trim_start_matches('/'), "name")?,
            socket: None,
            tls: Tls::default(),
        };
        for (key, value) in url.query_pairs() {
            address.option(&key, &value)?;
        }
        if address.tls.certificate.is_some() != address.tls.key.is_some() {
            return Err(AddressError::OneOfPair);
        }
        if address.host.is_empty() && address.socket.is_none() {
            return Err(AddressError::Missing("host"));
        }
        if address.user.is_empty() {
            return Err(AddressError::Missing("user"));
        }
        if address.name.is_empty() {
            return Err(AddressError::Missing("name of a database at its end"));
        }
        Ok(address)
    }

    /// Which SQL it speaks.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), AddressError> {
        match key {
            "ssl-mode" | "sslmode" => self.tls.mode = Some(mode(value)?),
            "ssl-ca" | "sslrootcert" => self.tls.authority = Some(value.into()),
            "ssl-cert" | "sslcert" => self.tls.certificate = Some(value.into()),
            "ssl-key" | "sslkey" => self.tls.key = Some(value.into()),
            "socket" => self.socket = Some(value.into()),
            // Trove's own URLs have it; all that is read and written here is UTF-8.
            "charset" => {}
            other => return Err(AddressError::Option(other.to_owned())),
        }
        Ok(())
    }

    /// The same with relative paths of certificates starting at `folder`.
    #[must_use]
    pub fn starting_at(mut self, folder: &Path) -> Self {
        for path in [&mut self.tls.authority, &mut self.tls.certificate, &mut self.tls.key].into_iter().flatten() {
            *path = folder.join(&path);
        }
        self
    }

    /// Looks at the files that the URL names: the driver would take a missing one for a server that does not answer.
    ///
    /// # Errors
    /// [`Distrust::File`].
    pub fn check_files(&self) -> Result<(), Distrust> {
        let Tls { mode: _, authority, certificate, key } = &self.tls;
        authority.as_ref().map_or(Ok(()), |path| Distrust::check_certificates("ssl-ca", path))?;
        certificate.as_ref().map_or(Ok(()), |path| Distrust::check_certificates("ssl-cert", path))?;
        key.as_ref().map_or(Ok(()), |path| Distrust::check_readable("ssl-key", path))
    }

    /// What the URL says, else verified TLS, and for this machine itself whatever the server offers.
    fn mode(&self) -> Mode {
        let address = self.host.parse::<IpAddr>();
        let local = self.socket.is_some()
            || self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback());
        self.tls.mode.unwrap_or(if local { Mode::Preferred } else { Mode::Identity })
    }

    /// How to connect to one of kind [`Kind::MySql`].
    #[must_use]
    pub fn mysql(&self) -> MySqlConnectOptions {
        let mode = match self.mode() {
            Mode::Disabled => MySqlSslMode::Disabled,
            Mode::Preferred => MySqlSslMode::Preferred,
            Mode::Required => MySqlSslMode::Required,
            Mode::Authority => MySqlSslMode::VerifyCa,
            Mode::Identity => MySqlSslMode::VerifyIdentity,
        };
        let mut options = MySqlConnectOptions::new()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.name)
            .ssl_mode(mode);
        if let Some(password) = &self.password {
            options = options.password(password.reveal());
        }
        if let Some(socket) = &self.socket {
            options = options.socket(socket);
        }
        if let Some(authority) = &self.tls.authority {
            options = options.ssl_ca(authority);
        }
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        options
    }

    /// How to connect to one of kind [`Kind::Postgres`].
    #[must_use]
    pub fn postgres(&self) -> PgConnectOptions {
        let mode = match self.mode() {
            Mode::Disabled => PgSslMode::Disable,
            Mode::Preferred => PgSslMode::Prefer,
            Mode::Required => PgSslMode::Require,
            Mode::Authority => PgSslMode::VerifyCa,
            Mode::Identity => PgSslMode::VerifyFull,
        };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .username(&self.user)
            .database(&self.name)
            .application_name("backhaul")
            .ssl_mode(mode);
        if let Some(password) = &self.password {
            options = options.password(password.reveal());
        }
        if let Some(socket) = &self.socket {
            options = options.socket(socket);
        }
        if let Some(authority) = &self.tls.authority {
            options = options.ssl_root_cert(authority);
        }
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        options
    }
}

fn mode(value: &str) -> Result<Mode, AddressError> {
    Ok(match value.to_ascii_lowercase().replace('-', "_").as_str() {
        "disabled" | "disable" => Mode::Disabled,
        "required" | "require" => Mode::Required,
        "verify_ca" => Mode::Authority,
        "verify_identity" | "verify_full" => Mode::Identity,
        // `PREFERRED` would give the password to whoever says that he has no TLS.
        _ => return Err(AddressError::SslMode(value.escape_debug().to_string())),
    })
}

/// Without user and password: what it is, not how one gets in.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::MySql => "mysql",
            Kind::Postgres => "postgres",
        };
        match &self.socket {
            Some(socket) => write!(f, "{kind}:{}#{}", socket.display(), self.name),
            None if self.host.contains(':') => write!(f, "{kind}://[{}]:{}/{}", self.host, self.port, self.name),
            None => write!(f, "{kind}://{}:{}/{}", self.host.to_ascii_lowercase(), self.port, self.name),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_operators_have_them() {
        for (text, shown) in [
            ("mysql://me:p%40ss@DB.example/trove", "mysql://db.example:3306/trove"),
            ("mysql+pymysql://me:pw@127.0.0.1:13306/trove?charset=utf8", "mysql://127.0.0.1:13306/trove"),
            ("mariadb://me@[::1]/trove", "mysql://[::1]:3306/trove"),
            ("postgresql+psycopg2://me:pw@db/trove?sslmode=verify-full", "postgres://db:5432/trove"),
            ("mysql://me@localhost/trove?socket=/run/mysqld.sock", "mysql:/run/mysqld.sock#trove"),
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("pw") && !format!("{address:?}").contains("ss@"));
        }
        let address = Address::parse("mysql://me:p%40ss@db/trove").expect("an address");
        assert_eq!(address.password.as_ref().map(Secret::reveal), Some("p@ss"));
    }

    #[test]
    fn bad_ones_are_refused_without_their_password() {
        for text in [
            "me:hunter2@db/trove",
            "oracle://me:hunter2@db/trove",
            "mysql://me:hunter2@/trove",
            "mysql://:hunter2@db/trove",
            "mysql://me:hunter2@db",
            "mysql://me:hunter2@db/trove?pool=5",
            "mysql://me:hunter2@db/trove?ssl-mode=PREFERRED",
            "mysql://me:hunter2%ff@db/trove",
            "mysql://me:hun#ter2@db/trove",
            "mysql://me:hunter2@db/trove?ssl-cert=c.pem",
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(!error.contains("ter2"), "{error}");
        }
    }

    #[test]
    fn other_machines_are_verified() {
        let mode = |text: &str| Address::parse(text).expect("an address").mode();
        assert_eq!(mode("mysql://me@db.example/t"), Mode::Identity);
        assert_eq!(mode("postgres://me@10.0.0.1/t"), Mode::Identity);
        // Gets to this machine on Linux, but nobody says so.
        assert_eq!(mode("postgres://me@0.0.0.0/t"), Mode::Identity);
        assert_eq!(mode("mysql://me@127.0.0.1/t"), Mode::Preferred);
        assert_eq!(mode("mysql://me@localhost/t"), Mode::Preferred);
        assert_eq!(mode("mysql://me@db.example/t?ssl-mode=DISABLED"), Mode::Disabled);
    }
    #[test]
    fn files_start_where_they_are_told_and_are_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let address =
            Address::parse("postgres://me@db/t?ssl-ca=ca.pem").expect("an address").starting_at(folder.path());
        let path = folder.path().join("ca.pem");
        let missing = address.check_files().expect_err("not there").to_string();
        assert_eq!(missing, format!("`ssl-ca` names `{}`: No such file or directory (os error 2)", path.display()));
        std::fs::write(&path, "ca").expect("writable");
        let empty = address.check_files().expect_err("no certificate").to_string();
        assert_eq!(empty, format!("`ssl-ca` names `{}`: it holds no certificate in PEM", path.display()));
    }
}
