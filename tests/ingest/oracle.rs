//! The oracle: what Kafka, the table and the dead-letter topic hold of one topic, offset by offset.
//! A world goes in; counts come out if every record is in exactly one place, unaltered, and every aggregate equals its
//! recomputation; else what is wrong first. It reads all three itself and believes no counter of the worker.

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
pub(crate) type At = (i32, i64);

/// What was found where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) records: usize,
    pub(crate) landed: usize,
    pub(crate) dead_lettered: usize,
}

/// What else is there by right.
#[derive(Debug, Default)]
pub(crate) struct Besides {
    /// Records that the log had once: compacted or deleted since. They may have landed.
    pub(crate) gone: BTreeMap<At, OwnedMessage>,
    /// Rows of other writers, or of an earlier topic of the same name.
    pub(crate) others: usize,
}

#[derive(Debug, Row, Deserialize)]
struct Landed {
    is_ours: bool,
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

const LANDED: &str = "SELECT (_topic = ? AND _topic_id = ?)::Bool AS is_ours, _partition AS partition, _offset AS offset, event_id, tenant_id, agent_id, event_type, \
                      duration_ms, toUnixTimestamp64Milli(timestamp) AS timestamp_ms, metadata FROM communication_events";

/// Rows that one side of the aggregate has and the other has not.
pub(crate) const AGGREGATES: &str = "WITH merged AS (SELECT tenant_id, campaign_id, channel, hour, sum(total_events) AS total, \
                          sum(successful_events) AS good, avgMerge(avg_duration) AS mean FROM campaign_performance \
                          GROUP BY tenant_id, campaign_id, channel, hour), \
                          again AS (SELECT tenant_id, campaign_id, channel, toStartOfHour(timestamp) AS hour, \
                          count() AS total, countIf(success) AS good, avg(duration_ms) AS mean FROM communication_events \
                          GROUP BY tenant_id, campaign_id, channel, hour) \
                          SELECT sum(n) FROM (SELECT count() AS n FROM (SELECT * FROM merged EXCEPT SELECT * FROM again) \
                          UNION ALL SELECT count() FROM (SELECT * FROM again EXCEPT SELECT * FROM merged))";

/// Judges `communication-events`.
pub(crate) async fn judge(world: &World) -> Result<Counts, String> {
    judge_besides(world, Besides::default()).await
}

/// The same, where the table or the log has been somebody else's as well. What it found is printed, for the table of
/// faults: `cargo test ... -- --show-output`.
pub(crate) async fn judge_besides(world: &World, besides: Besides) -> Result<Counts, String> {
    let judged = compare(world, besides).await;
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    match &judged {
        Ok(Counts { records, landed, dead_lettered }) => {
            println!("judged right, {test}: {records} records, {landed} landed, {dead_lettered} dead-lettered");
        }
        Err(wrong) => println!("judged wrong, {test}: {wrong}"),
    }
    judged
}

async fn compare(world: &World, Besides { gone, others }: Besides) -> Result<Counts, String> {
    let records = world.read_all(topic::COMMUNICATION_EVENTS).await;
    let records: BTreeMap<At, OwnedMessage> =
        records.into_iter().map(|record| ((record.partition(), record.offset()), record)).collect();
    let letters = world.dead_letters().await;
    let clickhouse = connect::clickhouse(&world.stores, &world.names);
    let (topic, id) = identity(world).await;
    let rows: Vec<Landed> = clickhouse.query(LANDED).bind(topic).bind(id.to_string()).fetch_all().await.unwrap();
    let (rows, foreign): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_ours);
    if foreign.len() != others {
        return Err(format!("{} rows are not of this topic, and {others} should be", foreign.len()));
    }
    let landed = each_once(&rows)?;
    let produced = |at: &At| records.get(at).or_else(|| gone.get(at));
    let ever = records.keys().chain(gone.keys()).copied().collect();
    compare_sets(&records.keys().copied().collect(), &ever, &landed, &letters.keys().copied().collect())?;
    rows.iter().try_for_each(|row| unaltered(row, produced(&(row.partition, row.offset)).unwrap()))?;
    for (at, letter) in &letters {
        let original = produced(at).unwrap();
        if (letter.key(), letter.payload()) != (original.key(), original.payload()) {
            return Err(format!("the dead letter of {at:?} is not what was produced"));
        }
    }
    let differing: u64 = clickhouse.query(AGGREGATES).fetch_one().await.unwrap();
    if differing > 0 {
        return Err(format!("{differing} aggregates differ from their recomputation"));
    }
    Ok(Counts { records: records.len(), landed: landed.len(), dead_lettered: letters.len() })
}

/// Name and identity of the topic as it is now.
pub(crate) async fn identity(world: &World) -> (String, Uuid) {
    let (topic, kafka): (_, ClientConfig) =
        (world.names.topic(topic::COMMUNICATION_EVENTS), connect::kafka_config(&world.stores));
    let ask = move || {
        let client: BaseConsumer<DefaultConsumerContext> = kafka.create().unwrap();
        let id = topic_id(client.client(), &topic, DEADLINE).unwrap();
        (topic, id)
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

fn each_once(rows: &[Landed]) -> Result<BTreeSet<At>, String> {
    let mut seen = BTreeSet::new();
    let double = rows.iter().filter(|row| !seen.insert((row.partition, row.offset))).count();
    if double > 0 { Err(format!("{double} rows stand in the table more than once")) } else { Ok(seen) }
}

/// Compares the records that are there, and those that ever were, with where they went.
fn compare_sets(
    records: &BTreeSet<At>,
    ever: &BTreeSet<At>,
    landed: &BTreeSet<At>,
    letters: &BTreeSet<At>,
) -> Result<(), String> {
    let first = |what: &str, mut some: Box<dyn Iterator<Item = &At> + '_>| match some.next() {
        Some(at) => Err(format!("{} records {what}, the first at {at:?}", 1 + some.count())),
        None => Ok(()),
    };
    first("landed and were dead-lettered", Box::new(landed.intersection(letters)))?;
    first("landed and were never produced", Box::new(landed.difference(ever)))?;
    first("were dead-lettered and never produced", Box::new(letters.difference(ever)))?;
    first("are missing", Box::new(records.iter().filter(|at| !landed.contains(at) && !letters.contains(at))))
}

fn unaltered(row: &Landed, record: &OwnedMessage) -> Result<(), String> {
    let event: CommunicationEvent = serde_json::from_slice(record.payload().unwrap()).unwrap();
    let metadata = serde_json::to_string(&event.metadata).unwrap();
    let same = row.event_id == event.event_id
        && row.tenant_id == event.tenant_id
        && row.agent_id == event.agent_id
        && row.event_type == event.event_type.as_str()
        && row.duration_ms == event.duration_ms
        && row.timestamp_ms == event.timestamp.timestamp_millis()
        && row.metadata == metadata;
    if same { Ok(()) } else { Err(format!("the row of ({}, {}) is not what was produced", row.partition, row.offset)) }
}
