//! Trove's own restore, in the target alone.

use crate::bed::others_are_untouched;
use crate::evacuated::{Evacuated, Way};
use crate::openstack::{Backup, Link, ONE, OpenStack, Seeds, TWO};

/// Every link of a chain that was read is the source's, byte for byte, and lies in the tenant's own account.
#[track_caller]
pub(crate) fn links_are(links: &[Link], seeds: &Seeds, of: &Backup, account: &str) {
    let chain = seeds.chain(of);
    assert_eq!(links.len(), chain.len(), "{} of {}", of.name, of.tenant);
    for (link, made) in links.iter().zip(chain) {
        let bytes_and_digest = (Some(link.bytes), Some(&link.sha256));
        assert_eq!(bytes_and_digest, (made.bytes, made.sha256.as_ref()), "{} of {}", made.name, made.tenant);
        let object = link.location.strip_prefix(&format!("{account}/"));
        assert!(object.is_some(), "{} is not in {account}", link.location);
    }
}

#[track_caller]
fn restores(openstack: &OpenStack, done: &Evacuated) {
    for tenant in done.way.tenants() {
        let right = done.right(tenant);
        let copies: Vec<String> = right.iter().map(|backup| done.copy(backup)).collect();
        let copies: Vec<&str> = copies.iter().map(String::as_str).collect();
        let account = openstack.account(TWO, tenant);
        for (backup, read) in right.iter().zip(openstack.try_restore_all(TWO, tenant, &copies)) {
            let links = read.unwrap_or_else(|why| panic!("{tenant} cannot restore {}: {why}", backup.name));
            links_are(&links, &done.seeds, backup, &account);
            let container = format!("{account}/{}/", backup.container);
            assert!(links.iter().all(|link| link.location.starts_with(&container)), "{links:?}");
            if done.way != Way::Api {
                let kept = links.iter().map(|link| Some(&link.checksum));
                assert!(kept.eq(done.seeds.chain(backup).iter().map(|made| made.checksum.as_ref())), "{}", backup.name);
            }
        }
    }
}

#[test]
fn every_chain_with_the_source_stopped() {
    let test = "restores with the source's Swift stopped";
    let Some(openstack) = OpenStack::shared(test) else { return };
    let done = Way::ALL.map(|way| way.evacuated(&openstack));
    drop(openstack);

    let Some(openstack) = OpenStack::alone(test) else { return };
    openstack.stop_swift(ONE);
    for done in done {
        restores(&openstack, done);
    }
    let of_alpha = Way::Reseller.evacuated(&openstack);
    for name in ["shop-full", "shop-inc1", "shop-inc2"] {
        let backup = of_alpha.seeds.backup(&format!("alpha/{name}"));
        let rows = openstack.restore_in_server(TWO, "alpha", &of_alpha.copy(backup));
        assert_eq!(Some(&rows), backup.rows.as_ref(), "{name}");
    }
    let why = openstack.try_restore(ONE, "alpha", &of_alpha.seeds.backup("alpha/plain").id);
    assert!(why.is_err_and(|why| why.contains("Connection refused")), "the source is stopped");
    others_are_untouched(&openstack);
}
