//! Compares a value of a row with the record's, as serde_json parses it. Values that need not agree to the last bit
//! (floats, numbers beyond 64 bits) are not compared.

use chrono::{DateTime, NaiveDate};
use serde_json::Value as Json;

use crate::rows::Value;

/// Whether the two values agree.
pub fn agree(value: &Value, json: &Json) -> bool {
    match (value, json) {
        (Value::Null, Json::Null) | (Value::Inexact, Json::Number(_) | Json::String(_)) => true,
        (Value::Text(text) | Value::EnumName(text), Json::String(expected)) => text == expected,
        // A string column stores an object or array as text.
        (Value::Text(text), Json::Object(_) | Json::Array(_)) => {
            serde_json::from_str::<Json>(text).is_ok_and(|expected| expected == *json)
        }
        (Value::Padded(bytes), Json::String(expected)) => {
            let (text, padding) = bytes.split_at(expected.len().min(bytes.len()));
            text == expected.as_bytes() && padding.iter().all(|byte| *byte == 0)
        }
        (Value::Document(document), json) => document == json,
        (Value::Number(number), Json::Number(expected)) => expected.is_f64() || *number == expected.to_string(),
        (Value::Bool(value), Json::Bool(expected)) => value == expected,
        (Value::Days(days), Json::String(text)) => {
            let date: Option<NaiveDate> = text.parse().ok();
            date.is_some_and(|date| i64::from(date.to_epoch_days()) == *days)
        }
        (Value::Ticks(ticks, decimals), Json::String(text)) => agree_on_time(*ticks, *decimals, text),
        (Value::Uuid(id), Json::String(text)) => text.parse() == Ok(*id),
        (Value::Address(address), Json::String(text)) => text.parse() == Ok(*address),
        (Value::Array(elements), Json::Array(expected)) => {
            elements.len() == expected.len()
                && elements.iter().zip(expected).all(|(element, expected)| agree(element, expected))
        }
        (Value::Map(pairs), Json::Object(expected)) => agree_on_pairs(pairs, expected),
        (Value::Tuple(elements), Json::Array(expected)) => {
            elements.len() == expected.len()
                && elements.iter().zip(expected).all(|((_, element), expected)| agree(element, expected))
        }
        (Value::Tuple(elements), Json::Object(expected)) => {
            elements.iter().all(|(name, element)| agree(element, expected.get(name).unwrap_or(&Json::Null)))
        }
        _ => false,
    }
}

/// Compares entries with text and number keys; other entries are only counted.
fn agree_on_pairs(pairs: &[(Value, Value)], expected: &serde_json::Map<String, Json>) -> bool {
    let agrees = |(key, value): &(Value, Value)| match key {
        Value::Text(key) | Value::EnumName(key) | Value::Number(key) => expected
            .get(key)
            // `-0` is read as the number 0.
            .or_else(|| expected.get("-0").filter(|_| key == "0"))
            .is_some_and(|json| agree(value, json)),
        _ => true,
    };
    pairs.len() == expected.len() && pairs.iter().all(agrees)
}

fn agree_on_time(ticks: i64, decimals: u32, text: &str) -> bool {
    let Ok(at) = DateTime::parse_from_rfc3339(text) else { return false };
    let nanos = i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos());
    nanos.div_euclid(10_i128.pow(9 - decimals)) == i128::from(ticks)
}
