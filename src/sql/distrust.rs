//! Why a server is not trusted with a password, in words, with hints.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, Error as TlsError};
use sea_orm::sqlx;

/// Why there is no trusted connection to a database: nothing secret was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// It speaks in the clear only.
    #[error("the server offers no TLS")]
    NoTls,
    /// Neither a public authority nor one that the URL names.
    #[error("the server's certificate is signed by an authority that is not known here")]
    UnknownAuthority,
    /// Somebody else's certificate.
    #[error("the server's certificate is not for `{expected}` but for {presented}")]
    OtherName {
        /// The host of the URL.
        expected: String,
        /// What the certificate is for.
        presented: String,
    },
    /// It was valid once.
    #[error("the server's certificate has expired")]
    Expired,
    /// It will be.
    #[error("the server's certificate is not valid yet")]
    NotYet,
    /// One that may sign others (`CA:TRUE`), which `openssl req -x509` makes unless told otherwise.
    #[error("the server shows the certificate of an authority (`CA:TRUE`) as its own")]
    IsAuthority,
    /// Anything else that is wrong with it.
    #[error("the server's certificate is not accepted: {0}")]
    Certificate(String),
    /// The two do not come together; the server may want a certificate of the client's.
    #[error("no TLS with the server: {0}")]
    Handshake(String),
    /// A file that the URL names and that cannot be used.
    #[error("`{option}` names `{}`: {message}", path.display())]
    File {
        /// As in the URL.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's text, or what is missing in it.
        message: String,
    },
}

impl Distrust {
    /// What an error of a connection says about trust; none if it is about something else.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        let error = match error {
            // The library's own text for the one thing that it finds out without rustls.
            sqlx::Error::Tls(error) if error.to_string().contains("does not support TLS") => return Some(Self::NoTls),
            sqlx::Error::Tls(error) => {
                return Some(
                    error.downcast_ref().and_then(Self::of_tls).unwrap_or_else(|| Self::Handshake(error.to_string())),
                );
            }
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref::<TlsError>()?,
            _ => return None,
        };
        Self::of_tls(error)
    }

    /// None for what a broken line may cause as well.
    fn of_tls(error: &TlsError) -> Option<Self> {
        Some(match error {
            TlsError::InvalidCertificate(error) => Self::of_certificate(error),
            TlsError::AlertReceived(alert) => Self::Handshake(format!("it answers {alert:?}")),
            TlsError::PeerIncompatible(_)
            | TlsError::InvalidCertRevocationList(_)
            | TlsError::NoCertificatesPresented => Self::Handshake(error.to_string()),
            _ => return None,
        })
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            // The second is an authority of the same name with another key: the one before it was renewed.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::NotValidForNameContext { expected, presented } => Self::OtherName {
                expected: expected.to_str().into_owned(),
                presented: match presented.as_slice() {
                    [] => "no name at all".to_owned(),
                    names => names.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
                },
            },
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::IsAuthority,
            other => Self::Certificate(other.to_string()),
        }
    }

    /// The next command or edit, if there is a good one.
    #[must_use]
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoTls => {
                Some("turn TLS on at the server; on a network that you trust, …?ssl-mode=DISABLED does without")
            }
            Self::UnknownAuthority => Some(
                "name the authority that signed it, a file in PEM: …?ssl-ca=PATH; on a network that you trust, \
                 …?ssl-mode=DISABLED does without TLS",
            ),
            Self::OtherName { .. } => Some(
                "use that name in the URL, or have a certificate made for this one; …?ssl-mode=VERIFY_CA looks at the \
                 authority and not at the name",
            ),
            Self::Expired | Self::NotYet => Some("have a new certificate made, or set the clock of this machine"),
            Self::IsAuthority => {
                Some("have a certificate made for the server itself, with `basicConstraints = CA:FALSE`")
            }
            Self::Handshake(_) => Some(
                "TLS 1.2 or newer is needed; if it wants a certificate of the client's: …?ssl-cert=PATH&ssl-key=PATH",
            ),
            Self::Certificate(_) | Self::File { .. } => None,
        }
    }

    /// Looks whether a file has certificates in PEM.
    pub(super) fn check_certificates(option: &'static str, path: &Path) -> Result<(), Self> {
        let bad = |message: String| Self::File { option, path: path.to_owned(), message };
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(()),
            _ => Err(bad("it holds no certificate in PEM".to_owned())),
        }
    }

    /// Looks whether a file can be read.
    pub(super) fn check_readable(option: &'static str, path: &Path) -> Result<(), Self> {
        let bad = |error: std::io::Error| Self::File { option, path: path.to_owned(), message: error.to_string() };
        std::fs::File::open(path).map(drop).map_err(bad)
    }
}

/// `DnsName("db.example")` as `db.example`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    format!("`{}`", inner.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broken_line_may_cause_is_no_distrust() {
        let of = |error: TlsError| {
            Distrust::of(&sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))
        };
        assert_eq!(of(TlsError::DecryptError), None);
        assert_eq!(Distrust::of(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())), None);
        let unknown = TlsError::InvalidCertificate(CertificateError::UnknownIssuer);
        assert_eq!(of(unknown), Some(Distrust::UnknownAuthority));
    }

    #[test]
    fn names_are_shown_as_one_writes_them() {
        assert_eq!(bare("DnsName(\"db.example\")"), "`db.example`");
        assert_eq!(bare("IpAddress(10.0.0.1)"), "`10.0.0.1`");
        assert_eq!(bare("Other"), "`Other`");
    }
}
