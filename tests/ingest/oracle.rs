//! The oracle compares one topic with its table and the dead-letter topic, offset by offset: every record must be in exactly
//! one of the two, unaltered, and every aggregate must equal its recomputation. It reads all three itself and trusts no counter
//! of the worker.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::message::{Message, OwnedMessage};
use serde::Deserialize;
use sluice_ingest::kafka::topic_id::topic_id;
use sluice_schemas::connect;
use sluice_schemas::names::topic;
use sluice_schemas::records::CommunicationEvent;
use uuid::Uuid;

use crate::harness::{DEADLINE, World};

/// Partition and offset.
pub(crate) type Position = (i32, i64);

/// Numbers of records that the oracle found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) records: usize,
    pub(crate) landed: usize,
    pub(crate) dead_lettered: usize,
}

/// Records and rows that are allowed in addition.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    /// Records that have since been compacted or deleted. They may have landed.
    pub(crate) removed: BTreeMap<Position, OwnedMessage>,
    /// Number of rows of other writers, or of an earlier topic with the same name.
    pub(crate) foreign: usize,
}

#[derive(Debug, Row, Deserialize)]
struct Landed {
    is_of_this_topic: bool,
    partition: i32,
    offset: i64,
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    tenant_id: Uuid,
    agent_id: String,
    event_type: String,
    duration_ms: u32,
    timestamp_ms: i64,
    metadata: String,
}

const LANDED: &str = "SELECT (_topic = ? AND _topic_id = ?)::Bool AS is_of_this_topic, _partition AS partition, _offset AS offset, event_id, tenant_id, agent_id, event_type, \
                      duration_ms, toUnixTimestamp64Milli(timestamp) AS timestamp_ms, metadata FROM communication_events";

/// Counts rows that differ between the aggregates and their recomputation.
pub(crate) const AGGREGATES: &str = "WITH merged AS (SELECT tenant_id, campaign_id, channel, hour, sum(total_events) AS total, \
                          sum(successful_events) AS good, avgMerge(avg_duration) AS mean FROM campaign_performance \
                          GROUP BY tenant_id, campaign_id, channel, hour), \
                          recomputed AS (SELECT tenant_id, campaign_id, channel, toStartOfHour(timestamp) AS hour, \
                          count() AS total, countIf(success) AS good, avg(duration_ms) AS mean FROM communication_events \
                          GROUP BY tenant_id, campaign_id, channel, hour) \
                          SELECT sum(n) FROM (SELECT count() AS n FROM (SELECT * FROM merged EXCEPT SELECT * FROM recomputed) \
                          UNION ALL SELECT count() FROM (SELECT * FROM recomputed EXCEPT SELECT * FROM merged))";

/// Judges `communication-events`; the error describes the first fault.
pub(crate) async fn judge(world: &World) -> Result<Counts, String> {
    judge_allowing(world, Allowed::default()).await
}

/// Like [`judge`], with these additional records and rows allowed. Prints the result for the table in docs/faults.md:
/// `cargo test ... -- --show-output`.
pub(crate) async fn judge_allowing(world: &World, allowed: Allowed) -> Result<Counts, String> {
    let judged = compare(world, allowed).await;
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    match &judged {
        Ok(Counts { records, landed, dead_lettered }) => {
            println!("judged right, {test}: {records} records, {landed} landed, {dead_lettered} dead-lettered");
        }
        Err(wrong) => println!("judged wrong, {test}: {wrong}"),
    }
    judged
}

async fn compare(world: &World, Allowed { removed, foreign: allowed }: Allowed) -> Result<Counts, String> {
    let records = world.read_all(topic::COMMUNICATION_EVENTS).await;
    let records: BTreeMap<Position, OwnedMessage> =
        records.into_iter().map(|record| ((record.partition(), record.offset()), record)).collect();
    let letters = world.dead_letters().await;
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let (topic, id) = identity(world).await;
    let rows: Vec<Landed> = clickhouse.query(LANDED).bind(topic).bind(id.to_string()).fetch_all().await.unwrap();
    let (rows, foreign): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_of_this_topic);
    if foreign.len() != allowed {
        return Err(format!("{} rows are of other topics instead of {allowed}", foreign.len()));
    }
    let landed = unique_positions(&rows)?;
    let produced = |position: &Position| records.get(position).or_else(|| removed.get(position));
    let ever_produced = records.keys().chain(removed.keys()).copied().collect();
    compare_sets(&records.keys().copied().collect(), &ever_produced, &landed, &letters.keys().copied().collect())?;
    rows.iter().try_for_each(|row| check_unaltered(row, produced(&(row.partition, row.offset)).unwrap()))?;
    for (position, letter) in &letters {
        let original = produced(position).unwrap();
        if (letter.key(), letter.payload()) != (original.key(), original.payload()) {
            return Err(format!("the dead letter of {position:?} is not what was produced"));
        }
    }
    let differing: u64 = clickhouse.query(AGGREGATES).fetch_one().await.unwrap();
    if differing > 0 {
        return Err(format!("{differing} aggregates differ from their recomputation"));
    }
    Ok(Counts { records: records.len(), landed: landed.len(), dead_lettered: letters.len() })
}

/// Name and current topic ID of `communication-events`.
pub(crate) async fn identity(world: &World) -> (String, Uuid) {
    let (topic, kafka): (_, ClientConfig) =
        (world.names.topic(topic::COMMUNICATION_EVENTS), connect::kafka_config(&world.stores));
    let read = move || {
        let client: BaseConsumer<DefaultConsumerContext> = kafka.create().unwrap();
        let id = topic_id(client.client(), &topic, DEADLINE).unwrap();
        (topic, id)
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

fn unique_positions(rows: &[Landed]) -> Result<BTreeSet<Position>, String> {
    let mut seen = BTreeSet::new();
    let duplicates = rows.iter().filter(|row| !seen.insert((row.partition, row.offset))).count();
    if duplicates > 0 { Err(format!("{duplicates} rows are in the table more than once")) } else { Ok(seen) }
}

/// Compares the current records, and all that were ever produced, with the landed and dead-lettered ones.
fn compare_sets(
    records: &BTreeSet<Position>,
    ever_produced: &BTreeSet<Position>,
    landed: &BTreeSet<Position>,
    letters: &BTreeSet<Position>,
) -> Result<(), String> {
    let check_empty = |what: &str, mut wrong: Box<dyn Iterator<Item = &Position> + '_>| match wrong.next() {
        Some(first) => Err(format!("{} records {what}, the first at {first:?}", 1 + wrong.count())),
        None => Ok(()),
    };
    check_empty("landed and were dead-lettered", Box::new(landed.intersection(letters)))?;
    check_empty("landed and were never produced", Box::new(landed.difference(ever_produced)))?;
    check_empty("were dead-lettered and never produced", Box::new(letters.difference(ever_produced)))?;
    check_empty("are missing", Box::new(records.iter().filter(|at| !landed.contains(at) && !letters.contains(at))))
}

fn check_unaltered(row: &Landed, record: &OwnedMessage) -> Result<(), String> {
    let event: CommunicationEvent = serde_json::from_slice(record.payload().unwrap()).unwrap();
    let metadata = serde_json::to_string(&event.metadata).unwrap();
    let is_unaltered = row.event_id == event.event_id
        && row.tenant_id == event.tenant_id
        && row.agent_id == event.agent_id
        && row.event_type == event.event_type.as_str()
        && row.duration_ms == event.duration_ms
        && row.timestamp_ms == event.timestamp.timestamp_millis()
        && row.metadata == metadata;
    if is_unaltered {
        Ok(())
    } else {
        Err(format!("the row of ({}, {}) is not what was produced", row.partition, row.offset))
    }
}
