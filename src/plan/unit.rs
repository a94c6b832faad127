//! Sizes, rates and durations as a plan writes them, both ways: what is formatted here parses to the same value.

use std::time::Duration;

/// The units of a size. Decimal ones (`MB`) are refused: some tools mean 1000 by them and some 1024.
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The units of a duration, in seconds, in the order in which they are written.
const DURATION_UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Longest duration: a hundred years.
const DURATION_SECONDS_MAX: u64 = 36_500 * 86_400;

/// Why a text is no size, rate or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UnitError {
    /// Completes "`5MB` …": "is unclear: …".
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl UnitError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Reads `32MiB`, `1.5 GiB`, `1048576B`; 0 is possible.
///
/// # Errors
/// [`UnitError`] for a missing or unclear unit, a fraction of a byte, or 16 EiB and more.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split_unit(text);
    let list = "sizes are written like `512KiB`, `32MiB`, `1.5GiB`, `2TiB` or `1048576B`";
    if number.starts_with('-') {
        return Err(UnitError::new("is less than nothing", list));
    }
    let factor = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None => return Err(unknown_size_unit(number, unit, list)),
    };
    scaled(number, factor).map_err(|why| match why {
        NumberError::Syntax => UnitError::new("is not a size", list),
        NumberError::Fraction => UnitError::new("is not a whole number of bytes", list),
        NumberError::TooLarge => UnitError::new("is too large", "the largest size is 16 EiB less one byte"),
    })
}

fn unknown_size_unit(number: &str, unit: &str, list: &str) -> UnitError {
    let is_number = !matches!(scaled(number, 1), Err(NumberError::Syntax));
    let meant = match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        "b" => Some("B"),
        _ => None,
    };
    match (is_number, unit, meant) {
        (false, ..) => UnitError::new("is not a size", list),
        (true, "", _) => UnitError::new("has no unit", list),
        (true, _, Some(meant)) if meant.eq_ignore_ascii_case(unit) => {
            UnitError::new("has an unclear unit", format!("write `{number}{meant}`"))
        }
        (true, "m", _) => UnitError::new("has an unclear unit: `m` is minutes, and not a size", list),
        (true, _, Some(meant)) => UnitError::new(
            format!("has an unclear unit: by `{unit}` some tools mean powers of 1000 and some of 1024"),
            format!("write `{number}{meant}` for powers of 1024; {list}"),
        ),
        (true, _, None) => UnitError::new(format!("has an unknown unit `{unit}`"), list),
    }
}

/// Reads `200MiB/s`, or `unlimited` as none. Never 0.
///
/// # Errors
/// [`UnitError`], as [`parse_bytes`], and for 0.
pub fn parse_rate(text: &str) -> Result<Option<u64>, UnitError> {
    const LIST: &str = "rates are written like `512KiB/s`, `200MiB/s`, `1.5GiB/s` or `unlimited`";
    if text == "unlimited" {
        return Ok(None);
    }
    let Some(size) = text.strip_suffix("/s") else {
        let lower = text.to_ascii_lowercase();
        let message = if text.starts_with('-') {
            "is less than nothing"
        } else if lower.ends_with("bps") || lower.contains("bit") {
            "is unclear: bits are not bytes"
        } else if text.parse::<f64>().is_ok_and(f64::is_finite) {
            "has no unit"
        } else if parse_bytes(text).is_ok() {
            "has no `/s`"
        } else {
            "is not a rate"
        };
        return Err(UnitError::new(message, LIST));
    };
    let rate = parse_bytes(size.trim_end()).map_err(|error| {
        let hint = if error.hint.starts_with("write `") {
            let first = error.hint.split('`').nth(1).unwrap_or_default();
            format!("write `{first}/s`; {LIST}")
        } else {
            LIST.to_owned()
        };
        UnitError { hint, message: error.message.replace("not a size", "not a rate") }
    })?;
    if rate == 0 {
        return Err(UnitError::new("would never move a byte", "a rate is more than 0; write `unlimited` for no limit"));
    }
    Ok(Some(rate))
}

/// Reads `30d`, `4h`, `1h30m`, `90s`: units from large to small, each once, more than 0, at most 36500d.
///
/// # Errors
/// [`UnitError`] for a missing or unknown unit, another order, 0, or more than a hundred years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    const LIST: &str = "durations are written like `90s`, `2m`, `1h30m`, `4h` or `30d`";
    let wrong = |message: &str| Err(UnitError::new(message, LIST));
    if text.starts_with('-') {
        return wrong("is less than nothing");
    }
    let (mut rest, mut seconds, mut units) = (text, 0_u64, DURATION_UNITS.as_slice());
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return wrong("is not a duration");
        }
        let Some(unit) = tail.chars().next() else { return wrong("has no unit") };
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else {
            let known = DURATION_UNITS.iter().any(|(name, _)| *name == unit);
            return wrong(if known {
                "has its units in another order than d, h, m, s, or one of them twice"
            } else {
                "has an unknown unit"
            });
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(units[at].1));
        let sum = part.and_then(|part| seconds.checked_add(part)).filter(|sum| *sum <= DURATION_SECONDS_MAX);
        let Some(sum) = sum else { return Err(UnitError::new("is too long", "the longest duration is `36500d`")) };
        seconds = sum;
        units = &units[at + 1..];
        rest = &tail[unit.len_utf8()..];
    }
    match seconds {
        0 => wrong(if text.is_empty() { "is not a duration" } else { "is no time at all" }),
        _ => Ok(Duration::from_secs(seconds)),
    }
}

/// The shortest exact way to write a size in a plan: `32MiB`, `1048577B`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let fits = |factor: u64| bytes >= factor && bytes.is_multiple_of(factor);
    let (unit, factor) = SIZE_UNITS.into_iter().find(|(_, factor)| fits(*factor)).unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// The shortest exact way to write a rate in a plan: `200MiB/s`, `unlimited`.
#[must_use]
pub fn format_rate(rate: Option<u64>) -> String {
    rate.map_or_else(|| "unlimited".to_owned(), |rate| format!("{}/s", format_bytes(rate)))
}

/// A duration in whole seconds as a plan writes it: `1h30m`; `0s` for less than a second.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut out = String::new();
    for (unit, seconds) in DURATION_UNITS {
        if rest >= seconds {
            out.push_str(&(rest / seconds).to_string());
            out.push(unit);
            rest %= seconds;
        }
    }
    if out.is_empty() { "0s".to_owned() } else { out }
}

/// `1.5 GiB` as `("1.5", "GiB")`.
fn split_unit(text: &str) -> (&str, &str) {
    let at = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    (number, unit.strip_prefix(' ').unwrap_or(unit))
}

enum NumberError {
    Syntax,
    Fraction,
    TooLarge,
}

/// The decimal `number` times `factor`, exactly.
fn scaled(number: &str, factor: u64) -> Result<u64, NumberError> {
    const FRACTION_DIGITS_MAX: usize = 15;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > FRACTION_DIGITS_MAX {
        return Err(NumberError::Syntax);
    }
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(factor)).ok_or(NumberError::TooLarge)?;
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| NumberError::Syntax)?);
    let part = fraction.parse::<u128>().map_err(|_| NumberError::Syntax)? * u128::from(factor);
    if !part.is_multiple_of(scale) {
        return Err(NumberError::Fraction);
    }
    let part = u64::try_from(part / scale).map_err(|_| NumberError::TooLarge)?;
    whole.checked_add(part).ok_or(NumberError::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0B", 0),
            ("1B", 1),
            ("32MiB", 32 << 20),
            ("32 MiB", 32 << 20),
            ("1.5GiB", 3 << 29),
            ("0.5KiB", 512),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn unclear_sizes_are_refused() {
        for (text, message) in [
            ("5MB", "has an unclear unit: by `MB` some tools mean powers of 1000 and some of 1024"),
            ("5 MB", "has an unclear unit: by `MB` some tools mean powers of 1000 and some of 1024"),
            ("5m", "has an unclear unit: `m` is minutes, and not a size"),
            ("5mib", "has an unclear unit"),
            ("5", "has no unit"),
            ("18446744073709551616", "has no unit"),
            ("1.5", "has no unit"),
            ("5XiB", "has an unknown unit `XiB`"),
            ("-5MiB", "is less than nothing"),
            ("1.5B", "is not a whole number of bytes"),
            ("9999999999999TiB", "is too large"),
            ("16777216TiB", "is too large"),
            ("18446744073709551616B", "is too large"),
            ("MiB", "is not a size"),
            ("1.MiB", "is not a size"),
            ("NaN", "is not a size"),
            ("", "is not a size"),
        ] {
            assert_eq!(parse_bytes(text).map_err(|error| error.message), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(parse_rate("200MiB/s"), Ok(Some(200 << 20)));
        assert_eq!(parse_rate("200 MiB/s"), Ok(Some(200 << 20)));
        assert_eq!(parse_rate("unlimited"), Ok(None));
        for (text, message) in [
            ("0B/s", "would never move a byte"),
            ("0", "has no unit"),
            ("200MiB", "has no `/s`"),
            ("-5MB/s", "is less than nothing"),
            ("100Mbit/s", "has an unknown unit `Mbit`"),
            ("100Mbps", "is unclear: bits are not bytes"),
            ("NaN", "is not a rate"),
            ("1e400", "is not a rate"),
        ] {
            assert_eq!(parse_rate(text).map_err(|error| error.message), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in
            [("90s", 90), ("2m", 120), ("1h30m", 5400), ("4h", 14_400), ("30d", 2_592_000), ("1d1s", 86_401)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for (text, message) in [
            ("", "is not a duration"),
            ("-1s", "is less than nothing"),
            ("10", "has no unit"),
            ("P1Y", "is not a duration"),
            ("1y", "has an unknown unit"),
            ("30m1h", "has its units in another order than d, h, m, s, or one of them twice"),
            ("1h1h", "has its units in another order than d, h, m, s, or one of them twice"),
            ("0s", "is no time at all"),
            ("36501d", "is too long"),
            ("99999999999999999999s", "is too long"),
            ("1.5h", "has an unknown unit"),
        ] {
            assert_eq!(parse_duration(text).map_err(|error| error.message), Err(message.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_to_the_same(bytes: u64, seconds in 1..=DURATION_SECONDS_MAX) {
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
            prop_assert_eq!(parse_rate(&format_rate(Some(bytes.max(1)))), Ok(Some(bytes.max(1))));
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = (parse_bytes(&text), parse_rate(&text), parse_duration(&text));
        }
    }
}
