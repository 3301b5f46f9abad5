//! A reader of RowBinary that shares no code with the decoder. It reads a row value by value; a row that ends early or contains
//! a value that its type does not allow is an error that names the fault.

use std::net::{Ipv4Addr, Ipv6Addr};

use uuid::Uuid;

use crate::types::{Form, Meaning};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A string.
    Text(String),
    /// A string padded with zeros.
    Padded(Vec<u8>),
    /// A JSON object.
    Document(serde_json::Value),
    /// A whole number in decimal.
    Number(String),
    /// Zero or one.
    Bool(bool),
    /// A float or a decimal; only its bounds are checked.
    Inexact,
    /// Days since 1970.
    Days(i64),
    /// Fractions of a second since 1970, and the number of decimals.
    Ticks(i64, u32),
    /// A word of an enum.
    Word(String),
    /// A UUID.
    Uuid(Uuid),
    /// An address.
    Address(std::net::IpAddr),
    /// Elements.
    Array(Vec<Self>),
    /// Keys and values.
    Map(Vec<(Self, Self)>),
    /// Elements with their names.
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
                check(value.is_object(), "a document is an object")?;
                Value::Document(value)
            }
            Form::Nullable(inner) => match self.byte()? {
                0 => self.value(inner)?,
                1 => Value::Null,
                other => return Err(format!("{other} as a null marker")),
            },
            Form::Array(inner) => Value::Array((0..self.count()?).map(|_| self.value(inner)).collect::<Read<_>>()?),
            Form::Map(pair) => self.map(&pair.0, &pair.1)?,
            Form::Tuple(elements) => {
                let element = |(name, form): &(String, Form)| Ok((name.clone(), self.value(form)?));
                Value::Tuple(elements.iter().map(element).collect::<Read<_>>()?)
            }
        })
    }

    fn map(&mut self, key: &Form, value: &Form) -> Read<Value> {
        let mut pairs: Vec<(Value, Value)> = Vec::new();
        for _ in 0..self.count()? {
            let (key, value) = (self.value(key)?, self.value(value)?);
            check(pairs.iter().all(|(other, _)| *other != key), "a map has unique keys")?;
            pairs.push((key, value));
        }
        Ok(Value::Map(pairs))
    }

    fn text(&mut self) -> Read<String> {
        let length = self.count()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "a string is UTF-8".to_owned())
    }

    /// Reads a LEB128 number.
    fn count(&mut self) -> Read<usize> {
        let (mut count, mut shift) = (0_usize, 0);
        loop {
            let byte = self.byte()?;
            check(shift < 64, "a count has at most ten bytes")?;
            count |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(count);
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
    if holds { Ok(()) } else { Err(format!("violated: {what}")) }
}

fn fixed_size_value(bytes: &[u8], meaning: &Meaning) -> Read<Value> {
    let unsigned = bytes.iter().rev().fold(0_u128, |value, byte| value << 8 | u128::from(*byte));
    // Shifting up and down extends the sign into the upper bytes.
    let unused = 128_u32.saturating_sub(8 * bytes.len() as u32);
    let signed = if bytes.is_empty() { 0 } else { unsigned.cast_signed() << unused >> unused };
    Ok(match meaning {
        Meaning::Signed => Value::Number(signed.to_string()),
        Meaning::Unsigned => Value::Number(unsigned.to_string()),
        Meaning::Float => {
            let value = match *bytes {
                [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
                _ => f64::from_le_bytes(bytes.try_into().map_err(|_| "a float has four or eight bytes")?),
            };
            check(value.is_finite(), "a float is finite")?;
            Value::Inexact
        }
        Meaning::Decimal(precision) => {
            check(signed.unsigned_abs() < 10_u128.pow(*precision), "a decimal has at most its precision in digits")?;
            Value::Inexact
        }
        Meaning::Bool => {
            check(unsigned < 2, "a bool is zero or one")?;
            Value::Bool(unsigned == 1)
        }
        Meaning::Days => Value::Days(if bytes.len() == 2 { unsigned as i64 } else { signed as i64 }),
        Meaning::Ticks(decimals) => ticks(if bytes.len() == 4 { unsigned as i64 } else { signed as i64 }, *decimals)?,
        Meaning::Words(words) => {
            let word = words.iter().find(|(_, number)| i128::from(*number) == signed);
            Value::Word(word.ok_or("an enum's number belongs to one of its words")?.0.clone())
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

/// A time from 1900 to 2299, which ClickHouse can display.
fn ticks(ticks: i64, decimals: u32) -> Read<Value> {
    let seconds = ticks.div_euclid(10_i64.pow(decimals));
    check((-2_208_988_800..10_413_792_000).contains(&seconds), "a time lies between 1900 and 2299")?;
    Ok(Value::Ticks(ticks, decimals))
}
