//! Every bad command line and environment of `tests/bad_commands/`, a script each, with the exact exit code and the exact
//! text that an operator sees. `UPDATE_EXPECT=1` writes the texts anew. Those of `tests/odd_commands/` are odd, and good.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{BACKHAUL, Output};
use tempfile::TempDir;

const PLAN: &str = include_str!("../plans/minimal.yaml");

/// A folder with a good plan and its regions.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["bin", "home", "region-here", "region-there"] {
            std::fs::create_dir(folder.path().join(name)).expect("writable");
        }
        std::fs::write(folder.path().join("plan.yaml"), PLAN).expect("writable");
        std::fs::write(folder.path().join("region-here/orders-full.xbstream.gz"), "a backup").expect("writable");
        std::os::unix::fs::symlink(BACKHAUL, folder.path().join("bin/backhaul")).expect("writable");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What a script comes to, in this folder and with no more of an environment than it needs.
    fn run(&self, script: &Path) -> Output {
        let mut shell = Command::new("sh");
        shell.arg("-eu").arg(script).current_dir(self.path()).stdin(Stdio::null()).env_clear();
        shell.env("PATH", format!("{}:/usr/bin:/bin", self.path().join("bin").display()));
        shell.env("HOME", self.path().join("home"));
        Output::of(shell.output().expect("it starts"))
    }

    /// The same for any folder.
    fn told(&self, output: &Output) -> String {
        let Output { code, stdout, stderr, .. } = output;
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        let told = format!("exit {code}\n--- stdout\n{stdout}--- stderr\n{stderr}");
        told.replace(&self.path().display().to_string(), "FOLDER")
    }
}

fn scripts_in(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path());
    let mut scripts: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "sh")).collect();
    scripts.sort();
    scripts
}

/// Runs each script of a folder, and holds what it says against the text beside it.
fn say_what_they_said(folder: &str, at_least: usize, check: impl Fn(&Place, &Output, &str)) {
    let scripts = scripts_in(folder);
    assert!(scripts.len() >= at_least, "only {} are left", scripts.len());
    let mut different = Vec::new();
    for script in scripts {
        let name = script.file_stem().and_then(|name| name.to_str()).expect("a name");
        let place = Place::new();
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
    say_what_they_said("bad_commands", 50, |place, output, name| {
        assert_ne!(output.code, Some(0), "{name} is not bad");
        if output.code == Some(2) {
            let files = support::files(place.path());
            assert_eq!(files.len(), untouched, "{name} has left something: {files:?}");
        }
    });
}

#[test]
fn odd_commands_work() {
    say_what_they_said("odd_commands", 5, |_, output, name| assert_eq!(output.code, Some(0), "{name}: {output}"));
}
