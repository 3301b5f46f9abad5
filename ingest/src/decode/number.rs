//! Encodes the text of a JSON number as an integer, a float or a decimal.
//! A number that does not fit exactly is rejected, except that a float takes the nearest value.

use std::str::FromStr;

use super::json;
use super::reason::Reason;
use crate::clickhouse::types::{Decimal, Width};

/// Appends a signed integer.
pub(super) fn signed(text: &str, width: Width, out: &mut Vec<u8>) -> Result<(), Reason> {
    let text = integer(text)?;
    match width {
        Width::W8 => out.extend_from_slice(&parse_in_range::<i8>(text)?.to_le_bytes()),
        Width::W16 => out.extend_from_slice(&parse_in_range::<i16>(text)?.to_le_bytes()),
        Width::W32 => out.extend_from_slice(&parse_in_range::<i32>(text)?.to_le_bytes()),
        Width::W64 => out.extend_from_slice(&parse_in_range::<i64>(text)?.to_le_bytes()),
        Width::W128 => out.extend_from_slice(&parse_in_range::<i128>(text)?.to_le_bytes()),
    }
    Ok(())
}

/// Appends an unsigned integer.
pub(super) fn unsigned(text: &str, width: Width, out: &mut Vec<u8>) -> Result<(), Reason> {
    let text = integer(text)?;
    match width {
        Width::W8 => out.extend_from_slice(&parse_in_range::<u8>(text)?.to_le_bytes()),
        Width::W16 => out.extend_from_slice(&parse_in_range::<u16>(text)?.to_le_bytes()),
        Width::W32 => out.extend_from_slice(&parse_in_range::<u32>(text)?.to_le_bytes()),
        Width::W64 => out.extend_from_slice(&parse_in_range::<u64>(text)?.to_le_bytes()),
        Width::W128 => out.extend_from_slice(&parse_in_range::<u128>(text)?.to_le_bytes()),
    }
    Ok(())
}

/// The text of a number without fraction or exponent.
fn integer(text: &str) -> Result<&str, Reason> {
    if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) { Ok(text) } else { Err(Reason::WrongType) }
}

fn parse_in_range<T: FromStr>(text: &str) -> Result<T, Reason> {
    text.parse().map_err(|_| Reason::OutOfRange)
}

/// Parses a float; one that rounds to infinity is rejected.
pub(super) fn float<T: FromStr + Copy>(text: &str, is_finite: fn(T) -> bool) -> Result<T, Reason> {
    text.parse().ok().filter(|value| is_finite(*value)).ok_or(Reason::OutOfRange)
}

/// Rejects a number that fits neither a 64-bit integer nor a finite float.
pub(super) fn check(text: &str) -> Result<(), Reason> {
    match integer(text) {
        Ok(text) => parse_in_range::<u64>(text).map(drop).or_else(|_| parse_in_range::<i64>(text).map(drop)),
        Err(_) => float(text, f64::is_finite).map(drop),
    }
}

/// Whether a text is an integer in JSON notation, as required of integer keys.
pub(super) fn is_integer(text: &str) -> bool {
    json::is_number(text) && integer(text).is_ok()
}

/// Appends a decimal: its digits as an integer of 32, 64 or 128 bits.
pub(super) fn decimal(text: &str, declared: Decimal, out: &mut Vec<u8>) -> Result<(), Reason> {
    let width = match declared.precision {
        0..=9 => Width::W32,
        10..=18 => Width::W64,
        _ => Width::W128,
    };
    out.extend_from_slice(&scaled(text, declared)?.to_le_bytes()[..width.bytes()]);
    Ok(())
}

/// The value of `text` times ten to the power of the scale.
fn scaled(text: &str, declared: Decimal) -> Result<i128, Reason> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    // An exponent beyond i32 is treated as the extreme one: the digits of a record cannot compensate for it.
    let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i32::MIN } else { i32::MAX });
    let (sign, digits) = mantissa.strip_prefix('-').map_or((1, mantissa), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    let zeros_before = digits().take_while(|digit| *digit == b'0').count();
    let zeros_after = digits().rev().take_while(|digit| *digit == b'0').count();
    let Some(significant) = digits().count().checked_sub(zeros_before + zeros_after) else { return Ok(0) };
    // The last significant digit is worth ten to this power.
    let power = i128::from(exponent) + i128::from(declared.scale) - fraction.len() as i128 + zeros_after as i128;
    let shift = usize::try_from(power).map_err(|_| Reason::TooManyDecimals)?;
    // This bounds the power of ten below, since a precision is at most 38.
    let Some(factor) =
        u32::try_from(shift).ok().filter(|_| significant.saturating_add(shift) <= declared.precision.into())
    else {
        return Err(Reason::OutOfRange);
    };
    let digits = digits().skip(zeros_before).take(significant);
    Ok(sign * digits.fold(0, |value, digit| value * 10 + i128::from(digit - b'0')) * 10_i128.pow(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn money(text: &str) -> Result<i128, Reason> {
        scaled(text, Decimal { precision: 9, scale: 2 })
    }

    #[test]
    fn a_decimal_is_exact_or_rejected() {
        assert_eq!(money("0"), Ok(0));
        assert_eq!(money("-0.000e7"), Ok(0));
        assert_eq!(money("1.5"), Ok(150));
        assert_eq!(money("-1.50000"), Ok(-150));
        assert_eq!(money("0.01"), Ok(1));
        assert_eq!(money("1234567.89"), Ok(123_456_789));
        assert_eq!(money("12345678.9"), Err(Reason::OutOfRange));
        assert_eq!(money("0.015"), Err(Reason::TooManyDecimals));
        assert_eq!(money("1e6"), Ok(100_000_000));
        assert_eq!(money("15E-1"), Ok(150));
        assert_eq!(money("1500e-3"), Ok(150));
        assert_eq!(money("0.00000000000000000001e+20"), Ok(100));
        assert_eq!(money("1e7"), Err(Reason::OutOfRange));
        assert_eq!(money("1e99999999999999999999"), Err(Reason::OutOfRange));
        assert_eq!(money("1e-99999999999999999999"), Err(Reason::TooManyDecimals));
        let largest = "9".repeat(38);
        assert_eq!(scaled(&largest, Decimal { precision: 38, scale: 0 }), Ok(largest.parse().unwrap()));
    }

    #[test]
    fn a_decimal_has_the_width_of_its_precision() {
        for (precision, width) in [(9, 4), (10, 8), (18, 8), (19, 16), (38, 16)] {
            let mut out = Vec::new();
            decimal("-1", Decimal { precision, scale: 0 }, &mut out).unwrap();
            assert_eq!(out, vec![0xff; width]);
        }
    }

    #[test]
    fn a_key_is_an_integer_in_json_notation() {
        assert!(["0", "-1", "18446744073709551616"].into_iter().all(is_integer));
        assert!(!["", "-", "01", "+1", "1.0", "1e2", " 1", "1 ", "x"].into_iter().any(is_integer));
    }

    proptest! {
        #[test]
        fn decimals_round_trip(units in -999_999_999_999_999_999_i128..=999_999_999_999_999_999, scale in 0_u8..=18) {
            let declared = Decimal { precision: 18, scale };
            let digits = format!("{:0>width$}", units.abs(), width = usize::from(scale) + 1);
            let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
            let sign = if units < 0 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            prop_assert_eq!(scaled(&format!("{sign}{whole}{point}{fraction}"), declared), Ok(units));
            prop_assert_eq!(scaled(&format!("{units}e-{scale}"), declared), Ok(units));
            prop_assert_eq!(scaled(&format!("{sign}{whole}.{fraction}00e0"), declared), Ok(units));
        }
    }
}
