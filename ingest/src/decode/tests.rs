//! Tests of decoding whole records: what lands, what is rejected and why, and that nothing panics.

use proptest::prelude::*;
use uuid::Uuid;

use super::table::{Plan, plan, tests::shape};
use super::*;
use crate::config::Pipeline;
use crate::config::pipeline::{MAX_BYTES, MAX_RECORD};

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
fn a_full_batch_plus_the_largest_row_can_be_counted() {
    let largest_row = MAX_RECORD.0 * decoder::ROW_GROWTH as u64;
    assert!(MAX_BYTES.0 + largest_row < 1 << 32);
}

#[test]
fn a_good_record_becomes_its_row() {
    let (decoded, row) = decode(record(|_| {}).as_bytes()).unwrap();
    let mut expected = Vec::new();
    value::push_uuid(TENANT.parse::<Uuid>().unwrap().as_u64_pair(), &mut expected);
    expected.extend_from_slice(b"\x01x");
    expected.extend_from_slice(&1_795_509_206_123_i64.to_le_bytes());
    expected.extend_from_slice(&[0, 7, 0, 0, 0]);
    expected.extend_from_slice(b"\x04here");
    expected.extend_from_slice(b"\x07a-topic");
    expected.extend_from_slice(&[0; 16]);
    expected.extend_from_slice(&3_i32.to_le_bytes());
    expected.extend_from_slice(&42_i64.to_le_bytes());
    assert_eq!((decoded.month, row), (202_611, expected));
}

#[test]
fn each_error_has_its_reason() {
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
    for twice in ["{}", "null", r#"{"place":"there"}"#] {
        let details = format!("\"details\":{twice}");
        assert_eq!(reason(&record(|_| {}).replace("\"unmapped\":null", &details)), Reason::DuplicateField, "{twice}");
    }
    assert_eq!(decode(b"\xff{}").unwrap_err().reason, Reason::InvalidUtf8);
    let tombstone = decoder().decode(None, &Origin::new("t", Uuid::nil(), 0), 0, &mut Vec::new());
    assert_eq!(tombstone.unwrap_err().reason, Reason::Tombstone);
}

#[test]
fn a_rejected_record_still_has_its_tenant_if_readable() {
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
    assert!(insert.statement.ends_with("FORMAT RowBinaryWithDefaults"));
    let mut row = Vec::new();
    let payload = br#"{"timestamp":"2026-11-24T00:00:00Z"}"#;
    decoder.decode(Some(payload), &Origin::new("t", Uuid::nil(), 0), 0, &mut row).unwrap();
    assert_eq!((row[0], row[9]), (0, 1));
}

#[test]
fn an_explicit_null_is_kept_in_a_nullable_column() {
    let shape =
        shape(&[("timestamp", "DateTime64(3)", ""), ("n", "Nullable(UInt8)", "DEFAULT"), ("m", "UInt8", "DEFAULT")]);
    let pipeline = Pipeline { table: "t".to_owned(), tenant: String::new(), ..Pipeline::default() };
    let Plan { mut decoder, .. } = plan("a-topic", &pipeline, &shape).unwrap();
    let mut tail = |fields: &str| {
        let mut row = Vec::new();
        let payload = format!("{{\"timestamp\":\"2026-11-24T00:00:00Z\"{fields}}}");
        decoder.decode(Some(payload.as_bytes()), &Origin::new("", Uuid::nil(), 0), 0, &mut row).unwrap();
        row[9..row.len() - 33].to_vec()
    };
    assert_eq!(tail(""), [1, 1], "absent: the default of both");
    assert_eq!(tail(r#","n":null,"m":null"#), [0, 1, 1], "null, and the default");
    assert_eq!(tail(r#","n":7,"m":7"#), [0, 0, 7, 0, 7]);
}

#[test]
fn a_rejected_record_does_not_affect_the_next_one() {
    let shape = shape(&[
        ("timestamp", "DateTime64(3)", ""),
        ("m", "Map(String, Tuple(a UInt8, b Array(UInt8)))", ""),
        ("d", "JSON", ""),
    ]);
    let pipeline = Pipeline { table: "t".to_owned(), tenant: String::new(), ..Pipeline::default() };
    let Plan { mut decoder, .. } = plan("a-topic", &pipeline, &shape).unwrap();
    let mut decode = |m: &str, d: &str| {
        let mut row = Vec::new();
        let payload = format!("{{\"timestamp\":\"2026-11-24T00:00:00Z\",\"m\":{m},\"d\":{d}}}");
        let decoded = decoder.decode(Some(payload.as_bytes()), &Origin::new("t", Uuid::nil(), 0), 0, &mut row);
        decoded.map(|_| row).map_err(|rejected| rejected.reason)
    };
    let good = decode(r#"{"x":{"a":1,"b":[2]}}"#, "{}").unwrap();
    for (m, d, reason) in [
        (r#"{"x":{"a":1,"b":[2,{}]}}"#, "{}", Reason::WrongType),
        (r#"{"x":{"a":1}}"#, "{}", Reason::MissingField),
        (r#"{"x":[1,[]],"x":[1,[]]}"#, "{}", Reason::DuplicateField),
        (r#"{"x":{"a":1,"b":[2]}}"#, r#"{"a":{"b":1,"b":1}}"#, Reason::DuplicateField),
    ] {
        assert_eq!(decode(m, d), Err(reason), "{m} {d}");
        assert_eq!(decode(r#"{"x":{"a":1,"b":[2]}}"#, "{}").as_ref(), Ok(&good));
    }
}

/// Any JSON value, sometimes with mapped names.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let name =
        prop_oneof!["[a-z\"\\\\\u{e4}]{0,3}", Just("name".to_owned()), Just("place".to_owned()), Just("n".to_owned())];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "\\PC{0,8}|[\\x00-\\x7f]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 32, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::btree_map(name.clone(), inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A record's text with reordered members and white space between its tokens.
fn rewritten(value: &serde_json::Value, order: usize, space: &str) -> String {
    let mut members: Vec<_> = value.as_object().unwrap().iter().collect();
    let count = members.len();
    members.rotate_left(order % count);
    if order % 2 == 1 {
        members.reverse();
    }
    let members = members
        .iter()
        .map(|(key, value)| format!("{space}{}{space}:{space}{value}{space}", serde_json::Value::from(key.as_str())));
    format!("{space}{{{}}}{space}", members.collect::<Vec<_>>().join(","))
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

    /// Strict in both directions: only JSON lands, and valid JSON is never reported as invalid.
    #[test]
    fn agrees_with_serde_json_on_validity(
        place in any_json(), more in any_json(), at in any::<prop::sample::Index>(), patch in r#"[\[\]{}:,"\\ua0-9eE.+\- tfn]{0,3}"#, cut in any::<bool>()
    ) {
        let mut text = record(|v| { v["details"]["place"] = place.clone(); v["unmapped"] = more.clone(); });
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        if cut { text.truncate(at) } else { text.insert_str(at, &patch) }
        let reference = serde_json::from_str::<&serde_json::value::RawValue>(&text);
        match decode(text.as_bytes()).map_err(|rejected| rejected.reason) {
            Ok(_) => prop_assert!(reference.is_ok(), "{}", text),
            Err(Reason::InvalidJson | Reason::TruncatedJson) => prop_assert!(reference.is_err(), "{}", text),
            Err(_) => {}
        }
    }

    #[test]
    fn neither_order_nor_white_space_matters(more in any_json(), order in any::<usize>(), space in "[ \n\r\t]{0,3}") {
        let value = serde_json::from_str(&record(|v| v["unmapped"] = more.clone())).unwrap();
        prop_assert_eq!(decode(rewritten(&value, order, &space).as_bytes()), decode(record(|_| {}).as_bytes()));
    }

    /// The row equals that of a simple model of the same values, written with serde_json and chrono.
    #[test]
    fn agrees_with_a_simple_model(
        name in "\\PC{0,30}", n in proptest::option::of(any::<u32>()), millis in 0_i64..4_102_444_800_000, offset in any::<i64>()
    ) {
        let at = chrono::DateTime::from_timestamp_millis(millis).unwrap().to_rfc3339();
        let payload = record(|v| { v["name"] = name.clone().into(); v["n"] = n.into(); v["timestamp"] = at.clone().into(); });
        let mut row = Vec::new();
        decoder().decode(Some(payload.as_bytes()), &Origin::new("t", Uuid::nil(), 0), offset, &mut row).unwrap();
        let mut expected = Vec::new();
        value::push_uuid(TENANT.parse::<Uuid>().unwrap().as_u64_pair(), &mut expected);
        expected.push(name.len() as u8);
        expected.extend_from_slice(name.as_bytes());
        expected.extend_from_slice(&millis.to_le_bytes());
        match n {
            Some(n) => { expected.push(0); expected.extend_from_slice(&n.to_le_bytes()); }
            None => expected.push(1),
        }
        expected.extend_from_slice(b"\x04here\x01t");
        expected.extend_from_slice(&[0; 20]);
        expected.extend_from_slice(&offset.to_le_bytes());
        prop_assert_eq!(row, expected);
    }
}
