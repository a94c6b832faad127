//! Regions of `OpenStack`: Swift, Trove, tenants, versions.

use super::*;
use crate::plan::{
    CatalogSpec, CloudSpec, QuotaRule, Region, SEGMENT_SIZE, SwiftAccount, SwiftLogin, SwiftSpec, TenantAccess,
    Tenants, TroveApiSpec, TroveDatabaseSpec,
};

/// The regions of a plan that has these, from the first to the second.
fn regions(regions: &str) -> Vec<Region> {
    let text = format!("version: 1\nname: t\nregions:\n{regions}backups: [{{ id: x, from: a, to: [b] }}]\n");
    let loaded = parse(text.as_bytes(), Path::new("/plans/t.yaml"));
    let loaded = loaded.unwrap_or_else(|refused| panic!("{}", refused.render(false)));
    assert_eq!(loaded.warnings, []);
    loaded.plan.regions
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

#[test]
fn a_swift_needs_no_more_than_its_type() {
    let StoreSpec::Swift(swift) = store("type: swift") else { panic!("a Swift") };
    let http = HttpSpec { endpoint: None, ca_file: None, insecure: false, timeout: STALL_TIMEOUT, identity: None };
    let login = SwiftLogin::Keystone(CloudSpec { cloud: None, region: None });
    let (account, segment_size) = (SwiftAccount::Own, SEGMENT_SIZE);
    assert_eq!(swift, SwiftSpec { login, account, container: None, storage_policy: None, segment_size, http });
    assert_eq!(segment_size, 2 * 1024 * 1024 * 1024);
}

#[test]
fn the_regions_of_an_evacuation_are_read_whole() {
    let regions = regions(
        "  a:
    store: { type: swift, cloud: one, region: \"${R}\", account: per-tenant, access: reseller, endpoint: \"https://swift.one/v1\" }
    catalog: { type: trove-database, url: \"mysql://u:${P}@db/trove\", quota: ignore, default_quota: 7 }
    copy_to: false
  b:
    store: { type: swift, cloud: two, account: per-tenant, container: database_backups, storage_policy: cold, segment_size: 1GiB }
    catalog: { type: trove-api, cloud: two-trove, region: x, endpoint: \"https://trove.two/v1.0\" }
    tenants: { 055b: Default/sales }
    datastore_versions: { mysql/5.7.29: mysql/5.7.44 }
    backup_key_present: true
    copy_from: false
",
    );
    let StoreSpec::Swift(one) = &regions[0].store else { panic!("a Swift") };
    assert_eq!(
        one.login,
        SwiftLogin::Keystone(CloudSpec { cloud: Some(reference("one")), region: Some(reference("${R}")) })
    );
    assert_eq!(one.account, SwiftAccount::PerTenant(TenantAccess::Reseller));
    assert_eq!(one.http.endpoint, Some(reference("https://swift.one/v1")));
    let url = reference("mysql://u:${P}@db/trove");
    let database = TroveDatabaseSpec { url, quota: QuotaRule::Ignore, default_quota: 7 };
    assert_eq!(regions[0].catalog, CatalogSpec::TroveDatabase(database));
    assert_eq!((regions[0].copy_from, regions[0].copy_to, regions[0].backup_key_present), (true, false, false));
    let StoreSpec::Swift(two) = &regions[1].store else { panic!("a Swift") };
    assert_eq!(two.account, SwiftAccount::PerTenant(TenantAccess::EachProject));
    assert_eq!((&two.container, &two.storage_policy), (&Some(reference("database_backups")), &Some(reference("cold"))));
    assert_eq!(two.segment_size, 1 << 30);
    let cloud = CloudSpec { cloud: Some(reference("two-trove")), region: Some(reference("x")) };
    let api = TroveApiSpec { cloud, endpoint: Some(reference("https://trove.two/v1.0")) };
    assert_eq!(regions[1].catalog, CatalogSpec::TroveApi(api));
    assert_eq!(regions[1].tenants, Some(Tenants::Map(vec![("055b".to_owned(), "Default/sales".to_owned())])));
    assert_eq!(regions[1].datastore_versions, [("mysql/5.7.29".to_owned(), "mysql/5.7.44".to_owned())]);
    assert_eq!((regions[1].copy_from, regions[1].copy_to, regions[1].backup_key_present), (false, true, true));
}

#[test]
fn tempauth_is_read_and_its_references_are_known() {
    let text = "type: swift, auth: v1, auth_url: \"https://swift/auth/v1.0\", user: \"${U}\", key: \"${K}\", container: \"${C}\"";
    let spec = store(text);
    let names: Vec<&str> = spec.references().into_iter().flat_map(Reference::variables).collect();
    assert_eq!(names, ["U", "K", "C"]);
    let StoreSpec::Swift(SwiftSpec { login: SwiftLogin::V1 { auth_url, .. }, .. }) = &spec else { panic!("TempAuth") };
    assert_eq!(auth_url.as_str(), "https://swift/auth/v1.0");
}

#[test]
fn two_troves_may_share_one_swift_and_no_store_is_copied_onto_itself() {
    let swift = "store: { type: swift, cloud: one, region: shared, account: per-tenant }";
    let catalog = |name: &str| format!("catalog: {{ type: trove-database, url: \"${{{name}}}\" }}");
    let two = |one: &str, other: &str| format!("  a: {{ {swift}, {one} }}\n  b: {{ {swift}, {other} }}\n");
    assert_eq!(regions(&two(&catalog("ONE"), &catalog("TWO"))).len(), 2);
    let text = two(&catalog("ONE"), &catalog("ONE"));
    let text = format!("version: 1\nname: t\nregions:\n{text}backups: [{{ id: x, from: a, to: [b] }}]\n");
    let refused = parse(text.as_bytes(), Path::new("/plans/t.yaml")).expect_err("one place");
    assert!(refused.problems[0].message.contains("are the same store"), "{:?}", refused.problems);
}

#[test]
fn unset_variables_of_catalogs_and_tenants_are_named_too() {
    let text = "version: 1\nname: t\nregions:\n  a: { store: { type: file, path: a } }\n  b:\n    \
                store: { type: swift, cloud: \"${CLOUD}\" }\n    \
                catalog: { type: trove-database, url: \"mysql://u:${PASSWORD}@db/trove\" }\n    \
                tenants: \"${TENANTS}\"\nbackups: [{ id: x, from: a, to: [b] }]\n";
    let plan = parse(text.as_bytes(), Path::new("/plans/t.yaml")).expect("accepted").plan;
    let problems = crate::plan::unset_variables(&plan, &|_| None);
    let lines: Vec<_> =
        problems.iter().map(|problem| (problem.place.expect("a place").line, &*problem.message)).collect();
    assert_eq!(
        lines,
        [
            (6, "the environment variable `CLOUD` is not set"),
            (7, "the environment variable `PASSWORD` is not set"),
            (8, "the environment variable `TENANTS` is not set"),
        ]
    );
}
