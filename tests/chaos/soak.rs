//! All of it at once for as long as one has time, beside a plan that lasts as long and whose oldest runner is never killed:
//! what it holds is told every minute.

use std::time::{Duration, Instant};

use super::bed::Object;
use super::crew::{Crew, Work};
use super::disorder::Disorder;
use super::{tell, work};

/// Of the plan that lasts.
const BYTES_PER_SECOND: u64 = 32 << 10;

const OBJECT: u64 = 25_000;

/// Plans beside it at a time.
const BESIDE: usize = 2;

/// Plans until the time is over, then those to their ends that are under way.
pub(crate) fn soak(disorder: &mut Disorder<'_>, time: Duration) {
    let (began, mut told, mut numbers) = (Instant::now(), 0, 0..);
    while began.elapsed() < time || disorder.under_way() > 0 {
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            disorder.calms();
        } else {
            if disorder.lasting().is_none() {
                disorder.begins(&lasting(numbers.next().expect("endless"), left), true);
            }
            while disorder.under_way() <= BESIDE {
                disorder.begins(&work(numbers.next().expect("endless")), false);
            }
        }
        disorder.goes_on();
        let minutes = began.elapsed().as_secs() / 60;
        if minutes > told {
            told = minutes;
            let oldest = disorder.lasting().and_then(Crew::oldest);
            tell(&format!("minute {minutes}: {}; {}", disorder.tally(), held(oldest)));
        }
    }
}

/// Small backups for most of the time that is left; what is done to their runners takes the rest of it.
fn lasting(number: usize, left: Duration) -> Work {
    let count = (BYTES_PER_SECOND * left.as_secs() * 3 / 4 / OBJECT).max(10);
    let objects = (0..count).map(|at| Object::new(&format!("many/{at}.xbstream.gz"), OBJECT / 2 + at * 7_919 % OBJECT));
    Work { number, objects: objects.collect(), bytes_per_second: BYTES_PER_SECOND, held: None }
}

/// Memory and descriptors of a process.
fn held(pid: Option<u32>) -> String {
    let Some(pid) = pid else { return "no runner is oldest now".to_owned() };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or(" none").trim();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    format!("runner {pid}: {resident} resident, {descriptors} descriptors")
}
