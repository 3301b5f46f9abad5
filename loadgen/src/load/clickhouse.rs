//! Loads ClickHouse: past events, interactions and agent metrics, as RowBinary inserts. Rows have the topic `loaded`,
//! which distinguishes them from those that ingest writes. The load never goes through Kafka.

use std::ops::Range;

use clickhouse::{Client, Row, RowOwned, RowWrite};
use serde::{Deserialize, Serialize};
use sluice_schemas::connect;
use sluice_schemas::records::{AgentMetric, CommunicationEvent, CustomerInteraction};
use uuid::Uuid;

use super::copies::{self, Copied};
use super::error::LoadError;
use super::job::{Job, chunks};
use crate::population::{Population, Tenant};
use sluice_schemas::concurrency::blocking;

/// `_topic` of loaded rows, which did not come through Kafka.
pub const LOADED_TOPIC: &str = "loaded";

pub(super) const EVENTS: &str = "ClickHouse communication_events";
pub(super) const INTERACTIONS: &str = "ClickHouse customer_interactions";
pub(super) const METRICS: &str = "ClickHouse agent_metrics";
/// Name under which the ledger holds the last copy.
const COPY: &str = "ClickHouse copy";

/// Communications or metrics per round of inserts: tens of thousands of rows, so that few parts are created.
const CHUNK: u64 = 10_000;

/// Rounds between two copies, from which an interrupted load continues.
const ROUNDS_PER_COPY: u64 = 10;

/// Rows loaded so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Completed rounds of all tenants, in order.
    rounds: u64,
    /// Events and interactions of the tenant whose round was the last, which provide the offsets.
    of_tenant: (u64, u64),
    events: u64,
    interactions: u64,
    metrics: u64,
}

impl Position {
    fn by_kind(&self) -> [(&'static str, u64); 3] {
        [(EVENTS, self.events), (INTERACTIONS, self.interactions), (METRICS, self.metrics)]
    }
}

/// What a round loads of a tenant.
enum Round<'a> {
    Communications(&'a Tenant, Range<u64>),
    Metrics(&'a Tenant, Range<u64>),
}

fn rounds(population: &Population) -> impl Iterator<Item = Round<'_>> {
    population.tenants().iter().flat_map(|tenant| {
        let communications = chunks(tenant.past_communications, CHUNK);
        let metrics = chunks(tenant.past_metrics, CHUNK);
        let communications = communications.map(move |range| Round::Communications(tenant, range));
        communications.chain(metrics.map(move |range| Round::Metrics(tenant, range)))
    })
}

pub(super) async fn load(job: Job<'_>) -> Result<(), LoadError> {
    let client = connect::clickhouse(job.stores, job.names).with_setting("async_insert", "0");
    let copied: Copied<Position> = job.ledger.state(COPY).unwrap_or_default();
    let (mut position, mut generation) = (copied.position, copied.generation);
    for (kind, kept) in position.by_kind() {
        job.kept(kind, kept);
    }
    for round in rounds(job.population).skip(position.rounds as usize) {
        job.check_stop()?;
        match round {
            Round::Communications(tenant, range) => {
                if range.start == 0 {
                    position.of_tenant = (0, 0);
                }
                let before = position.of_tenant;
                communications(job, &client, tenant.index, range, &mut position.of_tenant).await?;
                position.events += position.of_tenant.0 - before.0;
                position.interactions += position.of_tenant.1 - before.1;
            }
            Round::Metrics(tenant, range) => {
                position.metrics += range.end - range.start;
                metrics(job, &client, tenant, range).await?;
            }
        }
        position.rounds += 1;
        if position.rounds.is_multiple_of(ROUNDS_PER_COPY) {
            generation = copy(job, &client, position, generation).await?;
        }
    }
    for (kind, loaded) in position.by_kind() {
        check_count(&client, kind, loaded).await?;
    }
    if position != copied.position || generation == 0 {
        copy(job, &client, position, generation).await?;
    }
    Ok(())
}

/// Copies the tables as they are, and records the copy. Returns its generation.
async fn copy(job: Job<'_>, client: &Client, position: Position, former: u32) -> Result<u32, LoadError> {
    let generation = former + 1;
    copies::create(client, job.names, generation).await?;
    job.ledger.save(COPY, &Copied { position, generation }).await?;
    copies::drop_all_but(client, job.names, generation).await?;
    Ok(generation)
}

/// Takes the tables back to the last copy; later rows came from an interrupted load or from a drive.
pub(super) async fn restore(job: Job<'_>) -> Result<(), LoadError> {
    let client = connect::clickhouse(job.stores, job.names);
    let copied: Copied<Position> = job.ledger.state(COPY).unwrap_or_default();
    copies::restore(&client, job.names, copied.generation).await?;
    copies::drop_all_but(&client, job.names, copied.generation).await
}

/// Checks by ClickHouse's own count that every row is present; the client treats any 200 as an acknowledgement.
async fn check_count(client: &Client, kind: &'static str, loaded: u64) -> Result<(), LoadError> {
    let query = format!("SELECT count() FROM {} WHERE _topic = ?", table(kind));
    let found: u64 = client.query(&query).bind(LOADED_TOPIC).fetch_one().await?;
    if found == loaded { Ok(()) } else { Err(LoadError::Missing { kind, loaded, found }) }
}

fn table(kind: &str) -> &str {
    kind.trim_start_matches("ClickHouse ")
}

/// Loads events and interactions of a range of communications. `loaded` counts both and provides their offsets.
async fn communications(
    job: Job<'_>,
    client: &Client,
    tenant: usize,
    range: Range<u64>,
    loaded: &mut (u64, u64),
) -> Result<(), LoadError> {
    let population = job.population.clone();
    let (mut event_offset, mut interaction_offset) = *loaded;
    let (events, interactions) = blocking(move || {
        let (mut events, mut interactions) = (Vec::new(), Vec::new());
        for index in range {
            let records = population.past_events(tenant, index);
            events.extend(records.into_iter().map(|record| EventRow::new(record, next(tenant, &mut event_offset))));
            let records = population.past_interactions(tenant, index);
            interactions.extend(
                records.into_iter().map(|record| InteractionRow::new(record, next(tenant, &mut interaction_offset))),
            );
        }
        (events, interactions)
    })
    .await;
    *loaded = (loaded.0 + events.len() as u64, loaded.1 + interactions.len() as u64);
    insert(job, client, EVENTS, &events).await?;
    insert(job, client, INTERACTIONS, &interactions).await
}

async fn metrics(job: Job<'_>, client: &Client, tenant: &Tenant, range: Range<u64>) -> Result<(), LoadError> {
    let population = job.population.clone();
    let tenant = tenant.index;
    let rows: Vec<MetricRow> = blocking(move || {
        let row = |index: u64| {
            let mut offset = index;
            MetricRow::new(population.past_metric(tenant, index), next(tenant, &mut offset))
        };
        range.map(row).collect()
    })
    .await;
    insert(job, client, METRICS, &rows).await
}

async fn insert<T: RowOwned + RowWrite>(
    job: Job<'_>,
    client: &Client,
    kind: &str,
    rows: &[T],
) -> Result<(), LoadError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut insert = client.insert::<T>(table(kind)).await?;
    for row in rows {
        insert.write(row).await?;
    }
    insert.end().await?;
    job.loaded(kind, rows.len() as u64);
    Ok(())
}

/// The synthetic partition and offset of a loaded row, unique within its table.
#[derive(Clone, Copy)]
struct Place {
    partition: i32,
    offset: i64,
}

fn next(tenant: usize, offset: &mut u64) -> Place {
    *offset += 1;
    Place { partition: i32::try_from(tenant).unwrap_or(i32::MAX), offset: (*offset - 1).cast_signed() }
}

#[derive(Row, Serialize)]
struct EventRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    tenant_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    customer_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    campaign_id: Uuid,
    agent_id: String,
    channel: &'static str,
    event_type: &'static str,
    timestamp: i64,
    duration_ms: u32,
    success: bool,
    error_code: String,
    metadata: String,
    _topic: &'static str,
    #[serde(with = "clickhouse::serde::uuid")]
    _topic_id: Uuid,
    _partition: i32,
    _offset: i64,
}

impl EventRow {
    fn new(record: CommunicationEvent, place: Place) -> Self {
        Self {
            event_id: record.event_id,
            tenant_id: record.tenant_id,
            customer_id: record.customer_id,
            campaign_id: record.campaign_id,
            agent_id: record.agent_id,
            channel: record.channel.as_str(),
            event_type: record.event_type.as_str(),
            timestamp: record.timestamp.timestamp_millis(),
            duration_ms: record.duration_ms,
            success: record.success,
            error_code: record.error_code,
            metadata: serde_json::to_string(&record.metadata).expect("plain fields always serialize"),
            _topic: LOADED_TOPIC,
            _topic_id: Uuid::nil(),
            _partition: place.partition,
            _offset: place.offset,
        }
    }
}

#[derive(Row, Serialize)]
struct InteractionRow {
    #[serde(with = "clickhouse::serde::uuid")]
    interaction_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    tenant_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    customer_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    campaign_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    communication_id: Uuid,
    channel: &'static str,
    interaction_type: &'static str,
    timestamp: i64,
    duration_ms: u32,
    sentiment: String,
    amount_minor: i64,
    currency: String,
    _topic: &'static str,
    #[serde(with = "clickhouse::serde::uuid")]
    _topic_id: Uuid,
    _partition: i32,
    _offset: i64,
}

impl InteractionRow {
    fn new(record: CustomerInteraction, place: Place) -> Self {
        Self {
            interaction_id: record.interaction_id,
            tenant_id: record.tenant_id,
            customer_id: record.customer_id,
            campaign_id: record.campaign_id,
            communication_id: record.communication_id,
            channel: record.channel.as_str(),
            interaction_type: record.interaction_type.as_str(),
            timestamp: record.timestamp.timestamp_millis(),
            duration_ms: record.duration_ms,
            sentiment: record.sentiment,
            amount_minor: record.amount_minor,
            currency: record.currency,
            _topic: LOADED_TOPIC,
            _topic_id: Uuid::nil(),
            _partition: place.partition,
            _offset: place.offset,
        }
    }
}

#[derive(Row, Serialize)]
struct MetricRow {
    #[serde(with = "clickhouse::serde::uuid")]
    tenant_id: Uuid,
    agent_id: String,
    agent_type: String,
    metric_name: String,
    metric_value: f64,
    timestamp: i64,
    _topic: &'static str,
    #[serde(with = "clickhouse::serde::uuid")]
    _topic_id: Uuid,
    _partition: i32,
    _offset: i64,
}

impl MetricRow {
    fn new(record: AgentMetric, place: Place) -> Self {
        Self {
            tenant_id: record.tenant_id,
            agent_id: record.agent_id,
            agent_type: record.agent_type,
            metric_name: record.metric_name,
            metric_value: record.metric_value,
            timestamp: record.timestamp.timestamp_millis(),
            _topic: LOADED_TOPIC,
            _topic_id: Uuid::nil(),
            _partition: place.partition,
            _offset: place.offset,
        }
    }
}
