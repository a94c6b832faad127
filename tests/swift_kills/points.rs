//! Runs that die at every named point between two durable facts that a copy into a Swift and its registration in Trove
//! pass.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;

use crate::bed::{Bed, Ground, Options};
use crate::outcome::Outcome;
use crate::support;

const TENANT: &str = "points";

/// A chain of an SLO, a plain object and an SLO, each named; and an SLO whose last segment is empty.
const BACKUPS: &[&str] = &["a-full", "a-inc1", "a-inc2", "slo-empty-end"];

/// The sources whose points are passed here; those of other stores and catalogs are elsewhere.
const PASSED: [&str; 7] =
    ["copy/", "engine/", "store/swift/", "catalog/trove/", "database/writer.rs", "commands/gc.rs", "fault.rs"];

/// Of stores that give an upload a name, which Swift does not: tests/s3 passes it.
const OF_NAMED_UPLOADS: &str = "before-upload-row";

/// In the order in which a copy passes them first, so that one bed dies at each: what died at one comes to the next.
const IN_A_ROW: [&str; 19] = [
    "before-claim",
    "after-claim",
    "begin-after-create",
    "commit-before",
    "commit-after",
    "part-after-write",
    "before-part-row",
    "after-part-row",
    "before-publish",
    "publish-before-link",
    "publish-after-link",
    "before-copied",
    "after-copied",
    "after-settle",
    "before-register",
    "trove-before-commit",
    "trove-after-commit",
    "after-register",
    "after-completed",
];

/// Where somebody else's view of the copy changes: a fresh bed each, at a later passage.
const LATE: [(&str, usize); 7] = [
    ("part-after-write", 6),
    ("before-put", 1),
    ("publish-before-link", 2),
    ("publish-after-link", 2),
    ("after-copied", 3),
    ("trove-before-commit", 3),
    ("trove-after-commit", 2),
];

fn has_points(test: &str) -> bool {
    if !cfg!(feature = "fault-points") {
        support::skip(test, "built without the feature `fault-points` (`cargo test --all-features`)");
    }
    cfg!(feature = "fault-points")
}

/// Every name in a `fault::point("…")` of these sources.
fn points_in_sources() -> BTreeSet<String> {
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut points = BTreeSet::new();
    for path in support::files(source) {
        let relative = path.strip_prefix(source).expect("below").to_string_lossy().into_owned();
        if PASSED.iter().any(|passed| relative.starts_with(passed)) {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let names =
                text.split("fault::point(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
            points.extend(names);
        }
    }
    points
}

/// The points that were died at.
type Died = BTreeSet<String>;

#[track_caller]
fn dies(bed: &Bed<'_>, command: &str, point: &str, n: usize, died: &mut Died) {
    let output = bed.call_until(0, command, point, n);
    assert_eq!(output.signal, Some(Signal::ABORT.as_raw()), "no {command} passes {point}:{n}: {output}");
    died.insert(point.to_owned());
    bed.note_finished();
}

#[test]
fn every_point_is_survived() {
    if !has_points("every_point_is_survived") {
        return;
    }
    let Some(ground) = Ground::new("every_point_is_survived") else { return };
    let options = Options::between(TENANT, BACKUPS);
    let bed = Bed::new(&ground, options);
    bed.run().expect(0);
    let undisturbed = bed.ended(0, "undisturbed");
    let mut died = Died::new();

    let bed = Bed::new(&ground, options);
    for point in IN_A_ROW {
        dies(&bed, "run", point, 1, &mut died);
    }
    bed.completes(&undisturbed, "killed at every point in a row");
    bed.sent_at_most(1, IN_A_ROW.len() as u64, "killed at every point in a row");
    bed.restores("killed at every point in a row");

    for (point, n) in LATE {
        let what = format!("killed at {point}:{n}");
        let bed = Bed::new(&ground, options);
        dies(&bed, "run", point, n, &mut died);
        bed.completes(&undisturbed, &what);
        bed.sent_at_most(1, 1, &what);
    }
    starts_again(&ground, &undisturbed, &mut died);
    adopts(&ground, &undisturbed, &mut died);
    gives_up(&ground, &undisturbed, &mut died);
    bed.is_counted();
    registers_by_the_api(&ground, &mut died);
    for point in points_in_sources().into_iter().filter(|point| point != OF_NAMED_UPLOADS) {
        assert!(died.contains(&point), "nothing was killed at the point `{point}`: give it a scenario");
    }
}

/// Segments that were finished are gone: the copy starts again, and dies between the old attempt and the new.
fn starts_again(ground: &Ground, undisturbed: &Outcome, died: &mut Died) {
    let bed = Bed::new(ground, Options::between(TENANT, BACKUPS));
    dies(&bed, "run", "after-part-row", 4, died);
    bed.lose_a_segment();
    dies(&bed, "run", "restart-after-abandon", 1, died);
    bed.completes(undisturbed, "a segment was lost");
}

/// The database is gone: what lies there is adopted.
fn adopts(ground: &Ground, undisturbed: &Outcome, died: &mut Died) {
    let bed = Bed::new(ground, Options::between(TENANT, BACKUPS));
    bed.run().expect(0);
    std::fs::remove_dir_all(bed.database(0).parent().expect("a folder")).expect("the database's folder");
    support::put_watched(&bed.database(0));
    dies(&bed, "run", "after-adopted", 1, died);
    bed.completes(undisturbed, "the database was lost");
    bed.sent_at_most(2, 0, "the database was lost");
}

/// The plan wants nothing any more of what it has begun: `gc` takes it away, and dies; then the plan wants it again.
fn gives_up(ground: &Ground, undisturbed: &Outcome, died: &mut Died) {
    let bed = Bed::new(ground, Options::between(TENANT, BACKUPS));
    dies(&bed, "run", "after-part-row", 4, died);
    bed.write_plan_of_another(0);
    bed.run_of_another(0);
    assert!(!bed.left_over().is_empty(), "there is something to collect");
    dies(&bed, "gc", "gc-after-abandon", 1, died);
    bed.call(0, "gc").expect(0);
    assert_eq!(bed.left_over(), [] as [String; 0], "left over after gc");
    bed.foreign_is_untouched("after gc");
    bed.write_plan(0);
    bed.completes(undisturbed, "given up, and wanted again");
}

/// Trove gives its own ids: however the run dies, each copy has one row.
fn registers_by_the_api(ground: &Ground, died: &mut Died) {
    let options = Options { api: true, ..Options::between(TENANT, BACKUPS) };
    let bed = Bed::new(ground, options);
    bed.run().expect(0);
    let undisturbed = bed.ended(0, "undisturbed");
    let bed = Bed::new(ground, options);
    for point in ["before-put", "trove-before-post", "trove-after-post", "after-register"] {
        dies(&bed, "run", point, 1, died);
    }
    bed.completes(&undisturbed, "registered through the API");
    bed.sent_at_most(1, 1, "registered through the API");
    bed.restores("registered through the API");
}
