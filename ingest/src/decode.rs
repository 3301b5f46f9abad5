//! Stage two: a fetched record becomes one row of its table, or is rejected with a reason.
//! A payload goes in; RowBinary bytes are appended to the caller's buffer, or nothing is. Pure: no I/O, no clock, no
//! allocation for a sane record. It never guesses a value and never alters one to make it fit.
//!
//! # Layout
//! - [`json`]: one strict pass over the text, spans out
//! - [`types`]: ClickHouse column types
//! - [`time`]: RFC 3339 and months
//! - [`value`]: one JSON value into one RowBinary value
//! - [`fields`]: which JSON field feeds which column
//! - [`table`]: a table's shape and a pipeline's mapping become a [`Decoder`]

mod fields;
mod json;
pub mod table;
mod time;
mod types;
mod value;

use uuid::Uuid;

use fields::Fields;
use json::{Cursor, Kind, Span};
use types::Type;

/// Version of the row encoding; a batch announced by one version is never finished blindly by another.
pub const VERSION: u32 = 1;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal),+ $(,)?) => {
        /// Why a record cannot land. The code travels in the dead letter; it never holds data.
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
    /// Larger than `limits.record`.
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
    /// A field that feeds a column stands there twice.
    DuplicateField = "duplicate_field",
    /// A field without which the row is not whole is absent or null.
    MissingField = "missing_field",
    /// No tenant, or the nil UUID.
    MissingTenant = "missing_tenant",
    /// A value of another JSON type than the column takes.
    WrongType = "wrong_type",
    /// A number or time beyond what the column holds.
    OutOfRange = "out_of_range",
    /// No hyphenated UUID.
    InvalidUuid = "invalid_uuid",
    /// No RFC 3339 time, or no ISO 8601 date.
    InvalidTime = "invalid_time",
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
    topic: Vec<u8>,
    topic_id: Vec<u8>,
    partition: [u8; 4],
}

impl Origin {
    /// Provenance of the records of one topic partition.
    pub fn new(topic: &str, topic_id: Uuid, partition: i32) -> Self {
        let (mut name, mut id) = (Vec::new(), Vec::new());
        value::push_string(topic.as_bytes(), &mut name);
        value::push_uuid(topic_id, &mut id);
        Self { topic: name, topic_id: id, partition: partition.to_le_bytes() }
    }
}

/// One column of the INSERT.
#[derive(Debug, Clone)]
struct Column {
    /// Index of the field's span.
    slot: usize,
    of: Type,
    nullable: bool,
    has_default: bool,
}

/// Turns payloads of one pipeline into rows of its table.
#[derive(Debug, Clone)]
pub struct Decoder {
    columns: Vec<Column>,
    fields: Fields,
    /// Span of each mapped field of the record at hand.
    slots: Vec<Option<Span>>,
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
    /// What tells this decoder from one that would make other rows of the same records: the version of the code, the
    /// columns with their fields and types, and the limits.
    pub fn fingerprint(&self) -> u64 {
        let Self { columns, fields, tenant, month, with_defaults, limits, slots: _ } = self;
        let text = format!("{VERSION} {columns:?} {fields:?} {tenant:?} {month:?} {with_defaults} {limits:?}");
        xxhash_rust::xxh3::xxh3_64(text.as_bytes())
    }

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
        self.scan(text)
            .and_then(|()| self.encode(text, row))
            .inspect(|_| self.append_origin(origin, offset, row))
            .map_err(|reason| {
                row.truncate(start);
                Rejected { reason, tenant: self.tenant_of(text) }
            })
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

    fn encode(&self, text: &str, row: &mut Vec<u8>) -> Result<Decoded, Reason> {
        if self.tenant.is_some() && self.tenant_of(text).is_none() {
            return Err(self.tenant_fault());
        }
        for column in &self.columns {
            self.encode_column(text, column, row)?;
        }
        Ok(Decoded { month: self.month_of(text)? })
    }

    fn encode_column(&self, text: &str, column: &Column, row: &mut Vec<u8>) -> Result<(), Reason> {
        let span = self.slots[column.slot].filter(|span| span.kind != Kind::Null);
        if self.with_defaults {
            let take_default = span.is_none() && column.has_default;
            row.push(u8::from(take_default));
            if take_default {
                return Ok(());
            }
        }
        match (span, column.nullable) {
            (None, false) => return Err(Reason::MissingField),
            (None, true) => {
                row.push(1);
                return Ok(());
            }
            (Some(_), true) => row.push(0),
            (Some(_), false) => {}
        }
        let span = span.ok_or(Reason::MissingField)?;
        if (span.end - span.start) as usize > self.limits.string && column.of == Type::String {
            return Err(Reason::StringTooLong);
        }
        value::encode(text, span, &column.of, row)
    }

    fn append_origin(&self, origin: &Origin, offset: i64, row: &mut Vec<u8>) {
        for bytes in [&origin.topic[..], &origin.topic_id, &origin.partition, &offset.to_le_bytes()] {
            if self.with_defaults {
                row.push(0);
            }
            row.extend_from_slice(bytes);
        }
    }

    fn month_of(&self, text: &str) -> Result<u32, Reason> {
        let Some(column) = self.month.map(|index| &self.columns[index]) else { return Ok(0) };
        let span = self.slots[column.slot].filter(|span| span.kind != Kind::Null).ok_or(Reason::MissingField)?;
        let seconds = value::seconds(text, span, &column.of)?;
        // A table's months, its TTL and its views count in ClickHouse's 32-bit DateTime: what lies outside would land in
        // another century.
        u32::try_from(seconds).map_err(|_| Reason::OutOfRange)?;
        Ok(time::month_of(seconds))
    }

    fn tenant_of(&self, text: &str) -> Option<Uuid> {
        let span = self.slots[self.tenant?]?;
        value::uuid(text, span).ok().filter(|id| !id.is_nil())
    }

    /// What is wrong with a tenant that cannot be read.
    fn tenant_fault(&self) -> Reason {
        match self.tenant.and_then(|slot| self.slots[slot]) {
            Some(span) if !matches!(span.kind, Kind::Plain | Kind::Null) => Reason::WrongType,
            Some(span) if span.kind == Kind::Plain && span.end - span.start != 36 && span.end != span.start => {
                Reason::InvalidUuid
            }
            _ => Reason::MissingTenant,
        }
    }
}

#[cfg(test)]
mod tests;
