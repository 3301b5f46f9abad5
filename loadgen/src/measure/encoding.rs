//! The written form of a histogram: HdrHistogram's V2 encoding, compressed with deflate, in base64. That is what its logs
//! contain and what its libraries in every language read; it is exact, and shorter than pairs of values and counts. Values
//! are in microseconds. This module writes no log itself.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::ser::Error as _;

use super::histogram::DurationHistogram;

impl serde::Serialize for DurationHistogram {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> serde::Deserialize<'de> for DurationHistogram {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |why: &dyn std::fmt::Display| D::Error::custom(format_args!("not an HdrHistogram: {why}"));
        let bytes = STANDARD.decode(text).map_err(|error| wrong(&error))?;
        let mut histogram: Histogram<u64> =
            Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|error| wrong(&error))?;
        histogram.auto(false);
        Ok(Self(histogram))
    }
}

impl JsonSchema for DurationHistogram {
    fn schema_name() -> Cow<'static, str> {
        "DurationHistogram".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A histogram of microseconds: HdrHistogram V2 encoding, deflate, base64.",
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^[A-Za-z0-9+/]+=*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_histogram_is_read_as_it_was_written(micros in prop::collection::vec(0_u64..700_000_000, 0..200)) {
            let mut written = DurationHistogram::default();
            for micros in micros {
                written.record(Duration::from_micros(micros));
            }
            let json = serde_json::to_string(&written).unwrap();
            let read: DurationHistogram = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read.0, &written.0);
            prop_assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        for text in ["\"?\"", "\"AAAA\"", "7"] {
            let error = serde_json::from_str::<DurationHistogram>(text).unwrap_err().to_string();
            assert!(error.contains("HdrHistogram") || error.contains("invalid type"), "{error}");
        }
    }
}
