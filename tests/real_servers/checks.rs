//! What holds with every server, and what a server was seen to do.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use backhaul::database::{Database, DatabaseUrl, PartRow, Row};
use backhaul::id::{Key, Sha256Digest};
use backhaul::state::State;
use backhaul::store::{
    BucketStore, Layout, Metadata, ObjectFacts, Proof, Shape, Source, StoreErrorKind, Target, Upload,
};
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{Attribute, Attributes, PutMode, PutOptions};
use rustix::process::Signal;

use super::server::Server;
use super::support::{BACKHAUL, Output, Running, digest, files, wait_until};

const PART: usize = 5 * 1024 * 1024;

/// Says what was seen, past the test harness, which keeps what a passing test prints to itself.
fn tell(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// The same bytes for the same seed.
fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(size).collect()
}

fn command(server: &Server, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BACKHAUL);
    command.args(arguments).current_dir(folder).env("REAL_KEY", server.key());
    for name in ["BACKHAUL_FAULT", "BACKHAUL_FAULT_LOG", "BACKHAUL_DATABASE_URL"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn backhaul(server: &Server, folder: &Path, arguments: &[&str]) -> Output {
    let output = Output::of(command(server, folder, arguments).output().expect("the binary starts"));
    assert!(!output.stdout.contains(server.key()) && !output.stderr.contains(server.key()), "a secret: {output}");
    output
}

/// A plan between the folder `laptop`, both buckets, and the folder `back`.
fn write_plan(server: &Server, folder: &Path, name: &str, rest: &str) {
    let (one, two) = (server.in_plan("one"), server.in_plan("two"));
    let text = format!(
        "version: 1\nname: {name}\ndatabase: sqlite://{name}.db\nregions:\n  \
           laptop: {{ store: {{ type: file, path: ./laptop }} }}\n  \
           back: {{ store: {{ type: file, path: ./back }} }}\n  \
           one: {{ store: {one} }}\n  \
           two: {{ store: {two} }}\n\
         {rest}\n"
    );
    fs::write(folder.join(format!("{name}.yaml")), text).expect("writable");
}

/// None while there is no database that can be read.
fn rows(server: &Server, database: &Path) -> Option<Vec<(Row, Vec<PartRow>)>> {
    let url = DatabaseUrl::parse(&format!("sqlite://{}", database.display())).expect("a path");
    server.block_on(async {
        let database = Database::open_reading(&url).await.ok()?;
        let mut all = Vec::new();
        for row in database.all_rows().await.ok()? {
            let parts = database.parts(row.id).await.ok()?;
            all.push((row, parts));
        }
        database.close().await;
        Some(all)
    })
}

/// A chain goes from a folder to one bucket, from there to the other, and from there to a folder: each time by the
/// records that the step before left. What travels with an object that somebody else put there arrives as well.
pub(crate) fn copies_in_between_and_out(server: &Server) {
    let folder = server.folder("copies");
    fs::create_dir_all(folder.join("laptop/dumps")).expect("writable");
    fs::write(folder.join("laptop/dumps/full.gz"), bytes(1, 2 * PART + 12_345)).expect("writable");
    fs::write(folder.join("laptop/dumps/inc 1+ä.gz"), bytes(2, 70_000)).expect("writable");
    fs::write(folder.join("laptop/dumps/empty"), "").expect("writable");
    let into = "defaults: { to: [one], part_size: 5MiB }\n\
                backups:\n\
                \x20 - { location: dumps/full.gz, from: laptop, name: full }\n\
                \x20 - { location: \"dumps/inc 1+ä.gz\", from: laptop, parent: dumps/full.gz }\n\
                \x20 - { location: dumps/empty, from: laptop }\n";
    write_plan(server, &folder, "into", into);
    backhaul(server, &folder, &["plan", "into.yaml"]).expect(0);
    let client = server.other_client("one");
    let listed = server.block_on(client.list_with_delimiter(None)).expect("a list");
    assert!(listed.objects.is_empty() && listed.common_prefixes.is_empty(), "a dry run wrote something");
    backhaul(server, &folder, &["run", "into.yaml"]).expect(0);
    for (row, _) in rows(server, &folder.join("into.db")).expect("rows") {
        assert_eq!(row.state, State::Completed);
        tell(&format!("{}: `{}` verified: {}", server.name(), row.name, row.verified.unwrap_or_default()));
    }

    let attributes = [
        (Attribute::ContentType, "application/gzip"),
        // It is not packed, and nobody may unpack it.
        (Attribute::ContentEncoding, "gzip"),
        (Attribute::ContentLanguage, "de"),
        (Attribute::CacheControl, "no-store"),
        (Attribute::Metadata("engine".into()), "mariadb"),
    ];
    let attributes: Attributes = attributes.into_iter().collect();
    for (name, size) in [("dumps/small", 9_000), ("dumps/large", PART + 1)] {
        let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
        let path = ObjectPath::parse(format!("vault/{name}")).expect("a path");
        server.block_on(client.put_opts(&path, bytes(3, size).into(), options)).expect("stored");
    }
    let between = "defaults: { to: [two], part_size: 5MiB }\n\
                   backups:\n\
                   \x20 - { select: { from: one } }\n\
                   \x20 - { location: dumps/small, from: one }\n\
                   \x20 - { location: dumps/large, from: one }\n";
    write_plan(server, &folder, "between", between);
    backhaul(server, &folder, &["run", "between.yaml"]).expect(0);
    let store = server.store("two");
    for name in ["dumps/small", "dumps/large"] {
        let there = server.block_on(store.head(&Key::parse(name).expect("a key"))).expect("it is there");
        let kept = |name: &str| there.metadata.get(name).map(String::as_str);
        assert_eq!(
            ["content-type", "content-encoding", "content-language", "cache-control", "engine"].map(kept),
            [Some("application/gzip"), Some("gzip"), Some("de"), Some("no-store"), Some("mariadb")],
            "{}: {name}",
            server.name()
        );
    }

    let out = "defaults: { to: [back] }\nbackups: [{ select: { from: two } }]\n";
    write_plan(server, &folder, "out", out);
    backhaul(server, &folder, &["run", "out.yaml"]).expect(0);
    let back = copies(&folder.join("back"));
    assert_eq!(back.len(), 5);
    for name in ["full.gz", "inc 1+ä.gz", "empty"] {
        assert!(back.contains(&digest(&folder.join("laptop/dumps").join(name))), "{name} did not come back");
    }
    // The bucket describes itself: no plan and no database are needed.
    let from = server.in_url("two");
    backhaul(server, &folder, &["init", "--from", &from, "--to", "again", "--name", "again", "-o", "again.yaml"])
        .expect(0);
    backhaul(server, &folder, &["--database", "sqlite://again.db", "run", "again.yaml"]).expect(0);
    assert_eq!(copies(&folder.join("again")), back);
    for plan in ["into.yaml", "between.yaml", "out.yaml"] {
        backhaul(server, &folder, &["verify", plan]).expect(0);
        // All is there: nothing is copied again.
        backhaul(server, &folder, &["run", plan]).expect(0);
    }
}

/// Digests of all objects of a region's folder, sorted.
fn copies(region: &Path) -> Vec<Sha256Digest> {
    let is_record = |path: &Path| path.components().any(|part| part.as_os_str() == ".backhaul");
    let mut copies: Vec<_> = files(region).iter().filter(|path| !is_record(path)).map(|path| digest(path)).collect();
    copies.sort_unstable_by_key(|digest| digest.0);
    copies
}

/// A run is killed in the middle of an object of several parts; the next one sends no more than three of them again.
pub(crate) fn goes_on_after_a_kill(server: &Server) {
    const PARTS: usize = 8;
    let folder = server.folder("killed");
    fs::create_dir(folder.join("laptop")).expect("writable");
    fs::write(folder.join("laptop/large"), bytes(4, PARTS * PART)).expect("writable");
    let plan = |limits: &str| {
        let rest = format!(
            "{limits}\ndefaults: {{ to: [one], part_size: 5MiB }}\n\
             backups: [{{ location: large, from: laptop }}]\n"
        );
        write_plan(server, &folder, "killed", &rest);
    };
    plan("limits: { bandwidth: 10MiB/s }");
    let mut run = Running::start(&mut command(server, &folder, &["run", "killed.yaml"]));
    let database = folder.join("killed.db");
    wait_until("some parts are stored", || {
        assert!(!run.has_ended(), "the run ended before it was killed");
        let rows = rows(server, &database);
        rows.is_some_and(|rows| rows.first().is_some_and(|(_, parts)| parts.len() >= 3))
    });
    run.signal(Signal::KILL);
    run.wait();
    let stored = rows(server, &database).expect("rows")[0].1.len();
    assert!((3..PARTS).contains(&stored), "{stored} parts are stored");
    let large = Key::parse("large").expect("a key");
    let there = server.block_on(server.store("one").head(&large)).expect_err("nothing under the final name yet");
    assert_eq!(there.kind, StoreErrorKind::Missing);

    plan("");
    let second = backhaul(server, &folder, &["run", "-v", "killed.yaml"]).expect(0);
    let (row, parts) = rows(server, &database).expect("rows").remove(0);
    assert_eq!((row.state, parts.len()), (State::Completed, 0));
    let most = (PARTS + 3) * PART;
    assert!(row.bytes_read <= most as u64, "{} bytes were read, at most {most}: {second}", row.bytes_read);
    if let Some(sent) = server.blocks_sent("vault/large") {
        assert!((PARTS..=PARTS + 3).contains(&sent), "{sent} blocks were sent for {PARTS}");
    }
    let there = server.block_on(server.store("one").head(&large)).expect("published");
    assert_eq!(there.size, (PARTS * PART) as u64);
    backhaul(server, &folder, &["verify", "killed.yaml"]).expect(0);
    tell(&format!(
        "{}: killed with {stored} of {PARTS} parts stored; {} bytes were read in all for {}",
        server.name(),
        row.bytes_read,
        PARTS * PART
    ));
}

/// An object that is there stays what it is, whoever comes second, and however it is written.
pub(crate) fn replaces_nothing(server: &Server) {
    let store = server.store("two");
    let key = |name: &str| Key::parse(name).expect("a key");
    let put = async |name: &str, text: &'static str| {
        store.put(&key(name), "t", Bytes::from_static(text.as_bytes()), &Metadata::new()).await
    };
    let (first, proof) = server.block_on(put("taken", "first")).expect("nobody has the name");
    let refused = server.block_on(put("taken", "second")).expect_err("the name is taken");
    assert_eq!(refused.kind, StoreErrorKind::Exists, "{refused}");
    assert_eq!(server.block_on(store.head(&key("taken"))).expect("there").etag, first.etag);

    let other = server.other_client("two");
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    let taken = ObjectPath::parse("vault/taken").expect("a path");
    let again = server.block_on(other.put_opts(&taken, "third".into(), options));
    let keeps = matches!(again, Err(object_store::Error::AlreadyExists { .. }));
    tell(&format!("{}: keeps the condition of a create-only put: {keeps}", server.name()));
    // What follows holds only if Backhaul is the only writer, or if the store keeps it.
    assert!(keeps, "{again:?}");

    let both = server.block_on(async { futures::future::join(put("race", "one"), put("race", "other")).await });
    let won = [&both.0, &both.1].into_iter().filter(|result| result.is_ok()).count();
    assert_eq!(won, 1, "two writers at once: {both:?}");

    let metadata = Metadata::from([("engine".to_owned(), "mariadb".to_owned())]);
    let ready = async |name: &str, seed: u64| upload(&store, &key(name), seed, &metadata).await;
    let (upload, parts) = server.block_on(ready("taken", 5));
    let refused = server.block_on(store.publish(&upload, &parts, PART as u64 + 7)).expect_err("the name is taken");
    assert_eq!(refused.kind, StoreErrorKind::Exists, "{refused}");
    server.block_on(store.abandon(&upload)).expect("given up");
    assert_eq!(server.block_on(store.head(&key("taken"))).expect("there").etag, first.etag);

    let results = server.block_on(async {
        let (one, other) = (ready("parts", 6).await, ready("parts", 7).await);
        let publish = async |(upload, parts): &(Upload, Vec<_>)| {
            let published: Result<ObjectFacts, _> = store.publish(upload, parts, PART as u64 + 7).await;
            if published.is_err() {
                store.abandon(upload).await.expect("given up");
            }
            published
        };
        let results = futures::future::join(publish(&one), publish(&other)).await;
        // Publishing again what was published before a crash is success: of the one that lies there now. Where completing
        // replaces, that need not be the first that succeeded.
        let there = store.head(&key("parts")).await.expect("there").etag;
        let is_there = |result: &Result<ObjectFacts, _>| result.as_ref().is_ok_and(|facts| facts.etag == there);
        let winner = if is_there(&results.0) { &one } else { &other };
        store.publish(&winner.0, &winner.1, PART as u64 + 7).await.expect("it is ours");
        results
    });
    let won = [&results.0, &results.1].into_iter().filter(|result| result.is_ok()).count();
    tell(&format!(
        "{}: a put is proved by {}, a part by {}; of two that publish at once {won} won",
        server.name(),
        proof.text(),
        parts.iter().map(|part| part.proof).min().unwrap_or(Proof::None).text()
    ));
    let most = if server.replaces_on_completion() { 2 } else { 1 };
    assert!((1..=most).contains(&won), "two that publish at once: {results:?}");
}

/// An upload of two parts, all stored.
async fn upload(
    store: &BucketStore,
    key: &Key,
    seed: u64,
    metadata: &Metadata,
) -> (Upload, Vec<backhaul::store::StoredPart>) {
    let bytes = Bytes::from(bytes(seed, PART + 7));
    let layout = Layout::Equal { size: bytes.len() as u64, part_size: PART as u64 };
    let shape = Shape { layout: &layout, metadata };
    let upload = store.begin(key, &format!("{seed:032x}"), shape).await.expect("begun");
    let mut parts = Vec::new();
    for (number, range) in (0..).zip([0..PART, PART..bytes.len()]) {
        let offset = range.start as u64;
        parts.push(store.part(&upload, number, offset, bytes.slice(range)).await.expect("stored"));
    }
    let upload = store.resume(upload, &parts).await.expect("it is all there");
    (upload, parts)
}
