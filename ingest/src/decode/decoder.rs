//! Turns payloads of one pipeline into rows of its table.
//! It appends RowBinary bytes to the caller's buffer, or nothing. It performs no I/O and does not allocate for an
//! ordinary record.

use uuid::Uuid;

use super::fields::Fields;
use super::json::{Cursor, Kind, Span};
use super::reason::Reason;
use super::time;
use super::value::{self, Encoder, Scratch};
use crate::clickhouse::row_binary::push_string;
use crate::clickhouse::types::Type;

/// Version of the row encoding; a batch announced by one version is never completed by another without a lookup.
pub const VERSION: u32 = 3;

/// Maximum size of a row, as a multiple of the largest record.
pub(crate) const ROW_GROWTH: usize = 16;

/// A record whose row was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Month of the table's partition key, such as 202611; 0 for a table without partitions.
    pub month: u32,
}

/// A record that cannot land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Why the record cannot land.
    pub reason: Reason,
    /// The record's tenant, if readable.
    pub tenant: Option<Uuid>,
}

/// The origin of a record: the provenance columns, encoded once per partition.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Topic, topic ID and partition.
    columns: Vec<u8>,
    /// The same with the byte that precedes each value in `RowBinaryWithDefaults`, including that of the offset.
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
pub(super) struct Column {
    /// Index of the field's span.
    pub(super) slot: usize,
    pub(super) value_type: Type,
    pub(super) has_default: bool,
}

/// Turns payloads of one pipeline into rows of its table.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(super) columns: Vec<Column>,
    pub(super) fields: Fields,
    /// Span of each mapped field of the current record.
    pub(super) slots: Vec<Option<Span>>,
    pub(super) scratch: Scratch,
    /// Slot of the tenant, if the pipeline has a tenant field.
    pub(super) tenant: Option<usize>,
    /// Column of the partition key.
    pub(super) month: Option<usize>,
    /// Whether each value is preceded by a byte that selects the default (`RowBinaryWithDefaults`).
    pub(super) with_defaults: bool,
    pub(super) limits: Limits,
}

/// Limits of a record, as plain numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) record: usize,
    pub(super) string: usize,
    pub(super) depth: u32,
    pub(super) keys: u32,
}

impl Decoder {
    /// Appends the row of `payload` to `row`; on rejection `row` is unchanged.
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

    /// Finds the span of every mapped field and validates the whole text.
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
            return Err(self.tenant_rejection(text));
        }
        let Self { columns, slots, scratch, month, with_defaults, limits, .. } = self;
        let max_row_length = row.len() + limits.record.saturating_mul(ROW_GROWTH);
        scratch.clear();
        let mut encoder = Encoder { text, max_string_length: limits.string, max_row_length, row, scratch };
        let mut decoded = Decoded { month: 0 };
        for (index, column) in columns.iter().enumerate() {
            let span = slots[column.slot];
            if *with_defaults {
                // An explicit null is kept if the column is nullable.
                let is_present = span.is_some_and(|span| span.kind != Kind::Null || column.value_type.is_nullable());
                let take_default = column.has_default && !is_present;
                encoder.row.push(u8::from(take_default));
                if take_default {
                    continue;
                }
            }
            let start = encoder.row.len();
            encoder.optional_value(span, &column.value_type)?;
            encoder.check_length()?;
            if *month == Some(index) {
                decoded.month = month_of(&encoder.row[start..], &column.value_type)?;
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

    /// The reason for a missing or invalid tenant.
    fn tenant_rejection(&self, text: &str) -> Reason {
        let given = self.tenant.and_then(|slot| self.slots[slot]).filter(|span| span.kind != Kind::Null);
        match given.map(|span| (span, value::uuid(text, span))) {
            Some((span, Err(reason))) if span.start != span.end => reason,
            _ => Reason::MissingTenant,
        }
    }
}

/// Month of an encoded date or time.
fn month_of(encoded: &[u8], column_type: &Type) -> Result<u32, Reason> {
    // A table's months, its TTL and its views use ClickHouse's 32-bit DateTime: a time outside its range would land in
    // another century.
    let seconds = value::seconds(encoded, column_type).and_then(|seconds| u32::try_from(seconds).ok());
    seconds.map(|seconds| time::month_of(i64::from(seconds))).ok_or(Reason::OutOfRange)
}
