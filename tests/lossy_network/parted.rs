//! A store that cannot be reached while the database can: its steps back off, the lease is kept, and nobody else waits.

use std::time::{Duration, Instant};

use super::bed::{Bed, Object, Options, PART, Route, honest};
use super::database_server::{DatabaseServer, Kind};
use super::own_network::{Network, in_own_network};
use super::s3::{On, Operation};
use super::support::{Running, skip, wait_until};
use super::way::Way;
use super::witnessed::{LeaseTaken, Witnessed};
use super::{ended, for_all};

/// Of every run here; renewed each second.
const LEASE: Duration = Duration::from_secs(3);

/// Of the bed's limits: each of so many copies meets the store that is gone.
const SMALL: u64 = 24;

/// Requests that wait for a store that is gone hold a place for a second, four times. If each copy did that in every
/// attempt, the others would wait for minutes.
const SOON: Duration = Duration::from_secs(45);

/// A run whose target is gone, and that works for a folder too.
struct Parted<'network> {
    bed: Bed,
    database: Witnessed,
    running: Running,
    way: Way<'network>,
    since: Instant,
    leases_before: usize,
}

impl<'network> Parted<'network> {
    /// Parts are on their way when the target goes.
    fn from_its_target(server: &DatabaseServer, network: &'network Network, attempts: u16) -> Self {
        let database = Witnessed::make(server, "parted");
        let mut objects = vec![Object::new("large.xbstream.gz", 2 * PART)];
        objects.extend((0..SMALL).map(|number| Object::new(&format!("{number}.bin"), 20_000 + number)));
        let url = Some(database.url.clone());
        let limits = "limits: { concurrency: 4 }";
        let options = Options { attempts, timeout: "1s", limits, database: url, ..Options::default() };
        let bed = Bed::with(Route::Between, objects, options);
        bed.with_a_folder_beside();
        let gate = bed.target.hold(On::the(Operation::UploadPart));
        let running = Running::start(&mut bed.command("run", &["-v", "--lease", "3s", "--heartbeat", "1s"]));
        gate.wait_for(1);
        let way = Way::to(bed.target.port(), network);
        way.loses_all();
        let (since, leases_before) = (Instant::now(), database.leases().len());
        Self { bed, database, running, way, since, leases_before }
    }

    /// The folder has all that it is to have, although the target is gone.
    fn others_are_not_held_up(&mut self) {
        wait_until("the folder has all", || {
            assert!(!self.running.has_ended(), "it gave up at once");
            self.bed.is_in_folder()
        });
        assert!(self.since.elapsed() < SOON, "others were held up for {:?}", self.since.elapsed());
    }

    /// Requests to a store that is gone become seldom. (A connection is asked for by one to three packets.)
    fn backs_off(&self) {
        let (asked, since) = (self.way.packets().opening, self.since.elapsed());
        assert!(asked < 40, "{asked} packets for new connections in {since:?}");
    }

    /// Leases taken or renewed since the target went; none was over before.
    fn renewals(&self) -> Vec<LeaseTaken> {
        let leases = self.database.leases();
        assert!(leases.iter().all(|taken| !taken.was_over()), "a lease was lost: {leases:?}");
        leases.into_iter().skip(self.leases_before).collect()
    }
}

/// On both kinds of server, each with its own stores.
fn on_both(test: &'static str, work: impl Fn(&DatabaseServer, &Network) + Sync) {
    in_own_network(test, |network| {
        for_all([Kind::PostgreSql, Kind::MariaDb], |kind| match DatabaseServer::start(kind) {
            Ok(server) => work(&server, network),
            Err(why) => skip(test, &why),
        });
    });
}

#[test]
fn a_run_keeps_its_lease_and_goes_on_when_a_store_is_back() {
    on_both("parted::a_run_keeps_its_lease_and_goes_on_when_a_store_is_back", |server, network| {
        let mut parted = Parted::from_its_target(server, network, 50);
        parted.others_are_not_held_up();
        wait_until("two leases have passed", || parted.since.elapsed() > 2 * LEASE && parted.renewals().len() >= 6);
        assert!(!parted.running.has_ended(), "{:?}: it gave up", server.kind);
        parted.backs_off();
        parted.way.heals();
        let Parted { bed, database, running, .. } = parted;
        let output = ended(running).expect(0);
        assert!(!output.stderr.contains("lease ended"), "{output}");
        bed.is_complete("the target is back");
        database.changes_are_legal(2 * bed.objects.len());
    });
}

#[test]
fn a_run_keeps_its_lease_and_fails_what_a_store_that_stays_away_should_get() {
    on_both("parted::a_run_keeps_its_lease_and_fails_what_a_store_that_stays_away_should_get", |server, network| {
        let mut parted = Parted::from_its_target(server, network, 4);
        parted.others_are_not_held_up();
        wait_until("it has ended", || parted.running.has_ended());
        let took = parted.since.elapsed();
        assert!(took > 2 * LEASE, "it gave up within two leases: {took:?}");
        let renewals = parted.renewals();
        assert!(renewals.len() >= 6, "{renewals:?}");
        let Parted { bed, database, running, way, .. } = parted;
        let output = honest(running.wait()).expect(3);
        assert!(!output.stderr.contains("lease ended"), "{output}");
        let cause = format!("{} failed: a store or catalog cannot be reached", bed.objects.len());
        assert!(output.stdout.contains(&cause), "{output}");
        assert!(bed.is_true("the target is gone") == 0 && bed.records().is_empty());
        way.heals();
        bed.completes("the target is back");
        database.changes_are_legal(2 * bed.objects.len());
    });
}
