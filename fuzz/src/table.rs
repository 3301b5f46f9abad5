//! A table with its decoder, and the invariants of every record. It is built from columns as ClickHouse describes them;
//! a violated invariant panics.

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use sluice_ingest::clickhouse::shape::{self, Shape};
use sluice_ingest::config::Pipeline;
use sluice_ingest::decode::table::plan;
use sluice_ingest::decode::{Decoded, Decoder, Origin, Reason, Rejected};
use uuid::Uuid;

use crate::agree::agree;
use crate::rows::{RowReader, Value};
use crate::types::{self, Form};

/// Name, type and default kind of a column.
pub type Described<'a> = (&'a str, &'a str, &'a str);

const TOPIC: &str = "a-topic";
const TOPIC_ID: Uuid = Uuid::from_u128(7);
const PARTITION: i32 = 3;
const OFFSET: i64 = 42;
const BEFORE: &[u8] = b"rows before";

#[derive(Debug)]
struct Column {
    path: String,
    form: Form,
    has_default: bool,
    is_month: bool,
}

/// A table whose records are decoded and read back.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    /// A decoder that has decoded nothing.
    fresh: Decoder,
    /// A decoder that has decoded all earlier records.
    used: Decoder,
    origin: Origin,
}

impl Table {
    /// A table partitioned by the month of column `month`, unless that is empty; `None` if ingest or the reader here does not
    /// support one of its types.
    pub fn new(pipeline: &Pipeline, columns: &[Described<'_>], month: &str) -> Option<Self> {
        let provenance = [
            ("_topic", "String", ""),
            ("_topic_id", "UUID", ""),
            ("_partition", "Int32", ""),
            ("_offset", "Int64", ""),
        ];
        let describe = |(name, column_type, kind): &Described<'_>| shape::Column {
            name: (*name).to_owned(),
            type_text: (*column_type).to_owned(),
            default_kind: (*kind).to_owned(),
        };
        let partition_key = if month.is_empty() { String::new() } else { format!("toYYYYMM({month})") };
        let shape = Shape {
            columns: columns.iter().chain(&provenance).map(describe).collect(),
            partition_key,
            server_zone: "UTC".to_owned(),
        };
        let decoder = plan(TOPIC, pipeline, &shape).ok()?.decoder;
        let column = |(name, column_type, kind): &Described<'_>| {
            let path = pipeline.columns.get(*name).map_or(*name, String::as_str).to_owned();
            Some(Column {
                path,
                form: types::parse(column_type)?,
                has_default: !kind.is_empty(),
                is_month: *name == month,
            })
        };
        let columns = columns.iter().map(column).collect::<Option<_>>()?;
        Some(Self { columns, fresh: decoder.clone(), used: decoder, origin: Origin::new(TOPIC, TOPIC_ID, PARTITION) })
    }

    /// Decodes a payload and checks every invariant.
    ///
    /// # Panics
    /// If an invariant is violated.
    pub fn check(&mut self, payload: &[u8]) {
        let (decoded, row) = decode(&mut self.used, payload, &self.origin);
        let again = decode(&mut self.fresh.clone(), payload, &self.origin);
        assert_eq!((decoded, &row), (again.0, &again.1), "earlier records do not change the result");
        let row = row.strip_prefix(BEFORE).expect("earlier rows stay unchanged");
        let is_json = serde_json::from_slice::<&RawValue>(payload).is_ok();
        match decoded {
            Err(Rejected { reason, tenant }) => {
                assert!(row.is_empty(), "a rejected record writes nothing");
                let is_malformed = matches!(reason, Reason::InvalidJson | Reason::TruncatedJson);
                assert!(!(is_malformed && is_json), "valid JSON is not rejected as malformed");
                assert_ne!(tenant, Some(Uuid::nil()), "the nil UUID is not a tenant");
            }
            Ok(decoded) => {
                assert!(is_json, "invalid JSON is not accepted");
                // JSON does not limit numbers, serde_json does: a record beyond its limits is read but not compared.
                let json = serde_json::from_slice(payload).ok();
                self.check_row(row, decoded, json.as_ref()).unwrap_or_else(|fault| panic!("{fault}"));
            }
        }
    }

    /// Reads a row to its end and compares it with the record.
    fn check_row(&self, row: &[u8], decoded: Decoded, json: Option<&Json>) -> Result<(), String> {
        let mut reader = RowReader(row);
        let with_defaults = self.columns.iter().any(|column| column.has_default);
        let mut month = 0;
        for column in &self.columns {
            let at_path = |json| column.path.split('.').try_fold(json, |json: &Json, name| json.get(name));
            let expected = json.and_then(at_path).unwrap_or(&Json::Null);
            if with_defaults && is_default(&mut reader)? {
                assert!(column.has_default, "{} has no default", column.path);
                assert!(expected.is_null(), "{} has a value, but its default was written", column.path);
                continue;
            }
            let value = reader.value(&column.form).map_err(|fault| format!("{}: {fault}", column.path))?;
            assert!(json.is_none() || agree(&value, expected), "{} is {value:?}", column.path);
            month = if column.is_month { month_of(&value) } else { month };
        }
        assert_eq!(decoded.month, month);
        let provenance = [
            ("String", Value::Text(TOPIC.to_owned())),
            ("UUID", Value::Uuid(TOPIC_ID)),
            ("Int32", Value::Number(PARTITION.to_string())),
            ("Int64", Value::Number(OFFSET.to_string())),
        ];
        for (column_type, expected) in provenance {
            assert!(!with_defaults || !is_default(&mut reader)?, "provenance is never a default");
            let form = types::parse(column_type).ok_or("a type of provenance is not supported")?;
            assert_eq!(reader.value(&form)?, expected);
        }
        assert!(reader.0.is_empty(), "{} bytes remain", reader.0.len());
        Ok(())
    }
}

fn decode(decoder: &mut Decoder, payload: &[u8], origin: &Origin) -> (Result<Decoded, Rejected>, Vec<u8>) {
    let mut row = BEFORE.to_vec();
    (decoder.decode(Some(payload), origin, OFFSET, &mut row), row)
}

fn is_default(reader: &mut RowReader<'_>) -> Result<bool, String> {
    match reader.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("invalid default marker {other}")),
    }
}

fn month_of(value: &Value) -> u32 {
    let at: Option<DateTime<Utc>> = match value {
        Value::Days(days) => DateTime::from_timestamp_secs(days * 86_400),
        Value::Ticks(ticks, decimals) => DateTime::from_timestamp_secs(ticks.div_euclid(10_i64.pow(*decimals))),
        _ => None,
    };
    at.map_or(0, |at| at.year().unsigned_abs() * 100 + at.month())
}
