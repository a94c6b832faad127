//! Swift to a store of another kind, and from there to the other region: chains restore at the end of the way.

use backhaul::state::State;

use crate::bed::{Bed, READ_EACH, WRITE_ALL, others_are_untouched, select};
use crate::openstack::{OpenStack, TWO};
use crate::restored::links_are;
use crate::s3::{self, S3Server};

const KEYS: [&str; 2] = ["AKIDVAULT", "vault+secret/of=the tests"];

/// A tenant's backups, out of region-one into the region that `vault` tells, and from there into region-two.
fn through(openstack: &OpenStack, tenant: &str, vault: &str) {
    openstack.add_tenants(&[tenant]);
    let seeds = openstack.seed(&[&format!("{tenant}/standard")]);
    let vault = format!("\n  vault: {{ store: {vault} }}");
    let with_keys = || {
        let mut bed = Bed::new(openstack);
        bed.set("VAULT_ID", KEYS[0]);
        bed.set("VAULT_SECRET", KEYS[1]);
        bed
    };
    let wrong = ["bad-checksum", "gone-object", "gone-segment", "c-full", "c-inc1", "snapshot"];
    // A vault has no datastore versions, so an old one is no worse there.
    let right: Vec<_> =
        seeds.of(tenant).into_iter().filter(|b| b.expect == "ok" || b.expect == "version-missing").collect();
    let except: Vec<String> = wrong
        .map(|name| format!("{{ id: {}, reason: it is wrong }}", seeds.backup(&format!("{tenant}/{name}")).id))
        .into();

    let out = with_keys();
    let entry = select(openstack, &[tenant]).replace("[region-two]", "[vault]");
    let entry = entry.replacen("] }", &format!("], except: [{}] }}", except.join(", ")), 1);
    out.plan(&[READ_EACH, &vault], &[entry]);
    assert_eq!(out.forecast(&[]).code, Some(0));
    out.run().expect(0);
    out.run().expect(0);
    for depth in ["quick", "full"] {
        out.backhaul(&["verify", "--depth", depth, "plan.yaml"]).expect(0);
    }
    for row in out.rows() {
        let of = right.iter().find(|backup| row.source_id.as_ref() == Some(&backup.id)).expect("asked for");
        assert_eq!(row.state, State::Completed, "{}: {:?}", row.name, row.error);
        assert_eq!(row.sha256.map(|sha256| sha256.to_string()), of.sha256, "{}", row.name);
    }

    // The vault is all that is left.
    let back = with_keys();
    let target = WRITE_ALL.replace("access: reseller", "access: reseller, segment_size: 1MiB")
        + "\n    datastore_versions: { mysql/5.6.51: mysql/5.7.29 }";
    back.plan(&[&vault, &target], &["{ select: { from: vault }, to: [region-two] }".to_owned()]);
    assert_eq!(back.forecast(&[]).code, Some(0));
    back.run().expect(0);
    back.run().expect(0);
    for depth in ["quick", "full"] {
        back.backhaul(&["verify", "--depth", depth, "plan.yaml"]).expect(0);
    }

    let account = openstack.account(TWO, tenant);
    let rows = back.rows();
    let by_name = |name: &str| rows.iter().find(|row| row.name == name).expect("it is planned");
    let copies: Vec<String> = right.iter().map(|backup| by_name(&backup.name).id.to_string()).collect();
    let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
    for (backup, read) in right.iter().zip(openstack.try_restore_all(TWO, tenant, &copies)) {
        let links = read.unwrap_or_else(|why| panic!("{} cannot be restored: {why}", backup.name));
        links_are(&links, &seeds, backup, &account);
        // As Trove had it, although the vault has no containers.
        let container = format!("{account}/{}/", backup.container);
        assert!(links.iter().all(|link| link.location.starts_with(&container)), "{links:?}");
        let chain = seeds.chain(backup);
        for (link, made) in links.iter().zip(chain) {
            assert_eq!(Some(&link.checksum), by_name(&made.name).etag.as_ref(), "{}", made.name);
        }
    }
    let old = &by_name("old-version").datastore_version_id;
    assert_eq!(old.as_deref(), Some(&*openstack.datastore_version(TWO, "mysql", "5.7.29")));
    assert_eq!(openstack.listed(TWO, tenant).len(), right.len());
    others_are_untouched(openstack);
}

#[test]
fn through_a_folder_into_the_other_region() {
    let Some(openstack) = OpenStack::shared("a folder between two Swifts") else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    through(&openstack, "folder", &format!("{{ type: file, path: {} }}", folder.path().join("vault").display()));
}

#[test]
fn through_a_bucket_into_the_other_region() {
    let Some(openstack) = OpenStack::shared("a bucket between two Swifts") else { return };
    let [access_key_id, secret_access_key] = KEYS;
    let server = S3Server::start(s3::Options { access_key_id, secret_access_key, ..s3::Options::default() });
    let vault = format!(
        "{{ type: s3, bucket: backups, prefix: trove/, endpoint: \"{}\", region: eu-1, access_key_id: \"${{VAULT_ID}}\", \
         secret_access_key: \"${{VAULT_SECRET}}\" }}",
        server.endpoint()
    );
    through(&openstack, "bucket", &vault);
}
