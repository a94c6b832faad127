//! Tokens that end while a copy goes on, and a Keystone that is down for a while.

use std::time::Instant;

use crate::bed::{Bed, DATABASE, EACH, User};
use crate::openstack::{ONE, OpenStack, Request, TWO};
use crate::support::wait_until;
use crate::way::Way;

/// Seconds that a token is good for in these tests: copies take several times as long.
const SHORT: u32 = 8;

/// Eight segments of a MiB, one in two seconds.
const SLOW: &str = "limits: { bandwidth: 512KiB/s }";
const SEGMENTS: usize = 8;

/// While it lives, tokens end soon.
struct Short<'o>(&'o OpenStack);

impl<'o> Short<'o> {
    fn of(openstack: &'o OpenStack) -> Self {
        openstack.give_tokens_of(SHORT);
        Self(openstack)
    }
}

impl Drop for Short<'_> {
    fn drop(&mut self) {
        self.0.give_tokens_of(86_400);
    }
}

fn host(openstack: &OpenStack) -> String {
    openstack.auth_url().trim_start_matches("http://").trim_end_matches("/v3").to_owned()
}

/// Segments that the binary has put into a tenant's account.
fn put(openstack: &OpenStack, tenant: &str) -> usize {
    let account = format!("AUTH_{}/", openstack.project(tenant));
    let is_put = |asked: &Request| {
        let is_ours = asked.path.contains(&account) && asked.agent.starts_with("backhaul/");
        is_ours && asked.method == "PUT" && asked.status == 201 && !asked.path.contains("multipart-manifest=put")
    };
    openstack.swift_log(TWO).into_iter().filter(is_put).count()
}

#[test]
fn a_long_copy_outlives_its_tokens_and_a_keystone_that_is_down() {
    let Some(openstack) = OpenStack::alone("tokens of a few seconds") else { return };
    let beds = ["faults-tokens", "faults-down", "faults-ended"].map(|tenant| Bed::new(&openstack, &[tenant]));
    let seeds = openstack.seed(&["faults-tokens/large:8", "faults-down/large:8"]);
    let _short = Short::of(&openstack);
    let [tokens, down, ended] = &beds;
    tokens_are_renewed(tokens);
    tokens.is_complete("faults-tokens", &seeds.of("faults-tokens"));
    keystone_is_waited_for(down);
    down.is_complete("faults-down", &seeds.of("faults-down"));
    a_token_that_was_given_ends(ended);
}

/// F37, F38: ahead of their end, by few requests.
fn tokens_are_renewed(bed: &Bed<'_>) {
    let (openstack, tenant) = (bed.openstack, &bed.tenants[0]);
    // Every token of the binary comes by this way.
    let way = Way::to(&openstack.auth_url());
    for (name, region) in [("one-counted", ONE), ("two-counted", TWO)] {
        bed.cloud(name, region, &format!("{}/v3", way.url()), &bed.mover, tenant);
    }
    let store = |cloud: &str| format!("cloud: {cloud}, account: per-tenant, access: each-project");
    bed.plan_from(&store("one-counted"), &store("two-counted"), DATABASE, SLOW);
    let began = Instant::now();
    let run = bed.backhaul(&["run", "--json", "plan.yaml"]).expect(0);
    let lasted = began.elapsed().as_secs();
    for word in ["\"type\":\"failed\"", "\"type\":\"retrying\"", "401"] {
        assert!(!run.stdout.contains(word), "{word}: {run}");
    }
    let asked = way.asked().into_iter().filter(|asked| asked.method == "POST").count();
    // Two clouds for sixteen seconds or more, and a new token after three quarters of eight.
    let renewals = usize::try_from(lasted / u64::from(SHORT * 3 / 4)).expect("few");
    assert!((4..=8 + 8 * renewals).contains(&asked), "{asked} tokens in {lasted} s");
    for region in [ONE, TWO] {
        let refused = |asked: &&Request| asked.status == 401 && asked.agent.starts_with("backhaul/");
        // Only what was under way for all the two seconds that its token had left, on a busy machine.
        let ended: Vec<Request> = openstack.swift_log(region).iter().filter(refused).cloned().collect();
        assert!(ended.len() <= renewals / 2, "tokens had ended: {ended:?}");
    }
}

fn keystone_is_waited_for(bed: &Bed<'_>) {
    let (openstack, tenant) = (bed.openstack, &bed.tenants[0]);
    bed.plan(EACH, DATABASE, SLOW);
    let mut run = bed.start(&["run", "--json", "plan.yaml"]);
    wait_until("three segments", || put(openstack, tenant) > 3);
    openstack.stop_keystone();
    run.says("\"type\":\"retrying\"");
    run.says(&format!("Keystone at {} of cloud `", host(openstack)));

    // Who begins now is told, and nothing is begun.
    let said = bed.dry_run(&["--database", "sqlite://other.db"]).expect(6);
    for words in [
        &*format!(
            "region `{TWO}`: Keystone at {0} of cloud `two` gives no answer: cannot connect to {0}: ",
            host(openstack)
        ),
        "hint: it is asked again; if it stays so, look at `auth_url` of cloud `two` in ",
    ] {
        assert!(format!("{said}").contains(words), "{words}: {said}");
    }
    openstack.start_keystone();
    let run = run.end().expect(0);
    assert!(!run.stdout.contains("\"type\":\"failed\""), "{run}");
    assert_eq!(put(openstack, tenant), SEGMENTS, "each is sent once");
}

/// Nobody can renew it; with another one the copy goes on where it was.
fn a_token_that_was_given_ends(bed: &Bed<'_>) {
    let (openstack, tenant) = (bed.openstack, &*bed.tenants[0]);
    std::fs::create_dir(bed.path("dumps")).expect("a folder");
    bed.write("dumps/big.bin", &"0123456789abcdef".repeat(65_536 * SEGMENTS));
    bed.write(
        "plan.yaml",
        &format!(
            "version: 1\nname: faults\ndatabase: sqlite://faults.db\nregions:\n\
             \x20 here: {{ store: {{ type: file, path: dumps }} }}\n\
             \x20 region-two: {{ store: {{ type: swift, cloud: given, container: vault, segment_size: 1MiB }} }}\n\
             retry: {{ max_delay: 1s }}\n{SLOW}\nbackups:\n  - {{ location: big.bin, from: here, to: [region-two] }}\n"
        ),
    );
    let given = |user: &User| {
        let token = bed.token(user, tenant);
        let (region, url) = (TWO, openstack.auth_url());
        bed.cloud_as(
            "given",
            &format!("region_name: {region}, auth_type: token, auth: {{ auth_url: \"{url}\", token: {token} }}"),
        );
    };
    given(&bed.mover);
    let said = bed.run(&[]).expect(3);
    for words in [
        &*format!("Keystone at {} refuses the token of cloud `given`: it has ended, or never was one", host(openstack)),
        "hint: a token cannot be renewed: get another one, or use a user or an application credential for long runs",
    ] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    let before = put(openstack, tenant);
    assert!((1..SEGMENTS).contains(&before), "{before} segments");

    openstack.give_tokens_of(86_400);
    bed.forget_cloud("given");
    given(&bed.mover);
    bed.run(&["--retry-failed"]).expect(0);
    let url = format!("{}/vault/big.bin", openstack.account(TWO, tenant));
    let size = bed.by_operator("HEAD", &url, &[], "");
    assert_eq!(size.header("content-length"), Some(&*(SEGMENTS << 20).to_string()));
}
