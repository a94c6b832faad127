//! Backhaul between object stores that lie, stall and break: nothing false is COMPLETED, nothing is overwritten, nothing
//! is left behind, and no more bytes move than must. What happened is read from the servers' logs.

#[path = "support/s3/mod.rs"]
mod s3;
mod support;

#[path = "s3/bed.rs"]
mod bed;
#[path = "s3/beside.rs"]
mod beside;
#[path = "s3/changes.rs"]
mod changes;
#[path = "s3/copies.rs"]
mod copies;
#[path = "s3/credentials.rs"]
mod credentials;
#[path = "support/database_server.rs"]
mod database_server;
#[path = "s3/given_up.rs"]
mod given_up;
#[path = "s3/integrity.rs"]
mod integrity;
#[path = "s3/kills.rs"]
mod kills;
#[path = "s3/lasting.rs"]
mod lasting;
#[path = "s3/once.rs"]
mod once;
#[path = "s3/outages.rs"]
mod outages;
#[path = "s3/taken_over.rs"]
mod taken_over;
#[path = "support/witnessed.rs"]
mod witnessed;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

/// Beds at a time: most of a fault is waiting.
const AT_ONCE: usize = 4;

/// Does `work` for every item, a few at a time; when all are done, the first that panicked fails the test.
fn for_all<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let left = Mutex::new(items.into_iter().collect::<Vec<T>>().into_iter());
    let next = || left.lock().expect("no panic while it is held").next();
    let panics = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(item) = next() {
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(item))) {
                        panics.lock().expect("no panic while it is held").push(panic);
                    }
                }
            });
        }
    });
    if let Some(panic) = panics.into_inner().expect("no panic while it was held").pop() {
        resume_unwind(panic);
    }
}
