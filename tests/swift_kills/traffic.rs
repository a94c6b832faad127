//! What both Swifts were asked on behalf of a bed, read off their own logs.

use std::collections::BTreeMap;

use crate::bed::{Bed, MIB, Route, segment};
use crate::openstack::{ONE, OpenStack, Request, TWO};

/// Since when, and what was finished when runs were killed.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    one: usize,
    two: usize,
    /// How often each segment that had its row had been sent by then; the latest of each copy may not be logged yet.
    finished: BTreeMap<String, usize>,
}

impl Traffic {
    pub(crate) fn from_now_on(openstack: &OpenStack) -> Self {
        let [one, two] = [ONE, TWO].map(|region| openstack.swift_log(region).len());
        Self { one, two, finished: BTreeMap::new() }
    }
}

/// The object of a request, from its account on.
fn object(request: &Request) -> &str {
    let path = request.path.strip_prefix("/v1/").unwrap_or(&request.path);
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn is_of_manifest(request: &Request) -> bool {
    request.path.contains("multipart-manifest=")
}

fn times_stored(log: &[Request], path: &str) -> usize {
    log.iter().filter(|request| request.method == "PUT" && request.status == 201 && object(request) == path).count()
}

impl Bed<'_> {
    fn log(&self, region: &str) -> Vec<Request> {
        let traffic = self.traffic.lock().expect("no panic while it is held");
        let start = if region == ONE { traffic.one } else { traffic.two };
        self.ground.openstack.swift_log(region).split_off(start)
    }

    /// Notes what needs never be sent again.
    pub(crate) fn note_finished(&self) {
        if self.options.route == Route::ToFile {
            return;
        }
        let log = self.log(TWO);
        let mut traffic = self.traffic.lock().expect("no panic while it is held");
        for (row, parts) in self.rows(0) {
            if row.upload_token.is_none() {
                continue;
            }
            for part in parts.iter().rev().skip(1) {
                let path = segment(&row, part.number);
                let times = times_stored(&log, &path);
                assert!(times > 0, "{path} has a row and was never stored");
                traffic.finished.entry(path).or_insert(times);
            }
        }
    }

    /// No finished segment was sent a second time; and no more bytes were sent than objects have, `wholes` times, and a
    /// segment of each for every kill.
    #[track_caller]
    pub(crate) fn sent_at_most(&self, wholes: u64, kills: u64, what: &str) {
        if self.options.route == Route::ToFile {
            return;
        }
        let log = self.log(TWO);
        for (path, times) in &self.traffic.lock().expect("no panic while it is held").finished {
            assert_eq!(times_stored(&log, path), *times, "{what}: {path} was finished, and sent again");
        }
        let account = format!("AUTH_{}", self.ground.openstack.project(&self.target_tenant()));
        for (backup, id) in &self.backups {
            let prefix = format!("{account}/{}/{id}", self.name);
            let puts = log.iter().filter(|request| request.method == "PUT" && !is_of_manifest(request));
            let sent: u64 =
                puts.filter(|request| object(request).starts_with(&prefix)).map(|request| request.received).sum();
            let size = backup.bytes.expect("an object");
            let is_in_pieces = match self.options.route {
                Route::Between => backup.slo == Some(true) && !self.options.api,
                _ => size > 3 * MIB,
            };
            let piece = match self.options.route {
                _ if !is_in_pieces => size,
                Route::Between => MIB,
                _ => 3 * MIB,
            };
            let most = wholes * size + kills * piece;
            assert!(sent >= size, "{what}: `{}`: {sent} bytes sent of {size}", backup.name);
            assert!(sent <= most, "{what}: `{}`: {sent} bytes sent, at most {most}", backup.name);
        }
    }

    /// No more bytes were read of the source than objects have, and for every kill what was under way: a segment, or the
    /// parts that are sent to a folder at a time. Only where no other bed reads the tenant's objects meanwhile.
    #[track_caller]
    pub(crate) fn read_at_most(&self, kills: u64, what: &str) {
        let log = self.log(ONE);
        for (backup, _) in &self.backups {
            let gets =
                log.iter().filter(|request| request.is_ours() && request.method == "GET" && !is_of_manifest(request));
            let of_it = gets.filter(|request| request.path.contains(&backup.id));
            let read: u64 = of_it.map(|request| request.sent).sum();
            let size = backup.bytes.expect("an object");
            let parts = if self.options.route == Route::ToFile { backhaul::copy::PARTS_IN_FLIGHT as u64 } else { 1 };
            let most = size + kills * size.min(parts * MIB);
            assert!(read >= size, "{what}: `{}`: {read} bytes read of {size}", backup.name);
            assert!(read <= most, "{what}: `{}`: {read} bytes read, at most {most}", backup.name);
        }
    }

    /// Nothing of the source was ever written.
    #[track_caller]
    pub(crate) fn source_is_untouched(&self, what: &str) {
        let account = format!("AUTH_{}", self.ground.openstack.project(self.options.tenant));
        let log = self.log(ONE);
        let written = log.iter().find(|request| request.writes() && object(request).starts_with(&account));
        assert_eq!(written, None, "{what}: the source was written");
        let twin = self.ground.openstack.swift_log(TWO);
        assert!(twin.iter().all(|request| !request.path.contains(&account)), "{what}: the tenant is in region-two");
    }
}
