//! Every bad command line and environment of `tests/bad_commands/`, a script each, with the exact exit code and the exact
//! text that an operator sees. `UPDATE_EXPECT=1` writes the texts anew. Those of `tests/odd_commands/` are odd, and good.
//! In `tests/bad_sources/` it is an object or a record that is bad, which holds up no other.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{BACKHAUL, Output};
use tempfile::TempDir;

const PLAN: &str = include_str!("../plans/minimal.yaml");

/// One whose targets have the same ids in any folder, with a good backup in it.
const PLAN_OF_SOURCES: &str = include_str!("bad_sources/plan.yaml");

/// A folder with a good plan and its regions.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self::with(PLAN)
    }

    fn with(plan: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["bin", "home", "region-here", "region-there"] {
            std::fs::create_dir(folder.path().join(name)).expect("writable");
        }
        std::fs::write(folder.path().join("plan.yaml"), plan).expect("writable");
        std::fs::write(folder.path().join("region-here/orders-full.xbstream.gz"), "a backup").expect("writable");
        std::os::unix::fs::symlink(BACKHAUL, folder.path().join("bin/backhaul")).expect("writable");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What a script comes to, in this folder and with no more of an environment than it needs.
    fn run(&self, script: &Path) -> Output {
        Output::of(self.command("sh").arg("-eu").arg(script).output().expect("it starts"))
    }

    fn command(&self, program: &str) -> Command {
        let bin = self.path().join("bin");
        let mut command = Command::new(if program == "backhaul" { bin.join(program) } else { program.into() });
        command.current_dir(self.path()).stdin(Stdio::null()).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("HOME", self.path().join("home"));
        command
    }

    /// The same for any folder.
    fn told(&self, output: &Output) -> String {
        let Output { code, stdout, stderr, .. } = output;
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let told = format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{}", timeless(stderr));
        told.replace(&self.path().display().to_string(), "FOLDER")
    }
}

/// Without the time that a run took.
fn timeless(text: &str) -> String {
    let line = |line: &str| match (line.split_once(" after "), line.starts_with("error: ")) {
        (Some((before, after)), true) => match after.split_once(" s: ") {
            Some((_, rest)) => format!("{before} after a while: {rest}"),
            None => line.to_owned(),
        },
        _ => line.to_owned(),
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The files of a folder of `tests/` whose names end so.
fn files_in(folder: &str, ending: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == ending)).collect();
    files.sort();
    files
}

/// Runs each script of a folder, and holds what it says against the text beside it.
fn say_what_they_said(folder: &str, at_least: usize, place: impl Fn() -> Place, check: impl Fn(&Place, &Output, &str)) {
    let scripts = files_in(folder, "sh");
    assert!(scripts.len() >= at_least, "only {} are left", scripts.len());
    let mut different = Vec::new();
    for script in scripts {
        let name = script.file_stem().and_then(|name| name.to_str()).expect("a name");
        let place = place();
        let output = place.run(&script);
        assert!(!output.stderr.contains("panicked at") && !output.stderr.contains("ter2"), "{name}: {output}");
        check(&place, &output, name);
        let (told, expect) = (place.told(&output), script.with_extension("expect"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expect, told).expect("writable");
        } else if std::fs::read_to_string(&expect).unwrap_or_default() != told {
            different.push(format!("{name} gives now:\n{told}"));
        }
    }
    assert!(different.is_empty(), "{}\nUPDATE_EXPECT=1 takes these texts over", different.join("\n"));
}

#[test]
fn bad_commands_say_what_is_wrong_and_touch_nothing() {
    let untouched = support::files(Place::new().path()).len();
    say_what_they_said("bad_commands", 70, Place::new, |place, output, name| {
        assert_ne!(output.code, Some(0), "{name} is not bad");
        if output.code == Some(2) {
            let files = support::files(place.path());
            assert_eq!(files.len(), untouched, "{name} has left something: {files:?}");
        }
    });
}

/// What an operator sees of each plan of `tests/bad/`, whose problems `tests/plan_problems.rs` has: exit 2, its text, and
/// nothing is touched. A plan that is only warned of is checked, and good.
#[test]
fn bad_plans_are_refused_by_a_run() {
    let plans = files_in("bad", "yaml");
    assert!(plans.len() >= 250, "only {} are left", plans.len());
    let place = Place::new();
    std::fs::create_dir_all(place.path().join("tests/bad")).expect("writable");
    let mut named = Vec::new();
    for plan in plans {
        let name = format!("tests/bad/{}", plan.file_name().and_then(|name| name.to_str()).expect("a name"));
        std::fs::copy(&plan, place.path().join(&name)).expect("writable");
        std::fs::set_permissions(place.path().join(&name), Permissions::from_mode(0o600)).expect("ours");
        named.push((name, std::fs::read_to_string(plan.with_extension("expect")).expect("its text")));
    }
    let untouched = support::files(place.path());
    let mut different = Vec::new();
    for (name, expect) in named {
        let (command, code, text) = match expect.strip_prefix("accepted\n\n") {
            Some(warnings) => ("check", 0, warnings.trim_end().to_owned()),
            None => ("run", 2, format!("{expect}\n{}", nothing_was_touched(&name, &expect))),
        };
        let output = Output::of(place.command("backhaul").args([command, &name]).output().expect("it starts"));
        // Warnings may follow of what the environment of this test has not.
        let said = output.stderr.trim_end();
        let is_so = if code == 0 { said.starts_with(&text) } else { said == text };
        if output.code != Some(code) || !is_so {
            different.push(format!("{name} gives: {output}and not:\n{text}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(support::files(place.path()), untouched, "something was touched");
}

/// The last line of all that is said of a plan with these problems.
fn nothing_was_touched(plan: &str, problems: &str) -> String {
    let count = problems.lines().filter(|line| line.starts_with("error: ")).count();
    let noun = if count == 1 { "problem" } else { "problems" };
    format!("error: {plan} has {count} {noun}; nothing was touched")
}

#[test]
fn odd_commands_work() {
    say_what_they_said("odd_commands", 8, Place::new, |_, output, name| {
        assert_eq!(output.code, Some(0), "{name}: {output}");
    });
}

#[test]
fn bad_sources_and_targets_are_told_and_hold_up_nothing_else() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_sources/tools");
    let place = || {
        let place = Place::with(PLAN_OF_SOURCES);
        std::fs::write(place.path().join("region-here/good.gz"), "a good one").expect("writable");
        for tool in support::files(&tools) {
            let to = place.path().join("bin").join(tool.file_name().expect("a name"));
            std::fs::copy(&tool, &to).expect("writable");
            std::fs::set_permissions(&to, Permissions::from_mode(0o700)).expect("ours");
        }
        place
    };
    say_what_they_said("bad_sources", 35, place, |place, output, name| {
        assert!(matches!(output.code, Some(3 | 7)), "{name}: {output}");
        let good = std::fs::read_to_string(place.path().join("region-there/good.gz")).ok();
        assert_eq!(good.as_deref(), Some("a good one"), "{name}: {output}");
        let bad = place.path().join("region-there/orders-full.xbstream.gz");
        let is_copied = bad.is_file() && std::fs::read(&bad).is_ok_and(|bytes| bytes == b"a backup");
        assert!(!is_copied, "{name}: it was copied");
        // What lies outside of both regions stays as it is.
        let outside: Vec<PathBuf> = support::files(&place.path().join("beyond"));
        assert!(outside.is_empty(), "{name}: {outside:?}");
        let victim = std::fs::read_to_string(place.path().join("victim")).unwrap_or_default();
        assert!(victim.is_empty() || victim == "victim\n", "{name}: {victim}");
    });
}
