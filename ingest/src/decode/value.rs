//! Encodes one JSON value as one RowBinary value.
//! It rejects a value that does not fit the column's type exactly, and never truncates, rounds or replaces one. (Only
//! times lose fractional digits that the column cannot store.)
//!
//! RowBinary: <https://clickhouse.com/docs/interfaces/formats/RowBinary>

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::escape::unescape;
use super::hex;
use super::json::{self, Kind, Span, slice};
use super::number;
use super::reason::Reason;
use super::time;
use crate::clickhouse::row_binary::push_string;
use crate::clickhouse::types::{Decimal, Type};

/// First second of 1900 and last of 2299: the range of `DateTime64`, and of `Date32` in days.
const TIME64: std::ops::RangeInclusive<i64> = -2_208_988_800..=10_413_791_999;
const DAY: i64 = 86_400;

/// Encodes the values of one record.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    /// The record.
    pub(super) text: &'a str,
    /// Maximum length of a string, as JSON text.
    pub(super) max_string_length: usize,
    /// Maximum length of `row`.
    pub(super) max_row_length: usize,
    pub(super) row: &'a mut Vec<u8>,
    pub(super) scratch: &'a mut Scratch,
}

/// Buffers used while a value is encoded, reused for every record.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    /// An unescaped string, or a count.
    pub(super) text: Vec<u8>,
    /// Positions in the row of the keys of the maps being encoded.
    pub(super) keys: Vec<Range<usize>>,
    /// Elements of the tuples being encoded.
    pub(super) members: Vec<Option<Span>>,
}

impl Scratch {
    /// Clears the remains of a rejected record.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.members.clear();
    }
}

impl Encoder<'_> {
    /// Appends the value of a column or of a tuple's element, which may be absent.
    #[inline]
    pub(super) fn optional_value(&mut self, span: Option<Span>, column_type: &Type) -> Result<(), Reason> {
        match span.filter(|span| span.kind != Kind::Null) {
            Some(span) => self.value(span, column_type),
            None if column_type.is_nullable() => {
                self.row.push(1);
                Ok(())
            }
            None => Err(Reason::MissingField),
        }
    }

    /// Appends a value.
    pub(super) fn value(&mut self, span: Span, column_type: &Type) -> Result<(), Reason> {
        let (text, row) = (self.text, &mut *self.row);
        match column_type {
            Type::String => return self.string(span),
            Type::Uuid => push_uuid(uuid(text, span)?, row),
            Type::Unsigned(width) => number::unsigned(raw(text, span, Kind::Number)?, *width, row)?,
            Type::Signed(width) => number::signed(raw(text, span, Kind::Number)?, *width, row)?,
            Type::Float64 => row.extend_from_slice(&float(text, span, f64::is_finite)?.to_le_bytes()),
            Type::Float32 => row.extend_from_slice(&float(text, span, f32::is_finite)?.to_le_bytes()),
            Type::Decimal(column_type) => decimal(text, span, *column_type, row)?,
            Type::Bool => row.push(u8::from(boolean(span)?)),
            Type::Date => row.extend_from_slice(&days(text, span)?.to_le_bytes()),
            Type::Date32 => row.extend_from_slice(&days32(text, span)?.to_le_bytes()),
            Type::DateTime => row.extend_from_slice(&whole_seconds(text, span)?.to_le_bytes()),
            Type::DateTime64(precision) => row.extend_from_slice(&ticks(text, span, *precision)?.to_le_bytes()),
            Type::Ipv4 => row.extend_from_slice(&address::<Ipv4Addr>(text, span)?.to_bits().to_le_bytes()),
            Type::Ipv6 => row.extend_from_slice(&address::<Ipv6Addr>(text, span)?.octets()),
            Type::FixedString(length) => return self.fixed_string(span, *length),
            Type::Enum8(words) => {
                let number = self.enum_number(span, words)?;
                // Two's complement: the first byte of a number that fits 8 bits, as these do.
                self.row.push(number.to_le_bytes()[0]);
            }
            Type::Enum16(words) => {
                let number = self.enum_number(span, words)?;
                self.row.extend_from_slice(&number.to_le_bytes());
            }
            Type::Json => return self.document(span),
            Type::Nullable(inner) => {
                row.push(u8::from(span.kind == Kind::Null));
                return if span.kind == Kind::Null { Ok(()) } else { self.value(span, inner) };
            }
            Type::Array(inner) => return self.array(span, inner),
            Type::Map(column_type) => return self.map(span, &column_type.0, &column_type.1),
            Type::Tuple(elements) => return self.tuple(span, elements),
        }
        Ok(())
    }

    /// Appends a JSON string, unescaped, or the original text of an object or array.
    pub(super) fn string(&mut self, span: Span) -> Result<(), Reason> {
        if (span.end - span.start) as usize > self.max_string_length {
            return Err(Reason::StringTooLong);
        }
        let text = match span.kind {
            Kind::Object | Kind::Array => slice(self.text, span).as_bytes(),
            _ => unescaped(self.text, span, &mut self.scratch.text)?,
        };
        push_string(text, self.row);
        Ok(())
    }

    fn fixed_string(&mut self, span: Span, length: usize) -> Result<(), Reason> {
        let value = unescaped(self.text, span, &mut self.scratch.text)?;
        let unused = length.checked_sub(value.len()).ok_or(Reason::StringTooLong)?;
        self.row.extend_from_slice(value);
        self.row.resize(self.row.len() + unused, 0);
        Ok(())
    }

    fn enum_number(&mut self, span: Span, words: &[(String, i16)]) -> Result<i16, Reason> {
        let value = unescaped(self.text, span, &mut self.scratch.text)?;
        let word = words.iter().find(|(word, _)| word.as_bytes() == value);
        word.map(|(_, number)| *number).ok_or(Reason::UnknownWord)
    }
}

/// Seconds since 1970 of an encoded value of a date or time column.
pub(super) fn seconds(encoded: &[u8], column_type: &Type) -> Option<i64> {
    Some(match column_type {
        Type::Date => i64::from(u16::from_le_bytes(*encoded.first_chunk()?)) * DAY,
        Type::DateTime => i64::from(u32::from_le_bytes(*encoded.first_chunk()?)),
        Type::DateTime64(precision) => {
            i64::from_le_bytes(*encoded.first_chunk()?).div_euclid(10_i64.pow(u32::from(*precision)))
        }
        _ => return None,
    })
}

/// Parses a hyphenated UUID into the halves of its number.
pub(super) fn uuid(text: &str, span: Span) -> Result<(u64, u64), Reason> {
    hex::uuid(&characters(text, span)?).ok_or(Reason::InvalidUuid)
}

/// Appends a UUID: two little-endian halves, the high one first.
pub(super) fn push_uuid((high, low): (u64, u64), out: &mut Vec<u8>) {
    out.extend_from_slice([high.to_le_bytes(), low.to_le_bytes()].as_flattened());
}

/// The characters of a JSON string; `scratch` is used if it has escapes.
pub(super) fn unescaped<'a>(text: &'a str, span: Span, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Reason> {
    match span.kind {
        Kind::Plain => Ok(slice(text, span).as_bytes()),
        Kind::Escaped => {
            scratch.clear();
            unescape(slice(text, span), scratch)?;
            Ok(scratch)
        }
        _ => Err(Reason::WrongType),
    }
}

fn raw(text: &str, span: Span, kind: Kind) -> Result<&str, Reason> {
    if span.kind == kind { Ok(slice(text, span)) } else { Err(Reason::WrongType) }
}

/// The characters of a JSON string that is an identifier, a time or the like. Few producers escape those (some write
/// every `+` as `\u002b`); it allocates only then.
pub(super) fn characters(text: &str, span: Span) -> Result<Cow<'_, str>, Reason> {
    if span.kind != Kind::Escaped {
        return raw(text, span, Kind::Plain).map(Cow::Borrowed);
    }
    let mut plain = Vec::new();
    unescape(slice(text, span), &mut plain)?;
    String::from_utf8(plain).map(Cow::Owned).map_err(|_| Reason::InvalidUtf8)
}

fn float<T: std::str::FromStr + Copy>(text: &str, span: Span, is_finite: fn(T) -> bool) -> Result<T, Reason> {
    number::float(raw(text, span, Kind::Number)?, is_finite)
}

/// A JSON number, or a number in a string, as written by producers that do not trust their readers' floats.
fn decimal(text: &str, span: Span, column_type: Decimal, out: &mut Vec<u8>) -> Result<(), Reason> {
    let text = match span.kind {
        Kind::Number => Cow::Borrowed(slice(text, span)),
        _ => Some(characters(text, span)?).filter(|text| json::is_number(text)).ok_or(Reason::InvalidDecimal)?,
    };
    number::decimal(&text, column_type, out)
}

fn boolean(span: Span) -> Result<bool, Reason> {
    match span.kind {
        Kind::True => Ok(true),
        Kind::False => Ok(false),
        _ => Err(Reason::WrongType),
    }
}

fn address<T: std::str::FromStr>(text: &str, span: Span) -> Result<T, Reason> {
    characters(text, span)?.parse().map_err(|_| Reason::InvalidAddress)
}

fn instant(text: &str, span: Span) -> Result<time::Instant, Reason> {
    time::rfc3339(&characters(text, span)?)
}

fn date(text: &str, span: Span) -> Result<i64, Reason> {
    time::date(&characters(text, span)?).ok_or(Reason::InvalidTime)
}

/// A `Date`: days since 1970, to 2149.
fn days(text: &str, span: Span) -> Result<u16, Reason> {
    u16::try_from(date(text, span)?).map_err(|_| Reason::OutOfRange)
}

/// A `Date32`: days since 1970, from 1900 to 2299.
fn days32(text: &str, span: Span) -> Result<i32, Reason> {
    let days = date(text, span)?;
    let is_in_range = TIME64.contains(&(days * DAY));
    i32::try_from(days).ok().filter(|_| is_in_range).ok_or(Reason::OutOfRange)
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
    let fraction = i64::from(at.nanos) / 10_i64.pow(9 - u32::from(precision));
    at.seconds.checked_mul(per_second).and_then(|ticks| ticks.checked_add(fraction)).ok_or(Reason::OutOfRange)
}

#[cfg(test)]
mod tests;
