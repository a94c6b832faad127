//! Two operators, each with a database of its own, who copy one chain to one place at the same time.

use rustix::process::Signal;

use crate::bed::{Bed, CHAIN, Ground, Options};
use crate::outcome::Outcome;
use crate::support::{self, Output, Running};

const TENANT: &str = "pair";

/// How one of them dies: at a point, or after a share of the time that a run takes.
#[derive(Debug, Clone, Copy)]
enum Death {
    At(&'static str, usize),
    After(f64),
}

/// The second operator starts first every other time.
const DEATHS: [Death; 8] = [
    Death::At("part-after-write", 2),
    Death::At("after-part-row", 3),
    Death::At("publish-before-link", 1),
    Death::At("publish-after-link", 1),
    Death::At("trove-before-commit", 1),
    Death::At("trove-after-commit", 1),
    Death::After(0.4),
    Death::After(0.7),
];

fn undisturbed(ground: &Ground) -> (Outcome, std::time::Duration) {
    let bed = Bed::new(ground, Options::between(TENANT, CHAIN));
    let start = std::time::Instant::now();
    bed.run().expect(0);
    let whole = start.elapsed();
    (bed.ended(0, "undisturbed"), whole)
}

/// Both run, one of them dies; gives whether it did before it was done.
fn one_dies(bed: &Bed<'_>, victim: usize, death: Death, whole: std::time::Duration) -> bool {
    let other = 1 - victim;
    let mut command = bed.command(victim, "run");
    if let Death::At(point, n) = death {
        command.env("BACKHAUL_FAULT", format!("{point}:{n}"));
    }
    let (dying, living): (Running, Running);
    if victim == 0 {
        (dying, living) = (Running::start(&mut command), bed.start(other));
    } else {
        living = bed.start(other);
        dying = Running::start(&mut command);
    }
    if let Death::After(share) = death {
        std::thread::sleep(whole.mul_f64(share));
        dying.signal(Signal::KILL);
    }
    let died = dying.wait();
    assert!(died.signal.is_some() || died.code == Some(0), "{death:?}: {died}");
    living.wait().expect(0);
    died.signal.is_some()
}

#[track_caller]
fn collects(bed: &Bed<'_>, what: &str) -> [Output; 2] {
    [0, 1].map(|operator| {
        let output = bed.call(operator, "gc");
        assert_eq!(output.code, Some(0), "{what}: gc of operator {operator}: {output}");
        output
    })
}

#[test]
fn either_is_killed_and_both_collect() {
    let Some(ground) = Ground::new("either_is_killed_and_both_collect") else { return };
    let (undisturbed, whole) = undisturbed(&ground);
    let deaths = DEATHS.into_iter().filter(|death| cfg!(feature = "fault-points") || matches!(death, Death::After(_)));
    let mut died = 0;
    for (number, death) in deaths.enumerate() {
        let bed = Bed::of_operators(&ground, Options::between(TENANT, CHAIN), 2);
        let victim = number % 2;
        let what = format!("operator {victim}, killed: {death:?}");
        died += u64::from(one_dies(&bed, victim, death, whole));
        collects(&bed, &what);
        for operator in [victim, 1 - victim] {
            let output = bed.call(operator, "run");
            assert_eq!(output.code, Some(0), "{what}: operator {operator} does not complete: {output}");
        }
        collects(&bed, &what);
        for operator in [0, 1] {
            bed.is_as(&undisturbed, operator, &what);
        }
        bed.sent_at_most(2, 1, &what);
        if number % 4 == 3 {
            bed.restores(&what);
        }
        bed.is_counted();
    }
    assert!(died > 1, "{died} were killed");
}

/// One has published and the other gives its own copy up: of what the manifest refers to, nothing goes. That holds for
/// segments of the one who gives up, too, and where its database is an older copy of the other's.
#[test]
fn what_a_manifest_refers_to_is_kept_by_those_who_give_it_up() {
    if !cfg!(feature = "fault-points") {
        let why = "built without the feature `fault-points` (`cargo test --all-features`)";
        support::skip("what_a_manifest_refers_to_is_kept_by_those_who_give_it_up", why);
        return;
    }
    let Some(ground) = Ground::new("what_a_manifest_refers_to_is_kept_by_those_who_give_it_up") else { return };
    let (undisturbed, _) = undisturbed(&ground);
    for (point, n, is_copied) in
        [("after-part-row", 3, false), ("publish-after-link", 1, false), ("after-part-row", 4, true)]
    {
        let what = format!("given up at {point}:{n}, database copied: {is_copied}");
        let bed = Bed::of_operators(&ground, Options::between(TENANT, CHAIN), 2);
        let killed = bed.call_until(0, "run", point, n);
        assert_eq!(killed.signal, Some(Signal::ABORT.as_raw()), "{what}: {killed}");
        if is_copied {
            let [from, to] = [0, 1].map(|operator| bed.database(operator).parent().expect("a folder").to_owned());
            // What is watched there has not been used yet.
            std::fs::remove_dir_all(&to).expect("a folder");
            std::fs::create_dir(&to).expect("a folder");
            for path in support::files(&from) {
                std::fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("copied");
            }
        }
        bed.call(1, "run").expect(0);
        bed.write_plan_of_another(0);
        bed.run_of_another(0);
        let [collected, _] = collects(&bed, &what);
        assert!(!collected.stdout.contains("0 unfinished copies removed"), "{what}: nothing to collect: {collected}");
        bed.is_as(&undisturbed, 1, &what);
        bed.restores(&what);
    }
}
