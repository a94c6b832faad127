//! Networks that lose packets, answers, or whole connections, and tell nobody: what stalls is cut and made again, and the
//! copies are whole, once each.

#[path = "s3/bed.rs"]
mod bed;
#[path = "s3/beside.rs"]
mod beside;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "support/own_network.rs"]
mod own_network;
#[path = "lossy_network/parted.rs"]
mod parted;
#[path = "support/s3/mod.rs"]
mod s3;
mod support;
#[path = "lossy_network/way.rs"]
mod way;
#[path = "support/witnessed.rs"]
mod witnessed;

use std::time::{Duration, Instant};

use Operation::{CompleteMultipartUpload, CreateMultipartUpload, GetObject, UploadPart};
use bed::{Bed, Object, Options, PART, Route, honest, one};
use own_network::in_own_network;
use s3::{Gate, On, Operation, Request, S3Server, What};
use support::{Output, Running, wait_until};
use way::Way;

const KEY: &str = "only.xbstream.gz";

/// After which a bed's regions give a request up that shows no sign of life.
const STALL: Duration = Duration::from_secs(2);

/// Waits for its end, and not for ever: it must not hang. How long TCP takes where much is lost is a matter of luck.
#[track_caller]
fn ended(mut running: Running) -> Output {
    let start = Instant::now();
    while !running.has_ended() {
        assert!(start.elapsed() < Duration::from_mins(3), "the run hangs");
        std::thread::sleep(Duration::from_millis(2));
    }
    honest(running.wait())
}

/// Does `work` for every item, all at once: most of it is waiting.
fn for_all<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let work = &work;
    std::thread::scope(|scope| {
        for item in items {
            scope.spawn(move || work(item));
        }
    });
}

fn attempts(attempts: u16) -> Options {
    Options { attempts, ..Options::default() }
}

/// A copy that is in the middle of something.
struct Midway {
    bed: Bed,
    running: Running,
    /// What it is in the middle of.
    operation: Operation,
    /// Before which those requests stand, if they are made to.
    gate: Option<Gate>,
}

impl Midway {
    /// Meets a copy while some of the source's answer is on its way (a GET), or while all that it asks of the target is
    /// of this operation, has arrived, and waits to be looked at.
    fn of(operation: Operation, options: Options) -> Self {
        let is_read = operation == GetObject;
        let bed = Bed::with(Route::Between, one(if is_read { PART } else { PART + 100_000 }), options);
        if is_read {
            let slowly = What::Drip { bytes: 64 << 10, every: Duration::from_millis(100) };
            bed.source.fault(On::the(operation).once(), slowly);
        }
        let gate = (!is_read).then(|| bed.target.hold(On::the(operation)));
        let running = bed.start();
        match &gate {
            Some(gate) => gate.wait_for(if operation == UploadPart { 2 } else { 1 }),
            None => wait_until("some of the body is sent", || {
                bed.source.requests_of(operation).first().is_some_and(|request| request.bytes_out > PART / 8)
            }),
        }
        Self { bed, running, operation, gate }
    }

    /// The one that it is talking to.
    fn server(&mut self) -> &mut S3Server {
        if self.operation == GetObject { &mut self.bed.source } else { &mut self.bed.target }
    }

    /// Lets those requests go on that stand before the gate.
    fn go_on(&mut self) {
        self.gate = None;
    }

    /// It ends well: what stalled was cut and asked for again, the copy is there once, and nothing is left behind.
    #[track_caller]
    fn ends_well(self) {
        let Self { bed, running, operation, .. } = self;
        let what = format!("{operation:?}");
        let output = ended(running);
        assert_eq!(output.code, Some(0), "{what}: {output}");
        bed.is_complete(&what);
        let asked = if operation == GetObject { &bed.source } else { &bed.target }.requests_of(operation);
        let after = |(n, first): (usize, &Request)| {
            asked[n + 1..].iter().find(|next| next.part == first.part).map(|next| next.at - first.at)
        };
        let again = asked.iter().enumerate().find_map(after);
        let again = again.unwrap_or_else(|| panic!("{what}: was not asked again: {asked:?}"));
        // What ends by itself ends at once, and the kernel's own patience is half a minute.
        assert!(again > STALL / 2 && again < 10 * STALL, "{what}: asked again after {again:?}");
        let published = bed.target.requests_of(CompleteMultipartUpload);
        let published = published.iter().filter(|request| request.succeeded()).count();
        assert_eq!(published, usize::from(operation != GetObject), "{what}: published");
    }
}

#[test]
fn three_of_ten_packets_are_lost() {
    in_own_network("three_of_ten_packets_are_lost", |network| {
        for_all([Route::ToS3, Route::FromS3], |route| {
            let objects = vec![Object::new("large.xbstream.gz", PART + 100_000), Object::new("small.bin", 50_000)];
            let bed = Bed::with(route, objects, attempts(50));
            let ways = [&bed.source, &bed.target].map(|server| Way::to(server.port(), network));
            for way in &ways {
                way.loses_three_of_ten();
            }
            let output = ended(bed.start());
            assert_eq!(output.code, Some(0), "{route:?}: {output}");
            bed.is_complete(&format!("{route:?}"));
            for (way, is_used) in ways.iter().zip([route != Route::ToS3, route != Route::FromS3]) {
                let packets = way.packets();
                let is_lossy = packets.lost_to_server > 0 && packets.lost_to_client > 0;
                assert_eq!(is_lossy, is_used, "{route:?}: {packets:?}");
            }
        });
    });
}

/// All that is asked arrives and is done, and no answer comes back until the run has given up and connects anew.
#[test]
fn answers_are_lost() {
    in_own_network("answers_are_lost", |network| {
        for_all([GetObject, CreateMultipartUpload, UploadPart, CompleteMultipartUpload], |operation| {
            let mut midway = Midway::of(operation, attempts(20));
            let way = Way::to(midway.server().port(), network);
            way.loses_answers();
            midway.go_on();
            wait_until("it connects anew", || way.packets().opening > 0);
            assert!(way.packets().lost_to_client > 0, "{operation:?}: nothing was lost");
            way.heals();
            midway.ends_well();
        });
    });
}

/// The server has closed its connections, and the run was not told; a new connection would work.
#[test]
fn connections_are_half_open() {
    in_own_network("connections_are_half_open", |network| {
        for_all([GetObject, UploadPart, CompleteMultipartUpload], |operation| {
            let mut midway = Midway::of(operation, attempts(20));
            let way = Way::to(midway.server().port(), network);
            way.kills_connections();
            midway.server().close();
            midway.server().reopen();
            midway.go_on();
            wait_until("it connects anew", || way.packets().opening > 0);
            assert!(way.packets().lost_to_client > 0, "{operation:?}: the end was told");
            midway.ends_well();
        });
    });
}

#[test]
fn a_store_is_gone_for_good() {
    in_own_network("a_store_is_gone_for_good", |network| {
        let operations = [(GetObject, "read"), (UploadPart, "write"), (CompleteMultipartUpload, "publish")];
        for_all(operations, |(operation, doing)| {
            let mut midway = Midway::of(operation, attempts(1));
            let port = midway.server().port();
            let way = Way::to(port, network);
            way.loses_all();
            midway.go_on();
            let output = ended(midway.running);
            assert_eq!(output.code, Some(3), "{operation:?}: {output}");
            let region = if operation == GetObject { "source" } else { "target" };
            let why = format!("cannot {doing} `{KEY}` in bed-{region}: 127.0.0.1:{port} sent and took no byte for 2 s");
            let ends = |end: &str| output.stdout.contains(&format!("{why}{end}"));
            // Of two parts one asks whether the store is there again; the other does not wait long for what it finds.
            let gave_up_sooner = operation == UploadPart && ends("; it is left alone for ");
            assert!(ends(" (4 tries)\n") || gave_up_sooner, "{operation:?}: {output}");
            let cause = "1 failed: a store or catalog cannot be reached";
            assert!(output.stdout.contains(cause), "{operation:?}: {output}");
            assert!(midway.bed.is_true("gone") == 0 && midway.bed.records().is_empty(), "{operation:?}");
            way.heals();
            midway.bed.completes(&format!("{operation:?}"));
        });
    });
}

#[test]
fn a_store_was_gone_before() {
    in_own_network("a_store_was_gone_before", |network| {
        let bed = Bed::with(Route::Between, one(100_000), attempts(1));
        let port = bed.source.port();
        let way = Way::to(port, network);
        way.loses_all();
        let output = ended(bed.start());
        assert_eq!(output.code, Some(6), "{output}");
        let why = format!("bed-source: 127.0.0.1:{port} sent and took no byte for 2 s");
        assert!(output.stdout.contains(&why) || output.stderr.contains(&why), "{output}");
        assert_eq!(bed.source.requests().len(), 0);
        way.heals();
        bed.completes("it came back");
    });
}
