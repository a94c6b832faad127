//! Plans that were flipped, cut, spliced and doubled: no panic, and every place lies inside the text.
//!
//! Runs for `BACKHAUL_FUZZ_SECONDS`, 3 unless set.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use backhaul::plan::{Place, Problem, Written, parse, render, to_yaml, unset_variables};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// Fragments at which readers of YAML and of plans stumble.
const FRAGMENTS: [&[u8]; 38] = [
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"'",
    b"|\n",
    b">-\n",
    b"|2\n",
    b"&a ",
    b"*a",
    b"!!str ",
    b"!x ",
    b"---\n",
    b"...\n",
    b"\t",
    b"\0",
    b"\r",
    b"\r\n",
    b"\n",
    b"? ",
    b": ",
    b", ",
    b"- ",
    b"#",
    b"<<: *a",
    b"${",
    b"${A}",
    b"%YAML 1.2\n",
    b"~",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"\xc3\xa9",
    b"\xf0\x9f\x98\x80",
    b"\\u202e",
    b"password: x\n",
    b"18446744073709551616",
];

#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Cut(Index, Index),
    End(Index),
    Double(Index, Index),
    Insert(Index, &'static [u8]),
    Splice(Index, usize, Index, Index),
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for folder in ["tests/bad", "plans"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                seeds.push(std::fs::read(path).unwrap());
            }
        }
    }
    assert!(seeds.len() > 70, "the seeds are gone");
    seeds
}

fn change(seeds: usize) -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (index(), index()).prop_map(|(from, to)| Change::Cut(from, to)),
        index().prop_map(Change::End),
        (index(), index()).prop_map(|(from, to)| Change::Double(from, to)),
        (index(), select(FRAGMENTS.as_slice())).prop_map(|(at, fragment)| Change::Insert(at, fragment)),
        (index(), 0..seeds, index(), index()).prop_map(|(at, seed, from, to)| Change::Splice(at, seed, from, to)),
    ]
}

fn range(text: &[u8], one: Index, other: Index) -> std::ops::Range<usize> {
    let (one, other) = (one.index(text.len() + 1), other.index(text.len() + 1));
    one.min(other)..one.max(other)
}

fn apply(text: &mut Vec<u8>, change: &Change, seeds: &[Vec<u8>]) {
    match change {
        Change::Flip(at, bits) if !text.is_empty() => {
            let at = at.index(text.len());
            text[at] ^= bits;
        }
        Change::Flip(..) => {}
        Change::Cut(from, to) => drop(text.drain(range(text, *from, *to))),
        Change::End(at) => text.truncate(at.index(text.len() + 1)),
        Change::Double(from, to) => {
            let part = range(text, *from, *to);
            let doubled = text[part.clone()].to_vec();
            text.splice(part.end..part.end, doubled);
        }
        Change::Insert(at, fragment) => {
            let at = at.index(text.len() + 1);
            text.splice(at..at, fragment.iter().copied());
        }
        Change::Splice(at, seed, from, to) => {
            let at = at.index(text.len() + 1);
            text.splice(at..at, seeds[*seed][range(&seeds[*seed], *from, *to)].to_vec());
        }
    }
}

fn check_place(place: Place, source: &str) {
    let (start, end) = (place.start as usize, place.end as usize);
    assert!(start <= end && source.get(start..end).is_some(), "{place:?} is outside of the text");
    assert!(place.line >= 1 && place.column >= 1, "{place:?}");
}

fn check_problems(problems: &[Problem], source: &str) {
    for problem in problems {
        let related = problem.related.iter().map(|(place, _)| *place);
        for place in problem.place.into_iter().chain(related).chain(problem.secret) {
            check_place(place, source);
        }
    }
}

fn check(text: &[u8]) {
    let path = Path::new("plan.yaml");
    match parse(text, path) {
        Err(refused) => {
            assert!(!refused.problems.is_empty());
            check_problems(&refused.problems, &refused.source);
            assert!(refused.render(false).contains("error: "));
            assert!(refused.render(true).contains("\u{1b}["));
        }
        Ok(loaded) => {
            check_problems(&loaded.warnings, &loaded.source);
            check_problems(&unset_variables(&loaded.plan, &|_| None), &loaded.source);
            assert_eq!(render(&loaded.warnings, &loaded.source, path, false).is_empty(), loaded.warnings.is_empty());
            for entry in &loaded.plan.entries {
                check_place(entry.place, &loaded.source);
            }
            let written = Written::of(&loaded.plan);
            let again =
                parse(to_yaml(&written).as_bytes(), path).unwrap_or_else(|refused| panic!("{}", refused.render(false)));
            assert_eq!(Written::of(&again.plan), written);
        }
    }
}

#[test]
fn no_text_is_too_odd() {
    let seconds =
        std::env::var("BACKHAUL_FUZZ_SECONDS").map_or(3, |seconds| seconds.parse().expect("a number of seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let seeds = seeds();
    let changed = (0..seeds.len(), prop::collection::vec(change(seeds.len()), 1..8));
    let texts = Cell::new(0_u64);
    while Instant::now() < end || texts.get() == 0 {
        // A runner counts its cases over all its runs: each round needs its own, with new random numbers.
        let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
        let result = runner.run(&changed, |(seed, changes)| {
            texts.set(texts.get() + 1);
            let mut text = seeds[seed].clone();
            for change in &changes {
                apply(&mut text, change, &seeds);
            }
            let outcome = std::panic::catch_unwind(|| check(&text));
            prop_assert!(outcome.is_ok(), "the text was:\n{}", text.escape_ascii());
            Ok(())
        });
        if let Err(failure) = result {
            panic!("{failure}");
        }
    }
    eprintln!("{} texts", texts.get());
}
