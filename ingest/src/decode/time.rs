//! Parses times (RFC 3339) and dates (ISO 8601) into numbers.
//! It never rounds up, and uses no time zone database.
//!
//! It accepts every time that the grammar of RFC 3339 (section 5.6) allows: `T` and `Z` in either case, a space in
//! place of `T` (its note), any number of fractional digits, `-00:00`, offsets up to 23:59. Digits below a nanosecond
//! are dropped. No column can store a leap second: it is rejected as out of range where RFC 3339 allows one (the last
//! minute of a month in UTC), and as invalid elsewhere. Everything else (no zone, `24:00:00`, `+0100`, a comma) is
//! invalid.

use super::reason::Reason;
use crate::fault::{Fault, is_injected};

/// A point in time: seconds since 1970-01-01T00:00:00Z and nanoseconds after that second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instant {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

const DAY: i64 = 86_400;

/// Parses `2026-11-24T08:33:26[.123](Z|+01:00)`.
pub(crate) fn rfc3339(text: &str) -> Result<Instant, Reason> {
    let (at, is_leap_second) = read(text).ok_or(Reason::InvalidTime)?;
    match is_leap_second {
        false => Ok(at),
        // Second 60 has the same number as the first second of the next minute.
        true if at.seconds.rem_euclid(DAY) == 0 && month_of(at.seconds) != month_of(at.seconds - 1) => {
            Err(Reason::OutOfRange)
        }
        true => Err(Reason::InvalidTime),
    }
}

/// Parses a time; also returns whether its second is 60.
fn read(text: &str) -> Option<(Instant, bool)> {
    let (start, rest) = text.as_bytes().split_first_chunk()?;
    let [date @ .., separator @ (b'T' | b't' | b' '), h0, h1, b':', m0, m1, b':', s0, s1]: &[u8; 19] = start else {
        return None;
    };
    if *separator != b'T' && is_injected(Fault::RequireCapitalT) {
        return None;
    }
    let (hour, minute, second) = (two(*h0, *h1)?, two(*m0, *m1)?, two(*s0, *s1)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let seconds = civil(date)? * DAY + hour * 3600 + minute * 60 + second - offset(rest)?;
    Some((Instant { seconds, nanos }, second == 60))
}

/// Parses `2026-11-24` as days since 1970-01-01.
pub(crate) fn date(text: &str) -> Option<i64> {
    civil(text.as_bytes().try_into().ok()?)
}

/// Year and month of a point in time in UTC, as ClickHouse's `toYYYYMM` returns them: 202611.
pub(crate) fn month_of(seconds: i64) -> u32 {
    // Days to civil date, Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let z = seconds.div_euclid(DAY) + 719_468;
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + z.div_euclid(146_097) * 400 + i64::from(month <= 2);
    // ClickHouse has no month for years before 1 either; no such time reaches a table.
    u32::try_from(year * 100 + month).unwrap_or(0)
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

/// Parses `.123` with at least one digit, if present; digits from the tenth on are dropped.
fn fraction(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', mut rest)) = bytes.split_first() else { return Some((0, bytes)) };
    let (mut nanos, mut unit) = (0, 100_000_000);
    while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
        nanos += u32::from(digit - b'0') * unit;
        unit /= 10;
        rest = after;
    }
    (unit < 100_000_000).then_some((nanos, rest))
}

/// Parses `Z` or `+01:00` as seconds east of Greenwich.
fn offset(bytes: &[u8]) -> Option<i64> {
    let (sign, rest) = match bytes {
        b"Z" | b"z" => return Some(0),
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
    fn invalid_times_are_rejected() {
        for text in [
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-24T24:00:00Z",
            "2026-11-24T08:33:60Z",
            "2026-11-24T23:59:60Z",
            "2026-11-30T23:59:60+01:00",
            "2026-11-30T23:59:61Z",
            "2026-11-24_08:33:26Z",
            "2026-11-24  08:33:26Z",
            "2026-11-24T08:33:26",
            "2026-11-24T08:33Z",
            "2026-11-24T08:33:26.Z",
            "2026-11-24T08:33:26,1Z",
            "2026-11-24T08:33:26 Z",
            "2026-11-24T08:33:26+1:00",
            "2026-11-24T08:33:26+0100",
            "2026-11-24T08:33:26+01",
            "2026-11-24T08:33:26+24:00",
            "2026-11-24T08:33:26+01:60",
            "2026-11-24T08:33:26\u{2212}01:00",
            "+2026-11-24T08:33:26Z",
            "2026-11-24",
            "",
            "2026-11-2\u{e4}T08:33:26Z",
        ] {
            assert_eq!(rfc3339(text), Err(Reason::InvalidTime), "{text}");
        }
        assert_eq!(date("1970-01-02"), Some(1));
        assert_eq!(date("1970-01-02T"), None);
    }

    #[test]
    fn reads_everything_the_grammar_allows() {
        let at = |seconds, nanos| Ok(Instant { seconds, nanos });
        let second = 1_795_509_206;
        for text in
            ["T08:33:26Z", "t08:33:26z", " 08:33:26Z", "T08:33:26-00:00", "t08:33:26+00:00", "T09:33:26.000+01:00"]
        {
            assert_eq!(rfc3339(&format!("2026-11-24{text}")), at(second, 0), "{text}");
        }
        assert_eq!(rfc3339("2026-11-25T08:32:26+23:59"), at(second, 0));
        assert_eq!(rfc3339("2026-11-23T08:34:26-23:59"), at(second, 0));
        assert_eq!(rfc3339("2026-11-24T08:33:26.1z"), at(second, 100_000_000));
        assert_eq!(rfc3339("2026-11-24T08:33:26.123456789999999999999Z"), at(second, 123_456_789));
        assert_eq!(rfc3339("0000-01-01T00:00:00Z"), at(-62_167_219_200, 0));
    }

    #[test]
    fn a_leap_second_is_out_of_range() {
        for text in
            ["2016-12-31T23:59:60Z", "2015-06-30t23:59:60.5z", "2017-01-01T00:59:60+01:00", "1990-12-31T15:59:60-08:00"]
        {
            assert_eq!(rfc3339(text), Err(Reason::OutOfRange), "{text}");
        }
    }

    proptest! {
        /// If both parse a text, the result is the same instant; everything chrono parses, except leap seconds, is
        /// parsed.
        #[test]
        fn reads_the_same_as_chrono(text in "20(16|26)-(0[1-9]|1[0-3])-(0[19]|[123][0189])[Tt ][012][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,12})?([Zz]|[+-][012][0-9]:[0-6][0-9])?") {
            let reference = DateTime::parse_from_rfc3339(&text).ok();
            let parsed = rfc3339(&text).ok().map(|at| (at.seconds, at.nanos));
            let is_leap_second = reference.is_some_and(|at| at.timestamp_subsec_nanos() >= 1_000_000_000);
            let expected = reference.filter(|_| !is_leap_second);
            prop_assert_eq!(parsed, expected.map(|at| (at.timestamp(), at.timestamp_subsec_nanos())));
        }

        #[test]
        fn agrees_with_chrono(millis in -62_135_596_800_000_i64..253_402_300_799_999, east in -14_i32..=14) {
            let at = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
            let zone = chrono::FixedOffset::east_opt(east * 3600).unwrap();
            let local = at.with_timezone(&zone);
            prop_assume!((1..=9999).contains(&local.year()));
            let parsed = rfc3339(&local.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap();
            prop_assert_eq!((parsed.seconds, parsed.nanos), (at.timestamp(), at.timestamp_subsec_nanos()));
            prop_assert_eq!(month_of(parsed.seconds), at.year().unsigned_abs() * 100 + at.month());
        }

        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            rfc3339(&text).ok();
            date(&text);
        }
    }
}
