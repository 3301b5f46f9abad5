//! Checks the settings of a single pipeline. A pipeline goes in, the first invalid setting comes out.

use bytesize::ByteSize;

use super::Pipeline;
use super::error::{MAX_DURATION, SettingsError, require};

/// Maximum of `max_rows` and `backlog_rows`: ClickHouse splits longer INSERTs into several blocks, and it deduplicates
/// by block.
const MAX_ROWS: usize = 1_000_000;

/// Maximum of `max_bytes` and `backlog_bytes`, and the largest record. A row has at most sixteen times the bytes of its
/// record, and the row that fills a batch may be that large: together they stay below 4 GiB, the limit of a batch's
/// byte counters.
const MAX_BYTES: ByteSize = ByteSize::gib(1);
const MAX_RECORD: ByteSize = ByteSize::mib(128);

impl Pipeline {
    /// Checks what serde cannot, for the pipeline of `topic`.
    pub(super) fn check(&self, topic: &str, memory_budget: ByteSize) -> Result<(), SettingsError> {
        let at = |field: &str| format!("pipelines.{topic}.{field}");
        require(!self.table.is_empty(), &at("table"), "name the table that the topic lands in")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_batch_plus_the_largest_row_can_be_counted() {
        let largest_row = MAX_RECORD.0 * crate::decode::decoder::ROW_GROWTH as u64;
        assert!(MAX_BYTES.0 + largest_row < 1 << 32);
    }
}
