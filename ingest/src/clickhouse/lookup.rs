//! Looks up which rows of a topic partition a table holds, by the provenance columns, if a token cannot decide.
//! ClickHouse reads the projection `by_offset` if the table has one; otherwise it scans the table. This module never
//! inserts a row.

use super::client::ClickHouse;
use super::quoting::quote_identifier;
use super::row_binary::numbers;
use crate::clickhouse::failures;
use crate::exactly_once::range::Range;
use crate::exactly_once::token::insert_prefix;
use crate::failure::{Class, Failure};
use crate::fault::{Fault, is_injected};
use crate::target::Target;

/// Selects the rows of one topic partition; the parameters come from [`parameters`].
pub(super) const OF_PARTITION: &str =
    "_topic = {topic:String} AND _topic_id = {topic_id:UUID} AND _partition = {partition:Int32}";

/// Returns the highest offset of a partition in the table. An earlier topic of the same name does not count.
pub async fn highest(clickhouse: &ClickHouse, target: &Target, partition: i32) -> Result<Option<i64>, Failure> {
    let table = quote_identifier(&target.table);
    let query =
        format!("SELECT _offset FROM {table} WHERE {OF_PARTITION} ORDER BY _offset DESC LIMIT 1 FORMAT RowBinary");
    let body = clickhouse.query(&query, &parameters(target, partition)).await?;
    Ok(numbers(&body)?.first().copied())
}

/// Returns the offsets of a range that the table holds, in order, each once per row.
pub async fn offsets(
    clickhouse: &ClickHouse,
    target: &Target,
    partition: i32,
    range: Range,
) -> Result<Vec<i64>, Failure> {
    let table = quote_identifier(&target.table);
    let query = format!(
        "SELECT _offset FROM {table} WHERE {OF_PARTITION} AND _offset BETWEEN {{first:Int64}} AND {{last:Int64}} \
         ORDER BY _offset FORMAT RowBinary"
    );
    let mut query_parameters = parameters(target, partition);
    query_parameters.extend([("param_first", range.first.to_string()), ("param_last", range.last.to_string())]);
    let body = clickhouse.query(&query, &query_parameters).await?;
    numbers(&body)
}

/// Returns those of `offsets` that the table holds, in order, each once per row. The query lists every offset, so pass
/// a few thousand at a time.
pub async fn among(
    clickhouse: &ClickHouse,
    target: &Target,
    partition: i32,
    offsets: &[i64],
) -> Result<Vec<i64>, Failure> {
    if offsets.is_empty() {
        return Ok(Vec::new());
    }
    let (table, list) =
        (quote_identifier(&target.table), offsets.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    let query = format!(
        "SELECT _offset FROM {table} WHERE {OF_PARTITION} AND _offset IN ({list}) ORDER BY _offset FORMAT RowBinary"
    );
    let body = clickhouse.query(&query, &parameters(target, partition)).await?;
    numbers(&body)
}

/// Fails while any process's INSERT of this partition runs: its rows may still land. Missing rows count as absent only
/// after this check.
pub async fn check_no_running_insert(clickhouse: &ClickHouse, target: &Target, partition: i32) -> Result<(), Failure> {
    let query = "SELECT toUInt64(count()) FROM system.processes WHERE startsWith(query_id, {inserts:String}) \
                 FORMAT RowBinary";
    let body = clickhouse.query(query, &[("param_inserts", insert_prefix(target, partition))]).await?;
    match numbers(&body)?[..] {
        [0] => Ok(()),
        [_] if is_injected(Fault::IgnoreRunningInserts) => Ok(()),
        [_] => Err(Failure::new(Class::Transient, "an INSERT of this partition that was sent earlier still runs")),
        _ => Err(failures::not_a_response("a body that is not the number of queries")),
    }
}

pub(super) fn parameters(target: &Target, partition: i32) -> Vec<(&'static str, String)> {
    vec![
        ("param_topic", target.topic.to_string()),
        ("param_topic_id", target.topic_id.to_string()),
        ("param_partition", partition.to_string()),
    ]
}
