//! Sessions against a Keystone of our own. What the real one says is tested with the real one.

mod fake;

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use super::{Auth, ErrorKind, OpenStackError, OwnScope, ProjectName, Scope, Service, Session};
use fake::{Keystone, PASSWORD, user};

fn shown(error: &OpenStackError) -> String {
    let text = format!("{} | {} | {error:?}", error.message, error.hint.as_deref().unwrap_or_default());
    assert!(!text.contains(PASSWORD) && !text.contains("gAAAAAB"), "{text}");
    text
}

fn named(text: &str) -> ProjectName {
    ProjectName::parse(text)
}

#[tokio::test]
async fn a_hundred_tasks_make_one_request() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    let all = join_all((0..100).map(|_| session.token(&Scope::Own))).await;
    let first = all[0].as_ref().expect("a token");
    assert!(all.iter().all(|token| token.as_ref().is_ok_and(|token| token.header() == first.header())));
    assert_eq!(keystone.asked(), 1);
    assert_eq!((first.project_id.as_deref(), &first.roles[..]), (Some("id-sales"), &["member".to_owned()][..]));
    let body = json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": {
            "name": "demo", "domain": { "id": "default" }, "password": PASSWORD,
        } } },
        "scope": { "project": { "name": "sales", "domain": { "id": "default" } } },
    } });
    assert_eq!(keystone.bodies(), [body]);
}

#[tokio::test]
async fn each_project_has_a_token_of_its_own() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    for _ in 0..3 {
        for id in ["id-sales", "id-other"] {
            let token = session.token(&Scope::Project(id.to_owned())).await.expect("a token");
            assert_eq!(token.project_id.as_deref(), Some(id));
        }
    }
    assert_eq!(keystone.asked(), 2);
}

#[tokio::test]
async fn what_a_service_refuses_is_asked_for_once_more_and_no_further() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    session.project(&named("id-other")).await.expect("found");
    keystone.revoke_all();
    session.project(&named("id-other")).await.expect("found with a second token");
    assert_eq!((keystone.asked(), keystone.looked()), (2, 3));
    keystone.set(|settings| settings.refuses_tokens = true);
    let error = session.project(&named("id-other")).await.expect_err("refused twice");
    assert_eq!(error.kind, ErrorKind::Refused, "{}", shown(&error));
    assert_eq!((keystone.asked(), keystone.looked()), (3, 5));
}

#[tokio::test]
async fn a_token_that_is_not_the_one_any_more_is_not_forgotten_twice() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    let old = session.token(&Scope::Own).await.expect("a token");
    session.rejected(&Scope::Own, &old);
    let new = session.token(&Scope::Own).await.expect("a token");
    session.rejected(&Scope::Own, &old);
    assert_eq!(session.token(&Scope::Own).await.expect("a token").header(), new.header());
    assert_eq!(keystone.asked(), 2);
}

#[tokio::test]
async fn tokens_of_seconds_are_renewed_before_they_end() {
    let keystone = Keystone::start().await;
    keystone.set(|settings| settings.lifetime = Duration::from_secs(3));
    let session = keystone.session(user(PASSWORD));
    let other = ProjectName::Id("id-other".to_owned());
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(4) {
        let projects = join_all((0..4).map(|_| session.project(&other))).await;
        assert!(projects.iter().all(Result::is_ok), "a token ended: {projects:?}");
        count += 4;
    }
    assert_eq!(keystone.looked(), count, "a request was refused and repeated");
    assert_eq!(keystone.asked(), 2, "one for the first 2.25 s, and one for the rest");
}

#[tokio::test]
async fn while_keystone_is_down_good_tokens_are_given_out_and_then_it_is_named() {
    let mut keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    let token = session.token(&Scope::Own).await.expect("a token");
    keystone.down().await;
    assert_eq!(session.token(&Scope::Own).await.expect("still good").header(), token.header());
    session.rejected(&Scope::Own, &token);
    let error = session.token(&Scope::Own).await.expect_err("nobody is there");
    assert_eq!(error.kind, ErrorKind::Unreachable);
    let text = shown(&error);
    assert!(text.contains("Keystone at 127.0.0.1:") && text.contains("cannot connect"), "{text}");
    keystone.back().await;
    // What it said while it was away holds for nobody; only the gate may keep the first ones back.
    let mut tries = 0;
    let token = loop {
        match session.token(&Scope::Own).await {
            Ok(token) => break token,
            Err(error) if tries < 20 => assert_eq!(error.kind, ErrorKind::Unreachable),
            Err(error) => panic!("{error}"),
        }
        tries += 1;
    };
    assert_eq!(token.project_id.as_deref(), Some("id-sales"));
}

#[tokio::test]
async fn a_wrong_password_is_named_once_and_believed_for_a_while() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user("wrong"));
    let error = session.token(&Scope::Own).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused);
    let text = shown(&error);
    let words = ["refuses user `demo` of domain `default`", "password is wrong", "--os-cloud fake token issue"];
    assert!(text.starts_with("Keystone at 127.0.0.1:") && words.iter().all(|word| text.contains(word)), "{text}");
    let asked = keystone.asked();
    assert_eq!(asked, 2, "with and without the project");
    let again = join_all((0..50).map(|_| session.token(&Scope::Own))).await;
    assert!(again.into_iter().all(|token| token == Err(error.clone())));
    assert_eq!(keystone.asked(), asked, "or the user is locked out");
}

#[tokio::test]
async fn a_project_without_a_role_is_told_from_a_wrong_password() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    let error = session.token(&Scope::Project("id-foreign".to_owned())).await.expect_err("refused");
    let text = shown(&error);
    assert!(text.contains("lets user `demo` of domain `default` in, but not to project `id-foreign`"), "{text}");
    assert!(
        text.contains("openstack role add --project id-foreign --user demo --user-domain default member"),
        "{text}"
    );
    session.token(&Scope::Own).await.expect("its own project is open");
}

#[tokio::test]
async fn an_application_credential_stays_in_its_project_and_says_the_way_out() {
    let keystone = Keystone::start().await;
    let auth = Auth::ApplicationCredential { id: Ok("cred".to_owned()), secret: PASSWORD.into() };
    let session = keystone.session(auth);
    assert!(!session.can_scope());
    session.token(&Scope::Project("id-sales".to_owned())).await.expect("its own project");
    let error = session.token(&Scope::Project("id-other".to_owned())).await.expect_err("refused");
    let text = shown(&error);
    let words = [
        "application credential `cred`",
        "for project `sales` (id-sales) only",
        "project `id-other`",
        "ResellerAdmin",
        "role in each project",
    ];
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert_eq!(keystone.asked(), 1);
    assert_eq!(keystone.bodies()[0]["auth"].get("scope"), None);
    let stranger = Auth::ApplicationCredential { id: Ok("cred".to_owned()), secret: "wrong".into() };
    let error = keystone.session(stranger).token(&Scope::Own).await.expect_err("refused");
    assert!(shown(&error).contains("id or secret is wrong"), "{error}");
}

#[tokio::test]
async fn a_given_token_is_taken_as_it_is_and_never_shown() {
    let keystone = Keystone::start().await;
    let own = keystone.session(user(PASSWORD)).token(&Scope::Own).await.expect("a token");
    let text = own.header().to_str().expect("a text").to_owned();
    assert!(!format!("{own:?}").contains(&text));
    let given = |token: &str| Auth::Token { token: token.into(), scope: OwnScope::Unscoped };
    let token = keystone.session(given(&text)).token(&Scope::Own).await.expect("it is good");
    assert_eq!((token.header(), token.project_id.as_deref()), (own.header(), Some("id-sales")));
    let scope = OwnScope::ProjectId("id-other".to_owned());
    let scoped = Auth::Token { token: text.as_str().into(), scope };
    let token = keystone.session(scoped.clone()).token(&Scope::Own).await.expect("it may be made into another");
    assert_eq!(token.project_id.as_deref(), Some("id-other"));
    keystone.revoke_all();
    let error = keystone.session(scoped).token(&Scope::Own).await.expect_err("it has ended");
    assert!(shown(&error).contains("(Could not recognize Fernet token ***)"), "{error}");
    let error = keystone.session(given(&text)).token(&Scope::Own).await.expect_err("it has ended");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(
        shown(&error).contains("it has ended, or never was one (This is not a recognized Fernet token ***)"),
        "{error}"
    );
}

async fn endpoint(keystone: &Keystone, service: Service, region: Option<&str>) -> Result<String, String> {
    let cloud = super::Cloud { region_name: region.map(str::to_owned), ..keystone.cloud(user(PASSWORD)) };
    let session = Session::open(cloud, Duration::from_secs(5)).expect("a client");
    session.endpoint(&Scope::Own, service).await.map(|url| url.to_string()).map_err(|error| shown(&error))
}

#[tokio::test]
async fn endpoints_come_from_the_catalog_by_type_region_and_interface() {
    let keystone = Keystone::start().await;
    let swift = Service::ObjectStore;
    assert_eq!(endpoint(&keystone, swift, Some("one")).await.as_deref(), Ok("https://swift.one/v1/AUTH_id-sales"));
    assert_eq!(endpoint(&keystone, swift, Some("two")).await.as_deref(), Ok("https://swift.two/v1"));
    for (service, region, expected) in [
        (swift, Some("tow"), "no `object-store` in region `tow` | its regions: `one`, `two`"),
        (swift, None, "names no region, and its catalog has `object-store` in several"),
        (Service::Database, Some("one"), "no public address of `database` in region `one`"),
        (Service::Identity, Some("one"), "has no service `identity` | it has: `database`, `object-store`"),
    ] {
        let error = endpoint(&keystone, service, region).await.expect_err("not there");
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// S6: secrets go to another machine by `https://`, unless somebody has said otherwise.
#[tokio::test]
async fn plain_http_is_for_this_machine() {
    let keystone = Keystone::start().await;
    let open = |change: &dyn Fn(&mut super::Cloud)| {
        let mut cloud = keystone.cloud(user(PASSWORD));
        change(&mut cloud);
        Session::open(cloud, Duration::from_secs(5))
    };
    for (url, allows_http, refused) in [
        ("http://keystone.example.com:5000/v3", false, true),
        ("http://10.0.0.11:5000/v3", false, true),
        ("http://[::ffff:127.0.0.1]:5000/v3", false, true),
        ("http://keystone.example.com:5000/v3", true, false),
        ("https://keystone.example.com/v3", false, false),
        ("http://127.1:5000/v3", false, false),
        ("http://[::1]:5000/v3", false, false),
        ("http://localhost:5000/v3", false, false),
    ] {
        let opened = open(&|cloud| {
            cloud.auth_url = url.parse().expect("a URL");
            cloud.allows_http = allows_http;
        });
        assert_eq!(opened.as_ref().err().map(|error| error.kind), refused.then_some(ErrorKind::Bad), "{url}");
        if let Err(error) = opened {
            assert!(shown(&error).contains("`auth_url` of cloud `fake` is `http://` to another machine"), "{error}");
            assert!(shown(&error).contains("`insecure: true`"), "{error}");
        }
    }
    for (service, allows_http, refused) in
        [(Service::ObjectStore, false, true), (Service::Database, false, false), (Service::ObjectStore, true, false)]
    {
        let session = open(&|cloud| {
            cloud.allows_http = allows_http;
            let plain = "http://swift.example.com:8080/v1/AUTH_%(project_id)s".to_owned();
            cloud.endpoint_overrides.insert(Service::ObjectStore, plain);
            cloud.endpoint_overrides.insert(Service::Database, "https://trove".to_owned());
        });
        let session = session.expect("a client");
        let found = session.endpoint(&Scope::Own, service).await;
        assert_eq!(found.as_ref().err().map(|error| error.kind), refused.then_some(ErrorKind::Bad));
        if let Err(error) = found {
            assert!(
                shown(&error)
                    .contains("the endpoint of `object-store` of cloud `fake` is `http://` to another machine"),
                "{error}"
            );
            session.listed(&Scope::Own, service).await.expect("it may be looked at");
        }
    }
}

#[tokio::test]
async fn an_override_counts_instead_of_the_catalog() {
    let keystone = Keystone::start().await;
    let mut cloud = keystone.cloud(user(PASSWORD));
    cloud.endpoint_overrides.insert(Service::ObjectStore, "https://edge/v1/AUTH_%(project_id)s/".to_owned());
    cloud.endpoint_overrides.insert(Service::Database, "https://trove".to_owned());
    let session = Session::open(cloud, Duration::from_secs(5)).expect("a client");
    let url = session.endpoint(&Scope::Own, Service::Database).await.expect("a URL");
    assert_eq!((url.as_str(), keystone.asked()), ("https://trove/", 0));
    let scope = Scope::Project("id-other".to_owned());
    let url = session.endpoint(&scope, Service::ObjectStore).await.expect("a URL");
    assert_eq!(url.as_str(), "https://edge/v1/AUTH_id-other");
}

#[tokio::test]
async fn projects_are_found_by_id_and_by_domain_and_name() {
    let keystone = Keystone::start().await;
    let session = keystone.session(user(PASSWORD));
    for (text, expected) in [
        ("id-foreign", "id-foreign"),
        ("default/sales", "id-sales"),
        ("Default/sales", "id-sales"),
        ("id-acme/sales", "id-sales-of-acme"),
        ("acme/sales", "id-sales-of-acme"),
    ] {
        assert_eq!(session.project(&named(text)).await.expect("found").id, expected, "{text}");
    }
    for text in ["id-typo", "default/typo", "nowhere/sales"] {
        let error = session.project(&named(text)).await.expect_err("no such project");
        assert_eq!(error.kind, ErrorKind::NotFound);
        assert!(shown(&error).contains(&format!("knows no project `{text}`")), "{error}");
    }
}

#[tokio::test]
async fn a_domain_that_is_not_shown_is_not_another_one() {
    let keystone = Keystone::start().await;
    keystone.set(|settings| settings.may_see_domains = false);
    let session = keystone.session(user(PASSWORD));
    // The token names its own, and an id needs no look.
    for (text, expected) in [("Default/sales", "id-sales"), ("id-acme/sales", "id-sales-of-acme")] {
        assert_eq!(session.project(&named(text)).await.expect("found").id, expected, "{text}");
    }
    let error = session.project(&named("acme/sales")).await.expect_err("nobody knows whose");
    assert_eq!(error.kind, ErrorKind::Refused);
    let told = shown(&error);
    assert!(told.contains("the domain `acme` cannot be looked up by its name"), "{told}");
    assert!(told.contains("name the project by its domain's id, `id-acme/sales` if it is that one"), "{told}");
}

#[tokio::test]
async fn whoever_may_not_look_at_all_projects_finds_its_own() {
    let keystone = Keystone::start().await;
    keystone.set(|settings| settings.may_list = false);
    let session = keystone.session(user(PASSWORD));
    assert_eq!(session.project(&named("id-other")).await.expect("found").name, "other");
    assert_eq!(session.project(&named("Default/sales")).await.expect("found").id, "id-sales");
    let error = session.project(&named("id-foreign")).await.expect_err("hidden");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(shown(&error).contains("there is none, or it has no role in it"), "{error}");
}

/// A `TempAuth`, whose answer to every request this is.
async fn tempauth(answer: &'static str) -> Session {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            let request = String::from_utf8(request).expect("a text").to_lowercase();
            assert!(
                request.starts_with("get /auth/v1.0 ") && request.contains("x-auth-user: test:tester\r\n"),
                "{request}"
            );
            assert!(request.contains(&format!("x-auth-key: {PASSWORD}\r\n")), "{request}");
            stream.write_all(format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n").as_bytes()).await.expect("sent");
        }
    });
    let auth = Auth::V1 { user: "test:tester".to_owned(), key: PASSWORD.into() };
    let cloud = super::Cloud {
        name: "tempauth".to_owned(),
        origin: "the plan".to_owned(),
        auth_url: format!("http://{address}/auth/v1.0").parse().expect("a URL"),
        auth,
        region_name: None,
        interface: super::Interface::Public,
        cacert: None,
        verify: true,
        allows_http: false,
        endpoint_overrides: std::collections::BTreeMap::new(),
    };
    Session::open(cloud, Duration::from_secs(5)).expect("a client")
}

#[tokio::test]
async fn tempauth_gives_a_token_and_the_address_of_one_account() {
    let session = tempauth(
        "200 OK\r\nX-Auth-Token: AUTH_tk1\r\nX-Storage-Url: http://127.0.0.1:8080/v1/AUTH_test\r\n\
         X-Auth-Token-Expires: 86399\r\nContent-Length: 0",
    )
    .await;
    let token = session.token(&Scope::Own).await.expect("a token");
    assert_eq!(token.header(), "AUTH_tk1");
    assert_eq!(token.expires.duration_since(token.issued).as_secs(), 86399);
    let url = session.endpoint(&Scope::Own, Service::ObjectStore).await.expect("a URL");
    assert_eq!(url.as_str(), "http://127.0.0.1:8080/v1/AUTH_test");
    let error = session.endpoint(&Scope::Own, Service::Database).await.expect_err("there is no catalog");
    assert_eq!(error.kind, ErrorKind::NotFound);
    let error = session.token(&Scope::Project("p".to_owned())).await.expect_err("there are no projects");
    assert_eq!(error.kind, ErrorKind::Refused, "{}", shown(&error));
}

#[tokio::test]
async fn what_tempauth_refuses_is_named() {
    let session = tempauth("401 Unauthorized\r\nContent-Length: 0").await;
    let error = session.token(&Scope::Own).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(shown(&error).contains("TempAuth at 127.0.0.1:"), "{error}");
    let session = tempauth("200 OK\r\nContent-Length: 0").await;
    let error = session.token(&Scope::Own).await.expect_err("no TempAuth");
    assert_eq!(error.kind, ErrorKind::Bad);
    assert!(shown(&error).contains("has no `X-Auth-Token`"), "{error}");
}
