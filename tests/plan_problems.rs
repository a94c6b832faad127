//! Every bad plan of `tests/bad/` with the exact text that an operator sees. `UPDATE_EXPECT=1` writes the texts anew.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use backhaul::plan::{Loaded, Problem, Refused, json_schema, parse, read, render};

/// The text of all problems of a plan, or of its warnings if it is accepted.
fn rendered(text: &[u8], path: &str) -> String {
    match parse(text, Path::new(path)) {
        Ok(loaded) => format!("accepted\n\n{}", loaded.render(&loaded.warnings, false)),
        Err(refused) => refused.render(false),
    }
}

fn plans_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut plans: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|ext| ext == "yaml")).collect();
    plans.sort();
    plans
}

fn update() -> bool {
    std::env::var_os("UPDATE_EXPECT").is_some()
}

#[test]
fn bad_plans_say_what_is_wrong() {
    let plans = plans_in("tests/bad");
    assert!(plans.len() >= 70, "only {} bad plans are left", plans.len());
    let mut different = Vec::new();
    for path in plans {
        let name = path.file_name().unwrap().to_str().unwrap();
        let actual = rendered(&fs::read(&path).unwrap(), &format!("tests/bad/{name}"));
        if actual == "accepted\n\n" {
            different.push(format!("{name} is not bad"));
        }
        let expect = path.with_extension("expect");
        if update() {
            fs::write(&expect, actual).unwrap();
        } else if fs::read_to_string(&expect).unwrap_or_default() != actual {
            different.push(format!("{name} gives now:\n{actual}"));
        }
    }
    assert!(different.is_empty(), "{}\nUPDATE_EXPECT=1 takes these texts over", different.join("\n"));
}

#[test]
fn every_expected_text_has_its_plan() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.with_extension("yaml").exists(), "{} belongs to no plan", path.display());
    }
}

#[test]
fn plans_of_the_repository_are_accepted_without_warnings() {
    for path in plans_in("plans") {
        let text = fs::read(&path).unwrap();
        let loaded = parse(&text, &path).unwrap_or_else(|refused| panic!("{}", refused.render(false)));
        assert_eq!(loaded.render(&loaded.warnings, false), "");
        let schema = "# yaml-language-server: $schema=plan.schema.json\n";
        assert!(loaded.source.starts_with(schema), "{} does not name its schema", path.display());
    }
}

#[test]
fn the_schema_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/plan.schema.json");
    if update() {
        fs::write(&path, json_schema()).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(kept, json_schema(), "UPDATE_EXPECT=1 writes the schema anew");
}

/// The text with which a plan is refused whose file is no good.
fn refused(path: &Path) -> String {
    let shown = read(path).expect_err("refused").render(false);
    shown.replace(path.to_str().unwrap(), "PLAN")
}

const GOOD: &str = include_str!("../plans/minimal.yaml");

fn with_mode(mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    fs::write(&path, GOOD).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

#[test]
fn plans_that_others_can_write_are_refused() {
    let (_folder, path) = with_mode(0o602);
    assert_eq!(
        refused(&path),
        "error: PLAN: the plan can be written by everybody, who could send backups elsewhere\n\
         hint: look through it, then `chmod go-w PLAN`\n\n"
    );
    let (_folder, path) = with_mode(0o644);
    assert_eq!(read(&path).unwrap().plan.name, "minimal");
}

#[test]
fn a_group_that_can_write_is_named_unless_it_is_the_users_own() {
    let (_folder, path) = with_mode(0o620);
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if uid == gid && uid >= 1000 {
        assert!(read(&path).is_ok());
    } else {
        assert!(refused(&path).starts_with("error: PLAN: the plan can be written by its group, who could"));
    }
}

#[test]
fn the_target_of_a_symlink_is_what_counts() {
    let (folder, path) = with_mode(0o600);
    let link = folder.path().join("link.yaml");
    symlink(&path, &link).unwrap();
    assert!(read(&link).is_ok());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(refused(&link).contains("can be written by everybody"));
}

#[test]
fn a_plan_of_another_user_is_refused() {
    let (_folder, path) = with_mode(0o644);
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(12345), None).is_err() {
        return;
    }
    assert_eq!(
        refused(&path),
        "error: PLAN: the plan belongs to another user (uid 12345), who could change it at any time\n\
         hint: read it, then `cp` it to a file of your own; `PLAN` must belong to you or to root\n\n"
    );
}

#[test]
fn what_is_no_regular_file_is_refused_without_opening_it() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, what) in
        [(folder.path(), "a folder"), (&fifo, "a FIFO"), (&socket, "a socket"), (Path::new("/dev/zero"), "a device")]
    {
        assert_eq!(
            refused(path),
            format!(
                "error: PLAN: the plan is {what}, and must be a regular file\n\
                 hint: name the YAML file itself; what comes through a pipe must be saved first\n\n"
            )
        );
    }
    assert_eq!(
        refused(&folder.path().join("absent.yaml")),
        "error: PLAN: the plan cannot be read: there is no such file\n\
         hint: check the path, or let `backhaul init` write a plan\n\n"
    );
}

#[test]
fn a_plan_of_more_than_512_mib_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.yaml");
    let file = fs::File::create(&path).unwrap();
    file.set_len((512 << 20) + 1).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        refused(&path),
        "error: PLAN: the plan is too large: 536870913 bytes, at most 536870912 (512 MiB) are read\n\
         hint: split it into several plans, or name many backups by one `select`\n\n"
    );
}

#[test]
fn what_is_no_utf_8_is_named_with_its_byte() {
    assert_eq!(
        rendered(b"version: 1\nname: caf\xe9\n", "plan.yaml"),
        "error: the plan is not UTF-8: byte 20 (0xe9) is no part of a character\n \
         --> plan.yaml:2:10\n  |\n2 | name: caf\n  |          ^\n  |\n\
         hint: save the plan as UTF-8, for instance by `iconv -t UTF-8`\n\n"
    );
    for bom in [b"\xff\xfev\0e\0", b"\xfe\xff\0v\0e"] {
        assert_eq!(
            rendered(bom, "plan.yaml"),
            "error: plan.yaml: the plan is UTF-16 text, and must be UTF-8\n\
             hint: save the plan as UTF-8, for instance by `iconv -t UTF-8`\n\n"
        );
    }
    assert_eq!(
        rendered(b"version: 1\nname: a\0b\n", "plan.yaml"),
        "error: the plan has a NUL byte (byte 18)\n \
         --> plan.yaml:2:8\n  |\n2 | name: a\n  |        ^\n  |\n\
         hint: the file may be damaged or no text at all; write it anew\n\n"
    );
}

#[test]
fn ten_thousand_levels_are_refused() {
    for (text, column) in [("[".repeat(10_000), 65), ("{a: ".repeat(10_000), 257)] {
        let shown = rendered(text.as_bytes(), "plan.yaml");
        let expected = format!("error: nested too deeply: more than 64 levels\n --> plan.yaml:1:{column}\n");
        assert!(shown.starts_with(&expected), "{shown}");
        assert!(
            shown.ends_with("hint: a plan needs 6 levels; a bracket may be missing before this line\n\n"),
            "{shown}"
        );
    }
    let block: String = (0..10_000).flat_map(|level| [" ".repeat(level), "a:\n".to_owned()]).collect();
    assert!(rendered(block.as_bytes(), "plan.yaml").starts_with("error: nested too deeply: more than 64 levels\n"));
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", [before.as_str(); 9].join(", ")).unwrap();
    }
    assert_eq!(
        rendered(bomb.as_bytes(), "plan.yaml"),
        "error: aliases repeat too much: more than 100000 values would be added to the plan\n \
         --> plan.yaml:6:10\n  |\n6 | a5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4]\n  |          ^^^\n  |\n\
         hint: write the repeated values out\n\n"
    );
}

#[test]
fn thousands_of_problems_are_counted_and_a_hundred_shown() {
    let mut text = "version: 1\nname: many\nregions: { a: { store: { type: file, path: a } } }\nbackups:\n".to_owned();
    text.push_str(&"  - { id: 1f0c, from: b, to: [a] }\n".repeat(5_000));
    let shown = rendered(text.as_bytes(), "plan.yaml");
    assert_eq!(shown.matches("error: unknown region `b`").count(), 100);
    assert!(shown.ends_with("\n\n… and 4900 more problems\n\n"), "{}", &shown[shown.len() - 200..]);
}

#[test]
fn a_plan_in_one_line_shows_only_what_is_around_the_place() {
    let filler = (0..1000)
        .map(|n| format!("{{\"id\": \"b{n}\", \"from\": \"a\", \"to\": [\"b\"]}}, "))
        .collect::<Vec<_>>()
        .concat();
    let text = format!(
        "{{\"version\": 1, \"name\": \"n\", \"regions\": {{\"a\": {{\"store\": {{\"type\": \"file\", \"path\": \"a\"}}}}, \"b\": {{\"store\": {{\"type\": \"file\", \"path\": \"b\"}}}}}}, \"backups\": [{filler}{{\"id\": \"last\", \"form\": \"a\", \"from\": \"a\", \"to\": [\"b\"]}}]}}"
    );
    let column = text.find("\"form\"").unwrap() + 1;
    let shown = rendered(text.as_bytes(), "plan.yaml");
    assert!(
        shown.starts_with(&format!("error: unknown key `form` in a backup\n --> plan.yaml:1:{column}\n")),
        "{shown}"
    );
    assert!(shown.len() < 1500, "{shown}");
}

#[test]
fn problems_found_later_are_shown_the_same_way() {
    let loaded: Loaded = parse(GOOD.as_bytes(), Path::new("plan.yaml")).unwrap();
    let place = loaded.plan.entries[0].place;
    let problem = Problem::error(place, "the source is not there").hint("look into `./region-here`");
    let expected = "error: the source is not there\n  --> plan.yaml:13:5\n   |\n\
                    13 |   - { location: orders-full.xbstream.gz, from: here, to: [there] }\n   |     \
                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n   |\n\
                    hint: look into `./region-here`\n\n";
    assert_eq!(loaded.render(std::slice::from_ref(&problem), false), expected);
    assert_eq!(render(std::slice::from_ref(&problem), &loaded.source, &loaded.path, false), expected);
    assert!(loaded.render(&[problem], true).contains("\u{1b}["));
    let refused: Refused = parse(b"", Path::new("plan.yaml")).unwrap_err();
    assert_eq!(refused.to_string(), "the plan `plan.yaml` is not valid");
}
