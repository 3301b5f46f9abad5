//! Tests of single values: for each type, how values are encoded, and how overflow, wrong types and null are treated.

use proptest::prelude::*;

use super::super::json::Cursor;
use super::*;
use crate::clickhouse::types;

/// The bytes of a JSON value in a column of this type.
fn bytes(json: &str, column_type: &str) -> Result<Vec<u8>, Reason> {
    let (mut row, mut scratch) = (Vec::new(), Scratch::default());
    let span = Cursor::new(json, 32, 512).value()?;
    let column_type = types::parse(column_type).unwrap();
    let mut encoder =
        Encoder { text: json, max_string_length: 1000, max_row_length: 5000, row: &mut row, scratch: &mut scratch };
    encoder.optional_value(Some(span), &column_type)?;
    assert!(scratch.keys.is_empty() && scratch.members.is_empty());
    Ok(row)
}

/// Asserts the reason for which each of these values is rejected.
fn rejects(column_type: &str, cases: &[(&str, Reason)]) {
    for (json, reason) in cases {
        assert_eq!(bytes(json, column_type), Err(*reason), "{json} as {column_type}");
    }
    if !column_type.starts_with("Nullable") {
        assert_eq!(bytes("null", column_type), Err(Reason::MissingField), "{column_type}");
    }
}

#[test]
fn integers_are_exact_or_rejected() {
    assert_eq!(bytes("255", "UInt8"), Ok(vec![255]));
    rejects(
        "UInt8",
        &[
            ("256", Reason::OutOfRange),
            ("-1", Reason::OutOfRange),
            ("1.0", Reason::WrongType),
            ("1e2", Reason::WrongType),
            ("\"1\"", Reason::WrongType),
            ("true", Reason::WrongType),
        ],
    );
    assert_eq!(bytes("-128", "Int8"), Ok(vec![0x80]));
    rejects("Int8", &[("-129", Reason::OutOfRange), ("128", Reason::OutOfRange)]);
    rejects("UInt64", &[("99999999999999999999", Reason::OutOfRange)]);
    assert_eq!(bytes("-170141183460469231731687303715884105728", "Int128"), Ok(i128::MIN.to_le_bytes().to_vec()));
    rejects("Int128", &[("170141183460469231731687303715884105728", Reason::OutOfRange)]);
    assert_eq!(bytes("340282366920938463463374607431768211455", "UInt128"), Ok(vec![0xff; 16]));
    rejects("UInt128", &[("340282366920938463463374607431768211456", Reason::OutOfRange), ("[]", Reason::WrongType)]);
}

#[test]
fn floats_are_finite() {
    assert_eq!(bytes("-2.5e3", "Float64"), Ok((-2500.0_f64).to_le_bytes().to_vec()));
    rejects("Float64", &[("1e400", Reason::OutOfRange), ("\"1\"", Reason::WrongType)]);
    rejects("Float32", &[("1e39", Reason::OutOfRange), ("{}", Reason::WrongType)]);
}

#[test]
fn decimals_are_numbers_or_strings_and_never_rounded() {
    assert_eq!(bytes("12.3", "Decimal(9, 2)"), Ok(1230_i32.to_le_bytes().to_vec()));
    assert_eq!(bytes("\"-0.01\"", "Decimal(18, 2)"), Ok((-1_i64).to_le_bytes().to_vec()));
    assert_eq!(bytes("\"1e2\"", "Decimal(38, 10)"), Ok(1_000_000_000_000_i128.to_le_bytes().to_vec()));
    rejects(
        "Decimal(9, 2)",
        &[
            ("0.001", Reason::TooManyDecimals),
            ("\"1.005\"", Reason::TooManyDecimals),
            ("10000000", Reason::OutOfRange),
            ("\"\"", Reason::InvalidDecimal),
            ("\"1,5\"", Reason::InvalidDecimal),
            ("\" 1\"", Reason::InvalidDecimal),
            ("\"NaN\"", Reason::InvalidDecimal),
            ("true", Reason::WrongType),
        ],
    );
}

#[test]
fn booleans_are_true_or_false() {
    assert_eq!((bytes("true", "Bool"), bytes("false", "Bool")), (Ok(vec![1]), Ok(vec![0])));
    rejects("Bool", &[("1", Reason::WrongType), ("\"true\"", Reason::WrongType)]);
}

#[test]
fn times_have_a_range() {
    assert_eq!(bytes("\"1970-01-01T00:00:01.5Z\"", "DateTime64(3)"), Ok(1500_i64.to_le_bytes().to_vec()));
    assert_eq!(bytes("\"1970-01-01T01:00:01+01:00\"", "DateTime('UTC')"), Ok(vec![1, 0, 0, 0]));
    assert_eq!(bytes("\"1970-01-02\"", "Date"), Ok(vec![1, 0]));
    assert_eq!(bytes("\"1969-12-31\"", "Date32"), Ok(vec![0xff; 4]));
    rejects("DateTime64(3)", &[("\"2300-01-01T00:00:00Z\"", Reason::OutOfRange), ("1700000000", Reason::WrongType)]);
    rejects("DateTime64(9)", &[("\"2290-01-01T00:00:00Z\"", Reason::OutOfRange)]);
    rejects("DateTime", &[("\"1969-12-31T23:59:59Z\"", Reason::OutOfRange), ("\"yesterday\"", Reason::InvalidTime)]);
    rejects("DateTime", &[("\"2016-12-31T23:59:60Z\"", Reason::OutOfRange)]);
    assert_eq!(bytes("\"1970-01-01 00:00:01z\"", "DateTime"), Ok(vec![1, 0, 0, 0]));
    rejects("Date", &[("\"2150-01-01\"", Reason::OutOfRange), ("\"2026-02-29\"", Reason::InvalidTime)]);
    rejects(
        "Date32",
        &[
            ("\"1899-12-31\"", Reason::OutOfRange),
            ("\"2300-01-01\"", Reason::OutOfRange),
            ("\"1-1-1\"", Reason::InvalidTime),
            ("19000", Reason::WrongType),
        ],
    );
}

#[test]
fn an_escaped_string_equals_its_unescaped_form() {
    for (escaped, plain, column_type) in [
        (r#""1970-01-01T01:00:01\u002b01:00""#, r#""1970-01-01T01:00:01+01:00""#, "DateTime"),
        (r#""1970\u002d01-01T00:00:01.5\u005a""#, r#""1970-01-01T00:00:01.5Z""#, "DateTime64(3)"),
        (r#""2026\u002d11-24""#, r#""2026-11-24""#, "Date"),
        (r#""2026-11-2\u0034""#, r#""2026-11-24""#, "Date32"),
        (
            r#""\u0030\u0030010203-0405-0607-0809-0a0b0c0d0e0f""#,
            r#""00010203-0405-0607-0809-0a0b0c0d0e0f""#,
            "Nullable(UUID)",
        ),
        (r#""\u002d1.5""#, r#""-1.5""#, "Decimal(9, 2)"),
        (r#""1.2\u002e3.4""#, r#""1.2.3.4""#, "IPv4"),
        (r#""\u003a:1""#, r#""::1""#, "IPv6"),
    ] {
        assert_ne!(escaped, plain);
        assert_eq!(bytes(escaped, column_type), bytes(plain, column_type), "{escaped} as {column_type}");
        assert!(bytes(plain, column_type).is_ok(), "{plain} as {column_type}");
    }
    rejects("UUID", &[(r#""\u0030""#, Reason::InvalidUuid), (r#""\ud800""#, Reason::InvalidUtf8)]);
    rejects("DateTime", &[(r#""\n""#, Reason::InvalidTime)]);
    rejects("Decimal(9, 2)", &[(r#""\u0020""#, Reason::InvalidDecimal)]);
}

#[test]
fn uuids_have_one_notation() {
    let low = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map(|byte: u8| byte);
    let expected = [&low[8..], &low[..8]].concat();
    assert_eq!(bytes("\"00010203-0405-0607-0809-0a0b0c0d0e0f\"", "UUID"), Ok(expected));
    rejects("UUID", &[("\"000102030405060708090a0b0c0d0e0f\"", Reason::InvalidUuid), ("7", Reason::WrongType)]);
}

#[test]
fn addresses_must_match_the_columns_version() {
    assert_eq!(bytes("\"192.168.0.1\"", "IPv4"), Ok(vec![1, 0, 168, 192]));
    let mapped = [&[0; 10][..], &[0xff, 0xff, 1, 2, 3, 4]].concat();
    assert_eq!(bytes("\"::ffff:1.2.3.4\"", "IPv6"), Ok(mapped));
    rejects(
        "IPv4",
        &[
            ("\"192.168.0.256\"", Reason::InvalidAddress),
            ("\"::1\"", Reason::InvalidAddress),
            ("\"1.2.3.04\"", Reason::InvalidAddress),
            ("3232235521", Reason::WrongType),
        ],
    );
    rejects(
        "IPv6",
        &[
            ("\"1.2.3.4\"", Reason::InvalidAddress),
            ("\"fe80::1%eth0\"", Reason::InvalidAddress),
            ("\"\"", Reason::InvalidAddress),
            ("[]", Reason::WrongType),
        ],
    );
}

#[test]
fn enum_names_and_fixed_strings_must_fit() {
    let words = r"Enum8('e-mail' = 1, 'sms' = -3)";
    assert_eq!(bytes("\"sms\"", words), Ok(vec![0xfd]));
    assert_eq!(bytes(r#""e\u002dmail""#, words), Ok(vec![1]));
    assert_eq!(bytes("\"b\"", "Enum16('a' = 1, 'b' = 1000)"), Ok(1000_i16.to_le_bytes().to_vec()));
    rejects(words, &[("\"fax\"", Reason::UnknownWord), ("\"\"", Reason::UnknownWord), ("1", Reason::WrongType)]);
    assert_eq!(bytes("\"EU\"", "FixedString(3)"), Ok(b"EU\0".to_vec()));
    assert_eq!(bytes("\"EUR\"", "LowCardinality(FixedString(3))"), Ok(b"EUR".to_vec()));
    rejects("FixedString(3)", &[("\"EURO\"", Reason::StringTooLong), ("\"\u{e4}\u{e4}\"", Reason::StringTooLong)]);
    rejects("FixedString(3)", &[("{}", Reason::WrongType), (r#""\udc00""#, Reason::InvalidUtf8)]);
}

#[test]
fn a_string_column_accepts_an_object_verbatim_and_rejects_a_number() {
    assert_eq!(bytes(r#"{"a" :1}"#, "String"), Ok(b"\x08{\"a\" :1}".to_vec()));
    assert_eq!(bytes(r#""\n\u0000""#, "LowCardinality(String)"), Ok(b"\x02\n\0".to_vec()));
    rejects("String", &[("1", Reason::WrongType), (r#""\ud800""#, Reason::InvalidUtf8)]);
    rejects("String", &[(&format!("\"{}\"", "x".repeat(1001)), Reason::StringTooLong)]);
}

#[test]
fn a_json_column_accepts_an_object_verbatim() {
    for column_type in ["JSON", "JSON(max_dynamic_paths=8, a UInt32, SKIP b.c)"] {
        assert_eq!(bytes(r#"{"a": 1}"#, column_type), Ok(b"\x08{\"a\": 1}".to_vec()));
        rejects(column_type, &[("[]", Reason::WrongType), ("\"{}\"", Reason::WrongType), ("1", Reason::WrongType)]);
        rejects(column_type, &[(&format!("{{\"a\":\"{}\"}}", "x".repeat(1001)), Reason::StringTooLong)]);
    }
}

#[test]
fn a_document_that_clickhouse_would_refuse_or_change_is_rejected() {
    let whole =
        r#"{"a": [1, -2.5e3, {"b": null, "c": [{}, []]}, "ä"], "b": 18446744073709551615, "c": -1, "d": {"a": true}}"#;
    assert_eq!(bytes(whole, "JSON"), Ok([&[whole.len() as u8], whole.as_bytes()].concat()));
    rejects(
        "JSON",
        &[
            (r#"{"a":18446744073709551616}"#, Reason::OutOfRange),
            (r#"{"a":[-9223372036854775809]}"#, Reason::OutOfRange),
            (r#"{"a":{"b":1e400}}"#, Reason::OutOfRange),
            (r#"{"a":1,"b":2,"a":1}"#, Reason::DuplicateField),
            (r#"{"a":[{"b":{"c":1,"\u0063":2}}]}"#, Reason::DuplicateField),
            (r#"{"a":"\ud800"}"#, Reason::InvalidUtf8),
            (r#"{"\ud800":1}"#, Reason::InvalidUtf8),
        ],
    );
    assert_eq!(bytes(r#"[{"a":1},{"a":2}]"#, "Array(JSON)"), Ok(b"\x02\x07{\"a\":1}\x07{\"a\":2}".to_vec()));
}

#[test]
fn nullable_is_null_or_a_value() {
    assert_eq!(bytes("null", "Nullable(UInt8)"), Ok(vec![1]));
    assert_eq!(bytes("7", "LowCardinality(Nullable(UInt8))"), Ok(vec![0, 7]));
    rejects("Nullable(UInt8)", &[("256", Reason::OutOfRange), ("\"\"", Reason::WrongType)]);
    assert_eq!(bytes("[1,null]", "Array(Nullable(UInt8))"), Ok(vec![2, 0, 1, 1]));
}

#[test]
fn arrays_count_their_elements() {
    assert_eq!(bytes("[]", "Array(String)"), Ok(vec![0]));
    assert_eq!(bytes("[ 1 , 2 ]", "Array(UInt8)"), Ok(vec![2, 1, 2]));
    assert_eq!(bytes("[[1],[],[2,3]]", "Array(Array(UInt8))"), Ok(vec![3, 1, 1, 0, 2, 2, 3]));
    let long = format!("[{}]", ["7"; 300].join(","));
    assert_eq!(bytes(&long, "Array(UInt8)"), Ok([&[0xac, 2][..], &[7; 300]].concat()));
    let both = format!("[{long},[1],{long}]");
    let expected = [&[3, 0xac, 2][..], &[7; 300], &[1, 1, 0xac, 2], &[7; 300]].concat();
    assert_eq!(bytes(&both, "Array(Array(UInt8))"), Ok(expected));
    rejects(
        "Array(UInt8)",
        &[
            ("[1,256]", Reason::OutOfRange),
            ("[null]", Reason::WrongType),
            ("[[1]]", Reason::WrongType),
            ("{}", Reason::WrongType),
            ("\"[1]\"", Reason::WrongType),
        ],
    );
    rejects("Array(FixedString(1000))", &[(r#"["","","","","","","",""]"#, Reason::RecordTooLarge)]);
}

#[test]
fn map_keys_must_be_written_like_their_type() {
    assert_eq!(bytes(r#"{"a":1,"\u0062":2}"#, "Map(String, UInt8)"), Ok(b"\x02\x01a\x01\x01b\x02".to_vec()));
    assert_eq!(bytes("{}", "Map(LowCardinality(String), UInt8)"), Ok(vec![0]));
    assert_eq!(bytes(r#"{"-1":[true]}"#, "Map(Int16, Array(Bool))"), Ok(vec![1, 0xff, 0xff, 1, 1]));
    assert_eq!(bytes(r#"{"\u002d1":[true]}"#, "Map(Int16, Array(Bool))"), Ok(vec![1, 0xff, 0xff, 1, 1]));
    let nested = bytes(r#"{"x":{"1":"a"},"y":{"1":"b"}}"#, "Map(String, Map(UInt8, String))");
    assert_eq!(nested, Ok(b"\x02\x01x\x01\x01\x01a\x01y\x01\x01\x01b".to_vec()));
    let id = "6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b";
    assert_eq!(bytes(&format!("{{\"{id}\":null}}"), "Map(UUID, Nullable(Bool))").unwrap()[17..], [1]);
    assert_eq!(bytes(r#"{"on":1}"#, "Map(Enum8('off' = 0, 'on' = 1), UInt8)"), Ok(vec![1, 1, 1]));
    rejects(
        "Map(UInt8, String)",
        &[
            (r#"{"256":""}"#, Reason::OutOfRange),
            (r#"{"01":""}"#, Reason::WrongType),
            (r#"{"\u0031x":""}"#, Reason::WrongType),
            (r#"{"1":2}"#, Reason::WrongType),
            (r#"{"1":null}"#, Reason::WrongType),
            ("[]", Reason::WrongType),
        ],
    );
    rejects("Map(UUID, String)", &[(r#"{"x":""}"#, Reason::InvalidUuid)]);
    rejects("Map(String, UInt8)", &[(r#"{"a":1,"b":2,"\u0061":1}"#, Reason::DuplicateField)]);
}

#[test]
fn tuples_accept_objects_by_name_and_arrays_by_position() {
    let named = "Tuple(a UInt8, `b c` Nullable(String), d Array(UInt8))";
    assert_eq!(bytes(r#"{"d":[1],"x":{},"a":7,"b c":"y"}"#, named), Ok(b"\x07\0\x01y\x01\x01".to_vec()));
    assert_eq!(bytes(r#"{"a":7,"d":[]}"#, named), Ok(b"\x07\x01\0".to_vec()));
    assert_eq!(bytes("[7, null, []]", named), Ok(b"\x07\x01\0".to_vec()));
    assert_eq!(bytes(r#"[[1,"x"],[2,"y"]]"#, "Array(Tuple(UInt8, String))"), Ok(b"\x02\x01\x01x\x02\x01y".to_vec()));
    assert_eq!(bytes(r#"{"t":{"u":[3]}}"#, "Tuple(t Tuple(u Tuple(UInt8)))"), Ok(vec![3]));
    rejects(
        named,
        &[
            ("[7, null]", Reason::WrongType),
            ("[7, null, [], 1]", Reason::WrongType),
            (r#"{"a":7}"#, Reason::MissingField),
            (r#"{"a":null,"d":[]}"#, Reason::MissingField),
            (r#"{"a":256,"d":[]}"#, Reason::OutOfRange),
            (r#"{"a":7,"d":[],"a":7}"#, Reason::DuplicateField),
            ("7", Reason::WrongType),
        ],
    );
    rejects("Tuple(UInt8, UInt8)", &[(r#"{"1":1,"2":2}"#, Reason::WrongType)]);
}

proptest! {
    #[test]
    fn strings_round_trip(value in "\\PC{0,200}|.{0,200}") {
        let encoded = bytes(&serde_json::to_string(&value).unwrap(), "String").unwrap();
        let header = if value.len() < 0x80 { 1 } else { 2 };
        prop_assert_eq!(&encoded[header..], value.as_bytes());
    }

    #[test]
    fn integers_round_trip(value in any::<i64>()) {
        prop_assert_eq!(bytes(&value.to_string(), "Int64").unwrap(), value.to_le_bytes());
        let narrow = bytes(&value.to_string(), "Int16").ok();
        prop_assert_eq!(narrow, i16::try_from(value).ok().map(|v| v.to_le_bytes().to_vec()));
        prop_assert_eq!(&bytes(&format!("{{\"{value}\":1}}"), "Map(Int64, UInt8)").unwrap()[1..9], value.to_le_bytes());
    }

    #[test]
    fn floats_round_trip(value in proptest::num::f64::NORMAL) {
        prop_assert_eq!(bytes(&format!("{value:e}"), "Float64").unwrap(), value.to_le_bytes());
    }

    #[test]
    fn addresses_round_trip(v4 in any::<u32>(), v6 in any::<u128>()) {
        let json = format!("\"{}\"", Ipv4Addr::from(v4));
        prop_assert_eq!(bytes(&json, "IPv4").unwrap(), v4.to_le_bytes());
        let json = format!("\"{}\"", Ipv6Addr::from(v6));
        prop_assert_eq!(bytes(&json, "IPv6").unwrap(), v6.to_be_bytes());
    }

    #[test]
    fn arrays_round_trip(value in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..20)) {
        let mut expected = vec![value.len() as u8];
        for inner in &value {
            expected.push(inner.len() as u8);
            expected.extend(inner);
        }
        prop_assert_eq!(bytes(&serde_json::to_string(&value).unwrap(), "Array(Array(UInt8))").unwrap(), expected);
    }
}
