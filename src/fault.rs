//! Named points between two durable facts, where a test ends the process as a crash would.
//!
//! `BACKHAUL_FAULT=name` or `name:n` aborts at the n-th time (from 1) the point is reached, `name:n:panic` panics there;
//! `BACKHAUL_FAULT_LOG=file` adds a line with its name to `file` at every point. Without the feature `fault-points`, which
//! no shipped build has, the function is empty.

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

    static CHOSEN: LazyLock<Option<(String, AtomicU32, bool)>> = LazyLock::new(|| {
        let chosen = std::env::var("BACKHAUL_FAULT").ok()?;
        let (chosen, panics) = chosen.strip_suffix(":panic").map_or((&*chosen, false), |chosen| (chosen, true));
        let (name, nth) = chosen.split_once(':').unwrap_or((chosen, "1"));
        Some((name.to_owned(), AtomicU32::new(nth.parse().ok()?), panics))
    });
    if let Some(log) = std::env::var_os("BACKHAUL_FAULT_LOG")
        && let Ok(mut log) = std::fs::OpenOptions::new().create(true).append(true).open(log)
    {
        // One write a line: lines of several threads do not mix.
        let _ = std::io::Write::write_all(&mut log, format!("{name}\n").as_bytes());
    }
    if let Some((chosen, left, panics)) = &*CHOSEN
        && chosen == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        assert!(!panics, "the fault point `{name}`");
        std::process::abort();
    }
}
