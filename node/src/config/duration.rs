//! Durations as text ("2h", "1m30s", "1.5s", or seconds without a unit), and in a visor's
//! configuration (nanoseconds).

use std::time::Duration;

const UNITS: [(&str, u64); 9] = [
    ("ns", 1),
    ("µs", 1_000),
    ("μs", 1_000),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
    ("d", 86_400 * SECOND),
];
const SECOND: u64 = 1_000_000_000;
/// Numbers below this are seconds: as nanoseconds they would be less than a millisecond.
const SECONDS_BELOW: u64 = 1_000_000;
/// Numbers from this on are nanoseconds, as a visor writes them: as seconds they would be more than
/// 31 years.
const NANOSECONDS_FROM: u64 = SECOND;
/// Shortest timeout of an operation.
pub(crate) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// Longest timeout of an operation.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// Hint how to write a duration.
const SPELLING: &str = "write \"90s\", \"2h\", \"1h30m\" or \"250ms\"";

/// Parses "2h", "1h30m", "1.5s", or a number as [`of_number`] does. Rejects zero.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<u64>() {
        return of_number(number);
    }
    let wrong = || format!("{text:?} is no duration: {SPELLING}");
    if text.is_empty() {
        return Err(wrong());
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = |text: &str, ends: fn(char) -> bool| text.find(ends).unwrap_or(text.len());
        let (number, after) = rest.split_at(end(rest, |c| !c.is_ascii_digit() && c != '.'));
        let (unit, after) = after.split_at(end(after, |c| c.is_ascii_digit() || c == '.'));
        let (_, nanos) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or_else(wrong)?;
        total = nanoseconds(number, *nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = after;
    }
    let total = u64::try_from(total).map_err(|_| format!("{text:?} is longer than 584 years"))?;
    above_zero(total)
}

/// Parses the timeout of an operation, between [`SHORTEST_TIMEOUT`] and [`LONGEST_TIMEOUT`].
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = parse(text)?;
    if (SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&time) {
        return Ok(time);
    }
    Err(format!(
        "{} is no time for an operation: 1ms to 10m are possible",
        format(time)
    ))
}

/// Interprets a number without a unit: seconds below a million, nanoseconds from a billion on.
///
/// Numbers in between are rejected: as seconds they would be weeks to years, as nanoseconds less
/// than a second, and both are probably mistakes.
pub(crate) fn of_number(number: u64) -> Result<Duration, String> {
    match number {
        0..SECONDS_BELOW => above_zero(number * SECOND),
        NANOSECONDS_FROM.. => above_zero(number),
        _ => Err(format!(
            "{number} may be seconds or nanoseconds: {SPELLING}"
        )),
    }
}

fn above_zero(nanos: u64) -> Result<Duration, String> {
    if nanos == 0 {
        return Err(format!(
            "a duration of zero makes no sense here: {SPELLING}"
        ));
    }
    Ok(Duration::from_nanos(nanos))
}

/// Converts "1" or "1.25" of a unit to nanoseconds, without rounding.
fn nanoseconds(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // Nine digits are nanoseconds of a second; more digits would be lost silently.
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 9 {
        return None;
    }
    let digits = |text: &str| match text {
        "" => Some(0),
        text => text.parse::<u64>().ok(),
    };
    let places = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(digits(fraction)?) * u128::from(unit);
    let whole = u128::from(digits(whole)?) * u128::from(unit);
    Some(whole + part / places)
}

/// Formats a duration so that [`parse`] returns the same value.
pub(crate) fn format(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, size) in UNITS.iter().rev() {
        let size = u128::from(*size);
        if nanos >= size {
            text.push_str(&format!("{}{unit}", nanos / size));
            nanos %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_visors_are_understood() {
        for (text, millis) in [
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            (".5m", 30_000),
            ("2h0m0s", 7_200_000),
            ("1500µs", 1),
            ("7200000000000", 7_200_000),
            ("5", 5_000),
            ("3600", 3_600_000),
            ("999999", 999_999_000),
            ("1000000000", 1_000),
            (" 1d ", 86_400_000),
        ] {
            let read = parse(text).map(|read| read.as_millis());
            assert_eq!(read, Ok(millis), "{text}");
        }
    }

    #[test]
    fn nonsense_zero_and_numbers_that_may_be_either_are_refused_with_the_spelling() {
        for text in [
            "",
            "h",
            ".s",
            "2 parsecs",
            "2h5",
            "-1s",
            "1.5",
            "1.2.3s",
            "1.0000000001s",
            "0",
            "0s",
            "0h0m",
            "0.0000000001s",
            "1000000",
            "999999999",
            "99999999999999999999d",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("\"90s\""), "{text}: {error}");
        }
        assert!(parse("18446744073709551615d").is_err());
    }

    #[test]
    fn operations_take_a_millisecond_to_ten_minutes() {
        assert_eq!(parse_timeout("5"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_timeout("600"), Ok(LONGEST_TIMEOUT));
        for text in ["0", "5ns", "999us", "601", "1h", "2000000"] {
            assert!(parse_timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for nanos in [1, 1_500, 90_000_000_000, 7_200_000_000_000, u64::MAX] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&format(duration)), Ok(duration));
        }
        assert_eq!(format(Duration::from_secs(7_200)), "2h");
        assert_eq!(format(Duration::from_micros(3)), "3us");
    }
}
