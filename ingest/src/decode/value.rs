//! One JSON value into one RowBinary value.
//! The span of a value and the type of its column go in, bytes are appended; a value that does not fit exactly is
//! rejected with its reason, never cut, rounded or replaced. (Times lose decimals the column has no room for.)
//!
//! RowBinary: <https://clickhouse.com/docs/interfaces/formats/RowBinary>

use std::str::FromStr;

use uuid::Uuid;

use super::Reason;
use super::json::{Kind, Span};
use super::time;
use super::types::{Type, Width};

/// First second of 1900 and last of 2299: what `DateTime64` holds.
const TIME64: std::ops::RangeInclusive<i64> = -2_208_988_800..=10_413_791_999;

/// Appends a value that is not null.
pub(super) fn encode(text: &str, span: Span, of: &Type, out: &mut Vec<u8>) -> Result<(), Reason> {
    match of {
        Type::String => string(text, span, out)?,
        Type::Uuid => push_uuid(uuid(text, span)?, out),
        Type::Unsigned(width) => push_low(unsigned(text, span, *width)?, *width, out),
        Type::Signed(width) => push_low(signed(text, span, *width)?.cast_unsigned(), *width, out),
        Type::Float64 => out.extend_from_slice(&float(text, span, f64::is_finite)?.to_le_bytes()),
        Type::Float32 => out.extend_from_slice(&float(text, span, f32::is_finite)?.to_le_bytes()),
        Type::Bool => out.push(u8::from(boolean(span)?)),
        Type::Date => out.extend_from_slice(&days(text, span)?.to_le_bytes()),
        Type::DateTime => out.extend_from_slice(&whole_seconds(text, span)?.to_le_bytes()),
        Type::DateTime64(precision) => out.extend_from_slice(&ticks(text, span, *precision)?.to_le_bytes()),
        Type::FixedString(length) => fixed_string(text, span, *length, out)?,
        Type::Enum8(words) => push_low(u64::from(number_of(words, text, span)?.cast_unsigned()), Width::W8, out),
        Type::Enum16(words) => out.extend_from_slice(&number_of(words, text, span)?.to_le_bytes()),
    }
    Ok(())
}

/// Seconds since 1970 of a value of a date or time column.
pub(super) fn seconds(text: &str, span: Span, of: &Type) -> Result<i64, Reason> {
    match of {
        Type::Date => time::date(plain(text, span)?).map(|days| days * 86_400).ok_or(Reason::InvalidTime),
        _ => Ok(instant(text, span)?.seconds),
    }
}

/// Reads a hyphenated UUID.
pub(super) fn uuid(text: &str, span: Span) -> Result<Uuid, Reason> {
    let text = plain(text, span)?;
    if text.len() == 36 { Uuid::try_parse(text).map_err(|_| Reason::InvalidUuid) } else { Err(Reason::InvalidUuid) }
}

/// Appends a UUID: two little-endian halves, the high one first.
pub(super) fn push_uuid(id: Uuid, out: &mut Vec<u8>) {
    let (high, low) = id.as_u64_pair();
    out.extend_from_slice(&high.to_le_bytes());
    out.extend_from_slice(&low.to_le_bytes());
}

/// Appends a string: its length as LEB128, then its bytes.
pub(super) fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// Appends the low bytes of an integer, whose sign bits make no difference to them.
fn push_low(value: u64, width: Width, out: &mut Vec<u8>) {
    out.extend_from_slice(&value.to_le_bytes()[..width as usize]);
}

fn float<T: FromStr + Copy>(text: &str, span: Span, is_finite: fn(T) -> bool) -> Result<T, Reason> {
    let value = raw(text, span, Kind::Number)?.parse().ok();
    value.filter(|value| is_finite(*value)).ok_or(Reason::OutOfRange)
}

pub(super) fn slice(text: &str, span: Span) -> &str {
    &text[span.start as usize..span.end as usize]
}

fn raw(text: &str, span: Span, kind: Kind) -> Result<&str, Reason> {
    if span.kind == kind { Ok(slice(text, span)) } else { Err(Reason::WrongType) }
}

/// A string that needs no unescaping: identifiers, times and the like are never escaped by a sane producer.
fn plain(text: &str, span: Span) -> Result<&str, Reason> {
    raw(text, span, Kind::Plain)
}

fn boolean(span: Span) -> Result<bool, Reason> {
    match span.kind {
        Kind::True => Ok(true),
        Kind::False => Ok(false),
        _ => Err(Reason::WrongType),
    }
}

/// The text of a number without fraction and exponent.
fn integer(text: &str, span: Span) -> Result<&str, Reason> {
    let text = raw(text, span, Kind::Number)?;
    if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) { Ok(text) } else { Err(Reason::WrongType) }
}

fn unsigned(text: &str, span: Span, width: Width) -> Result<u64, Reason> {
    let value = integer(text, span)?.parse::<u64>().map_err(|_| Reason::OutOfRange)?;
    if value <= u64::MAX >> (64 - 8 * width as u32) { Ok(value) } else { Err(Reason::OutOfRange) }
}

fn signed(text: &str, span: Span, width: Width) -> Result<i64, Reason> {
    let value = integer(text, span)?.parse::<i64>().map_err(|_| Reason::OutOfRange)?;
    let unused = 64 - 8 * width as u32;
    if (value << unused) >> unused == value { Ok(value) } else { Err(Reason::OutOfRange) }
}

fn instant(text: &str, span: Span) -> Result<time::Instant, Reason> {
    time::rfc3339(plain(text, span)?).ok_or(Reason::InvalidTime)
}

/// A `Date`: days since 1970, to 2149.
fn days(text: &str, span: Span) -> Result<u16, Reason> {
    let days = time::date(plain(text, span)?).ok_or(Reason::InvalidTime)?;
    u16::try_from(days).map_err(|_| Reason::OutOfRange)
}

/// A `DateTime`: seconds since 1970, to 2106.
fn whole_seconds(text: &str, span: Span) -> Result<u32, Reason> {
    u32::try_from(instant(text, span)?.seconds).map_err(|_| Reason::OutOfRange)
}

/// A `DateTime64`: ticks of its precision since 1970.
fn ticks(text: &str, span: Span, precision: u8) -> Result<i64, Reason> {
    let at = instant(text, span)?;
    if !TIME64.contains(&at.seconds) {
        return Err(Reason::OutOfRange);
    }
    let per_second = 10_i64.pow(u32::from(precision));
    let below = i64::from(at.nanos) / 10_i64.pow(9 - u32::from(precision));
    at.seconds.checked_mul(per_second).and_then(|ticks| ticks.checked_add(below)).ok_or(Reason::OutOfRange)
}

/// A JSON string, unescaped; or an object or array as the very text it came in.
fn string(text: &str, span: Span, out: &mut Vec<u8>) -> Result<(), Reason> {
    match span.kind {
        Kind::Plain | Kind::Object | Kind::Array => push_string(slice(text, span).as_bytes(), out),
        Kind::Escaped => push_string(unescape(text, span)?.as_bytes(), out),
        _ => return Err(Reason::WrongType),
    }
    Ok(())
}

fn fixed_string(text: &str, span: Span, length: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
    let value = words_text(text, span)?;
    if value.len() > length {
        return Err(Reason::StringTooLong);
    }
    out.extend_from_slice(value.as_bytes());
    out.resize(out.len() + length - value.len(), 0);
    Ok(())
}

fn number_of(words: &[(String, i16)], text: &str, span: Span) -> Result<i16, Reason> {
    let value = words_text(text, span)?;
    words.iter().find(|(word, _)| *word == value).map(|(_, number)| *number).ok_or(Reason::UnknownWord)
}

fn words_text(text: &str, span: Span) -> Result<std::borrow::Cow<'_, str>, Reason> {
    match span.kind {
        Kind::Plain => Ok(slice(text, span).into()),
        Kind::Escaped => Ok(unescape(text, span)?.into()),
        _ => Err(Reason::WrongType),
    }
}

/// Resolves escapes; a lone surrogate names no character, so it is refused.
pub(super) fn unescape(text: &str, span: Span) -> Result<String, Reason> {
    let quoted = &text[span.start as usize - 1..=span.end as usize];
    serde_json::from_str(quoted).map_err(|_| Reason::InvalidUtf8)
}

#[cfg(test)]
mod tests {
    use super::super::json::Cursor;
    use super::*;
    use proptest::prelude::*;

    fn bytes(json: &str, of: &Type) -> Result<Vec<u8>, Reason> {
        let mut out = Vec::new();
        let span = Cursor::new(json, 32, 512).value()?;
        encode(json, span, of, &mut out).map(|()| out)
    }

    #[test]
    fn integers_are_exact_or_refused() {
        let u8s = Type::Unsigned(Width::W8);
        assert_eq!(bytes("255", &u8s), Ok(vec![255]));
        assert_eq!(bytes("256", &u8s), Err(Reason::OutOfRange));
        assert_eq!(bytes("-1", &u8s), Err(Reason::OutOfRange));
        assert_eq!(bytes("1.0", &u8s), Err(Reason::WrongType));
        assert_eq!(bytes("\"1\"", &u8s), Err(Reason::WrongType));
        assert_eq!(bytes("-129", &Type::Signed(Width::W8)), Err(Reason::OutOfRange));
        assert_eq!(bytes("99999999999999999999", &Type::Unsigned(Width::W64)), Err(Reason::OutOfRange));
    }

    #[test]
    fn times_have_a_range() {
        assert_eq!(bytes("\"1970-01-01T00:00:01.5Z\"", &Type::DateTime64(3)), Ok(1500_i64.to_le_bytes().to_vec()));
        assert_eq!(bytes("\"2300-01-01T00:00:00Z\"", &Type::DateTime64(3)), Err(Reason::OutOfRange));
        assert_eq!(bytes("\"1969-12-31T23:59:59Z\"", &Type::DateTime), Err(Reason::OutOfRange));
        assert_eq!(bytes("\"2150-01-01\"", &Type::Date), Err(Reason::OutOfRange));
        assert_eq!(bytes("\"yesterday\"", &Type::DateTime), Err(Reason::InvalidTime));
        assert_eq!(bytes("1700000000", &Type::DateTime), Err(Reason::WrongType));
        assert_eq!(bytes("\"2290-01-01T00:00:00Z\"", &Type::DateTime64(9)), Err(Reason::OutOfRange));
    }

    #[test]
    fn words_and_fixed_strings_have_to_fit() {
        let words = Type::Enum8(vec![("email".into(), 1), ("sms".into(), -3)]);
        assert_eq!(bytes("\"sms\"", &words), Ok(vec![0xfd]));
        assert_eq!(bytes("\"fax\"", &words), Err(Reason::UnknownWord));
        assert_eq!(bytes("\"EU\"", &Type::FixedString(3)), Ok(b"EU\0".to_vec()));
        assert_eq!(bytes("\"EURO\"", &Type::FixedString(3)), Err(Reason::StringTooLong));
    }

    #[test]
    fn a_string_column_takes_an_object_verbatim_and_refuses_a_number() {
        assert_eq!(bytes(r#"{"a" :1}"#, &Type::String), Ok(b"\x08{\"a\" :1}".to_vec()));
        assert_eq!(bytes("1", &Type::String), Err(Reason::WrongType));
        assert_eq!(bytes(r#""\ud800""#, &Type::String), Err(Reason::InvalidUtf8));
    }

    #[test]
    fn floats_are_finite() {
        assert_eq!(bytes("-2.5e3", &Type::Float64), Ok((-2500.0_f64).to_le_bytes().to_vec()));
        assert_eq!(bytes("1e400", &Type::Float64), Err(Reason::OutOfRange));
        assert_eq!(bytes("1e39", &Type::Float32), Err(Reason::OutOfRange));
    }

    proptest! {
        #[test]
        fn strings_round_trip(value in "\\PC{0,200}|.{0,200}") {
            let encoded = bytes(&serde_json::to_string(&value).unwrap(), &Type::String).unwrap();
            let header = if value.len() < 0x80 { 1 } else { 2 };
            prop_assert_eq!(&encoded[header..], value.as_bytes());
        }

        #[test]
        fn integers_round_trip(value in any::<i64>()) {
            prop_assert_eq!(bytes(&value.to_string(), &Type::Signed(Width::W64)).unwrap(), value.to_le_bytes());
            let narrow = bytes(&value.to_string(), &Type::Signed(Width::W16)).ok();
            prop_assert_eq!(narrow, i16::try_from(value).ok().map(|v| v.to_le_bytes().to_vec()));
        }

        #[test]
        fn floats_round_trip(value in proptest::num::f64::NORMAL) {
            prop_assert_eq!(bytes(&format!("{value:e}"), &Type::Float64).unwrap(), value.to_le_bytes());
        }
    }
}
