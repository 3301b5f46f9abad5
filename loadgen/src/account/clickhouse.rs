//! ClickHouse's queries for the account: tallies and entries of the ingested tables, their provenance, the aggregate.
//! The queries never write.

use std::collections::BTreeMap;

use clickhouse::{Client, Row};
use serde::Deserialize;
use sluice_schemas::names::topic;
use uuid::Uuid;

use super::canonical::{AGENT_METRICS, COMMUNICATION_EVENTS, CUSTOMER_INTERACTIONS, Expressions};
use super::ledger::{Origin, Recomputed};
use super::reconcile::{Entry, Tally};
use super::slice::Kind;
use crate::load::LOADED_TOPIC;

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

fn origin_condition(origin: Origin) -> String {
    let sign = if origin == Origin::Loaded { "=" } else { "!=" };
    format!("_topic {sign} '{LOADED_TOPIC}'")
}

#[derive(Row, Deserialize)]
struct TallyRow {
    #[serde(with = "clickhouse::serde::uuid")]
    tenant: Uuid,
    rows: u64,
    distinct: u64,
    digest: u64,
}

/// A tally of each tenant's rows.
pub(super) async fn tallies(
    client: &Client,
    expressions: Expressions,
    origin: Origin,
) -> Result<BTreeMap<Uuid, Tally>, clickhouse::error::Error> {
    let Expressions { table, identity, text } = expressions;
    let query = format!(
        "SELECT tenant_id AS tenant, count() AS rows, uniqExact(xxHash64({identity})) AS distinct,
                groupBitXor(xxHash64({text})) AS digest
         FROM {table} WHERE {} GROUP BY tenant",
        origin_condition(origin)
    );
    let rows: Vec<TallyRow> = client.query(&query).fetch_all().await?;
    let tally = |row: &TallyRow| Tally { rows: row.rows, distinct: row.distinct, digest: row.digest };
    Ok(rows.iter().map(|row| (row.tenant, tally(row))).collect())
}

#[derive(Row, Deserialize)]
struct EntryRow {
    identity: String,
    digest: u64,
}

/// Identity and digest of each of a tenant's rows.
pub(super) async fn entries(
    client: &Client,
    expressions: Expressions,
    origin: Origin,
    tenant: Uuid,
) -> Result<Vec<Entry>, clickhouse::error::Error> {
    let Expressions { table, identity, text } = expressions;
    let query = format!(
        "SELECT {identity} AS identity, xxHash64({text}) AS digest
         FROM {table} WHERE {} AND tenant_id = {{tenant:UUID}}",
        origin_condition(origin)
    );
    let rows: Vec<EntryRow> = client.query(&query).param("tenant", tenant).fetch_all().await?;
    Ok(rows.into_iter().map(|row| (row.identity, row.digest)).collect())
}

/// Number of rows that came through Kafka, and of the distinct offsets that they came from.
pub(super) async fn source_offsets(client: &Client, table: &str) -> Result<(u64, u64), clickhouse::error::Error> {
    let query = format!(
        "SELECT count() AS rows, uniqExact(_topic, _topic_id, _partition, _offset) AS distinct
         FROM {table} WHERE {}",
        origin_condition(Origin::Driven)
    );
    client.query(&query).fetch_one().await
}

/// Number of rows that came through Kafka.
pub(super) async fn count_landed(client: &Client, table: &str) -> Result<u64, clickhouse::error::Error> {
    let query = format!("SELECT count() FROM {table} WHERE {}", origin_condition(Origin::Driven));
    client.query(&query).fetch_one().await
}

/// Compares `campaign_performance` with the raw events.
pub(super) async fn compare_aggregate(client: &Client) -> Result<Recomputed, clickhouse::error::Error> {
    let (groups, differing): (u64, u64) = client.query(RECOMPUTED).fetch_one().await?;
    Ok(Recomputed { table: "campaign_performance".to_owned(), groups, differing })
}
