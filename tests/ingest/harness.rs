//! What the tests of ingest share: a namespace of their own, a producer, a running worker, and eyes on both ends.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clickhouse::Row;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde::Deserialize;
use sluice_ingest::config::{Retry, Settings};
use sluice_ingest::{Error, Summary};
use sluice_schemas::names::{Names, topic};
use sluice_schemas::records::{Channel, CommunicationEvent, EventMetadata, EventType};
use sluice_schemas::stores::Stores;
use sluice_schemas::{Store, apply, connect, drop_namespace};
use sluice_stack::Service;
use sluice_testkit::{Stack, eventually, fresh_names};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long a test waits for what has to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
const STORES: [Store; 2] = [Store::Kafka, Store::ClickHouse];

/// A namespace with its topics and tables.
pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) names: Names,
    stack: Stack,
}

/// A worker in this process.
pub(crate) struct Worker {
    pub(crate) url: String,
    shutdown: CancellationToken,
    task: JoinHandle<Result<Summary, Error>>,
}

/// A row of `communication_events`, as far as the tests look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Row, Deserialize)]
pub(crate) struct EventRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub(crate) event_id: Uuid,
    pub(crate) channel: String,
    pub(crate) timestamp_ms: i64,
    pub(crate) duration_ms: u32,
    pub(crate) success: bool,
    pub(crate) metadata: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// Settings with small batches, quick retries and a free port.
pub(crate) fn quick_settings() -> Settings {
    let wait = Duration::from_millis(500);
    let mut settings = Settings {
        listen: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(),
        retry: Retry {
            first_wait: Duration::from_millis(50),
            longest_wait: wait,
            operator_wait: wait,
            ..Retry::default()
        },
        ..Settings::default()
    };
    for pipeline in settings.pipelines.values_mut() {
        pipeline.max_age = Duration::from_millis(300);
    }
    settings
}

impl World {
    pub(crate) async fn new() -> Self {
        let stack = Stack::up(env!("CARGO_BIN_EXE_sluice"), &[Service::Kafka, Service::ClickHouse]).await;
        let names = fresh_names("ingest");
        let stores = stack.stores(&names);
        apply::apply(&stores, &names, &STORES).await.unwrap();
        Self { stores, names, stack }
    }

    pub(crate) fn port_base(&self) -> u16 {
        self.stack.layout().ports().base()
    }

    pub(crate) async fn start(&self, settings: Settings) -> Worker {
        self.start_against(settings, self.stores.clone()).await
    }

    pub(crate) async fn start_against(&self, settings: Settings, stores: Stores) -> Worker {
        let shutdown = CancellationToken::new();
        let url = format!("http://{}", settings.listen);
        let task = tokio::spawn(sluice_ingest::run(settings, stores, self.names.clone(), shutdown.clone()));
        let mut worker = Worker { url: url.clone(), shutdown, task };
        let is_ready = eventually(DEADLINE, "the worker is ready", || async { status(&url, "readyz").await == 200 });
        tokio::select! {
            () = is_ready => worker,
            ended = &mut worker.task => panic!("the worker ended early: {}", ended.unwrap().unwrap_err()),
        }
    }

    pub(crate) fn producer(&self, codec: &str) -> FutureProducer {
        connect::kafka_config(&self.stores).set("compression.type", codec).set("linger.ms", "5").create().unwrap()
    }

    /// Produces one record and returns its partition and offset.
    pub(crate) async fn produce(&self, producer: &FutureProducer, record: &Record) -> (i32, i64) {
        let topic = self.names.topic(topic::COMMUNICATION_EVENTS);
        let mut message = FutureRecord::<[u8], [u8]>::to(&topic).headers(record.kafka_headers());
        message.key = record.key.as_deref();
        message.payload = record.payload.as_deref();
        message.partition = record.partition;
        let delivery = producer.send(message, DEADLINE).await.map_err(|(error, _)| error).unwrap();
        (delivery.partition, delivery.offset)
    }

    /// Produces many records at once.
    pub(crate) async fn produce_all(&self, producer: &FutureProducer, records: &[Record]) {
        futures::future::join_all(records.iter().map(|record| self.produce(producer, record))).await;
    }

    pub(crate) async fn event_rows(&self) -> Vec<EventRow> {
        let query = "SELECT event_id, channel, toUnixTimestamp64Milli(timestamp) AS timestamp_ms, duration_ms, success, \
                     metadata, _partition AS partition, _offset AS offset FROM communication_events ORDER BY event_id, offset";
        connect::clickhouse(&self.stores, &self.names).query(query).fetch_all().await.unwrap()
    }

    pub(crate) async fn count(&self) -> usize {
        let query = "SELECT count() FROM communication_events";
        let count: u64 = connect::clickhouse(&self.stores, &self.names).query(query).fetch_one().await.unwrap();
        usize::try_from(count).unwrap()
    }

    pub(crate) async fn landed(&self, count: usize) {
        eventually(DEADLINE, "all rows land", || async { self.count().await >= count }).await;
    }

    /// Sum of the group's committed offsets of a topic.
    pub(crate) async fn committed(&self, topic: &str) -> i64 {
        let topic = self.names.topic(topic);
        let mut config = connect::kafka_config(&self.stores);
        config.set("group.id", self.names.group(&Settings::default().group));
        blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let list = every_partition(&consumer, &topic);
            let committed = consumer.committed_offsets(list, DEADLINE).unwrap();
            committed.elements().iter().filter_map(|element| element.offset().to_raw()).filter(|at| *at > 0).sum()
        })
        .await
    }

    /// Everything in the dead-letter topic, by the original partition and offset.
    pub(crate) async fn dead_letters(&self) -> BTreeMap<(i32, i64), OwnedMessage> {
        let letters = self.read_all(topic::CLICKHOUSE_ERRORS).await.into_iter().map(|letter| {
            let number = |name| header(&letter, name).unwrap().parse::<i64>().unwrap();
            ((i32::try_from(number("sluice.partition")).unwrap(), number("sluice.offset")), letter)
        });
        letters.collect()
    }

    /// Everything in a topic that a transaction has not taken back.
    pub(crate) async fn read_all(&self, topic: &str) -> Vec<OwnedMessage> {
        let topic = self.names.topic(topic);
        let mut config = connect::kafka_config(&self.stores);
        config.set("group.id", "reader").set("enable.partition.eof", "true").set("enable.auto.commit", "false");
        blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = every_partition(&consumer, &topic);
            list.set_all_offsets(Offset::Beginning).unwrap();
            consumer.assign(&list).unwrap();
            let mut messages = Vec::new();
            let mut open = list.count();
            while open > 0 {
                match consumer.poll(DEADLINE).unwrap() {
                    Ok(message) => messages.push(message.detach()),
                    Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
                    Err(error) => panic!("{error}"),
                }
            }
            messages
        })
        .await
    }

    /// Drops what the test made. Left out when a test fails, so that it can be looked at.
    pub(crate) async fn drop(self) {
        drop_namespace(&self.stores, &self.names, &STORES).await.unwrap();
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn every_partition(consumer: &BaseConsumer, topic: &str) -> TopicPartitionList {
    let metadata = consumer.fetch_metadata(Some(topic), DEADLINE).unwrap();
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition(topic, partition.id());
    }
    list
}

/// Text of the last header of that name.
pub(crate) fn header<M: Message>(message: &M, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().filter(|header| header.key == name).last()?;
    Some(String::from_utf8(found.value?.to_vec()).unwrap())
}

/// HTTP status of a worker's page; 0 if it does not answer.
pub(crate) async fn status(url: &str, path: &str) -> u16 {
    reqwest::get(format!("{url}/{path}")).await.map_or(0, |response| response.status().as_u16())
}

/// Value of a worker's metric, summed over its labels that contain `label`; 0 if it does not answer.
pub(crate) async fn metric(url: &str, name: &str, label: &str) -> f64 {
    let Ok(response) = reqwest::get(format!("{url}/metrics")).await else { return 0.0 };
    let text = response.text().await.unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

impl Worker {
    pub(crate) async fn status(&self, path: &str) -> u16 {
        status(&self.url, path).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        reqwest::get(format!("{}/{path}", self.url)).await.unwrap().text().await.unwrap()
    }

    /// Value of a metric, summed over its labels that contain `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        metric(&self.url, name, label).await
    }

    /// Shuts the worker down as SIGTERM does and waits for what it says.
    pub(crate) async fn stop(self) -> Summary {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap()
    }

    /// Ends the worker as a crash does: nothing is written or committed any more.
    pub(crate) fn crash(self) {
        self.task.abort();
    }
}

/// A record to produce.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) partition: Option<i32>,
}

impl Record {
    fn kafka_headers(&self) -> OwnedHeaders {
        self.headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }))
    }
}

pub(crate) const TENANT: Uuid = Uuid::from_u128(0x6f2d_8a4e_0d0c_4f0e_9a3b_0c1d_2e3f_4a5b);

/// The `n`th event of a series over two months.
pub(crate) fn event(n: u32) -> CommunicationEvent {
    let day = 86_400_000 * i64::from(n % 60);
    CommunicationEvent {
        event_id: Uuid::from_u128(u128::from(n)),
        tenant_id: TENANT,
        customer_id: Uuid::from_u128(u128::from(n % 100)),
        campaign_id: Uuid::nil(),
        agent_id: format!("agent \"{}\" \u{e4}\u{1f600}", n % 7),
        channel: Channel::ALL[n as usize % 3],
        event_type: EventType::ALL[n as usize % 8],
        timestamp: DateTime::<Utc>::from_timestamp_millis(1_792_000_000_000 + day + i64::from(n)).unwrap(),
        duration_ms: n,
        success: n.is_multiple_of(2),
        error_code: String::new(),
        metadata: EventMetadata {
            communication_id: Uuid::from_u128(u128::from(n / 3)),
            seq: u64::from(n),
            template: "reminder".to_owned(),
            language: "de".to_owned(),
        },
    }
}

/// The same as a record.
pub(crate) fn event_record(n: u32) -> Record {
    let event = event(n);
    Record {
        key: Some(format!("{}:{}", event.tenant_id, event.customer_id).into_bytes()),
        payload: Some(serde_json::to_vec(&event).unwrap()),
        ..Record::default()
    }
}
