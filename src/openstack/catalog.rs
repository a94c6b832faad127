//! Which address of a catalog is meant.

use std::collections::BTreeSet;

use super::{Cloud, ErrorKind, OpenStackError, Service, Token};

/// The address of a service, by the cloud's region and interface.
pub(super) fn endpoint<'t>(cloud: &Cloud, token: &'t Token, service: Service) -> Result<&'t str, OpenStackError> {
    let kind = service.as_str();
    let not_found = |message: String| OpenStackError::new(ErrorKind::NotFound, message);
    let all: Vec<_> = token.catalog.iter().filter(|entry| entry.service == kind).collect();
    if token.catalog.is_empty() && token.project_id.is_none() {
        let message = format!("cloud `{}` names no project, and without one Keystone tells no addresses", cloud.name);
        let hint = format!("write any project that its user has a role in as `project_name` in {}", cloud.origin);
        return Err(not_found(message).hint(hint));
    }
    if all.is_empty() {
        let kinds: BTreeSet<&str> = token.catalog.iter().map(|entry| entry.service.as_str()).collect();
        let message = format!("the catalog of cloud `{}` has no service `{kind}`", cloud.name);
        let error = not_found(message);
        return Err(if kinds.is_empty() { error } else { error.hint(format!("it has: {}", list(&kinds))) });
    }
    let regions: BTreeSet<&str> = all.iter().filter_map(|entry| entry.region.as_deref()).collect();
    let region = match &cloud.region_name {
        Some(name) if regions.is_empty() || regions.contains(name.as_str()) => Some(name.as_str()),
        Some(name) => {
            let message = format!("the catalog of cloud `{}` has no `{kind}` in region `{name}`", cloud.name);
            return Err(not_found(message).hint(format!("its regions: {}", list(&regions))));
        }
        None if regions.len() > 1 => {
            let message = format!("cloud `{}` names no region, and its catalog has `{kind}` in several", cloud.name);
            let hint = format!("write one of them as `region_name` in {}: {}", cloud.origin, list(&regions));
            return Err(OpenStackError::new(ErrorKind::Bad, message).hint(hint));
        }
        None => None,
    };
    let mut in_region =
        all.iter().filter(|entry| region.is_none() || entry.region.is_none() || entry.region.as_deref() == region);
    let found = in_region.clone().find(|entry| entry.interface == cloud.interface.as_str());
    found.map(|entry| entry.url.as_str()).ok_or_else(|| {
        let interfaces: BTreeSet<&str> = in_region.by_ref().map(|entry| entry.interface.as_str()).collect();
        let place = region.map(|region| format!(" in region `{region}`")).unwrap_or_default();
        let message = format!(
            "the catalog of cloud `{}` has no {} address of `{kind}`{place}",
            cloud.name,
            cloud.interface.as_str()
        );
        not_found(message).hint(format!("write one of these as `interface` in {}: {}", cloud.origin, list(&interfaces)))
    })
}

fn list(words: &BTreeSet<&str>) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// An override with its `%(project_id)s` and the like filled in, as keystoneauth does it.
pub(super) fn filled(template: &str, token: &Token) -> String {
    let project = token.project_id.as_deref().unwrap_or_default();
    template.replace("%(project_id)s", project).replace("%(tenant_id)s", project).replace("%(user_id)s", &token.user_id)
}
