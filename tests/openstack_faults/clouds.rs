//! Clouds that are written wrong: each is told with the place to look at, and nothing is touched.

use crate::bed::{Bed, DATABASE, EACH, User};
use crate::openstack::{ONE, OpenStack, TWO};
use crate::way::Way;

/// A plan whose target is another cloud than the right one.
fn with(bed: &Bed<'_>, cloud: &str) {
    bed.plan(&EACH.replace("two", cloud), DATABASE, "");
}

/// What a cloud is called that is wrong, what is said of it, and what else.
fn wrong_clouds(bed: &Bed<'_>, tenant: &str, wrong: &User) -> [(&'static str, String, String); 5] {
    let (openstack, url) = (bed.openstack, bed.openstack.auth_url());
    let host = url.trim_start_matches("http://").trim_end_matches("/v3").to_owned();
    bed.cloud("wrong-password", TWO, &url, wrong, tenant);
    bed.cloud("wrong-region", "region-tow", &url, &bed.mover, tenant);
    let User { name: mover, password } = &bed.mover;
    bed.cloud_as(
        "no-project",
        &format!(
            "region_name: {TWO}, auth: {{ auth_url: \"{url}\", username: {mover}, password: {password}, user_domain_id: default }}"
        ),
    );
    let stranger = bed.user(&[("alpha", "member")]);
    bed.cloud("no-role", TWO, &url, &stranger, tenant);
    let (stranger, project, file) = (&stranger.name, openstack.project(tenant), bed.path("clouds.yaml"));
    let file = file.display();
    [
        (
            "wrong-password",
            format!(
                "region `{TWO}`: Keystone at {host} refuses user `{mover}` of domain `default` of cloud `wrong-password`: name, domain or password is wrong"
            ),
            format!(
                "hint: the credentials are those of {file}; try them with: openstack --os-cloud wrong-password token issue"
            ),
        ),
        ("tow", format!("there is no cloud `tow` in {file}"), "hint: did you mean `two`?".to_owned()),
        (
            "wrong-region",
            format!("region `{TWO}`: the catalog of cloud `wrong-region` has no `object-store` in region `region-tow`"),
            "hint: its regions: `region-one`, `region-two`".to_owned(),
        ),
        (
            "no-role",
            format!(
                "region `{TWO}`: Keystone at {host} lets user `{stranger}` of domain `default` in, but not to project `{project}`: it has no role there, or there is no such project"
            ),
            format!("hint: an administrator gives one: openstack role add --project {project} --user {stranger}"),
        ),
        (
            "no-project",
            format!("region `{TWO}`: cloud `no-project` names no project, and without one Keystone tells no addresses"),
            format!("hint: write any project that its user has a role in as `project_name` in {file}"),
        ),
    ]
}

/// A region that cannot be used at all is no fault of its backups: nothing starts, and once it is mended a run takes them all.
#[test]
fn what_is_wrong_with_a_cloud_is_told_with_its_place() {
    let Some(openstack) = OpenStack::shared("clouds that are written wrong") else { return };
    let tenant = "faults-clouds";
    let mut bed = Bed::new(&openstack, &[tenant]);
    bed.set("WRONG_DB", &openstack.database_url(TWO, "target").replace("-db-pw@", "-no-pw@"));
    let seeds = openstack.seed(&["faults-clouds/many:1"]);
    let wrong = User { name: bed.mover.name.clone(), password: bed.secret() };
    let before = bed.there(tenant);
    for (cloud, message, hint) in wrong_clouds(&bed, tenant, &wrong) {
        with(&bed, cloud);
        for command in ["plan", "run"] {
            let said = bed.backhaul(&[command, "plan.yaml"]).expect(6);
            let text = format!("{said}");
            assert!(text.contains(&message), "{message}: {said}");
            assert!(text.contains(&hint), "{hint}: {said}");
        }
        assert_eq!(bed.there(tenant), before);
    }
    // As a source, it is the same.
    bed.cloud("wrong-password-one", ONE, &openstack.auth_url(), &wrong, tenant);
    bed.plan_from(&EACH.replace("two", "wrong-password-one"), EACH, DATABASE, "");
    let said = bed.run(&[]).expect(6);
    assert!(said.stdout.contains("region `region-one`: Keystone at "), "{said}");
    // And Trove's database.
    bed.plan(EACH, &DATABASE.replace("TWO_DB", "WRONG_DB"), "");
    let said = bed.run(&[]).expect(6);
    assert!(said.stdout.contains("Access denied for user"), "{said}");

    // Another name of the region was another store: what was to go there is told as what it is.
    with(&bed, "wrong-region");
    bed.run(&[]).expect(6);
    with(&bed, "two");
    let said = bed.run(&[]).expect(0);
    let elsewhere = "not taken by selects: 1 begun between stores that no region of the plan is now";
    assert!(said.stderr.contains(elsewhere), "{said}");
    assert!(!said.stderr.contains("gone from the source's records"), "{said}");
    let there = bed.there(tenant);
    assert_eq!((there.0.len(), there.1.len()), (before.0.len() + 1, seeds.of(tenant).len()));
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
            6,
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
