//! Bytes and durations as a person reads them.

use std::time::Duration;

/// Bytes in binary units, three digits at most: `812 GiB`, `1.2 TiB`, `64 MiB`, `17 B`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = 0;
    // In tenths, rounded; rounding itself may lead to the next unit (1023.96 KiB is 1 MiB).
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        unit += 1;
        let size = 1_u128 << (10 * unit);
        tenths = (u128::from(bytes) * 10 + size / 2) / size;
        if tenths >= 1_000 {
            tenths = (tenths + 5) / 10 * 10;
        }
    }
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {}", UNITS[unit]),
        (whole, tenth) => format!("{whole}.{tenth} {}", UNITS[unit]),
    }
}

/// A duration in its two largest units: `1 h 52 m`, `2 d`, `31 m 5 s`, `9 s`. Parts of a second are dropped.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(units.len() - 1);
    let (size, unit) = units[first];
    let rest = seconds % size;
    match units.get(first + 1).map(|(size, unit)| (rest / size, unit)) {
        Some((count, smaller)) if count > 0 => format!("{} {unit} {count} {smaller}", seconds / size),
        _ => format!("{} {unit}", seconds / size),
    }
}

/// A guess at a duration: whole minutes from the first minute on, rounded up.
pub(super) fn format_guess(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format_duration(Duration::from_secs(if seconds < 60 { seconds } else { seconds.div_ceil(60) * 60 }))
}

/// `1 chain`, `2 chains`, `2 copies`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if count == 1 => format!("1 {noun}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_at_most_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            (64 << 20, "64 MiB"),
            (812 << 30, "812 GiB"),
            ((812 << 30) + (700 << 20), "813 GiB"),
            ((1 << 20) - 1, "1 MiB"),
            (1_319_413_953_331, "1.2 TiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(format_bytes(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 m"),
            (75, "1 m 15 s"),
            (6_720, "1 h 52 m"),
            (7_201, "2 h"),
            (90_000, "1 d 1 h"),
            (172_859, "2 d"),
        ] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(format_guess(Duration::from_secs(61)), "2 m");
        assert_eq!(format_guess(Duration::from_secs(3_599)), "1 h");
        assert_eq!(format_guess(Duration::from_millis(9_999)), "9 s");
    }

    #[test]
    fn nouns_are_counted_as_people_do() {
        for (count, noun, text) in [
            (0, "chain", "0 chains"),
            (1, "chain", "1 chain"),
            (2, "more backup", "2 more backups"),
            (1, "backup strategy", "1 backup strategy"),
            (3, "backup strategy", "3 backup strategies"),
        ] {
            assert_eq!(counted(count, noun), text);
        }
    }
}
