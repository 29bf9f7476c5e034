//! Go's time in JSON: RFC 3339 with up to nine fractional digits and a zone.

use core::fmt;

use crate::time::Unix;

/// A time with its zone. The default is Go's zero time, `0001-01-01T00:00:00Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64, // since the Unix epoch; the year in the zone is 0 to 9999
    nanos: u32,
    offset_minutes: i16,
}

const ZERO_SECONDS: i64 = -62_135_596_800;
const DAY: i64 = 86_400;
const GIGA: u64 = 1_000_000_000;

impl Timestamp {
    /// Nanoseconds since the Unix epoch; `None` before it or after the year 2554.
    #[must_use]
    pub fn unix(&self) -> Option<Unix> {
        let seconds = u64::try_from(self.seconds).ok()?;
        seconds
            .checked_mul(GIGA)?
            .checked_add(u64::from(self.nanos))
            .map(Unix)
    }

    /// Parses what Go's `time.Time` accepts from JSON: RFC 3339, but also a comma before the
    /// fraction, more than nine fractional digits (truncated), an hour of one digit, and zones up
    /// to 24:60.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut text = Cursor(text);
        let year = text.digits(4)?;
        text.expect(b'-')?;
        let month = text.digits(2)?;
        text.expect(b'-')?;
        let day = text.digits(2)?;
        text.expect(b'T')?;
        let hour = text.digits(2).or_else(|| text.digits(1))?;
        text.expect(b':')?;
        let minute = text.digits(2)?;
        text.expect(b':')?;
        let second = text.digits(2)?;
        let nanos = text.fraction();
        let offset_minutes = text.zone()?;
        let valid = text.0.is_empty()
            && (1..=12).contains(&month)
            && (1..=days_in(month, year)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        valid.then(|| Self {
            seconds: days_from_civil(year, month, day) * DAY
                + i64::from(hour * 3_600 + minute * 60 + second)
                - i64::from(offset_minutes) * 60,
            nanos,
            offset_minutes,
        })
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self {
            seconds: ZERO_SECONDS,
            nanos: 0,
            offset_minutes: 0,
        }
    }
}

impl From<Unix> for Timestamp {
    fn from(time: Unix) -> Self {
        Self {
            seconds: (time.0 / GIGA) as i64, // at most 1.9e10
            nanos: (time.0 % GIGA) as u32,
            offset_minutes: 0,
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a second of a day, a year of four digits"
)]
impl fmt::Display for Timestamp {
    /// Prints as Go does: without trailing zeros of the fraction, and with `Z` for offset 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.seconds + i64::from(self.offset_minutes) * 60;
        let (year, month, day) = civil_from_days(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY) as u32;
        let mut text = Text {
            bytes: [0; 36],
            len: 0,
        };
        text.digits(4, year as u32);
        text.digits_after(b'-', month);
        text.digits_after(b'-', day);
        text.digits_after(b'T', second / 3_600);
        text.digits_after(b':', second / 60 % 60);
        text.digits_after(b':', second % 60);
        if self.nanos > 0 {
            text.push(b'.');
            text.digits(9, self.nanos);
            while text.bytes[text.len - 1] == b'0' {
                text.len -= 1;
            }
        }
        let offset = u32::from(self.offset_minutes.unsigned_abs());
        match self.offset_minutes {
            0 => text.push(b'Z'),
            minutes => {
                text.digits_after(if minutes < 0 { b'-' } else { b'+' }, offset / 60);
                text.digits_after(b':', offset % 60);
            }
        }
        f.write_str(str::from_utf8(&text.bytes[..text.len]).map_err(|_| fmt::Error)?)
    }
}

/// Text that is formatted by hand: passing each number of the 20 times in an answer through a
/// formatter would cost more than everything else in it.
struct Text {
    bytes: [u8; 36],
    len: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn digits(&mut self, width: usize, mut value: u32) {
        for place in (self.len..self.len + width).rev() {
            self.bytes[place] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        self.len += width;
    }

    fn digits_after(&mut self, separator: u8, value: u32) {
        self.push(separator);
        self.digits(2, value);
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

/// The bytes that have not been read.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    /// Reads exactly `count` digits; consumes nothing otherwise.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut value = 0;
        for digit in digits {
            value = value * 10 + u32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.0 = rest;
        Some(value)
    }

    /// Reads the nanoseconds after a point or comma followed by a digit; otherwise returns 0 and
    /// consumes nothing.
    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', digits @ ..] = self.0 else {
            return 0;
        };
        let count = digits.iter().take_while(|d| d.is_ascii_digit()).count();
        if count == 0 {
            return 0;
        }
        let (digits, rest) = digits.split_at(count);
        self.0 = rest;
        let padded = digits.iter().chain(core::iter::repeat(&b'0')).take(9);
        padded.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'))
    }

    /// Reads a zone as minutes east of Greenwich.
    fn zone(&mut self) -> Option<i16> {
        if self.expect(b'Z').is_some() {
            return Some(0);
        }
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let hours = self.digits(2)?;
        self.expect(b':')?;
        let minutes = self.digits(2)?;
        // Go compares with > here, since some programs write offsets of 24 hours or 60 minutes.
        if hours > 24 || minutes > 60 {
            return None;
        }
        let offset = i16::try_from(hours * 60 + minutes).ok()?; // at most 1500
        match sign {
            b'+' => Some(offset),
            b'-' => Some(-offset),
            _ => None,
        }
    }
}

const fn days_in(month: u32, year: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted from 1 March of year 0 in
/// eras of 400 years (Hinnant, "chrono-compatible low-level date algorithms").
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days_from_civil`]: year, month, day.
#[allow(clippy::cast_possible_truncation, reason = "months and days")]
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn reprinted(text: &str) -> Option<alloc::string::String> {
        Timestamp::parse(text.as_bytes()).map(|time| time.to_string())
    }

    #[test]
    fn what_go_prints_comes_back_unchanged() {
        for text in [
            "0001-01-01T00:00:00Z",
            "0000-03-01T00:00:00Z",
            "0000-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59.999999999-23:59",
            "2024-02-29T01:02:03.1+05:30",
            "2000-02-29T00:00:00.00000001Z",
            "1969-12-31T23:59:59.5-07:00",
        ] {
            assert_eq!(reprinted(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_go_tolerates_is_printed_in_the_normal_form() {
        for (text, normal) in [
            ("2026-04-30T1:34:56Z", "2026-04-30T01:34:56Z"),
            ("2026-04-30T12:34:56,50Z", "2026-04-30T12:34:56.5Z"),
            (
                "2026-04-30T12:34:56.1234567899Z",
                "2026-04-30T12:34:56.123456789Z",
            ),
            ("2026-04-30T12:34:56-00:00", "2026-04-30T12:34:56Z"),
        ] {
            assert_eq!(reprinted(text).as_deref(), Some(normal));
        }
        assert!(reprinted("2026-04-30T12:34:56+24:60").is_some());
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "2026-04-30",
            "2026-4-30T12:34:56Z",
            "+026-04-30T12:34:56Z",
            "2026-00-30T12:34:56Z",
            "2026-13-30T12:34:56Z",
            "2026-04-31T12:34:56Z",
            "2026-04-00T12:34:56Z",
            "2025-02-29T12:34:56Z",
            "1900-02-29T12:34:56Z",
            "2026-04-30T24:34:56Z",
            "2026-04-30T12:60:56Z",
            "2026-04-30T12:34:60Z",
            "2026-04-30T12:34:5Z",
            "2026-04-30T12:34:56.Z",
            "2026-04-30T12:34:56",
            "2026-04-30T12:34:56z",
            "2026-04-30T12:34:56Z ",
            "2026-04-30T12:34:56+0530",
            "2026-04-30T12:34:56+05:3",
            "2026-04-30T12:34:56+25:00",
            "2026-04-30T12:34:56+05:61",
            "2026-04-30T12:34:56*05:30",
        ] {
            assert_eq!(reprinted(text), None, "{text}");
        }
    }

    #[test]
    fn unix_nanoseconds_survive() {
        for nanos in [0, 1, 1_777_552_496_123_456_789, u64::MAX] {
            let time = Timestamp::from(Unix(nanos));
            assert_eq!(time.unix(), Some(Unix(nanos)));
            assert_eq!(Timestamp::parse(time.to_string().as_bytes()), Some(time));
        }
        assert_eq!(Timestamp::default().unix(), None);
    }

    #[test]
    fn every_day_of_four_centuries_converts_both_ways() {
        for days in 0..146_097 {
            let (year, month, day) = civil_from_days(days);
            let back = days_from_civil(year as u32, month, day);
            assert_eq!(back, days);
        }
    }
}
