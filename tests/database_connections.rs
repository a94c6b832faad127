//! The way to a database on a server: who is trusted with a password, and how fast one hears that nobody answers.

#[path = "support/database_server.rs"]
mod database_server;
mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use database_server::{DatabaseServer, Kind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use support::{Bed, Layout, Options, Output};
use tempfile::TempDir;

/// Gets to this machine, and is not taken for it: certificates are verified as for any other host.
const HOST: &str = "0.0.0.0";

/// Who vouches for servers.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA"))
    }
}

/// What a server has to show, in files of its folder.
struct Shown {
    certificate: PathBuf,
    key: PathBuf,
}

impl Shown {
    fn in_folder(folder: &Path) -> Self {
        Self { certificate: folder.join("server.pem"), key: folder.join("server.key") }
    }

    fn write(&self, certificate: &str, key: &str) {
        for (path, text) in [(&self.certificate, certificate), (&self.key, key)] {
            std::fs::write(path, text).expect("writable");
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("ours");
            database_server::give_to_server(path);
        }
    }

    /// A certificate for these names.
    fn write_for(&self, authority: &Authority, names: &[&str], change: impl FnOnce(&mut CertificateParams)) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &authority.0).expect("a certificate");
        self.write(&certificate.pem(), &key.serialize_pem());
    }

    /// Tells a server to show it, and to let nobody in without TLS.
    fn arguments(&self, kind: Kind) -> Vec<String> {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        match kind {
            Kind::MariaDb => vec![
                format!("--ssl-cert={certificate}"),
                format!("--ssl-key={key}"),
                "--require-secure-transport=ON".to_owned(),
            ],
            Kind::PostgreSql => {
                let rules = self.certificate.with_file_name("rules");
                std::fs::write(&rules, "hostssl all all 127.0.0.1/32 scram-sha-256\n").expect("writable");
                database_server::give_to_server(&rules);
                [
                    "ssl=on".to_owned(),
                    format!("ssl_cert_file={certificate}"),
                    format!("ssl_key_file={key}"),
                    format!("hba_file={}", rules.display()),
                ]
                .into_iter()
                .flat_map(|setting| ["-c".to_owned(), setting])
                .collect()
            }
        }
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// `backhaul COMMAND PLAN` with a database.
fn command(command: &str, url: &str) -> Output {
    let bed = Bed::with(Layout::Small, Options { database: Some(url.to_owned()), ..Options::default() });
    Output::of(bed.command(&[command]).arg(bed.plan()).output().expect("the binary starts"))
}

/// A server, what it shows, whom its client trusts, and the files of both.
struct Verified {
    server: DatabaseServer,
    shown: Shown,
    ours: Authority,
    files: TempDir,
}

impl Verified {
    /// One with a good certificate.
    fn start(kind: Kind) -> Option<Self> {
        let (ours, files) = (Authority::new(), tempfile::tempdir().expect("a folder"));
        let mut shown = None;
        let started = DatabaseServer::start_with(kind, |folder| {
            let good = shown.insert(Shown::in_folder(folder));
            good.write_for(&ours, &[HOST, "localhost"], |_| {});
            good.arguments(kind)
        });
        match started {
            Ok(server) => {
                block_on(server.create("t"));
                let verified = Self { server, shown: shown.expect("made before it starts"), ours, files };
                verified.file("ours.pem", &verified.ours.0.pem());
                Some(verified)
            }
            Err(why) => {
                support::skip("the certificates of a database server", &why);
                None
            }
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    }

    fn url(&self, host: &str, options: &str) -> String {
        server_url(self.server.kind, host, self.server.port, options)
    }

    /// The URL of who trusts our authority.
    fn trusting(&self, more: &str) -> String {
        self.url(HOST, &format!("ssl-ca={}{more}", self.files.path().join("ours.pem").display()))
    }

    /// Every command is refused with exactly this text.
    #[track_caller]
    fn refused(&self, url: &str, cause: &str, hint: &str) {
        let scheme = if self.server.kind == Kind::MariaDb { "mysql" } else { "postgres" };
        let place = format!("{scheme}://{HOST}:{}/t", self.server.port);
        let mut text = format!("error: the database `{place}` cannot be trusted\ncaused by: {cause}");
        if !hint.is_empty() {
            text += &format!("\n\nhint: {hint}");
        }
        for name in ["run", "status"] {
            let output = command(name, url).expect(6);
            assert_eq!(output.stderr.trim_end(), text, "backhaul {name}");
            assert!(!output.stderr.contains("root-pw"));
        }
    }

    /// The server shows from now on what was written.
    fn restart(&mut self) {
        let arguments = self.shown.arguments(self.server.kind);
        self.server.restart_with(arguments);
    }
}

fn authorities_are_verified(kind: Kind) {
    let Some(verified) = Verified::start(kind) else { return };
    let bed = Bed::with(Layout::Small, Options { database: Some(verified.trusting("")), ..Options::default() });
    bed.completes(0, "over a verified connection");
    // A path of the plan's database starts at the plan.
    std::fs::copy(verified.files.path().join("ours.pem"), bed.path().join("ca.pem")).expect("a copy");
    let mut status = bed.command(&["status"]);
    status.arg(bed.plan()).env("BED_DATABASE", verified.url(HOST, "ssl-ca=ca.pem")).current_dir("/");
    Output::of(status.output().expect("the binary starts")).expect(0);

    let others = verified.file("others.pem", &Authority::new().0.pem());
    for options in [String::new(), "ssl-mode=VERIFY_CA".to_owned(), format!("ssl-ca={others}")] {
        verified.refused(
            &verified.url(HOST, &options),
            "the server's certificate is signed by an authority that is not known here",
            "name the authority that signed it, a file in PEM: …?ssl-ca=PATH; on a network that you trust, \
             …?ssl-mode=DISABLED does without TLS",
        );
    }
    let empty = verified.file("empty.pem", "nothing\n");
    for (path, what) in
        [(&*empty, "it holds no certificate in PEM"), ("/nowhere/ca.pem", "No such file or directory (os error 2)")]
    {
        let url = verified.url(HOST, &format!("ssl-ca={path}"));
        verified.refused(&url, &format!("`ssl-ca` names `{path}`: {what}"), "");
    }
    // This machine itself is asked for no proof, unless one says so.
    command("status", &verified.url("127.0.0.1", "")).expect(0);
    let output = command("status", &verified.url("127.0.0.1", "ssl-mode=VERIFY_IDENTITY")).expect(6);
    assert!(output.stderr.contains("an authority that is not known here"), "{output}");
}

fn certificates_are_verified(kind: Kind) {
    let Some(mut verified) = Verified::start(kind) else { return };
    command("run", &verified.trusting("")).expect(0);

    verified.shown.write_for(&verified.ours, &["db.example"], |_| {});
    verified.restart();
    verified.refused(
        &verified.trusting(""),
        "the server's certificate is not for `0.0.0.0` but for `db.example`",
        "use that name in the URL, or have a certificate made for this one; …?ssl-mode=VERIFY_CA looks at the \
         authority and not at the name",
    );
    command("status", &verified.trusting("&ssl-mode=VERIFY_CA")).expect(0);

    verified.shown.write_for(&verified.ours, &[HOST], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    verified.restart();
    verified.refused(
        &verified.trusting(""),
        "the server's certificate has expired",
        "have a new certificate made, or set the clock of this machine",
    );

    verified.shown.write(&verified.ours.0.pem(), &verified.ours.0.key().serialize_pem());
    verified.restart();
    verified.refused(
        &verified.trusting(""),
        "the server shows the certificate of an authority (`CA:TRUE`) as its own",
        "have a certificate made for the server itself, with `basicConstraints = CA:FALSE`",
    );

    verified.server.restart_with(Vec::new());
    verified.refused(
        &verified.trusting(""),
        "the server offers no TLS",
        "turn TLS on at the server; on a network that you trust, …?ssl-mode=DISABLED does without",
    );
    command("status", &verified.url(HOST, "ssl-mode=DISABLED")).expect(0);
}

fn server_url(kind: Kind, host: &str, port: u16, options: &str) -> String {
    let scheme = if kind == Kind::MariaDb { "mysql" } else { "postgres" };
    format!("{scheme}://root:root-pw@{host}:{port}/t?{options}")
}

#[test]
fn the_authority_of_postgresql_is_verified() {
    authorities_are_verified(Kind::PostgreSql);
}

#[test]
fn the_authority_of_mariadb_is_verified() {
    authorities_are_verified(Kind::MariaDb);
}

#[test]
fn the_certificate_of_postgresql_is_verified() {
    certificates_are_verified(Kind::PostgreSql);
}

#[test]
fn the_certificate_of_mariadb_is_verified() {
    certificates_are_verified(Kind::MariaDb);
}

/// A user whom the server lets in, and lets do this much.
fn user_with(server: &DatabaseServer, name: &str, grants: &[&str]) -> String {
    let (create, user) = match server.kind {
        Kind::PostgreSql => (format!("CREATE ROLE {name} LOGIN PASSWORD 'root-pw'"), name.to_owned()),
        Kind::MariaDb => {
            let user = format!("{name}@'127.0.0.1'");
            (format!("CREATE USER {user} IDENTIFIED BY 'root-pw'"), user)
        }
    };
    let of_all = if server.kind == Kind::PostgreSql { "ALL TABLES IN SCHEMA public" } else { "t.*" };
    block_on(async {
        server.execute("t", &create).await;
        for grant in grants {
            server.execute("t", &format!("GRANT {grant} ON {of_all} TO {user}")).await;
        }
    });
    server_url(server.kind, "127.0.0.1", server.port, "").replace("//root:", &format!("//{name}:"))
}

fn missing_rights_are_told_on(kind: Kind) {
    let server = match DatabaseServer::start(kind) {
        Ok(server) => server,
        Err(why) => return support::skip("a user who may not", &why),
    };
    block_on(server.create("t"));
    let (scheme, port) = (if kind == Kind::MariaDb { "mysql" } else { "postgres" }, server.port);
    let refused = |name: &str, url: &str, of_postgresql: &str, of_mariadb: &str| {
        let output = command(name, url).expect(6);
        // The rest of the cause are the server's own words, which each version has its own way with.
        let start = format!("error: the database `{scheme}://127.0.0.1:{port}/t` refuses\ncaused by: ");
        let words = if kind == Kind::PostgreSql { of_postgresql } else { of_mariadb };
        let hint = "\n\nhint: the user needs SELECT, INSERT, UPDATE and DELETE on Backhaul's tables, and CREATE for the \
                    first run and after an upgrade";
        let text = output.stderr.trim_end();
        assert!(text.starts_with(&start) && text.contains(words) && text.ends_with(hint), "{kind:?}: {output}");
    };

    // No tables yet, and none may be made.
    let rights: &[&str] = if kind == Kind::MariaDb { &["SELECT, INSERT, UPDATE, DELETE"] } else { &[] };
    let works = user_with(&server, "works", rights);
    refused("run", &works, "permission denied for schema public", "CREATE command denied to user 'works'");
    command("run", &server.url("t", port)).expect(0);
    // One right is missing, which shows in the middle only.
    let lacks = user_with(&server, "lacks", &["SELECT, INSERT, DELETE"]);
    refused("run", &lacks, "permission denied for table", "UPDATE command denied to user 'lacks'");
    let looks = user_with(&server, "looks", &["SELECT"]);
    command("status", &looks).expect(0);
    refused("run", &looks, "permission denied for table", "command denied to user 'looks'");
    let wrong = works.replace(":root-pw@", ":other-pw@");
    refused("status", &wrong, "password authentication failed for user", "Access denied for user 'works'");
}

#[test]
fn missing_rights_are_told() {
    missing_rights_are_told_on(Kind::PostgreSql);
    missing_rights_are_told_on(Kind::MariaDb);
}

/// Longer than one try to connect, and far shorter than a pool would wait.
const SECONDS: Duration = Duration::from_secs(12);

#[test]
fn who_does_not_answer_is_named_in_seconds() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (deaf, _filling) = deaf();
    let no_answer = "no answer within 5 s";
    let ports = [
        (closed, "Connection refused (os error 111)"),
        (silent.local_addr().expect("bound").port(), no_answer),
        (deaf.local_addr().expect("bound").port(), no_answer),
    ];
    std::thread::scope(|scope| {
        for (port, why) in ports {
            for (kind, scheme) in [(Kind::MariaDb, "mysql"), (Kind::PostgreSql, "postgres")] {
                for name in ["run", "status", "verify", "gc"] {
                    scope.spawn(move || {
                        let began = Instant::now();
                        let output = command(name, &server_url(kind, "127.0.0.1", port, "")).expect(6);
                        let took = began.elapsed();
                        assert!(took < SECONDS, "backhaul {name} at {scheme} took {took:?}: {output}");
                        let text = format!(
                            "error: the database `{scheme}://127.0.0.1:{port}/t` cannot be reached\n\
                             caused by: Connection Error: error communicating with database: {why}\n\n\
                             hint: nothing was touched; run the same command again when it answers"
                        );
                        assert_eq!(output.stderr.trim_end(), text, "backhaul {name}");
                    });
                }
            }
        }
    });
}

/// A port that swallows every SYN: its queue is full, and nobody takes anything out of it.
fn deaf() -> (tokio::net::TcpListener, Vec<TcpStream>) {
    let listener = block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        socket.listen(1).expect("it listens")
    });
    let address = listener.local_addr().expect("bound");
    let mut filling = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
        filling.push(stream);
        assert!(filling.len() < 1_000, "the queue is never full");
    }
    (listener, filling)
}
