//! Which datastore version of the target a backup is registered under: the one of the same datastore, name and number,
//! or the one that the plan names. Pure.

use crate::failure::{Cause, Failure};

/// A datastore version of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatastoreVersion {
    /// Its id in that region.
    pub id: String,
    /// Name of its datastore (`mysql`).
    pub datastore: String,
    /// Its name (`8.0`).
    pub name: String,
    /// Its number (`8.0.36`), where Trove tells it.
    pub number: Option<String>,
    /// Whether instances can be made of it.
    pub active: bool,
}

/// The version that a backup was made with, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceVersion<'a> {
    /// Name of the datastore.
    pub datastore: &'a str,
    /// Name of the version.
    pub name: &'a str,
    /// Number of the version, where the source's catalog tells it.
    pub number: Option<&'a str>,
}

/// The counterpart of `source` among the versions of the region `region`. `overrides` are the plan's
/// `datastore_versions`, both sides as `DATASTORE/VERSION`, a version by name or number.
///
/// # Errors
/// [`Cause::NoCounterpart`], with one text for all backups of a version.
pub fn map<'a>(
    source: SourceVersion<'_>,
    overrides: &[(String, String)],
    region: &str,
    target: &'a [DatastoreVersion],
) -> Result<&'a DatastoreVersion, Failure> {
    let override_of = overrides.iter().find(|(from, _)| {
        from.split_once('/').is_some_and(|(datastore, version)| {
            datastore == source.datastore && (version == source.name || Some(version) == source.number)
        })
    });
    let found: Vec<&DatastoreVersion> = match override_of {
        Some((_, to)) => target.iter().filter(|version| is_named(version, to)).collect(),
        None => target.iter().filter(|version| is_same(version, source)).collect(),
    };
    let wanted = override_of.map_or_else(|| source.text(), |(from, to)| format!("{to}` (for `{from}`)"));
    match found.as_slice() {
        [] => Err(absent(source, override_of.map(|(_, to)| to.as_str()), region, target)),
        [one] if one.active => Ok(one),
        [one] => {
            Err(no_counterpart(format!("the datastore version {} is switched off in region `{region}`", one.text()))
                .hint(format!("switch it on: openstack datastore version set {} --enable", one.id)))
        }
        several => {
            let mut active = several.iter().filter(|version| version.active);
            match (active.next(), active.next()) {
                (Some(one), None) => Ok(one),
                _ => Err(no_counterpart(format!(
                    "region `{region}` has several datastore versions {wanted}: {}",
                    list(several.iter().copied())
                ))
                .hint(several.first().map_or_else(String::new, |one| source.advice(&one.by_number())))),
            }
        }
    }
}

impl SourceVersion<'_> {
    fn text(&self) -> String {
        text(self.datastore, self.name, self.number)
    }

    /// The line of the plan that names a counterpart.
    fn advice(&self, to: &str) -> String {
        let (datastore, name) = (self.datastore, self.name);
        format!("name one in the region's entry of the plan: datastore_versions: {{ {datastore}/{name}: {to} }}")
    }
}

impl DatastoreVersion {
    fn text(&self) -> String {
        text(&self.datastore, &self.name, self.number.as_deref())
    }

    fn by_number(&self) -> String {
        format!("{}/{}", self.datastore, self.number.as_deref().unwrap_or(&self.name))
    }
}

fn text(datastore: &str, name: &str, number: Option<&str>) -> String {
    match number {
        Some(number) if number != name => format!("`{datastore}/{name}` (number {number})"),
        _ => format!("`{datastore}/{name}`"),
    }
}

fn list<'a>(versions: impl Iterator<Item = &'a DatastoreVersion>) -> String {
    let mut texts: Vec<String> = versions.map(|version| format!("{}, id {}", version.text(), version.id)).collect();
    // Catalogs give them in the order of their ids.
    texts.sort_unstable();
    texts.join("; ")
}

fn is_named(version: &DatastoreVersion, text: &str) -> bool {
    text.split_once('/').is_some_and(|(datastore, wanted)| {
        version.datastore == datastore && (version.name == wanted || version.number.as_deref() == Some(wanted))
    })
}

/// Numbers count where both sides tell one.
fn is_same(version: &DatastoreVersion, source: SourceVersion<'_>) -> bool {
    let numbers = version.number.as_deref().zip(source.number);
    version.datastore == source.datastore
        && version.name == source.name
        && numbers.is_none_or(|(target, source)| target == source)
}

fn absent(source: SourceVersion<'_>, to: Option<&str>, region: &str, target: &[DatastoreVersion]) -> Failure {
    let datastore = to.and_then(|to| to.split_once('/')).map_or(source.datastore, |(datastore, _)| datastore);
    let mut of_datastore: Vec<&DatastoreVersion> =
        target.iter().filter(|version| version.datastore == datastore).collect();
    of_datastore.sort_unstable_by_key(|version| (&version.name, &version.number));
    let what = match to {
        Some(to) => format!("`{to}`, which the plan names for {}", source.text()),
        None => source.text(),
    };
    let there = if of_datastore.is_empty() {
        format!("it has nothing of `{datastore}`")
    } else {
        format!("it has {}", list(of_datastore.iter().copied()))
    };
    let (name, number) = (source.name, source.number.unwrap_or(source.name));
    let create = format!(
        "openstack datastore version create {name} {} MANAGER IMAGE --version-number {number} --active",
        source.datastore
    );
    let alike = of_datastore.iter().find(|version| version.name == source.name);
    let hint = match alike.or(of_datastore.first()) {
        Some(one) => format!("{}; or make it there: {create}", source.advice(&one.by_number())),
        None => format!("make it there: {create}"),
    };
    no_counterpart(format!("region `{region}` has no datastore version {what}; {there}")).hint(hint)
}

fn no_counterpart(message: String) -> Failure {
    Failure::new(Cause::NoCounterpart, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(datastore: &str, name: &str, number: &str, active: bool) -> DatastoreVersion {
        let number = Some(number.to_owned()).filter(|number| !number.is_empty());
        DatastoreVersion {
            id: format!("id-{datastore}-{name}-{}", number.as_deref().unwrap_or("none")),
            datastore: datastore.into(),
            name: name.into(),
            number,
            active,
        }
    }

    fn target() -> Vec<DatastoreVersion> {
        vec![
            version("mysql", "8.0", "8.0.36", true),
            version("mysql", "5.7.44", "5.7.44", true),
            version("mysql", "5.6", "5.6.1", false),
            version("mariadb", "10", "10.11", true),
            version("mariadb", "10", "10.6", true),
            version("postgresql", "16", "", true),
        ]
    }

    fn found(datastore: &str, name: &str, number: &str, overrides: &[(&str, &str)]) -> Result<String, Failure> {
        let overrides: Vec<_> = overrides.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let number = Some(number).filter(|number| !number.is_empty());
        map(SourceVersion { datastore, name, number }, &overrides, "two", &target()).map(|version| version.id.clone())
    }

    #[test]
    fn by_datastore_name_and_number() {
        assert_eq!(found("mysql", "8.0", "8.0.36", &[]).as_deref(), Ok("id-mysql-8.0-8.0.36"));
        assert_eq!(found("mysql", "8.0", "", &[]).as_deref(), Ok("id-mysql-8.0-8.0.36"));
        assert_eq!(found("mariadb", "10", "10.6", &[]).as_deref(), Ok("id-mariadb-10-10.6"));
        assert_eq!(found("postgresql", "16", "16.2", &[]).as_deref(), Ok("id-postgresql-16-none"));
    }

    #[test]
    fn what_has_no_counterpart_is_told_with_the_way_out() {
        let failure = found("mysql", "8.0", "8.0.29", &[]).expect_err("another number");
        assert_eq!(failure.cause, Cause::NoCounterpart);
        assert!(failure.message.contains("no datastore version `mysql/8.0` (number 8.0.29)"), "{failure:?}");
        assert!(failure.message.contains("`mysql/8.0` (number 8.0.36), id id-mysql-8.0-8.0.36"), "{failure:?}");
        let hint = failure.hint.expect("a hint");
        assert!(hint.contains("datastore_versions: { mysql/8.0: mysql/8.0.36 }"), "{hint}");
        assert!(hint.contains("openstack datastore version create 8.0 mysql MANAGER IMAGE --version-number 8.0.29"));
        let failure = found("oracle", "19", "", &[]).expect_err("another datastore");
        assert!(failure.message.ends_with("it has nothing of `oracle`"), "{failure:?}");
    }

    #[test]
    fn switched_off_and_ambiguous_ones_are_refused() {
        let failure = found("mysql", "5.6", "5.6.1", &[]).expect_err("switched off");
        assert!(failure.message.contains("switched off in region `two`"), "{failure:?}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("version set id-mysql-5.6-5.6.1 --enable")));
        let failure = found("mariadb", "10", "", &[]).expect_err("two of them");
        assert!(failure.message.contains("several datastore versions"), "{failure:?}");
    }

    #[test]
    fn the_plan_may_name_one() {
        let overrides = [("mysql/5.7.29", "mysql/5.7.44"), ("mariadb/10", "mariadb/10.11")];
        assert_eq!(found("mysql", "5.7.29", "5.7.29", &overrides).as_deref(), Ok("id-mysql-5.7.44-5.7.44"));
        assert_eq!(found("mysql", "5.7", "5.7.29", &overrides).as_deref(), Ok("id-mysql-5.7.44-5.7.44"));
        assert_eq!(found("mariadb", "10", "", &overrides).as_deref(), Ok("id-mariadb-10-10.11"));
        let failure = found("mysql", "5.7.29", "", &[("mysql/5.7.29", "mysql/9")]).expect_err("not there");
        assert!(failure.message.contains("`mysql/9`, which the plan names for `mysql/5.7.29`"), "{failure:?}");
    }
}
