//! A reader of RowBinary that shares no code with the decoder. It reads a row value by value and returns an error that names the
//! fault if the row ends early or contains a value that its type does not allow.

use std::net::{Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use crate::types::{Form, Meaning};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL `NULL`.
    Null,
    /// A `String`.
    Text(String),
    /// A `FixedString`, including its zero padding.
    Padded(Vec<u8>),
    /// A JSON object.
    Document(serde_json::Value),
    /// A whole number in decimal.
    Number(String),
    /// A `Bool`.
    Bool(bool),
    /// A float or a decimal; only its range is checked.
    Inexact,
    /// Days since 1970-01-01.
    Days(i64),
    /// Ticks since 1970-01-01, and the number of decimals of a second.
    Ticks(i64, u32),
    /// Name of an enum value.
    EnumName(String),
    /// A `UUID`.
    Uuid(Uuid),
    /// An `IPv4` or `IPv6`.
    Address(std::net::IpAddr),
    /// Elements of an `Array`.
    Array(Vec<Self>),
    /// Keys and values, in order.
    Map(Vec<(Self, Self)>),
    /// Elements with their names; an unnamed element has an empty one.
    Tuple(Vec<(String, Self)>),
}

/// The unread part of a row.
#[derive(Debug)]
pub struct RowReader<'a>(pub &'a [u8]);

type Read<T> = Result<T, String>;

impl RowReader<'_> {
    /// Reads one value.
    pub fn value(&mut self, form: &Form) -> Read<Value> {
        Ok(match form {
            Form::Bytes(size, meaning) => fixed_size_value(self.take(*size)?, meaning)?,
            Form::Text => Value::Text(self.text()?),
            Form::Document => {
                let value: serde_json::Value = serde_json::from_str(&self.text()?).map_err(|e| e.to_string())?;
                check(value.is_object(), "a document must be an object")?;
                Value::Document(value)
            }
            Form::Nullable(inner) => match self.byte()? {
                0 => self.value(inner)?,
                1 => Value::Null,
                other => return Err(format!("invalid null marker {other}")),
            },
            Form::Array(inner) => {
                Value::Array((0..self.read_varint()?).map(|_| self.value(inner)).collect::<Read<_>>()?)
            }
            Form::Map(pair) => self.map(&pair.0, &pair.1)?,
            Form::Tuple(elements) => {
                let element = |(name, form): &(String, Form)| Ok((name.clone(), self.value(form)?));
                Value::Tuple(elements.iter().map(element).collect::<Read<_>>()?)
            }
        })
    }

    fn map(&mut self, key: &Form, value: &Form) -> Read<Value> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        for _ in 0..self.read_varint()? {
            let (key, value) = (self.value(key)?, self.value(value)?);
            check(pairs.iter().all(|(other, _)| *other != key), "keys of a map must be unique")?;
            pairs.push((key, value));
        }
        Ok(Value::Map(pairs))
    }

    fn text(&mut self) -> Read<String> {
        let length = self.read_varint()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "a string is not UTF-8".to_owned())
    }

    /// Reads a LEB128 number.
    fn read_varint(&mut self) -> Read<usize> {
        let (mut number, mut shift) = (0_usize, 0);
        loop {
            let byte = self.byte()?;
            check(shift < 64, "a LEB128 number must have at most ten bytes")?;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
    }

    /// Reads one byte.
    pub fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: usize) -> Read<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("the row ends early")?;
        self.0 = rest;
        Ok(taken)
    }
}

fn check(holds: bool, what: &str) -> Read<()> {
    if holds { Ok(()) } else { Err(format!("invariant violated: {what}")) }
}

fn fixed_size_value(bytes: &[u8], meaning: &Meaning) -> Read<Value> {
    let unsigned = bytes.iter().rev().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    // Shifting left and right extends the sign into the upper bytes.
    let unused = 128_u32.saturating_sub(8 * bytes.len() as u32);
    let signed = if bytes.is_empty() { 0 } else { unsigned.cast_signed() << unused >> unused };
    Ok(match meaning {
        Meaning::Signed => Value::Number(signed.to_string()),
        Meaning::Unsigned => Value::Number(unsigned.to_string()),
        Meaning::Float => {
            let value = match *bytes {
                [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
                _ => f64::from_le_bytes(bytes.try_into().map_err(|_| "a float does not have four or eight bytes")?),
            };
            check(value.is_finite(), "a float must be finite")?;
            Value::Inexact
        }
        Meaning::Decimal(precision) => {
            check(
                signed.unsigned_abs() < 10_u128.pow(*precision),
                "a decimal must not have more digits than its precision",
            )?;
            Value::Inexact
        }
        Meaning::Bool => {
            check(unsigned < 2, "a Bool must be zero or one")?;
            Value::Bool(unsigned == 1)
        }
        Meaning::Days => Value::Days(if bytes.len() == 2 { unsigned as i64 } else { signed as i64 }),
        Meaning::Ticks(decimals) => {
            check_ticks(if bytes.len() == 4 { unsigned as i64 } else { signed as i64 }, *decimals)?
        }
        Meaning::EnumNames(names) => {
            let name = names.iter().find(|(_, number)| i128::from(*number) == signed);
            Value::EnumName(name.ok_or("an enum has no name for its number")?.0.clone())
        }
        Meaning::Uuid => {
            let (high, low) = bytes.split_at(8);
            let half = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            Value::Uuid(Uuid::from_u64_pair(half(high), half(low)))
        }
        Meaning::Ipv4 => Value::Address(Ipv4Addr::from_bits(unsigned as u32).into()),
        Meaning::Ipv6 => Value::Address(Ipv6Addr::from_bits(unsigned.swap_bytes()).into()),
        Meaning::Padded => Value::Padded(bytes.to_vec()),
    })
}

/// Checks that a time is in the range that ClickHouse can display, from 1900 to 2299.
fn check_ticks(ticks: i64, decimals: u32) -> Read<Value> {
    let seconds = ticks.div_euclid(10_i64.pow(decimals));
    check((-2_208_988_800..10_413_792_000).contains(&seconds), "a time must be between 1900 and 2299")?;
    Ok(Value::Ticks(ticks, decimals))
}
