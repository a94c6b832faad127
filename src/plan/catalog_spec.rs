//! Catalogs as written, and what a region says about its tenants.

use super::{CloudSpec, Reference};

/// Backups of one project where Trove's own configuration says nothing else.
pub const DEFAULT_QUOTA: u32 = 50;

/// A catalog as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogSpec {
    /// `type: store`: record objects in the region's own store. The default.
    #[default]
    Store,
    /// `type: trove-database`
    TroveDatabase(TroveDatabaseSpec),
    /// `type: trove-api`
    TroveApi(TroveApiSpec),
}

/// Trove's own database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroveDatabaseSpec {
    /// `mysql://…`, `mariadb://…` or `postgres://…`; a password in it is a reference.
    pub url: Reference,
    /// Whether Trove's quota of backups is kept.
    pub quota: QuotaRule,
    /// Backups of one project where no quota is set: what trove.conf says cannot be seen from here.
    pub default_quota: u32,
}

/// Whether a quota is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QuotaRule {
    /// A copy above it is not registered.
    #[default]
    Respect,
    /// It is counted and not kept.
    Ignore,
}

/// Trove's API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TroveApiSpec {
    /// Its cloud; what is not named is as in the region's store.
    pub cloud: CloudSpec,
    /// Where it answers, up to `/v1.0`, instead of the catalog's.
    pub endpoint: Option<Reference>,
}

impl CatalogSpec {
    /// All texts in it that may refer to the environment, in the order of the documentation.
    #[must_use]
    pub fn references(&self) -> Vec<&Reference> {
        match self {
            Self::Store => Vec::new(),
            Self::TroveDatabase(database) => vec![&database.url],
            Self::TroveApi(TroveApiSpec { cloud: CloudSpec { cloud, region }, endpoint }) => {
                [cloud, region, endpoint].into_iter().flatten().collect()
            }
        }
    }
}

/// Which tenant of this region stands for one of another: each by its project's id, or as `domain/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Source and target, in the order written.
    Map(Vec<(String, String)>),
    /// A file of such pairs, read with [`parse_tenants`] when the region is opened.
    File(Reference),
}

/// A line of a file of tenants that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct BadTenants {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
    /// What to write instead.
    pub hint: &'static str,
}

const FORM: &str = "write `source,target` in each line: project ids, or `domain/name`";

/// Reads a file of tenants: lines of `source,target`, with `#` before comments, and perhaps these two words as the
/// first line. A field that has a comma stands in double quotes, in which `""` is a quote.
///
/// # Errors
/// [`BadTenants`], for the first line that is wrong, or that names a source again.
pub fn parse_tenants(text: &str) -> Result<Vec<(String, String)>, BadTenants> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut lines = std::collections::HashMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let bad = |message: String, hint| BadTenants { line: number, message, hint };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let fields = fields(line).ok_or_else(|| bad("a quote is not closed".to_owned(), FORM))?;
        let [source, target] = &fields[..] else {
            let fields = if fields.len() == 1 { "1 field".to_owned() } else { format!("{} fields", fields.len()) };
            return Err(bad(format!("it has {fields}, and must have 2"), FORM));
        };
        if pairs.is_empty() && source == "source" && target == "target" {
            continue;
        }
        for field in [source, target] {
            check_tenant(field).map_err(|why| bad(format!("`{}` {why}", field.escape_debug()), FORM))?;
        }
        if let Some(first) = lines.insert(source.clone(), number) {
            return Err(bad(format!("`{source}` stands in line {first} too"), "remove one of the two"));
        }
        pairs.push((source.clone(), target.clone()));
    }
    Ok(pairs)
}

/// Longest name of a project with its domain, in characters.
pub(super) const TENANT_CHARS_MAX: usize = 64 + 1 + 64;

/// Why a text names no tenant.
pub(super) fn check_tenant(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("is empty")
    } else if text.chars().count() > TENANT_CHARS_MAX {
        Err("is too long")
    } else if text.chars().any(char::is_control) {
        Err("has a control character")
    } else if text.starts_with('/') || text.ends_with('/') {
        Err("starts or ends with `/`")
    } else {
        Ok(())
    }
}

/// The fields of a line; none if a quote is open at its end.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut()?;
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if is_quoted => is_quoted = false,
            '"' if field.trim().is_empty() => {
                field.clear();
                is_quoted = true;
            }
            ',' if !is_quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    (!is_quoted).then(|| fields.into_iter().map(|field| field.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
        parse_tenants(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_of_tenants_is_pairs() {
        let text = "\u{feff}source,target\r\n# moved on Monday\r\n055b, 7d1a\r\n\r\nDefault/sales,\"Default/a \"\"b\"\", c\"\n";
        let expected = [("055b", "7d1a"), ("Default/sales", "Default/a \"b\", c")];
        assert_eq!(pairs(text), Ok(expected.map(|(one, other)| (one.to_owned(), other.to_owned())).to_vec()));
        assert_eq!(pairs(""), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_pair_is_named_with_its_line() {
        for (text, message) in [
            ("a,b\nc", "line 2: it has 1 field, and must have 2"),
            ("a,b,c", "line 1: it has 3 fields, and must have 2"),
            ("a,", "line 1: `` is empty"),
            ("a,\"b", "line 1: a quote is not closed"),
            ("a,b\na,c", "line 2: `a` stands in line 1 too"),
            ("a,/b", "line 1: `/b` starts or ends with `/`"),
            ("a,b\u{1b}", "line 1: `b\\u{1b}` has a control character"),
        ] {
            assert_eq!(pairs(text), Err(message.to_owned()), "{text:?}");
        }
    }
}
