//! Times on the wire (RFC 3339, dates in ISO 8601) as numbers.
//! Text goes in, seconds since 1970 and nanoseconds come out; nothing is rounded up and no time zone database is used.

/// A point in time: seconds since 1970-01-01T00:00:00Z and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

const DAY: i64 = 86_400;

/// Reads `2026-11-24T08:33:26[.123](Z|+01:00)`.
pub(crate) fn rfc3339(text: &str) -> Option<Instant> {
    let (start, rest) = text.as_bytes().split_first_chunk()?;
    let [date @ .., b'T', h0, h1, b':', m0, m1, b':', s0, s1]: &[u8; 19] = start else { return None };
    let (hour, minute, second) = (two(*h0, *h1)?, two(*m0, *m1)?, two(*s0, *s1)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let seconds = civil(date)? * DAY + hour * 3600 + minute * 60 + second - offset(rest)?;
    Some(Instant { seconds, nanos })
}

/// Reads `2026-11-24` as days since 1970-01-01.
pub(crate) fn date(text: &str) -> Option<i64> {
    civil(text.as_bytes().try_into().ok()?)
}

/// Year and month of a point in time as ClickHouse's `toYYYYMM` gives them in UTC: 202611.
pub(crate) fn month_of(seconds: i64) -> u32 {
    // Days to civil date, Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let z = seconds.div_euclid(DAY) + 719_468;
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + z.div_euclid(146_097) * 400 + i64::from(month <= 2);
    (year * 100 + month) as u32
}

/// `YYYY-MM-DD` as days since 1970-01-01.
fn civil(date: &[u8; 10]) -> Option<i64> {
    let [c0, c1, y0, y1, b'-', m0, m1, b'-', d0, d1] = date else { return None };
    let year = two(*c0, *c1)? * 100 + two(*y0, *y1)?;
    let (month, day) = (two(*m0, *m1)?, two(*d0, *d1)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    Some(days_from_civil(year, month, day))
}

fn two(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| i64::from(tens * 10 + ones))
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Civil date to days since 1970-01-01 for years 0 to 9999, from the same source as [`month_of`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Reads `.123` with one to nine digits, if it is there.
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', mut rest)) = bytes.split_first() else { return Some((0, bytes)) };
    let (mut nanos, mut unit) = (0, 100_000_000);
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        if unit == 0 {
            return None;
        }
        nanos += u32::from(digit - b'0') * unit;
        unit /= 10;
        rest = after;
    }
    (unit < 100_000_000).then_some((nanos, rest))
}

/// Reads `Z` or `+01:00` as seconds east of Greenwich.
fn offset(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [h0, h1, b':', m0, m1] = rest else { return None };
    let (hours, minutes) = (two(*h0, *h1)?, two(*m0, *m1)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Datelike, SecondsFormat, Utc};
    use proptest::prelude::*;

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T08:33:60Z",
            "2026-11-24 08:33:26Z",
            "2026-11-24T08:33:26",
            "2026-11-24T08:33:26.Z",
            "2026-11-24T08:33:26.1234567890Z",
            "2026-11-24T08:33:26+1:00",
            "2026-11-24",
            "",
            "2026-11-2\u{e4}T08:33:26Z",
        ] {
            assert_eq!(rfc3339(text), None, "{text}");
        }
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1970-01-02T"), None);
    }

    proptest! {
        #[test]
        fn agrees_with_chrono(millis in -62_135_596_800_000_i64..253_402_300_799_999, east in -14_i32..=14) {
            let at = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
            let zone = chrono::FixedOffset::east_opt(east * 3600).unwrap();
            let local = at.with_timezone(&zone);
            prop_assume!((1..=9999).contains(&local.year()));
            let ours = rfc3339(&local.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap();
            prop_assert_eq!((ours.seconds, ours.nanos), (at.timestamp(), at.timestamp_subsec_nanos()));
            prop_assert_eq!(month_of(ours.seconds), at.year() as u32 * 100 + at.month());
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = (rfc3339(&text), date(&text));
        }
    }
}
