use super::*;

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text, true).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn message(text: &str) -> String {
    Endpoint::parse(text, false).expect_err(text).message
}

#[test]
fn one_place_has_one_authority() {
    for (text, authority) in [
        ("https://S3.Example.COM", "s3.example.com"),
        ("https://s3.example.com/", "s3.example.com"),
        ("https://s3.example.com:443", "s3.example.com"),
        ("http://s3.example.com:80", "s3.example.com"),
        ("https://s3.example.com:80", "s3.example.com:80"),
        ("HTTP://127.0.0.1:9000", "127.0.0.1:9000"),
        ("http://[0:0:0:0:0:0:0:1]:9000", "[::1]:9000"),
        ("https://[2001:DB8::1]", "[2001:db8::1]"),
        ("http://minio_1:9000", "minio_1:9000"),
    ] {
        assert_eq!(endpoint(text).authority(), authority, "{text}");
    }
    assert_eq!(endpoint("HTTPS://Host:443/").url(), "https://host");
    assert_eq!(endpoint("http://Host:443/").url(), "http://host:443");
}

#[test]
fn plain_http_is_for_this_machine() {
    for text in ["http://localhost", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:9000"] {
        assert!(Endpoint::parse(text, false).is_ok_and(|endpoint| endpoint.is_loopback()), "{text}");
    }
    for text in ["http://10.0.0.1", "http://localhost.example", "http://[::ffff:127.0.0.1]", "http://128.0.0.1"] {
        assert!(message(text).starts_with("is `http://` to another machine"), "{text}");
        assert!(!endpoint(text).is_https() && !endpoint(text).is_loopback());
    }
}

#[test]
fn hosts_that_some_read_as_another_address_are_refused() {
    for host in [
        "127.1",
        "0x7f000001",
        "2130706433",
        "1.2.3.4.5",
        "127.0.0.256",
        "localhost.",
        ".a",
        "a..b",
        "-a",
        "a b",
        "ä.example",
        "",
        "[127.0.0.1]",
        "[::1",
        "::1",
        "good\\",
        "a%2eb",
        "a,b",
    ] {
        assert!(Endpoint::parse(&format!("https://{host}"), true).is_err(), "{host}");
    }
}

#[test]
fn what_is_no_endpoint_is_named() {
    assert_eq!(message("localhost:9000"), "is no URL");
    for scheme in ["ftp", "file", "gopher", "s3", "cinder", ""] {
        assert_eq!(message(&format!("{scheme}://host/")), "has another scheme than `https` and `http`");
    }
    assert_eq!(message("https://host/bucket"), "has a path");
    assert_eq!(message("https://host//"), "has a path");
    for port in ["0", "65536", "70000", "+80", "8a"] {
        assert_eq!(message(&format!("https://host:{port}")), "has no valid port", "{port}");
    }
    assert_eq!(message("https://host:"), "has no port behind its `:`");
}

#[test]
fn secrets_in_an_endpoint_are_not_in_its_error() {
    for (text, hidden) in [
        ("https://user:pw@host/", "user:pw"),
        ("https://good@evil/", "good"),
        ("https://good\\@evil/", "good\\"),
        ("https://host/a@b", "host/a"),
        ("https://host?sig=abc", "sig=abc"),
        ("https://host#abc", "abc"),
    ] {
        let error = Endpoint::parse(text, true).expect_err(text);
        assert_eq!(error.secret.map(|secret| &text[secret]), Some(hidden));
        assert!(!error.message.contains(hidden) && !error.hint.contains(hidden));
    }
    assert!(Endpoint::parse("https://host?", true).is_err_and(|error| error.secret.is_none()));
}

#[test]
fn buckets_have_the_names_that_their_clouds_allow() {
    for good in ["abc", "dr-vault", "a.b.c", "0-9", &"x".repeat(63), "1.2.3", "192.168.0.256"] {
        assert_eq!(check_s3_bucket(good), Ok(()));
        assert_eq!(check_gcs_bucket(good), Ok(()));
    }
    for bad in
        ["A_B", "ab", &"x".repeat(64), "192.168.0.1", "a/b", "-ab", "ab-", ".ab", "a..b", "äbc", "abC", "a b", ""]
    {
        assert!(check_s3_bucket(bad).is_err(), "{bad}");
        assert!(check_gcs_bucket(bad).is_err(), "{bad}");
    }
    assert!(check_s3_bucket("a_b").is_err());
    assert_eq!(check_gcs_bucket("a_b"), Ok(()));
    let long = ["x".repeat(63), "y".repeat(63), "z".repeat(63)].join(".");
    assert!(check_s3_bucket(&long).is_err());
    assert_eq!(check_gcs_bucket(&long), Ok(()));
    assert!(check_gcs_bucket(&format!("{long}.{}", "x".repeat(63))).is_err());
    assert_eq!(
        check_s3_bucket("A_B").map_err(|error| (error.message, error.hint)),
        Err((
            "is no bucket name: it has the character `A`".to_owned(),
            "3 to 63 lower-case letters, digits, `-`, `.`; the folder in it goes to `prefix`".to_owned()
        ))
    );
}

#[test]
fn containers_accounts_and_regions_have_rules_of_their_own() {
    for (name, is_good) in
        [("abc", true), ("a-b-c", true), ("a--b", false), ("a.b", false), ("$web", false), ("ab", false)]
    {
        assert_eq!(check_container(name).is_ok(), is_good, "{name}");
    }
    for (name, is_good) in [("devstoreaccount1", true), ("a-b", false), (&"x".repeat(25), false), ("ab", false)] {
        assert_eq!(check_account(name).is_ok(), is_good, "{name}");
    }
    for (name, is_good) in [("us-east-1", true), ("RegionOne", true), ("garage", true), ("", false), ("a.b", false)] {
        assert_eq!(check_s3_region(name).is_ok(), is_good, "{name}");
    }
}

#[test]
fn prefixes_are_folders() {
    assert_eq!(prefix("trove"), Ok("trove/".to_owned()));
    assert_eq!(prefix("trove/a b/"), Ok("trove/a b/".to_owned()));
    for bad in ["/", "/a", "a//", "a//b", "..", "a/../b", "./a", "a/%2e%2e", "", ".backhaul", "a/.backhaul/", "a\nb"] {
        assert!(prefix(bad).is_err(), "{bad:?}");
    }
}

/// Part of every target id: a change here would orphan copies.
#[test]
fn identities_are_pinned() {
    let aws = Cloud::S3 { region: "us-east-1" };
    assert_eq!(identity_of(aws, None, "bucket", "prefix/"), "s3://s3.us-east-1.amazonaws.com/bucket/prefix/");
    assert_eq!(identity_of(aws, None, "bucket", ""), "s3://s3.us-east-1.amazonaws.com/bucket/");
    assert_eq!(identity_of(aws, Some("minio:9000"), "b-1", "a/b/"), "s3://minio:9000/b-1/a/b/");
    assert_eq!(identity_of(Cloud::Gcs, None, "bucket", "p/"), "gcs://storage.googleapis.com/bucket/p/");
    let azure = Cloud::Azure { account: "acct" };
    assert_eq!(identity_of(azure, None, "box", "p/"), "azure://acct.blob.core.windows.net/acct/box/p/");
    assert_eq!(identity_of(azure, Some("127.0.0.1:10000"), "box", ""), "azure://127.0.0.1:10000/acct/box/");
}

#[test]
fn one_prefix_inside_another_overlaps() {
    let at = |bucket, prefix| identity_of(Cloud::Gcs, None, bucket, prefix);
    assert!(overlap(&at("abc", ""), &at("abc", "x/")));
    assert!(overlap(&at("abc", "x/y/"), &at("abc", "x/")));
    assert!(overlap(&at("abc", "x/"), &at("abc", "x/")));
    assert!(!overlap(&at("abc", "x/"), &at("abc", "xy/")));
    assert!(!overlap(&at("abc", ""), &at("abcd", "")));
    assert!(!overlap("s3://old/abc", "s3://old/abcd/") && overlap("s3://old/abc", "s3://old/abc/x/"));
}

#[test]
fn the_address_of_a_swift_ends_in_v1() {
    let url = |text: &str| swift_url(text, false).map_err(|error| error.message);
    for (text, expected) in [
        ("https://Swift.example.com", "https://swift.example.com/v1"),
        ("https://swift.example.com:443/v1/", "https://swift.example.com/v1"),
        ("https://host:8080/swift/v1", "https://host:8080/swift/v1"),
        ("http://127.0.0.1:18081/v1", "http://127.0.0.1:18081/v1"),
    ] {
        assert_eq!(url(text).as_deref(), Ok(expected), "{text}");
    }
    for (text, message) in [
        ("https://host/v1/AUTH_x", "does not end in `/v1`"),
        ("https://host/v1?x=1", "has a query behind its host"),
        ("https://u:p@host/v1", "has a user name or a password in it"),
        ("host/v1", "is no URL"),
        ("https:///v1", "has no valid host name or address"),
    ] {
        assert_eq!(url(text), Err(message.to_owned()), "{text}");
    }
    assert!(swift_url("http://host/v1", false).is_err());
    assert_eq!(service_url("https://host:35357/identity/v3/", false).as_deref(), Ok("https://host:35357/identity/v3"));
}

#[test]
fn the_name_of_a_swift_container_has_no_slash() {
    for name in ["database_backups", "z", "日本", "with space", &"c".repeat(256)] {
        assert_eq!(check_swift_container(name), Ok(()), "{name}");
    }
    for name in ["", ".", "..", "a/b", "a\nb", &"c".repeat(257), &"日".repeat(86)] {
        assert!(check_swift_container(name).is_err(), "{name}");
    }
}
