//! What a single pipeline's settings may be. A pipeline goes in, the first setting that can not work comes out.

use bytesize::ByteSize;

use super::Pipeline;
use super::error::{LONGEST, SettingsError, range};

/// Largest `max_rows` and `backlog_rows`: ClickHouse cuts longer inserts into several blocks, and a block is what it deduplicates.
const MOST_ROWS: usize = 1_000_000;

/// Largest `max_bytes` and `backlog_bytes`, and the largest record. A row has at most sixteen times the bytes of its record, and the row that
/// fills a batch may be of that size: together they stay below 4 GiB, up to which a batch counts its bytes.
const MOST_BYTES: ByteSize = ByteSize::gib(1);
const LARGEST_RECORD: ByteSize = ByteSize::mib(128);

impl Pipeline {
    /// Checks what serde cannot, for the pipeline of `topic`.
    pub(super) fn check(&self, topic: &str, memory_budget: ByteSize) -> Result<(), SettingsError> {
        let at = |field: &str| format!("pipelines.{topic}.{field}");
        range(!self.table.is_empty(), &at("table"), "name the table that the topic lands in")?;
        range((1..=MOST_ROWS).contains(&self.max_rows), &at("max_rows"), "between 1 and 1,000,000")?;
        let is_age = !self.max_age.is_zero() && self.max_age <= LONGEST;
        range(is_age, &at("max_age"), "longer than nothing and at most a day")?;
        let is_share = self.max_bytes.0 > 0 && self.max_bytes.0 <= memory_budget.0 / 8;
        range(is_share, &at("max_bytes"), "more than nothing and at most an eighth of memory_budget")?;
        range(self.max_bytes <= MOST_BYTES, &at("max_bytes"), "at most 1 GiB")?;
        range(self.backlog_rows <= MOST_ROWS, &at("backlog_rows"), "at most 1,000,000")?;
        range(self.backlog_bytes <= MOST_BYTES, &at("backlog_bytes"), "at most 1 GiB")?;
        let is_tenant = self.tenant.is_empty() || !has_gap(&self.tenant);
        range(is_tenant, &at("tenant"), "a name, or names with dots between")?;
        self.columns.iter().try_for_each(|(column, path)| {
            range(!has_gap(path), &at(&format!("columns.{column}")), "a field's name, or names with dots between")
        })?;
        range(self.limits.record <= LARGEST_RECORD, &at("limits.record"), "at most 128 MiB")?;
        range((1..=128).contains(&self.limits.depth), &at("limits.depth"), "between 1 and 128")
    }
}

/// Whether a dotted path has an empty name in it.
fn has_gap(path: &str) -> bool {
    path.split('.').any(str::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_a_batch_may_be_the_largest_row() {
        let largest_row = LARGEST_RECORD.0 * crate::decode::decoder::ROW_GROWTH as u64;
        assert!(MOST_BYTES.0 + largest_row < 1 << 32);
    }
}
