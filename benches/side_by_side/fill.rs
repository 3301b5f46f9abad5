//! Fills the topic once, and the table `reference` through ClickHouse's own JSON reader, which no program under test uses: every
//! other table must have the same contents. A topic with other records is emptied first, never appended to.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sluice_schemas::connect::kafka_config;

use crate::options::Common;
use crate::output::progress;
use crate::records::{Events, Record};
use crate::testbed::{Contents, Testbed};

/// Table with the expected contents.
const REFERENCE: &str = "reference";
/// Records in one INSERT into it.
const INSERT_ROWS: usize = 100_000;
const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);

/// Fills the topic unless it already holds exactly the records of these options; returns the contents that a table must have.
pub(crate) async fn fill(testbed: &Testbed, options: &Common) -> anyhow::Result<Contents> {
    let description = format!("{} events of at least {} bytes", options.events, options.bytes);
    if table_comment(testbed).await? == description && record_count(testbed, &testbed.topic())? == options.events {
        progress(&format!("the topic holds {description} already"));
        return testbed.contents(REFERENCE).await;
    }
    progress(&format!("filling the topic with {description}"));
    testbed.reset().await?;
    testbed.execute(&format!("CREATE TABLE {REFERENCE} AS communication_events COMMENT '{description}'")).await?;
    produce(testbed, options).await?;
    let count = record_count(testbed, &testbed.topic())?;
    if count != options.events {
        bail!("fill the topic: it holds {count} records instead of {}", options.events);
    }
    testbed.contents(REFERENCE).await
}

/// Description left by an earlier fill.
async fn table_comment(testbed: &Testbed) -> anyhow::Result<String> {
    let query =
        format!("SELECT any(comment) FROM system.tables WHERE database = currentDatabase() AND name = '{REFERENCE}'");
    testbed.clickhouse.query(&query).fetch_one().await.context("look for an earlier fill")
}

/// Number of records in a topic, computed from its watermarks.
pub(crate) fn record_count(testbed: &Testbed, topic: &str) -> anyhow::Result<u64> {
    let consumer: BaseConsumer = kafka_config(&testbed.stores).create().context("count the topic's records")?;
    let metadata = consumer.fetch_metadata(Some(topic), KAFKA_TIMEOUT).context("fetch the topic's partitions")?;
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id);
    let counts = partitions.map(|partition| {
        let (low, high) =
            consumer.fetch_watermarks(topic, partition, KAFKA_TIMEOUT).context("fetch the topic's watermarks")?;
        Ok((high - low).cast_unsigned())
    });
    counts.sum()
}

async fn produce(testbed: &Testbed, options: &Common) -> anyhow::Result<()> {
    let producer = producer(testbed, Duration::from_millis(50))?;
    let topic = testbed.topic();
    let mut events = Events::new(options.events)?;
    let mut lines = Vec::new();
    for number in 1..=options.events {
        let event = events.next().context("generate the events: too few communications")?;
        let record = Record::new(&event, options.bytes)?;
        lines.extend_from_slice(&record.payload);
        lines.push(b'\n');
        send(&producer, &topic, &record)?;
        if number.is_multiple_of(INSERT_ROWS as u64) || number == options.events {
            insert(testbed, std::mem::take(&mut lines)).await?;
        }
    }
    flush(&producer)
}

/// A producer with this `linger.ms`.
pub(crate) fn producer(
    testbed: &Testbed,
    linger: Duration,
) -> anyhow::Result<ThreadedProducer<DefaultProducerContext>> {
    let mut config = kafka_config(&testbed.stores);
    config
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", linger.as_millis().to_string());
    config.create().context("create a producer")
}

/// Enqueues one record; waits while the queue is full.
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

/// Waits until the broker has acknowledged everything.
pub(crate) fn flush(producer: &ThreadedProducer<DefaultProducerContext>) -> anyhow::Result<()> {
    producer.flush(Duration::from_mins(1)).context("produce the records")
}

async fn insert(testbed: &Testbed, lines: Vec<u8>) -> anyhow::Result<()> {
    let statement = format!("INSERT INTO {REFERENCE} FORMAT JSONEachRow");
    let settings = [("date_time_input_format", "best_effort"), ("input_format_json_read_objects_as_strings", "1")];
    crate::http::insert(testbed, &statement, &settings, lines.into()).await
}
