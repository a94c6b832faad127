//! A machine that loses its power, again and again.

use std::path::PathBuf;
use std::process::Command;

use super::support::{self, BACKHAUL, Bed, Layout, Options, Output, completed_is_true, is_true};
use super::{is_finished_database, may_mount};

/// Cycles of [`power_loss`]; `BACKHAUL_POWERLOSS_CYCLES` may ask for more.
const CYCLES: u64 = 15;

#[test]
fn power_loss() {
    if !may_mount("power_loss") {
        return;
    }
    let asked = std::env::var("BACKHAUL_POWERLOSS_CYCLES").ok();
    let cycles = asked.map_or(CYCLES, |cycles| cycles.parse().expect("a number of cycles"));
    let seed = match std::env::var("BACKHAUL_TESTS_SEED") {
        Ok(seed) => seed.parse().expect("BACKHAUL_TESTS_SEED is a number"),
        Err(_) => fastrand::u64(..),
    };
    println!("BACKHAUL_TESTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut cuts, mut reported, mut parts) = (0, 0, 0);
    for cycle in 0..cycles {
        let cut = match cycle % 5 {
            0 => Cut { at: "exit".to_owned(), during: During::Run, keeps_database: cycle % 2 == 1 },
            1 => Cut { at: "exit".to_owned(), during: During::Adoption, keeps_database: false },
            // Two lines are said before anything happens, then two for each of eight copies.
            2 => {
                Cut { at: format!("line:{}", random.u32(3..=18)), during: During::Run, keeps_database: cycle % 2 == 1 }
            }
            rest => {
                let at = format!("{:.3}", 0.2 + 1.2 * random.f64());
                Cut { at, during: During::SlowRun, keeps_database: rest == 3 }
            }
        };
        if let Some(found) = lose_power(&cut) {
            cuts += 1;
            reported += found.reported;
            parts += found.parts;
        }
    }
    assert!(cuts * 2 > cycles, "only {cuts} of {cycles} runs were cut");
    assert!(reported > 0, "nothing was reported before any of the cuts");
    assert!(parts > 0, "no cut left any parts to go on from");
}

/// When the power goes, as `powerloss.py` has it, and what it ends.
#[derive(Debug)]
struct Cut {
    at: String,
    during: During,
    /// Whether the database lies on another disk, which keeps its power: a fact of a target that was not durable before
    /// its row was cannot hide behind the database's own syncs then.
    keeps_database: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum During {
    /// Of a fraction of a second.
    Run,
    /// So slow, and so few copies at a time, that most cuts meet some that have parts.
    SlowRun,
    /// A run that finds the objects of one target in their places, where nobody made them durable.
    Adoption,
}

/// What there was after a cut.
struct Found {
    /// Registrations that had been reported.
    reported: usize,
    /// Rows of parts.
    parts: usize,
}

/// The file system of a bed after a cut, unmounted when it is dropped.
struct AfterCut(PathBuf);

impl Drop for AfterCut {
    fn drop(&mut self) {
        let _ = powerloss(&[std::ffi::OsStr::new("--end"), self.0.as_os_str()]);
    }
}

fn powerloss<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/powerloss.py");
    Output::of(Command::new("python3").arg(script).args(arguments).output().expect("`python3` starts"))
}

/// Cuts one run, looks at what is left, and lets the next run complete it. None if the run ended before the cut.
fn lose_power(cut: &Cut) -> Option<Found> {
    let what = format!("{cut:?}");
    let plan = Bed::new(Layout::Large);
    let mut script = format!("cp '{}' {{}}/plan.yaml", plan.plan().display());
    if cut.during == During::Adoption {
        script += &format!(" && cp -r '{}' {{}}/two", plan.layout.source().display());
    }
    let other_disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    if cut.keeps_database {
        script += &format!(" && ln -s '{}' {{}}/state", other_disk.path().display());
    }
    script += &format!(" && exec '{BACKHAUL}' run -v {{}}/plan.yaml");
    if cut.during == During::SlowRun {
        script += " --bandwidth 20MiB/s --concurrency 2";
    }
    let output = powerloss(&["96M", &cut.at, "sh", "-c", &script]);
    if output.code == Some(3) {
        return None;
    }
    assert_eq!(output.code, Some(0), "{what}: {output}");
    let mount = AfterCut(PathBuf::from(output.stdout.trim()));
    let said = std::fs::read_to_string(mount.0.with_extension("out")).expect("what it said");
    let reported: Vec<(String, String)> = said.lines().filter_map(registered).collect();
    let bed = Bed::at(&mount.0, Layout::Large, Options::default());
    let state = bed.database().parent().expect("a folder").to_owned();
    if cut.keeps_database && !state.exists() {
        std::os::unix::fs::symlink(other_disk.path(), state).expect("a link");
    }
    integrity_check(&bed, &what);
    let (mut completed, mut parts) = (Vec::new(), 0);
    if is_finished_database(&bed) {
        completed = match cut.during {
            // What was found in place was not ours to make whole until it was adopted.
            During::Adoption => completed_is_true(&bed, &what),
            During::Run | During::SlowRun => is_true(&bed, &what),
        };
        parts = support::parts_are_true(&bed, &what);
    }
    for pair in &reported {
        assert!(completed.contains(pair), "{what}: {pair:?} was reported and is lost; it had said\n{said}");
    }
    if cut.at == "exit" {
        assert_eq!(reported.len(), 2 * bed.layout.objects().len(), "{said}");
    }
    bed.completes(1, &what);
    Some(Found { reported: reported.len(), parts })
}

/// Name and target in ``06:10 registered: `full.xbstream.gz` from one to two``.
fn registered(line: &str) -> Option<(String, String)> {
    let (name, rest) = line.split_once(" registered: `")?.1.split_once('`')?;
    Some((name.to_owned(), rest.rsplit_once(" to ")?.1.to_owned()))
}

fn integrity_check(bed: &Bed, what: &str) {
    use sea_orm::ConnectionTrait;
    if !bed.database().exists() {
        return;
    }
    let url = format!("sqlite://{}", bed.database().display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer: String = runtime.block_on(async {
        let database = sea_orm::Database::connect(url).await.expect("it opens");
        let question = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "PRAGMA integrity_check");
        let answer = database.query_one_raw(question).await.expect("an answer").expect("a row");
        answer.try_get_by_index(0).expect("text")
    });
    assert_eq!(answer, "ok", "{what}");
}
