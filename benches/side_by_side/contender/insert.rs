//! The second ceiling: inserts rows that were encoded in advance into ClickHouse, as Sluice sends them, and does nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use clickhouse::Row;
use futures::{StreamExt, TryStreamExt, stream};
use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use serde::Deserialize;
use sluice_ingest::clickhouse::insert::Insert;
use sluice_ingest::clickhouse::settings::{ALWAYS, FOR_INSERTS, FOR_WRITES};
use sluice_ingest::clickhouse::shape::{self, Shape};
use sluice_ingest::config::{Pipeline, Settings};
use sluice_ingest::decode::Origin;
use sluice_ingest::decode::table::{Plan, plan};
use sluice_schemas::connect::kafka_config;
use sluice_schemas::names::topic;
use uuid::Uuid;

use crate::http;
use crate::testbed::Testbed;
use crate::trial::{Measured, Trial};

/// The encoded rows of the whole topic.
pub(crate) struct Rows {
    body: Bytes,
    ends: Vec<usize>,
}

#[derive(Row, Deserialize)]
struct Column {
    name: String,
    r#type: String,
    default_kind: String,
}

/// Sluice's plan for decoding records and inserting them into `table`.
async fn plan_for(testbed: &Testbed, table: &str) -> anyhow::Result<Plan> {
    let query = "SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() \
                 AND table = 'communication_events' ORDER BY position";
    let columns: Vec<Column> = testbed.clickhouse.query(query).fetch_all().await.context("read the table's columns")?;
    let column = |c: Column| shape::Column { name: c.name, type_text: c.r#type, default_kind: c.default_kind };
    let shape = Shape {
        columns: columns.into_iter().map(column).collect(),
        partition_key: "toYYYYMM(timestamp)".to_owned(),
        server_zone: "UTC".to_owned(),
    };
    let pipeline = Settings::default().pipelines.remove(topic::COMMUNICATION_EVENTS).unwrap_or_default();
    Ok(plan(topic::COMMUNICATION_EVENTS, &Pipeline { table: table.to_owned(), ..pipeline }, &shape)?)
}

/// Reads the topic and encodes its rows, as Sluice does.
pub(crate) async fn encode_topic(testbed: &Testbed, events: u64) -> anyhow::Result<Rows> {
    let plan = plan_for(testbed, "rows").await?;
    let (config, topic) = (kafka_config(&testbed.stores), testbed.topic());
    let encode = move || encode(plan, config, &topic, events);
    tokio::task::spawn_blocking(encode).await.context("encode the rows")?
}

fn encode(mut plan: Plan, mut config: rdkafka::ClientConfig, topic: &str, events: u64) -> anyhow::Result<Rows> {
    const KAFKA_TIMEOUT: Duration = Duration::from_secs(30);
    let consumer: BaseConsumer = config.set("group.id", "rows").set("enable.auto.commit", "false").create()?;
    let metadata = consumer.fetch_metadata(Some(topic), KAFKA_TIMEOUT)?;
    let mut list = TopicPartitionList::new();
    let mut origins = Vec::new();
    for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
        origins.push(Origin::new(topic, Uuid::from_u128(1), partition.id()));
    }
    consumer.assign(&list)?;
    let (mut body, mut ends) = (Vec::new(), Vec::new());
    while (ends.len() as u64) < events {
        let Some(record) = consumer.poll(KAFKA_TIMEOUT) else {
            bail!("encode the rows: the topic has too few records")
        };
        let record = record?;
        let origin = &origins[usize::try_from(record.partition())?];
        let decoded = plan.decoder.decode(record.payload(), origin, record.offset(), &mut body);
        if let Err(rejected) = decoded {
            bail!("encode the rows: a record is rejected as {}", rejected.reason.code());
        }
        ends.push(body.len());
    }
    Ok(Rows { body: body.into(), ends })
}

impl Rows {
    fn batches(&self, size: usize) -> Vec<Bytes> {
        let mut start = 0;
        let slice = |ends: &[usize]| {
            let end = ends.last().copied().unwrap_or(start);
            self.body.slice(std::mem::replace(&mut start, end)..end)
        };
        self.ends.chunks(size).map(slice).collect()
    }
}

/// Inserts all rows and measures the time and the cost.
pub(crate) async fn run(
    testbed: &Testbed,
    trial: &Trial,
    rows: &Rows,
    batch: u64,
    connections: usize,
) -> anyhow::Result<Measured> {
    testbed.create(&trial.table).await?;
    let Insert { statement, head, .. } = plan_for(testbed, &trial.table).await?.insert;
    let batches = rows.batches(usize::try_from(batch)?);
    testbed.wait_until_idle().await?;
    let (before, start) = (testbed.cpu(), Instant::now());
    let inserts = batches.into_iter().enumerate().map(|(number, body)| {
        let (statement, head, token) = (statement.as_str(), head.clone(), format!("{}-{number}", trial.table));
        async move {
            let per_insert = [("wait_end_of_query", "1"), ("insert_deduplication_token", token.as_str())];
            let settings = [ALWAYS, FOR_WRITES, FOR_INSERTS, &per_insert].concat();
            http::insert(testbed, statement, &settings, [&head[..], &body].concat().into()).await
        }
    });
    stream::iter(inserts).buffer_unordered(connections).try_collect::<()>().await?;
    let seconds = start.elapsed().as_secs_f64();
    let [clickhouse, kafka] = testbed.cpu();
    let (rows, wrong) = trial.verify(testbed).await?;
    Ok(Measured {
        seconds,
        join: None,
        worker_cpu: None,
        worker_peak: None,
        clickhouse_cpu: clickhouse.saturating_sub(before[0]).as_secs_f64(),
        kafka_cpu: kafka.saturating_sub(before[1]).as_secs_f64(),
        rows,
        wrong,
    })
}
