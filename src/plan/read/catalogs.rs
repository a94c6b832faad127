//! `catalog:`, and what else a region says about its records: tenants, versions, keys.

use super::regions::password_in;
use super::{Fields, Key, Kind, Node, Problem, Reader, Value};
use crate::address;
use crate::plan::catalog_spec::{TENANT_CHARS_MAX, check_tenant};
use crate::plan::{
    CatalogSpec, DEFAULT_QUOTA, QuotaRule, StoreSpec, SwiftAccount, SwiftLogin, Tenants, TroveApiSpec,
    TroveDatabaseSpec,
};

/// Longest name of a datastore with that of a version, in characters.
const VERSION_CHARS_MAX: usize = 255 + 1 + 255;

impl<'s> Reader<'s> {
    /// The catalog of a region; that of its store where none is named, or where the one that is has a problem.
    /// `insecure` is the store's.
    pub(super) fn catalog(&mut self, region: &Fields<'_, 's>, insecure: bool) -> CatalogSpec {
        let Some((node, Key { kind: Kind::Typed(typed), .. })) = region.get("catalog") else {
            return CatalogSpec::Store;
        };
        let Some((kind, fields)) = self.typed(node, typed) else { return CatalogSpec::Store };
        match kind {
            "trove-database" => self.trove_database(&fields).map(CatalogSpec::TroveDatabase).unwrap_or_default(),
            "trove-api" => CatalogSpec::TroveApi(TroveApiSpec {
                cloud: self.cloud(&fields),
                endpoint: self.part(&fields, "endpoint", |text| address::service_url(text, insecure).map(drop)),
            }),
            _ => CatalogSpec::Store,
        }
    }

    fn trove_database(&mut self, fields: &Fields<'_, 's>) -> Option<TroveDatabaseSpec> {
        let quota = match self.choice(fields, "quota") {
            Some("ignore") => QuotaRule::Ignore,
            _ => QuotaRule::Respect,
        };
        let default_quota = self.integer(fields, "default_quota").and_then(|number| u32::try_from(number).ok());
        let (node, _) = fields.get("url")?;
        let url = self.reference(fields, "url")?;
        let text = url.as_str();
        if let Some(password) = password_in(text) {
            let place = self.place_in(node, password);
            let problem = Problem::error(place, "`url` holds a password in plain text").secret(place);
            self.problems.push(problem.hint(
                "remove it here and change it where it is used; write `mysql://user:${PASSWORD}@host/trove`, or all of it as `${NAME}`",
            ));
            return None;
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let is_known = matches!(scheme, Some("mysql" | "mariadb" | "postgres" | "postgresql"));
        if !is_known && !text.starts_with("${") {
            let message = match scheme {
                Some(scheme) if scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') => {
                    format!("`url` has the scheme `{scheme}`, which is no database of Trove's")
                }
                _ => "`url` is no URL".to_owned(),
            };
            let problem = Problem::error(node.place, message);
            self.problems
                .push(problem.hint("write `mysql://user:${PASSWORD}@host/trove`, `mariadb://…` or `postgres://…`"));
            return None;
        }
        Some(TroveDatabaseSpec { url, quota, default_quota: default_quota.unwrap_or(DEFAULT_QUOTA) })
    }

    /// Refuses a catalog that cannot have the records of such a store.
    pub(super) fn check_catalog(&mut self, region: &Fields<'_, 's>, store: &StoreSpec, catalog: &CatalogSpec) {
        let place = region.key("catalog").or_else(|| region.key("store")).unwrap_or(region.place);
        let problem = match (store, catalog) {
            (StoreSpec::Swift(swift), CatalogSpec::Store) if swift.account != SwiftAccount::Own => Problem::error(
                place,
                "the records of many tenants' backups cannot lie in the store itself: none of its accounts is for all",
            )
            .hint("name Trove's catalog (`type: trove-database` or `trove-api`), or write `account: own`"),
            (StoreSpec::Swift(swift), CatalogSpec::TroveApi(_)) if matches!(swift.login, SwiftLogin::V1 { .. }) => {
                Problem::error(place, "`trove-api` needs a Keystone, and the store has `auth: v1`")
                    .hint("use `trove-database`, or give the store a `cloud` in place of `auth: v1`")
            }
            (StoreSpec::Swift(_), _) | (_, CatalogSpec::Store) => return,
            (_, CatalogSpec::TroveDatabase(_) | CatalogSpec::TroveApi(_)) => {
                Problem::error(place, "Trove restores from Swift only, and this region's store is another one").hint(
                    "give the region a store of `type: swift`, or keep its records in the store: remove `catalog`",
                )
            }
        };
        self.problems.push(problem);
    }

    /// Pairs of tenants, or the file that has them.
    pub(super) fn tenants(&mut self, region: &Fields<'_, 's>) -> Option<Tenants> {
        let (node, _) = region.get("tenants")?;
        if !matches!(node.value, Value::Mapping(_)) {
            return self.path(region, "tenants").map(Tenants::File);
        }
        let check = |text: &str| check_tenant(text).map_err(|why| format!("the tenant `{text}` {why}"));
        let hint = "write `source: target` in each line: project ids, or `domain/name`";
        self.texts_by_text(node, "tenants", TENANT_CHARS_MAX, check, hint).map(Tenants::Map)
    }

    /// Pairs of datastore versions.
    pub(super) fn datastore_versions(&mut self, region: &Fields<'_, 's>) -> Vec<(String, String)> {
        let Some((node, _)) = region.get("datastore_versions") else { return Vec::new() };
        let check = |text: &str| match text.split_once('/') {
            Some((datastore, name)) if !datastore.is_empty() && !name.is_empty() => Ok(()),
            _ => Err(format!("`{text}` is no datastore with a version")),
        };
        let hint = "write `mysql/5.7.29: mysql/5.7.44`: a datastore and the name of one of its versions on either side";
        self.texts_by_text(node, "datastore_versions", VERSION_CHARS_MAX, check, hint).unwrap_or_default()
    }

    /// A mapping from texts to texts.
    fn texts_by_text(
        &mut self,
        node: &Node<'s>,
        name: &str,
        max: usize,
        check: impl Fn(&str) -> Result<(), String>,
        hint: &str,
    ) -> Option<Vec<(String, String)>> {
        let pairs = self.pairs(node, &format!("`{name}`"))?;
        if pairs.is_empty() {
            let problem = Problem::error(node.place, format!("`{name}` is empty"));
            self.problems.push(problem.hint(format!("{hint}; or remove the key")));
            return None;
        }
        let mut texts: Vec<(String, String)> = Vec::with_capacity(pairs.len());
        let mut first_at = std::collections::HashMap::new();
        for (key, value) in pairs {
            let mut text = |node: &Node<'s>, what: &str| {
                let text = self.plain_text(node, &format!("{what} of `{name}`"), max)?.to_owned();
                match check(&text) {
                    Ok(()) => Some(text),
                    Err(why) => {
                        self.problems.push(Problem::error(node.place, why).hint(hint));
                        None
                    }
                }
            };
            let (Some(from), Some(to)) = (text(key, "a key"), text(value, "a value")) else { continue };
            if let Some(first) = first_at.insert(from.clone(), key.place) {
                let problem = Problem::error(key.place, format!("`{from}` stands twice in `{name}`"));
                self.problems.push(problem.related(first, "the first one").hint("remove one of the two"));
                continue;
            }
            texts.push((from, to));
        }
        Some(texts)
    }
}
