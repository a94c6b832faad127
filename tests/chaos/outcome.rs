//! What must be true of a plan whose runners have all ended, whatever was done to them.

use std::collections::BTreeMap;

use super::bed::{SECRETS, transfers};
use super::crew::{Crew, LEASE};
use super::s3::Operation;
use super::sentry::Silence;

/// What is left of a lease when its holder stops: a tenth.
const MARGIN_MS: i64 = 300;

/// What a runner says when its lease ended.
const LEASE_ENDED: &str = "lease ended";

/// Fails with what is wrong, or tells how leases were kept. In `silences` nobody could have been answered by the database.
#[track_caller]
pub(crate) fn is_right(crew: &Crew, silences: &[Silence]) -> Leases {
    runners_ended_well(crew);
    let what = "in the end";
    crew.bed.is_complete(what);
    crew.bed.audit().crew(&crew.bed.path().join("crew.json"), &crew.signers()).holds(what);
    is_published_once(crew);
    is_recorded_once(crew);
    let open = crew.database.count("SELECT COUNT(*) FROM backups WHERE state <> 'COMPLETED' OR claimed_by IS NOT NULL");
    assert_eq!(open, 0, "rows are not COMPLETED, or claimed");
    crew.database.changes_are_legal(crew.bed.objects.len());
    // Only what was under way when something was done to its reader, or when its lease ended, is read and sent again.
    let lapses: usize = crew.gone.iter().map(|gone| gone.said.matches(LEASE_ENDED).count()).sum();
    crew.bed.bytes_at_most(crew.disturbances() + lapses as u64, what);
    leases_of(crew, silences)
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

/// Leases, as the database saw them renewed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Leases {
    /// In time.
    pub(crate) renewed: usize,
    /// By who was kept from the database.
    pub(crate) lost: usize,
    /// By others, while nobody could have been answered.
    pub(crate) lost_in_silence: usize,
    /// By others, while the database answered: the machine had no time for them in that very moment.
    pub(crate) lost_under_load: usize,
}

impl Leases {
    pub(crate) const fn add(&mut self, more: Self) {
        self.renewed += more.renewed;
        self.lost += more.lost;
        self.lost_in_silence += more.lost_in_silence;
        self.lost_under_load += more.lost_under_load;
    }

    /// Nobody loses a lease to whom nothing is done, however busy all are. On a machine that is too busy one may; but what
    /// runners themselves do to their heartbeats they do all the time.
    pub(crate) const fn are_kept(&self) -> bool {
        self.lost_under_load * 20 <= self.renewed
    }
}

/// How the leases of a crew were kept.
fn leases_of(crew: &Crew, silences: &[Silence]) -> Leases {
    let lease_ms = i64::try_from(LEASE.as_millis()).expect("short");
    let (mut in_time_ms, mut leases) = (BTreeMap::new(), Leases::default());
    for taken in crew.database.leases() {
        // Who is late may have given up when the answer comes: what it does then is of the same cause.
        let is_late = taken.left_ms.is_some_and(|left| 0 < left && left <= lease_ms / 2);
        let last_ms = in_time_ms.entry(taken.runner).or_insert(taken.at_ms);
        let since_ms = if is_late { *last_ms } else { std::mem::replace(last_ms, taken.at_ms) };
        let Some(left_ms) = taken.left_ms else { continue };
        let is_silent = || silences.iter().any(|(from, until)| *from <= taken.at_ms && since_ms <= *until);
        let count = if left_ms > MARGIN_MS {
            &mut leases.renewed
        } else if crew.was_away(taken.pid, since_ms, taken.at_ms) {
            &mut leases.lost
        } else if is_silent() {
            &mut leases.lost_in_silence
        } else {
            &mut leases.lost_under_load
        };
        *count += 1;
    }
    leases
}
