//! A source whose backups are told by Trove's API: no database of Trove's is needed to leave a region.

use backhaul::state::State;

use crate::bed::{Bed, READ_API, WRITE_EACH, answered, asked, others_are_untouched, select};
use crate::evacuated::{RIGHT, WRONG, copy_id, in_trove};
use crate::openstack::{ONE, OpenStack, TWO};
use crate::restored::links_are;

const TENANTS: [&str; 2] = ["from-api", "from-api-two"];

#[test]
fn a_region_is_left_by_its_troves_api() {
    let Some(openstack) = OpenStack::shared("Trove's API as a source") else { return };
    openstack.add_tenants(&TENANTS);
    let seeds = openstack.seed(&["from-api/standard", "from-api-two/small"]);
    let mut bed = Bed::new(&openstack);
    bed.set("ONE_DB", "mysql://nobody@127.0.0.1:1/nothing");
    bed.plan(&[READ_API, WRITE_EACH], &[select(&openstack, &TENANTS)]);

    let dry_run = bed.forecast(&[]);
    // The API shows no checksum, so it cannot be held against the object: what it says of it is right, whatever the row says.
    let wrong = |name: &str| WRONG.contains(&name) && name != "bad-checksum";
    assert_eq!(dry_run.code, Some(3), "{:#?}", dry_run.totals);
    for planned in &dry_run.planned {
        let name = planned["name"].as_str().expect("a name");
        assert_eq!(planned["failure"].is_null(), !wrong(name), "{planned}");
    }
    let run = bed.run().expect(3);
    let rows = bed.rows();
    let planned = |tenant: &str| {
        let is_planned = |name: &&str| !matches!(*name, "failed" | "deleted");
        seeds.of(tenant).into_iter().filter(|backup| is_planned(&&*backup.name)).collect::<Vec<_>>()
    };
    let all: Vec<_> = TENANTS.iter().flat_map(|tenant| planned(tenant)).collect();
    assert_eq!(rows.len(), all.len(), "{run}");
    for of in &all {
        let row = rows.iter().find(|row| row.source_id.as_deref() == Some(&*of.id)).expect("it is planned");
        let expected = if wrong(&of.name) { State::Failed } else { State::Completed };
        assert_eq!(row.state, expected, "{}: {:?}", of.name, row.error);
    }

    for tenant in TENANTS {
        let right: Vec<_> = planned(tenant).into_iter().filter(|of| RIGHT.contains(&&*of.name)).collect();
        let copy =
            |of: &str| rows.iter().find(|row| row.source_id.as_deref() == Some(of)).map(copy_id).expect("planned");
        let copies: Vec<String> = right.iter().map(|of| copy(&of.id)).collect();
        let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
        for (of, read) in right.iter().zip(openstack.try_restore_all(TWO, tenant, &copies)) {
            let links = read.unwrap_or_else(|why| panic!("{tenant} cannot restore {}: {why}", of.name));
            links_are(&links, &seeds, of, &openstack.account(TWO, tenant));
            let shown = openstack.shown(TWO, tenant, &copy(&of.id));
            assert_eq!(
                (&shown["created"], shown["size"].as_f64()),
                (&(&*of.created).into(), Some(of.size)),
                "{}",
                of.name
            );
            let expected = openstack.datastore_version(TWO, &of.datastore, &of.datastore_version);
            assert_eq!(shown["datastore"]["version_id"], *expected, "{}", of.name);
        }
    }

    // Whether `encrypted` can be restored there, nobody but the operator can say.
    let unknown = "1 copied and restorable only with their key (.enc)";
    let status = bed.backhaul(&["status", "plan.yaml"]);
    assert!(status.stdout.contains(unknown), "{status}");
    let with_key = format!("{WRITE_EACH}\n    backup_key_present: true");
    bed.plan(&[READ_API, &with_key], &[select(&openstack, &TENANTS)]);
    assert!(!bed.forecast(&[]).totals["notes"].to_string().contains("backup_aes_cbc_key"));

    let (before, there) = (answered(&openstack, TWO), in_trove(&openstack, &TENANTS));
    let again = bed.run().expect(3);
    assert!(!again.stderr.contains("registered:"), "{again}");
    assert!(asked(&openstack, TWO, &TENANTS, before).iter().all(|asked| !asked.writes()));
    assert_eq!(in_trove(&openstack, &TENANTS), there);
    assert!(!bed.backhaul(&["status", "plan.yaml"]).stdout.contains(unknown));
    bed.backhaul(&["verify", "--depth", "quick", "plan.yaml"]).expect(0);
    let compare = bed.backhaul(&["compare", "--from", ONE, "--to", TWO, "plan.yaml"]);
    let note = "note: backup strategies and quotas are not moved; this catalog does not show them";
    assert!(compare.stdout.contains(note), "{compare}");
    others_are_untouched(&openstack);
}
