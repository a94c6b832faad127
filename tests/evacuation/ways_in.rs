//! Every way into an account: what a user has, Backhaul takes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::bed::{Bed, by_operator};
use crate::by_hand::token;
use crate::openstack::{ONE, OpenStack, Request, TWO};

const DUMPS: [(&str, usize); 2] = [("small.bin", 1_000), ("large.bin", 2_500_000)];

/// What a plan says of the store beyond its type and container, what the environment has, and whose account it is.
struct WayIn {
    store: String,
    environment: BTreeMap<&'static str, String>,
    account: String,
}

fn ways(openstack: &OpenStack) -> Vec<WayIn> {
    let alpha = format!("AUTH_{}", openstack.project("alpha"));
    let way = |store: &str, environment: &[(&'static str, &str)]| WayIn {
        store: store.to_owned(),
        environment: environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        account: alpha.clone(),
    };
    let auth_url = openstack.auth_url();
    let scope = json!({ "project": { "id": openstack.project("alpha") } });
    let token = token(&auth_url, "mover", "mover-pw", &scope);
    vec![
        way("cloud: region-two-application-credential", &[]),
        way("cloud: \"${CLOUD}\"", &[("CLOUD", "region-two-mover-alpha")]),
        // One of the other region: the plan says which.
        way("cloud: region-one-mover-alpha, region: region-two", &[]),
        way("account: own", &[("OS_CLOUD", "region-two-mover-alpha")]),
        way(
            "account: own",
            &[
                ("OS_AUTH_URL", &auth_url),
                ("OS_USERNAME", "mover"),
                ("OS_PASSWORD", "mover-pw"),
                ("OS_PROJECT_NAME", "alpha"),
                ("OS_USER_DOMAIN_ID", "default"),
                ("OS_PROJECT_DOMAIN_ID", "default"),
                ("OS_REGION_NAME", TWO),
            ],
        ),
        way("region: region-two", &[("OS_AUTH_TYPE", "token"), ("OS_AUTH_URL", &auth_url), ("OS_TOKEN", &token)]),
        WayIn {
            store: format!(
                "auth: v1, auth_url: \"{}\", user: \"test:tester\", key: \"${{V1_KEY}}\"",
                openstack.temp_auth_url(TWO)
            ),
            environment: BTreeMap::from([("V1_KEY", "testing".to_owned())]),
            account: "TEMPAUTH_test".to_owned(),
        },
    ]
}

/// From a folder into it, and looked at again.
#[test]
fn each_way_into_an_account_copies() {
    let Some(openstack) = OpenStack::shared("all ways into a Swift") else { return };
    let bytes = |size: usize| (0..size).map(|at| u8::try_from(at % 251).expect("small")).collect::<Vec<u8>>();
    for (number, WayIn { store, environment, account }) in ways(&openstack).into_iter().enumerate() {
        let mut bed = Bed::new(&openstack);
        std::fs::create_dir(bed.path("dumps")).expect("a folder");
        for (name, size) in DUMPS {
            std::fs::write(bed.path("dumps").join(name), bytes(size)).expect("it can be written");
        }
        for (name, value) in environment {
            bed.set(name, &value);
        }
        let here = "\n  here: { store: { type: file, path: dumps } }";
        let there =
            format!("\n  there: {{ store: {{ type: swift, {store}, container: way-{number}, segment_size: 1MiB }} }}");
        let entries = DUMPS.map(|(name, _)| format!("{{ location: {name}, from: here, to: [there] }}"));
        bed.plan(&[here, &there], &entries);
        assert_eq!(bed.forecast(&[]).code, Some(0), "{store}");
        bed.run().expect(0);
        bed.backhaul(&["verify", "--depth", "full", "plan.yaml"]).expect(0);

        let container = format!("/v1/{account}/way-{number}/");
        let is_put =
            |asked: &Request| asked.method == "PUT" && asked.status < 300 && asked.path.starts_with(&container);
        let put: Vec<Request> = openstack.swift_log(TWO).into_iter().filter(is_put).collect();
        // A plain object, and three segments and their manifest.
        assert_eq!(put.len(), 5, "{store}: {put:#?}");
    }
}

/// Segments that a listing holds together: one piece, and afterwards a plain object.
#[test]
fn a_dynamic_large_object_arrives_as_what_it_is_at_that_moment() {
    let Some(openstack) = OpenStack::shared("a dynamic large object") else { return };
    let [source, target] = [ONE, TWO].map(|region| openstack.account(region, "alpha"));
    let put = |path: &str, headers: &[(&str, &str)], body: &str| {
        by_operator(&openstack, "PUT", &format!("{source}/{path}"), headers, body);
    };
    let parts = ["first, ".repeat(1_000), "second, ".repeat(2_000), "third".to_owned()];
    put("dumps", &[], "");
    for (number, part) in parts.iter().enumerate() {
        put(&format!("dumps/part-{number}"), &[], part);
    }
    put("dumps/whole", &[("X-Object-Manifest", "dumps/part-"), ("X-Object-Meta-Made", "by hand")], "");

    let bed = Bed::new(&openstack);
    let one = "\n  region-one: { store: { type: swift, cloud: region-one-mover-alpha } }";
    let two = "\n  region-two: { store: { type: swift, cloud: region-two-mover-alpha, container: arrived } }";
    let entry = "{ location: dumps/whole, from: region-one, to: [region-two] }".to_owned();
    bed.plan(&[one, two], &[entry]);
    assert_eq!(bed.forecast(&[]).code, Some(0));
    bed.run().expect(0);
    bed.backhaul(&["verify", "--depth", "full", "plan.yaml"]).expect(0);
    let there = by_operator(&openstack, "GET", &format!("{target}/arrived/whole"), &[], "");
    assert_eq!(there.body, parts.concat());
    assert_eq!((there.header("x-object-manifest"), there.header("x-object-meta-made")), (None, Some("by hand")));
}
