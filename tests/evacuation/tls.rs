//! Keystone and Swift by TLS, whose authority only `cacert` of the cloud, or `ca_file` of the plan, vouches for.

use std::os::unix::fs::PermissionsExt as _;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::bed::Bed;
use crate::openstack::{OpenStack, TWO};
use crate::s3::Tls;

/// A way by TLS to a service, as long as its runtime lives; gives the URL of what `url` is the URL of.
fn by_tls(runtime: &Runtime, tls: &Tls, url: &str) -> String {
    let rest = url.strip_prefix("http://").expect("a URL of the lab");
    let (service, path) = rest.split_once('/').expect("a path");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("bound");
    let (service, acceptor) = (service.to_owned(), tls.acceptor());
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, acceptor) = (service.clone(), acceptor.clone());
            tokio::spawn(async move {
                // Who does not trust it goes away again.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut behind = TcpStream::connect(service).await.expect("the service listens");
                let _ = copy_bidirectional(&mut stream, &mut behind).await;
            });
        }
    });
    format!("https://{address}/{path}")
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let Some(openstack) = OpenStack::shared("Keystone and Swift by TLS") else { return };
    let runtime = Runtime::new().expect("a runtime");
    let tls = Tls::new();
    let keystone = by_tls(&runtime, &tls, &openstack.auth_url());
    let swift = by_tls(&runtime, &tls, &openstack.account(TWO, "alpha"));
    let mut bed = Bed::new(&openstack);
    bed.set("OS_CLIENT_CONFIG_FILE", &bed.path("clouds.yaml").display().to_string());
    bed.write("ca.pem", &tls.ca_pem);
    let cloud = |name: &str, more: &str| {
        format!(
            "  {name}: {{ region_name: {TWO}{more}, object_store_endpoint_override: \"{swift}\", auth: {{ auth_url: \
             \"{keystone}\", username: mover, password: mover-pw, user_domain_id: default, project_name: alpha, \
             project_domain_id: default }} }}\n"
        )
    };
    let ca = bed.path("ca.pem").display().to_string();
    let clouds = format!("clouds:\n{}{}", cloud("trusting", &format!(", cacert: \"{ca}\"")), cloud("doubting", ""));
    bed.write("clouds.yaml", &clouds);
    std::fs::set_permissions(bed.path("clouds.yaml"), std::fs::Permissions::from_mode(0o600)).expect("it is ours");
    std::fs::create_dir(bed.path("dumps")).expect("a folder");
    bed.write("dumps/a.bin", "some bytes");
    let plan = |store: &str| {
        let here = "\n  here: { store: { type: file, path: dumps } }";
        let there = format!("\n  there: {{ store: {{ type: swift, {store}, container: by-tls }} }}");
        bed.plan(&[here, &there], &["{ location: a.bin, from: here, to: [there] }".to_owned()]);
    };

    plan("cloud: doubting");
    for command in ["plan", "run"] {
        let said = bed.backhaul(&[command, "plan.yaml"]).expect(6);
        let host = keystone.trim_start_matches("https://").split('/').next().expect("a host");
        let why = format!(
            "Keystone at {host} of cloud `doubting` gives no answer: cannot connect to {host}: invalid peer certificate"
        );
        assert!(format!("{said}").contains(&why), "{why}: {said}");
    }
    for store in ["cloud: trusting", "cloud: doubting, ca_file: ca.pem"] {
        plan(store);
        assert_eq!(bed.forecast(&[]).code, Some(0), "{store}");
        let said = bed.run().expect(0);
        assert!(!said.stderr.contains("are not checked"), "{said}");
        bed.backhaul(&["verify", "--depth", "full", "plan.yaml"]).expect(0);
        std::fs::remove_file(bed.database()).expect("it was there");
    }
}
