//! Determines which offsets of a topic partition are in a table. It reads the projection `by_offset`, which stores the
//! rows of a partition together, with only their four provenance columns. It never decides whether a missing offset is
//! a loss.

pub mod sums;

use std::ops::Range;

use bytes::Bytes;

use super::client::ClickHouse;
use super::failures;
use super::lookup::{OF_PARTITION, parameters};
use super::quoting::quote_identifier;
use super::row_binary::numbers;
use crate::failure::Failure;
use crate::target::Target;
use sums::Sums;

/// Maximum number of gaps that are fetched.
pub const MAX_GAPS: usize = 2_000_000;

/// Selects the rows in a range of offsets.
const IN_RANGE: &str = "_offset >= {from:Int64} AND _offset < {to:Int64}";
/// Each offset with the preceding one, in order.
const PAIRS: &str = "SELECT lagInFrame(_offset, 1, {before:Int64}) OVER (ORDER BY _offset \
                     ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS previous, _offset AS current FROM";

/// The rows of one topic partition in a table.
#[derive(Debug, Clone, Copy)]
pub struct Coverage<'a> {
    /// The ClickHouse client.
    pub clickhouse: &'a ClickHouse,
    /// The table and the topic.
    pub target: &'a Target,
    /// The partition.
    pub partition: i32,
}

/// Rows that are in the table more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Number of surplus rows.
    pub count: u64,
    /// Offsets of up to five surplus rows.
    pub sample: Vec<i64>,
}

impl Coverage<'_> {
    /// The lowest offset of the range and the sums over all of its rows; with `exact`, the number of distinct offsets
    /// as well.
    pub async fn sums(&self, range: &Range<i64>, exact: bool) -> Result<(Option<i64>, Sums, Option<u64>), Failure> {
        let distinct = if exact { "uniqExact(_offset)" } else { "toUInt64(0)" };
        let query = format!(
            "SELECT count(), sum(toUInt64(_offset)), sum(toUInt64(_offset) * toUInt64(_offset)), \
             toUInt64(min(_offset)), {distinct} FROM {} WHERE {OF_PARTITION} AND {IN_RANGE} FORMAT RowBinary",
            quote_identifier(&self.target.table)
        );
        let body = self.query(&query, range, range.start).await?;
        let figures: Vec<u64> = numbers(&body)?.into_iter().map(i64::cast_unsigned).collect();
        let [count, sum, squares, lowest, distinct] = figures[..] else {
            return Err(failures::not_a_response("a body of unexpected length"));
        };
        let lowest = (count > 0).then_some(lowest.cast_signed());
        Ok((lowest, Sums { count, sum, squares }, exact.then_some(distinct)))
    }

    /// The subranges without a row, in order.
    pub async fn gaps(&self, range: &Range<i64>) -> Result<Vec<Range<i64>>, Failure> {
        let query = format!(
            "SELECT previous + 1, current FROM ({PAIRS} {} WHERE {OF_PARTITION} AND {IN_RANGE}) WHERE current > previous + 1 \
             ORDER BY current LIMIT {MAX_GAPS} FORMAT RowBinary",
            quote_identifier(&self.target.table)
        );
        let body = self.query(&query, range, range.start - 1).await?;
        let pairs = numbers(&body)?;
        let mut gaps: Vec<_> = pairs.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        if gaps.len() < MAX_GAPS {
            let highest = self.highest(range).await?;
            let last = highest.map_or(range.start, |highest| highest + 1)..range.end;
            gaps.extend((!last.is_empty()).then_some(last));
        }
        Ok(gaps)
    }

    /// The offsets of the range that have more than one row.
    pub async fn duplicates(&self, range: &Range<i64>) -> Result<Duplicates, Failure> {
        let query = format!(
            "SELECT count(), groupArray(5)(current) FROM ({PAIRS} {} WHERE {OF_PARTITION} AND {IN_RANGE}) WHERE current = previous \
             FORMAT RowBinary",
            quote_identifier(&self.target.table)
        );
        let body = self.query(&query, range, range.start - 1).await?;
        // The length of the list is between the count and the offsets, in one byte since it is at most 5.
        let Some((count, [_, sample @ ..])) = body.split_first_chunk() else {
            return Err(failures::not_a_response("a body of unexpected length"));
        };
        let (count, sample) = (u64::from_le_bytes(*count), numbers(sample)?);
        Ok(Duplicates { count, sample })
    }

    async fn highest(&self, range: &Range<i64>) -> Result<Option<i64>, Failure> {
        let table = quote_identifier(&self.target.table);
        let query = format!(
            "SELECT _offset FROM {table} WHERE {OF_PARTITION} AND {IN_RANGE} ORDER BY _offset DESC LIMIT 1 FORMAT RowBinary"
        );
        let body = self.query(&query, range, range.start).await?;
        Ok(numbers(&body)?.first().copied())
    }

    async fn query(&self, query: &str, range: &Range<i64>, before: i64) -> Result<Bytes, Failure> {
        let mut parameters = parameters(self.target, self.partition);
        parameters.extend([
            ("param_from", range.start.to_string()),
            ("param_to", range.end.to_string()),
            ("param_before", before.to_string()),
        ]);
        self.clickhouse.query(query, &parameters).await
    }
}
