//! Whether a value in a row is the one that the record had.
//! A [`Value`] and what serde_json reads of the same record go in. What the two cannot be expected to agree on to the
//! last bit (floats, numbers beyond 64 bits) is passed over.

use chrono::{DateTime, NaiveDate};
use serde_json::Value as Json;

use crate::rows::Value;

/// Whether they are the same.
pub fn agree(value: &Value, json: &Json) -> bool {
    match (value, json) {
        (Value::Null, Json::Null) | (Value::Inexact, Json::Number(_) | Json::String(_)) => true,
        (Value::Text(text) | Value::Word(text), Json::String(own)) => text == own,
        // An object or array in a string column is kept as it came.
        (Value::Text(text), Json::Object(_) | Json::Array(_)) => {
            serde_json::from_str::<Json>(text).is_ok_and(|own| own == *json)
        }
        (Value::Padded(bytes), Json::String(own)) => {
            let (text, rest) = bytes.split_at(own.len().min(bytes.len()));
            text == own.as_bytes() && rest.iter().all(|byte| *byte == 0)
        }
        (Value::Document(own), json) => own == json,
        (Value::Number(number), Json::Number(own)) => own.is_f64() || *number == own.to_string(),
        (Value::Bool(own), Json::Bool(json)) => own == json,
        (Value::Days(days), Json::String(text)) => {
            let date: Option<NaiveDate> = text.parse().ok();
            date.is_some_and(|date| i64::from(date.to_epoch_days()) == *days)
        }
        (Value::Ticks(ticks, decimals), Json::String(text)) => agree_on_time(*ticks, *decimals, text),
        (Value::Uuid(id), Json::String(text)) => text.parse() == Ok(*id),
        (Value::Address(address), Json::String(text)) => text.parse() == Ok(*address),
        (Value::Array(elements), Json::Array(own)) => {
            elements.len() == own.len() && elements.iter().zip(own).all(|(element, own)| agree(element, own))
        }
        (Value::Map(pairs), Json::Object(own)) => agree_on_pairs(pairs, own),
        (Value::Tuple(elements), Json::Array(own)) => {
            elements.len() == own.len() && elements.iter().zip(own).all(|((_, element), own)| agree(element, own))
        }
        (Value::Tuple(elements), Json::Object(own)) => {
            elements.iter().all(|(name, element)| agree(element, own.get(name).unwrap_or(&Json::Null)))
        }
        _ => false,
    }
}

/// Keys that are text or numbers are sought, others counted.
fn agree_on_pairs(pairs: &[(Value, Value)], own: &serde_json::Map<String, Json>) -> bool {
    let agrees = |(key, value): &(Value, Value)| match key {
        Value::Text(key) | Value::Word(key) | Value::Number(key) => own
            .get(key)
            // `-0` is the number 0.
            .or_else(|| own.get("-0").filter(|_| key == "0"))
            .is_some_and(|json| agree(value, json)),
        _ => true,
    };
    pairs.len() == own.len() && pairs.iter().all(agrees)
}

fn agree_on_time(ticks: i64, decimals: u32, text: &str) -> bool {
    let Ok(at) = DateTime::parse_from_rfc3339(text) else { return false };
    let nanos = i128::from(at.timestamp()) * 1_000_000_000 + i128::from(at.timestamp_subsec_nanos());
    nanos.div_euclid(10_i128.pow(9 - decimals)) == i128::from(ticks)
}
