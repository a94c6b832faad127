//! Credentials that the plan does not have: from the environment, a container's service, the machine's metadata service,
//! and a role that is taken on by a token. The services are of the test, and answer as Amazon's documentation says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::bed::{Bed, Options, Route, SECRETS, small};
use super::support::Output;

const ID: &str = "AKIDSOURCE";
const SESSION: &str = "a session of the tests";

/// Answers one request after the other, as long as the process lives; `answer` has method, path and headers.
fn service(answer: impl Fn(&str, &str, &str) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("two ends"));
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("the body");
            let mut words = head.split_whitespace();
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let asked = format!("{head}{}", String::from_utf8_lossy(&body));
            let (status, body) = match answer(method, path, &asked) {
                Some(body) => ("200 OK", body),
                None => ("403 Forbidden", String::new()),
            };
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            // Who has gone away does not want it.
            let _gone = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}")
}

/// The names that the services of containers and machines use.
fn keys(secret: &str) -> String {
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"{ID}","SecretAccessKey":"{secret}","Token":"{SESSION}",
            "LastUpdated":"2026-01-01T00:00:00Z","Expiration":"{expires}"}}"#
    )
}

fn run(prepare: impl FnOnce(&mut Command, &Path)) -> (Bed, Output) {
    let bed = Bed::with(Route::Between, small(), Options { attempts: 1, ..Options::default() });
    let plan = std::fs::read_to_string(bed.plan()).expect("the plan");
    let without = plan.replace(r#" access_key_id: "${SOURCE_ID}", secret_access_key: "${SOURCE_SECRET}","#, "");
    assert_ne!(plan, without, "the source has no keys any more");
    std::fs::write(bed.plan(), without).expect("the plan");
    let mut command = bed.command("run", &["-v"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env_remove("SOURCE_ID").env_remove("SOURCE_SECRET");
    prepare(&mut command, bed.path());
    let output = Output::of(command.output().expect("the binary starts"));
    for secret in SECRETS.into_iter().chain([SESSION]) {
        assert!(!output.to_string().contains(secret), "a secret is said: {output}");
    }
    (bed, output)
}

#[track_caller]
fn copies(what: &str, prepare: impl FnOnce(&mut Command, &Path)) {
    let (bed, output) = run(prepare);
    output.expect(0);
    bed.is_complete(what);
}

#[test]
fn keys_of_the_environment() {
    copies("keys", |command, _| {
        command.env("AWS_ACCESS_KEY_ID", ID).env("AWS_SECRET_ACCESS_KEY", SECRETS[0]);
        // What else it says has no say.
        command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").env("AWS_REGION", "mars-1").env("AWS_BUCKET", "other");
    });
}

#[test]
fn keys_of_a_container() {
    copies("container", |command, folder| {
        std::fs::write(folder.join("pod-token"), "pod token").expect("a token");
        let service = service(|_, path, asked| {
            (path == "/keys" && asked.contains("authorization: pod token")).then(|| keys(SECRETS[0]))
        });
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{service}/keys"));
        command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", folder.join("pod-token"));
    });
}

#[test]
fn keys_of_a_machine() {
    copies("machine", |command, _| {
        let service = service(|method, path, asked| match (method, path) {
            ("put", "/latest/api/token") => Some("machine token".to_owned()),
            _ if !asked.contains("x-aws-ec2-metadata-token: machine token") => None,
            ("get", "/latest/meta-data/iam/security-credentials/") => Some("runner".to_owned()),
            ("get", "/latest/meta-data/iam/security-credentials/runner") => Some(keys(SECRETS[0])),
            _ => None,
        });
        command.env("AWS_METADATA_ENDPOINT", service);
    });
}

#[test]
fn keys_of_a_role() {
    copies("role", |command, folder| {
        std::fs::write(folder.join("web-token"), "web-token-of-the-tests").expect("a token");
        let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let service = service(move |_, path, asked| {
            let is_it = asked.contains("web-token-of-the-tests") || path.contains("web-token-of-the-tests");
            is_it.then(|| {
                format!(
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                     <SessionToken>{SESSION}</SessionToken><SecretAccessKey>{}</SecretAccessKey><AccessKeyId>{ID}\
                     </AccessKeyId><Expiration>{expires}</Expiration></Credentials>\
                     </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                    SECRETS[0]
                )
            })
        });
        command.env("AWS_WEB_IDENTITY_TOKEN_FILE", folder.join("web-token"));
        command.env("AWS_ROLE_ARN", "arn:aws:iam::1:role/runner").env("AWS_ENDPOINT_URL_STS", service);
    });
}

#[test]
fn a_service_that_gives_none_is_told() {
    let service = service(|_, _, _| None);
    let (bed, output) = run(|command, _| {
        command.env("AWS_METADATA_ENDPOINT", &service);
    });
    assert_eq!(output.code, Some(3), "{output}");
    // The service's address, which is not the store's.
    let said_no = format!("{} answered 403", service.trim_start_matches("http://"));
    assert!(output.to_string().contains(&said_no), "{output}");
    assert!(bed.copies().is_empty() && bed.source.requests().is_empty());
}
