//! Clouds that are written wrong: each is told with the place to look at, and nothing is touched.

use crate::bed::{Bed, DATABASE, EACH, User};
use crate::openstack::{ONE, OpenStack, TWO};
use crate::way::Way;

/// A plan whose target is another cloud than the right one.
fn with(bed: &Bed<'_>, cloud: &str) {
    bed.plan(&EACH.replace("two", cloud), DATABASE, "");
}

#[test]
fn what_is_wrong_with_a_cloud_is_told_with_its_place() {
    let Some(openstack) = OpenStack::shared("clouds that are written wrong") else { return };
    let bed = Bed::new(&openstack, &["faults-clouds"]);
    openstack.seed(&["faults-clouds/many:1"]);
    let (url, tenant) = (openstack.auth_url(), "faults-clouds");
    let host = url.trim_start_matches("http://").trim_end_matches("/v3").to_owned();
    let wrong = User { name: bed.mover.name.clone(), password: bed.secret() };
    bed.cloud("wrong-password", TWO, &url, &wrong, tenant);
    bed.cloud("wrong-region", "region-tow", &url, &bed.mover, tenant);
    let stranger = bed.user(&[("alpha", "member")]);
    bed.cloud("no-role", TWO, &url, &stranger, tenant);
    let file = bed.path("clouds.yaml");
    let file = file.display();
    let before = bed.there(tenant);
    let mover = &bed.mover.name;
    for (cloud, code, message, hint) in [
        (
            "wrong-password",
            3,
            format!(
                "Keystone at {host} refuses user `{mover}` of domain `default` of cloud `wrong-password`: name, domain or password is wrong"
            ),
            format!(
                "hint: the credentials are those of {file}; try them with: openstack --os-cloud wrong-password token issue"
            ),
        ),
        ("tow", 6, format!("there is no cloud `tow` in {file}"), "hint: did you mean `two`?".to_owned()),
        (
            "wrong-region",
            3,
            "the catalog of cloud `wrong-region` has no `object-store` in region `region-tow`".to_owned(),
            "hint: its regions: `region-one`, `region-two`".to_owned(),
        ),
        (
            "no-role",
            3,
            format!(
                "Keystone at {host} lets user `{}` of domain `default` in, but not to project `{}`: it has no role there, or there is no such project",
                stranger.name,
                openstack.project(tenant)
            ),
            format!(
                "hint: an administrator gives one: openstack role add --project {} --user {}",
                openstack.project(tenant),
                stranger.name
            ),
        ),
    ] {
        with(&bed, cloud);
        for command in ["plan", "run"] {
            let said = bed.backhaul(&[command, "plan.yaml"]);
            assert_eq!(said.code, Some(code), "{cloud}: {said}");
            let text = format!("{said}");
            assert!(text.contains(&message), "{message}: {said}");
            assert!(text.contains(&hint), "{hint}: {said}");
        }
        assert_eq!(bed.there(tenant), before);
    }
}

/// S6: what is sent to another machine for all to read must be allowed, and certificates that nobody checks are told of.
#[test]
fn plain_http_to_another_machine_must_be_allowed() {
    let Some(openstack) = OpenStack::shared("http to another machine") else { return };
    let bed = Bed::new(&openstack, &["faults-http"]);
    let seeds = openstack.seed(&["faults-http/many:1"]);
    let (keystone, swift) = (Way::to(&openstack.auth_url()), Way::to(&openstack.account(TWO, "faults-http")));
    let trove = Way::to(&openstack.trove_url(TWO));
    let auth_url = format!("{}/v3", keystone.url_as_of_another_machine());
    let user = &bed.mover;
    bed.cloud("plain", TWO, &auth_url, user, "faults-http");
    bed.cloud_as(
        "plain-swift",
        &format!(
            "region_name: {TWO}, object_store_endpoint_override: \"{}/v1/AUTH_%(project_id)s\", auth: {{ auth_url: \"{}\", \
             username: {}, password: {}, user_domain_id: default, project_id: {} }}",
            swift.url_as_of_another_machine(),
            openstack.auth_url(),
            user.name,
            user.password,
            openstack.project("faults-http")
        ),
    );
    for (cloud, code, message) in [
        (
            "plain",
            6,
            format!(
                "`auth_url` of cloud `plain` is `http://` to another machine, {}",
                keystone.url_as_of_another_machine()
            ),
        ),
        (
            "plain-swift",
            3,
            format!(
                "the endpoint of `object-store` of cloud `plain-swift` is `http://` to another machine, {}",
                swift.url_as_of_another_machine()
            ),
        ),
    ] {
        with(&bed, cloud);
        for command in ["plan", "run"] {
            let said = bed.backhaul(&[command, "plan.yaml"]);
            assert_eq!(said.code, Some(code), "{cloud}: {said}");
            let text = format!("{said}");
            assert!(
                text.contains(&format!("{message}: whoever is on the way could read passwords and backups")),
                "{said}"
            );
            assert!(text.contains("hint: have it answer by `https://`, or allow it in the region's store of the plan: `insecure: true`"), "{said}");
        }
    }
    assert_eq!((keystone.asked().len(), swift.asked().len()), (0, 0), "nobody was asked");

    // Under another name of Keystone these are other regions.
    bed.forget_runs();
    // Allowed, by a catalog with an address of its own too; the plan's warning is there in every run.
    let store = format!(
        "{}, insecure: true, endpoint: \"{}/v1\"",
        EACH.replace("two", "plain"),
        swift.url_as_of_another_machine()
    );
    bed.plan(&store, &format!("{{ type: trove-api, endpoint: \"{}/v1.0\" }}", trove.url_as_of_another_machine()), "");
    let run = bed.run(&[]).expect(0);
    assert!(
        run.stderr.contains("hint: give the store a certificate, then write `https://` and remove `insecure`"),
        "{run}"
    );
    bed.is_complete("faults-http", &seeds.of("faults-http"));
    for way in [keystone, swift, trove] {
        assert!(!way.asked().is_empty());
    }
}

#[test]
fn certificates_that_nobody_checks_are_warned_of_in_every_command() {
    let Some(openstack) = OpenStack::shared("a cloud with verify: false") else { return };
    let bed = Bed::new(&openstack, &["faults-unchecked"]);
    let user = &bed.mover;
    for (name, region) in [("blind-one", ONE), ("blind-two", TWO)] {
        bed.cloud_as(
            name,
            &format!(
                "region_name: {region}, verify: false, auth: {{ auth_url: \"{}\", username: {}, password: {}, \
                 user_domain_id: default, project_id: {} }}",
                openstack.auth_url(),
                user.name,
                user.password,
                openstack.project("faults-unchecked")
            ),
        );
    }
    openstack.seed(&["faults-unchecked/many:1"]);
    let each = |cloud: &str| EACH.replace("two", cloud);
    bed.plan_from(&each("blind-one"), &each("blind-two"), DATABASE, "");
    let warning = |cloud: &str, region: &str| {
        format!(
            "warning: the certificates of cloud `{cloud}`, region `{region}`, are not checked: whoever is on the way could read \
             passwords and backups\nhint: name its certificate authority as `cacert` in {}, and remove `verify: false` or \
             `insecure: true` there\n",
            bed.path("clouds.yaml").display()
        )
    };
    for command in [
        &["plan", "plan.yaml"][..],
        &["run", "plan.yaml"],
        &["run", "plan.yaml"],
        &["verify", "plan.yaml"],
        &["compare", "plan.yaml", "--from", "region-one", "--to", "region-two"],
        &["gc", "plan.yaml"],
    ] {
        let said = bed.backhaul(command);
        for (cloud, region) in [("blind-one", ONE), ("blind-two", TWO)] {
            assert_eq!(said.stderr.matches(&warning(cloud, region)).count(), 1, "{command:?}: {said}");
        }
        // What other tests have in region-one counts for `compare`.
        assert!(said.code == Some(0) || command[0] == "compare", "{said}");
    }
}
