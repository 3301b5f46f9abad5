//! Fills the topic once, and the table `reference` by ClickHouse's own JSON reader, which no program under test shares:
//! what it holds is what every other table must hold.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sluice_schemas::connect::kafka_config;

use crate::options::Common;
use crate::records::{Events, Record};
use crate::say::say;
use crate::world::{Contents, World};

/// Table of what should be there.
const REFERENCE: &str = "reference";
/// Records in one INSERT into it.
const TOGETHER: usize = 100_000;
const ANSWER: Duration = Duration::from_secs(30);

/// Makes sure that the topic holds exactly the records of these options; says what a table must hold afterwards.
pub(crate) async fn fill(world: &World, options: &Common) -> anyhow::Result<Contents> {
    let wanted = format!("{} events of at least {} bytes", options.events, options.bytes);
    if comment(world).await? == wanted && in_topic(world, &world.topic())? == options.events {
        say(&format!("the topic holds {wanted} already"));
        return world.contents(REFERENCE).await;
    }
    say(&format!("filling the topic with {wanted}"));
    world.reset().await?;
    world.execute(&format!("CREATE TABLE {REFERENCE} AS communication_events COMMENT '{wanted}'")).await?;
    produce(world, options).await?;
    let found = in_topic(world, &world.topic())?;
    if found != options.events {
        bail!("fill the topic: it holds {found} records instead of {}", options.events);
    }
    world.contents(REFERENCE).await
}

/// What an earlier fill said that it had made.
async fn comment(world: &World) -> anyhow::Result<String> {
    let query =
        format!("SELECT any(comment) FROM system.tables WHERE database = currentDatabase() AND name = '{REFERENCE}'");
    world.clickhouse.query(&query).fetch_one().await.context("look for an earlier fill")
}

/// Records that a topic holds.
pub(crate) fn in_topic(world: &World, topic: &str) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = kafka_config(&world.stores).create().context("ask how much the topic holds")?;
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER).context("ask for the topic's partitions")?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id);
    let held = partitions.map(|partition| {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER).context("ask for the topic's size")?;
        Ok((high - low).cast_unsigned())
    });
    held.sum()
}

async fn produce(world: &World, options: &Common) -> anyhow::Result<()> {
    let producer = producer(world, Duration::from_millis(50))?;
    let topic = world.topic();
    let mut events = Events::new(options.events)?;
    let mut lines = Vec::new();
    for number in 1..=options.events {
        let event = events.next().context("make the events: too few communications")?;
        let record = Record::new(&event, options.bytes)?;
        lines.extend_from_slice(&record.payload);
        lines.push(b'\n');
        send(&producer, &topic, &record)?;
        if number.is_multiple_of(TOGETHER as u64) || number == options.events {
            insert(world, std::mem::take(&mut lines)).await?;
        }
    }
    flush(&producer)
}

/// A producer whose records wait so long for company.
pub(crate) fn producer(world: &World, linger: Duration) -> anyhow::Result<ThreadedProducer<DefaultProducerContext>> {
    let mut config = kafka_config(&world.stores);
    config
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", linger.as_millis().to_string());
    config.create().context("make a producer")
}

/// Hands one record over, waiting while the queue is full.
pub(crate) fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    record: &Record,
) -> anyhow::Result<()> {
    let mut message = BaseRecord::to(topic).key(&record.key).payload(&record.payload);
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => message = refused,
            Err((error, _)) => return Err(error).context("produce a record"),
        }
        producer.poll(Duration::from_millis(10));
    }
}

/// Waits until the broker has everything.
pub(crate) fn flush(producer: &ThreadedProducer<DefaultProducerContext>) -> anyhow::Result<()> {
    producer.flush(Duration::from_mins(1)).context("produce the records")
}

async fn insert(world: &World, lines: Vec<u8>) -> anyhow::Result<()> {
    let statement = format!("INSERT INTO {REFERENCE} FORMAT JSONEachRow");
    let settings = [("date_time_input_format", "best_effort"), ("input_format_json_read_objects_as_strings", "1")];
    crate::http::insert(world, &statement, &settings, lines.into()).await
}
