//! Decoding whole records: what lands, what is rejected and why, and that nothing panics.

use proptest::prelude::*;
use uuid::Uuid;

use super::table::{Plan, plan, tests::shape};
use super::*;
use crate::config::Pipeline;

const TENANT: &str = "6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b";

fn decoder() -> Decoder {
    let shape = shape(&[
        ("tenant_id", "UUID", ""),
        ("name", "LowCardinality(String)", ""),
        ("timestamp", "DateTime64(3)", ""),
        ("n", "Nullable(UInt32)", ""),
        ("place", "String", ""),
    ]);
    let columns = [("place".to_owned(), "details.place".to_owned())].into();
    let pipeline = Pipeline { table: "t".to_owned(), columns, ..Pipeline::default() };
    let Plan { decoder, .. } = plan("a-topic", &pipeline, &shape).unwrap();
    decoder
}

fn record(change: impl Fn(&mut serde_json::Value)) -> String {
    let mut value = serde_json::json!({
        "tenant_id": TENANT, "name": "x", "timestamp": "2026-11-24T08:33:26.123Z", "n": 7,
        "details": {"place": "here", "more": [1, 2]}, "unmapped": null,
    });
    change(&mut value);
    value.to_string()
}

fn decode(payload: &[u8]) -> Result<(Decoded, Vec<u8>), Rejected> {
    let mut row = b"before".to_vec();
    let decoded = decoder().decode(Some(payload), &Origin::new("a-topic", Uuid::nil(), 3), 42, &mut row);
    if decoded.is_err() {
        assert_eq!(row, b"before", "a rejected record leaves nothing behind");
    }
    decoded.map(|decoded| (decoded, row.split_off(6)))
}

fn reason(payload: &str) -> Reason {
    decode(payload.as_bytes()).unwrap_err().reason
}

#[test]
fn a_good_record_becomes_its_row() {
    let (decoded, row) = decode(record(|_| {}).as_bytes()).unwrap();
    let mut wanted = Vec::new();
    value::push_uuid(TENANT.parse().unwrap(), &mut wanted);
    wanted.extend_from_slice(b"\x01x");
    wanted.extend_from_slice(&1_795_509_206_123_i64.to_le_bytes());
    wanted.extend_from_slice(&[0, 7, 0, 0, 0]);
    wanted.extend_from_slice(b"\x04here");
    wanted.extend_from_slice(b"\x07a-topic");
    wanted.extend_from_slice(&[0; 16]);
    wanted.extend_from_slice(&3_i32.to_le_bytes());
    wanted.extend_from_slice(&42_i64.to_le_bytes());
    assert_eq!((decoded.month, row), (202_611, wanted));
}

#[test]
fn each_fault_has_its_reason() {
    let without = |field: &str| {
        reason(&record(|value| {
            value.as_object_mut().unwrap().remove(field);
        }))
    };
    assert_eq!(without("name"), Reason::MissingField);
    assert_eq!(without("details"), Reason::MissingField);
    assert_eq!(without("timestamp"), Reason::MissingField);
    assert_eq!(without("tenant_id"), Reason::MissingTenant);
    assert_eq!(reason(&record(|v| v["tenant_id"] = "".into())), Reason::MissingTenant);
    assert_eq!(reason(&record(|v| v["tenant_id"] = Uuid::nil().to_string().into())), Reason::MissingTenant);
    assert_eq!(reason(&record(|v| v["tenant_id"] = "acme".into())), Reason::InvalidUuid);
    assert_eq!(reason(&record(|v| v["n"] = (1_u64 << 32).into())), Reason::OutOfRange);
    assert_eq!(reason(&record(|v| v["n"] = "7".into())), Reason::WrongType);
    assert_eq!(reason(&record(|v| v["timestamp"] = "2026-11-31T00:00:00Z".into())), Reason::InvalidTime);
    for outside in ["1900-01-01T00:00:00Z", "2110-01-01T00:00:00Z"] {
        assert_eq!(reason(&record(|v| v["timestamp"] = outside.into())), Reason::OutOfRange);
    }
    assert_eq!(reason(&record(|v| v["name"] = "y".repeat(300_000).into())), Reason::StringTooLong);
    assert_eq!(reason(&record(|v| v["unmapped"] = "y".repeat(2 << 20).into())), Reason::RecordTooLarge);
    assert_eq!(reason("[1]"), Reason::NotAnObject);
    assert_eq!(reason(""), Reason::TruncatedJson);
    assert_eq!(reason(&record(|_| {}).replace("\"unmapped\"", "\"name\"")), Reason::DuplicateField);
    assert_eq!(reason(&record(|_| {}).replace("\"unmapped\"", "\"n\\u0061me\"")), Reason::DuplicateField);
    assert_eq!(decode(b"\xff{}").unwrap_err().reason, Reason::InvalidUtf8);
    let tombstone = decoder().decode(None, &Origin::new("t", Uuid::nil(), 0), 0, &mut Vec::new());
    assert_eq!(tombstone.unwrap_err().reason, Reason::Tombstone);
}

#[test]
fn a_rejected_record_still_names_its_tenant_where_that_was_read() {
    let rejected = decode(record(|v| v["n"] = true.into()).as_bytes()).unwrap_err();
    assert_eq!(rejected.tenant, Some(TENANT.parse().unwrap()));
    let cut = format!("{{\"tenant_id\":\"{TENANT}\",\"name\":\"x");
    assert_eq!(
        decode(cut.as_bytes()).unwrap_err(),
        Rejected { reason: Reason::TruncatedJson, tenant: Some(TENANT.parse().unwrap()) }
    );
}

#[test]
fn absent_and_null_fields_take_null_or_the_default() {
    let (_, row) = decode(record(|v| v["n"] = serde_json::Value::Null).as_bytes()).unwrap();
    assert_eq!(row[26], 1);
    let shape = shape(&[("timestamp", "DateTime64(3)", ""), ("n", "UInt8", "DEFAULT")]);
    let pipeline = Pipeline { table: "t".to_owned(), tenant: String::new(), ..Pipeline::default() };
    let Plan { mut decoder, insert } = plan("a-topic", &pipeline, &shape).unwrap();
    assert!(insert.ends_with("FORMAT RowBinaryWithDefaults"));
    let mut row = Vec::new();
    let payload = br#"{"timestamp":"2026-11-24T00:00:00Z"}"#;
    decoder.decode(Some(payload), &Origin::new("t", Uuid::nil(), 0), 0, &mut row).unwrap();
    assert_eq!((row[0], row[9]), (0, 1));
}

proptest! {
    #[test]
    fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(decode(&bytes));
    }

    #[test]
    fn never_panics_on_a_damaged_record(at in 0_usize..150, byte in any::<u8>(), cut in 0_usize..200) {
        let mut bytes = record(|_| {}).into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        drop(decode(&bytes));
    }

    /// The row equals what a simple model, written with serde_json and chrono, makes of the same values.
    #[test]
    fn agrees_with_a_simple_model(
        name in "\\PC{0,30}", n in proptest::option::of(any::<u32>()), millis in 0_i64..4_102_444_800_000, offset in any::<i64>()
    ) {
        let at = chrono::DateTime::from_timestamp_millis(millis).unwrap().to_rfc3339();
        let payload = record(|v| { v["name"] = name.clone().into(); v["n"] = n.into(); v["timestamp"] = at.clone().into(); });
        let mut row = Vec::new();
        decoder().decode(Some(payload.as_bytes()), &Origin::new("t", Uuid::nil(), 0), offset, &mut row).unwrap();
        let mut wanted = Vec::new();
        value::push_uuid(TENANT.parse().unwrap(), &mut wanted);
        wanted.push(name.len() as u8);
        wanted.extend_from_slice(name.as_bytes());
        wanted.extend_from_slice(&millis.to_le_bytes());
        match n {
            Some(n) => { wanted.push(0); wanted.extend_from_slice(&n.to_le_bytes()); }
            None => wanted.push(1),
        }
        wanted.extend_from_slice(b"\x04here\x01t");
        wanted.extend_from_slice(&[0; 20]);
        wanted.extend_from_slice(&offset.to_le_bytes());
        prop_assert_eq!(row, wanted);
    }
}
