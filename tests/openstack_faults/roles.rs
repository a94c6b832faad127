//! A role that may read and not write: what the dry run says with it, what a probe says, and the run.

use serde_json::Value;

use crate::bed::{Bed, DATABASE, EACH};
use crate::openstack::{ONE, OpenStack, TWO};

const TENANTS: [&str; 2] = ["faults-read-one", "faults-read-two"];

#[test]
fn a_role_that_may_read_and_not_write_is_told_before_and_in_the_run() {
    let Some(openstack) = OpenStack::shared("a role that may not write") else { return };
    let bed = Bed::new(&openstack, &TENANTS);
    let seeds = openstack.seed(&["faults-read-one/small", "faults-read-two/many:1"]);
    let auditor = bed.user(&[("operators", "SwiftReader"), ("operators", "admin")]);
    bed.cloud("auditor", TWO, &openstack.auth_url(), &auditor, "operators");
    bed.cloud("auditor-one", ONE, &openstack.auth_url(), &auditor, "operators");
    let before = TENANTS.map(|tenant| bed.there(tenant));
    // It reads all accounts, which suffices for a source, and as an administrator looks up projects.
    let source = "cloud: auditor-one, account: per-tenant, access: reseller";
    let target = "cloud: auditor, account: per-tenant, access: reseller";
    bed.plan_from(source, target, DATABASE, "retry: { attempts: 2 }");

    let seen = bed.forecast(&[]);
    assert_eq!(seen["write_permission"], "not tested");
    let who = format!("region `{TWO}` as user `{}` of project `operators`, roles: ", auditor.name);
    let notes = seen["notes"].as_array().expect("a list").iter().filter_map(Value::as_str);
    let roles = notes.filter_map(|note| note.strip_prefix(&who)).collect::<Vec<_>>();
    assert!(roles.len() == 1 && roles[0].split(", ").any(|role| role == "SwiftReader"), "{seen}");

    let said = bed.dry_run(&["--probe-writes"]).expect(3);
    let refusal = "answered 403: Access was denied to this resource";
    let hint = "hint: give the user a role that this Swift lets in (`operator_roles`, as `member`, in the project itself; \
                `ResellerAdmin` for all accounts), or use another user";
    for words in ["6 failed: the target cannot be written", refusal, hint] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    let said = bed.run(&[]).expect(3);
    for words in ["6 failed: the target cannot be written", refusal, hint] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    assert_eq!(TENANTS.map(|tenant| bed.there(tenant)), before);

    // With the right one, on one of the two projects only: the other is told of, and the one is not held up.
    let half = bed.user(&[(TENANTS[0], "member"), (TENANTS[1], "SwiftReader")]);
    bed.cloud("half", TWO, &openstack.auth_url(), &half, TENANTS[0]);
    bed.plan_from(source, &EACH.replace("two", "half"), DATABASE, "retry: { attempts: 2 }");
    let probed = bed.dry_run(&["--probe-writes", "--retry-failed"]).expect(3);
    assert!(probed.stdout.contains("1 failed: the target cannot be written"), "{probed}");
    assert!(
        probed.stdout.contains(&format!("AUTH_{}/database_backups/.backhaul/probe-", openstack.project(TENANTS[1]))),
        "{probed}"
    );
    assert_eq!(TENANTS.map(|tenant| bed.there(tenant)), before, "a probe leaves nothing");
    bed.run(&["--retry-failed"]).expect(3);
    bed.is_complete(TENANTS[0], &seeds.of(TENANTS[0]));
    assert_eq!(bed.there(TENANTS[1]), before[1]);

    bed.plan_from(source, EACH, DATABASE, "");
    let probed = bed.dry_run(&["--probe-writes", "--retry-failed"]).expect(0);
    assert!(probed.stdout.contains(&format!("region `{TWO}` can be written")), "{probed}");
    bed.run(&["--retry-failed"]).expect(0);
    bed.is_complete(TENANTS[1], &seeds.of(TENANTS[1]));
}
