use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::openstack::{Auth, Domain, Interface, OwnScope, Service, User};

/// A folder that is both the plan's and the home of somebody with this environment.
struct Place {
    folder: TempDir,
    variables: HashMap<String, String>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home").display().to_string();
        let variables = [("HOME", home.clone()), ("XDG_CONFIG_DIRS", home)];
        Self { folder, variables: variables.map(|(name, value)| (name.to_owned(), value)).into() }
    }

    fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
        self
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        let value = value.replace("PLACE", &self.folder.path().display().to_string());
        self.variables.insert(name.to_owned(), value);
        self
    }

    fn find(&self, cloud: Option<&str>, region: Option<&str>) -> Result<Cloud, OpenStackError> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let choice = CloudChoice { cloud: text(cloud), region: text(region) };
        find_cloud(&choice, &|name| self.variables.get(name).cloned(), self.folder.path())
    }

    fn cloud(&self, name: &str) -> Cloud {
        self.find(Some(name), None).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The error's text, the folder's name left out.
    fn error(&self, cloud: Option<&str>) -> String {
        let error = self.find(cloud, None).expect_err("refused");
        let text = format!("{} | {}", error.message, error.hint.unwrap_or_default());
        assert!(!text.contains("hunter2"), "{text}");
        text.replace(&self.folder.path().display().to_string(), "PLACE")
    }
}

const CLOUDS: &str = "clouds:
  one:
    region_name: region-one
    auth: { auth_url: \"https://keystone.one:5000\", username: demo, password: hunter2, project_name: demo,
            user_domain_id: default, project_domain_name: Sales }
  two:
    region_name: region-two
    auth_type: v3applicationcredential
    auth: { auth_url: \"https://keystone.two/v3/\", application_credential_id: abc, application_credential_secret: hunter2 }
";

fn password(cloud: &Cloud) -> (&User, &str, &OwnScope) {
    match &cloud.auth {
        Auth::Password { user, password, scope } => (user, password.reveal(), scope),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_of_clouds_yaml_is_read_whole() {
    let place = Place::new().file("clouds.yaml", CLOUDS);
    let one = place.cloud("one");
    assert_eq!(one.auth_url.as_str(), "https://keystone.one:5000/v3");
    let user = User::Name("demo".to_owned(), Domain::Id("default".to_owned()));
    let scope = OwnScope::ProjectName("demo".to_owned(), Domain::Name("Sales".to_owned()));
    assert_eq!(password(&one), (&user, "hunter2", &scope));
    assert_eq!((one.region_name.as_deref(), one.interface, one.verify), (Some("region-one"), Interface::Public, true));
    assert_eq!((one.cacert, one.endpoint_overrides.len()), (None, 0));
    let two = place.cloud("two");
    assert_eq!(two.auth_url.as_str(), "https://keystone.two/v3");
    assert_eq!(two.auth, Auth::ApplicationCredential { id: Ok("abc".to_owned()), secret: "hunter2".into() });
}

#[test]
fn no_secret_is_printed() {
    let place = Place::new().file("clouds.yaml", CLOUDS);
    for name in ["one", "two"] {
        let shown = format!("{:?}", place.cloud(name));
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
    }
}

#[test]
fn the_nearest_file_counts_and_the_environment_names_another() {
    let entry =
        |url: &str| format!("clouds: {{ x: {{ auth: {{ auth_url: \"https://{url}\", username: u, password: p }} }} }}");
    let place = Place::new().file("home/.config/openstack/clouds.yaml", &entry("home"));
    assert_eq!(place.cloud("x").auth_url.host_str(), Some("home"));
    let place = place.file("xdg/openstack/clouds.yml", &entry("xdg")).set("XDG_CONFIG_HOME", "PLACE/xdg");
    assert_eq!(place.cloud("x").auth_url.host_str(), Some("xdg"));
    let place = place.file("clouds.json", &entry("folder").replace("\\\"", "\""));
    assert_eq!(place.cloud("x").auth_url.host_str(), Some("folder"));
    let place = place.file("other.yaml", &entry("other")).set("OS_CLIENT_CONFIG_FILE", "PLACE/other.yaml");
    assert_eq!(place.cloud("x").auth_url.host_str(), Some("other"));
    // As the SDK: one that is named and not there is passed over.
    let place = place.set("OS_CLIENT_CONFIG_FILE", "PLACE/nowhere.yaml");
    assert_eq!(place.cloud("x").auth_url.host_str(), Some("folder"));
}

#[test]
fn secure_yaml_adds_what_nobody_should_read() {
    let clouds = "clouds: { x: { region_name: r, auth: { auth_url: \"https://k\", username: u, password: old } } }";
    let place = Place::new().file("clouds.yaml", clouds);
    let place =
        place.file("home/.config/openstack/secure.yaml", "clouds: { x: { auth: { password: hunter2 } }, y: {} }");
    let cloud = place.cloud("x");
    assert_eq!((password(&cloud).1, cloud.region_name.as_deref()), ("hunter2", Some("r")));
    assert!(cloud.origin.contains("clouds.yaml and ") && cloud.origin.ends_with("secure.yaml"), "{}", cloud.origin);
}

#[test]
fn a_file_with_a_secret_that_everybody_reads_is_refused_and_one_without_is_not() {
    let place = Place::new().file("clouds.yaml", CLOUDS);
    let path = place.folder.path().join("clouds.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(
        place.error(Some("one")),
        "everybody can read PLACE/clouds.yaml, which has a secret of cloud `one` | chmod 600 PLACE/clouds.yaml; or move \
         the secret to a secure.yaml beside it that nobody else can read"
    );
    let without = CLOUDS.replace(", password: hunter2", "");
    let place = place.file("clouds.yaml", &without).file("secure.yaml", "clouds: { one: { auth: { password: p } } }");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    assert_eq!(password(&place.cloud("one")).1, "p");
}

#[test]
fn the_environment_is_a_cloud_of_its_own() {
    let place = Place::new().file("clouds.yaml", CLOUDS);
    let variables = [
        ("OS_AUTH_URL", "http://127.0.0.1:5000/v2.0"),
        ("OS_USERNAME", "demo"),
        ("OS_PASSWORD", "hunter2"),
        ("OS_TENANT_NAME", "demo"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_REGION_NAME", "here"),
        ("OS_ENDPOINT_TYPE", "internalURL"),
        ("OS_INSECURE", "True"),
        ("OS_CACERT", "~/ca.pem"),
    ];
    let place = variables.into_iter().fold(place, |place, (name, value)| place.set(name, value));
    let cloud = place.find(None, None).expect("found");
    assert_eq!((cloud.name.as_str(), cloud.origin.as_str()), ("envvars", "the environment"));
    assert_eq!(cloud.auth_url.as_str(), "http://127.0.0.1:5000/v3");
    let scope = OwnScope::ProjectName("demo".to_owned(), Domain::Id("default".to_owned()));
    let user = User::Name("demo".to_owned(), Domain::Name("Default".to_owned()));
    assert_eq!(password(&cloud), (&user, "hunter2", &scope));
    assert_eq!((cloud.interface, cloud.verify), (Interface::Internal, false));
    assert_eq!(cloud.cacert, Some(place.folder.path().join("home/ca.pem")));
    assert_eq!(cloud.region_name.as_deref(), Some("here"));
    assert_eq!(place.find(Some("envvars"), Some("there")).expect("found").region_name.as_deref(), Some("there"));
    // A cloud that a plan names takes nothing of it.
    assert_eq!(place.cloud("one").region_name.as_deref(), Some("region-one"));
    let place = place.set("OS_CLOUD", "two");
    let two = place.find(None, None).expect("found");
    assert_eq!((two.name.as_str(), two.region_name.as_deref()), ("two", Some("here")));
}

#[test]
fn without_a_name_the_only_cloud_is_meant() {
    let one = "clouds: { x: { auth: { auth_url: \"https://k\", username: u, password: p } } }";
    assert_eq!(Place::new().file("clouds.yaml", one).find(None, None).expect("found").name, "x");
    assert_eq!(
        Place::new().file("clouds.yaml", CLOUDS).error(None),
        "no cloud is named, and PLACE/clouds.yaml has several | name one in the plan (`cloud:`) or by OS_CLOUD: `one`, `two`"
    );
    let nothing = Place::new().error(None);
    let looked = "no cloud is named, and there is no clouds.yaml that has one | it is looked for as OS_CLIENT_CONFIG_FILE, \
                  and in PLACE, ., PLACE/home/.config/openstack, PLACE/home/openstack, /etc/openstack";
    assert_eq!(nothing, looked);
}

#[test]
fn a_misspelt_cloud_is_named_with_the_one_that_was_meant() {
    let place = Place::new().file("clouds.yaml", CLOUDS);
    assert_eq!(place.error(Some("noe")), "there is no cloud `noe` in PLACE/clouds.yaml | did you mean `one`?");
    assert_eq!(
        place.error(Some("production")),
        "there is no cloud `production` in PLACE/clouds.yaml | its clouds: `one`, `two`"
    );
    assert!(Place::new().error(Some("one")).starts_with("no cloud `one` can be had: there is no clouds.yaml"));
}

#[test]
fn regions_have_values_of_their_own_and_a_plan_may_name_any() {
    let text = "clouds:
  x:
    regions: [a, { name: b, values: { interface: internal, auth: { project_name: of-b } } }]
    auth: { auth_url: \"https://{region_name}.example.com/identity\", username: u, password: p, project_name: of-all }
  y: { region_name: \"a,b\", auth: { auth_url: \"https://k\", username: u, password: p } }
";
    let place = Place::new().file("clouds.yaml", text);
    let region = |cloud: &str, region: Option<&str>| place.find(Some(cloud), region).expect("found");
    let a = region("x", None);
    assert_eq!((a.region_name.as_deref(), a.interface), (Some("a"), Interface::Public));
    assert_eq!(a.auth_url.as_str(), "https://a.example.com/identity/v3");
    let b = region("x", Some("b"));
    assert_eq!((b.region_name.as_deref(), b.interface), (Some("b"), Interface::Internal));
    assert_eq!(password(&b).2, &OwnScope::ProjectName("of-b".to_owned(), Domain::Id("default".to_owned())));
    assert_eq!(region("x", Some("c")).region_name.as_deref(), Some("c"));
    assert_eq!(region("y", None).region_name.as_deref(), Some("a"));
}

#[test]
fn old_names_merge_keys_and_all_ways_in_are_read() {
    let text = "base: &base { auth_url: \"https://k/v3\", user-domain-name: Users, project_domain_id: p1 }
clouds:
  tenant: { auth: { <<: *base, user_name: u, password: 12345678, tenant-id: t1 } }
  credential: { auth: { auth_url: \"https://k\", application_credential_name: n, username: u, application_credential_secret: s } }
  token: { auth_type: v3token, auth_token: t, auth: { auth_url: \"https://k\", project_id: p } }
  bare-token: { auth: { auth_url: \"https://k\", token: t } }
  system: { auth: { auth_url: \"https://k\", user_id: u1, password: p, system_scope: all } }
  domain: { auth: { auth_url: \"https://k\", username: u, password: p, domain_name: d } }
  v1: { auth_type: v1password, auth: { auth_url: \"https://s/auth/v1.0\", username: \"a:u\", password: k } }
  overrides:
    object-store-endpoint-override: \"https://s/v1/AUTH_%(project_id)s\"
    database_endpoint: \"https://t\"
    verify: false
    auth: { auth_url: \"https://k\", username: u, password: p }
";
    let place = Place::new().file("clouds.yaml", text);
    let tenant = place.cloud("tenant");
    let user = User::Name("u".to_owned(), Domain::Name("Users".to_owned()));
    assert_eq!(password(&tenant), (&user, "12345678", &OwnScope::ProjectId("t1".to_owned())));
    let of_default = |name: &str| User::Name(name.to_owned(), Domain::Id("default".to_owned()));
    let id = Err(("n".to_owned(), of_default("u")));
    assert_eq!(place.cloud("credential").auth, Auth::ApplicationCredential { id, secret: "s".into() });
    let scope = OwnScope::ProjectId("p".to_owned());
    assert_eq!(place.cloud("token").auth, Auth::Token { token: "t".into(), scope });
    assert_eq!(place.cloud("bare-token").auth, Auth::Token { token: "t".into(), scope: OwnScope::Unscoped });
    assert_eq!(password(&place.cloud("system")), (&User::Id("u1".to_owned()), "p", &OwnScope::System));
    assert_eq!(password(&place.cloud("domain")).2, &OwnScope::Domain(Domain::Name("d".to_owned())));
    let v1 = place.cloud("v1");
    assert_eq!(v1.auth, Auth::V1 { user: "a:u".to_owned(), key: "k".into() });
    assert_eq!(v1.auth_url.as_str(), "https://s/auth/v1.0");
    let overrides = place.cloud("overrides");
    assert!(!overrides.verify);
    assert_eq!(overrides.endpoint_overrides[&Service::ObjectStore], "https://s/v1/AUTH_%(project_id)s");
    assert_eq!(overrides.endpoint_overrides[&Service::Database], "https://t");
}

#[test]
fn what_gives_no_way_in_is_named_with_what_to_write() {
    let auth = "auth_url: \"https://k\", username: u, password: hunter2";
    let cases = [
        ("{ auth: { auth_url: \"https://k\", username: u } }", "there is no `password`"),
        ("{ auth: { username: u, password: hunter2 } }", "there is no `auth_url`"),
        (
            "{ profile: ovh, auth: { username: u, password: hunter2 } }",
            "the profile `ovh` of openstacksdk is not known here",
        ),
        ("{ auth_type: v3oidcpassword, auth: {} }", "`auth_type` `v3oidcpassword` is not supported"),
        ("{ auth_type: v3pasword, auth: {} }", "did you mean `v3password`?"),
        (&format!("{{ interface: private, auth: {{ {auth} }} }}"), "`interface` cannot be `private`"),
        (&format!("{{ identity_api_version: 2, auth: {{ {auth} }} }}"), "Keystone's API v2 is not spoken here"),
        (&format!("{{ verify: perhaps, auth: {{ {auth} }} }}"), "`verify` must be `true` or `false`"),
        (&format!("{{ cert: c.pem, auth: {{ {auth} }} }}"), "client certificates (`cert`) are not supported"),
        (
            "{ auth: { auth_url: \"https://u:hunter2@k\", username: u, password: p } }",
            "`auth_url` is no URL of a service",
        ),
        ("{ auth: { auth_url: \"keystone\", username: u, password: p } }", "`auth_url` is no URL of a service"),
        ("{ auth: { auth_url: \"https://k\", username: u, password: 1e5 } }", "YAML reads `password` as a number"),
        ("{ auth: { auth_url: \"https://k\", username: [u], password: p } }", "`username` must be a text"),
        ("text", "is no mapping"),
    ];
    for (entry, expected) in cases {
        let place = Place::new().file("clouds.yaml", &format!("clouds: {{ x: {entry} }}"));
        let error = place.error(Some("x"));
        assert!(error.contains(expected) && error.contains("cloud `x`"), "{entry}: {error}");
    }
    for (text, expected) in [
        ("clouds: { x: [", "PLACE/clouds.yaml:"),
        ("- a", "PLACE/clouds.yaml gives no clouds: it is no mapping"),
        ("clouds: []", "PLACE/clouds.yaml gives no clouds: `clouds` is no mapping"),
        ("", "there is no cloud `x` in PLACE/clouds.yaml"),
    ] {
        let error = Place::new().file("clouds.yaml", text).error(Some("x"));
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}
