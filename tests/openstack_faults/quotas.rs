//! Quotas: of backups in Trove, of bytes in a container and in an account. Each is told before, fails what exceeds it and
//! nothing else, and once it is raised the next run has little to do.

use backhaul::failure::Cause;
use backhaul::state::State;

use crate::bed::{Bed, DATABASE, EACH};
use crate::openstack::{OpenStack, TWO};

const TENANT: &str = "faults-quota";

#[test]
fn a_quota_of_one_backup_takes_one() {
    let Some(openstack) = OpenStack::shared("a quota of one") else { return };
    let bed = Bed::new(&openstack, &[TENANT]);
    let seeds = openstack.seed(&["faults-quota/many:3"]);
    let project = openstack.project(TENANT);
    let quota = |limit: u32| {
        let row = format!("'{}', '{project}', 'backups', {limit}", uuid::Uuid::new_v4());
        openstack.sql(TWO, &format!("REPLACE INTO quotas (id, tenant_id, resource, hard_limit) VALUES ({row})"));
    };
    openstack.sql(TWO, &format!("DELETE FROM quotas WHERE tenant_id = '{project}'"));
    quota(1);
    bed.plan(EACH, DATABASE, "");
    let message = format!("tenant `{project}` may have 1 more backup in region `{TWO}`, and the plan has 3 for it");
    let hint = format!("raise it: openstack database quota update {project} backups 3");
    let seen = bed.forecast(&[]);
    let warnings = seen["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|told| told["message"] == *message && told["hint"] == *hint), "{seen}");

    let said = bed.run(&[]).expect(3);
    for words in [
        "2 failed: a quota of the target is reached",
        &format!("the tenant `{project}` may have 1 backup in Trove, and has as many"),
        &format!("hint: raise it: openstack database quota update {project} backups NUMBER"),
    ] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    let rows = bed.rows();
    assert_eq!(rows.iter().filter(|row| row.state == State::Completed).count(), 1);
    assert_eq!(rows.iter().filter(|row| row.cause == Some(Cause::Quota)).count(), 2);
    let usage = || {
        openstack.sql(
            TWO,
            &format!("SELECT in_use FROM quota_usages WHERE tenant_id = '{project}' AND resource = 'backups'"),
        )
    };
    assert_eq!((bed.there(TENANT).1.len(), usage()), (1, vec![vec!["1".to_owned()]]));

    // What is copied is not copied again.
    openstack.sql(TWO, &format!("DELETE FROM quotas WHERE tenant_id = '{project}'"));
    quota(3);
    let copied = bed.there(TENANT).0;
    bed.run(&["--retry-failed"]).expect(0);
    bed.is_complete(TENANT, &seeds.of(TENANT));
    assert_eq!((bed.there(TENANT).0, usage()), (copied, vec![vec!["3".to_owned()]]));
}

#[test]
fn a_container_or_an_account_takes_what_its_quota_lets_it() {
    let Some(openstack) = OpenStack::shared("quotas of Swift") else { return };
    let tenants = ["faults-container", "faults-account"];
    let bed = Bed::new(&openstack, &tenants);
    let seeds = openstack.seed(&["faults-container/small", "faults-account/small"]);
    let [container, account] = tenants.map(|tenant| openstack.account(TWO, tenant));
    let container = format!("{container}/database_backups");
    let set = |url: &str, name: &str, bytes: &str| {
        assert!((200..300).contains(&bed.by_operator("POST", url, &[(name, bytes)], "").status));
    };
    set(&container, "X-Container-Meta-Quota-Bytes", "700000");
    set(&account, "X-Account-Meta-Quota-Bytes", "700000");
    bed.plan(EACH, DATABASE, "retry: { attempts: 3 }");

    let seen = bed.forecast(&[]);
    let warned: Vec<&str> =
        seen["warnings"].as_array().expect("a list").iter().filter_map(|told| told["message"].as_str()).collect();
    for (tenant, what) in tenants.into_iter().zip(["container `AUTH_ID/database_backups`", "account `AUTH_ID`"]) {
        let what = what.replace("ID", &openstack.project(tenant));
        let words = format!("{what} of region `{TWO}` has room for ");
        assert!(warned.iter().any(|told| told.starts_with(&words)), "{words}: {warned:?}");
    }

    let said = bed.run(&[]).expect(3);
    for words in [
        "failed: a quota of the target is reached",
        "answered 413: Upload exceeds quota",
        "hint: raise the quota of the container or the account, or make room there",
    ] {
        assert!(said.stdout.contains(words), "{words}: {said}");
    }
    assert!(!said.stderr.contains("retry"), "waiting raises no quota: {said}");
    let rows = bed.rows();
    for tenant in tenants {
        let project = openstack.project(tenant);
        let of = rows.iter().filter(|row| row.tenant_id.as_deref() == Some(&*project));
        let failed: Vec<_> = of.filter(|row| row.state == State::Failed).collect();
        assert!(!failed.is_empty());
        for row in failed {
            assert!(matches!(row.cause, Some(Cause::Quota | Cause::ParentMissing)), "{}: {:?}", row.name, row.cause);
        }
        // What was begun in vain is not left in the way of who is short of room: nothing but finished copies is there.
        let (objects, _) = bed.there(tenant);
        let stems: std::collections::BTreeSet<&str> =
            objects.keys().filter_map(|name| name.split(['.', '_']).next()).collect();
        let finished: Vec<String> =
            rows.iter().filter(|row| row.sha256.is_some()).map(|row| row.id.to_string()).collect();
        for stem in stems {
            assert!(stem == "kept" || finished.iter().any(|id| id == stem), "{stem} was left: {objects:?}");
        }
    }

    set(&container, "X-Container-Meta-Quota-Bytes", "100000000");
    set(&account, "X-Account-Meta-Quota-Bytes", "100000000");
    bed.run(&["--retry-failed"]).expect(0);
    for tenant in tenants {
        bed.is_complete(tenant, &seeds.of(tenant));
    }
}
