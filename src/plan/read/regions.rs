//! `regions:` and `database:`: what is named, where it lies, and which two are one place.

use std::path::Path;
use std::sync::Arc;

use super::{Fields, Key, Kind, Node, Place, Problem, Reader};
use crate::plan::reference::Reference;
use crate::plan::shape::REGION;
use crate::plan::{CatalogSpec, Region, RegionIndex, StoreSpec};
use crate::sql::Address;

/// Regions of one plan.
const REGIONS_MAX: usize = 1_000;

impl<'s> Reader<'s> {
    /// Reads all regions, those with problems included, so that nothing else calls them unknown.
    pub(super) fn regions(&mut self, fields: &Fields<'_, 's>, folder: &Path) {
        let Some((node, _)) = fields.get("regions") else { return };
        let Some(pairs) = self.pairs(node, "`regions`") else { return };
        if pairs.is_empty() || pairs.len() > REGIONS_MAX {
            let message = format!("a plan has 1 to {REGIONS_MAX} regions, and this one has {}", pairs.len());
            self.problems.push(
                Problem::error(node.place, message)
                    .hint("add a region: `name: { store: { type: file, path: ./folder } }`"),
            );
            return;
        }
        for (key, value) in pairs {
            let Some(name) = self.region_name(key) else { continue };
            let (region, identity) = self.region_parts(name.clone(), key.place, value, folder);
            let index = RegionIndex(u16::try_from(self.regions.len()).expect("at most 1,000 regions"));
            let same =
                identity.as_ref().and_then(|place| self.places.iter().position(|other| other.as_ref() == Some(place)));
            let same = same.map_or(index, |at| RegionIndex(u16::try_from(at).expect("at most 1,000 regions")));
            self.places.push(identity);
            self.same_store.push(same);
            self.index.insert(name, index);
            self.regions.push(region);
        }
    }

    /// The name of a new region; none if it is bad or not new.
    fn region_name(&mut self, key: &Node<'s>) -> Option<Arc<str>> {
        let name: Arc<str> = Arc::from(self.name_value(key, "the name of a region")?);
        let other = self.regions.iter().find(|region| region.name.eq_ignore_ascii_case(&name));
        let Some(other) = other else { return Some(name) };
        let problem = if other.name == name {
            Problem::error(key.place, format!("region `{name}` is defined twice")).hint("remove one of the two")
        } else {
            Problem::error(
                key.place,
                format!("regions `{}` and `{name}` differ only in upper and lower case", other.name),
            )
            .hint("give one of them another name")
        };
        self.problems.push(problem.related(other.place, "the first one"));
        // Under its other case it is known, so that what refers to it is no problem of its own.
        let index = self.index.get(&other.name).copied();
        if let Some(index) = index {
            self.index.entry(name).or_insert(index);
        }
        None
    }

    /// A region, and what its store is, if nothing is wrong with it: two regions with one identity are one place.
    fn region_parts(
        &mut self,
        name: Arc<str>,
        place: Place,
        node: &Node<'s>,
        folder: &Path,
    ) -> (Region, Option<String>) {
        let mut region = Region {
            name,
            store: nowhere(),
            catalog: CatalogSpec::Store,
            tenants: None,
            datastore_versions: Vec::new(),
            backup_key_present: false,
            copy_from: true,
            copy_to: true,
            place,
        };
        let Some(fields) = self.fields(node, &REGION) else { return (region, None) };
        let store = match fields.get("store") {
            Some((store, Key { kind: Kind::Typed(typed), .. })) => self.store(store, typed, folder),
            _ => None,
        };
        let insecure = matches!(&store, Some((StoreSpec::Swift(swift), _)) if swift.http.insecure);
        let before = self.problems.errors();
        region.catalog = self.catalog(&fields, insecure);
        let is_catalog_right = self.problems.errors() == before;
        region.tenants = self.tenants(&fields);
        region.datastore_versions = self.datastore_versions(&fields);
        region.backup_key_present = self.boolean(&fields, "backup_key_present").unwrap_or(false);
        region.copy_from = self.boolean(&fields, "copy_from").unwrap_or(true);
        region.copy_to = self.boolean(&fields, "copy_to").unwrap_or(true);
        let Some((store, identity)) = store else { return (region, None) };
        if is_catalog_right {
            self.check_catalog(&fields, &store, &region.catalog);
        }
        region.store = store;
        (region, Some(identity))
    }

    /// The database as written.
    pub(super) fn database(&mut self, fields: &Fields<'_, 's>) -> Option<Reference> {
        let (node, _) = fields.get("database")?;
        let database = self.reference(fields, "database")?;
        let text = database.as_str();
        if let Some(password) = password_in(text) {
            let place = self.place_in(node, password);
            self.problems.push(
                Problem::error(place, "`database` holds a password in plain text")
                    .secret(place)
                    .hint("remove it here and change it where it is used; write `postgres://user:${PASSWORD}@host/name`, or all of it as `${NAME}`"),
            );
            return None;
        }
        let scheme =
            text.split_once("://").map(|(scheme, _)| scheme).or_else(|| text.split_once(':').map(|(scheme, _)| scheme));
        let problem = match scheme {
            _ if text.starts_with("${") => return Some(database),
            Some("sqlite") => return Some(database),
            Some("postgres" | "postgresql" | "mysql" | "mariadb") => match Address::parse(text) {
                Err(error) if database.variables().next().is_none() => format!("`database` {error}"),
                _ => return Some(database),
            },
            Some(scheme) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                format!("unknown database type `{scheme}`")
            }
            _ => "`database` is no URL".to_owned(),
        };
        self.problems.push(Problem::error(node.place, problem).hint(
            "write `sqlite://FILE`, which starts at the plan, `postgres://USER:${PASSWORD}@HOST/NAME` or `mysql://…`",
        ));
        None
    }
}

/// Stands for the store of a region that has a problem; no plan with one is ever given out.
fn nowhere() -> StoreSpec {
    StoreSpec::File { path: Reference::parse("").expect("no reference in it"), identity: None }
}

/// Where a URL has a literal password (`scheme://user:password@host`).
pub(super) fn password_in(text: &str) -> Option<std::ops::Range<usize>> {
    let start = text.find("://")? + 3;
    let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |end| start + end);
    let at = start + text[start..end].rfind('@')?;
    let colon = start + text[start..at].find(':')?;
    let password = &text[colon + 1..at];
    let is_reference = Reference::parse(password).is_ok_and(|reference| reference.variables().next().is_some());
    (!password.is_empty() && !is_reference).then_some(colon + 1..at)
}
