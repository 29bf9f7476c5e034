//! A strict parser of RFC 3339 that counts years and days one by one.

use super::Refused;

const SECOND: i128 = 1_000_000_000;

/// Converts `YYYY-MM-DDTHH:MM:SS[.f]Z` or `±HH:MM` to nanoseconds since 1970.
pub(super) fn unix(text: &str) -> Result<i128, Refused> {
    let (date, rest) = text.split_once('T').ok_or(Refused)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let zone = rest.find(['Z', '+', '-']).ok_or(Refused)?;
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let offset = match (zone.get(..1), zone.get(1..)) {
        (Some("Z"), Some("")) => 0,
        (Some(sign), Some(zone)) => {
            let [hours, minutes] = numbers(zone, ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return Err(Refused);
            }
            (hours * 60 + minutes) * if sign == "-" { -1 } else { 1 }
        }
        _ => return Err(Refused),
    };
    let in_range = (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return Err(Refused);
    }
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refused);
    }
    let nanos: i128 = format!("{fraction:0<9}").parse().map_err(|_| Refused)?;
    let years = |from, to| (from..to).map(|year| (1..=12).map(|m| days(year, m)).sum::<i128>());
    let whole_years = years(1970, year).sum::<i128>() - years(year, 1970).sum::<i128>();
    let whole_months = (1..month).map(|month| days(year, month)).sum::<i128>();
    let minutes = (whole_years + whole_months + day - 1) * 1_440 + hour * 60 + minute - offset;
    Ok((minutes * 60 + second) * SECOND + nanos)
}

fn numbers<const N: usize>(
    text: &str,
    separator: char,
    digits: [usize; N],
) -> Result<[i128; N], Refused> {
    let parts: Vec<&str> = text.split(separator).collect();
    if parts.len() != N {
        return Err(Refused);
    }
    let mut out = [0; N];
    for ((part, digits), out) in parts.iter().zip(digits).zip(&mut out) {
        if part.len() != digits || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Refused);
        }
        *out = part.parse().map_err(|_| Refused)?;
    }
    Ok(out)
}

fn days(year: i128, month: i128) -> i128 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
