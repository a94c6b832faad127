//! Named points between two durable facts, where a test ends the process as a crash would.
//!
//! `BACKHAUL_FAULT=name` or `name:n` aborts at the n-th time (from 1) the point is reached, `name:n:panic` panics there,
//! `name:n:stop` stops the process there until a SIGCONT; `BACKHAUL_FAULT_LOG=file` adds a line with its name to `file` at
//! every point. Without the feature `fault-points`, which no shipped build has, the function is empty.

/// Passes the point `name`; with the feature `fault-points`, perhaps for the last time.
#[cfg(not(feature = "fault-points"))]
pub const fn point(_name: &str) {}

/// Passes the point `name`; with the feature `fault-points`, perhaps for the last time.
///
/// # Panics
/// Where that is asked for.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static CHOSEN: LazyLock<Option<(String, AtomicU32, String)>> = LazyLock::new(|| {
        let chosen = std::env::var("BACKHAUL_FAULT").ok()?;
        let mut words = chosen.splitn(3, ':');
        let (name, nth, what) = (words.next()?, words.next().unwrap_or("1"), words.next().unwrap_or_default());
        Some((name.to_owned(), AtomicU32::new(nth.parse().ok()?), what.to_owned()))
    });
    if let Some(log) = std::env::var_os("BACKHAUL_FAULT_LOG")
        && let Ok(mut log) = std::fs::OpenOptions::new().create(true).append(true).open(log)
    {
        // One write a line: lines of several threads do not mix.
        let _ = std::io::Write::write_all(&mut log, format!("{name}\n").as_bytes());
    }
    if let Some((chosen, left, what)) = &*CHOSEN
        && chosen == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        match &**what {
            "panic" => panic!("the fault point `{name}`"),
            "stop" => stop(),
            _ => std::process::abort(),
        }
    }
}

/// Stops all threads, this one before it goes on.
#[cfg(feature = "fault-points")]
fn stop() {
    use rustix::process::{Signal, getpid, kill_process};

    let _ = kill_process(getpid(), Signal::STOP);
    // The signal may have been given to another thread, which stops this one a moment later.
    std::thread::sleep(std::time::Duration::from_secs(1));
}
