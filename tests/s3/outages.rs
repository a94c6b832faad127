//! Stores that are down, ill or slow: they are left alone for as long as they ask, asked seldom while they are ill, and
//! slow nobody else down.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::bed::{Bed, MIB, Object, Options, PART, Route, honest, one, small};
use super::for_all;
use super::s3::{On, Operation, What};
use super::support::wait_until;

const KEY: &str = "only.xbstream.gz";

#[test]
fn a_store_that_is_down() {
    for_all([(true, small()), (false, small()), (false, one(2 * PART))], |(at_source, objects)| {
        let mut bed = Bed::with(Route::Between, objects, Options { attempts: 2, ..Options::default() });
        let down = if at_source { &mut bed.source } else { &mut bed.target };
        down.close();
        let port = down.port();
        let output = bed.run();
        // Copies to a target that is down had begun: their source was read.
        assert_eq!(output.code, Some(if at_source { 6 } else { 3 }), "source {at_source}: {output}");
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("cannot connect"), "{output}");
        let up = if at_source { &mut bed.source } else { &mut bed.target };
        up.reopen();
        bed.completes("after it came up");
    });
}

#[test]
fn a_store_that_goes_down_and_comes_up() {
    for_all([true, false], |at_source| {
        let mut bed = Bed::with(Route::Between, one(3 * PART), Options { attempts: 20, ..Options::default() });
        let gate = bed.target.hold(On::the(Operation::UploadPart).part(3));
        let mut running = bed.start();
        gate.wait_for(1);
        let server = if at_source { &mut bed.source } else { &mut bed.target };
        server.close();
        gate.release();
        if !at_source {
            let before = Instant::now();
            wait_until("it notices", || before.elapsed() > Duration::from_secs(1));
            assert!(!running.has_ended(), "it gave up at once");
        }
        let server = if at_source { &mut bed.source } else { &mut bed.target };
        server.reopen();
        honest(running.wait()).expect(0);
        bed.is_complete(&format!("source {at_source}"));
        bed.bytes_at_most(1, &format!("source {at_source}"));
    });
}

#[test]
fn a_sick_store_slows_nobody_else() {
    let faults =
        [What::slow_down("1000000000"), What::status(503, "SlowDown"), What::Stall, What::StallReading(0), What::Reset];
    for_all(faults, |what| {
        let objects = (0..40).map(|number| Object::new(&format!("{number}.bin"), 20_000)).collect();
        let limits = "limits: { concurrency: 4 }";
        let bed = Bed::with(Route::Between, objects, Options { attempts: 20, limits, ..Options::default() });
        bed.with_a_folder_beside();
        bed.target.fault(On::any(), what.clone());
        let begun = Instant::now();
        let mut running = bed.start();
        wait_until("the folder has all", || {
            assert!(!running.has_ended(), "{what:?}");
            bed.is_in_folder()
        });
        // Requests that stall hold a place for 2 s. If each of the 40 copies met that in every attempt, it would be minutes.
        assert!(begun.elapsed() < Duration::from_secs(45), "{what:?}: {:?}", begun.elapsed());
        running.signal(Signal::INT);
        let output = honest(running.wait());
        assert_eq!(output.code, Some(4), "{what:?}: {output}");
        let asked = bed.target.requests().len();
        assert!(asked < 40, "{what:?}: {asked} requests to a sick store");
        if matches!(what, What::Status { retry_after: Some(_), .. }) {
            assert!(asked <= 4, "{asked} requests to a store that wants to be left alone");
        }
        bed.target.clear_faults();
        bed.run().expect(0);
        bed.has_no_debris(&format!("{what:?}"));
    });
}

/// `Retry-After` in seconds or as a date is waited for; nonsense is passed over.
#[test]
fn a_store_that_asks_to_be_left_alone() {
    let texts =
        ["1", "2", "date", "0", "-5", "soon", "1.5", "99999999999999999999999", "", "Tue, 24 Nov 1987 11:00:00 GMT"];
    for_all(texts, |text| {
        for on in [On::the(Operation::PutObject).key(KEY).once(), On::the(Operation::GetObject).once()] {
            let bed = Bed::new(one(100_000));
            let (least, text) = match text {
                "date" => {
                    let then = jiff::Timestamp::now() + Duration::from_secs(3);
                    // Dates have whole seconds, and the run takes its time to come to it.
                    (Duration::ZERO, then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
                }
                text => (Duration::from_secs(text.parse().ok().filter(|it| *it < 60).unwrap_or(0)), text.to_owned()),
            };
            let server = if format!("{on:?}").contains("Get") { &bed.source } else { &bed.target };
            let fault = server.fault(on.clone(), What::slow_down(&text));
            let output = bed.run();
            assert_eq!(output.code, Some(0), "`{text}`: {output}");
            assert_eq!(server.strikes(fault), 1);
            bed.is_complete(&text);
            if !least.is_zero() {
                bed.audit().must(&["I19"]).holds(&text);
            }
            let requests = server.requests();
            let sick = requests.iter().position(|request| request.status == Some(503)).expect("one");
            let next = requests[sick + 1].at - requests[sick].at;
            assert!(next >= least, "`{text}`: asked again after {next:?}");
            assert!(next < Duration::from_secs(10), "`{text}`: asked again after {next:?}");
        }
    });
}

/// What a plan may move, ask for and copy at a time it may also while a store is sick now and then, and catches nothing up
/// afterwards.
#[test]
fn limits_are_kept_through_an_outage() {
    let objects = (0..60).map(|number| Object::new(&format!("{number}.bin"), 200_000)).collect();
    let limits = "limits: { concurrency: 3, bandwidth: 2MiB/s, regions: { target: { requests_per_second: 12, bandwidth: 2MiB/s, \
                  concurrency: 2 } } }";
    let bed = Bed::with(Route::Between, objects, Options { attempts: 20, limits, ..Options::default() });
    let asked = bed.target.fault(On::the(Operation::PutObject).nth(15..=16), What::slow_down("1"));
    bed.target.fault(On::the(Operation::PutObject).nth(30..=35), What::status(500, "InternalError"));
    bed.source.fault(On::the(Operation::GetObject).nth(40..=42), What::Stall);
    bed.run().expect(0);
    assert_eq!(bed.target.strikes(asked), 2);
    let target = json!({ "bandwidth": 2 * MIB, "requests_per_second": 12, "concurrency": 2 });
    let limits = json!({ "window_ms": 3_000, "concurrency": 3, "bandwidth": 2 * MIB, "regions": { "target": target } });
    let audit = bed.audit().finished().limits(&bed.path().join("limits.json"), &limits);
    audit.must(&["I19"]).holds("through an outage");
    bed.is_complete("through an outage");
}

/// A storm of 503s: at first every copy under way meets it, then one request at a time asks whether it is over.
#[test]
fn a_storm_is_not_made_worse() {
    let objects = (0..30).map(|number| Object::new(&format!("{number}.bin"), 20_000)).collect();
    let limits = "limits: { concurrency: 8 }";
    let bed = Bed::with(Route::Between, objects, Options { attempts: 50, limits, ..Options::default() });
    let fault = bed.target.fault(On::any().nth(1..=8), What::status(503, "SlowDown"));
    let output = bed.run();
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(bed.target.strikes(fault), 8);
    bed.is_complete("after the storm");
    let requests = bed.target.requests();
    let storm: Vec<Duration> = requests
        .iter()
        .filter(|request| request.status == Some(503))
        .map(|request| request.at.duration_since(requests[0].at))
        .collect();
    let later: Vec<_> = storm.iter().filter(|at| **at > Duration::from_secs(1)).collect();
    assert!(!later.is_empty(), "it went on asking without a pause: {storm:?}");
    for pair in later.windows(3) {
        assert!(*pair[2] >= *pair[0] + Duration::from_millis(900), "more than 2 a second: {storm:?}");
    }
}
