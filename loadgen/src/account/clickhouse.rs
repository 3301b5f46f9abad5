//! ClickHouse's queries for the account: tallies and entries of the ingested tables, their provenance, the aggregate.
//! The queries never write.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clickhouse::{Client, Row};
use serde::Deserialize;
use sluice_schemas::names::topic;
use uuid::Uuid;

use super::canonical::{AGENT_METRICS, COMMUNICATION_EVENTS, CUSTOMER_INTERACTIONS, Expressions};
use super::error::AccountError;
use super::ledger::{Origin, Recomputed};
use super::page::StoredRows;
use super::reconcile::{Entry, Tally};
use super::slice::Kind;
use super::time_limit::TimeLimit;
use crate::load::LOADED_TOPIC;

const STORE: &str = "ClickHouse";

/// A table that ingest fills.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) kind: Kind,
    /// The ADR's name of its topic.
    pub(super) topic: &'static str,
    pub(super) expressions: Expressions,
}

/// Every table that ingest fills.
pub(super) const TABLES: [Table; 3] = [
    Table { kind: Kind::Events, topic: topic::COMMUNICATION_EVENTS, expressions: COMMUNICATION_EVENTS },
    Table { kind: Kind::Metrics, topic: topic::AGENT_METRICS, expressions: AGENT_METRICS },
    Table { kind: Kind::Interactions, topic: topic::CUSTOMER_INTERACTIONS, expressions: CUSTOMER_INTERACTIONS },
];

/// Compares the aggregate with its recomputation, group by group. Counts and means are exact; the state of a quantile
/// depends on the order of merging, so it can't be compared.
const RECOMPUTED: &str = "
SELECT count() AS groups,
       countIf(raw.events != kept.events OR raw.succeeded != kept.succeeded OR abs(raw.mean - kept.mean) > 1e-6) AS differing
FROM (
    SELECT tenant_id, campaign_id, channel, toStartOfHour(timestamp) AS hour,
           count() AS events, countIf(success) AS succeeded, avg(duration_ms) AS mean
    FROM communication_events
    GROUP BY tenant_id, campaign_id, channel, hour
) AS raw
FULL OUTER JOIN (
    SELECT tenant_id, campaign_id, channel, toDateTime(hour) AS hour,
           sum(total_events) AS events, sum(successful_events) AS succeeded, avgMerge(avg_duration) AS mean
    FROM campaign_performance
    GROUP BY tenant_id, campaign_id, channel, hour
) AS kept
USING (tenant_id, campaign_id, channel, hour)";

/// The condition on the rows of an origin; driven ones of earlier trials than the one that starts at `since` are excluded.
fn origin_condition(origin: Origin, since: Option<DateTime<Utc>>) -> String {
    match (origin, since) {
        (Origin::Loaded, _) => format!("_topic = '{LOADED_TOPIC}'"),
        (Origin::Driven, None) => format!("_topic != '{LOADED_TOPIC}'"),
        (Origin::Driven, Some(since)) => {
            let millis = since.timestamp_millis();
            format!("_topic != '{LOADED_TOPIC}' AND timestamp >= fromUnixTimestamp64Milli({millis})")
        }
    }
}

#[derive(Row, Deserialize)]
struct TallyRow {
    #[serde(with = "clickhouse::serde::uuid")]
    tenant: Uuid,
    rows: u64,
    digest: u64,
}

#[derive(Row, Deserialize)]
struct BucketRow {
    bucket: u64,
    rows: u64,
    digest: u64,
}

#[derive(Row, Deserialize)]
struct EntryRow {
    identity: String,
    digest: u64,
}

/// The rows of one table and origin.
pub(super) struct IngestedRows<'a> {
    pub(super) client: &'a Client,
    pub(super) expressions: Expressions,
    pub(super) origin: Origin,
    /// The start of the trial; `None` for the first one.
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) time_limit: TimeLimit,
}

impl StoredRows for IngestedRows<'_> {
    async fn tallies(&self) -> Result<BTreeMap<Uuid, Tally>, AccountError> {
        let Expressions { table, text, .. } = self.expressions;
        let query = format!(
            "SELECT tenant_id AS tenant, count() AS rows, groupBitXor(xxHash64({text})) AS digest
             FROM {table} WHERE {} GROUP BY tenant",
            origin_condition(self.origin, self.since)
        );
        let rows: Vec<TallyRow> = self.time_limit.apply(STORE, self.client.query(&query).fetch_all()).await?;
        Ok(rows.iter().map(|row| (row.tenant, Tally { rows: row.rows, digest: row.digest })).collect())
    }

    async fn bucket_tallies(&self, tenant: Uuid, buckets: u64) -> Result<BTreeMap<u64, Tally>, AccountError> {
        let Expressions { table, identity, text } = self.expressions;
        let query = format!(
            "SELECT bitAnd(xxHash64({identity}), {}) AS bucket, count() AS rows, groupBitXor(xxHash64({text})) AS digest
             FROM {table} WHERE {} AND tenant_id = {{tenant:UUID}} GROUP BY bucket",
            buckets - 1,
            origin_condition(self.origin, self.since)
        );
        let asking = self.client.query(&query).param("tenant", tenant).fetch_all();
        let rows: Vec<BucketRow> = self.time_limit.apply(STORE, asking).await?;
        Ok(rows.iter().map(|row| (row.bucket, Tally { rows: row.rows, digest: row.digest })).collect())
    }

    async fn entries(&self, tenant: Uuid, buckets: u64, chosen: &[u64]) -> Result<Vec<Entry>, AccountError> {
        let Expressions { table, identity, text } = self.expressions;
        let query = format!(
            "SELECT {identity} AS identity, xxHash64({text}) AS digest
             FROM {table} WHERE {} AND tenant_id = {{tenant:UUID}}
             AND has({{chosen:Array(UInt64)}}, bitAnd(xxHash64({identity}), {}))",
            origin_condition(self.origin, self.since),
            buckets - 1
        );
        let asking = self.client.query(&query).param("tenant", tenant).param("chosen", chosen).fetch_all();
        let rows: Vec<EntryRow> = self.time_limit.apply(STORE, asking).await?;
        Ok(rows.into_iter().map(|row| (row.identity, row.digest)).collect())
    }
}

/// The rows of one partition of a topic in a table.
#[derive(Row, Deserialize)]
pub(super) struct PartitionRows {
    #[serde(with = "clickhouse::serde::uuid")]
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) rows: u64,
    /// Exclusive or of [`offset_digest`] of their offsets.
    pub(super) digest: u64,
}

/// The digest of an offset, as ClickHouse computes it.
pub(super) fn offset_digest(offset: i64) -> u64 {
    xxhash_rust::xxh64::xxh64(&offset.to_le_bytes(), 0)
}

/// Rows that came through Kafka, by topic and partition.
pub(super) async fn partitions(
    client: &Client,
    table: &str,
    time_limit: TimeLimit,
) -> Result<Vec<PartitionRows>, AccountError> {
    let query = format!(
        "SELECT _topic_id AS topic_id, _partition AS partition, count() AS rows, groupBitXor(xxHash64(_offset)) AS digest
         FROM {table} WHERE {} GROUP BY topic_id, partition",
        origin_condition(Origin::Driven, None)
    );
    time_limit.apply(STORE, client.query(&query).fetch_all()).await
}

/// Number of the distinct offsets that rows came from through Kafka.
pub(super) async fn count_offsets(client: &Client, table: &str, time_limit: TimeLimit) -> Result<u64, AccountError> {
    let query = format!(
        "SELECT uniqExact(_topic, _topic_id, _partition, _offset) FROM {table} WHERE {}",
        origin_condition(Origin::Driven, None)
    );
    time_limit.apply(STORE, client.query(&query).fetch_one()).await
}

/// Number of rows that came through Kafka; without those of earlier trials than the one that starts at `since`.
pub(super) async fn count_landed(
    client: &Client,
    table: &str,
    since: Option<DateTime<Utc>>,
) -> Result<u64, clickhouse::error::Error> {
    let query = format!("SELECT count() FROM {table} WHERE {}", origin_condition(Origin::Driven, since));
    client.query(&query).fetch_one().await
}

/// Compares `campaign_performance` with the raw events.
pub(super) async fn compare_aggregate(client: &Client, time_limit: TimeLimit) -> Result<Recomputed, AccountError> {
    let (groups, differing): (u64, u64) = time_limit.apply(STORE, client.query(RECOMPUTED).fetch_one()).await?;
    Ok(Recomputed { table: "campaign_performance".to_owned(), groups, differing })
}
