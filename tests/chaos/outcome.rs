//! What must be true of a plan whose runners have all ended, whatever was done to them.

use std::collections::BTreeMap;

use super::bed::{BUCKET, SECRETS, transfers};
use super::crew::{Crew, LEASE};
use super::s3::Operation;
use super::sentry::Silence;
use super::support::wait_until;

/// What is left of a lease when its holder stops: a tenth.
const MARGIN_MS: i64 = 300;

/// How long what a silence has begun may go on after it: all connect anew at once, on a machine that has little time.
const AFTERMATH_MS: i64 = 6_000;

/// What a runner says when its lease ended.
const LEASE_ENDED: &str = "lease ended";

/// Fails with what is wrong. In `silences` nobody could have been answered by the database.
#[track_caller]
pub(crate) fn is_right(crew: &Crew, silences: &[Silence]) -> Leases {
    runners_ended_well(crew);
    sweep(crew);
    let what = "in the end";
    crew.bed.is_complete(what);
    is_published_once(crew);
    is_recorded_once(crew);
    let open = crew.database.count("SELECT COUNT(*) FROM backups WHERE state <> 'COMPLETED' OR claimed_by IS NOT NULL");
    assert_eq!(open, 0, "rows are not COMPLETED, or claimed");
    crew.database.changes_are_legal(crew.bed.objects.len());
    // Only what was under way when something was done to its reader, or when its lease ended, is read and sent again.
    let lapses: usize = crew.gone.iter().map(|gone| gone.said.matches(LEASE_ENDED).count()).sum();
    crew.bed.bytes_at_most(crew.disturbances() + lapses as u64, what);
    leases_were_kept(crew, silences)
}

/// Exit 0; or killed; or parted from the database for too long; or they came while it was away, and were sent away.
#[track_caller]
fn runners_ended_well(crew: &Crew) {
    for gone in &crew.gone {
        let said = &gone.said;
        assert!(!said.contains("panicked at"), "a panic: {gone:?}");
        assert!(!SECRETS.iter().any(|secret| said.contains(secret)), "a secret was said: {gone:?}");
        let was_sent_away = said.contains("nothing was touched; run the same command again");
        let is_excused = was_sent_away || crew.was_away(gone.pid, 0, i64::MAX);
        let ended_well = gone.code == Some(0) || gone.was_killed || (gone.code == Some(6) && is_excused);
        assert!(ended_well, "{gone:?}");
    }
}

/// A request to begin an upload that a runner had sent when it was stopped or cut off may get to the store after others
/// have looked for what it left: `gc` ends what comes of it, as the manual says.
#[track_caller]
fn sweep(crew: &Crew) {
    if crew.bed.target.open_uploads(BUCKET).is_empty() {
        return;
    }
    assert!(crew.disturbances() > 0, "an upload is open, and nothing was done to anybody");
    // The leases of the dead have to end first.
    wait_until("`gc` is let in", || crew.bed.call("gc", &[]).code != Some(5));
}

/// Each object was made visible by one request. (One whose answer nobody waited for may have done it.)
#[track_caller]
fn is_published_once(crew: &Crew) {
    let publishing = transfers(&crew.bed.target, &[Operation::PutObject, Operation::CompleteMultipartUpload]);
    let mut published: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for request in &publishing {
        let [succeeded, unanswered] = published.entry(&request.key).or_default();
        *succeeded += usize::from(request.succeeded());
        *unanswered += usize::from(request.status.is_none());
    }
    for object in &crew.bed.objects {
        let [succeeded, unanswered] = published.get(object.name.as_str()).copied().unwrap_or_default();
        let is_once = succeeded == 1 || (succeeded == 0 && unanswered > 0);
        assert!(is_once, "`{}` was published by {succeeded} requests, {unanswered} had no answer", object.name);
    }
}

#[track_caller]
fn is_recorded_once(crew: &Crew) {
    let mut lines: BTreeMap<_, usize> = BTreeMap::new();
    for record in crew.bed.records() {
        *lines.entry(record.id).or_default() += 1;
    }
    assert_eq!(lines.len(), crew.bed.objects.len(), "records");
    assert!(lines.values().all(|count| *count == 1), "recorded twice: {lines:?}");
}

/// Leases of a crew, as the database saw them renewed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Leases {
    /// In time.
    pub(crate) renewed: usize,
    /// By who was kept from the database.
    pub(crate) lost: usize,
    /// By others, while nobody could have been answered.
    pub(crate) lost_in_silence: usize,
}

/// Nobody lost a lease, or said so, to whom nothing was done, however busy all were.
#[track_caller]
fn leases_were_kept(crew: &Crew, silences: &[Silence]) -> Leases {
    let lease_ms = i64::try_from(LEASE.as_millis()).expect("short");
    let (mut pids, mut in_time_ms, mut leases) = (BTreeMap::new(), BTreeMap::new(), Leases::default());
    let all = crew.database.leases();
    for taken in &all {
        pids.insert(taken.runner.clone(), taken.pid);
        // Who is late may have given up when the answer comes: what it does then is of the same cause.
        let is_late = taken.left_ms.is_some_and(|left| 0 < left && left <= lease_ms / 2);
        let last_ms = in_time_ms.entry(taken.runner.clone()).or_insert(taken.at_ms);
        let since_ms = if is_late { *last_ms } else { std::mem::replace(last_ms, taken.at_ms) };
        let Some(left_ms) = taken.left_ms else { continue };
        if left_ms > MARGIN_MS {
            leases.renewed += 1;
        } else if crew.was_away(taken.pid, since_ms, taken.at_ms) {
            leases.lost += 1;
        } else {
            let is_of = |(from, until): &Silence| *from <= taken.at_ms && since_ms <= *until + AFTERMATH_MS;
            let all = || all.iter().filter(|one| one.runner == taken.runner).collect::<Vec<_>>();
            assert!(
                silences.iter().any(is_of),
                "a lease was lost by a runner to whom nothing was done: {taken:?} of {:?}; {silences:?}",
                all()
            );
            leases.lost_in_silence += 1;
        }
    }
    let is_excused = |pid: u32| !silences.is_empty() || crew.was_away(pid, 0, i64::MAX);
    for gone in crew.gone.iter().filter(|gone| gone.said.contains(LEASE_ENDED)) {
        assert!(is_excused(gone.pid), "a runner to whom nothing was done lost its lease: {gone:?}");
    }
    let killed: Vec<u32> = crew.gone.iter().filter(|gone| gone.was_killed).map(|gone| gone.pid).collect();
    for change in crew.database.changes().iter().filter(|change| change.changes_hands()) {
        let owner = pids[change.owners[0].as_ref().expect("it had one")];
        let is_excused = killed.contains(&owner) || is_excused(owner);
        assert!(is_excused, "taken from a runner to whom nothing was done, {owner}: {change:?}");
    }
    leases
}
