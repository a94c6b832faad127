//! Asks the database for something small all the time, as a witness of when nobody could have been answered: it was down,
//! or the machine had no time for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbErr};

use super::crew::now_ms;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// Longest wait for an answer, or for a connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// A shorter time without an answer costs nobody a lease: each is renewed every second and lasts for three, so that it
/// bears three times as much.
const SHORT_MS: i64 = 500;

/// From when to when, in milliseconds since 1970.
pub(crate) type Silence = (i64, i64);

/// Until it is dropped.
pub(crate) struct Sentry {
    silences: Arc<Mutex<Vec<Silence>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sentry {
    pub(crate) fn at(url: String) -> Self {
        let (silences, is_over) = (Arc::<Mutex<Vec<Silence>>>::default(), Arc::<AtomicBool>::default());
        let (noted, ends) = (Arc::clone(&silences), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (mut connection, mut since_ms) = (None, now_ms());
            while !ends.load(Ordering::Relaxed) {
                let is_answered = runtime.block_on(async {
                    let is_answered = tokio::time::timeout(PATIENCE, ask(&url, &mut connection)).await == Ok(true);
                    connection.take_if(|_| !is_answered);
                    is_answered
                });
                if is_answered {
                    let until_ms = now_ms();
                    if until_ms - since_ms > SHORT_MS {
                        noted.lock().expect("no panic meanwhile").push((since_ms, until_ms));
                    }
                    since_ms = until_ms;
                }
                std::thread::sleep(PAUSE);
            }
        });
        Self { silences, is_over, thread: Some(thread) }
    }

    /// When nobody was answered for long enough to lose a lease.
    pub(crate) fn silences(&self) -> Vec<Silence> {
        self.silences.lock().expect("no panic meanwhile").clone()
    }
}

impl Drop for Sentry {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

/// Whether there was an answer.
async fn ask(url: &str, connection: &mut Option<DatabaseConnection>) -> bool {
    let asked: Result<(), DbErr> = async {
        if connection.is_none() {
            let mut options = ConnectOptions::new(url);
            options.max_connections(1).sqlx_logging(false);
            *connection = Some(sea_orm::Database::connect(options).await?);
        }
        let connection = connection.as_ref().expect("just made");
        // A write, as a renewal is.
        connection.execute_unprepared("SELECT txid_current()").await.map(|_| ())
    }
    .await;
    asked.is_ok()
}
