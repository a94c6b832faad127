//! Whose account a key leads to, and by which token.

use backhaul::id::Key;
use backhaul::store::{Account, Source, StoreErrorKind, SwiftOptions, SwiftStore, Target, TenantAccess};
use backhaul::throttle::Throttle;
use bytes::Bytes;

use crate::bed::{Bed, TENANT, TOKEN, metadata, options, refused};
use crate::openstack::ONE;
use crate::session::session;

fn per_tenant(bed: &Bed, user: &str, project: &str, access: TenantAccess) -> SwiftStore {
    let options = SwiftOptions { account: Account::PerTenant(access), ..options() };
    SwiftStore::open(options, &session(&bed.openstack, ONE, user, Some(project)), &Throttle::unlimited())
}

fn keys(bed: &Bed, store: &SwiftStore, object: &str) -> [Key; 2] {
    [TENANT, "beta"].map(|tenant| {
        let account = format!("AUTH_{}", bed.openstack.project(tenant));
        store.key_of(&account, &bed.container, object).expect("a key")
    })
}

#[tokio::test]
async fn each_tenants_objects_lie_in_its_own_account() {
    let Some(bed) = Bed::new("per_tenant") else { return };
    for (user, project, access) in
        [("mover", TENANT, TenantAccess::EachProject), ("reseller", "operators", TenantAccess::Reseller)]
    {
        let store = per_tenant(&bed, user, project, access);
        let keys = keys(&bed, &store, user);
        for (key, bytes) in keys.iter().zip(["one", "two"]) {
            store.put(key, TOKEN, Bytes::from(bytes), &metadata(&[])).await.expect("written");
            assert_eq!(store.location_url(key).await.expect("known"), {
                let (account, rest) = key.as_str().split_once('/').expect("an account");
                let url = bed.openstack.account(ONE, TENANT);
                format!("{}/{account}/{rest}", url.rsplit_once('/').expect("a URL").0)
            });
        }
        assert_eq!(bed.read(user, 9).await.expect("the tenant's own"), b"one");
        let beta = store.list(&keys[1].as_str()[..keys[1].as_str().len() - 1]).await.expect("listed");
        assert_eq!(beta.iter().map(|object| &object.key).collect::<Vec<_>>(), [&keys[1]]);
        for (key, bytes) in keys.iter().zip(["one", "two"]) {
            let facts = store.head(key).await.expect("there");
            store.take_back(key, &facts.etag).await.expect("taken back");
            refused(store.head(key).await, StoreErrorKind::Missing, bytes.get(..0).expect("empty"));
        }
        refused(store.list("").await, StoreErrorKind::Refused, "accounts of many projects");
    }
    bed.clear().await;
}

#[tokio::test]
async fn an_endpoint_of_the_plan_counts_where_the_catalog_has_none() {
    let Some(bed) = Bed::new("endpoints") else { return };
    bed.write("a", &[], b"bytes").await;
    let session = session(&bed.openstack, "region-nowhere", TENANT, Some(TENANT));
    let without = SwiftStore::open(options(), &session, &Throttle::unlimited());
    refused(without.head(&bed.key("a")).await, StoreErrorKind::Refused, "region-nowhere");
    let account = bed.openstack.account(ONE, TENANT);
    let endpoint = account.rsplit_once('/').expect("a URL").0.parse().expect("a URL");
    let options = SwiftOptions { endpoint: Some(endpoint), ..options() };
    let with = SwiftStore::open(options, &session, &Throttle::unlimited());
    assert_eq!(with.head(&bed.key("a")).await.expect("found").size, 5);
    assert_eq!(with.location_url(&bed.key("a")).await.expect("known"), format!("{account}/{}/a", bed.container));
    bed.clear().await;
}

#[tokio::test]
async fn what_a_role_may_not_is_told_with_a_way_out() {
    let Some(bed) = Bed::new("roles") else { return };
    bed.write("a", &[], b"bytes").await;
    let auditor = per_tenant(&bed, "auditor", "operators", TenantAccess::Reseller);
    let [key, _] = keys(&bed, &auditor, "a");
    assert_eq!(auditor.head(&key).await.expect("it may read").size, 5);
    let [written, _] = keys(&bed, &auditor, "b");
    let error = auditor.put(&written, TOKEN, Bytes::new(), &metadata(&[])).await.expect_err("it may not write");
    assert!(error.kind == StoreErrorKind::Refused && error.message.contains("answered 403"), "{error}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("ResellerAdmin")), "{error:?}");

    let gamma = format!("AUTH_{}", bed.openstack.project("gamma"));
    let mover = per_tenant(&bed, "mover", TENANT, TenantAccess::EachProject);
    let foreign = mover.key_of(&gamma, &bed.container, "a").expect("a key");
    refused(mover.head(&foreign).await, StoreErrorKind::Refused, "no role there");
    let other = Key::parse(&format!("OTHER_1/{}/a", bed.container)).expect("a key");
    refused(mover.head(&other).await, StoreErrorKind::Refused, "accounts here look like `AUTH_");
    bed.clear().await;
}
