//! Stage two: a fetched record becomes one row of its table, or is rejected with a reason.
//! A payload goes in; RowBinary bytes are appended to the caller's buffer, or nothing is. Pure: no I/O, no clock, no
//! allocation for a sane record. It never guesses a value and never alters one to make it fit.
//!
//! # Layout
//! - [`json`], with [`marks`]: one strict pass over the text, spans out
//! - [`types`]: ClickHouse column types
//! - [`value`] and [`nested`]: one JSON value into one RowBinary value
//! - [`number`], [`time`], [`hex`] and [`escape`]: what values are written with
//! - [`fields`], with [`key`]: which JSON field feeds which column
//! - [`canonical`]: what tells a decoder from another one
//! - [`table`]: a table's shape and a pipeline's mapping become a [`Decoder`]

mod canonical;
mod escape;
mod fields;
mod hex;
mod json;
mod key;
mod marks;
mod nested;
mod number;
pub mod table;
mod time;
pub(crate) mod value;

use uuid::Uuid;

use crate::clickhouse::row_binary::push_string;
use crate::clickhouse::types::Type;
use fields::Fields;
use json::{Cursor, Kind, Span};
use value::{Encoder, Scratch};

/// Version of the row encoding; a batch announced by one version is never finished blindly by another.
pub const VERSION: u32 = 3;

/// How many times the bytes of the largest record a row may have.
pub(crate) const ROW_GROWTH: usize = 16;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// Why a record cannot land. The code travels in the dead letter; it never holds data.
        // As wide as a part of a span: a `Result` of either is then copied in whole words.
        #[repr(u32)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name),+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code in dead letters, metrics and logs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }
        }
    };
}

reasons! {
    /// No payload at all.
    Tombstone = "tombstone",
    /// Larger than `limits.record`, or its row than [`ROW_GROWTH`] times that.
    RecordTooLarge = "record_too_large",
    /// Not UTF-8, or an escaped surrogate without its pair.
    InvalidUtf8 = "invalid_utf8",
    /// The text ends inside a value.
    TruncatedJson = "truncated_json",
    /// Not JSON.
    InvalidJson = "invalid_json",
    /// JSON, but no object.
    NotAnObject = "not_an_object",
    /// Nested deeper than `limits.depth`.
    TooDeep = "too_deep",
    /// More keys than `limits.keys`.
    TooManyKeys = "too_many_keys",
    /// A field that feeds a column stands there twice, or an object around one, or a key in a map or tuple.
    DuplicateField = "duplicate_field",
    /// A field without which the row is not whole is absent or null, or a member of a tuple.
    MissingField = "missing_field",
    /// No tenant, or the nil UUID.
    MissingTenant = "missing_tenant",
    /// A value of another JSON type than the column takes.
    WrongType = "wrong_type",
    /// A number or time beyond what the column holds.
    OutOfRange = "out_of_range",
    /// A decimal with more decimals than the column, other than zeros.
    TooManyDecimals = "too_many_decimals",
    /// No number in a string that should hold a decimal.
    InvalidDecimal = "invalid_decimal",
    /// No hyphenated UUID.
    InvalidUuid = "invalid_uuid",
    /// No RFC 3339 time, or no ISO 8601 date.
    InvalidTime = "invalid_time",
    /// No IP address of the column's version.
    InvalidAddress = "invalid_address",
    /// Longer than `limits.string`, or than the column.
    StringTooLong = "string_too_long",
    /// Not among the words of an enum column.
    UnknownWord = "unknown_word",
}

/// A record whose row was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Month of the table's partition key, 202611; 0 where the table has no partitions.
    pub month: u32,
}

/// A record that cannot land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// Its tenant, where that could be read.
    pub tenant: Option<Uuid>,
}

/// Where a record comes from: the provenance columns, encoded once per partition.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Topic, its id and the partition.
    columns: Vec<u8>,
    /// The same with the byte before each value that `RowBinaryWithDefaults` has, that of the offset included.
    columns_with_defaults: Vec<u8>,
}

impl Origin {
    /// Provenance of the records of one topic partition.
    pub fn new(topic: &str, topic_id: Uuid, partition: i32) -> Self {
        let (mut name, mut id) = (Vec::new(), Vec::new());
        push_string(topic.as_bytes(), &mut name);
        value::push_uuid(topic_id.as_u64_pair(), &mut id);
        let columns = [name.as_slice(), &id, &partition.to_le_bytes()];
        let mut columns_with_defaults = columns.map(|column| [&[0], column].concat()).concat();
        columns_with_defaults.push(0);
        Self { columns: columns.concat(), columns_with_defaults }
    }
}

/// One column of the INSERT.
#[derive(Debug, Clone)]
struct Column {
    /// Index of the field's span.
    slot: usize,
    of: Type,
    has_default: bool,
}

/// Turns payloads of one pipeline into rows of its table.
#[derive(Debug, Clone)]
pub struct Decoder {
    columns: Vec<Column>,
    fields: Fields,
    /// Span of each mapped field of the record at hand.
    slots: Vec<Option<Span>>,
    scratch: Scratch,
    /// Slot of the tenant, where the pipeline names one.
    tenant: Option<usize>,
    /// Column of the partition key.
    month: Option<usize>,
    /// Whether each value is preceded by a byte that says "take the default" (`RowBinaryWithDefaults`).
    with_defaults: bool,
    limits: Limits,
}

/// Limits of a record, as plain numbers.
#[derive(Debug, Clone, Copy)]
struct Limits {
    record: usize,
    string: usize,
    depth: u32,
    keys: u32,
}

impl Decoder {
    /// Appends the row of `payload` to `row`; on rejection `row` is as it was.
    pub fn decode(
        &mut self,
        payload: Option<&[u8]>,
        origin: &Origin,
        offset: i64,
        row: &mut Vec<u8>,
    ) -> Result<Decoded, Rejected> {
        let reject = |reason| Rejected { reason, tenant: None };
        let payload = payload.ok_or(reject(Reason::Tombstone))?;
        if payload.len() > self.limits.record {
            return Err(reject(Reason::RecordTooLarge));
        }
        let text = std::str::from_utf8(payload).map_err(|_| reject(Reason::InvalidUtf8))?;
        self.slots.fill(None);
        let start = row.len();
        let decoded = self.scan(text).and_then(|()| self.encode(text, row));
        match decoded {
            Ok(_) => self.append_origin(origin, offset, row),
            Err(_) => row.truncate(start),
        }
        decoded.map_err(|reason| Rejected { reason, tenant: self.tenant_of(text) })
    }

    /// Finds the span of every mapped field and checks the whole text.
    fn scan(&mut self, text: &str) -> Result<(), Reason> {
        let mut cursor = Cursor::new(text, self.limits.depth, self.limits.keys);
        if cursor.peek()? != b'{' {
            cursor.value()?;
            cursor.end()?;
            return Err(Reason::NotAnObject);
        }
        self.fields.scan(&mut cursor, text, &mut self.slots)?;
        cursor.end()
    }

    fn encode(&mut self, text: &str, row: &mut Vec<u8>) -> Result<Decoded, Reason> {
        if self.tenant.is_some() && self.read_tenant(text).is_none() {
            return Err(self.tenant_fault(text));
        }
        let Self { columns, slots, scratch, month, with_defaults, limits, .. } = self;
        let longest_row = row.len() + limits.record.saturating_mul(ROW_GROWTH);
        scratch.clear();
        let mut encoder = Encoder { text, longest_string: limits.string, longest_row, row, scratch };
        let mut decoded = Decoded { month: 0 };
        for (index, column) in columns.iter().enumerate() {
            let span = slots[column.slot];
            if *with_defaults {
                // An explicit null stays one where the column can hold it.
                let is_given = span.is_some_and(|span| span.kind != Kind::Null || column.of.is_nullable());
                let take_default = column.has_default && !is_given;
                encoder.row.push(u8::from(take_default));
                if take_default {
                    continue;
                }
            }
            let start = encoder.row.len();
            encoder.given(span, &column.of)?;
            encoder.check_length()?;
            if *month == Some(index) {
                decoded.month = month_of(&encoder.row[start..], &column.of)?;
            }
        }
        Ok(decoded)
    }

    fn append_origin(&self, origin: &Origin, offset: i64, row: &mut Vec<u8>) {
        row.extend_from_slice(if self.with_defaults { &origin.columns_with_defaults } else { &origin.columns });
        row.extend_from_slice(&offset.to_le_bytes());
    }

    fn tenant_of(&self, text: &str) -> Option<Uuid> {
        self.read_tenant(text).map(|(high, low)| Uuid::from_u64_pair(high, low))
    }

    fn read_tenant(&self, text: &str) -> Option<(u64, u64)> {
        let span = self.slots[self.tenant?]?;
        value::uuid(text, span).ok().filter(|id| *id != (0, 0))
    }

    /// What is wrong with a tenant that cannot be read.
    fn tenant_fault(&self, text: &str) -> Reason {
        let given = self.tenant.and_then(|slot| self.slots[slot]).filter(|span| span.kind != Kind::Null);
        match given.map(|span| (span, value::uuid(text, span))) {
            Some((span, Err(reason))) if span.start != span.end => reason,
            _ => Reason::MissingTenant,
        }
    }
}

/// Month of an encoded date or time.
fn month_of(encoded: &[u8], of: &Type) -> Result<u32, Reason> {
    // A table's months, its TTL and its views count in ClickHouse's 32-bit DateTime: what lies outside would land in
    // another century.
    let seconds = value::seconds(encoded, of).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(|seconds| time::month_of(i64::from(seconds))).ok_or(Reason::OutOfRange)
}

#[cfg(test)]
mod tests;
