//! The dashboards, asked of ClickHouse: a tenant and a window of time go in, sums come out.
//! Every query carries a limit of its own on time and memory. Never asks across tenants, never writes.

use clickhouse::Row;
use serde::Deserialize;
use sluice_schemas::connect;
use sluice_schemas::names::Names;
use sluice_schemas::records::{Channel, EventType, InteractionType};
use sluice_schemas::stores::Stores;
use uuid::Uuid;

use super::{AskError, Span};

/// Communication events of a window, by channel and type.
pub const DASHBOARD_EVENTS: &str = "\
SELECT channel, event_type, count() AS events, countIf(success) AS succeeded,
       avg(duration_ms) AS mean_ms, quantileTDigest(0.95)(duration_ms) AS p95_ms
FROM communication_events
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY channel, event_type";

/// Agent metrics of a window, by metric.
pub const DASHBOARD_AGENTS: &str = "\
SELECT metric_name, count() AS measurements, sum(metric_value) AS total,
       uniqExact(agent_id) AS agents, argMax(agent_id, metric_value) AS highest
FROM agent_metrics
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY metric_name";

/// Customers' interactions of a window, by type.
pub const DASHBOARD_INTERACTIONS: &str = "\
SELECT interaction_type, count() AS interactions, sum(amount_minor) AS money,
       uniqExact(customer_id) AS customers, countIf(sentiment = 'negative') AS negative
FROM customer_interactions
WHERE tenant_id = {tenant:UUID}
  AND timestamp >= fromUnixTimestamp64Milli({from:Int64}) AND timestamp < fromUnixTimestamp64Milli({to:Int64})
GROUP BY interaction_type";

/// Campaigns' events and successes in the hours of a window, from the hourly aggregate.
pub const DASHBOARD_CAMPAIGNS: &str = "\
SELECT campaign_id, sum(total_events) AS events, sum(successful_events) AS succeeded,
       avgMerge(avg_duration) AS mean_ms, quantileTDigestMerge(0.95)(p95_duration) AS p95_ms
FROM campaign_performance
WHERE tenant_id = {tenant:UUID}
  AND hour >= fromUnixTimestamp64Milli({from:Int64}) AND hour < fromUnixTimestamp64Milli({to:Int64})
GROUP BY campaign_id";

/// Longest time a dashboard may take in the server, in seconds.
const MAX_EXECUTION_SECONDS: &str = "30";
/// Most memory a dashboard may take in the server, in bytes.
const MAX_MEMORY_BYTES: &str = "500000000";

/// ClickHouse, asked over HTTP.
#[derive(Clone)]
pub struct Dashboards {
    client: clickhouse::Client,
}

impl std::fmt::Debug for Dashboards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dashboards").finish_non_exhaustive()
    }
}

#[derive(Row, Deserialize)]
struct ByChannel {
    channel: String,
    event_type: String,
    events: u64,
    #[serde(rename = "succeeded")]
    _succeeded: u64,
    #[serde(rename = "mean_ms")]
    _mean_ms: f64,
    #[serde(rename = "p95_ms")]
    _p95_ms: f32,
}

#[derive(Row, Deserialize)]
struct ByMetric {
    metric_name: String,
    measurements: u64,
    total: f64,
    #[serde(rename = "agents")]
    _agents: u64,
    #[serde(rename = "highest")]
    _highest: String,
}

#[derive(Row, Deserialize)]
struct ByType {
    interaction_type: String,
    interactions: u64,
    money: i64,
    #[serde(rename = "customers")]
    _customers: u64,
    #[serde(rename = "negative")]
    _negative: u64,
}

#[derive(Row, Deserialize)]
struct ByCampaign {
    #[serde(with = "clickhouse::serde::uuid")]
    campaign_id: Uuid,
    events: u64,
    succeeded: u64,
    #[serde(rename = "mean_ms")]
    _mean_ms: f64,
    #[serde(rename = "p95_ms")]
    _p95_ms: f32,
}

impl Dashboards {
    /// Makes the client; opens no connection yet.
    pub(super) fn new(stores: &Stores, names: &Names) -> Self {
        let client = connect::clickhouse(stores, names)
            .with_setting("max_execution_time", MAX_EXECUTION_SECONDS)
            .with_setting("max_memory_usage", MAX_MEMORY_BYTES);
        Self { client }
    }

    /// [`DASHBOARD_EVENTS`]: events by channel and type, in order.
    pub async fn events(&self, tenant: Uuid, span: Span) -> Result<Vec<(Channel, EventType, u64)>, AskError> {
        let rows: Vec<ByChannel> = self.ask(DASHBOARD_EVENTS, tenant, span).fetch_all().await?;
        let read = |row: &ByChannel| {
            let channel = word(Channel::ALL, Channel::as_str, &row.channel)?;
            Ok((channel, word(EventType::ALL, EventType::as_str, &row.event_type)?, row.events))
        };
        sorted(rows.iter().map(read))
    }

    /// [`DASHBOARD_AGENTS`]: name, count and sum of each metric, in order of name.
    pub async fn agents(&self, tenant: Uuid, span: Span) -> Result<Vec<(String, u64, f64)>, AskError> {
        let rows: Vec<ByMetric> = self.ask(DASHBOARD_AGENTS, tenant, span).fetch_all().await?;
        let mut metrics: Vec<_> = rows.into_iter().map(|row| (row.metric_name, row.measurements, row.total)).collect();
        metrics.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(metrics)
    }

    /// [`DASHBOARD_INTERACTIONS`]: type, count and money, in order.
    pub async fn interactions(&self, tenant: Uuid, span: Span) -> Result<Vec<(InteractionType, u64, i64)>, AskError> {
        let rows: Vec<ByType> = self.ask(DASHBOARD_INTERACTIONS, tenant, span).fetch_all().await?;
        let read = |row: &ByType| {
            let what = word(InteractionType::ALL, InteractionType::as_str, &row.interaction_type)?;
            Ok((what, row.interactions, row.money))
        };
        sorted(rows.iter().map(read))
    }

    /// [`DASHBOARD_CAMPAIGNS`]: campaign, events and successes, in order of campaign.
    pub async fn campaigns(&self, tenant: Uuid, span: Span) -> Result<Vec<(Uuid, u64, u64)>, AskError> {
        let rows: Vec<ByCampaign> = self.ask(DASHBOARD_CAMPAIGNS, tenant, span).fetch_all().await?;
        sorted(rows.iter().map(|row| Ok((row.campaign_id, row.events, row.succeeded))))
    }

    fn ask(&self, text: &str, tenant: Uuid, span: Span) -> clickhouse::query::Query {
        self.client
            .query(text)
            .param("tenant", tenant)
            .param("from", span.from.timestamp_millis())
            .param("to", span.to.timestamp_millis())
    }
}

fn sorted<T: Ord>(rows: impl Iterator<Item = Result<T, AskError>>) -> Result<Vec<T>, AskError> {
    let mut rows: Vec<T> = rows.collect::<Result<_, _>>()?;
    rows.sort_unstable();
    Ok(rows)
}

fn word<T: Copy>(all: &[T], as_str: fn(T) -> &'static str, text: &str) -> Result<T, AskError> {
    let found = all.iter().copied().find(|value| as_str(*value) == text);
    found.ok_or(AskError::Unreadable { store: "ClickHouse", what: "a word that no record holds" })
}
