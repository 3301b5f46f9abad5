//! The settings of a single pipeline, and their check. It never reads the table.

use std::collections::BTreeMap;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::error::{MAX_DURATION, SettingsError, require};

/// One topic and the table that it lands in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pipeline {
    /// Whether the topic is consumed; the three default pipelines can be disabled.
    pub enabled: bool,
    /// Table in the platform's database.
    pub table: String,
    /// JSON field (a dotted path) of each column; a column that is not listed reads the field of the same name.
    pub columns: BTreeMap<String, String>,
    /// JSON field (a dotted path) that holds the record's tenant; empty if records have none.
    pub tenant: String,
    /// Maximum number of records in a batch.
    pub max_rows: usize,
    /// Maximum time that a record waits in an open batch.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// Maximum encoded bytes in a batch.
    pub max_bytes: ByteSize,
    /// Maximum number of records in a batch that grows while another batch of its partition is being written; set it to
    /// `max_rows` to disable growing.
    pub backlog_rows: usize,
    /// Maximum encoded bytes in such a batch.
    pub backlog_bytes: ByteSize,
    /// Limits of a single record.
    pub limits: Limits,
}

/// Limits of a single record; a record beyond them becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum size of a payload.
    pub record: ByteSize,
    /// Maximum size of a `String` column's value, as JSON text.
    pub string: ByteSize,
    /// Maximum nesting of objects and arrays, including the record itself.
    pub depth: u32,
    /// Maximum number of object keys, at all levels together.
    pub keys: u32,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self {
            enabled: true,
            table: String::new(),
            columns: BTreeMap::new(),
            tenant: "tenant_id".to_owned(),
            max_rows: 10_000,
            max_age: Duration::from_secs(30),
            max_bytes: ByteSize::mib(8),
            backlog_rows: 100_000,
            backlog_bytes: ByteSize::mib(32),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { record: ByteSize::mib(1), string: ByteSize::kib(256), depth: 32, keys: 512 }
    }
}

/// Maximum of `max_rows` and `backlog_rows`: ClickHouse splits longer INSERTs into several blocks, and it deduplicates
/// by block.
const MAX_ROWS: usize = 1_000_000;

/// Maximum of `max_bytes` and `backlog_bytes`, and the largest record. A row has at most sixteen times the bytes of its
/// record, and the row that fills a batch may be that large: together they stay below 4 GiB, the limit of a batch's
/// byte counters.
pub(crate) const MAX_BYTES: ByteSize = ByteSize::gib(1);
pub(crate) const MAX_RECORD: ByteSize = ByteSize::mib(128);

impl Pipeline {
    /// Checks what serde cannot, for the pipeline of `topic`.
    pub(super) fn check(&self, topic: &str, memory_budget: ByteSize) -> Result<(), SettingsError> {
        let at = |field: &str| format!("pipelines.{topic}.{field}");
        require(!self.table.is_empty(), &at("table"), "the name of the table that the topic lands in")?;
        require((1..=MAX_ROWS).contains(&self.max_rows), &at("max_rows"), "between 1 and 1,000,000")?;
        let is_age_valid = !self.max_age.is_zero() && self.max_age <= MAX_DURATION;
        require(is_age_valid, &at("max_age"), "greater than zero and at most a day")?;
        let is_size_valid = self.max_bytes.0 > 0 && self.max_bytes.0 <= memory_budget.0 / 8;
        require(is_size_valid, &at("max_bytes"), "greater than zero and at most an eighth of memory_budget")?;
        require(self.max_bytes <= MAX_BYTES, &at("max_bytes"), "at most 1 GiB")?;
        require(self.backlog_rows <= MAX_ROWS, &at("backlog_rows"), "at most 1,000,000")?;
        require(self.backlog_bytes <= MAX_BYTES, &at("backlog_bytes"), "at most 1 GiB")?;
        let is_tenant_valid = self.tenant.is_empty() || !has_empty_name(&self.tenant);
        require(is_tenant_valid, &at("tenant"), "a name, or names separated by dots")?;
        self.columns.iter().try_for_each(|(column, path)| {
            require(
                !has_empty_name(path),
                &at(&format!("columns.{column}")),
                "a field's name, or names separated by dots",
            )
        })?;
        require(self.limits.record <= MAX_RECORD, &at("limits.record"), "at most 128 MiB")?;
        require((1..=128).contains(&self.limits.depth), &at("limits.depth"), "between 1 and 128")
    }
}

/// Whether a dotted path contains an empty name.
fn has_empty_name(path: &str) -> bool {
    path.split('.').any(str::is_empty)
}
